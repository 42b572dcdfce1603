"""What a run does and what it leaves behind: learning, schedules of evaluation and saving, logs, results, alarms, guards."""

import json
import math
import random
import re
import signal

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import METHODS, World, assert_same_results, contents, log_lines, metrics, results, run, wait_for_log  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

STILL = {"dropout": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("train"), train_rows=200, dev_rows=60)


def lines_with(folder, key):
    return [line for line in log_lines(folder) if key in line]


def saved_step(folder):
    with safe_open(folder / "checkpoint" / "state.safetensors", "np") as file:
        return json.loads(file.metadata()["state"])["step"]


@pytest.mark.parametrize("method, rate", [("lora", 1e-2), ("full", 3e-3)])
def test_a_learnable_task_is_learned(world, method, rate):
    folder = world.finished(world.config(method, world.path / f"learn-{method}", {"max_steps": 250, "batch_size": 16, "learning_rate": rate, "warmup_ratio": 0.1, "eval_steps": 50}, model=STILL))
    assert metrics(folder)["eval_accuracy"] > 0.95
    losses = [line["loss"] for line in lines_with(folder, "loss")]
    assert sum(losses[-20:]) < 0.3 * sum(losses[:20])


def test_evaluation_of_best_gives_the_metrics_of_the_run(world):
    for method in METHODS:
        folder = world.finished(world.config(method, world.path / f"scored-{method}", {"max_steps": 24, "eval_steps": 4}))
        expected = metrics(folder)
        done = run("peft-eval", "--adapter", folder / "best", "--predictions", folder / "again.jsonl")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["accuracy"], report["macro_f1"]) == (expected["eval_accuracy"], expected["eval_macro_f1"])
        assert report["loss"] == pytest.approx(expected["eval_loss"], rel=1e-6)
        predictions = [json.loads(line) for line in (folder / "predictions" / "dev.jsonl").read_text().splitlines()]
        assert [p["prediction"] for p in predictions] == [json.loads(line)["prediction"] for line in (folder / "again.jsonl").read_text().splitlines()]
        right = sum(p["prediction"] == p["reference"] for p in predictions)
        assert expected["eval_accuracy"] == pytest.approx(right / len(predictions))
        scores = {line["step"]: line["eval_accuracy"] for line in lines_with(folder, "eval_accuracy")}
        assert expected["eval_accuracy"] == max(scores.values())  # best/ is the first of the best evaluations
        assert expected["best_step"] == min(step for step, score in scores.items() if score == max(scores.values()))


def test_early_stopping(world):
    folder = world.finished(world.config("lora", world.path / "early", {"max_steps": 5000, "eval_steps": 5, "learning_rate": 0.0, "early_stopping_patience": 3}))
    assert [line["step"] for line in lines_with(folder, "eval_accuracy")] == [5, 10, 15, 20]
    assert metrics(folder)["global_step"] == 20 and metrics(folder)["best_step"] == 5
    assert saved_step(folder) == 20


# 200 rows of batch 16: 13 steps in an epoch.
SCHEDULES = {
    "every n": ({"max_steps": 20, "eval_steps": 6, "logging_steps": 4}, [6, 12, 18, 20], [4, 8, 12, 16, 20]),
    "at the end": ({"max_steps": 20, "eval_steps": 0, "save_steps": 0, "logging_steps": 7}, [20], [7, 14, 20]),
    "every epoch": ({"num_train_epochs": 2, "max_steps": -1, "logging_steps": 100}, [13, 26], [26]),
    "part of an epoch": ({"num_train_epochs": 1.5, "max_steps": -1, "logging_steps": 10}, [13, 20], [10, 20]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_when_it_evaluates_and_logs(world, name):
    train, evaluated, logged = SCHEDULES[name]
    folder = world.finished(world.config("linear_probe", world.path / name.replace(" ", "-"), {"batch_size": 16} | train))
    assert [line["step"] for line in lines_with(folder, "eval_loss")] == evaluated
    assert [line["step"] for line in lines_with(folder, "loss")] == logged
    for line in log_lines(folder):
        if "step" in line:
            assert line["epoch"] == pytest.approx(line["step"] / 13)
    last = metrics(folder)
    assert last["global_step"] == evaluated[-1] and last["epoch"] == pytest.approx(evaluated[-1] / 13)
    assert saved_step(folder) == evaluated[-1]


def test_a_logged_loss_is_the_mean_since_the_last_line(world):
    each = world.finished(world.config("prompt", world.path / "log1", {"max_steps": 12, "logging_steps": 1}))
    fourth = world.finished(world.config("prompt", world.path / "log4", {"max_steps": 12, "logging_steps": 4}))
    losses = [line["loss"] for line in lines_with(each, "loss")]
    assert [line["loss"] for line in lines_with(fourth, "loss")] == pytest.approx([sum(losses[i : i + 4]) / 4 for i in (0, 4, 8)])
    assert metrics(each)["train_loss"] == pytest.approx(sum(losses) / 12)
    assert results(each)["last/adapter_model.safetensors"] == results(fourth)["last/adapter_model.safetensors"]
    for line in lines_with(each, "loss"):
        assert set(line) == {"step", "epoch", "loss", "learning_rate", "grad_norm"}


def test_save_steps(world):
    folder = world.path / "saves"
    config = world.config("lora", folder, {"max_steps": 5000, "save_steps": 7, "eval_steps": 0})
    process = world.start(config)
    wait_for_log(process, folder / "log.jsonl", 4000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert saved_step(folder) % 7 == 0 and log_lines(folder)[-1]["step"] - saved_step(folder) <= 7


def scalars(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_tensorboard_shows_the_log_also_after_a_resume(world, sent):
    folder = world.path / f"board{sent}"
    config = world.config("lora", folder, {"max_steps": 150, "eval_steps": 10, "save_steps": 9})
    process = world.start(config)
    wait_for_log(process, folder / "log.jsonl", 3000)
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode != 0
    world.finished(config, "--resume")
    shown = scalars(folder)
    assert len(list(folder.glob("events.out.tfevents.*"))) == 2
    for tag, key in [("train/loss", "loss"), ("train/learning_rate", "learning_rate"), ("train/grad_norm", "grad_norm"), ("eval/accuracy", "eval_accuracy")]:
        expected = [(line["step"], line[key]) for line in lines_with(folder, key)]
        assert [step for step, _ in shown[tag]] == [step for step, _ in expected], tag
        assert [value for _, value in shown[tag]] == pytest.approx([value for _, value in expected], rel=1e-6)


def test_regression(world, tmp_path):
    """The score is the number of times "good" occurs, on a scale of its own."""
    rng = random.Random(5)
    for split, rows in [("train", 200), ("dev", 60)]:
        texts = [" ".join(rng.choices(["good", "bad", "the", "film"], k=4)) for _ in range(rows)]
        (tmp_path / f"{split}.tsv").write_text("words\tgrade\n" + "".join(f"{t}\t{t.split().count('good') / 2}\n" for t in texts))
    config = world.config("lora", world.path / "regression", {"max_steps": 200, "batch_size": 16, "eval_steps": 50}, model=STILL)
    config |= {"task": {"name": "regression", "data": str(tmp_path)}, "data": {"columns": {"text": "words", "label": "grade"}}}
    config["task"]["max_length"] = 32
    folder = world.finished(config)
    assert metrics(folder)["eval_pearson"] > 0.9 and metrics(folder)["eval_spearman"] > 0.8
    assert load_file(folder / "best" / "adapter_model.safetensors")["base_model.model.classifier.weight"].shape == (1, 32)
    prediction = json.loads((folder / "predictions" / "dev.jsonl").read_text().splitlines()[0])
    assert isinstance(prediction["prediction"], float) and prediction["scores"] == [prediction["prediction"]]
    report = json.loads(run("peft-eval", "--adapter", folder).stdout)
    assert report["pearson"] == pytest.approx(metrics(folder)["eval_pearson"])


def test_alarm_of_collapsed_predictions(world):
    config = world.config("linear_probe", world.path / "collapsed", {"max_steps": 8, "eval_steps": 4, "learning_rate": 0})
    model = world.path / "biased"
    model.mkdir()
    for file in world.model.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    tensors = load_file(model / "model.safetensors")
    tensors["classifier.bias"][1] += 100
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    config["model"]["path"] = str(model)
    folder = world.finished(config)
    assert [line["at_step"] for line in lines_with(folder, "alarm") if line["alarm"] == "collapsed_predictions"] == [4, 8]


def test_alarm_of_a_gradient_that_stays_zero(world):
    """A classifier of zeros that does not learn hands no gradient down."""
    model = world.path / "headless"
    model.mkdir()
    for file in world.model.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    tensors = load_file(model / "model.safetensors")
    tensors["classifier.weight"].zero_()
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    config = world.config("prompt", world.path / "zero", {"max_steps": 25, "learning_rates": {"head": 0.0}})
    config["model"]["path"] = str(model)
    folder = world.finished(config)
    alarms = [line for line in lines_with(folder, "alarm") if line["alarm"] == "zero_gradient"]
    assert [(line["parameter"], line["at_step"]) for line in alarms] == [("prompt", 20)]
    healthy = world.finished(world.config("prompt", world.path / "nonzero", {"max_steps": 25}))
    assert not [line for line in lines_with(healthy, "alarm") if line["alarm"] == "zero_gradient"]


def assert_guarded(done, folder, *parts):
    assert done.returncode == 4 and done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert str(folder) in line and all(part in line for part in parts), line
    assert not (folder / "metrics.json").exists()


def test_guard_against_steps_that_are_not_finite(world):
    for rate in (1e38, 1e30):
        folder = world.path / f"inf{rate:g}"
        done = world.train(world.config("full", folder, {"max_steps": 3000, "learning_rate": rate, "lr_scheduler_type": "constant", "eval_steps": 3}))
        assert_guarded(done, folder, "step")
        for line in (folder / "log.jsonl").read_text().splitlines():
            json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in log.jsonl"))


def test_guard_against_divergence(world):
    folder = world.path / "diverged"
    done = world.train(world.config("linear_probe", folder, {"max_steps": 3000, "learning_rate": 300.0, "warmup_steps": 400}))
    assert_guarded(done, folder, "diverged")


def test_a_dry_run_writes_nothing(world):
    config = world.config("lora", world.path / "dry", {"num_train_epochs": 3, "max_steps": -1})
    world.write_config(config)
    before = contents(world.path)
    done = world.train(config, "--dry-run")
    assert done.returncode == 0 and contents(world.path) == before and not (world.path / "dry").exists()
    weights = load_file(world.model / "model.safetensors")
    head = 32 * 2 + 2
    backbone = sum(t.numel() for name, t in weights.items())
    trainable = 2 * 2 * (32 * 4 + 4 * 32) + head
    text = done.stdout
    facts = dict(line.split(maxsplit=1) for line in text.split("\n\n")[0].splitlines())
    assert list(facts) == ["model", "task", "train", "dev", "method", "steps", "memory", "time", "output"]
    number = lambda text: int(text.replace(",", ""))
    assert number(re.search(r"lora: ([\d,]+) trained", facts["method"])[1]) == trainable
    assert number(re.search(r": ([\d,]+) numbers", facts["model"])[1]) in (backbone, backbone - head)
    assert facts["steps"] == "75, 25 in an epoch, 8 examples a step; evaluations 3"
    assert facts["train"].startswith("200 examples") and facts["dev"].startswith("60 examples")
    resolved = json.loads(text.split("\nconfig:\n")[1])
    assert resolved["train"]["max_steps"] == -1 and resolved["task"]["name"] == "classification"
    finished = world.finished(config | {"train": config["train"] | {"max_steps": 2}})
    assert metrics(finished)["trainable_parameters"] == trainable
    assert world.train(config, "--dry-run").returncode == 0  # also where a run is already


def test_the_config_of_a_run_is_a_config(world):
    first = world.finished(world.config("prefix", world.path / "first", {"max_steps": 10}), "--set", "train.seed=7")
    stored = json.loads((first / "config.json").read_text())
    assert stored["train"]["seed"] == 7 and stored["provenance"]["model"] and stored["data"]["labels"] == ["no", "yes"]
    done = run("peft-train", "--config", first / "config.json", "--set", f"output={world.path / 'second'}")
    assert done.returncode == 0, done.stderr
    assert_same_results(world.path / "second", first)
    other = world.finished(world.config("prefix", world.path / "third", {"max_steps": 10}))  # seed 42
    assert results(other)["last/adapter_model.safetensors"] != results(first)["last/adapter_model.safetensors"]


def test_paths_are_relative_to_the_working_directory(world):
    config = world.config("linear_probe", "there", {"max_steps": 2}, model={"path": "model"}, task={"data": "data"})
    file = world.write_config(config, "relative")
    done = run("peft-train", "--config", file, cwd=world.path)
    assert done.returncode == 0, done.stderr
    stored = json.loads((world.path / "there" / "config.json").read_text())
    assert (stored["output"], stored["model"]["path"], stored["task"]["data"]) == tuple(str(world.path / p) for p in ("there", "model", "data"))


@pytest.mark.parametrize("method", ["lora", "prompt", "prefix", "linear_probe"])
def test_bfloat16_backbone(world, method):
    """Frozen weights in bfloat16, trained ones in float32."""
    losses = {}
    for dtype in ("float32", "bfloat16"):
        config = world.config(method, world.path / f"{dtype}-{method}", {"max_steps": 30, "batch_size": 32}, model=STILL | {"dtype": dtype})
        folder = world.finished(config)
        losses[dtype] = [line["loss"] for line in lines_with(folder, "loss")]
        assert {str(t.dtype) for t in load_file(folder / "best" / "adapter_model.safetensors").values()} == {"torch.float32"}
    assert losses["bfloat16"][:5] == pytest.approx(losses["float32"][:5], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]


def test_token_budget(world):
    folder = world.finished(world.config("lora", world.path / "budget", {"batch_tokens": 100, "num_train_epochs": 2, "max_steps": -1}))
    last = metrics(folder)
    assert last["epoch"] == 2.0 and last["global_step"] > 2 * 200 * 4 / 100
    epochs = [line["epoch"] for line in lines_with(folder, "loss")]
    assert epochs == sorted(epochs) and epochs[-1] == 2.0


@pytest.mark.parametrize("method", ["lora", "prompt", "deep_prompt", "dept", "adept", "bitfit", "prefix"])
def test_init_from_goes_on_from_an_adapter(world, method):
    first = world.finished(world.config(method, world.path / f"init-{method}", {"max_steps": 40, "eval_steps": 0}, model=STILL))
    still = world.config(METHODS[method] | {"init_from": str(first)}, world.path / f"init2-{method}", {"max_steps": 1, "learning_rate": 0.0}, model=STILL)
    second = world.finished(still)
    assert results(second)["last/adapter_model.safetensors"] == results(first)["best/adapter_model.safetensors"]
    assert metrics(second)["eval_loss"] == metrics(first)["eval_loss"]
    still["method"]["init_head"] = False
    fresh = world.finished(still | {"output": str(world.path / f"init3-{method}")})
    a, b = (load_file(f / "last" / "adapter_model.safetensors") for f in (first, fresh))
    same = {name for name in a if a[name].equal(b[name])}
    assert same == {name for name in a if "classifier" not in name}


def test_metrics_have_the_names_of_the_trainer(world):
    folder = world.finished(world.config("lora", world.path / "names", {"max_steps": 3}))
    values = json.loads((folder / "metrics.json").read_text())
    for name in ["train_loss", "train_runtime", "train_samples_per_second", "train_steps_per_second", "eval_accuracy", "eval_loss", "eval_samples", "epoch"]:
        assert isinstance(values[name], (int, float)) and math.isfinite(values[name]), name
    assert values["train_samples"] == 200 and values["eval_samples"] == 60 and values["peak_memory_bytes"] > 1 << 20
    assert values["train_samples_per_second"] == pytest.approx(24 / values["train_runtime"])
    assert values["estimated_peak_memory_bytes"] == pytest.approx(values["peak_memory_bytes"], rel=0.1)
    assert values["estimated_train_runtime"] == pytest.approx(values["train_runtime"], rel=0.5)
    stored = load_file(folder / "best" / "adapter_model.safetensors")
    assert values["stored_parameters"] == sum(t.numel() for t in stored.values())
