#!/usr/bin/env python3
"""A bank against single runs and against peft: 4 rates x 4 seeds of lora (r 8) on RTE, batch 4, MiniLM-L6.

    benchmarks/bank.py --data FOLDER [--steps N] [--singles N] [--peft-runs N] [--rounding-runs N] [--model DIR] [--work DIR]

Trains the 16 runs with peft-sweep, then each alone with peft-train (--singles of them are timed, the rest extrapolated), then --peft-runs
of them with scripts/peft_reference.py. Prints JSON: seconds of training (model loading and evaluation left out), peak memory, ratios, and
for every run that was trained both ways the largest relative difference of its final adapter. What rounding alone does in so many steps
shows a second single run on one thread: it differs from the first in the order of sums and in nothing else. The runs that differ most from
the bank's are repeated so.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin")).resolve()
RATES, SEEDS = [1e-4, 3e-4, 1e-3, 3e-3], [1, 2, 3, 4]


def timed(command):
    """Wall seconds and peak memory in MB of a process that must succeed."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            sys.exit(f"bank: {' '.join(map(str, command))}: exit code {process.returncode}\n{errors.read()}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def difference(a, b):
    """Largest relative difference of two adapter files' tensors."""
    from safetensors.numpy import load_file
    import numpy as np

    left, right = (load_file(f / "last" / "adapter_model.safetensors") for f in (a, b))
    return max(float(np.linalg.norm(left[n] - right[n]) / max(np.linalg.norm(left[n]), 1e-12)) for n in left)


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of the RTE dump")
    parser.add_argument("--model", default=str(ROOT / "models" / "minilm"))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--singles", type=int, default=16)
    parser.add_argument("--peft-runs", type=int, default=2)
    parser.add_argument("--rounding-runs", type=int, default=4, help="single runs repeated on one thread, those that differ most")
    parser.add_argument("--work", help="folder for the runs (default: a temporary one)")
    arguments = parser.parse_args()
    work = pathlib.Path(arguments.work or tempfile.mkdtemp(prefix="peft-bank-"))
    work.mkdir(parents=True, exist_ok=True)
    base = {
        "model": {"path": arguments.model, "dropout": 0},
        "task": {"name": "rte", "data": arguments.data, "max_length": 128},
        "method": {"type": "lora", "r": 8, "lora_alpha": 16},
        "train": {"max_steps": arguments.steps, "batch_size": 4, "eval_steps": 0, "save_steps": 0},
    }
    sweep = base | {"output": str(work / "bank"), "sweep": {"train.learning_rate": RATES, "train.seed": SEEDS}}
    (work / "sweep.json").write_text(json.dumps(sweep))
    bank_wall, bank_memory = timed([BIN / "peft-sweep", "--config", work / "sweep.json"])
    jobs = sorted(f.parent for f in (work / "bank").glob("*/metrics.json"))
    bank = sum(metrics(job)["train_runtime"] for job in jobs)

    def single_run(job, threads):
        """Trains the run of a job alone: its folder, wall seconds and memory."""
        config = json.loads((job / "config.json").read_text()) | {"output": str(work / f"single-{threads}" / job.name)}
        config["train"]["num_threads"] = threads
        (work / "single.json").write_text(json.dumps(config))
        wall, memory = timed([BIN / "peft-train", "--config", work / "single.json"])
        return pathlib.Path(config["output"]), wall, memory

    singles, single_wall, single_memory, differences = [], [], [], {}
    spread = jobs[:: max(1, len(jobs) // max(1, arguments.singles))][: arguments.singles]
    for job in spread:
        folder, wall, memory = single_run(job, 0)
        singles.append(metrics(folder)["train_runtime"])
        single_wall.append(wall)
        single_memory.append(memory)
        differences[job] = difference(job, folder)
    rounding = {}
    for job in sorted(differences, key=differences.get, reverse=True)[: arguments.rounding_runs]:
        rounding[job] = difference(single_run(job, 1)[0], work / "single-0" / job.name)

    peft, peft_memory = [], []
    for job in jobs[: arguments.peft_runs]:
        config = json.loads((job / "config.json").read_text())
        config["method"] = base["method"]
        config["train"] = base["train"] | {k: config["train"][k] for k in ("learning_rate", "seed")}
        (work / "peft.json").write_text(json.dumps({k: config[k] for k in ("model", "task", "method", "train", "output")}))
        _, memory = timed([sys.executable, ROOT / "scripts" / "peft_reference.py", "--config", work / "peft.json", "--output", work / "peft.out"])
        peft.append(json.loads((work / "peft.out").read_text())["train_runtime"])
        peft_memory.append(memory)

    def all_runs(times):
        return len(jobs) * sum(times) / len(times) if times else None

    result = {
        "steps": arguments.steps, "runs": len(jobs), "bank_seconds": bank, "bank_wall_seconds": bank_wall, "bank_peak_mb": bank_memory,
        "single_seconds": all_runs(singles), "singles_timed": len(singles), "single_wall_seconds": all_runs(single_wall), "single_peak_mb": max(single_memory, default=None),
        "peft_seconds": all_runs(peft), "peft_timed": len(peft), "peft_peak_mb": max(peft_memory, default=None),
        "speedup_over_singles": all_runs(singles) / bank if singles else None, "speedup_over_peft": all_runs(peft) / bank if peft else None,
        "adapter_differences": {job.name: d for job, d in differences.items()},
        "rounding_differences": {job.name: d for job, d in rounding.items()},
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    if not arguments.work:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
