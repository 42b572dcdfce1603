"""Encodings of whole dev splits of the real dumps against transformers' BertTokenizer: ids and token types, all rows.

The dumps are looked for in PEFT_DATA (a folder that holds glue/, superglue/ and tokenizers/), else unpacked from ../shared/data/*.tar.xz.
"""

import json
import os
import pathlib
import re
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))
ARCHIVES = ROOT.parent / "shared" / "data"

TASKS = {  # folder, header, text columns
    "cola": ("CoLA", False, [3]),
    "sst2": ("SST-2", True, ["sentence"]),
    "mrpc": ("MRPC", True, ["#1 String", "#2 String"]),
    "stsb": ("STS-B", True, ["sentence1", "sentence2"]),
    "qnli": ("QNLI", True, ["question", "sentence"]),
    "rte": ("RTE", True, ["sentence1", "sentence2"]),
    "wnli": ("WNLI", True, ["sentence1", "sentence2"]),
}
LENGTHS = {"cola": 16, "sst2": 128, "mrpc": 48, "stsb": 24, "qnli": 64, "rte": 128, "wnli": 32}  # some truncate often, some never


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    named = os.environ.get("PEFT_DATA")
    if named and (pathlib.Path(named) / "glue").is_dir():
        return pathlib.Path(named)
    if not ARCHIVES.is_dir():
        pytest.skip("no dumps: set PEFT_DATA to a folder that holds glue/ and tokenizers/")
    folder = tmp_path_factory.mktemp("data")
    for archive in sorted(ARCHIVES.glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            wanted = [m for m in tar.getmembers() if {"glue", "superglue", "WinoGrande", "bert-base-uncased"} & set(m.name.split("/"))]
            tar.extractall(folder, members=wanted, filter="data")
    found = [p.parent for p in folder.rglob("glue") if p.is_dir()]
    if not found:
        pytest.skip(f"no glue/ in the archives of {ARCHIVES}")
    return found[0]


def rows(path, header, columns):
    with open(path, encoding="utf-8", newline="\n") as file:
        lines = [line.removesuffix("\n").removesuffix("\r").split("\t") for line in file.read().removesuffix("\n").split("\n")]
    if header:
        columns = [lines[0].index(c) for c in columns]
        lines = lines[1:]
    return [[line[c] for c in columns] for line in lines]


@pytest.mark.parametrize("task", TASKS)
def test_dev_split_equals_bert_tokenizer(task, data):
    from transformers import BertTokenizer

    folder, header, columns = TASKS[task]
    vocabulary = next(iter(sorted(data.rglob("bert-base-uncased/vocab.txt"))), None)
    if vocabulary is None:
        pytest.skip("no tokenizer bert-base-uncased beside the dumps")
    texts = rows(data / "glue" / folder / "dev.tsv", header, columns)
    tokenizer = BertTokenizer.from_pretrained(str(vocabulary.parent))
    expected = tokenizer(*(list(side) for side in zip(*texts)), truncation=True, max_length=LENGTHS[task])

    done = subprocess.run([str(BIN / "test-encode-split"), str(vocabulary.parent), task, str(data / "glue"), "dev",
                           str(LENGTHS[task])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(got) == len(texts)
    for i, row in enumerate(got):
        assert row["ids"] == expected["input_ids"][i], (i, texts[i])
        assert row["types"] == expected["token_type_ids"][i], (i, texts[i])


@pytest.mark.parametrize("split, length", [("train", 64), ("val", 24)])
def test_copa_is_two_pairs_an_example(data, split, length):
    from transformers import BertTokenizer

    vocabulary = next(iter(sorted(data.rglob("bert-base-uncased/vocab.txt"))), None)
    file = data / "superglue" / "COPA" / f"{split}.jsonl"
    if vocabulary is None or not file.exists():
        pytest.skip("no COPA or no tokenizer bert-base-uncased beside the dumps")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    asked = {"cause": " because", "effect": " so"}
    first = [row["premise"] + asked[row["question"]] for row in rows for _ in range(2)]
    second = [row[choice] for row in rows for choice in ("choice1", "choice2")]
    expected = BertTokenizer.from_pretrained(str(vocabulary.parent))(first, second, truncation=True, max_length=length)
    done = subprocess.run([str(BIN / "test-encode-split"), str(vocabulary.parent), "copa", str(data / "superglue"), split, str(length)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["ids"] for row in got] == expected["input_ids"]
    assert [row["types"] for row in got] == expected["token_type_ids"]


def flat(row):
    yield row


def multirc_answers(row):
    for question in row["passage"]["questions"]:
        for answer in question["answers"]:
            yield {"paragraph": row["passage"]["text"], "question": question["question"], "answer": answer["text"]}


def marked(row):
    """WSC with stars around the pronoun, which stands at the word of its index or at the nearest word where it can stand."""
    text, target = row["text"], row["target"]
    span = target["span2_text"].replace("\n", " ").removesuffix(".")
    words = [m.start() for m in re.finditer(r"\S+", text)]
    places = [i for i, at in enumerate(words) if text[at : at + len(span)].lower() == span.lower()]
    at = words[min(places, key=lambda i: (abs(i - target["span2_index"]), i))]
    return text[:at] + "*" + text[at : at + len(span)] + "*" + text[at + len(span) :]


def both_contexts(row):
    return [(context, row["continuation"]) for context in row["context_options"]]


# name: file, its rows, the pairs of an example, rule of truncation, length
JSON_TASKS = {
    "boolq": ("superglue/BoolQ/val.jsonl", flat, lambda r: [(r["question"], r["passage"])], "only_second", 96),
    "cb": ("superglue/CB/val.jsonl", flat, lambda r: [(r["premise"], r["hypothesis"])], True, 40),
    "superglue/rte": ("superglue/RTE/val.jsonl", flat, lambda r: [(r["premise"], r["hypothesis"])], True, 64),
    "axb": ("superglue/AX-b/AX-b.jsonl", flat, lambda r: [(r["sentence1"], r["sentence2"])], True, 48),
    "axg": ("superglue/AX-g/AX-g.jsonl", flat, lambda r: [(r["premise"], r["hypothesis"])], True, 20),
    "wic": ("superglue/WiC/val.jsonl", flat, lambda r: [(f"{r['word']}: {r['sentence1']}", f"{r['word']}: {r['sentence2']}")], True, 24),
    "wsc": ("superglue/WSC/val.jsonl", flat, lambda r: [(marked(r), r["target"]["span1_text"])], "only_first", 48),
    "multirc": ("superglue/MultiRC/val.jsonl", multirc_answers, lambda r: [(r["paragraph"], f"{r['question']} {r['answer']}")], "only_first", 192),
    "winogrande": ("WinoGrande/dev.jsonl", flat, both_contexts, "only_first", 40),
}


@pytest.mark.parametrize("task", JSON_TASKS)
def test_json_task_equals_bert_tokenizer(task, data):
    from transformers import BertTokenizer

    name, flatten, pairs_of, truncation, length = JSON_TASKS[task]
    vocabulary = next(iter(sorted(data.rglob("bert-base-uncased/vocab.txt"))), None)
    file = next(iter(sorted(data.rglob(name))), None)
    if vocabulary is None or file is None:
        pytest.skip(f"no {name} or no tokenizer bert-base-uncased beside the dumps")
    rows = [row for line in file.read_text(encoding="utf-8").split("\n") if line for row in flatten(json.loads(line))]
    pairs = [pair for row in rows for pair in pairs_of(row)]
    tokenizer = BertTokenizer.from_pretrained(str(vocabulary.parent))
    expected = tokenizer([a for a, _ in pairs], [b for _, b in pairs], truncation=truncation, max_length=length)
    split = "test" if task in ("axb", "axg") else "dev"
    done = subprocess.run([str(BIN / "test-encode-split"), str(vocabulary.parent), task, str(file), split, str(length)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(got) == len(pairs)
    assert any(len(row["ids"]) == length for row in got), "some are cut"
    for i, row in enumerate(got):
        assert row["ids"] == expected["input_ids"][i], (i, pairs[i])
        assert row["types"] == expected["token_type_ids"][i], (i, pairs[i])


def test_record_equals_bert_tokenizer(data, tmp_path):
    """Passages of MultiRC as a generated ReCoRD file: entities by characters, bullet points, a sequence for every distinct entity."""
    from transformers import BertTokenizer

    vocabulary = next(iter(sorted(data.rglob("bert-base-uncased/vocab.txt"))), None)
    source = data / "superglue" / "MultiRC" / "val.jsonl"
    if vocabulary is None or not source.exists():
        pytest.skip("no MultiRC or no tokenizer bert-base-uncased beside the dumps")
    records, pairs = [], []
    for p, line in enumerate(source.read_text(encoding="utf-8").split("\n")[:40]):
        sentences = json.loads(line)["passage"]["text"][:900].split(". ")
        text = "\n@highlight\n".join(s + "." * (i % 2) for i, s in enumerate(sentences)) + " \u00e9t\u00e9"
        spans = [(m.start(), m.end() - 1) for m in re.finditer(r"[A-Z\u00c0-\u017f][a-z\u00e0-\u017f]+", text)]
        entities = sorted({text[s : e + 1] for s, e in spans}, key=lambda t: t.encode())
        queries = [f"@placeholder met number {q}." for q in range(2)]
        records.append({"idx": p, "passage": {"text": text, "entities": [{"start": s, "end": e} for s, e in spans]},
                        "qas": [{"query": query, "idx": 2 * p + q, "answers": []} for q, query in enumerate(queries)]})  # fmt: skip
        shown = re.sub("\n@highlight\n", ". ", re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", text))
        pairs += [(shown, query.replace("@placeholder", entity)) for query in queries for entity in entities or [""]]
    (tmp_path / "val.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    expected = BertTokenizer.from_pretrained(str(vocabulary.parent))([a for a, _ in pairs], [b for _, b in pairs], truncation="only_first", max_length=128)
    done = subprocess.run([str(BIN / "test-encode-split"), str(vocabulary.parent), "record", str(tmp_path), "val", "128"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["ids"] for row in got] == expected["input_ids"]
    assert [row["types"] for row in got] == expected["token_type_ids"]
