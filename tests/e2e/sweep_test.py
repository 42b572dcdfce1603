"""peft-sweep: a table from many runs, each an ordinary run folder, whatever interrupts it."""

import json
import random
import signal
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import World, assert_same_results, contents, run, start  # noqa: E402

GRID = {"train.learning_rate": [3e-3, 1e-2], "train.seed": [1, 2], "method": [{"type": "lora", "r": 2}, {"type": "prompt", "num_virtual_tokens": 3}, {"type": "full"}]}
JOBS = 12
TRAIN = {"max_steps": 40, "eval_steps": 10, "save_steps": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def whole(world):
    """A sweep that never stopped."""
    config = sweep_config(world, "whole")
    done = run("peft-sweep", "--config", config)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (world.path / "whole" / "summary.md").read_text()
    return world.path / "whole"


def sweep_config(world, name, grid=GRID, train=TRAIN):
    config = world.config("lora", world.path / name, train) | {"sweep": grid}
    return world.write_config(config, name)


def finished(folder):
    return sorted(f.parent.name for f in folder.glob("*/metrics.json"))


def test_every_job_is_an_ordinary_run(world, whole):
    assert len(finished(whole)) == JOBS
    job = whole / "lora-r=2-learning_rate=0.01-seed=2"
    config = json.loads((job / "config.json").read_text())
    assert config["train"]["seed"] == 2 and config["method"]["r"] == 2 and "sweep" not in config
    single = world.finished(config | {"output": str(world.path / "single")})
    ours, alone = (json.loads((f / "metrics.json").read_text()) for f in (job, single))
    assert abs(ours["eval_loss"] - alone["eval_loss"]) < 1e-3 and ours["trainable_parameters"] == alone["trainable_parameters"]
    evaluated = run("peft-eval", "--adapter", job)
    assert evaluated.returncode == 0 and json.loads(evaluated.stdout)["accuracy"] == ours["eval_accuracy"]


def test_table_sums_up_the_runs(whole):
    rows = [line.split(",") for line in (whole / "summary.csv").read_text().splitlines()]
    header = rows[0]
    assert header[2:] == ["task", "metric", "runs", "best", "median", "spread", "trained parameters", "note"] and len(rows) == 1 + JOBS // 2
    scores = {}
    for name in finished(whole):
        scores.setdefault(name.rpartition("-seed")[0], []).append(json.loads((whole / name / "metrics.json").read_text())["eval_accuracy"])
    best = sorted((f"{max(v):.4f}", f"{sum(v) / 2:.4f}") for v in scores.values())
    assert sorted((r[5], r[6]) for r in rows[1:]) == best


def test_killed_at_ten_moments_ends_in_the_same_table(world, whole):
    rng = random.Random(3)
    config, folder = sweep_config(world, "parts"), world.path / "parts"
    kills = 0
    before = {}
    while kills < 10:
        process = start("peft-sweep", "--config", config, *(["--resume"] if (folder / "sweep.json").exists() else []))
        time.sleep(rng.uniform(0.1, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        if process.returncode == 0:
            break
        kills += 1
        now = {name: (folder / name / "metrics.json").read_bytes() for name in finished(folder)}
        assert before.items() <= now.items()  # what was finished is not done again
        before = now
    assert kills > 2
    done = run("peft-sweep", "--config", config, "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (whole / "summary.md").read_text()
    for name in finished(whole):
        assert_same_results(folder / name, whole / name)


def test_a_signal_saves_and_the_sweep_goes_on(world, whole):
    config, folder = sweep_config(world, "signal"), world.path / "signal"
    process = start("peft-sweep", "--config", config)
    while not list(folder.glob("*/log.jsonl")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and "--resume" in errors.splitlines()[-1], errors
    again = run("peft-sweep", "--config", config)
    assert again.returncode == 2 and "already holds a sweep" in again.stderr
    assert run("peft-sweep", "--config", config, "--resume").stdout == (whole / "summary.md").read_text()


def test_a_longer_list_only_adds_runs(world):
    config = sweep_config(world, "longer", {"train.seed": [1, 2]})
    assert run("peft-sweep", "--config", config).returncode == 0
    before = (world.path / "longer" / "seed=1" / "metrics.json").stat().st_mtime_ns
    config = sweep_config(world, "longer", {"train.seed": [1, 2, 3]})
    assert run("peft-sweep", "--config", config, "--resume").returncode == 0
    assert finished(world.path / "longer") == ["seed=1", "seed=2", "seed=3"]
    assert (world.path / "longer" / "seed=1" / "metrics.json").stat().st_mtime_ns == before


def test_a_finished_run_is_not_taken_for_one_with_other_numbers(world):
    config = sweep_config(world, "other", {"train.seed": [1]})
    assert run("peft-sweep", "--config", config).returncode == 0
    before = contents(world.path / "other")
    again = run("peft-sweep", "--config", config, "--resume", "--set", "train.learning_rate=0.5")
    assert again.returncode == 2 and again.stderr.count("\n") == 1 and "train.learning_rate" in again.stderr, again.stderr
    assert contents(world.path / "other") == before  # sweep.json too
    assert run("peft-sweep", "--config", config, "--resume").returncode == 0


def test_a_refused_bank_keeps_no_other_waiting(world):
    config = sweep_config(world, "refused", {"method.r": [100, 2], "train.seed": [1]})
    done = run("peft-sweep", "--config", config)
    assert done.returncode == 2 and "method.r" in done.stderr.splitlines()[-1], done.stderr
    assert finished(world.path / "refused") == ["r=2-seed=1"]


def test_a_diverging_run_leaves_its_bank_alone(world):
    config = sweep_config(world, "diverging", {"train.learning_rate": [1e-2, 1e30]})
    done = run("peft-sweep", "--config", config)
    assert done.returncode == 0 and "learning_rate=1e+30" in done.stderr
    assert finished(world.path / "diverging") == ["learning_rate=0.01"]
    assert "1 without a score" in done.stdout
    stopped = json.loads((world.path / "diverging" / "learning_rate=1e+30" / "stopped.json").read_text())
    before = contents(world.path / "diverging")
    again = run("peft-sweep", "--config", config, "--resume")  # it would only stop again
    assert again.returncode == 0 and again.stdout == done.stdout and stopped["message"] in again.stderr
    assert contents(world.path / "diverging") == before


def test_dry_run_writes_nothing(world):
    done = run("peft-sweep", "--config", sweep_config(world, "dry"), "--dry-run")
    assert done.returncode == 0 and "12 runs in 6 banks" in done.stdout and not (world.path / "dry").exists()


@pytest.mark.parametrize("grid, message", [({"train.learning_rat": [1]}, "learning_rat"), ({"train.seed": 3}, "expected a list"), ({}, "sweep")])
def test_bad_sweeps_are_refused_before_anything_is_written(world, grid, message):
    done = run("peft-sweep", "--config", sweep_config(world, "bad", grid))
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (world.path / "bad").exists()
