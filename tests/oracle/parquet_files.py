"""Runs test-read-examples on files that pyarrow writes; shared by parquet_test.py and broken_parquet_test.py."""

import json
import os
import pathlib
import re
import subprocess

import pyarrow as pa

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))


def run_many(task, paths, *arguments, split="train"):
    """One answer of test-read-examples for each path, or (split, path), and what it logged."""
    paths = [path if isinstance(path, tuple) else (split, path) for path in paths]
    lines = "".join(f"{split}\t{path}\n" for split, path in paths)
    done = subprocess.run([BIN / "test-read-examples", task, *arguments], input=lines, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    answers = [json.loads(line) for line in done.stdout.removesuffix("\n").split("\n")]
    assert len(answers) == len(paths), done.stderr[-2000:]
    return answers, done.stderr


def read(task, path, *arguments, split="train"):
    return run_many(task, [path], *arguments, split=split)[0][0]


def failure(task, path, *arguments, split="train"):
    answer = read(task, path, *arguments, split=split)
    assert answer.get("code") == 3, answer
    assert "\n" not in answer["error"]
    return answer["error"].replace(str(path.parent) + "/", "")


def write_stream(table, path, compression=None, max_chunksize=1000):
    with pa.ipc.new_stream(path, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=max_chunksize)


def with_classes(table, names, column="label"):
    """With the metadata of the datasets library that names the classes of a column."""
    features = {column: {"names": names, "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def peak_memory(task, path, *arguments):
    """(answer, largest resident set in bytes) of a process that counts the examples of one file."""
    with subprocess.Popen([BIN / "test-read-examples", "--count", task, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write(f"train\t{path}\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        # Not what wait4() says: that starts with the memory of this process.
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return answer, int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
