#!/usr/bin/env python3
"""Trains all methods of a comparison on all of its tasks with peft-sweep and writes table.md, table.csv and plot.png.

    scripts/compare_methods --data FOLDER --output FOLDER [--config FILE] [--tasks a,b] [--methods a,b] [--steps N] [--seeds 1,2]
                            [--processes N]

FOLDER of --data holds the dumps under the names that the config gives (RTE, MRPC, ...). Each method's learning rate is chosen on one task
with one seed, by the dev score; then every method trains on every task with every seed. Scores are in percent, the median over the seeds
and their standard deviation, of the metric on dev that chooses the best step: the task's first, or metric_for_best_model (a loss is shown
times 100, and the smallest is best). "(2 of 3)" marks a cell that not every seed has a score in: a guard stopped a run, or its score is
undefined. Run it again to resume: finished runs are not trained again. The config's paths of models are relative to the repository.
"""

import argparse
import concurrent.futures
import copy
import csv
import json
import math
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
STOPPED_BY_GUARD = 4  # peft-sweep's exit code where every run diverged: a result, too
INTERRUPTED = 75  # as the programs end


class Failed(Exception):
    """A sweep that ended in an error: what it said, its exit code."""


def cores():
    return len(os.sched_getaffinity(0))


def default_processes():
    import torch

    return 1 if torch.cuda.is_available() else cores()


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


class Comparison:
    """Trains methods on tasks, each pair with one peft-sweep in its own folder, several of them at a time."""

    def __init__(self, config, data, output, processes):
        self.config, self.data, self.output, self.processes = config, pathlib.Path(data).resolve(), output, processes
        self.running = set()

    def sweep(self, stage, method, task, rates, seeds, threads):
        """Runs or resumes one sweep. Returns the metrics of its finished runs and their rates."""
        folder = self.output / stage / re.sub(r"\W+", "_", method) / task
        own = {key: value for key, value in self.config["methods"][method].items() if key != "rates"}
        document = merged(merged(self.config["base"], self.config["tasks"][task]), own)
        document["task"]["data"] = str(self.data / document["task"]["data"])
        document["train"]["num_threads"] = threads
        document |= {"output": str(folder), "sweep": {"train.learning_rate": rates, "train.seed": seeds}}
        folder.mkdir(parents=True, exist_ok=True)
        file = folder.with_suffix(".json")
        file.write_text(json.dumps(document, indent=2) + "\n")
        command = [ROOT / "build" / "bin" / "peft-sweep", "--config", file]
        if (folder / "sweep.json").exists():
            command.append("--resume")
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.running.add(process)
        errors = process.communicate()[1]
        self.running.discard(process)
        if process.returncode not in (0, STOPPED_BY_GUARD):
            raise Failed(errors, process.returncode)
        found = []
        for metrics in sorted(folder.glob("*/metrics.json")):
            train = json.loads((metrics.parent / "config.json").read_text())["train"]
            if train["learning_rate"] not in rates or train["seed"] not in seeds:  # of an earlier list
                continue
            found.append(json.loads(metrics.read_text()) | {"learning_rate": train["learning_rate"]})
            if found[-1].get("best_metric") is None:
                raise Failed(f"compare_methods: {metrics.parent}: no score: {task} has no dev split with labels\n", 1)
        return found

    def sweeps(self, stage, wanted):
        """Runs all of `wanted`, (method, task) -> (rates, seeds). The same keys -> what the runs say."""
        start, found = time.monotonic(), {}
        processes = max(1, min(self.processes, len(wanted)))
        threads = max(1, cores() // processes)
        with concurrent.futures.ThreadPoolExecutor(processes) as pool:
            waiting = {pool.submit(self.sweep, stage, *key, *values, threads): key for key, values in wanted.items()}
            try:
                for future in concurrent.futures.as_completed(waiting):
                    method, task = key = waiting[future]
                    found[key] = future.result()
                    seconds = time.monotonic() - start
                    left = seconds / len(found) * (len(wanted) - len(found))
                    note = f"{len(found)} of {len(wanted)} sweeps in {seconds / 60:.1f} min, about {left / 60:.0f} min left: {method} on {task}"
                    print(f"{stage}: {note}", file=sys.stderr, flush=True)
            except BaseException as failure:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self.running):
                    process.terminate()  # it saves what it has
                if not isinstance(failure, Failed):
                    raise
                sys.stderr.write(failure.args[0])
                sys.exit(failure.args[1])
        return found

    def tune(self):
        """The best rate of each method on the tuning task, the smaller one of equals."""
        task = self.config["tune_on"]
        found = self.sweeps("tune", {(m, task): (spec["rates"], self.config["seeds"][:1]) for m, spec in self.config["methods"].items()})
        for (method, _), runs in found.items():
            if not runs:
                fail(f"{method} on {task}: a guard stopped the runs of every rate")
        return {method: min((cost(r), r["learning_rate"]) for r in runs)[1] for (method, _), runs in found.items()}

    def train(self, rates):
        """Every method on every task with every seed."""
        return self.sweeps("runs", {(m, t): ([rates[m]], self.config["seeds"]) for t in self.config["tasks"] for m in self.config["methods"]})


def score(metrics):
    """In the run's metric; None where that is undefined."""
    return metrics[f"eval_{metrics['best_metric']}"]


def cost(metrics):
    """The smaller the better, whatever the metric; an undefined score is the worst."""
    value = score(metrics)
    if value is None:
        return math.inf
    return value if metrics["best_metric"] == "loss" else -value


def table_of(config, runs, rates, metrics):
    """Rows, the best first: method, rate, trained parameters, then median, spread and number of scores of every task, and the mean of the
    medians where every task has one and all are losses or none is."""
    rows, losses = [], {metric == "loss" for metric in metrics.values()}
    sign = 1 if losses == {True} else -1
    for method in config["methods"]:
        row = {"method": method, "learning rate": rates[method], "parameters": None, "cells": []}
        for task in config["tasks"]:
            found = runs[method, task]
            scores = [100 * score(m) for m in found if score(m) is not None]
            row["parameters"] = max([row["parameters"] or 0, *(m["trainable_parameters"] for m in found)])
            spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
            row["cells"].append((statistics.median(scores), spread, len(scores)) if scores else None)
        row["mean"] = statistics.fmean(c[0] for c in row["cells"]) if all(row["cells"]) and len(losses) == 1 else None
        rows.append(row)
    return sorted(rows, key=lambda r: math.inf if r["mean"] is None else sign * r["mean"])


def write_tables(config, rows, metrics, output):
    tasks = [f"{task} ({metrics[task]})" for task in config["tasks"]]
    header = ["method", "trained parameters", "learning rate", *tasks, "mean"]

    def cell_text(cell):
        if cell is None:
            return "failed"
        median, spread, scores = cell
        return f"{median:.1f} ± {spread:.1f}" + (f" ({scores} of {len(config['seeds'])})" if scores < len(config["seeds"]) else "")

    def text(row):
        mean = "" if row["mean"] is None else f"{row['mean']:.1f}"
        return [row["method"], f"{row['parameters']:,}", f"{row['learning rate']:g}", *map(cell_text, row["cells"]), mean]

    lines = [header, ["---"] * len(header), *map(text, rows)]
    (output / "table.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))
    with open(output / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "trained_parameters", "learning_rate", "task", "metric", "median", "stdev", "runs"])
        for row in rows:
            for task, cell in zip(config["tasks"], row["cells"]):
                writer.writerow([row["method"], row["parameters"], row["learning rate"], task, metrics[task], *(cell or ("", "", 0))])


def plot(rows, file):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for row in rows:
        if row["mean"] is not None:
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
    parser.add_argument("--processes", type=int, help="sweeps at a time (default: one per core, one in all on a GPU)")
    arguments = parser.parse_args()
    if arguments.processes is not None and arguments.processes < 1:
        fail(f"--processes {arguments.processes}: expected at least 1")
    config = read_config(arguments.config)
    tune_on = config["tune_on"]
    config["methods"] = chosen(config["methods"], arguments.methods, "methods")
    if arguments.seeds:
        config["seeds"] = arguments.seeds
    if arguments.steps:
        config["base"]["train"]["max_steps"] = arguments.steps
    if tune_on not in config["tasks"]:
        fail(f"tune_on: {tune_on!r} is not among the tasks")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(INTERRUPTED))
    output = pathlib.Path(arguments.output).resolve()
    comparison = Comparison(config, arguments.data, output, arguments.processes or default_processes())
    rates = comparison.tune()
    print("rates chosen on", tune_on + ":", ", ".join(f"{m} {r:g}" for m, r in rates.items()), flush=True)
    config["tasks"] = chosen(config["tasks"], arguments.tasks, "tasks")
    runs = comparison.train(rates)
    metrics = {task: next((m["best_metric"] for method in config["methods"] for m in runs[method, task]), "") for task in config["tasks"]}
    rows = table_of(config, runs, rates, metrics)
    write_tables(config, rows, metrics, output)
    plot(rows, output / "plot.png")
    print((output / "table.md").read_text(), end="")


if __name__ == "__main__":
    main()
