#!/usr/bin/env python3
"""Trains all methods of a comparison on all of its tasks with peft-sweep and writes table.md, table.csv and plot.png.

    scripts/compare_methods --data FOLDER --output FOLDER [--config FILE] [--tasks a,b] [--methods a,b] [--steps N] [--seeds 1,2]

FOLDER of --data holds the dumps under the names that the config gives (RTE, MRPC, ...). Each method's learning rate is chosen on one task
with one seed, by the dev score; then every method trains on every task with every seed. Scores are in percent, the median over the seeds
and their standard deviation, of the task's first metric on dev. A finished run is never trained again: call it again to go on.
"""

import argparse
import copy
import csv
import json
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def fail(message):
    sys.exit(f"compare_methods: {message}")


def read_config(path):
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        return json.loads(re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*', lambda m: m[1] or "", text))
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")


def chosen(table, names, what):
    if names is None:
        return table
    missing = [n for n in names if n not in table]
    if missing:
        fail(f"--{what}: {missing[0]!r} is not in the config (known: {', '.join(table)})")
    return {n: table[n] for n in names}


def merged(base, change):
    """`base` with the keys of `change`, section by section."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) and key != "method" else copy.deepcopy(value)
    return result


def grid(config, task, method, rates, seeds, data):
    """One object of a sweep: everything in which this method on this task differs from the base config."""
    sections = merged(config["base"], config["tasks"][task])
    sections["task"]["data"] = str(pathlib.Path(data) / sections["task"]["data"])
    sections = merged(sections, {k: v for k, v in config["methods"][method].items() if k not in ("rates", "method")})
    base = config["base"]
    point = {name: [value] for name, value in sections.items() if name != "train" and value != base.get(name)}
    point |= {f"train.{key}": [value] for key, value in sections["train"].items() if value != base["train"].get(key)}
    return point | {"method": [config["methods"][method]["method"]], "train.learning_rate": rates, "train.seed": seeds}


def sweep(config, grids, output):
    """Runs a sweep, or goes on with it."""
    document = config["base"] | {"output": str(output), "sweep": grids}
    output.parent.mkdir(parents=True, exist_ok=True)
    file = output.parent / f"{output.name}.json"
    file.write_text(json.dumps(document, indent=2) + "\n")
    status = subprocess.run([ROOT / "build" / "bin" / "peft-sweep", "--config", file, "--resume"], stdout=subprocess.DEVNULL).returncode
    if status != 0:
        sys.exit(status)


def results(output):
    """What the finished runs of a sweep say: config and metrics."""
    found = []
    for file in sorted(output.glob("*/metrics.json")):
        run = json.loads((file.parent / "config.json").read_text()), json.loads(file.read_text())
        found.append(run)
    return found


def same(stored, wanted):
    """Whether the resolved section of a run came from this one."""
    return all(stored.get(key) == value for key, value in wanted.items())


def score(metrics):
    return metrics[f"eval_{metrics['best_metric']}"]


def of(runs, config, method, task, data):
    """The runs of one method on one task. Two methods of one type are told apart by the keys the config gives."""
    wanted = config["methods"][method]["method"]
    others = [m["method"] for name, m in config["methods"].items() if name != method and m["method"]["type"] == wanted["type"]]
    folder = str((pathlib.Path(data) / config["tasks"][task]["task"]["data"]).absolute())
    for stored, metrics in runs:
        mine = same(stored["method"], wanted) and not any(len(o) > len(wanted) and same(stored["method"], o) for o in others)
        if mine and stored["task"]["data"] == folder:
            yield stored, metrics


def tune(config, arguments, output):
    """The best rate of each method on the tuning task, the smaller one of equals."""
    task = config["tune_on"]
    if task not in config["tasks"]:
        fail(f"tune_on: {task!r} is not among the tasks")
    sweep(config, [grid(config, task, m, spec["rates"], config["seeds"][:1], arguments.data) for m, spec in config["methods"].items()], output)
    runs = results(output)
    best = {}
    for method in config["methods"]:
        tried = sorted((-score(m), c["train"]["learning_rate"]) for c, m in of(runs, config, method, task, arguments.data))
        if not tried:
            fail(f"{output}: no run of {method} has ended")
        best[method] = tried[0][1]
    return best


def table_of(config, runs, rates, data):
    """Rows: method, rate, trained parameters, then median and spread of every task, and the mean of the medians."""
    rows = []
    for method in config["methods"]:
        row = {"method": method, "learning rate": rates[method], "parameters": None, "cells": []}
        for task in config["tasks"]:
            found = [m for _, m in of(runs, config, method, task, data)]
            scores = [100 * score(m) for m in found]
            row["parameters"] = max([row["parameters"] or 0, *(m["trainable_parameters"] for m in found)])
            row["cells"].append((statistics.median(scores), statistics.stdev(scores) if len(scores) > 1 else 0.0) if scores else None)
        row["mean"] = statistics.fmean(c[0] for c in row["cells"]) if all(row["cells"]) else None
        rows.append(row)
    return sorted(rows, key=lambda r: -(r["mean"] or float("-inf")))


def write_tables(config, rows, metrics, output):
    tasks = [f"{task} ({metrics[task]})" for task in config["tasks"]]
    header = ["method", "trained parameters", "learning rate", *tasks, "mean"]

    def text(row):
        cells = [f"{c[0]:.1f} ± {c[1]:.1f}" if c else "failed" for c in row["cells"]]
        return [row["method"], f"{row['parameters']:,}", f"{row['learning rate']:g}", *cells, f"{row['mean']:.1f}" if row["mean"] else ""]

    lines = [header, ["---"] * len(header), *map(text, rows)]
    (output / "table.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))
    with open(output / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "trained_parameters", "learning_rate", "task", "metric", "median", "stdev"])
        for row in rows:
            for task, cell in zip(config["tasks"], row["cells"]):
                writer.writerow([row["method"], row["parameters"], row["learning rate"], task, metrics[task], *(cell or ("", ""))])


def plot(rows, file):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for row in rows:
        if row["mean"]:
            axes.scatter(row["parameters"], row["mean"])
            axes.annotate(row["method"], (row["parameters"], row["mean"]), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.set(xscale="log", xlabel="trained parameters", ylabel="mean over tasks of the median dev score, %")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=150)


def main():
    parser = argparse.ArgumentParser(prog="compare_methods", description=__doc__.splitlines()[0])
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--data", required=True, help="folder that holds the dumps of the tasks")
    parser.add_argument("--output", required=True, help="folder of the runs, the table and the plot")
    parser.add_argument("--config", default=ROOT / "configs" / "compare" / "methods.json", help="what is compared (default: %(default)s)")
    parser.add_argument("--tasks", type=names, help="only these")
    parser.add_argument("--methods", type=names, help="only these")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], help="in place of the config's")
    parser.add_argument("--steps", type=int, help="max_steps in place of the config's")
    arguments = parser.parse_args()
    config = read_config(arguments.config)
    tune_on = config["tune_on"]
    config["methods"] = chosen(config["methods"], arguments.methods, "methods")
    if arguments.seeds:
        config["seeds"] = arguments.seeds
    if arguments.steps:
        config["base"]["train"]["max_steps"] = arguments.steps
    output = pathlib.Path(arguments.output).resolve()
    rates = tune(config, arguments, output / "tune")
    config["tasks"] = chosen(config["tasks"], arguments.tasks, "tasks")
    print("rates chosen on", tune_on + ":", ", ".join(f"{m} {r:g}" for m, r in rates.items()), flush=True)
    grids = [grid(config, t, m, [rates[m]], config["seeds"], arguments.data) for t in config["tasks"] for m in config["methods"]]
    sweep(config, grids, output / "runs")
    runs = results(output / "runs")
    metrics = {task: next((m["best_metric"] for method in config["methods"] for _, m in of(runs, config, method, task, arguments.data)), "") for task in config["tasks"]}
    rows = table_of(config, runs, rates, arguments.data)
    write_tables(config, rows, metrics, output)
    plot(rows, output / "plot.png")
    print((output / "table.md").read_text(), end="")


if __name__ == "__main__":
    main()
