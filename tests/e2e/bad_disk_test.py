"""A full disk, forbidden folders and damaged checkpoints: one line, the right exit code, and nothing good is lost."""

import ctypes
import resource
import signal
import subprocess

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from bad_input import DATA, OTHER, USAGE, assert_one_line, edit_header, pristine, run_config, world  # noqa: E402, F401
from e2e_runs import contents, log_lines, run, wait_for_log  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402


def limit_files(size):
    """As a full disk: writing beyond `size` bytes of a file fails."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return limit


def unfinished_run(world, method="lora"):
    config = world.config(method, world.path / "run", {"max_steps": 3000, "save_steps": 5, "eval_steps": 20})
    process = world.start(config)
    wait_for_log(process, world.path / "run" / "log.jsonl", 6000)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    return config, world.path / "run"


@pytest.mark.parametrize("method, size", [("lora", 12000), ("lora", 700), ("full", 100000)])
def test_a_full_disk_leaves_checkpoint_and_best_whole(world, method, size):
    """The limit falls into checkpoint/, best/, the log or TensorBoard's file; what was there before loads and the run goes on from it."""
    config, folder = unfinished_run(world, method)
    before = contents(folder)
    step = log_lines(folder)[-1]["step"]
    failed = world.train(config, "--resume", preexec_fn=limit_files(size))
    assert failed.returncode == OTHER, failed.stderr
    assert str(folder) in failed.stderr.splitlines()[-1] and "File too large" in failed.stderr.splitlines()[-1]
    after = contents(folder)
    for name in before:
        if name.startswith(("checkpoint/state", "best/")):
            assert after[name] == before[name], name
    assert {name for name in after if "tfevents" not in name} == {name for name in before if "tfevents" not in name}
    assert run("peft-eval", "--adapter", folder / "best").returncode == 0
    process = world.start(config, "--resume")
    wait_for_log(process, folder / "log.jsonl", (folder / "log.jsonl").stat().st_size + 500)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75 and log_lines(folder)[-1]["step"] > step


def test_a_disk_that_is_full_from_the_start(world):
    config = world.config("lora", world.path / "run", {"max_steps": 20, "save_steps": 5})
    failed = world.train(config, preexec_fn=limit_files(300))
    assert failed.returncode == OTHER and failed.stderr.count("\n") == 1 and "File too large" in failed.stderr
    left = contents(world.path / "run")
    assert set(left) == {".lock"}, left
    assert world.train(config).returncode == 0  # and the folder is as good as new


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode != 0:
        pytest.skip("may not mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_disk_that_fills_up(world, small_disk):
    config = world.config("full", small_disk / "run", {"max_steps": 30, "save_steps": 3, "eval_steps": 0})
    failed = world.train(config)
    assert failed.returncode == OTHER and failed.stderr.count("\n") == 1, failed.stderr
    assert "No space left on device" in failed.stderr and str(small_disk) in failed.stderr
    assert not [f for f in small_disk.rglob("*") if f.name.endswith((".tmp", ".new"))]
    if (small_disk / "run" / "checkpoint" / "state.safetensors").exists():
        load_file(small_disk / "run" / "checkpoint" / "state.safetensors")


def obey_permissions():
    """Root gives up reading and writing everywhere (prctl PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH)."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


@pytest.fixture
def permissions(tmp_path):
    probe = tmp_path / "probe"
    probe.write_text("")
    probe.chmod(0)
    if subprocess.run(["cat", probe], preexec_fn=obey_permissions, capture_output=True).returncode == 0:
        pytest.skip("this user reads everywhere")
    probe.unlink()


@pytest.mark.parametrize("what", ["model", "model/model.safetensors", "model/vocab.txt", "data", "data/train.tsv"])
def test_unreadable_input(world, permissions, what):
    path = world.path / what
    path.chmod(0)
    done = world.train(run_config(world), preexec_fn=obey_permissions)
    path.chmod(0o755)
    assert_one_line(done, DATA, path, "Permission denied")
    assert not (world.path / "run").exists()


def test_an_output_that_cannot_be_made(world, permissions):
    closed = world.path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    done = world.train(run_config(world) | {"output": str(closed / "run")}, preexec_fn=obey_permissions)
    closed.chmod(0o755)
    assert_one_line(done, OTHER, closed, "Permission denied")


def test_an_output_that_is_a_file(world):
    (world.path / "file").write_text("mine")
    assert_one_line(world.train(run_config(world) | {"output": str(world.path / "file")}), USAGE, "output", "file")
    assert world.train(run_config(world) | {"output": str(world.path / "file" / "run")}).returncode in (OTHER, USAGE)
    assert (world.path / "file").read_text() == "mine"


def test_results_without_a_run_are_left_alone(world):
    (world.path / "run" / "best").mkdir(parents=True)
    (world.path / "run" / "best" / "mine").write_text("mine")
    for arguments in ([], ["--resume"]):
        assert_one_line(world.train(run_config(world), *arguments), USAGE, "output", "best", "config.json")
    assert contents(world.path / "run") == {"best/mine": b"mine"}


CHECKPOINTS = {
    "truncated": lambda f: f.write_bytes(f.read_bytes()[:-7]),
    "empty": lambda f: f.write_bytes(b""),
    "no state": lambda f: edit_header(f, lambda h: {k: v for k, v in h.items() if k != "__metadata__"}),
    "torn state": lambda f: edit_header(f, lambda h: h | {"__metadata__": {"state": '{"step": 1'}}),
    "state without a step": lambda f: edit_header(f, lambda h: h | {"__metadata__": {"state": "{}"}}),
    "tensor of another shape": lambda f: edit_tensors_with_state(f, "parameter/classifier.weight"),
}


def edit_tensors_with_state(file, name):
    from safetensors import safe_open
    import torch

    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    save_file(load_file(file) | {name: torch.zeros(3)}, file, metadata)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_damaged_checkpoint_is_refused_and_left_as_it_is(world, name):
    config, folder = unfinished_run(world)
    CHECKPOINTS[name](folder / "checkpoint" / "state.safetensors")
    before = contents(folder)
    assert_one_line(world.train(config, "--resume"), DATA, "state.safetensors")
    assert contents(folder) == before
