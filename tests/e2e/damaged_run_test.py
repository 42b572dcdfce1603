"""A run folder of which a user deleted or cut a file goes on or says what is missing, and nothing in it is ever left damaged."""

import json
import shutil
import signal
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import World, contents, run, wait_for_log  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

TRAIN = {"max_steps": 60, "save_steps": 5, "eval_steps": 10, "logging_steps": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("damaged"))


@pytest.fixture(scope="module")
def finished(world):
    config = world.config("lora", world.path / "run", TRAIN)
    folder = world.finished(config)
    return config, contents(folder)


@pytest.fixture(scope="module")
def interrupted(world):
    """Stopped between two evaluations; what is left to do holds no better score for sure, so best/ is needed."""
    config = world.config("lora", world.path / "run-stopped", TRAIN | {"max_steps": 2000, "lr_scheduler_type": "constant"})
    process = world.start(config)
    wait_for_log(process, world.path / "run-stopped" / "log.jsonl", 6000)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    return config, contents(world.path / "run-stopped")


FILES = ["config.json", "log.jsonl", "metrics.json", "events", "best/adapter_config.json", "best/adapter_model.safetensors", "best",
         "last/adapter_config.json", "last/adapter_model.safetensors", "last", "checkpoint/state.safetensors", "checkpoint/runtime.json",
         "checkpoint", "predictions/dev.jsonl"]  # fmt: skip
DAMAGES = {
    "deleted": lambda f: shutil.rmtree(f) if f.is_dir() else f.unlink(),
    "cut to a half": lambda f: f.write_bytes(f.read_bytes()[: f.stat().st_size // 2]),
    "empty": lambda f: f.write_bytes(b""),
}
CASES = [(file, damage) for file in FILES for damage in DAMAGES if damage == "deleted" or "." in file or file == "events"]
SAYS = {  # the damages that stop an interrupted run, with the exit code
    "config.json": 2, "best/adapter_config.json": 3, "best/adapter_model.safetensors": 3, "best": 3, "checkpoint/state.safetensors": 3,
}  # fmt: skip


def restore(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def damage(folder, file, how):
    """False: this run has no such file."""
    path = next(folder.glob("events.*")) if file == "events" else folder / file
    if not path.exists():
        return False
    DAMAGES[how](path)
    return True


def last_step(folder):
    log = folder / "log.jsonl"
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return json.loads(lines[-1]).get("step", 0) if lines else 0


def assert_whole(folder):
    """Every file is what its name says."""
    for file in folder.rglob("*"):
        if file.suffix == ".json":
            assert isinstance(json.loads(file.read_text()), dict), file
        elif file.suffix == ".jsonl":
            assert file.read_bytes().endswith(b"\n") and all(isinstance(json.loads(line), dict) for line in file.read_text().splitlines()), file
        elif file.suffix == ".safetensors":
            load_file(file)
        assert not file.name.endswith((".tmp", ".new", ".old")), file


@pytest.mark.parametrize("file, how", CASES)
def test_a_finished_run(world, finished, file, how):
    config, files = finished
    folder = world.path / "run"
    restore(folder, files)
    assert damage(folder, file, how)
    before = contents(folder)
    again = world.train(config, "--resume")
    if file == "metrics.json" and how == "deleted":  # the checkpoint has all that it is made of
        assert again.returncode == 0, again.stderr
        ours, whole = (json.loads(text) for text in (again.stdout, files["metrics.json"]))
        assert {k: v for k, v in ours.items() if k.startswith("eval_") and "per_second" not in k} == {
            k: v for k, v in whole.items() if k.startswith("eval_") and "per_second" not in k}  # fmt: skip
        assert_whole(folder)
        return
    assert contents(folder) == before
    if file == "config.json":
        assert again.returncode == 2 and "config.json" in again.stderr, again.stderr
    elif file == "metrics.json":
        assert again.returncode == 3 and "metrics.json" in again.stderr and "remove it" in again.stderr, again.stderr
    else:
        assert again.returncode == 0 and json.loads(again.stdout) == json.loads(files["metrics.json"]), again.stderr
        place, _, name = file.partition("/")
        named = f"run/{file}" in again.stderr or f"run/{place}: no {name}" in again.stderr
        assert named == (place in ("best", "last")), again.stderr


@pytest.mark.parametrize("file, how", CASES)
def test_an_interrupted_run(world, interrupted, file, how):
    config, files = interrupted
    folder = world.path / "run-stopped"
    restore(folder, files)
    if not damage(folder, file, how):
        pytest.skip("a run on its way has no such file")
    before = contents(folder)
    if file in SAYS:
        again = world.train(config, "--resume")
        assert again.returncode == SAYS[file] and again.stderr.count("\n") == 1, again.stderr
        assert f"run-stopped/{file}" in again.stderr
        assert contents(folder) == before
        return
    process = world.start(config, "--resume")
    step = json.loads(files["log.jsonl"].splitlines()[-1])["step"]
    while process.poll() is None and last_step(folder) <= step:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    if file == "log.jsonl":
        assert "run-stopped/log.jsonl" in errors
    if file == "checkpoint/runtime.json":
        assert f"run-stopped/{file}" in errors
    if file == "checkpoint":
        assert "run-stopped: no checkpoint" in errors
    assert_whole(folder)


def test_a_log_cut_in_a_line_goes_on_behind_the_last_whole_one(world, interrupted):
    config, files = interrupted
    folder = world.path / "run-stopped"
    lines = files["log.jsonl"].splitlines(keepends=True)
    restore(folder, files | {"log.jsonl": b"".join(lines[:7]) + lines[7][:10]})
    process = world.start(config, "--resume")
    wait_for_log(process, folder / "log.jsonl", 2000)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (folder / "log.jsonl").read_bytes().startswith(b"".join(lines[:7]) + b'{"')
    assert_whole(folder)


def test_what_a_killed_process_left_of_a_file_is_removed(world, interrupted):
    config, files = interrupted
    folder = world.path / "run-stopped"
    restore(folder, files | {f"{place}.words.12.3.tmp": b"hal" for place in ("", "best/", "checkpoint/")})
    process = world.start(config, "--resume")
    wait_for_log(process, folder / "log.jsonl", len(files["log.jsonl"]) + 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert_whole(folder)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_run_that_a_guard_stopped(world, how):
    config = world.config("lora", world.path / "diverged", TRAIN | {"learning_rate": 1e30})
    folder = world.path / "diverged"
    shutil.rmtree(folder, ignore_errors=True)
    assert world.train(config).returncode == 4
    DAMAGES[how](folder / "stopped.json")
    before = contents(folder)
    again = world.train(config, "--resume")
    if how == "deleted":
        assert again.returncode == 4  # it trains on and stops again
        assert_whole(folder)
    else:
        assert again.returncode == 3 and again.stderr.count("\n") == 1 and "diverged/stopped.json" in again.stderr, again.stderr
        assert contents(folder) == before


def test_prolonging_without_the_checkpoint_says_so(world, finished):
    config, files = finished
    folder = world.path / "run"
    restore(folder, {name: content for name, content in files.items() if not name.startswith("checkpoint/")})
    constant = json.loads((folder / "config.json").read_text())
    constant["train"]["lr_scheduler_type"] = "constant"
    (folder / "config.json").write_text(json.dumps(constant))
    before = contents(folder)
    refused = world.train(config, "--resume", "--set", "train.lr_scheduler_type=constant", "--set", "train.max_steps=70")
    assert refused.returncode == 3 and "state.safetensors" in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr
    assert contents(folder) == before


@pytest.mark.parametrize("what", ["nothing", "a folder"])
def test_resume_without_a_run_says_so(world, what):
    output = world.path / f"without-{what.replace(' ', '-')}"
    if what == "a folder":
        output.mkdir()
    for program, sections, noun in [("peft-train", {}, "run"), ("peft-sweep", {"sweep": {"train.seed": [1]}}, "sweep")]:
        config = world.write_config(world.config("lora", output, {"max_steps": 3}) | sections, f"{program}-{what}")
        refused = run(program, "--config", config, "--resume")
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
        assert str(output) in refused.stderr and f"no {noun}" in refused.stderr and "without --resume" in refused.stderr
        assert output.exists() == (what == "a folder") and not (output.exists() and contents(output))
