#!/usr/bin/env python3
"""Whole training steps of peft-train and of a plain transformers + peft loop, interleaved in one run.

    benchmarks/compare_hf.py [--tasks sst2,rte] [--methods lora,prefix,prompt] [--steps N] [--repeats N] [--threads N] [--dtype bfloat16]
                             [--dropout P] [--max-length N] [--model DIR] [--output [FILE]]

Both sides train with the checkpoint's dropout. Every measurement is a process of its own; ours and theirs take turns, and theirs runs with
both of transformers' attentions, eager and sdpa: the faster one counts. Both read the same small file, draw the same rows in
the same order (checked by counting tokens), and note the clock at the end of every step; the first steps are warm-up. A step is
everything from collating the batch to the updated parameters. The limit is what the products of the frozen maps alone take
(product_limit.py), in the same minute. Peak memory is what the kernel reports for the whole process.
Prints one JSON; a Markdown table goes to stderr. --output writes the JSON to benchmarks/results/cpu/<date>-compare_hf.json or to FILE.

PEFT_BIN   folder of peft-train (default: build/bin)
PEFT_DATA  folder with the GLUE dumps, unpacked or as glue.tar.xz (default: ../shared/data); without them the shipped example stands in
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import statistics
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

# No import of torch here: the kernel counts a child's peak memory from before its exec, so this process has to stay small.

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "wordnet_gloss"
BATCH = 32
FOLDERS = {"sst2": "SST-2", "rte": "RTE"}
STEPS = {"sst2": 24, "rte": 10}  # a step of RTE costs about four of SST-2
METHODS = {
    "lora": {"type": "lora", "r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]},
    "prefix": {"type": "prefix", "num_virtual_tokens": 20},
    "prompt": {"type": "prompt", "num_virtual_tokens": 20, "prompt_tuning_init": "RANDOM"},
}


def fail(message):
    sys.exit(f"compare_hf: {message}")


def find_train_file(task, unpacked):
    """train.tsv of a dump, taken out of its archive where needed; None when there is none."""
    data = pathlib.Path(os.environ.get("PEFT_DATA", ROOT.parent / "shared" / "data"))
    for folder in (data, data / "glue"):
        if (folder / FOLDERS[task] / "train.tsv").is_file():
            return folder / FOLDERS[task] / "train.tsv"
    member = f"glue/{FOLDERS[task]}/train.tsv"
    if not (data / "glue.tar.xz").is_file():
        return None
    if not (unpacked / member).is_file():
        with tarfile.open(data / "glue.tar.xz") as archive:
            archive.extractall(unpacked, filter="data")
    return unpacked / member


def write_subset(source, folder, rows):
    """A train.tsv of `rows` rows drawn once and for all from `source`, with its header."""
    header, *lines = source.read_text(encoding="utf-8").rstrip("\n").split("\n")
    folder.mkdir(parents=True)
    chosen = random.Random(0).sample(lines, min(rows, len(lines)))
    (folder / "train.tsv").write_text("\n".join([header, *chosen]) + "\n", encoding="utf-8")


def run(command, environment, log):
    """Runs to the end; its start time and peak memory in bytes. Its output goes to log.out and log.err."""
    with open(f"{log}.out", "wb") as out, open(f"{log}.err", "wb") as err:
        start = time.time()
        process = subprocess.Popen(list(map(str, command)), env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        lines = pathlib.Path(f"{log}.err").read_text(errors="replace").strip().split("\n")
        fail(f"{command[0]} ended with {process.returncode}: {lines[-1]}")
    return start, usage.ru_maxrss * 1024


def step_ends(folder):
    """Wall time of every logged step, from the run's TensorBoard file: records of length, 4 bytes, event, 4 bytes; an event starts with
    its wall time (field 1, a double) and, where not 0, its step (field 2, a varint)."""
    (file,) = folder.glob("events.out.tfevents.*")
    data, at, ends = file.read_bytes(), 0, {}
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = data[at + 12 : at + 12 + length]
        if event[:1] == b"\x09" and event[9:10] == b"\x10":
            step = shift = 0
            for byte in event[10:]:
                step |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            if b"train/loss" in event:
                ends[step] = struct.unpack_from("<d", event, 1)[0]
        at += length + 16
    return [ends[step] for step in sorted(ends)]


def measure_ours(program, config, environment, log):
    start, peak = run([program, "--config", config], environment, log)
    folder = pathlib.Path(json.loads(config.read_text())["output"])
    metrics = json.loads((folder / "metrics.json").read_text())
    tokens = round(metrics["train_tokens_per_second"] * metrics["train_runtime"])
    return {"start": start, "peak": peak, "ends": step_ends(folder), "tokens": tokens, "trainable": metrics["trainable_parameters"]}


def measure_theirs(python, config, threads, attention, environment, log):
    start, peak = run([python, ROOT / "benchmarks" / "hf_step.py", config, threads, attention], environment, log)
    report = json.loads(pathlib.Path(f"{log}.out").read_text().strip().split("\n")[-1])
    return {"start": start, "peak": peak, "ends": report["ends"], "tokens": sum(report["tokens"]), "trainable": report["trainable_parameters"],
            "report": report}  # fmt: skip


def measure_limit(python, options, rows, environment, log):
    """Samples/s if a step were its products alone."""
    run([python, ROOT / "benchmarks" / "product_limit.py", options.model, options.threads, options.dtype, ",".join(map(str, rows))], environment, log)
    return BATCH / json.loads(pathlib.Path(f"{log}.out").read_text())["step_seconds"]


def faster(sides, warmup):
    """The attention whose runs were faster, and these runs."""
    return min(sides.items(), key=lambda item: statistics.median(run["ends"][-1] - run["ends"][warmup - 1] for run in item[1]))


def summary(values, digits):
    return {"median": round(statistics.median(values), digits), "min": round(min(values), digits), "max": round(max(values), digits)}


def side(runs, warmup, steps, tokens):
    """What a table line needs of one side's repeats; `tokens` are those of the timed steps, without padding."""
    seconds = [run["ends"][warmup + steps - 1] - run["ends"][warmup - 1] for run in runs]
    return {
        "samples_per_second": summary([steps * BATCH / s for s in seconds], 2),
        "tokens_per_second": summary([tokens / s for s in seconds], 1),
        "step_milliseconds": summary([1000 * s / steps for s in seconds], 2),
        "peak_memory_bytes": max(run["peak"] for run in runs),
        "first_step_seconds": round(statistics.median(run["ends"][0] - run["start"] for run in runs), 2),
        "trainable_parameters": runs[0]["trainable"],
    }


def cell(task, method, ours, theirs, attention, limit, warmup, steps):
    report = theirs[0]["report"]
    for run in ours + theirs:
        if len(run["ends"]) != warmup + steps or run["tokens"] != ours[0]["tokens"] or run["trainable"] != ours[0]["trainable"]:
            fail(f"{task} {method}: the two sides did not do the same: {run['tokens']} and {ours[0]['tokens']} tokens, "
                 f"{run['trainable']} and {ours[0]['trainable']} trainable parameters, {len(run['ends'])} steps")  # fmt: skip
    tokens = sum(report["tokens"][warmup:])
    result = {
        "task": task, "method": method, "steps": steps, "warmup_steps": warmup, "batch_size": BATCH, "tokens_per_step": tokens / steps,
        "padded_tokens_per_step": sum(report["padded_tokens"][warmup:]) / steps,
        "ours": side(ours, warmup, steps, tokens), "peft": side(theirs, warmup, steps, tokens), "peft_attention": attention,
        "limit_samples_per_second": round(limit, 1),
    }  # fmt: skip
    rates = {who: result[who]["samples_per_second"]["median"] for who in ("ours", "peft")}
    result["speed_ratio"] = round(rates["ours"] / rates["peft"], 3)
    result["share_of_limit"] = round(rates["ours"] / limit, 3)
    result["memory_ratio"] = round(result["ours"]["peak_memory_bytes"] / result["peft"]["peak_memory_bytes"], 3)
    return result


def table(cells):
    lines = ["| task | method | ours, samples/s | peft, samples/s | ratio | ours, share of limit | ours, tokens/s | peft, tokens/s | peak MB, ours / peft | first step s, ours / peft |",
             "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for c in cells:
        ours, theirs = c["ours"], c["peft"]
        rates = ["{median:.1f} ({min:.1f} - {max:.1f})".format(**s["samples_per_second"]) for s in (ours, theirs)]
        lines.append(f"| {c['task']} | {c['method']} | {rates[0]} | {rates[1]}, {c['peft_attention']} | {c['speed_ratio']:.2f} | {c['share_of_limit']:.2f} | "
                     f"{ours['tokens_per_second']['median']:.0f} | {theirs['tokens_per_second']['median']:.0f} | "
                     f"{ours['peak_memory_bytes'] / 1e6:.0f} / {theirs['peak_memory_bytes'] / 1e6:.0f} | "
                     f"{ours['first_step_seconds']:.1f} / {theirs['first_step_seconds']:.1f} |")  # fmt: skip
    return "\n".join(lines)


def machine(threads):
    cpu = platform.processor()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().split("\n")
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": threads, "system": platform.platform()}


def revision():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="sst2,rte", help="comma-separated: %(default)s")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated: %(default)s")
    parser.add_argument("--steps", type=int, help="timed steps (default: 24 of sst2, 10 of rte)")
    parser.add_argument("--warmup", type=int, default=3, help="untimed steps before them (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="processes of either side (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of either side (default: all cores)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="bfloat16: autocast on peft's side")
    parser.add_argument("--dropout", type=float, help="of both sides (default: the checkpoint's)")
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a text (default: %(default)s)")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "minilm")
    parser.add_argument("--output", type=pathlib.Path, nargs="?", const=pathlib.Path(), help="also write the JSON to FILE or to results/cpu")
    options = parser.parse_args()
    options.tasks, options.methods = options.tasks.split(","), options.methods.split(",")
    for name, found, known in [("--tasks", options.tasks, FOLDERS), ("--methods", options.methods, METHODS)]:
        for item in found:
            if item not in known:
                fail(f"{name}: found {item!r}, expected some of {','.join(known)}")
    for name in ("steps", "warmup", "repeats", "threads", "max_length"):
        if (getattr(options, name) or 1) < 1 or getattr(options, name) == 0:
            fail(f"--{name.replace('_', '-')}: found {getattr(options, name)}, expected at least 1")
    return options


def prepare(tasks, options, scratch):
    """[(name, config's task section, timed steps)], each with its subset of rows in `scratch`."""
    prepared = []
    for task in tasks:
        source = find_train_file(task, scratch / "dumps")
        steps = options.steps or STEPS[task]
        section = {"name": task, "data": str(scratch / task), "max_length": options.max_length}
        if source is None:
            print(f"compare_hf: no dump of {task} (PEFT_DATA names their folder): {EXAMPLE.relative_to(ROOT)} stands in", file=sys.stderr)
            source, section["name"], task = EXAMPLE / "train.tsv", "classification", "wordnet_gloss"
            if any(name == task for name, _, _ in prepared):
                continue
        # More rows than the steps take: equal token counts then mean the same rows, not only the same file.
        write_subset(source, pathlib.Path(section["data"]), 4 * (options.warmup + steps) * BATCH)
        prepared.append((task, section, steps))
    return prepared


def main():
    options = parse_arguments()
    program = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin")).resolve() / "peft-train"
    python = next((p for p in [ROOT / ".venv" / "bin" / "python"] if p.exists()), pathlib.Path(sys.executable))
    if not program.is_file():
        fail(f"{program}: no such program; scripts/build makes it, PEFT_BIN names its folder")
    if not (options.model / "config.json").is_file():
        fail(f"{options.model}: no model folder; scripts/setup brings models/minilm")
    threads = str(options.threads)
    environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"compare_hf: load average {load:.1f}: others are at work here, the numbers will be noisy", file=sys.stderr)

    cells, versions = [], {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        for task, section, steps in prepare(options.tasks, options, scratch):
            for method in options.methods:
                ours, theirs = [], {"sdpa": [], "eager": []}
                for repeat in range(options.repeats):
                    log = scratch / f"{task}-{method}-{repeat}"
                    config = log.with_suffix(".json")
                    config.write_text(json.dumps({
                        "model": {"path": str(options.model.resolve()), "dtype": options.dtype}
                                 | ({} if options.dropout is None else {"dropout": options.dropout}),
                        "task": section, "method": METHODS[method],
                        "train": {"max_steps": options.warmup + steps, "batch_size": BATCH, "learning_rate": 1e-3, "warmup_ratio": 0.06,
                                  "seed": 42, "device": "cpu", "num_threads": options.threads, "logging_steps": 1, "eval_steps": 0,
                                  "save_steps": 0},
                        "output": str(scratch / f"run-{log.name}"),
                    }))  # fmt: skip
                    ours.append(measure_ours(program, config, environment, f"{log}-ours"))
                    for attention, runs in theirs.items():
                        runs.append(measure_theirs(python, config, threads, attention, environment, f"{log}-{attention}"))
                attention, runs = faster(theirs, options.warmup)
                virtual = BATCH * METHODS[method]["num_virtual_tokens"] if method == "prompt" else 0
                rows = [tokens + virtual for tokens in runs[0]["report"]["tokens"][options.warmup :]]
                limit = measure_limit(python, options, rows, environment, scratch / f"{task}-{method}-limit")
                versions = runs[0]["report"]["versions"]
                cells.append(cell(task, method, ours, runs, attention, limit, options.warmup, steps))
                print(f"compare_hf: {task} {method}: {cells[-1]['speed_ratio']:.2f} times peft's speed", file=sys.stderr)

    report = {
        "benchmark": "compare_hf", "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "revision": revision(), "model": options.model.name, "dtype": options.dtype, "dropout": options.dropout, "max_length": options.max_length,
        "repeats": options.repeats, "machine": machine(options.threads), "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "load_average_before": load, "versions": versions, "results": cells,
    }  # fmt: skip
    text = json.dumps(report, indent=2)
    print(text)
    print("\n" + table(cells), file=sys.stderr)
    if options.output is not None:
        target = options.output
        if target == pathlib.Path():
            target = ROOT / "benchmarks" / "results" / "cpu" / f"{report['date'][:10]}-compare_hf.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + "\n")


if __name__ == "__main__":
    main()
