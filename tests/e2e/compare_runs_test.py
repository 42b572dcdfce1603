"""Two trained runs: what a constant answer would score, peft-tool compare and aggregate on their folders."""

import collections
import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import World, metrics, run  # noqa: E402


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("compare"), dev_rows=25)


@pytest.fixture(scope="module")
def runs(world):
    return [world.finished(world.config(m, world.path / m, {"max_steps": steps})) for m, steps in (("full", 60), ("linear_probe", 5))]


def dev_rows(folder):
    return [json.loads(line) for line in (folder / "predictions" / "dev.jsonl").read_text().splitlines()]


def succeed(*arguments):
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_and_peft_eval_tell_what_the_commonest_class_would_score(runs):
    references = [row["reference"] for row in dev_rows(runs[0])]
    [(commonest, count)] = collections.Counter(references).most_common(1)
    expected = {"prediction": commonest, "accuracy": count / 25, "macro_f1": count / (25 + count)}
    assert expected["accuracy"] == 13 / 25
    told = metrics(runs[0])["eval_majority"]
    assert told == pytest.approx(expected)
    report = json.loads(succeed("peft-eval", "--adapter", runs[0], "--bootstrap", 0))
    assert report["majority"] == told


def test_a_regression_has_no_commonest_answer(world):
    (world.data / "scores").mkdir()
    for split in ("train", "dev"):
        (world.data / "scores" / f"{split}.tsv").write_text("text\tlabel\n" + "".join(f"good {i}\t{i}\n" for i in range(12)))
    folder = world.finished(world.config("linear_probe", world.path / "scores", {"max_steps": 2},
                                         task={"name": "regression", "data": str(world.data / "scores")}))  # fmt: skip
    assert "eval_majority" not in metrics(folder)
    assert "majority" not in json.loads(succeed("peft-eval", "--adapter", folder))


def test_two_runs_are_compared_row_by_row(runs):
    a, b = (dev_rows(folder) for folder in runs)
    right = [[row["prediction"] == row["reference"] for row in side] for side in (a, b)]
    got = json.loads(succeed("peft-tool", "compare", *runs, "--bootstrap", 200))
    assert got["metric"] == "accuracy" and got["n"] == 25
    assert got["a"] == metrics(runs[0])["eval_accuracy"] and got["b"] == metrics(runs[1])["eval_accuracy"]
    assert got["only_a"] == sum(x and not y for x, y in zip(*right)) and got["only_b"] == sum(y and not x for x, y in zip(*right))
    assert got["ci95"][0] <= got["difference"] <= got["ci95"][1] and 0 < got["p_bootstrap"] <= 1 and 0 < got["p_mcnemar"] <= 1


def test_runs_of_another_task_are_passed_over_by_a_benchmark(runs):
    done = run("peft-tool", "aggregate", "--benchmark", "glue8", *runs)
    assert done.returncode == 0 and "no finished run" in done.stdout and "missing: mnli, qqp," in done.stdout
    assert done.stderr.count("passed over: its task is not part of glue8") == 2


def test_a_run_with_a_test_split_is_compared_on_it(world):
    split = {"data": {"split_policy": "holdout", "dev_size": 20}}
    runs = [world.finished(world.config("linear_probe", world.path / f"holdout-{seed}", {"max_steps": 3, "seed": seed}, **split)) for seed in (1, 2)]
    assert metrics(runs[0])["reported_split"] == "test" and metrics(runs[0])["test_majority"]["accuracy"] == 13 / 25
    got = json.loads(succeed("peft-tool", "compare", *runs, "--bootstrap", 50))
    assert (got["split"], got["n"]) == ("test", 25) and got["a"] == metrics(runs[0])["test_accuracy"]
