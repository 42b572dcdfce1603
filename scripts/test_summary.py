#!/usr/bin/env python3
"""Counts what scripts/test ran: each GoogleTest case, each other ctest entry, each pytest case.

    scripts/test_summary.py RESULTS

RESULTS holds ctest.xml, gtest/*.xml and pytest.xml, all of the JUnit kind. Prints every failure with the head of its message, the
reasons of skipped tests, and as the closing line "N passed, N failed, N skipped". Ends with 1 when anything failed or a file is missing.
"""

import collections
import dataclasses
import pathlib
import sys
import xml.etree.ElementTree as ElementTree

MESSAGE_LINES = 25


@dataclasses.dataclass
class Case:
    suite: str
    name: str
    outcome: str  # passed, failed, skipped
    message: str = ""


def cases_of(path: pathlib.Path, suite: str) -> list[Case]:
    try:
        elements = list(ElementTree.parse(path).iter("testcase"))
    except ElementTree.ParseError as error:
        return [Case(suite, path.name, "failed", f"{path}: {error}")]
    cases = []
    for element in elements:
        name = element.get("name") or ""
        if suite != "ctest":
            name = f"{element.get('classname')}.{name}"
        failures = element.findall("failure") + element.findall("error")
        skips = element.findall("skipped")
        if failures:
            texts = [f.text or f.get("message") or "" for f in failures]
            if element.find("system-out") is not None:  # ctest keeps the program's output there
                texts.append(element.findtext("system-out") or "")
            cases.append(Case(suite, name, "failed", "\n".join(texts)))
        elif suite == "ctest" and element.get("status") == "notrun" and "SKIP_" not in (skips[0].get("message") or ""):
            cases.append(Case(suite, name, "failed", skips[0].get("message") or ""))  # the program is missing
        elif skips or element.get("status") in ("notrun", "disabled"):
            reason = (skips[0].get("message") or skips[0].text or "") if skips else "disabled"
            cases.append(Case(suite, name, "skipped", reason))
        else:
            cases.append(Case(suite, name, "passed"))
    return cases


def collect(results: pathlib.Path) -> list[Case]:
    cases: list[Case] = []
    programs = {path.stem: cases_of(path, "gtest") for path in sorted((results / "gtest").glob("*.xml"))}
    for entry in cases_of(results / "ctest.xml", "ctest"):
        inner = programs.pop(entry.name + "_test", [])
        cases += inner
        # An entry stands for itself when it is no GoogleTest program, or failed as a whole (crash, time-out, sanitizer).
        if not inner or (entry.outcome == "failed" and not any(c.outcome == "failed" for c in inner)):
            cases.append(entry)
    for inner in programs.values():
        cases += inner
    return cases + cases_of(results / "pytest.xml", "pytest")


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) == 2 else 2
    results = pathlib.Path(sys.argv[1])
    for name in ("ctest.xml", "pytest.xml"):
        if not (results / name).is_file():
            print(f"{results / name}: missing: the test run ended early; see {results / name.replace('xml', 'log')}")
            print("0 passed, 1 failed, 0 skipped")
            return 1
    cases = collect(results)
    for case in (c for c in cases if c.outcome == "failed"):
        print(f"FAILED {case.suite}: {case.name}")
        lines = case.message.strip().splitlines()
        print("\n".join(f"    {line}" for line in lines[-MESSAGE_LINES:]))
    skipped = [c.message.strip() or "no reason given" for c in cases if c.outcome == "skipped"]
    reasons = collections.Counter(reason.splitlines()[-1] for reason in skipped)  # GoogleTest puts file:line on the first line
    for reason, count in reasons.most_common():
        print(f"skipped {count}: {reason}")
    count = collections.Counter(c.outcome for c in cases)
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 0 if count["failed"] == 0 and count["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
