#!/usr/bin/env python3
"""Prints one line per run folder: method, trainable parameters, test accuracy with its 95 % interval, samples/s, seconds of training.

    scripts/quickstart_table.py RUN...

A run folder holds metrics.json, written by peft-train, and test.json, what peft-eval printed for the test split.
"""

import json
import pathlib
import sys


def row(run: pathlib.Path) -> list[str]:
    train = json.loads((run / "metrics.json").read_text())
    test = json.loads((run / "test.json").read_text())
    low, high = test["ci95"]["accuracy"]
    return [
        run.name,
        f"{train['trainable_parameters']:,}",
        f"{100 * test['accuracy']:.1f}  [{100 * low:.1f}, {100 * high:.1f}]",
        f"{train['train_samples_per_second']:.0f}",
        f"{train['train_runtime']:.0f}",
    ]


def main() -> int:
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    header = ["method", "trainable parameters", "test accuracy, %", "samples/s", "seconds"]
    try:
        table = [header] + [row(pathlib.Path(run)) for run in sys.argv[1:]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"quickstart: cannot read the results: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    widths = [max(map(len, column)) for column in zip(*table)]
    for line, cells in enumerate(table):
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))))
        if line == 0:
            print("  ".join("-" * w for w in widths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
