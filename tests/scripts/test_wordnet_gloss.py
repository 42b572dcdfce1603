"""The shipped data set is what scripts/make_wordnet_gloss.py makes."""

import collections
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "examples" / "wordnet_gloss"
SOURCE = pathlib.Path("/usr/share/wordnet/data.noun")


def rows(split: str) -> list[list[str]]:
    lines = (SHIPPED / f"{split}.tsv").read_text(encoding="ascii").splitlines()
    assert lines[0] == "label\ttext"
    return [line.split("\t") for line in lines[1:]]


@pytest.mark.parametrize("split,per_class", [("train", 300), ("dev", 38), ("test", 37)])
def test_classes_are_balanced(split, per_class):
    counts = collections.Counter(label for label, _ in rows(split))
    assert sorted(counts) == ["act", "artifact", "attribute", "cognition", "communication", "person", "state", "substance"]
    assert set(counts.values()) == {per_class}


def test_no_text_occurs_twice():
    texts = [text for split in ("train", "dev", "test") for _, text in rows(split)]
    assert len(set(texts)) == len(texts)
    assert all(4 <= len(text.split()) <= 25 and "; " not in text for text in texts)


@pytest.mark.skipif(not SOURCE.is_file(), reason="needs the Debian package wordnet-base")
def test_made_again_byte_for_byte(tmp_path):
    subprocess.run([sys.executable, ROOT / "scripts" / "make_wordnet_gloss.py", "--output", tmp_path], check=True)
    for name in ("train.tsv", "dev.tsv", "test.tsv", "LICENSE.WordNet"):
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()


def test_missing_source_is_one_line(tmp_path):
    command = [sys.executable, ROOT / "scripts" / "make_wordnet_gloss.py", "--source", tmp_path / "no", "--output", tmp_path / "out"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 3
    assert result.stderr.count("\n") == 1 and "wordnet-base" in result.stderr
    assert not (tmp_path / "out").exists()
