"""scripts/test_summary.py: what counts as passed, failed and skipped."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def summary(folder: pathlib.Path, ctest: str, pytest_cases: str = "", **gtest: str) -> subprocess.CompletedProcess:
    (folder / "gtest").mkdir()
    (folder / "ctest.xml").write_text(f"<testsuite>{ctest}</testsuite>")
    (folder / "pytest.xml").write_text(f"<testsuites><testsuite>{pytest_cases}</testsuite></testsuites>")
    for program, cases in gtest.items():
        (folder / "gtest" / f"{program}.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    return subprocess.run([sys.executable, ROOT / "scripts" / "test_summary.py", folder], capture_output=True, text=True)


def closing_line(result: subprocess.CompletedProcess) -> str:
    return result.stdout.splitlines()[-1]


def test_cases_count_in_place_of_their_program(tmp_path):
    result = summary(
        tmp_path,
        '<testcase name="text" status="run"/><testcase name="shell" status="run"/>',
        '<testcase classname="tests.e2e" name="a"/><testcase classname="tests.e2e" name="b"><skipped message="no dumps"/></testcase>',
        text_test='<testcase classname="A" name="x" status="run"/><testcase classname="A" name="y" status="run"/>'
        '<testcase classname="A" name="z" status="run"><skipped message="a.cpp:3&#10;no dumps"/></testcase>',
    )
    assert result.returncode == 0
    assert closing_line(result) == "4 passed, 0 failed, 2 skipped"
    assert "skipped 2: no dumps" in result.stdout


def test_failed_case_is_shown_with_its_message(tmp_path):
    result = summary(
        tmp_path,
        '<testcase name="text" status="fail"><failure message="Failed"/></testcase>',
        text_test='<testcase classname="A" name="x" status="run"><failure message="m">a.cpp:7 Expected 1, is 2</failure></testcase>',
    )
    assert result.returncode == 1
    assert closing_line(result) == "0 passed, 1 failed, 0 skipped"
    assert "FAILED gtest: A.x\n    a.cpp:7 Expected 1, is 2" in result.stdout


def test_crashed_program_without_cases_fails(tmp_path):
    result = summary(tmp_path, '<testcase name="text" status="fail"><failure message="Failed"/><system-out>SIGSEGV</system-out></testcase>')
    assert result.returncode == 1
    assert closing_line(result) == "0 passed, 1 failed, 0 skipped"
    assert "SIGSEGV" in result.stdout


def test_program_that_fails_after_its_cases_passed_fails(tmp_path):
    result = summary(
        tmp_path,
        '<testcase name="text" status="fail"><failure message="Failed"/></testcase>',
        text_test='<testcase classname="A" name="x" status="run"/>',
    )
    assert result.returncode == 1
    assert closing_line(result) == "1 passed, 1 failed, 0 skipped"


def test_missing_program_is_a_failure(tmp_path):
    result = summary(tmp_path, '<testcase name="text" status="notrun"><skipped message="Unable to find executable"/></testcase>')
    assert result.returncode == 1
    assert closing_line(result) == "0 passed, 1 failed, 0 skipped"


def test_nothing_run_is_a_failure(tmp_path):
    result = summary(tmp_path, "")
    assert result.returncode == 1
    assert closing_line(result) == "0 passed, 0 failed, 0 skipped"


def test_unreadable_results_are_a_failure(tmp_path):
    result = summary(tmp_path, '<testcase name="text" status="run"/>', text_test="<testcase")
    assert result.returncode == 1
    assert closing_line(result) == "0 passed, 1 failed, 0 skipped"


def test_broken_off_run_is_a_failure(tmp_path):
    result = subprocess.run([sys.executable, ROOT / "scripts" / "test_summary.py", tmp_path], capture_output=True, text=True)
    assert result.returncode == 1
    assert "ctest.xml: missing" in result.stdout
    assert closing_line(result) == "0 passed, 1 failed, 0 skipped"
