"""A run that is killed and resumed, at whatever moment and however often, ends in the same bytes as one that never stopped."""

import json
import pathlib
import random
import shutil
import signal
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import METHODS, World, assert_same_results, contents, log_lines, results, wait_for_log  # noqa: E402

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("resume"))


def caught(pid, number):
    """Whether the process has a handler of its own for the signal."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return int(mask, 16) >> (number - 1) & 1


def wait_until_caught(process, number):
    while process.poll() is None and not caught(process.pid, number):
        time.sleep(0.001)


def interrupt(world, config, rng, first):
    """Starts the run, or goes on with it, and stops it somewhere, the first time surely before its end. Returns its exit code."""
    log = world.path / config["output"] / "log.jsonl"
    size = log.stat().st_size if log.exists() else 0
    process = world.start(config, *([] if first else ["--resume"]))
    sent = rng.choice([signal.SIGKILL, *SIGNALS])
    if sent != signal.SIGKILL:
        wait_until_caught(process, sent)
    if first:
        wait_for_log(process, log, 1)
    elif rng.random() < 0.3:
        time.sleep(rng.uniform(0.0, 0.4))  # any moment, also while loading
    else:
        wait_for_log(process, log, size + rng.randrange(1, 1200))
        time.sleep(rng.uniform(0.0, 0.01))
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, -sent if sent == signal.SIGKILL else 75), errors
    if process.returncode == 75:
        assert "saved at step" in errors.splitlines()[-1] and "--resume" in errors.splitlines()[-1]
    return process.returncode


def assert_interrupted_equals_uninterrupted(world, name, method, train, interruptions=5, **sections):
    rng = random.Random(name)
    whole = world.finished(world.config(method, world.path / f"{name}-whole", train, **sections))
    config = world.config(method, world.path / f"{name}-parts", train, **sections)
    codes = []
    while len(codes) < interruptions and (not codes or codes[-1] != 0):
        codes.append(interrupt(world, config, rng, first=not codes))
    parts = world.finished(config, "--resume")
    assert codes[0] != 0
    assert_same_results(parts, whole)
    return whole


@pytest.mark.parametrize("save_steps", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_equals_uninterrupted(world, method, save_steps):
    train = {"max_steps": 60, "gradient_accumulation_steps": 2, "eval_steps": 7, "save_steps": save_steps, "weight_decay": 0.01, "warmup_ratio": 0.1}
    name = f"{method}{save_steps}"
    whole = assert_interrupted_equals_uninterrupted(world, name, method, train)
    without_dropout = world.finished(world.config(method, world.path / f"{name}-still", train, model={"dropout": 0.0}))
    assert results(without_dropout)["log.jsonl"] != results(whole)["log.jsonl"]  # dropout was on, and its masks came back


VARIANTS = {
    "tokens": {"batch_tokens": 60, "gradient_accumulation_steps": 2, "save_steps": 2, "eval_steps": 9},
    "epochs": {"num_train_epochs": 8, "max_steps": -1, "batch_size": 7},  # saves and evaluates every epoch
    "sgd": {"optim": "sgd", "momentum": 0.9, "save_steps": 4, "eval_steps": 5, "learning_rate": 0.05},
    "sparse log": {"logging_steps": 7, "save_steps": 5, "eval_steps": 4, "lr_scheduler_type": "cosine", "max_steps": 73},
    "early stop": {"early_stopping_patience": 3, "eval_steps": 20, "save_steps": 3, "max_steps": 400, "learning_rate": 1e-4},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_schedules_resume_too(world, variant):
    assert_interrupted_equals_uninterrupted(world, variant.replace(" ", "-"), "lora", {"max_steps": 80} | VARIANTS[variant], interruptions=4)


@pytest.mark.parametrize("sent", SIGNALS)
def test_a_signal_saves_at_the_step_it_arrives(world, sent):
    """With save_steps 0 nothing else would: the checkpoint holds every step of the log, and the steps are not run again."""
    config = world.config("lora", world.path / f"signal{sent}", {"max_steps": 3000, "save_steps": 0, "eval_steps": 0})
    process = world.start(config)
    folder = world.path / f"signal{sent}"
    wait_for_log(process, folder / "log.jsonl", 2000)
    process.send_signal(sent)
    out, errors = process.communicate(timeout=60)
    step = log_lines(folder)[-1]["step"]
    assert process.returncode == 75 and out == ""
    assert errors.splitlines()[-1].endswith(f"{folder}: saved at step {step}; run again with --resume")
    before = (folder / "log.jsonl").read_bytes()
    process = world.start(config, "--resume")
    wait_for_log(process, folder / "log.jsonl", len(before) + 1)
    process.kill()
    process.communicate()
    assert (folder / "log.jsonl").read_bytes().startswith(before)


def test_a_signal_while_loading_stops_before_the_first_step(world):
    config = world.config("lora", world.path / "early", {"max_steps": 30, "eval_steps": 0})
    process = world.start(config)
    wait_until_caught(process, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and errors.splitlines()[-1].endswith("saved at step 0; run again with --resume"), errors
    world.finished(config, "--resume")


def test_the_log_is_cut_back_to_the_checkpoint(world):
    config = world.config("prompt", world.path / "cut", {"max_steps": 3000, "save_steps": 10, "eval_steps": 0})
    process = world.start(config)
    wait_for_log(process, world.path / "cut" / "log.jsonl", 3000)
    process.kill()
    process.communicate()
    file = world.path / "cut" / "log.jsonl"
    last = log_lines(world.path / "cut")[-1]["step"]
    file.write_bytes(file.read_bytes() + b'{"step": 999999, "lo')  # torn by the kill
    process = world.start(config, "--resume")
    wait_for_log(process, file, file.stat().st_size + 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    steps = [line["step"] for line in log_lines(world.path / "cut")]
    assert steps == list(range(1, len(steps) + 1)) and steps[-1] >= last - 10


@pytest.fixture(scope="module")
def stopped(world):
    """stopped(name) -> config of a run with a checkpoint, stopped on its way."""

    def make(name, **train):
        config = world.config("lora", world.path / name, {"max_steps": 3000, "save_steps": 5, "eval_steps": 50} | train)
        process = world.start(config)
        wait_for_log(process, world.path / name / "log.jsonl", 1500)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 75
        return config

    return make


@pytest.fixture(scope="module")
def done(world):
    config = world.config("lora", world.path / "done", {"max_steps": 6})
    world.finished(config)
    return config


def test_resuming_a_finished_run_changes_nothing(world, done):
    before = contents(world.path / "done")
    again = world.train(done, "--resume")
    assert again.returncode == 0 and contents(world.path / "done") == before
    assert json.loads(again.stdout) == json.loads(before["metrics.json"])


def test_a_finished_run_needs_neither_model_nor_data(world, tmp_path):
    moved = World(tmp_path)
    config = moved.config("lora", tmp_path / "run", {"max_steps": 3})
    moved.finished(config)
    for folder in (moved.model, moved.data):
        shutil.rmtree(folder)
    before = contents(tmp_path / "run")
    again = moved.train(config, "--resume")
    assert again.returncode == 0 and json.loads(again.stdout) == json.loads(before["metrics.json"])
    assert contents(tmp_path / "run") == before


def test_a_finished_run_is_not_one_on_another_model(world, done):
    refused = world.train(done | {"model": {"path": str(world.path / "gone"), "dropout": "checkpoint"}}, "--resume")
    assert refused.returncode == 2 and "model.path" in refused.stderr and refused.stderr.count("\n") == 1


def test_without_resume_a_folder_with_a_run_is_refused(world, done, stopped):
    for config in (done, stopped("unfinished")):
        before = contents(world.path / config["output"])
        refused = world.train(config)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1
        assert config["output"] in refused.stderr and "--resume" in refused.stderr
        assert contents(world.path / config["output"]) == before


def test_a_folder_of_something_else_is_left_alone(world):
    folder = world.path / "foreign"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    for arguments in ([], ["--resume"]):
        refused = world.train(world.config("lora", folder), *arguments)
        assert refused.returncode == 2 and str(folder) in refused.stderr and refused.stderr.count("\n") == 1
        assert contents(folder) == {"config.json": b'{"model_type": "bert"}'}


CHANGES = [
    ("train.learning_rate=0.02", "train.learning_rate"),
    ("train.seed=7", "train.seed"),
    ("train.max_steps=3001", "train.max_steps"),
    ("train.eval_steps=51", "train.eval_steps"),
    ("method.r=8", "method.r"),
    ('method={"type": "prompt", "num_virtual_tokens": 3}', "method"),
    ("model.dropout=0", "model.dropout"),
    ("task.max_length=30", "task.max_length"),
    ("data.limit.train=50", "data.limit.train"),
]


def test_a_changed_key_is_named(world, stopped):
    config = stopped("changed")
    before = contents(world.path / "changed")
    for change, key in CHANGES:
        refused = world.train(config, "--resume", "--set", change)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
        assert key in refused.stderr and "--resume" not in refused.stderr
        assert contents(world.path / "changed") == before, change


def test_changed_files_are_refused(world, tmp_path):
    other = World(tmp_path)
    config = other.config("lora", tmp_path / "run", {"max_steps": 3000, "save_steps": 5, "eval_steps": 50})
    process = other.start(config)
    wait_for_log(process, tmp_path / "run" / "log.jsonl", 1500)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    before = contents(tmp_path / "run")
    changed = {
        "data": (other.data / "train.tsv", lambda b: b.replace(b"good", b"great", 1)),
        "tokenizer": (other.model / "vocab.txt", lambda b: b.replace(b"movie", b"novel")),
        "model": (other.model / "model.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
    }
    for what, (file, change) in changed.items():
        original = file.read_bytes()
        file.write_bytes(change(original))
        refused = other.train(config, "--resume")
        file.write_bytes(original)
        assert refused.returncode == 3 and refused.stderr.count("\n") == 1, refused.stderr
        assert what in refused.stderr and contents(tmp_path / "run") == before


def test_what_cannot_change_a_number_may_change(world, stopped):
    """save_steps, logging_steps, and the folder itself, which may be moved."""
    config = stopped("moved", max_steps=90)
    (world.path / "moved").rename(world.path / "elsewhere")
    config |= {"output": str(world.path / "elsewhere")}
    world.finished(config, "--resume", "--set", "train.save_steps=2", "--set", "train.logging_steps=4")
    whole = world.finished(world.config("lora", world.path / "unmoved", {"max_steps": 90, "save_steps": 5, "eval_steps": 50}))
    ours, expected = results(world.path / "elsewhere"), results(whole)
    assert ours["last/adapter_model.safetensors"] == expected["last/adapter_model.safetensors"]
    assert ours["best/adapter_model.safetensors"] == expected["best/adapter_model.safetensors"]
    assert ours["predictions/dev.jsonl"] == expected["predictions/dev.jsonl"]


def test_a_run_goes_on_with_other_threads(world, stopped):
    """Matrix products of some processors then sum in another order: the same but for rounding."""
    config = stopped("threads", max_steps=90)
    world.finished(config, "--resume", "--set", "train.num_threads=1")
    whole = world.finished(world.config("lora", world.path / "as_many", {"max_steps": 90, "save_steps": 5, "eval_steps": 50}))
    ours, expected = ([json.loads(line) for line in (folder / "predictions" / "dev.jsonl").read_text().splitlines()]
                      for folder in (world.path / "threads", whole))
    assert [row["idx"] for row in ours] == [row["idx"] for row in expected]
    for one, other in zip(ours, expected):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-4)


def test_a_run_folder_in_use_is_refused(world):
    config = world.config("lora", world.path / "used", {"max_steps": 100000, "save_steps": 0, "eval_steps": 0})
    process = world.start(config)
    wait_for_log(process, world.path / "used" / "log.jsonl", 500)
    try:
        for arguments in (["--resume"], []):
            refused = world.train(config, *arguments)
            assert refused.returncode == 1 and refused.stderr.count("\n") == 1, refused.stderr
            assert "in use" in refused.stderr and config["output"] in refused.stderr
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_a_signal_while_a_finished_run_exits_does_not_end_it(world):
    for i in range(5):
        config = world.config("linear_probe", world.path / f"exiting{i}", {"max_steps": 3})
        process = world.start(config)
        metrics = world.path / config["output"] / "metrics.json"
        while process.poll() is None and not metrics.exists():
            time.sleep(0.0005)
        while process.poll() is None:
            process.send_signal(signal.SIGUSR1)
            time.sleep(0.0002)
        process.communicate()
        assert process.returncode == 0
