"""The rules of the leaderboards of GLUE and SuperGLUE, written from their description and not from our programs.

broken_rules(place, root) gives one (file, line, text) for each broken rule. `root` holds the dumps; without it, or without a task's folder
in it, the official number of rows counts.
"""

import functools
import io
import json
import pathlib
import re
import zipfile

NLI = ["entailment", "neutral", "contradiction"]
PAIR = ["entailment", "not_entailment"]

# file: rows, predictions, folder of the dump, names of its test file
GLUE = {
    "CoLA.tsv": (1063, ["0", "1"], "CoLA", ["test.tsv"]),
    "SST-2.tsv": (1821, ["0", "1"], "SST-2", ["test.tsv"]),
    "MRPC.tsv": (1725, ["0", "1"], "MRPC", ["test.tsv"]),
    "QQP.tsv": (390965, ["0", "1"], "QQP", ["test.tsv"]),
    "WNLI.tsv": (146, ["0", "1"], "WNLI", ["test.tsv"]),
    "STS-B.tsv": (1379, "score", "STS-B", ["test.tsv"]),
    "MNLI-m.tsv": (9796, NLI, "MNLI", ["test_matched.tsv"]),
    "MNLI-mm.tsv": (9847, NLI, "MNLI", ["test_mismatched.tsv"]),
    "AX.tsv": (1104, NLI, "AX", ["diagnostic.tsv", "AX.tsv", "test.tsv"]),
    "QNLI.tsv": (5463, PAIR, "QNLI", ["test.tsv"]),
    "RTE.tsv": (3000, PAIR, "RTE", ["test.tsv"]),
}
SUPERGLUE = {
    "BoolQ.jsonl": (3245, ["false", "true"], "BoolQ", ["test.jsonl"]),
    "WiC.jsonl": (1400, ["false", "true"], "WiC", ["test.jsonl"]),
    "WSC.jsonl": (146, ["False", "True"], "WSC", ["test.jsonl"]),
    "CB.jsonl": (250, ["entailment", "contradiction", "neutral"], "CB", ["test.jsonl"]),
    "RTE.jsonl": (3000, PAIR, "RTE", ["test.jsonl"]),
    "AX-b.jsonl": (1104, PAIR, "AX-b", ["AX-b.jsonl"]),
    "AX-g.jsonl": (356, PAIR, "AX-g", ["AX-g.jsonl"]),
    "COPA.jsonl": (500, [0, 1], "COPA", ["test.jsonl"]),
    "MultiRC.jsonl": (166, "answers", "MultiRC", ["test.jsonl"]),
    "ReCoRD.jsonl": (10000, "text", "ReCoRD", ["test.jsonl"]),
}
BENCHMARKS = {"glue": GLUE, "superglue": SUPERGLUE}
QUESTIONS, ANSWERS = 1820, 9693


def dump_of(name, root):
    """The test file, or nothing."""
    _, _, folder, files = (GLUE | SUPERGLUE)[name]
    for file in files:
        if root and (pathlib.Path(root) / folder / file).exists():
            return pathlib.Path(root) / folder / file


@functools.lru_cache(maxsize=None)
def dump_rows(name, root):
    """Indices of the lines, and for MultiRC {passage: {question: {answers}}}; the official numbers without a dump."""
    path = dump_of(name, root)
    if not path:
        return list(range((GLUE | SUPERGLUE)[name][0])), None
    lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    if name.endswith(".tsv"):
        column = lines[0].split("\t").index("id" if name == "QQP.tsv" else "index")
        return [int(line.split("\t")[column]) for line in lines[1:]], None
    records = [json.loads(line) for line in lines]
    if name == "ReCoRD.jsonl":
        return [query["idx"] for record in records for query in record["qas"]], None
    if name != "MultiRC.jsonl":
        return [int(record["idx"]) for record in records], None
    passages = {r["idx"]: {q["idx"]: {a["idx"] for a in q["answers"]} for q in r["passage"]["questions"]} for r in records}
    return list(passages), passages


def strict_json(line):
    def unique(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    def refuse(name):
        raise ValueError(name)

    value = json.loads(line, object_pairs_hook=unique, parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode()  # fails on lone surrogates
    return value


def same(a, b):
    """1 is neither True nor 1.0."""
    return type(a) is type(b) and a == b


def check_tsv(name, lines, predictions):
    """The indices in their order, and what is wrong."""
    indices, problems = [], []
    if not lines or lines[0] != "index\tprediction":
        problems.append((1, "header"))
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) != 2:
            problems.append((number, "columns"))
            continue
        if any(f.startswith('"') or f.endswith('"') for f in fields):
            problems.append((number, "quotes"))
        if re.fullmatch("0|[1-9][0-9]*", fields[0]):
            indices.append((int(fields[0]), number))
        else:
            problems.append((number, "index"))
        good = re.fullmatch(r"[0-5]\.[0-9]{3}", fields[1]) and float(fields[1]) <= 5 if predictions == "score" else fields[1] in predictions
        if not good:
            problems.append((number, "prediction"))
    return indices, problems


def check_answers(record, number, passages, seen):
    """What is wrong with a line of MultiRC. `seen` collects the numbers of questions and answers."""
    problems, found = [], {}
    for question in record["passage"]["questions"]:
        if sorted(question) != ["answers", "idx"] or type(question["idx"]) is not int:
            return [(number, "question")]
        answers = set()
        for answer in question["answers"]:
            if sorted(answer) != ["idx", "label"] or type(answer["idx"]) is not int:
                return [(number, "answer")]
            if not any(same(answer["label"], known) for known in (0, 1)):
                problems.append((number, "label"))
            if answer["idx"] in answers:
                problems.append((number, "answer twice"))
            answers.add(answer["idx"])
            seen["answers"].append(answer["idx"])
        if question["idx"] in found:
            problems.append((number, "question twice"))
        found[question["idx"]] = answers
        seen["questions"].append(question["idx"])
    if passages and found != passages.get(record["idx"]):
        problems.append((number, "other questions or answers than the dump"))
    return problems


def check_jsonl(name, lines, predictions, passages):
    indices, problems, seen = [], [], {"questions": [], "answers": []}
    for number, line in enumerate(lines, 1):
        try:
            record = strict_json(line)
            if predictions == "answers":
                good = sorted(record) == ["idx", "passage"] and sorted(record["passage"]) == ["questions"]
            else:
                good = sorted(record) == ["idx", "label"]
            if not good or not isinstance(record, dict) or type(record["idx"]) is not int:
                raise ValueError("keys")
            indices.append((record["idx"], number))
            if predictions == "answers":
                problems += check_answers(record, number, passages, seen)
            elif predictions == "text":
                problems += [] if type(record["label"]) is str else [(number, "label")]
            elif not any(same(record["label"], known) for known in predictions):
                problems.append((number, "label"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            problems.append((number, str(error)))
    if predictions == "answers" and not passages:
        for noun, expected in (("questions", QUESTIONS), ("answers", ANSWERS)):
            if sorted(seen[noun]) != list(range(expected)):
                problems.append((len(lines), noun))
    return indices, problems


def check_file(name, data, root):
    rows, predictions, _, _ = (GLUE | SUPERGLUE)[name]
    problems = []
    if data[:3] == b"\xef\xbb\xbf" or b"\n\xef\xbb\xbf" in data:
        problems.append((1, "byte order mark"))
    if b"\r" in data:
        problems.append((data[: data.index(b"\r")].count(b"\n") + 1, "carriage return"))
    if not data.endswith(b"\n"):
        problems.append((data.count(b"\n") + 1, "no line feed at the end"))
    try:
        lines = data.decode().removesuffix("\n").split("\n") if data else []
    except UnicodeDecodeError as error:
        return [*problems, (data[: error.start].count(b"\n") + 1, "no UTF-8")]
    if "\0" in data.decode():
        problems.append((1, "NUL"))
    expected, passages = dump_rows(name, root)
    indices, more = check_tsv(name, lines, predictions) if name.endswith(".tsv") else check_jsonl(name, lines, predictions, passages)
    problems += more
    numbers = [i for i, _ in indices]
    for (before, _), (idx, line) in zip(indices, indices[1:]):
        if idx <= before:
            problems.append((line, "no ascending order"))
    if sorted(numbers) != sorted(expected):
        problems.append((len(lines), f"{len(numbers)} rows or other indices; expected {len(expected)}"))
    return problems


def files_of(place):
    """Names with contents, and what is wrong with the place itself."""
    if place.is_dir():
        ours = {"manifest.json", "submission.zip", ".lock"}
        return {p.name: p.read_bytes() for p in place.iterdir() if p.name not in ours}, []
    with zipfile.ZipFile(io.BytesIO(place.read_bytes())) as archive:
        names = [member.filename for member in archive.infolist()]
        problems = ["a name occurs twice"] if len(set(names)) != len(names) else []
        problems += [f"{n}: no plain name" for n in names if "/" in n or "\\" in n]
        problems += ["damaged"] if archive.testzip() else []
        return {name: archive.read(name) for name in names}, problems


def broken_rules(place, root=None):
    files, problems = files_of(pathlib.Path(place))
    table = max(BENCHMARKS.values(), key=lambda names: len(names.keys() & files.keys()))
    broken = [("", 0, problem) for problem in problems]
    broken += [(name, 0, "missing") for name in table.keys() - files.keys()]
    broken += [(name, 0, "no such file") for name in files.keys() - table.keys()]
    for name in sorted(table.keys() & files.keys()):
        broken += [(name, *problem) for problem in check_file(name, files[name], root)]
    return broken
