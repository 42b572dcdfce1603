#!/usr/bin/env python3
"""Parquet files read by this project, by pyarrow and by the datasets library, in turns.

    benchmarks/parquet.py [--rows N] [--repeats N] [--model DIR]

A file of N rows (400,000): a text of 5 to 40 words of the model's vocabulary, a label, and a column that nobody reads. Two measurements:

rows    every text and label once. Ours: test-read-examples --count, which also checks encoding, labels and nulls. pyarrow: iter_batches() of
        the two columns, as Python objects. datasets: Dataset.from_parquet() and one pass over the rows.
tokens  all texts as ids, at most 128 a text. Ours: test-read-examples --encode, all of the splits' encoding. datasets:
        from_parquet() and map() with the fast tokenizer, batches of 1,000.

Every measurement is a process of its own on one core, and the datasets library's cache starts empty. MB are those of the texts. Prints a Markdown table of
the fastest of the repeats and one line of JSON with all; ends with an error where the sides differ in rows, bytes or tokens.

PEFT_BIN   folder of test-read-examples (default: build/bin)
"""

import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MAX_LENGTH = 128
SIDES = {"rows": ["ours", "pyarrow", "datasets"], "tokens": ["ours", "datasets"]}


def write_file(path, options):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tokenizers import Tokenizer

    rng = random.Random(0)
    vocabulary = Tokenizer.from_file(str(pathlib.Path(options.model) / "tokenizer.json")).get_vocab()
    words = sorted(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 1)
    texts = [" ".join(rng.choices(words, k=rng.randint(5, 40))) for _ in range(options.rows)]
    table = pa.table({"text": texts, "label": [i % 2 for i in range(options.rows)], "unread": [text[::-1] for text in texts]})
    pq.write_table(table, path, row_group_size=100_000)


def theirs(side, measure, path, model):
    """What one measurement of theirs gives; runs in a process of its own."""
    start = time.perf_counter()
    rows = size = tokens = 0
    if side == "pyarrow":
        import pyarrow.parquet as pq

        start = time.perf_counter()
        for batch in pq.ParquetFile(path).iter_batches(1024, columns=["text", "label"]):
            columns = batch.to_pydict()
            for text, label in zip(columns["text"], columns["label"]):
                rows += label in (0, 1)
                size += len(text)
        return {"examples": rows, "bytes": size, "seconds": time.perf_counter() - start}
    import datasets

    datasets.disable_progress_bars()
    if measure == "tokens":
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model)
    start = time.perf_counter()
    data = datasets.Dataset.from_parquet(path, columns=["text", "label"])
    if measure == "rows":
        for row in data:
            rows += row["label"] in (0, 1)
            size += len(row["text"])
        return {"examples": rows, "bytes": size, "seconds": time.perf_counter() - start}
    encoded = data.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=MAX_LENGTH, return_attention_mask=False), batched=True)
    seconds = time.perf_counter() - start
    for batch in encoded.with_format("arrow").iter(10_000):
        tokens += len(batch["input_ids"].combine_chunks().flatten())
    return {"examples": len(encoded), "tokens": tokens, "seconds": seconds}


def use_one_core():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measured(side, measure, path, options):
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "HF_HOME": cache, "HF_HUB_OFFLINE": "1"}
        if side == "ours":
            program = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin")) / "test-read-examples"
            command = [program, *(["--count"] if measure == "rows" else ["--encode", options.model]), "classification", "0", "1"]
        else:
            command = [sys.executable, __file__, "--side", side, "--measure", measure, "--file", path, "--model", options.model]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=use_one_core) as process:
            process.stdin.write(f"train\t{path}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or "{}")
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()  # wait4() would count the memory of this process
    if "seconds" not in answer:
        sys.exit(f"parquet: {side}, {measure}: {answer}")
    return answer | {"peak_bytes": int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default=str(ROOT / "models" / "minilm"))
    for name in ("side", "measure", "file"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(theirs(options.side, options.measure, options.file, options.model)), flush=True)
        sys.stdin.read()
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "train.parquet")
        write_file(path, options)
        runs = {(measure, side): [] for measure, sides in SIDES.items() for side in sides}
        for _ in range(options.repeats):
            for (measure, side), answers in runs.items():
                answers.append(measured(side, measure, path, options))
        size = runs["rows", "ours"][0]["bytes"]
        result = {"rows_in_file": options.rows, "text_bytes": size, "load_average": os.getloadavg()[0]}
        print("| | MB/s of text | theirs is slower by | peak memory, MB |\n|---|---|---|---|")
        for (measure, side), answers in runs.items():
            for key in ("examples", "bytes", "tokens"):
                if answers[0].get(key) != runs[measure, "ours"][0].get(key):
                    sys.exit(f"parquet: {measure}: {key}: {side} has {answers[0].get(key)}, ours {runs[measure, 'ours'][0].get(key)}")
            seconds = min(a["seconds"] for a in answers)
            ratio = seconds / min(a["seconds"] for a in runs[measure, "ours"])
            peak = max(a["peak_bytes"] for a in answers)
            result[f"{measure}, {side}"] = {"mb_per_second": size / seconds / 1e6, "seconds": [a["seconds"] for a in answers], "peak_bytes": peak}
            print(f"| {measure}, {side} | {size / seconds / 1e6:.1f} | {'' if side == 'ours' else f'{ratio:.1f}'} | {peak / 1e6:.0f} |")
        print(json.dumps(result))


if __name__ == "__main__":
    main()
