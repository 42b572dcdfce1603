"""The progress line of peft-sweep on a terminal, and what stands below it."""

import os
import pty
import re
import subprocess

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import BIN, ENVIRONMENT, World  # noqa: E402


def on_a_terminal(*command):
    """What the program writes to a terminal of 200 columns, and its exit code."""
    master, slave = pty.openpty()
    os.set_blocking(master, True)
    subprocess.run(["stty", "-F", os.ttyname(slave), "cols", "200"], check=True)
    process = subprocess.Popen(command, stdout=slave, stderr=slave, env=ENVIRONMENT | {"TERM": "xterm"})
    os.close(slave)
    out = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        out += piece
    os.close(master)
    return out.decode(), process.wait(timeout=60)


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("progress"))
    train = {"max_steps": 150, "eval_steps": 20, "logging_steps": 50}
    config = world.config("lora", world.path / "swept", train) | {"sweep": {"train.seed": [1, 2], "method.r": [2, 3]}}
    text, code = on_a_terminal(BIN / "peft-sweep", "--config", world.write_config(config), "--bank-size", "2")
    assert code == 0, text
    return text, world.path / "swept"


def test_the_line_counts_runs_and_tells_the_best_score_and_the_end(screen):
    lines = [line for line in re.split(r"\r\x1b\[K|\r\n", screen[0]) if line.startswith("sweep ")]
    counts = [tuple(map(int, re.match(r"sweep (\d)/4 runs (\d+)%", line).groups())) for line in lines]
    assert counts == sorted(counts) and {done for done, _ in counts} == {0, 2}  # two banks of two, which end together
    assert all(25 * done <= percent <= 25 * done + 50 for done, percent in counts), counts
    later = lines[-1]
    assert re.search(r" \d+:\d\d left, best accuracy \d\.\d{4}$", later), later
    scores = [float(line.rpartition(" ")[2]) for line in lines if "best accuracy" in line]
    assert scores == sorted(scores)


def test_the_table_starts_on_a_line_of_its_own(screen):
    text, folder = screen
    table = (folder / "summary.md").read_text().replace("\n", "\r\n")
    assert text.endswith(table)
    assert text.removesuffix(table).endswith("\r\x1b[K")
