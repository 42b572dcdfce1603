"""Whole submissions against an independent validator, and that validator against ours on files broken at random.

PEFT_BIN    folder with the programs (default: build/bin)
PEFT_DATA   folder that holds the dumps in glue/ and superglue/
"""

import json
import os
import pathlib
import random
import subprocess
import zipfile

import pytest
from conftest import BIN
from submission_rules import BENCHMARKS, broken_rules, dump_of, dump_rows

ROUNDS = 100


def tool(*arguments, **options):
    return subprocess.run([BIN / "test-submission", *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)


def failures_of(places):
    """Of each (place, root): what our validator finds."""
    done = tool("check", input="".join(f"{place}\t{root or ''}\n" for place, root in places))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def data():
    named = os.environ.get("PEFT_DATA")
    if not named or not (pathlib.Path(named) / "superglue").is_dir():
        pytest.skip("set PEFT_DATA to a folder that holds the dumps in glue/ and superglue/")
    return pathlib.Path(named)


@pytest.fixture(scope="module")
def submissions(data, tmp_path_factory):
    """{benchmark: folder}: all files, with the rows of the real test files where there are such."""
    folders = {}
    for benchmark in BENCHMARKS:
        folders[benchmark] = tmp_path_factory.mktemp("made") / benchmark
        made = tool("make", folders[benchmark], benchmark, data / benchmark)
        assert made.returncode == 0, made.stdout
    return folders


def expected_label(name, predictions, a, b=0, c=0):
    number = 31 * a + 17 * b + 7 * c
    if predictions == "score":
        return f"{min(max((number % 71) / 13 - 0.2, 0), 5):.3f}"
    if predictions == "text":
        return f'entity "{17 * a}"'
    return predictions[number % len(predictions)]


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_submissions_of_the_real_test_files_keep_every_rule(benchmark, data, submissions):
    folder = submissions[benchmark]
    for place in (folder, folder / "submission.zip"):
        for root in (data / benchmark, None):
            assert broken_rules(place, root) == []
            assert failures_of([(place, root)]) == [[]]
    compared = [name for name in BENCHMARKS[benchmark] if dump_of(name, data / benchmark)]
    assert compared, "no test file was found"


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_files_hold_the_predictions(benchmark, data, submissions):
    for name, (_, predictions, _, _) in BENCHMARKS[benchmark].items():
        lines = (submissions[benchmark] / name).read_text().splitlines()
        indices, passages = dump_rows(name, data / benchmark)
        if name.endswith(".tsv"):
            found = dict(line.split("\t") for line in lines[1:])
            assert found == {str(i): expected_label(name, predictions, i) for i in indices}, name
        elif predictions != "answers":
            found = {row["idx"]: row["label"] for row in map(json.loads, lines)}
            assert found == {i: expected_label(name, predictions, i) for i in indices}, name
        else:
            rows = [json.loads(line) for line in lines]
            found = [(r["idx"], q["idx"], a["idx"], a["label"]) for r in rows for q in r["passage"]["questions"] for a in q["answers"]]
            triples = [(p, q, a) for p in sorted(passages) for q in sorted(passages[p]) for a in sorted(passages[p][q])]
            assert found == [(*t, expected_label(name, [0, 1], *t)) for t in triples]


def test_archives_are_plain_and_stable(submissions, data, tmp_path):
    for benchmark, folder in submissions.items():
        with zipfile.ZipFile(folder / "submission.zip") as archive:
            members = archive.infolist()
            assert [m.filename for m in members] == sorted(BENCHMARKS[benchmark])
            assert {m.date_time for m in members} == {(1980, 1, 1, 12, 0, 0)}
            assert {m.external_attr >> 16 for m in members} == {0o100644}
            assert archive.testzip() is None
            assert all(archive.read(m) == (folder / m.filename).read_bytes() for m in members)
        again = tmp_path / benchmark
        assert tool("make", again, benchmark, data / benchmark).returncode == 0
        assert (again / "submission.zip").read_bytes() == (folder / "submission.zip").read_bytes()


def broken_at_random(rng, data):
    """A file with one or two faults. Some are none: an order of keys, white space in JSON, another valid prediction."""
    for _ in range(rng.randint(1, 2)):
        lines = data.split(b"\n")
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        byte = rng.randrange(len(data))
        words = [(b"entailment", b"Entailment"), (b"true", b"false"), (b"True", b"true"), (b"1", b"1.0"), (b'"label": 1', b'"label": true')]
        words += [(b'"idx"', b'"id"'), (b": ", b":"), (b"\t", b"\t "), (b"0", b"00"), (b'"', b"'"), (b"}", b', "x": 1}'), (b".", b","), (b"\t", b" ")]
        kind = rng.randrange(12)
        if kind == 0:
            data = data[:byte] + bytes([rng.randrange(256)]) + data[byte + 1 :]
        elif kind == 1:
            data = data[:byte] + data[byte + 1 :]
        elif kind == 2:
            data = data[:byte] + bytes([rng.choice(b'"\r\n\t 01{}[]\xef\x00,:.-')]) + data[byte:]
        elif kind == 3:
            del lines[at]
            data = b"\n".join(lines)
        elif kind == 4:
            lines.insert(other, lines[at])
            data = b"\n".join(lines)
        elif kind == 5:
            lines[at], lines[other] = lines[other], lines[at]
            data = b"\n".join(lines)
        elif kind == 6:
            lines[at] = rng.choice([b"\xef\xbb\xbf" + lines[at], lines[at] + b"\r", b"", b" ", b'"' + lines[at] + b'"'])
            data = b"\n".join(lines)
        elif kind == 7:
            data = rng.choice([b"\xef\xbb\xbf" + data, data[:-1], data + b"\n", data[: rng.randrange(len(data))], b""])
        else:
            before, after = rng.choice(words)
            lines[at] = lines[at].replace(before, after, 1)
            data = b"\n".join(lines)
        if not data:
            break
    return data


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_both_validators_agree_on_broken_files(benchmark, data, submissions, tmp_path):
    rng = random.Random(7)
    names = [name for name in BENCHMARKS[benchmark] if name not in ("QQP.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "ReCoRD.jsonl")]
    cases = []
    for round in range(ROUNDS):
        folder = tmp_path / str(round)
        folder.mkdir()
        name = rng.choice(names)
        (folder / name).write_bytes(broken_at_random(rng, (submissions[benchmark] / name).read_bytes()))
        cases.append((folder, name, rng.choice([data / benchmark, None])))
    found = {True: 0, False: 0}
    for (folder, name, root), lines in zip(cases, failures_of([(folder, root) for folder, _, root in cases]), strict=True):
        assert lines[0].startswith(f"{folder}: no ")  # the other files
        ours, theirs = lines[1:], [problem for problem in broken_rules(folder, root) if problem[2] != "missing"]
        assert bool(ours) == bool(theirs), (folder, name, ours, theirs)
        assert all(line.startswith(f"{folder / name}:") for line in ours), ours
        found[bool(theirs)] += 1
    assert found[True] > ROUNDS // 2 and found[False] > 0, found


def test_bad_archives_are_refused_by_both(submissions, tmp_path):
    sound = submissions["superglue"] / "submission.zip"
    files = {name: (submissions["superglue"] / name).read_bytes() for name in BENCHMARKS["superglue"]}

    def write(change):
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
            change(archive)
        return path

    def twice(archive):
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("CB.jsonl", files["CB.jsonl"])

    assert failures_of([(write(lambda archive: None), None)]) == [[]]  # made by another program
    changes = [twice, lambda a: a.mkdir("sub"), lambda a: a.writestr("sub/x", ""), lambda a: a.writestr("../x", ""), lambda a: a.writestr("notes.txt", "")]
    for change in changes:
        place = write(change)
        assert broken_rules(place) != []
        [ours] = failures_of([(place, None)])
        assert ours and all(line.startswith(f"{place}: ") for line in ours)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(sound.read_bytes()[:-30])
    assert "expected a zip archive" in failures_of([(cut, None)])[0][0]
