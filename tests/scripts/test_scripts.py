"""The scripts refuse what they do not know, and the quickstart's table says what the runs say."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.parametrize("command", ["setup --tests", "build --presets x", "build --preset", "test x", "test x y", "quickstart --fast", "nightly", "nightly x --since"])
def test_unknown_argument_ends_with_2_and_the_usage(command):
    script, *arguments = command.split()
    result = subprocess.run([SCRIPTS / script, *arguments], capture_output=True, text=True)
    assert result.returncode == 2
    assert f"usage: scripts/{script}" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("script", sorted(f.name for f in SCRIPTS.iterdir() if f.suffix == ".py" or os.access(f, os.X_OK)))
def test_help_is_printed_and_nothing_changes(script, tmp_path):
    """In a checkout of scripts alone, with Python's own library and nothing else."""
    root = tmp_path / "checkout"
    shutil.copytree(SCRIPTS, root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))

    def state():
        return {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*")}

    before = state()
    command = [root / "scripts" / script] if os.access(SCRIPTS / script, os.X_OK) else [sys.executable, root / "scripts" / script]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=20)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert script.removesuffix(".py") in result.stdout
    assert state() == before


STAND_IN = """#!/usr/bin/env bash
echo "${0##*/} $*" >>calls
case ${0##*/} in
  peft-train)
    folder=runs/quickstart/$(basename "$2" .json)
    mkdir -p "$folder"
    touch "$folder/config.json" "$folder/metrics.json"
    ;;
  peft-predict) cat >said && echo '{"label": "animal"}' ;;
  python) echo "the table" ;;
esac
"""


@pytest.fixture
def quickstart(tmp_path):
    """scripts/quickstart in a folder where every program that it calls is a stand-in, which notes the call."""
    for name in ("scripts/setup", "scripts/build", "build/bin/peft-train", "build/bin/peft-eval", "build/bin/peft-predict", ".venv/bin/python"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(STAND_IN)
        file.chmod(0o755)
    for name in ("quickstart", "steps.sh"):
        shutil.copy2(SCRIPTS / name, tmp_path / "scripts" / name)

    def run(*arguments):
        (tmp_path / "calls").unlink(missing_ok=True)
        done = subprocess.run([tmp_path / "scripts" / "quickstart", *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "the table" in done.stdout
        return (tmp_path / "calls").read_text().splitlines(), done.stdout

    run.folder = tmp_path
    return run


def test_quickstart_trains_evaluates_and_shows_a_table(quickstart):
    calls, _ = quickstart()
    assert calls[0] == "setup " and calls[1] == "build peft-train peft-eval peft-predict peft-sweep peft-tool"
    trained = [call for call in calls if call.startswith("peft-train")]
    assert [call.split("/")[-1] for call in trained] == ["linear_probe.json", "prompt.json", "prefix.json", "lora.json"]
    assert len([call for call in calls if call.startswith("peft-eval") and call.endswith("--split test")]) == 4


def test_quickstart_ends_with_a_prediction(quickstart):
    calls, out = quickstart()
    assert calls[-1] == "peft-predict --adapter runs/quickstart/lora/best --input - --format lines"
    said = (quickstart.folder / "said").read_text().strip()
    assert f'lora on "{said}":\n{{"label": "animal"}}\n' in out


def test_quickstart_goes_on_and_does_not_train_again(quickstart):
    quickstart()
    (quickstart.folder / "runs/quickstart/lora/metrics.json").unlink()  # stopped on its way
    calls, _ = quickstart()
    assert [call for call in calls if call.startswith("peft-train")] == [
        f"peft-train --config configs/quickstart/{method}.json --resume" for method in ("linear_probe", "prompt", "prefix", "lora")]  # fmt: skip
    calls, _ = quickstart("--fresh")
    assert not [call for call in calls if "--resume" in call]


def run_folder(path: pathlib.Path, accuracy: float) -> pathlib.Path:
    path.mkdir()
    train = {"trainable_parameters": 76808, "train_samples_per_second": 411.6, "train_runtime": 17.4}
    (path / "metrics.json").write_text(json.dumps(train))
    (path / "test.json").write_text(json.dumps({"accuracy": accuracy, "ci95": {"accuracy": [accuracy - 0.04, accuracy + 0.04]}}))
    return path


def test_table_has_one_line_a_run(tmp_path):
    runs = [run_folder(tmp_path / "lora", 0.83), run_folder(tmp_path / "linear_probe", 0.6)]
    result = subprocess.run([sys.executable, SCRIPTS / "quickstart_table.py", *runs], capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["lora", "76,808", "83.0", "[79.0,", "87.0]", "412", "17"]
    assert lines[3].split()[:3] == ["linear_probe", "76,808", "60.0"]


def test_table_names_what_it_cannot_read(tmp_path):
    result = subprocess.run([sys.executable, SCRIPTS / "quickstart_table.py", tmp_path / "gone"], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "metrics.json" in result.stderr
