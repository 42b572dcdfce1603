"""What scripts/gpu_check does once there are programs; see there.

    gpu_check.py FILE [--skip tests,sanitizer,benchmarks,losses,slow]

PEFT_RUN   the launcher of a bundle; without it the programs of build/cuda run
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
STEPS = 20
LONGEST = 540  # seconds of one program
# Of losses, relative. Beside the CPU in float32: sums run in another order on a GPU, and bfloat16 rounds every activation.
TOLERANCES = {"float32": 1e-4, "bfloat16": 3e-2}
# Our kernels beside the stock route on the GPU in one type: AdamW makes whole steps of rounding, so float32 is held as on the emulator.
BESIDE_STOCK = {"float32": 1e-4, "bfloat16": 2e-3}
# A few small cases: the sanitizer is slow.
SANITIZED = "CustomAttention.SlicesOf*:CustomAttention.Unaligned*:CustomAttention.OnePassOverOther*:CustomAttention.OnePassWithDropout*:CustomAttention.PrefixInFront*:CustomAdamW.GradientsThat*:CustomAdamW.BankIs*:CustomSmallXent.Rows*:Own*.UnalignedRows*:*CustomLora.Strided*:*CustomEmbedding.Gathers*:*CustomEmbedding.OneOf*:CustomRowDropout.*:CustomAttention.StateMerged*"


def command(program):
    """The words that start a program."""
    if launcher := os.environ.get("PEFT_RUN"):
        return [launcher, program]
    found = [f for f in (ROOT / "build" / "cuda").rglob(program) if f.is_file() and os.access(f, os.X_OK)]
    if not found:
        sys.exit(f"gpu_check: {program} is not in build/cuda; run scripts/gpu_check, which builds it")
    return [str(found[0])]


def run(words, **options):
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=LONGEST, **options)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"ended after {LONGEST} s")


def device():
    import torch
    import transformers

    if not torch.cuda.is_available():
        return None
    driver = run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]).stdout.strip()
    return {
        "gpu": torch.cuda.get_device_name(), "memory_GiB": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1), "driver": driver,
        "torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "transformers": transformers.__version__,
    }  # fmt: skip


def gpu_tests(folder, suites="-Slow*"):
    report = folder / "tests.json"
    report.unlink(missing_ok=True)
    done = run([*command("gpu_kernels_test"), f"--gtest_filter={suites}", f"--gtest_output=json:{report}"])
    if not report.is_file():
        return {"passed": False, "exit_code": done.returncode, "output": (done.stdout + done.stderr)[-2000:]}
    result = json.loads(report.read_text())
    failed = {
        f"{suite['name']}.{test['name']}": [f["failure"][:500] for f in test["failures"][:3]]
        for suite in result["testsuites"] for test in suite["testsuite"] if "failures" in test
    }  # fmt: skip
    return {"passed": done.returncode == 0, "tests": result["tests"], "failed": failed}


def sanitizer(folder):
    tool = shutil.which("compute-sanitizer")
    if not tool:
        return {"passed": None, "skipped": "compute-sanitizer is not installed"}
    outcome = {}
    for check in ("memcheck", "initcheck", "synccheck", "racecheck"):
        done = run([tool, "--target-processes", "all", "--tool", check, "--error-exitcode", "9", *command("gpu_kernels_test"), f"--gtest_filter={SANITIZED}"])
        outcome[check] = {"exit_code": done.returncode, "last_line": (done.stdout.strip().splitlines() or [""])[-1]}
    return {"passed": all(o["exit_code"] == 0 for o in outcome.values()), **outcome}


def benchmarks(folder):
    report = folder / "bench.json"
    done = run([*command("kernel_bench"), "--out", str(report)])
    # The report is whole after every case: what was measured before one failed, or before the time was over, is kept.
    result = json.loads(report.read_text()) if report.is_file() else {"results": []}
    if done.returncode:
        result.update(exit_code=done.returncode, output=(done.stdout + done.stderr)[-2000:])
    wrong = [f"{r['bench']} {r['case']}: {row['impl']}" for r in result["results"] for row in r["rows"] if "refused" in row]
    return {"passed": done.returncode == 0 and not wrong, "wrong": wrong, **result}


def furthest(found, expected):
    """Largest relative difference of two loss curves."""
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected))


def losses(folder):
    """Every method from one start on a CPU in float32, and on the GPU: the losses of each step."""
    sys.path.insert(0, str(ROOT / "tests" / "e2e"))
    import e2e_runs

    class World(e2e_runs.World):
        def __init__(self, path):
            self.path, self.model, self.data = path, path / "model", path / "data"
            # Head width 32, so that our own kernels serve it; no dropout, so that runs can be compared.
            e2e_runs.write_model(self.model, hidden_size=128, intermediate_size=256, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
            e2e_runs.write_split(self.data / "train.tsv", 1, 60)
            e2e_runs.write_split(self.data / "dev.tsv", 2, 30)

    world = World(folder / "world")
    places = {"cpu": ("cpu", "float32", "auto")}
    for dtype in TOLERANCES:
        for implementation in ("auto", "packed"):
            places[f"cuda {dtype} {implementation}"] = ("cuda", dtype, implementation)

    def curve(name, method, place, dropout=0.0):
        at, dtype, implementation = places[place]
        label = f"{name}-{place}".replace(" ", "-").replace(",", "")
        output = world.path / "runs" / label
        train = {"device": at, "max_steps": STEPS, "learning_rate": 1e-3, "eval_steps": 0, "save_steps": 0}
        model = {"dtype": dtype, "attn_implementation": implementation, "use_kernels": implementation == "packed", "dropout": dropout}
        config = world.config(method, output, train=train, model=model)
        file = world.write_config(config, label)
        done = run([*command("peft-train"), "--config", str(file)])
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no message"])[-1]
        lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        return [line["loss"] for line in lines if "loss" in line]

    cases = {}
    for name, method in e2e_runs.METHODS.items():
        without_dropout = {key: 0.0 if key.endswith("_dropout") else value for key, value in method.items()}
        served = [place for place in places if method["type"] != "full" or "bfloat16" not in place]  # full trains float32 alone
        cases[name] = (without_dropout, 0.0, served)
    for name in ("lora", "prefix"):  # our kernels drop what the CPU drops: masks have names
        cases[f"{name}, dropout 0.1"] = (cases[name][0], 0.1, ["cpu", "cuda bfloat16 packed"])

    results, passed = {}, True
    for name, (method, dropout, served) in cases.items():
        curves = {place: curve(name, method, place, dropout) for place in served}
        reference = curves["cpu"]
        row = {}
        for place, found in curves.items():
            if isinstance(found, str) or isinstance(reference, str) or len(found) != len(reference):
                row[place], passed = {"passed": False, "error": found if isinstance(found, str) else "another number of steps"}, False
            elif place != "cpu":
                dtype = places[place][1]
                worst = furthest(found, reference)
                good = worst <= TOLERANCES[dtype]
                row[place] = {"worst_relative_difference": worst}
                stock = curves.get(f"cuda {dtype} auto")
                if place.endswith("packed") and isinstance(stock, list) and len(stock) == len(found):
                    row[place]["beside_stock"] = furthest(found, stock)
                    good = good and row[place]["beside_stock"] <= BESIDE_STOCK[dtype]
                row[place]["passed"], passed = good, passed and good
        results[name] = row
    return {"passed": passed, "steps": STEPS, "tolerances": TOLERANCES, "beside_stock": BESIDE_STOCK, "methods": results}


# The most wanted first: the machine may be taken away.
PARTS = {"tests": gpu_tests, "sanitizer": sanitizer, "benchmarks": benchmarks, "losses": losses, "slow": lambda folder: gpu_tests(folder, "Slow*")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--skip", default="", help="parts, with commas: " + ", ".join(PARTS))
    arguments = parser.parse_args()
    skipped = [part for part in arguments.skip.split(",") if part]
    if unknown := set(skipped) - set(PARTS):
        parser.error(f"--skip: unknown part {sorted(unknown)[0]}; there are {', '.join(PARTS)}")
    machine = device()
    if machine is None:
        print("gpu_check: no NVIDIA GPU on this machine: nothing was checked")
        sys.exit(77)
    revision = ROOT / "REVISION"
    git = revision.read_text().strip() if revision.is_file() else run(["git", "-C", str(ROOT), "rev-parse", "HEAD"]).stdout.strip()
    report = {"schema": 1, "date": datetime.date.today().isoformat(), "git": git, **machine}
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        for part, work in PARTS.items():
            if part in skipped:
                continue
            report[part] = work(pathlib.Path(temporary))
            outcome = {True: "passed", False: "FAILED", None: "skipped"}[report[part]["passed"]]
            failed += [part] if report[part]["passed"] is False else []
            arguments.file.parent.mkdir(parents=True, exist_ok=True)
            arguments.file.write_text(json.dumps(report, indent=1) + "\n")  # whole after every part
            print(f"gpu_check: {part}: {outcome}", flush=True)
    sys.exit(f"gpu_check: {', '.join(failed)} failed; see {arguments.file}" if failed else 0)


if __name__ == "__main__":
    main()
