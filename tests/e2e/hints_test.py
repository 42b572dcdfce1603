"""Mistakes that newcomers make end in one line that names the key or the sentence that solves them."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from bad_input import USAGE, assert_one_line, assert_refused, pristine, run_config, world  # noqa: E402, F401
from e2e_runs import run  # noqa: E402

KEYS = {
    "lr": ({"train": {"lr": 1e-3}}, ["train.lr: unknown key", '"train.learning_rate"']),
    "at the top": ({"epochs": 3}, ["epochs: unknown key", '"train.num_train_epochs"']),
    "of another section": ({"train": {"max_seq_length": 128}}, ["train.max_seq_length", '"task.max_length"']),
    "with the form of its value": ({"train": {"eval_strategy": "epoch"}}, ['"train.eval_steps"', "n: every n steps"]),
    "not supported": ({"method": {"type": "lora", "use_dora": True}}, ["method.use_dora", "not supported: "]),
    "float16": ({"model": {"dtype": "float16"}}, ["model.dtype", "not supported: float16"]),
    "adamw_torch": ({"train": {"optim": "adamw_torch"}}, ["train.optim", 'here it is "adamw"']),
    "a method": ({"method": {"type": "prompt_tuning"}}, ["method.type", 'here it is "prompt"']),
    "a task": ({"task": {"name": "snli"}}, ["task.name", "snli", '"classification"']),
    "eval_loss": ({"train": {"metric_for_best_model": "eval_loss"}}, ["train.metric_for_best_model", '"eval_loss"', '"loss"']),
    "eval_accuracy": ({"train": {"metric_for_best_model": "eval_accuracy"}}, ['"eval_accuracy"', 'no "eval_" in front here: "accuracy"']),
    "acc": ({"train": {"metric_for_best_model": "acc"}}, ['here it is "accuracy"']),
    "a pattern": ({"method": {"type": "lora", "r": 2, "rank_pattern": {"qurey": 1}}}, ["method.rank_pattern", '"qurey"', "query, value"]),
    "an exclusion": ({"method": {"type": "lora", "r": 2, "exclude_modules": ["poolr"]}}, ["method.exclude_modules", '"poolr"', "dense"]),
}


@pytest.mark.parametrize("name", KEYS)
def test_names_of_other_programs(world, name):
    changes, parts = KEYS[name]
    config = run_config(world)
    for section, value in changes.items():
        config[section] = (config.get(section, {}) | value) if isinstance(value, dict) else value
    assert_refused(world, config, USAGE, *parts)


@pytest.mark.parametrize("name", ["run.yaml", "run.txt"])
def test_a_yaml_file(tmp_path, name):
    (tmp_path / name).write_text("# mine\nmodel:\n  path: models/minilm\ntrain:\n  learning_rate: 1e-3\n")
    for program in ("peft-train", "peft-sweep"):
        assert_one_line(run(program, "--config", tmp_path / name), USAGE, name, "YAML", "json.dumps(yaml.safe_load")


def test_broken_json_is_not_called_yaml(tmp_path):
    (tmp_path / "run.json").write_text('{"model": {"path": "x"}\n "task": 1}')
    done = run("peft-train", "--config", tmp_path / "run.json")
    assert done.returncode == USAGE and "YAML" not in done.stderr


def test_a_sweep_config_for_peft_train(world):
    file = world.write_config(run_config(world) | {"sweep": {"train.seed": [1, 2]}}, "sweep")
    assert_one_line(run("peft-train", "--config", file), USAGE, "sweep", "peft-sweep --config")


def test_the_order_of_patterns_stays_in_every_file(world):
    patterns = {"layer.0.attention.self.value": 3, "attention.self.query": 2, "layer.1.*": 4}
    config = run_config(world, {"type": "lora", "r": 2, "lora_alpha": 4, "rank_pattern": patterns, "alpha_pattern": patterns})
    config["train"]["max_steps"] = 2
    done = world.train(config)
    assert done.returncode == 0, done.stderr
    out = world.path / "run"
    written = json.loads((out / "config.json").read_text())["method"]
    assert list(written["rank_pattern"].items()) == list(patterns.items())
    for folder in ("best", "last"):
        adapter = json.loads((out / folder / "adapter_config.json").read_text())
        assert list(adapter["rank_pattern"]) == list(adapter["alpha_pattern"]) == list(patterns)
    again = run("peft-train", "--config", out / "config.json", "--resume")
    assert again.returncode == 0, again.stderr
    config["method"]["alpha_pattern"] = dict(reversed(patterns.items()))
    other = run("peft-train", "--config", world.write_config(config), "--resume")
    assert other.returncode == USAGE and "method.alpha_pattern" in other.stderr
