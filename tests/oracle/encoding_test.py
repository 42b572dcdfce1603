"""Encodings of whole dev splits of the real dumps against transformers' BertTokenizer: ids and token types, all rows.

The dumps are looked for in PEFT_DATA (a folder that holds glue/, superglue/ and tokenizers/), else unpacked from ../shared/data/*.tar.xz.
"""

import json
import os
import pathlib
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))
ARCHIVES = ROOT.parent / "shared" / "data"

TASKS = {  # folder, header, text columns
    "cola": ("CoLA", False, [3]),
    "sst2": ("SST-2", True, ["sentence"]),
    "mrpc": ("MRPC", True, ["#1 String", "#2 String"]),
    "stsb": ("STS-B", True, ["sentence1", "sentence2"]),
    "qnli": ("QNLI", True, ["question", "sentence"]),
    "rte": ("RTE", True, ["sentence1", "sentence2"]),
    "wnli": ("WNLI", True, ["sentence1", "sentence2"]),
}
LENGTHS = {"cola": 16, "sst2": 128, "mrpc": 48, "stsb": 24, "qnli": 64, "rte": 128, "wnli": 32}  # some truncate often, some never


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    named = os.environ.get("PEFT_DATA")
    if named and (pathlib.Path(named) / "glue").is_dir():
        return pathlib.Path(named)
    if not ARCHIVES.is_dir():
        pytest.skip("no dumps: set PEFT_DATA to a folder that holds glue/ and tokenizers/")
    folder = tmp_path_factory.mktemp("data")
    for archive in sorted(ARCHIVES.glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            wanted = [m for m in tar.getmembers() if {"glue", "superglue", "bert-base-uncased"} & set(m.name.split("/"))]
            tar.extractall(folder, members=wanted, filter="data")
    found = [p.parent for p in folder.rglob("glue") if p.is_dir()]
    if not found:
        pytest.skip(f"no glue/ in the archives of {ARCHIVES}")
    return found[0]


def rows(path, header, columns):
    with open(path, encoding="utf-8", newline="\n") as file:
        lines = [line.removesuffix("\n").removesuffix("\r").split("\t") for line in file.read().removesuffix("\n").split("\n")]
    if header:
        columns = [lines[0].index(c) for c in columns]
        lines = lines[1:]
    return [[line[c] for c in columns] for line in lines]


@pytest.mark.parametrize("task", TASKS)
def test_dev_split_equals_bert_tokenizer(task, data):
    from transformers import BertTokenizer

    folder, header, columns = TASKS[task]
    vocabulary = next(iter(sorted(data.rglob("bert-base-uncased/vocab.txt"))), None)
    if vocabulary is None:
        pytest.skip("no tokenizer bert-base-uncased beside the dumps")
    texts = rows(data / "glue" / folder / "dev.tsv", header, columns)
    tokenizer = BertTokenizer.from_pretrained(str(vocabulary.parent))
    expected = tokenizer(*(list(side) for side in zip(*texts)), truncation=True, max_length=LENGTHS[task])

    done = subprocess.run([str(BIN / "test-encode-split"), str(vocabulary.parent), task, str(data / "glue"), "dev",
                           str(LENGTHS[task])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(got) == len(texts)
    for i, row in enumerate(got):
        assert row["ids"] == expected["input_ids"][i], (i, texts[i])
        assert row["types"] == expected["token_type_ids"][i], (i, texts[i])


@pytest.mark.parametrize("split, length", [("train", 64), ("val", 24)])
def test_copa_is_two_pairs_an_example(data, split, length):
    from transformers import BertTokenizer

    vocabulary = next(iter(sorted(data.rglob("bert-base-uncased/vocab.txt"))), None)
    file = data / "superglue" / "COPA" / f"{split}.jsonl"
    if vocabulary is None or not file.exists():
        pytest.skip("no COPA or no tokenizer bert-base-uncased beside the dumps")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    asked = {"cause": " because", "effect": " so"}
    first = [row["premise"] + asked[row["question"]] for row in rows for _ in range(2)]
    second = [row[choice] for row in rows for choice in ("choice1", "choice2")]
    expected = BertTokenizer.from_pretrained(str(vocabulary.parent))(first, second, truncation=True, max_length=length)
    done = subprocess.run([str(BIN / "test-encode-split"), str(vocabulary.parent), "copa", str(data / "superglue"), split, str(length)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["ids"] for row in got] == expected["input_ids"]
    assert [row["types"] for row in got] == expected["token_type_ids"]
