"""Tokenizer speed on one core, ours and the tokenizers library's, on the same lines.

python benchmarks/tokenizer_bench.py VOCAB_TXT_FOLDER TEXT... [--bench build/bin/tokenizer_bench]   (TSV dumps or plain text)
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import BertWordPieceTokenizer  # noqa: E402


def library_speed(vocab, lines, size):
    lowercase = not any(c.isascii() and c.isupper() for t in open(vocab, encoding="utf-8") if t[0] != "[" for c in t)
    tokenizer = BertWordPieceTokenizer(str(vocab), lowercase=lowercase)
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        tokenizer.encode_batch(lines, add_special_tokens=False)
        best = min(best, time.process_time() - start)
    return size / best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path, nargs="+")
    parser.add_argument("--bench", type=pathlib.Path, default="build/bin/tokenizer_bench")
    options = parser.parse_args()

    rows = [row for path in options.text for row in path.read_text(encoding="utf-8").split("\n")]
    lines = [max(row.split("\t"), key=len).replace("\r", " ") for row in rows]  # the longest column is the sentence
    content = "".join(line + "\n" for line in lines).encode()
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        command = [options.bench, options.model, file.name, "--benchmark_format=json"]
        report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    print(f"{len(lines)} lines, {len(content) / 1e6:.1f} MB")
    for run in report["benchmarks"]:
        speed = f"{run['bytes_per_second'] / 1e6:8.1f} MB/s" if "bytes_per_second" in run else ""
        print(f"{run['name']:16} {run['cpu_time'] / 1e6:8.1f} ms {speed}")
    print(f"{'tokenizers':16} {'':11} {library_speed(options.model / 'vocab.txt', lines, len(content)) / 1e6:8.1f} MB/s")


if __name__ == "__main__":
    main()
