"""Every citation of a document and every relative link leads to a file and a section that the project holds.

Code and text cite `docs/methods.md#the-bank`: the path from the root, and GitHub's anchor of a heading.
"""

import pathlib
import posixpath
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WRITTEN = {"summary.md", "table.md"}  # programs write these: no documents of the project

CITED = re.compile(r"(?<![\w/.-])((?:[\w.-]+/)*[\w.-]+\.md)(?:#([\w-]+))?")
BY_NUMBER = re.compile(r"\.md,? \(?[A-Z]?\.?\d|\b(?:hf-formats|DESIGN)(?:\.md)? [A-Z]?\.?\d")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(text):
    """As GitHub makes them of the headings: lower case, without punctuation, hyphens for spaces, numbered when repeated."""
    found = set()
    for title in re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.MULTILINE):
        anchor = name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = 0
        while anchor in found:
            count += 1
            anchor = f"{name}-{count}"
        found.add(anchor)
    return found


def tracked_texts(root):
    """Name and text of every file under version control that is text."""
    for name in subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (root / name).is_file():
            try:
                yield name, (root / name).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def problems(texts):
    """One line for each reference of {name: text} that leads nowhere."""
    sections = {name: anchors(text) for name, text in texts.items() if name.endswith(".md")}
    basenames = {posixpath.basename(name) for name in sections} | WRITTEN

    def lead(where, target, section):
        if target.startswith("../"):
            return [f"{where}: {target} is outside the project"]
        if target not in texts and not (ROOT / target).exists():
            return [f"{where}: {target} is not in the project"]
        if section and section not in sections.get(target, ()):
            return [f"{where}: {target} has no section #{section}"]
        return []

    found = []
    for name, text in texts.items():
        folder = posixpath.dirname(name)
        for number, line in enumerate(text.split("\n"), 1):
            where = f"{name}:{number}"
            links = LINK.findall(line) if name.endswith(".md") else []
            for link in links:
                path, _, section = link.partition("#")
                if re.match(r"[a-z]+:", link):
                    continue
                found += lead(where, posixpath.normpath(posixpath.join(folder, path)) if path else name, section)
            rest = LINK.sub("", line)
            if BY_NUMBER.search(rest):
                found.append(f"{where}: cites a section by its number, expected docs/NAME.md#section")
            for path, section in CITED.findall(rest):
                basename = posixpath.basename(path)
                if section or (path != basename and basename not in WRITTEN):
                    found += lead(where, path, section)
                elif basename not in basenames:
                    found.append(f"{where}: {path} is not in the project")
    return found


def test_every_reference_resolves():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the files of the project are not known")
    me = pathlib.Path(__file__).relative_to(ROOT).as_posix()
    texts = {name: text for name, text in tracked_texts(ROOT) if name != me}
    assert problems(texts) == []


@pytest.mark.parametrize("file, line, expected", [
    ("src/x.cpp", "// docs/methods.md#lora", None),
    ("src/x.cpp", "// docs/methods.md#dora", "docs/methods.md has no section #dora"),
    ("src/x.cpp", "// docs/method.md", "docs/method.md is not in the project"),
    ("src/x.cpp", "// (methods.md 0.1)", "by its number"),
    ("src/x.cpp", "// hf-formats B.2", "by its number"),
    ("src/x.cpp", "// ../notes/methods.md", "outside the project"),
    ("src/x.cpp", "// as notes.md says", "notes.md is not in the project"),
    ("src/x.cpp", 'write("summary.md")', None),
    ("docs/x.md", "[a](methods.md#lora)", None),
    ("docs/x.md", "[a](#here)", "docs/x.md has no section #here"),
    ("docs/x.md", "[a](../notes/x.txt)", "notes/x.txt is not in the project"),
    ("docs/x.md", "[a](../../notes.txt)", "outside the project"),
    ("docs/x.md", "[a](https://example.org/x.md#y)", None),
])  # fmt: skip
def test_a_reference_that_leads_nowhere_is_found(file, line, expected):
    found = problems({"docs/methods.md": "# Methods\n\n## lora\n", file: line})
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1 and expected in found[0] and found[0].startswith(f"{file}:1: ")


def test_anchors_are_those_of_github():
    text = '# Run config\n```\n# no heading\n```\n## `a_b`: what, and why?\n### method.type = "lora"\n## Run config\n'
    assert anchors(text) == {"run-config", "a_b-what-and-why", "methodtype--lora", "run-config-1"}
