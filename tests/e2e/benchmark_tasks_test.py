"""The tasks of GLUE and SuperGLUE from files in the benchmarks' shapes to scores and predictions: splits of several files, adapters on diagnostic
sets, records that hold many examples."""

import json
import random

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import WORDS, World, metrics, run  # noqa: E402

MNLI = ["entailment", "neutral", "contradiction"]
SIDES = ["promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse", "sentence1", "sentence2"]
ROWS = {"train": 48, "dev": 20, "test": 8}


def text(rng, most=5):
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))


def tsv(file, header, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join("\t".join(map(str, row)) for row in [header, *rows]) + "\n")


def jsonl(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def telling(rng, label):
    """A text whose first word says what MNLI's label is."""
    return ["good ", "dull ", "bad "][label] + text(rng)


def write_mnli(folder, rng):
    def rows(count, labels):
        return [[i, *(["x"] * 7), text(rng), telling(rng, i % 3), *([""] * labels), *([MNLI[i % 3]] if labels else [])] for i in range(count)]

    tsv(folder / "train.tsv", ["index", *SIDES, "label1", "gold_label"], rows(ROWS["train"], 1))
    for part, count in (("matched", 20), ("mismatched", 12)):
        tsv(folder / f"dev_{part}.tsv", ["index", *SIDES, *(f"label{i}" for i in range(1, 6)), "gold_label"], rows(count, 5))
        tsv(folder / f"test_{part}.tsv", ["index", *SIDES], rows(count, 0))


def labelled(make):
    """Writes rows that `make` gives an index, a label 0 or 1 that is None in test, and a random generator."""

    def write(folder, rng):
        for split, count in ROWS.items():
            name = "val" if split == "dev" else split
            jsonl(folder / f"{name}.jsonl", [make(i, None if split == "test" else i % 2, rng) for i in range(count)])

    return write


def with_label(row, label, names):
    return row if label is None else row | {"label": names[label]}


BOOL = [False, True]


def boolq(i, label, rng):
    return with_label({"question": text(rng), "passage": text(rng, 60), "idx": i}, label, BOOL)


def rte(i, label, rng):
    return with_label({"premise": text(rng), "hypothesis": text(rng), "idx": i}, label, ["entailment", "not_entailment"])


def cb(i, label, rng):
    return with_label({"premise": text(rng), "hypothesis": text(rng), "idx": i}, label, ["neutral", "contradiction"])


def wic(i, label, rng):
    return with_label({"word": "film", "sentence1": "a film", "sentence2": "film " + text(rng), "start1": 2, "end1": 6, "start2": 0, "end2": 4, "version": 1.1, "idx": i}, label, BOOL)


def wsc(i, label, rng):
    words = rng.choices(WORDS, k=8)
    target = {"span1_text": words[1], "span1_index": 1, "span2_text": words[5], "span2_index": 5}
    return with_label({"text": " ".join(words), "target": target, "idx": i}, label, BOOL)


def multirc(i, label, rng):
    answers = [[{"text": text(rng), "idx": 5 * i + 3 * q + a} | ({} if label is None else {"label": rng.randrange(2)}) for a in range(2 + q)] for q in range(2)]
    questions = [{"question": text(rng), "idx": 2 * i + q, "answers": answers[q]} for q in range(2)]
    for number, answer in enumerate(answer for question in questions for answer in question["answers"]):
        answer["idx"] = 5 * i + number
    return {"idx": i, "version": 1.1, "passage": {"text": text(rng, 60), "questions": questions}}


def record(i, label, rng):
    passage = "Ann saw Bob. " + text(rng) + "\n@highlight\nCy left"
    entities = [{"start": passage.index(name), "end": passage.index(name) + len(name) - 1} for name in ("Ann", "Bob", "Cy")]
    answer = rng.choice(["Ann", "Bob"])
    answers = {} if label is None else {"answers": [{"start": passage.index(answer), "end": passage.index(answer) + 2, "text": answer}]}
    return {"idx": i, "source": "x", "passage": {"text": passage, "entities": entities}, "qas": [{"query": "@placeholder " + text(rng), "idx": i} | answers]}


def winogrande(i, label, rng):
    return {"sentence": f"{text(rng)} _ {text(rng)}", "option1": "film", "option2": "movie", "answer": "" if label is None else str(label + 1)}


def write_qqp(folder, rng):
    for split in ("train", "dev"):
        rows = [[i, 2 * i, 2 * i + 1, text(rng), text(rng), i % 2] for i in range(ROWS[split])]
        tsv(folder / f"{split}.tsv", ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"], rows)
    tsv(folder / "test.tsv", ["id", "question1", "question2"], [[i, text(rng), text(rng)] for i in range(ROWS["test"])])


def write_yelp(folder, rng):
    for split in ("train", "dev", "test"):
        (folder / f"{split}.csv").write_text("".join(f'"{1 + i % 2}","{text(rng)}, ""{text(rng)}"""\n' for i in range(ROWS[split])))


def write_scitail(folder, rng):
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text("".join(f"{text(rng)}\t{text(rng)}\t{['entails', 'neutral'][i % 2]}\n" for i in range(ROWS[split])))


def write_paws(folder, rng):
    for split in ("train", "dev", "test"):
        tsv(folder / f"{split}.tsv", ["id", "sentence1", "sentence2", "label"], [[i, text(rng), text(rng), i % 2] for i in range(ROWS[split])])


TASKS = {  # task: (folder, writer, metrics)
    "mnli": ("MNLI", write_mnli, ["accuracy", "accuracy_matched", "accuracy_mismatched"]),
    "qqp": ("QQP", write_qqp, ["accuracy", "f1"]),
    "boolq": ("BoolQ", labelled(boolq), ["accuracy"]),
    "cb": ("CB", labelled(cb), ["macro_f1", "accuracy"]),
    "rte": ("RTE", labelled(rte), ["accuracy"]),
    "wic": ("WiC", labelled(wic), ["accuracy"]),
    "wsc": ("WSC", labelled(wsc), ["accuracy"]),
    "multirc": ("MultiRC", labelled(multirc), ["multirc_f1a", "multirc_em", "multirc_f1m"]),
    "record": ("ReCoRD", labelled(record), ["accuracy"]),
    "winogrande": ("WinoGrande", labelled(winogrande), ["accuracy"]),
    "yelp": ("yelp_polarity", write_yelp, ["accuracy"]),
    "scitail": ("SciTail", write_scitail, ["accuracy"]),
    "paws": ("PAWS", write_paws, ["accuracy"]),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("benchmarks"))
    made.data = made.path / "dumps"
    rng = random.Random(3)
    for folder, write, _ in TASKS.values():
        (made.data / folder).mkdir(parents=True)
        write(made.data / folder, rng)
    pairs = [(text(rng), telling(rng, i % 3)) for i in range(16)]
    tsv(made.data / "AX" / "diagnostic.tsv", ["index", "sentence1", "sentence2"], [[i, a, b] for i, (a, b) in enumerate(pairs)])
    names = ["entailment", "not_entailment"]
    jsonl(made.data / "AX-b" / "AX-b.jsonl", [{"idx": str(i), "sentence1": a, "sentence2": b, "label": names[i % 2], "logic": "x"} for i, (a, b) in enumerate(pairs)])
    jsonl(made.data / "AX-g" / "AX-g.jsonl", [{"idx": i, "premise": a, "hypothesis": b, "label": names[i // 2 % 2], "pair_id": 7 * i} for i, (a, b) in enumerate(pairs)])
    return made


@pytest.fixture(scope="module")
def trained(world):
    """trained(task) -> the run folder, made once."""
    folders = {}

    def make(task):
        if task not in folders:
            out = world.path / f"run-{task}"
            steps = 80 if task == "mnli" else 6
            config = world.config("lora", out, train={"max_steps": steps}, task={"name": task, "data": str(world.data)})
            folders[task] = world.finished(config)
        return folders[task]

    return make


def evaluate(*arguments):
    done = run("peft-eval", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_trained_and_scored(world, trained, task):
    out = trained(task)
    scores = metrics(out)
    for metric in TASKS[task][2]:
        assert 0 <= scores[f"eval_{metric}"] <= 1
    assert scores["best_metric"] == TASKS[task][2][0]
    report = evaluate("--adapter", out, "--bootstrap", 20)
    for metric in TASKS[task][2]:
        assert report[metric] == pytest.approx(scores[f"eval_{metric}"]) and len(report["ci95"][metric]) == 2
    told = json.loads((out / "best" / "task.json").read_text())["scores"]
    assert all(told[metric] == pytest.approx(scores[f"eval_{metric}"]) for metric in TASKS[task][2])
    test = evaluate("--adapter", out, "--split", "test", "--predictions", world.path / "test.jsonl")
    assert len(lines(world.path / "test.jsonl")) == test["n"] and test["split"] == "test"


def test_mnli_is_scored_by_part_and_pooled(world, trained, tmp_path):
    out = trained("mnli")
    scores, rows = metrics(out), lines(out / "predictions" / "dev.jsonl")
    right = {part: [row["prediction"] == row["reference"] for row in rows if row["part"] == part] for part in ("matched", "mismatched")}
    assert [len(hits) for hits in right.values()] == [20, 12]
    for part, hits in right.items():
        assert scores[f"eval_accuracy_{part}"] == pytest.approx(sum(hits) / len(hits))
    assert scores["eval_accuracy"] == pytest.approx(sum(map(sum, right.values())) / 32) and scores["eval_samples"] == 32
    for name, part in (("dev_matched", "matched"), ("validation-mm", "mismatched")):
        report = evaluate("--adapter", out, "--split", name, "--predictions", tmp_path / "p")
        assert report["split"] == f"dev_{part}" and report["accuracy"] == pytest.approx(scores[f"eval_accuracy_{part}"])
        assert "accuracy_matched" not in report
        assert [row["prediction"] for row in lines(tmp_path / "p")] == [row["prediction"] for row in rows if row["part"] == part]
    report = evaluate("--adapter", out, "--split", "test_mismatched", "--predictions", tmp_path / "p")
    assert report["n"] == 12 and "accuracy" not in report
    assert [row["idx"] for row in lines(tmp_path / "p")] == list(range(12)) and all(row["prediction"] in MNLI for row in lines(tmp_path / "p"))
    done = run("peft-eval", "--adapter", out, "--split", "dev_other")
    assert done.returncode == 2 and "dev_mismatched" in done.stderr and done.stderr.count("\n") == 1


def test_an_mnli_adapter_answers_the_diagnostic_sets(world, trained, tmp_path):
    out = trained("mnli")
    report = evaluate("--adapter", out, "--task", "ax", "--data", world.data, "--split", "test", "--predictions", tmp_path / "ax")
    assert report["n"] == 16 and "accuracy" not in report
    three = [row["prediction"] for row in lines(tmp_path / "ax")]
    report = evaluate("--adapter", out, "--task", "axb", "--data", world.data, "--split", "test", "--predictions", tmp_path / "axb")
    rows = lines(tmp_path / "axb")
    assert [row["idx"] for row in rows] == list(range(16)) and all(len(row["scores"]) == 3 for row in rows)
    assert [row["prediction"] for row in rows] == ["entailment" if name == "entailment" else "not_entailment" for name in three], "the same texts"
    assert report["accuracy"] == pytest.approx(sum(row["prediction"] == row["reference"] for row in rows) / 16) and report["loss"] is None
    assert len(set(three)) > 1 and "mcc" in report


def test_an_rte_adapter_answers_the_diagnostic_sets(world, trained, tmp_path):
    out = trained("rte")
    for task in ("axb", "axg"):
        report = evaluate("--adapter", out, "--task", task, "--data", world.data, "--split", "test", "--predictions", tmp_path / task)
        rows = lines(tmp_path / task)
        assert report["accuracy"] == pytest.approx(sum(row["prediction"] == row["reference"] for row in rows) / 16) and report["loss"] > 0
    assert [row["group"] for row in rows] == [i // 2 for i in range(16)]
    alike = sum(a["prediction"] == b["prediction"] for a, b in zip(rows[::2], rows[1::2]))
    assert report["gender_parity"] == pytest.approx(alike / 8)
    done = run("peft-train", "--config", world.write_config(world.config("lora", tmp_path / "out", task={"name": "axb", "data": str(world.data)})))
    assert done.returncode == 3 and "for adapters of rte" in done.stderr and done.stderr.count("\n") == 1


def test_plain_rte_is_resolved_by_the_files(world, trained):
    out = trained("rte")
    assert json.loads((out / "config.json").read_text())["task"]["name"] == "superglue/rte"
    config = world.config("lora", out, train={"max_steps": 6}, task={"name": "rte", "data": str(world.data)})
    done = run("peft-train", "--config", world.write_config(config), "--resume")
    assert done.returncode == 0, done.stderr
    assert evaluate("--adapter", out, "--task", "rte")["task"] == "superglue/rte"
    glue = world.path / "glue" / "RTE"
    tsv(glue / "dev.tsv", ["index", "sentence1", "sentence2", "label"], [[0, "a", "b", "entailment"]])
    assert evaluate("--adapter", out, "--task", "rte", "--data", glue)["task"] == "glue/rte"


def test_multirc_is_scored_by_question(trained):
    out = trained("multirc")
    rows = lines(out / "predictions" / "dev.jsonl")
    assert [row["idx"]["answer"] for row in rows] == list(range(100)) and rows[99]["idx"] == {"paragraph": 19, "question": 39, "answer": 99}
    questions = {}
    for row in rows:
        assert row["group"] == row["idx"]["question"]
        questions.setdefault(row["group"], []).append(row["prediction"] == row["reference"])
    assert metrics(out)["eval_multirc_em"] == pytest.approx(sum(map(all, questions.values())) / len(questions))


def test_record_predicts_entities(trained):
    rows = lines(trained("record") / "predictions" / "dev.jsonl")
    assert all(row["prediction"] in ("Ann", "Bob", "Cy") and len(row["scores"]) == 6 and len(row["reference"]) == 1 for row in rows)
    assert rows[3]["idx"] == {"passage": 3, "query": 3}
    hits = sum(row["prediction"] in row["reference"] for row in rows)
    assert metrics(trained("record"))["eval_accuracy"] == pytest.approx(hits / len(rows))


def test_bad_records_end_in_one_line(world, tmp_path):
    row = multirc(0, 0, random.Random(1))
    row["passage"]["questions"][1]["answers"][2]["label"] = "1"
    jsonl(tmp_path / "train.jsonl", [multirc(1, 0, random.Random(2)), row])
    done = run("peft-train", "--config", world.write_config(world.config("lora", tmp_path / "out", task={"name": "multirc", "data": str(tmp_path)})))
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "train.jsonl:2: passage.questions[1].answers[2].label is a string, expected 0 or 1" in done.stderr
    assert not (tmp_path / "out").exists()


def test_torn_rows_of_qqp_are_told_and_counted(world, trained, tmp_path):
    lines_of = (world.data / "QQP" / "train.tsv").read_text().splitlines() * 3
    torn = lines_of[0:1] + ["7\t1\t2\ta question", " torn\tin two\t0"] + [f"{i}\t" + row.split("\t", 1)[1] for i, row in enumerate(lines_of[1:]) if row[:2] != "id"]
    (tmp_path / "train.tsv").write_text("\n".join(torn) + "\n")
    config = world.config("lora", tmp_path / "out", train={"max_steps": 1}, task={"name": "qqp", "data": str(tmp_path)}, data={"max_bad_fraction": 0.02})
    done = run("peft-train", "--config", world.write_config(config))
    assert done.returncode == 0 and "2 of 146 rows skipped (columns 2)" in done.stderr, done.stderr
    assert metrics(tmp_path / "out")["skipped"] == {"columns": 2}
    config["data"]["on_bad_row"] = "error"
    config["output"] = str(tmp_path / "other")
    done = run("peft-train", "--config", world.write_config(config))
    assert done.returncode == 3 and "train.tsv:2: 4 columns, expected 6" in done.stderr
