"""The doctor: sick runs are found, with the key to change; healthy ones are left in peace; a resumed run finds the same."""

import json
import signal

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import World, assert_same_results, log_lines, run, wait_for_log  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

STILL = {"dropout": 0}
STEPS = {"max_steps": 70, "eval_steps": 35, "logging_steps": 10}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("doctor"), train_rows=200, dev_rows=60)


def findings(folder):
    found = json.loads((folder / "metrics.json").read_text())["findings"]
    logged = [line for line in log_lines(folder) if "finding" in line]
    assert [(f["name"], f["step"], f["message"]) for f in found] == [(f["finding"], f["at_step"], f["message"]) for f in logged]
    return {f["name"]: f for f in found}


def only_finding(world, config, name, key, *steps):
    """A finished run with this finding alone, said when it is seen and at the end, with the key to change."""
    done = world.train(config)
    assert done.returncode == 0, done.stderr
    folder = world.path / config["output"]
    found = findings(folder)
    assert list(found) == [name] and key in found[name]["message"] and found[name]["step"] in steps, found
    assert done.stderr.count(found[name]["message"]) == 2
    shown = run("peft-tool", "inspect", folder).stdout
    assert f"{name}, step {found[name]['step']}: {found[name]['message']}" in shown
    return found[name]


@pytest.mark.parametrize("method, rate", [("lora", 1e-2), ("prefix", 1e-2), ("linear_probe", 1e-2), ("full", 1e-3), ("bitfit", 1e-2), ("ntk_attention", 1e-2)])
def test_a_run_that_learns_is_left_in_peace(world, method, rate):
    train = {"max_steps": 250, "batch_size": 16, "learning_rate": rate, "warmup_ratio": 0.06, "eval_steps": 50}
    assert findings(world.finished(world.config(method, world.path / f"healthy-{method}", train, model=STILL))) == {}


def test_a_rate_that_is_too_low(world):
    config = world.config("lora", world.path / "low", STEPS | {"learning_rate": 1e-6}, model=STILL)
    only_finding(world, config, "rate_too_low", "train.learning_rate: 1e-06", 50)


def test_a_rate_that_is_too_high(world):
    config = world.config("full", world.path / "high", STEPS | {"learning_rate": 1.0}, model=STILL)
    done = world.train(config)
    assert done.returncode in (0, 4)  # a guard may stop it
    found = [line for line in log_lines(world.path / "high") if line.get("finding") == "rate_too_high"]
    assert len(found) == 1 and found[0]["message"].startswith("train.learning_rate: 1 is too high")
    assert "rate_too_high" in run("peft-tool", "inspect", world.path / "high").stdout


def test_texts_that_are_cut(world):
    config = world.config("lora", world.path / "cut", STEPS, task={"max_length": 4})
    assert "cuts" in only_finding(world, config, "truncated", "task.max_length: 4", 0)["message"]


def test_labels_that_are_nearly_all_alike(world, tmp_path):
    text = (world.data / "train.tsv").read_text().splitlines()
    rows = [row for row in text[1:] if row.endswith("no")][:96]
    (tmp_path / "train.tsv").write_text("\n".join([text[0], *rows, "good film\tyes"]) + "\n")
    (tmp_path / "dev.tsv").write_text((world.data / "dev.tsv").read_text())
    config = world.config("lora", world.path / "one-sided", STEPS, task={"data": str(tmp_path)})
    world.finished(config)
    assert '"no"' in findings(world.path / "one-sided")["one_sided_labels"]["message"]


def test_a_prompt_a_hundred_times_as_long_as_words(world):
    method = {"type": "prompt", "num_virtual_tokens": 4, "prompt_tuning_init": "SAMPLE_VOCAB"}
    first = world.finished(world.config(method, world.path / "words", {"max_steps": 2}, model=STILL))
    assert findings(first) == {}
    file = first / "last" / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors["prompt_embeddings"] *= 100
    save_file(tensors, file)
    config = world.config(method | {"init_from": str(first / "last")}, world.path / "long", {"max_steps": 2}, model=STILL)
    assert " 1" in only_finding(world, config, "prompt_norm", "method.init_from", 0)["message"]


def test_a_prefix_that_nothing_attends_to(world):
    """Every query is 1 in each column, and every key of the prefix far on the other side."""
    method = {"type": "prefix", "num_virtual_tokens": 3}
    first = world.finished(world.config(method, world.path / "near", {"max_steps": 2}, model=STILL))
    assert findings(first) == {}
    adapter, blind = first / "last" / "adapter_model.safetensors", world.path / "blind"
    blind.mkdir()
    for file in world.model.iterdir():
        (blind / file.name).write_bytes(file.read_bytes())
    weights, prefix = load_file(blind / "model.safetensors"), load_file(adapter)
    for layer in range(2):
        query = f"bert.encoder.layer.{layer}.attention.self.query"
        weights[f"{query}.weight"].zero_()
        weights[f"{query}.bias"].fill_(1.0)
    prefix["prompt_embeddings"].view(3, 2, 2, 32)[:, :, 0] = -100.0
    save_file(weights, blind / "model.safetensors", {"format": "pt"})
    save_file(prefix, adapter)
    config = world.config(method | {"init_from": str(first / "last")}, world.path / "unattended", {"max_steps": 2, "learning_rate": 1e-4}, model=STILL | {"path": str(blind)})
    only_finding(world, config, "prefix_unattended", "method.init_std", 2)


def test_a_head_that_does_not_move(world):
    config = world.config("lora", world.path / "still", STEPS | {"learning_rates": {"head": 0.0}}, model=STILL)
    only_finding(world, config, "head_still", "train.learning_rates", 50)


@pytest.mark.parametrize("size", [600, 2500, 5000])
def test_a_resumed_run_finds_the_same(world, size):
    """Cut before the rate is judged, after that, and near the end."""
    train = {"max_steps": 90, "eval_steps": 30, "save_steps": 1, "learning_rate": 1e-6, "logging_steps": 1}
    whole, parts = world.path / "whole", world.path / f"parts{size}"
    if not whole.exists():
        world.finished(world.config("lora", whole, train, task={"max_length": 4}))
    config = world.config("lora", parts, train, task={"max_length": 4})
    process = world.start(config)
    wait_for_log(process, parts / "log.jsonl", size)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    world.finished(config, "--resume")
    assert list(findings(parts)) == ["truncated", "rate_too_low"]
    assert_same_results(parts, whole)


def test_each_job_of_a_bank_has_its_own(world):
    config = world.config("lora", world.path / "bank", STEPS, model=STILL) | {"sweep": {"train.learning_rate": [1e-6, 1e-2]}}
    done = run("peft-sweep", "--config", world.write_config(config))
    assert done.returncode == 0, done.stderr
    assert list(findings(world.path / "bank" / "learning_rate=1e-06")) == ["rate_too_low"]
    assert findings(world.path / "bank" / "learning_rate=0.01") == {}
    assert done.stderr.count("rate_too_low") == 1
