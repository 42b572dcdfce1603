"""A finished run that is told to be longer ends in the same bytes as one that was that long from the start, or names another way."""

import json
import signal

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import World, assert_same_results, contents, run, wait_for_log  # noqa: E402


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("prolong"))


CONSTANT = {"lr_scheduler_type": "constant", "logging_steps": 1}
EPOCHS = {"batch_size": 7, "max_steps": -1, "logging_steps": 5}
VARIANTS = {  # train section, what is set for the longer run
    "in turn": ("lora", {"max_steps": 20, "eval_steps": 10, "save_steps": 5}, "max_steps=40"),
    "out of turn": ("lora", {"max_steps": 17, "eval_steps": 7, "save_steps": 4, "logging_steps": 5}, "max_steps=30"),
    # Of this seed the evaluation out of turn is the best of the short run, and the longer one has its best before: best/ comes back.
    "best comes back": ("lora", {"max_steps": 17, "eval_steps": 7, "save_steps": 0, "seed": 5}, "max_steps=20"),
    "log out of turn": ("lora", {"max_steps": 20, "eval_steps": 10, "logging_steps": 7}, "max_steps=30"),
    "evaluated at the end": ("lora", {"max_steps": 17, "eval_steps": 0, "save_steps": 0, "logging_steps": 6}, "max_steps=31"),
    "gradients checked at the end": ("lora", {"max_steps": 20, "eval_steps": 0, "logging_steps": 9}, "max_steps=25"),
    "warm-up": ("lora", {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 25, "max_steps": 20, "eval_steps": 6}, "max_steps=40"),
    "epochs": ("lora", EPOCHS | {"num_train_epochs": 2}, "num_train_epochs=4"),
    "half an epoch": ("lora", EPOCHS | {"num_train_epochs": 1.5}, "num_train_epochs=3"),
    "early stop": ("lora", {"max_steps": 200, "eval_steps": 5, "early_stopping_patience": 2, "learning_rate": 1e-5}, "max_steps=300"),
    "reparameterised": ("p_tuning", {"max_steps": 11, "eval_steps": 4, "save_steps": 4, "optim": "sgd", "momentum": 0.9}, "max_steps=20"),
    "whole model": ("full", {"max_steps": 9, "eval_steps": 4, "save_steps": 4}, "max_steps=14"),
    "cached features": ("linear_probe", {"max_steps": 23, "eval_steps": 10}, "max_steps=44"),
}


def longer(train, assignment):
    key, _, value = assignment.partition("=")
    return train | {key: int(value)}


@pytest.mark.parametrize("name", VARIANTS)
def test_prolonged_equals_as_long_from_the_start(world, name):
    method, train, assignment = VARIANTS[name]
    train = CONSTANT | train
    folder = name.replace(" ", "-")
    config = world.config(method, world.path / f"{folder}-short", train)
    short = world.finished(config)
    evaluated = run("peft-eval", "--adapter", short / "best", "--bootstrap", "0")
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["accuracy"] == json.loads((short / "metrics.json").read_text())["eval_accuracy"]
    prolonged = world.finished(config, "--resume", "--set", f"train.{assignment}")
    whole = world.finished(world.config(method, world.path / f"{folder}-long", longer(train, assignment)))
    assert_same_results(prolonged, whole)
    assert json.loads((prolonged / "config.json").read_text())["train"] == json.loads((whole / "config.json").read_text())["train"]


def test_a_prolonged_run_may_be_killed_too(world):
    train = CONSTANT | {"max_steps": 17, "eval_steps": 50, "save_steps": 5, "logging_steps": 5}
    config = world.config("lora", world.path / "killed", train)
    folder = world.finished(config)
    config["train"]["max_steps"] = 1000
    process = world.start(config, "--resume")
    wait_for_log(process, folder / "log.jsonl", 3000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "metrics.json").exists()
    world.finished(config, "--resume")
    assert_same_results(folder, world.finished(world.config("lora", world.path / "unkilled", train | {"max_steps": 1000})))


def test_an_interrupted_run_may_be_prolonged(world):
    train = CONSTANT | {"max_steps": 3000, "eval_steps": 100, "save_steps": 0}
    config = world.config("lora", world.path / "stopped", train)
    process = world.start(config)
    wait_for_log(process, world.path / "stopped" / "log.jsonl", 1500)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    refused = world.train(config, "--resume", "--set", "train.max_steps=2")
    assert refused.returncode == 2 and "max_steps" in refused.stderr
    done = world.start(config, "--resume", "--set", "train.max_steps=3001")
    wait_for_log(done, world.path / "stopped" / "log.jsonl", (world.path / "stopped" / "log.jsonl").stat().st_size + 100)
    done.kill()
    done.communicate()
    assert json.loads((world.path / "stopped" / "config.json").read_text())["train"]["max_steps"] == 3001


@pytest.mark.parametrize("train, parts", [
    ({"lr_scheduler_type": "linear"}, ["train.max_steps", "linear", "method.init_from"]),
    ({"lr_scheduler_type": "cosine"}, ["train.max_steps", "cosine", "method.init_from"]),
    ({"lr_scheduler_type": "constant_with_warmup", "warmup_ratio": 0.1}, ["warmup_ratio", "method.init_from"]),
])  # fmt: skip
def test_where_rates_depend_on_the_length_the_message_names_the_way(world, train, parts):
    name = f"depends-{train['lr_scheduler_type']}"
    config = world.config("lora", world.path / name, {"max_steps": 6} | train)
    folder = world.finished(config)
    before = contents(folder)
    refused = world.train(config, "--resume", "--set", "train.max_steps=9")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert all(part in refused.stderr for part in parts), refused.stderr
    assert contents(folder) == before
    way = refused.stderr.split('method.init_from = "')[1].split('"')[0]
    world.finished(config | {"output": str(world.path / f"{name}-on")}, "--set", f"method.init_from={way}")


def test_nothing_else_may_differ(world):
    config = world.config("lora", world.path / "same", CONSTANT | {"max_steps": 6})
    folder = world.finished(config)
    before = contents(folder)
    for change, key in [("train.max_steps=5", "max_steps"), ("train.num_train_epochs=9", "num_train_epochs")]:
        refused = world.train(config, "--resume", "--set", change)
        assert refused.returncode == 2 and key in refused.stderr
    refused = world.train(config, "--resume", "--set", "train.max_steps=9", "--set", "train.seed=9")
    assert refused.returncode == 2 and "init_from" not in refused.stderr
    assert contents(folder) == before


def test_a_sweep_may_be_prolonged(world):
    def swept(name, steps, *arguments):
        train = CONSTANT | {"max_steps": steps, "eval_steps": 6, "save_steps": 4}
        config = world.config("lora", world.path / name, train) | {"sweep": {"train.seed": [1, 2], "train.learning_rate": [3e-3, 1e-2]}}
        done = run("peft-sweep", "--config", world.write_config(config, name), *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    swept("swept", 10)
    assert swept("swept", 20, "--resume") == swept("swept-long", 20)
    for folder in sorted(f.parent for f in (world.path / "swept-long").glob("*/metrics.json")):
        assert_same_results(world.path / "swept" / folder.name, folder)
