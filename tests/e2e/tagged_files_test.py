"""Token classification and span from files of every shape: the same rows whatever the shape, predictions of both, and one line where rows are bad."""

import json
import random

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from bad_input import DATA, assert_one_line  # noqa: E402
from e2e_runs import WORDS, World, metrics, run  # noqa: E402

TAGS = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
MARKS = [",", ".", "(", "-"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("tagged"))


def sentences(rng, count):
    """Words and tags that make sense: an entity begins with B."""
    made = []
    for _ in range(count):
        words, tags = [], []
        while len(words) < rng.randint(1, 12):
            if rng.random() < 0.3:
                kind, length = rng.choice(["LOC", "PER"]), rng.randint(1, 3)
                tags += [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
                words += rng.choices(WORDS, k=length)
            else:
                tags.append("O")
                words.append(rng.choice(WORDS + MARKS))
        made.append((words, tags))
    made.append((["a"] * 5, ["B-LOC", "I-LOC", "B-PER", "I-PER", "O"]))  # every tag
    return made


def spans_of(words, tags):
    """The text and its entities, as annotation tools write them."""
    text, spans = "", []
    for word, tag in zip(words, tags):
        text += " " * bool(text)
        if tag.startswith("B-"):
            spans.append({"start": len(text), "end": len(text) + len(word), "label": tag[2:]})
        elif tag.startswith("I-"):
            spans[-1]["end"] = len(text) + len(word)
        text += word
    return {"text": text, "spans": spans}


def conll(rows, separator, comments=False):
    lines = ["-DOCSTART-" + separator + "O", ""] if not comments else ["# sent_id = 1"]
    for words, tags in rows:
        lines += [separator.join([word, "NN", tag]) for word, tag in zip(words, tags)] + [""]
    return "\n".join(lines) + "\n"


def write_lines(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_text(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def write_parquet(file, rows):
    names = ["O", "I-PER", "B-PER", "I-LOC", "B-LOC"]  # an order of its own
    features = {"tags": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "List"}}
    table = pa.table({"tokens": [w for w, _ in rows], "tags": [[names.index(t) for t in tags] for _, tags in rows]})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), file)


SHAPES = {
    "conll with spaces": lambda rows, folder, split: write_text(folder / f"{split}.txt", conll(rows, " ")),
    "conll with tabs": lambda rows, folder, split: write_text(folder / f"{split}.conll", conll(rows, "\t", comments=True)),
    "lists": lambda rows, folder, split: write_lines(folder / f"{split}.jsonl", [{"tokens": w, "tags": t} for w, t in rows]),
    "spans": lambda rows, folder, split: write_lines(folder / f"{split}.jsonl", [spans_of(w, t) for w, t in rows]),
    "parquet": lambda rows, folder, split: write_parquet(folder / f"{split}.parquet", rows),
}


@pytest.fixture(scope="module")
def tagged(world):
    """Shape -> folder with the same rows."""
    rng = random.Random(11)
    rows = {"train": sentences(rng, 40), "dev": sentences(rng, 20)}
    folders = {}
    for name, write in SHAPES.items():
        folders[name] = world.path / name
        for split, made in rows.items():
            write(made, folders[name], split)
    return folders


def data_of(world, task, folder, *more):
    done = run("peft-tool", "data", "--task", task, "--data", folder, "--model", world.model, *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_shape_gives_the_same_examples(world, tagged):
    first = data_of(world, "token_classification", tagged["lists"])["splits"]
    assert first["train"]["rows"] == 41 and sum(first["train"]["labels"].values()) > 100
    for name, folder in tagged.items():
        splits = data_of(world, "token_classification", folder)["splits"]
        for split in ("train", "dev"):
            for key in ("rows", "labels", "lengths", "all_tokens", "truncated", "overlap_with_train"):
                if key in first[split] and not (name == "parquet" and key == "labels"):
                    assert splits[split][key] == first[split][key], (name, split, key)
            assert sorted(splits[split]["labels"].items()) == sorted(first[split]["labels"].items())


def test_columns_have_names(world, tagged, tmp_path):
    rows = [(["a", "good"], ["O", "B-PER"]), (["film"], ["O"])]
    lines = ["\t".join([str(i), w, t, "x"]) for words, tags in rows for i, (w, t) in enumerate(zip(words, tags))]
    write_text(tmp_path / "train.conll", "\n".join([lines[0], lines[1], "", lines[2]]) + "\n")
    chosen = data_of(world, "token_classification", tmp_path, "--set", "data.columns.tokens=\"1\"", "--set", "data.columns.label=\"2\"")
    assert chosen["splits"]["train"]["labels"] == {"B-PER": 1, "O": 2}
    write_lines(tmp_path / "own" / "train.jsonl", [{"words": w, "ner_tags": t} for w, t in rows])
    chosen = data_of(world, "token_classification", tmp_path / "own", "--set", "data.columns.tokens=words", "--set", "data.columns.label=ner_tags")
    assert chosen["splits"]["train"]["labels"] == {"B-PER": 1, "O": 2}


@pytest.fixture(scope="module")
def tag_run(world, tagged):
    config = world.config("lora", world.path / "tag-run", {"max_steps": 60, "learning_rate": 0.02, "eval_steps": 20}, task={"name": "token_classification", "data": str(tagged["lists"])})
    return world.finished(config)


def test_a_run_learns_evaluates_and_predicts(world, tagged, tag_run, tmp_path):
    numbers = metrics(tag_run)
    assert numbers["eval_tag_accuracy"] > 0.2 and set(numbers) >= {"eval_entity_f1", "eval_entity_precision", "eval_entity_recall"}
    done = run("peft-eval", "--adapter", tag_run / "best", "--data", tagged["conll with spaces"], "--predictions", tmp_path / "p.jsonl")
    assert done.returncode == 0 and json.loads(done.stdout)["tag_accuracy"] == pytest.approx(numbers["eval_tag_accuracy"])
    score = run("peft-tool", "score", "--metric", "tag_accuracy", "--predictions", tmp_path / "p.jsonl", "--references", tagged["lists"] / "dev.jsonl", "--label-column", "tags")
    assert score.returncode == 0, score.stderr
    assert json.loads(score.stdout)["tag_accuracy"] == pytest.approx(numbers["eval_tag_accuracy"])
    rows = [json.loads(line) for line in (tagged["lists"] / "dev.jsonl").read_text().splitlines()]
    expected = [json.loads(line)["prediction"] for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    for name, given in {
        "words": [{"tokens": row["tokens"]} for row in rows],
        "words in their text": [{"tokens": row["tokens"], "text": " ".join(row["tokens"])} for row in rows],
        "texts": [{"text": " ".join(row["tokens"])} for row in rows],
    }.items():
        write_lines(tmp_path / "in.jsonl", given)
        done = run("peft-predict", "--adapter", tag_run / "best", "--input", tmp_path / "in.jsonl")
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert [answer["tags"] for answer in answers] == expected, name
        for answer, row in zip(answers, rows):
            text = " ".join(row["tokens"])
            for entity in answer["entities"]:
                assert text[entity["start"] : entity["end"]] == entity["text"] and entity["label"] in ("LOC", "PER")
    (tmp_path / "lines.txt").write_text("the good film , a boring plot\n")
    done = run("peft-predict", "--adapter", tag_run / "best", "--input", tmp_path / "lines.txt")
    assert done.returncode == 0 and len(json.loads(done.stdout)["tags"]) == 7


def test_a_merged_model_answers_alike(world, tagged, tag_run, tmp_path):
    done = run("peft-tool", "merge", "--adapter", tag_run / "best", "--output", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["architectures"] == ["BertForTokenClassification"]
    scores = []
    for folder in (tag_run / "best", tmp_path / "merged"):
        done = run("peft-eval", "--adapter", folder, "--data", tagged["lists"], "--task", "token_classification")
        assert done.returncode == 0, done.stderr
        scores.append(json.loads(done.stdout)["loss"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


BAD_TAGS = {
    "two columns, then three": ("conll", "a O\nb NN O\n\n", "train.conll:2: 3 columns, expected 2"),
    "a word without a tag": ("conll", "a\nb\n\n", "train.conll:1: no -1"),
    "an empty file": ("conll", "\n\n", "no examples"),
    "no UTF-8": ("conll", b"a\xff O\n", "train.conll:1: byte 2: invalid UTF-8"),
    "as many tags as words": ("jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n', "train.jsonl:1: 1 tags for 2 words"),
    "tags that are no list": ("jsonl", '{"tokens": ["a"], "tags": "O"}\n', "label is a string, expected a list"),
    "words that are no texts": ("jsonl", '{"tokens": [1], "tags": ["O"]}\n', "tokens[0] is an integer, expected a string"),
    "words that are not in the text": ("jsonl", '{"text": "a b", "tokens": ["b", "a"], "tags": ["O", "O"]}\n', 'tokens[1] "a" does not follow'),
    "a span behind the text": ("jsonl", '{"text": "a b", "spans": [{"start": 2, "end": 9, "label": "X"}]}\n', "spans[0]: start 2 and end 9 are no part of the text, which has 3"),
    "spans that overlap": ("jsonl", '{"text": "a b c", "spans": [{"start": 0, "end": 3, "label": "X"}, {"start": 2, "end": 5, "label": "Y"}]}\n', "0 to 3 and 2 to 5 overlap"),
    "a span of spaces": ("jsonl", '{"text": "a  b", "spans": [{"start": 1, "end": 2, "label": "X"}]}\n', "1 to 2 holds no word"),
    "a span without label": ("jsonl", '{"text": "a", "spans": [{"start": 0, "end": 1}]}\n', "spans[0].label"),
    "neither words nor text": ("jsonl", '{"tags": ["O"]}\n', "no tokens and no text"),
}


@pytest.mark.parametrize("name", BAD_TAGS)
def test_bad_tags_are_one_line(world, tmp_path, name):
    ending, text, message = BAD_TAGS[name]
    file = tmp_path / f"train.{ending}"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_one_line(run("peft-tool", "data", "--task", "token_classification", "--data", tmp_path, "--model", world.model, "--set", 'data.labels=["O"]'), DATA, message)


def questions(rng, count):
    rows = []
    for i in range(count):
        context = " ".join(rng.choices(WORDS, k=rng.randint(5, 40)))
        words = context.split()
        first = rng.randrange(len(words))
        answer = " ".join(words[first : first + rng.randint(1, 3)])
        start = len(" ".join(words[:first])) + (first > 0)
        rows.append({"id": f"q{i}", "question": " ".join(rng.choices(WORDS, k=4)), "context": context, "answer": answer, "start": start})
    return rows


def squad(rows):
    paragraphs = [{"context": r["context"], "qas": [{"id": r["id"], "question": r["question"], "answers": [{"text": r["answer"], "answer_start": r["start"]}]}]} for r in rows]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs[i : i + 3]} for i in range(0, len(paragraphs), 3)]}


def mrqa(rows):
    lines = [{"header": {"dataset": "X", "split": "train"}}]
    for r in rows:
        detected = [{"text": r["answer"], "char_spans": [[r["start"], r["start"] + len(r["answer"]) - 1]]}]
        lines.append({"context": r["context"], "qas": [{"qid": r["id"], "question": r["question"], "answers": [r["answer"]], "detected_answers": detected}]})
    return lines


def flat(rows):
    return [{"id": r["id"], "question": r["question"], "context": r["context"], "answers": {"text": [r["answer"]], "answer_start": [r["start"]]}} for r in rows]


QUESTION_SHAPES = {
    "squad": lambda rows, folder: write_text(folder.with_suffix(".json"), json.dumps(squad(rows))),
    "squad in lines": lambda rows, folder: write_text(folder.with_suffix(".json"), json.dumps(squad(rows), indent=2)),
    "mrqa": lambda rows, folder: write_lines(folder.with_suffix(".jsonl"), mrqa(rows)),
    "flat": lambda rows, folder: write_lines(folder.with_suffix(".jsonl"), flat(rows)),
    "flat, texts alone": lambda rows, folder: write_lines(folder.with_suffix(".jsonl"), [r | {"answers": r["answers"]["text"]} for r in flat(rows)]),
    "parquet": lambda rows, folder: pq.write_table(pa.Table.from_pylist(flat(rows)), folder.with_suffix(".parquet")),
}


def test_every_shape_of_questions_gives_the_same_scores(world, tmp_path):
    rng = random.Random(5)
    rows = {"train": questions(rng, 30), "dev": questions(rng, 20)}
    seen = []
    for name, write in QUESTION_SHAPES.items():
        folder = tmp_path / name
        folder.mkdir()
        for split, made in rows.items():
            write(made, folder / split)
        config = world.config("lora", tmp_path / f"run {name}", {"max_steps": 5, "eval_steps": 5, "learning_rate": 0.01, "lr_scheduler_type": "constant"}, task={"name": "squad", "data": str(folder), "max_length": 24, "doc_stride": 4})
        numbers = metrics(world.finished(config))
        seen.append({key: numbers[key] for key in ("eval_loss", "eval_squad_f1", "eval_squad_em")})
        report = data_of(world, "span", folder, "--max-length", 24, "--set", "task.doc_stride=4")
        assert report["splits"]["dev"]["rows"] == 20 and report["splits"]["dev"]["skipped"] == {}
    for name, numbers in zip(QUESTION_SHAPES, seen):
        if name != "flat, texts alone":  # the first place of an answer, not the given one
            assert numbers == seen[0], name


def test_questions_are_answered(world, tmp_path):
    rng = random.Random(6)
    made = questions(rng, 30)
    unanswerable = [r | {"answers": {"text": [], "answer_start": []}} for r in flat(questions(rng, 10))]
    write_lines(tmp_path / "data" / "train.jsonl", flat(made) + unanswerable)
    write_lines(tmp_path / "data" / "dev.jsonl", flat(made)[:10] + unanswerable)
    config = world.config("prefix", tmp_path / "run", {"max_steps": 10, "eval_steps": 5}, task={"name": "squad_v2", "data": str(tmp_path / "data"), "max_length": 24})
    folder = world.finished(config)
    assert 0 <= metrics(folder)["eval_squad_v2_f1"] <= 1
    lines = [json.loads(line) for line in (folder / "predictions" / "dev.jsonl").read_text().splitlines()]
    assert [line["reference"] for line in lines[10:]] == [[""]] * 10 and lines[0]["id"] == "q0"
    write_lines(tmp_path / "in.jsonl", [{"question": r["question"], "context": r["context"]} for r in made])
    done = run("peft-predict", "--adapter", folder / "best", "--input", tmp_path / "in.jsonl")
    assert done.returncode == 0, done.stderr
    for line, row in zip(done.stdout.splitlines(), made):
        answer = json.loads(line)
        if answer["answer"]:
            assert row["context"][answer["start"] : answer["end"]] == answer["answer"]


BAD_QUESTIONS = {
    "an answer that is elsewhere": ('{"question": "q", "context": "a b", "answers": {"text": ["b"], "answer_start": [0]}}\n', '"b" does not stand at character 0'),
    "an answer that is nowhere": ('{"question": "q", "context": "a b", "answers": ["c"]}\n', '"c" does not stand in the context'),
    "as many places as answers": ('{"question": "q", "context": "a b", "answers": {"text": ["a", "b"], "answer_start": [0]}}\n', "answer_start has 1 members, answers.text 2"),
    "a place that is no number": ('{"question": "q", "context": "a b", "answers": {"text": ["a"], "answer_start": ["x"]}}\n', "answer_start[0]"),
    "no answers": ('{"question": "q", "context": "a b"}\n', "no answers.text"),
    "no context": ('{"question": "q", "answers": {"text": ["a"]}}\n', "context"),
    "a question that fills the window": (json.dumps({"question": "a " * 40, "context": "b", "answers": ["b"]}) + "\n", "no room for the text"),
}


@pytest.mark.parametrize("name", BAD_QUESTIONS)
def test_bad_questions_are_one_line(world, tmp_path, name):
    text, message = BAD_QUESTIONS[name]
    (tmp_path / "train.jsonl").write_text(text)
    done = run("peft-tool", "data", "--task", "span", "--data", tmp_path, "--model", world.model, "--max-length", 24)
    assert_one_line(done, DATA, "train.jsonl:1", message)


def test_a_head_of_another_kind_is_refused(world, tagged, tag_run):
    """A head for five tags is none for five classes."""
    rows = [{"text": "a film", "label": tag} for tag in TAGS]
    write_lines(world.path / "five" / "dev.jsonl", rows)
    done = run("peft-eval", "--adapter", tag_run / "best", "--task", "classification", "--data", world.path / "five" / "dev.jsonl", "--split", "dev")
    assert_one_line(done, DATA, "the head is for TOKEN_CLS, classification needs one for SEQ_CLS")
