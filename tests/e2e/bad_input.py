"""What the tests of bad input share: a world to break, ways to break it, and the look of an error."""

import json
import os
import shutil
import struct

import pytest
from e2e_runs import World, contents, run
from safetensors.torch import load_file, save_file

USAGE, DATA, OTHER = 2, 3, 1


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return World(tmp_path_factory.mktemp("bad"), train_rows=20, dev_rows=10)


@pytest.fixture
def world(pristine, tmp_path):
    """A copy of its own for every test, to be broken."""
    copy = object.__new__(World)
    copy.path, copy.model, copy.data = tmp_path, tmp_path / "model", tmp_path / "data"
    shutil.copytree(pristine.model, copy.model)
    shutil.copytree(pristine.data, copy.data)
    return copy


def assert_one_line(done, code, *parts):
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
    assert done.stderr.startswith("peft-")
    for part in parts:
        assert str(part) in done.stderr


def assert_refused(world, config, code, *parts, arguments=()):
    """Training and a dry run both refuse, and leave no run folder and no other file behind."""
    file = world.write_config(config)
    before = contents(world.path)
    for extra in ([], ["--dry-run"]):
        assert_one_line(run("peft-train", "--config", file, *arguments, *extra), code, *parts)
        assert contents(world.path) == before and not os.path.exists(config["output"])


def run_config(world, method="linear_probe", **changes):
    return world.config(method, world.path / "run", {"max_steps": 2}, **changes)


def edit_header(file, change):
    """Rewrites the header of a safetensors file and leaves its data as they are."""
    data = file.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = change(json.loads(data[8 : 8 + size]))
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def edit_tensors(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})
