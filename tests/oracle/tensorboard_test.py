"""Our event files, read by TensorBoard itself."""

import math
import os
import pathlib
import random
import struct
import subprocess

import pytest

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))


def write(folder, lines):
    subprocess.run([BIN / "test-tensorboard-write", folder], input="\n".join(lines), text=True, check=True)


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def scalars(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def test_random_scalars_come_back(tmp_path):
    rng = random.Random(1)
    tags = ["loss", "eval/accuracy", "Ünïcode/тег", "x" * 300]
    expected = {tag: [] for tag in tags}
    lines = ["start 0"]
    for step in range(0, 4000, 7):
        for tag in tags:
            value = rng.gauss(0, 1) * 10.0 ** rng.randint(-20, 20)
            lines.append(f"{tag} {value!r} {step}")
            expected[tag].append((step, float32(value)))
    write(tmp_path, lines)
    assert scalars(tmp_path) == expected


def test_infinities_nan_and_steps_beyond_32_bits(tmp_path):
    write(tmp_path, ["start 0", "a inf 0", "a -inf 1", f"a nan {2**40}"])
    (first, second, third) = scalars(tmp_path)["a"]
    assert first == (0, math.inf) and second == (1, -math.inf)
    assert third[0] == 2**40 and math.isnan(third[1])


def test_version_and_session_records(tmp_path):
    write(tmp_path, ["start 12", "a 1 12"])
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("events.out.tfevents.")
    events = list(EventFileLoader(str(path)).Load())
    assert [e.WhichOneof("what") for e in events] == ["file_version", "session_log", "summary"]
    assert events[0].file_version == "brain.Event:2"
    assert events[1].session_log.status == events[1].session_log.START and events[1].step == 12
    assert events[0].wall_time <= events[1].wall_time <= events[2].wall_time


def test_a_resumed_session_replaces_the_steps_it_repeats(tmp_path):
    first = ["start 1"] + [f"loss {s} {s}" for s in range(1, 11)] + ["eval 5 5", "eval 10 10"]
    resumed = ["start 6"] + [f"loss {s + 100} {s}" for s in range(8, 13)]  # nothing is logged at 6 and 7 this time
    write(tmp_path, first + resumed)
    assert len(list(tmp_path.iterdir())) == 2
    assert scalars(tmp_path) == {
        "loss": [(s, s) for s in range(1, 6)] + [(s, s + 100) for s in range(8, 13)],
        "eval": [(5, 5)],
    }


def test_sessions_of_several_processes_in_one_second_keep_their_order(tmp_path):
    for session in range(4):
        write(tmp_path, [f"start {session}"] + [f"loss {session} {s}" for s in range(session, session + 3)])
    assert scalars(tmp_path)["loss"] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (5, 3)]


def test_a_file_cut_by_a_crash_does_not_hide_the_next_session(tmp_path):
    write(tmp_path, ["start 1"] + [f"loss {s} {s}" for s in range(1, 6)])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    write(tmp_path, ["start 5", "loss 50 5", "loss 60 6"])
    assert scalars(tmp_path)["loss"] == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 50), (6, 60)]
