"""test-score-many: peft-tool score, compare and aggregate in a loop. A process per case would spend its time loading LibTorch."""

import functools
import json
import os
import pathlib
import subprocess

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))


@functools.cache
def scorer():
    return subprocess.Popen([str(BIN / "test-score-many")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(*arguments):
    """What it prints, its exit code, its error."""
    print(json.dumps([str(a) for a in arguments]), file=scorer().stdin, flush=True)
    lines = []
    while True:
        line = scorer().stdout.readline()
        assert line, f"test-score-many died of {arguments}"
        if line.startswith('{"code":'):
            end = json.loads(line)
            return "".join(lines), end["code"], end["error"]
        lines.append(line)


def answer(*arguments):
    """Of a call that must succeed: one parsed JSON value a line."""
    text, code, error = ask(*arguments)
    assert code == 0, error
    return [json.loads(line) for line in text.splitlines()]


def score_arguments(folder, metrics, predictions, references, *arguments, groups=None):
    lines = {"predictions": predictions, "references": references}
    if groups is not None:
        lines["groups"] = groups
    command = ["score", "--metric", metrics, *map(str, arguments)]
    for name, values in lines.items():
        path = folder / name
        path.write_text("".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")
        command += [f"--{name}", str(path)]
    return command


def score(*arguments, **groups):
    return answer(*score_arguments(*arguments, **groups))[0]


def splitmix64(state):
    with np.errstate(over="ignore"):
        z = state
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def draws(seed, b, n):
    """Units of resample b over n units, as docs/tasks.md#intervals defines them."""
    with np.errstate(over="ignore"):
        counters = np.uint64(b) * np.uint64(n) + np.arange(1, n + 1, dtype=np.uint64)
        x = splitmix64(np.uint64(seed) + counters * np.uint64(0x9E3779B97F4A7C15))
    return [int(v) * n >> 64 for v in x.tolist()]


def interval(values):
    return np.quantile(values, [0.025, 0.975]).tolist()
