"""Files written by pyarrow and the datasets library, and read back: the same texts, labels and idx in the same order.

The program test-read-examples prints the examples of a file. What they must be is known from the rows before they are written.
"""

import json
import os
import pathlib
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parquet_files import failure, peak_memory, read, run_many, with_classes, write_stream

AWKWARD = ["", " ", 'say "no"', '""', "a\tb", "two\nlines", "cr\r\nlf", "\r", "🙂 emoji 👩‍👩‍👧", "naïve café", "電影", "\u2028\u2029\x85", "x" * 5000,
           "\ufeffmark", "null", "-1", "NaN", "a|b", "\\", "\\n", "{}", "\x7f\x01", "é", "trailing "]
RTE = ["entailment", "not_entailment"]
TASKS = {  # columns of texts, names of the classes
    "cola": (["sentence"], ["unacceptable", "acceptable"]),
    "sst2": (["sentence"], ["negative", "positive"]),
    "mrpc": (["sentence1", "sentence2"], ["not_equivalent", "equivalent"]),
    "stsb": (["sentence1", "sentence2"], None),
    "qnli": (["question", "sentence"], RTE),
    "glue/rte": (["sentence1", "sentence2"], RTE),
    "wnli": (["sentence1", "sentence2"], RTE[::-1]),
    "copa": (["premise", "question", "choice1", "choice2"], None),
    "classification": (["text", "text_pair"], ["bad", "good", "so-so"]),
    "multi_label": (["text"], ["red", "green", "blue"]),
    "regression": (["text"], None),
    "multiple_choice": (["text", "choices"], None),
}


def label_of(task, classes, rng):
    if task == "stsb":
        return rng.choice([0.0, 5.0, 3.8, 2.5, 1.2])
    if task == "regression":
        return rng.choice([0.0, -1.0, 3.25, 1024.5, -2.5])
    if task == "multi_label":
        return sorted(rng.sample(range(len(classes)), rng.randint(0, len(classes))))
    return rng.randrange(len(classes) if classes else 2)


def make_rows(task, rng, count):
    columns, classes = TASKS[task]
    rows = []
    for i in range(count):
        row = {c: rng.choice(AWKWARD) + rng.choice(["", " and more", str(rng.random())]) for c in columns}
        if task == "copa":
            row["question"] = rng.choice(["cause", "effect"])
        if task == "multiple_choice":
            row["choices"] = [rng.choice(AWKWARD) for _ in range(rng.randint(2, 4))]
        rows.append(row | {"label": label_of(task, classes, rng), "idx": 3 * i + 1})
    if classes and task != "multi_label":  # so that all of them occur
        for i, row in enumerate(rows[: len(classes)]):
            row["label"] = i
    return rows


def expected_examples(task, rows):
    columns, _ = TASKS[task]
    asked = {"cause": " because", "effect": " so"}
    examples = []
    for row in rows:
        if task == "copa":
            texts = [row["premise"], asked[row["question"]], row["choice1"], row["choice2"]]
        elif task == "multiple_choice":
            texts = [row["text"], *row["choices"]]
        else:
            texts = [row[c] for c in columns]
        label = None if row["label"] == -1 and task != "regression" else row["label"]
        examples.append({"texts": texts, "label": as_float32(label) if isinstance(label, float) else label, "idx": row["idx"]})
    return examples


def as_float32(value):
    return float(pa.scalar(value, pa.float32()).as_py())


STRINGS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string()), pa.binary()]
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
LISTS = [pa.list_, pa.large_list]


def make_table(task, rows, rng, text_label):
    """The rows with random types of their columns."""
    columns, classes = TASKS[task]
    arrays = {}
    names = [c for c in (*columns, "label", "idx")] + ["unread"]
    rng.shuffle(names)
    for name in names:
        values = [row.get(name, [{"a": None}]) for row in rows]
        if name == "unread":
            kind = pa.list_(pa.struct([("a", pa.timestamp("s"))]))
        elif name == "idx" or (name == "label" and isinstance(values[0], int) and not text_label):
            fits = [k for k in INTEGERS if max(values) < 2 ** (k.bit_width - 1) and (min(values) >= 0 or str(k).startswith("int"))]
            kind = rng.choice(fits)
        elif name == "label" and isinstance(values[0], float):
            kind = rng.choice([pa.float32(), pa.float64()])
            values = [as_float32(v) for v in values]
        elif name == "label" and task == "multi_label":
            kind = rng.choice(LISTS)(rng.choice(STRINGS[:3]))
            values = [[classes[i] for i in v] for v in values]
        elif name == "choices":
            kind = rng.choice(LISTS)(rng.choice(STRINGS[:3]))
        else:
            kind = rng.choice(STRINGS)
            if name == "label":
                values = ["-1" if v == -1 else classes[v] for v in values]
            if len(set(values)) > 100 and kind == STRINGS[4]:  # int8 has room for few words
                kind = STRINGS[3]
        arrays[name] = make_array(values, kind)
    return pa.table(arrays)


def make_array(values, kind):
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    if pa.types.is_binary(kind):
        return pa.array([v.encode() for v in values], kind)
    return pa.array(values, kind)


def write_parquet(table, path, rng):
    without_views = [(pa.field(f.name, pa.string()) if f.type == pa.string_view() else f) for f in table.schema]
    pq.write_table(table.cast(pa.schema(without_views)) if rng.random() < 0.5 else table, path,
                   compression=rng.choice(["NONE", "SNAPPY", "ZSTD", "GZIP", "BROTLI", "LZ4"]), row_group_size=rng.choice([1, 7, 50, 10000]),
                   use_dictionary=rng.random() < 0.5, data_page_version=rng.choice(["1.0", "2.0"]), data_page_size=rng.choice([64, 4096, 1 << 20]),
                   write_page_checksum=rng.random() < 0.3, store_schema=rng.random() < 0.7)



def test_every_type_of_string_integer_and_codec_gives_the_same_examples(tmp_path):
    for number, task in enumerate(TASKS):
        rng = random.Random(100 + number)
        split = "test" if number % 3 == 2 and task not in ("regression", "stsb") else "train"
        classes = TASKS[task][1] or []
        paths, wanted = [], []
        for i in range(14):
            rows = make_rows(task, rng, rng.choice([1 + len(classes), 30, 120]))
            hidden = split == "test" and task != "multi_label" and i % 2 == 0
            for row in rows if hidden else []:
                row["label"] = -1
            table = make_table(task, rows, rng, text_label=bool(classes) and not hidden and rng.random() < 0.4)
            path = tmp_path / f"{number}-{i}.{'parquet' if i % 4 else 'arrow'}"
            if i % 4:
                write_parquet(table, path, rng)
            else:
                write_stream(table, path, rng.choice([None, "zstd", "lz4"]), rng.choice([1, 7, 50, 10000]))
            paths.append(path)
            wanted.append(expected_examples(task, rows))
        answers, _ = run_many(task, paths, *(classes if task in ("classification", "multi_label") else []), split=split)
        for path, answer, examples in zip(paths, answers, wanted):
            assert answer.get("examples") == examples, (task, path.name, answer.get("error"), pq.read_schema(path) if path.suffix == ".parquet" else "")


def test_a_null_second_text_is_none(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b"], "text_pair": [None, "c"], "label": ["x", "y"]}), tmp_path / "train.parquet")
    assert [e["texts"] for e in read("classification", tmp_path)["examples"]] == [["a"], ["b", "c"]]


def test_a_file_of_nulls_for_labels_is_a_hidden_test_split(tmp_path):
    for kind in (pa.null(), pa.int64(), pa.string()):
        pq.write_table(pa.table({"sentence": ["a", "b"], "label": pa.array([None, None], kind)}), tmp_path / "test.parquet")
        assert [e["label"] for e in read("sst2", tmp_path, split="test")["examples"]] == [None, None]


def test_nested_columns_and_half_floats_and_booleans(tmp_path):
    inner = [{"body": "one", "score": {"value": 1.5}}, {"body": "two", "score": {"value": -2.0}}]
    kind = pa.struct([("body", pa.string()), ("unread", pa.int8()), ("score", pa.struct([("value", pa.float16())]))])
    table = pa.table({"review": pa.array(inner, kind), "good": [True, False]})
    pq.write_table(table, tmp_path / "a.parquet")
    write_stream(table, tmp_path / "a.arrow")
    for path in (tmp_path / "a.parquet", tmp_path / "a.arrow"):
        assert [e["texts"] for e in read("regression", path, "text=review.body", "label=review.score.value")["examples"]] == [["one"], ["two"]]
        assert [e["label"] for e in read("regression", path, "text=review.body", "label=review.score.value")["examples"]] == [1.5, -2.0]
        answer = read("classification", path, "text=review.body", "label=good")
        assert answer["labels"] == ["false", "true"] and [e["label"] for e in answer["examples"]] == [1, 0]
    table = pa.table({"review": pa.array([inner[0], None], kind), "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "b.parquet")
    assert failure("classification", tmp_path / "b.parquet", "text=review.body") == "b.parquet: row 2, column review.body: null"
    # A column whose own name has a dot is that one.
    pq.write_table(pa.table({"review.body": ["x", "y"], "review": pa.array(inner, kind), "label": ["a", "b"]}), tmp_path / "c.parquet")
    assert [e["texts"] for e in read("classification", tmp_path / "c.parquet", "text=review.body")["examples"]] == [["x"], ["y"]]


class HuggingFace:
    """The datasets library, offline and quiet, with its cache in a folder of the test."""

    def __init__(self, folder, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("HF_HOME", str(folder / "cache"))
        self.library = pytest.importorskip("datasets")
        self.library.disable_progress_bars()

    def dataset(self, task, rows):
        library = self.library
        columns, classes = TASKS[task]
        label = library.ClassLabel(names=classes) if classes else library.Value("float32" if isinstance(rows[0]["label"], float) else "int64")
        features = {c: library.List(library.Value("string")) if c == "choices" else library.Value("string") for c in columns}
        features |= {"label": library.List(label) if task == "multi_label" else label, "idx": library.Value("int32")}
        return library.Dataset.from_dict({name: [row[name] for row in rows] for name in features}, library.Features(features))


@pytest.fixture
def hf(tmp_path, monkeypatch):
    return HuggingFace(tmp_path, monkeypatch)


@pytest.mark.parametrize("task", TASKS)
def test_what_the_datasets_library_saves(task, tmp_path, hf):
    rng = random.Random(task)
    rows = make_rows(task, rng, 50)
    test_rows = [row | {"label": row["label"] if task == "multi_label" else -1.0 if isinstance(row["label"], float) else -1} for row in make_rows(task, rng, 20)]
    train, test = hf.dataset(task, rows), hf.dataset(task, test_rows)
    hf.library.DatasetDict({"train": train, "validation": train, "test": test}).save_to_disk(tmp_path / "saved", num_shards={"train": 3, "validation": 1, "test": 2})
    train.save_to_disk(tmp_path / "one")
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    for i in range(3):
        train.shard(3, i, contiguous=True).to_parquet(parquet / f"train-0000{i}-of-00003.parquet")
    train.to_parquet(parquet / "validation.parquet")
    (parquet / "test").mkdir()
    for i in range(2):
        test.shard(2, i, contiguous=True).to_parquet(parquet / "test" / f"000{i}.parquet")

    train.to_json(tmp_path / "rows.jsonl")

    expected, expected_test = expected_examples(task, rows), expected_examples(task, test_rows)
    if task == "regression":  # where -1 is a score
        expected_test = [example | {"label": -1.0} for example in expected_test]
    paths = [(split, tmp_path / folder) for folder in ("saved", "parquet") for split in ("train", "dev", "test")] + [("train", tmp_path / "one"), ("train", tmp_path / "rows.jsonl")]
    given = (TASKS[task][1] or []) if task in ("classification", "multi_label") else []  # the test split has none, nor has JSON
    for (split, path), answer in zip(paths, run_many(task, paths, *given)[0]):
        assert answer.get("examples") == (expected_test if split == "test" else expected), (split, path.name, answer.get("error"))
    if given:
        assert read(task, tmp_path / "saved") | {"hash": 0} == {"labels": given, "examples": expected, "hash": 0}


def test_own_classes_have_the_names_and_the_order_of_the_file(tmp_path, hf):
    features = hf.library.Features({"text": hf.library.Value("string"), "label": hf.library.ClassLabel(names=["zebra", "ape", "1"])})
    data = hf.library.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, 1]}, features)
    data.to_parquet(tmp_path / "a.parquet")
    data.save_to_disk(tmp_path / "saved")
    for path in (tmp_path / "a.parquet", tmp_path / "saved"):
        answer = read("classification", path)
        assert answer["labels"] == ["zebra", "ape", "1"] and [e["label"] for e in answer["examples"]] == [1, 0, 1]
    answers, log = run_many("classification", [tmp_path / "a.parquet"], "1", "ape", "zebra")
    assert [e["label"] for e in answers[0]["examples"]] == [1, 2, 1]
    assert "a.parquet: column label counts the classes as zebra, ape, 1; they are read by name and become 1, ape, zebra" in log
    assert failure("classification", tmp_path / "a.parquet", "ape", "dog", "zebra") == (
        "a.parquet: column label has the classes zebra, ape, 1; expected ape, dog, zebra")


@pytest.mark.parametrize("where", ["metadata", "dataset_info"])
def test_ids_of_a_benchmark_are_read_by_name(tmp_path, where):
    table = pa.table({"sentence1": ["a", "b", "c"], "sentence2": ["d", "e", "f"], "label": [0, 1, 0]})

    def write(names):
        if where == "metadata":
            pq.write_table(with_classes(table, names), tmp_path / "train.parquet")
            return tmp_path / "train.parquet"
        write_stream(table, tmp_path / "data-00000-of-00001.arrow")  # without metadata of its own
        features = {"label": {"names": names, "num_classes": 2, "id": None, "_type": "ClassLabel"}}
        (tmp_path / "dataset_info.json").write_text(json.dumps({"features": features}))
        return tmp_path / "data-00000-of-00001.arrow"

    answers, log = run_many("glue/rte", [write(["not_entailment", "entailment"])])
    assert [e["label"] for e in answers[0]["examples"]] == [1, 0, 1]
    assert log.count("counts the classes as not_entailment, entailment; they are read by name") == 1
    answers, log = run_many("glue/rte", [write(["entailment", "not_entailment"])])
    assert [e["label"] for e in answers[0]["examples"]] == [0, 1, 0] and log == ""
    assert failure("glue/rte", write(["no", "yes"])).endswith("column label has the classes no, yes; expected entailment, not_entailment")


def test_shards_must_agree_on_their_classes_and_are_named_in_messages(tmp_path):
    def write(i, names, **columns):
        table = pa.table({"sentence": ["a", "b"], "label": [0, 1]} | columns)
        pq.write_table(with_classes(table, names), tmp_path / f"train-0000{i}-of-00002.parquet")

    write(0, ["negative", "positive"])
    write(1, ["positive", "negative"])
    assert read("sst2", tmp_path)["error"].replace(f"{tmp_path}/", "") == (
        "train-00001-of-00002.parquet: classes of column label: positive, negative; train-00000-of-00002.parquet has negative, positive")
    write(1, ["negative", "positive"], label=[0, 7])
    assert read("sst2", tmp_path)["error"].endswith('train-00001-of-00002.parquet: row 2, label "7"; expected one of negative, positive')
    write(1, ["negative", "positive"], idx=[1, 1])
    assert "train-00001-of-00002.parquet: row 2, idx 1 already stands in row 1 of " in read("sst2", tmp_path)["error"]
    write(1, ["negative", "positive"], sentence=pa.array(["c", "d"], pa.large_string()), label=pa.array([1, 0], pa.int8()))
    assert [(e["texts"], e["label"], e["idx"]) for e in read("sst2", tmp_path)["examples"]] == [(["a"], 0, 0), (["b"], 1, 1), (["c"], 1, 2), (["d"], 0, 3)]


def test_memory_does_not_grow_with_the_rows(tmp_path):
    rng = random.Random(1)
    texts = [" ".join(str(rng.random()) for _ in range(12)) for _ in range(1000)]
    chunk = pa.table({"text": texts, "label": [i % 2 for i in range(1000)], "unread": texts[::-1]})
    for suffix in ("parquet", "arrow"):
        peaks = []
        for count in (20_000, 400_000):
            path = tmp_path / f"{count}.{suffix}"
            table = pa.concat_tables([chunk] * (count // 1000))
            if suffix == "parquet":  # one row group: pages are read one by one
                pq.write_table(table, path, row_group_size=count, use_dictionary=False)
            else:
                write_stream(table, path)
            answer, peak = peak_memory("classification", path, "0", "1")
            assert (answer["examples"], answer["bytes"]) == (count, sum(map(len, texts)) * count // 1000)
            peaks.append(peak)
            path.unlink()
        assert peaks[1] < peaks[0] + (8 << 20), (suffix, peaks)


@pytest.fixture
def dumps():
    folder = pathlib.Path(os.environ.get("PEFT_DATA", ""))
    if not os.environ.get("PEFT_DATA") or not (folder / "glue").is_dir():
        pytest.skip("no dumps: set PEFT_DATA to a folder that holds glue/")
    return folder


def test_glue_rte_from_parquet_equals_its_tsv(dumps):
    folder = dumps / "other" / "RTE-parquet"
    if not folder.is_dir():
        pytest.skip("no RTE as Parquet beside the dumps")
    for split, count in (("train", 2490), ("dev", 277), ("test", 3000)):
        parquet, tsv = read("glue/rte", folder, split=split), read("glue/rte", dumps / "glue", split=split)
        assert parquet["examples"] == tsv["examples"] and len(tsv["examples"]) == count


@pytest.mark.parametrize("task, folder", [("cola", "CoLA"), ("sst2", "SST-2"), ("mrpc", "MRPC"), ("stsb", "STS-B"), ("qnli", "QNLI"), ("wnli", "WNLI"), ("copa", "COPA")])
def test_dumps_written_as_parquet_are_the_same(task, folder, dumps, tmp_path):
    """Under the names of the columns that the datasets library has, with its hidden labels."""
    columns, classes = TASKS[task]
    source = dumps / ("superglue" if task == "copa" else "glue") / folder
    for split in ("train", "dev", "test"):
        file = next((source / name for name in (f"{split}.tsv", f"{split}.jsonl", "val.jsonl") if (source / name).exists()), None)
        if file is None or (split, task) == ("train", "sst2"):  # large
            continue
        dumped = read(task, source, split=split)["examples"]
        texts = dict(zip(columns, zip(*(e["texts"] for e in dumped))))
        if task == "copa":
            texts["question"] = ["cause" if t == " because" else "effect" for t in texts["question"]]
        labels = [(-1.0 if task == "stsb" else -1) if e["label"] is None else e["label"] for e in dumped]
        table = pa.table(texts | {"label": pa.array(labels, pa.float32() if task == "stsb" else pa.int64()), "idx": pa.array([e["idx"] for e in dumped], pa.int32())})
        path = tmp_path / f"{split}.parquet"
        pq.write_table(with_classes(table, classes) if classes else table, path, row_group_size=1000)
        assert read(task, path, split=split)["examples"] == dumped
