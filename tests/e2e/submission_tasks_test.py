"""Every task of GLUE and SuperGLUE from an adapter to its file for the leaderboard, on small files in the benchmarks' shapes."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmark_tasks_test import trained, world  # noqa: E402, F401
from e2e_runs import run  # noqa: E402

SPELLED = {"boolq": {"False": "false", "True": "true"}, "wic": {"False": "false", "True": "true"}, "qqp": {"not_duplicate": "0", "duplicate": "1"}}
FILES = {"qqp": "QQP.tsv", "boolq": "BoolQ.jsonl", "cb": "CB.jsonl", "rte": "RTE.jsonl", "wic": "WiC.jsonl", "wsc": "WSC.jsonl", "record": "ReCoRD.jsonl"}


def submit(tmp_path, *arguments):
    """The folder, the predictions, the report and the result."""
    out, predictions = tmp_path / "out", tmp_path / "predictions.jsonl"
    done = run("peft-eval", *arguments, "--split", "test", "--submission", out, "--predictions", predictions)
    assert done.returncode == 0, done.stderr
    report, result = map(json.loads, done.stdout.splitlines())
    assert result["failures"] == 0 and sorted(result["files"]) == sorted(result["compared_with_dump"]), done.stderr
    return out, [json.loads(line) for line in predictions.read_text().splitlines()], report, result


def labels(file):
    """{index: label}, in the order of the file."""
    lines = file.read_text().splitlines()
    if file.suffix == ".tsv":
        assert lines[0] == "index\tprediction"
        return {int(i): label for i, label in (line.split("\t") for line in lines[1:])}
    return {row["idx"]: row["label"] for row in map(json.loads, lines)}


@pytest.mark.parametrize("task", FILES)
def test_the_file_holds_what_was_predicted(trained, tmp_path, task):  # noqa: F811
    out, rows, report, _ = submit(tmp_path, "--adapter", trained(task) / "best")
    assert report["submission"] == [str(out / FILES[task])]
    spelled = SPELLED.get(task, {})
    expected = {r["idx"]["query"] if task == "record" else r["idx"]: spelled.get(r["prediction"], r["prediction"]) for r in rows}
    assert labels(out / FILES[task]) == expected and len(expected) == 8


def test_multirc_is_nested_again(trained, tmp_path):  # noqa: F811
    out, rows, _, _ = submit(tmp_path, "--adapter", trained("multirc"))
    passages = [json.loads(line) for line in (out / "MultiRC.jsonl").read_text().splitlines()]
    found = [({"paragraph": p["idx"], "question": q["idx"], "answer": a["idx"]}, a["label"]) for p in passages for q in p["passage"]["questions"] for a in q["answers"]]
    assert found == [(row["idx"], ["False", "True"].index(row["prediction"])) for row in rows] and len(found) == 40
    assert json.loads((out / "manifest.json").read_text())["MultiRC.jsonl"]["rows"] == 40


def test_mnli_writes_both_parts_or_one(trained, tmp_path):  # noqa: F811
    out, rows, report, _ = submit(tmp_path, "--adapter", trained("mnli"))
    assert report["submission"] == [str(out / "MNLI-m.tsv"), str(out / "MNLI-mm.tsv")]
    for name, part, count in (("MNLI-m.tsv", "matched", 20), ("MNLI-mm.tsv", "mismatched", 12)):
        assert labels(out / name) == {row["idx"]: row["prediction"] for row in rows if row["part"] == part} and len(labels(out / name)) == count
    done = run("peft-eval", "--adapter", trained("mnli"), "--split", "test_mm", "--submission", tmp_path / "one")
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[1])["files"] == ["MNLI-mm.tsv"]
    assert (tmp_path / "one" / "MNLI-mm.tsv").read_bytes() == (out / "MNLI-mm.tsv").read_bytes()


@pytest.mark.parametrize("task, name", [("ax", "AX.tsv"), ("axb", "AX-b.jsonl"), ("axg", "AX-g.jsonl")])
def test_an_mnli_adapter_answers_the_diagnostic_sets(world, trained, tmp_path, task, name):  # noqa: F811
    out, rows, report, _ = submit(tmp_path, "--adapter", trained("mnli"), "--task", task, "--data", world.data)
    assert labels(out / name) == {row["idx"]: row["prediction"] for row in rows} and report["n"] == 16


def test_the_official_test_split_is_answered_whatever_the_run_was_scored_on(world, trained, tmp_path):  # noqa: F811
    config = json.loads((trained("boolq") / "config.json").read_text())
    data = config["data"] | {"split_policy": "dept", "limit": {"test": 2}}
    config = world.config("lora", tmp_path / "run", {"max_steps": 2}, task=config["task"], data={k: v for k, v in data.items() if v})
    folder = world.finished(config)
    assert json.loads((folder / "metrics.json").read_text())["split_sizes"]["test"] == 2
    out, rows, report, _ = submit(tmp_path, "--adapter", folder)
    assert report["n"] == 8 and report["split_policy"] == "official" and len(labels(out / "BoolQ.jsonl")) == 8
    done = run("peft-eval", "--adapter", folder, "--submission", tmp_path / "other", "--set", "data.split_policy=dept")
    assert done.returncode == 2 and "--set data.split_policy=dept: expected none of its kind" in done.stderr
