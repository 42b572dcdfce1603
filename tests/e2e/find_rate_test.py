"""peft-sweep --find-rate: ten rates in one bank, a table and a suggestion."""

import json
import re

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import World, log_lines, run  # noqa: E402

TRAIN = {"num_train_epochs": 3, "max_steps": -1, "batch_size": 8, "warmup_steps": 15}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("find_rate"), train_rows=200, dev_rows=60)


@pytest.fixture(scope="module")
def found(world):
    done = run("peft-sweep", "--config", world.write_config(world.config("lora", world.path / "run", TRAIN, model={"dropout": 0})), "--find-rate")
    assert done.returncode == 0, done.stderr
    return done


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if re.match(r"\| +[\d.e-]+ \|", line)]


def test_prints_what_summary_md_holds(world, found):
    folder = world.path / "run-find-rate"
    assert found.stdout == (folder / "summary.md").read_text() and "finding" not in found.stderr and "rate_too" not in found.stderr
    assert not (world.path / "run").exists()  # free for the run itself
    table = rows(found.stdout)
    assert [float(row[0]) for row in table] == [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3]
    for row in table:
        run_folder = folder / f"learning_rate={float(row[0])!r}"
        losses = [line["loss"] for line in log_lines(run_folder) if "loss" in line]
        assert len(losses) == 75  # 200 rows, batch 8, 3 epochs
        assert float(row[1]) == pytest.approx(sum(losses[-7:]) / 7, abs=1e-4)
        assert float(row[2]) == pytest.approx(json.loads((run_folder / "metrics.json").read_text())["eval_accuracy"], abs=1e-4)


def test_suggests_a_rate_that_learns(world, found):
    marked = [row for row in rows(found.stdout) if row[4] == "suggested"]
    assert len(marked) == 1 and 1e-3 <= float(marked[0][0]) <= 0.1
    assert f"Suggested: train.learning_rate {marked[0][0]}: " in found.stdout
    assert float(marked[0][2]) > max(float(row[2]) for row in rows(found.stdout) if float(row[0]) < 1e-3)


def test_goes_on_with_resume_alone(world, found):
    config = world.path / "run.json"
    again = run("peft-sweep", "--config", config, "--find-rate")
    assert again.returncode == 2 and "--resume" in again.stderr
    assert run("peft-sweep", "--config", config, "--find-rate", "--resume").stdout == found.stdout


def test_is_one_bank(world):
    done = run("peft-sweep", "--config", world.write_config(world.config("lora", world.path / "plan", TRAIN)), "--find-rate", "--dry-run")
    assert done.returncode == 0 and "10 runs in 1 banks" in done.stdout and not (world.path / "plan-find-rate").exists()


def test_refuses_a_sweep(world):
    config = world.config("lora", world.path / "swept", TRAIN) | {"sweep": {"train.seed": [1]}}
    done = run("peft-sweep", "--config", world.write_config(config), "--find-rate")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "sweep: --find-rate takes the config of one run" in done.stderr
