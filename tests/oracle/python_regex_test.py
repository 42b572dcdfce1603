"""Our regular expressions beside Python's own: the same answers, and refusals where Python refuses."""

import json
import os
import pathlib
import random
import re
import subprocess
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))

MODULES = ["bert.encoder.layer.1.attention.self.query", "bert.encoder.layer.10.attention.self.query", "bert.encoder.layer.1.output.dense", "bert.pooler.dense", "query", "", "a\n", "Ünï.коd٣"]

PATTERNS = [
    "query", "^query", "self.query", r"layer\.1\.", r".*\.layer\.\d+\..*", r".*layer\.(?:1|10)\..*(query|dense)", "[[:alpha:]]+", "[]a]", "[^]a]+", "a$", r"a\Z", r"\Aquery", "(?P<q>query)", "(?P<x>.)(?P=x)",
    "q{,1}uery", "q{,}uery", "q{1,", "{", "}", "]", r"(?:bert\.)?.*", r"\bquery\b", r".*\.query$", "(?i)QUERY", "a(?i)b", "(?i:QUERY)", "(?s).*", "(?m)^a$", "(?x) que ry # comment [", "(?#x)query", "(?<x>q)", "(?<=b)ert", "(?<!b)ert",
    "b(?=e)ert.*", "b(?!x)ert.*", "(?>b|be)rt", "be*+rt", r"\q", r"\Q.\E", r"\h", r"\R", r"\K", r"\p{L}", r"\X", r"\v", r"\a", r"[\b]", r"\x41", r"\x4", r"\u0061", r"\101", r"\0", r"\1", r"(q)\1", r"(q)\2", r"\8", r"[\8]", r"[\1]", r"[\Z]", r"\w+", r"\W", r"[\w.]+",
    r".*\d", r"[\d-]+", "[a-z.0-9]+", "[z-a]", "(", ")", "[", "*", "a**", "(*FAIL)", "(?R)", "(?1)", "(?|a|b)", "(?&x)", "(?P>x)", "(?P<x>q)?(?(x)uery|bert.*)", "(q)?(?(1)uery|bert.*)", "a|b", "", "|", "\\", "(?z)", "(?-i:q)uery", "(?u)query", r"\s*$", "é", "[é-ü]", r"\Z", r".*\Z", r"bert(\..*)?",
]  # fmt: skip


def python_says(pattern, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compiled = re.compile(pattern)
        except (re.error, OverflowError):
            return "error"
    return f"{int(bool(compiled.match(text)))}{int(bool(compiled.fullmatch(text)))}"


def we_say(asked):
    lines = "".join(json.dumps(pair) + "\n" for pair in asked)
    done = subprocess.run([BIN / "test-python-regex"], input=lines, text=True, capture_output=True, check=True)
    return done.stdout.split("\n")[:-1]


def compare(asked):
    wrong = [(pattern, text, python, ours) for (pattern, text), ours in zip(asked, we_say(asked), strict=True) if (python := python_says(pattern, text)) != ours]
    assert not wrong


def test_patterns_of_all_kinds():
    compare([(pattern, text) for pattern in PATTERNS for text in MODULES])


def test_patterns_as_peft_wraps_them():
    compare([(rf"(.*\.)?({pattern})$", text) for pattern in PATTERNS for text in MODULES])


def test_random_patterns():
    rng = random.Random(7)
    pieces = ["a", "b", ".", r"\.", "[ab]", "[^a]", "[[a]", "(a|b)", "(?:ab)", "(?P<n%d>a)", "a*", "b+?", "a{,2}", "a{1,2}", "a{2", "^", "$", r"\Z", r"\b", r"\d", r"\x61", r"\142", "|", "(?=a)", "(?!b)", r"\w"]
    asked = []
    for i in range(3000):
        pattern = "".join(rng.choice(pieces).replace("%d", f"{i}_{j}") for j in range(rng.randint(1, 6)))
        asked += [(pattern, "".join(rng.choice("ab.1\n") for _ in range(rng.randint(0, 6)))) for _ in range(3)]
    compare(asked)


def test_what_is_not_supported_is_refused():
    assert we_say([(r"\N{BULLET}", "x"), ("(?a:x)", "x"), ("(?a)x", "x")]) == ["error"] * 3
