"""Runs test-encode (tests/text/encode_cli.cpp): many requests to one of our tokenizers."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))


def start(folder, requests):
    lines = "".join(json.dumps(request) + "\n" for request in requests).encode()
    return subprocess.run([BIN / "test-encode", folder], input=lines, capture_output=True)


def ask(folder, requests):
    """One answer a request."""
    done = start(folder, requests)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(row) for row in done.stdout.decode().split("\n")[:-1]]
