"""Runs of an older program: runs_of_e31230f holds one of every method, killed on its way. They still open, evaluate and go on.

Beside each run lie the predictions of its best/ when it was killed (best.jsonl) and those of the same run uninterrupted (finished.jsonl). "@" in
its files stands for the folder. Other processors round otherwise: labels are compared, and scores to four digits.
"""

import json
import shutil

import pytest

from e2e_runs import ROOT, run

RUNS = ROOT / "tests" / "e2e" / "runs_of_e31230f"
NAMES = sorted(file.parent.name for file in RUNS.glob("*/config.json") if (file.parent / "best").is_dir())


@pytest.fixture
def older(tmp_path):
    """A copy of the runs whose files name its own folder."""
    world = shutil.copytree(RUNS, tmp_path / "world")
    for file in world.rglob("*config.json"):
        file.write_text(file.read_text().replace('"@/', f'"{world}/'))
    return world


def predictions(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def assert_same_predictions(ours, expected):
    assert [(row["idx"], row["prediction"], row["reference"]) for row in ours] == [(row["idx"], row["prediction"], row["reference"]) for row in expected]
    for one, other in zip(ours, expected):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_evaluates_to_the_same_predictions(older, tmp_path, name):
    done = run("peft-eval", "--adapter", older / name, "--predictions", tmp_path / "ours.jsonl", "--bootstrap", 0)
    assert done.returncode == 0 and "not the model" not in done.stderr, done.stderr
    assert_same_predictions(predictions(tmp_path / "ours.jsonl"), predictions(RUNS / name / "best.jsonl"))


@pytest.mark.parametrize("name", NAMES)
def test_goes_on_to_the_same_predictions(older, name):
    folder = older / name
    done = run("peft-train", "--config", folder / "config.json", "--resume")
    assert done.returncode == 0 and "going on from step 1" in done.stderr, done.stderr
    assert json.loads(done.stdout)["global_step"] == 200
    found = predictions(folder / "predictions" / "dev.jsonl")
    assert_same_predictions(found, predictions(RUNS / name / "finished.jsonl"))
    if (RUNS / name / "best.jsonl").read_text() != (RUNS / name / "finished.jsonl").read_text():
        assert found != predictions(RUNS / name / "best.jsonl")  # it trained on


@pytest.mark.parametrize("name", NAMES)
def test_training_may_start_from_it(older, name):
    """init_from: one step at rate 0 keeps what best/ holds."""
    config = json.loads((older / name / "config.json").read_text())
    config["method"]["init_from"], config["output"] = str(older / name), str(older / "next")
    config["train"] |= {"max_steps": 1, "learning_rate": 0.0}
    (older / "next.json").write_text(json.dumps(config))
    done = run("peft-train", "--config", older / "next.json")
    assert done.returncode == 0, done.stderr
    assert_same_predictions(predictions(older / "next" / "predictions" / "dev.jsonl"), predictions(RUNS / name / "best.jsonl"))
