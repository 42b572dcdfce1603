"""scripts/compare_methods.py: tunes, trains every method on every task with every seed, and sums up what the runs say."""

import csv
import json
import statistics
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("matplotlib")

from e2e_runs import BIN, ENVIRONMENT, ROOT, World, write_split  # noqa: E402

METHODS = {
    "lora": {"method": {"type": "lora"}, "rates": [1e-9, 2e-2]},
    "lora 2": {"method": {"type": "lora", "r": 2}, "train": {"learning_rates": {"head": 1e-3}}, "rates": [1e-2]},
    "probe": {"method": {"type": "linear_probe"}, "rates": [1e-2]},
}

pytestmark = pytest.mark.skipif(BIN != ROOT / "build" / "bin", reason="the script starts the programs of build/bin")


def compare(world, *arguments):
    command = [sys.executable, ROOT / "scripts" / "compare_methods.py", "--config", world.path / "compare.json", "--data", world.path, "--output", world.path / "out"]
    return subprocess.run([*map(str, command), *arguments], capture_output=True, text=True, timeout=300, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("compare"))
    write_split(world.path / "more" / "train.tsv", 3, 40)
    write_split(world.path / "more" / "dev.tsv", 4, 20)
    tasks = {name: {"task": {"name": "classification", "data": name, "max_length": 32}} for name in ("data", "more")}
    base = {"model": {"path": str(world.model), "dropout": 0}, "train": {"batch_size": 8, "max_steps": 30}}
    document = {"base": base, "tasks": tasks, "tune_on": "data", "seeds": [1, 2, 3], "methods": METHODS}
    (world.path / "compare.json").write_text("// comments are allowed\n" + json.dumps(document))
    done = compare(world)
    assert done.returncode == 0, done.stderr
    assert (world.path / "out" / "table.md").read_text() in done.stdout
    return world


def test_table_is_what_the_runs_say(world):
    out = world.path / "out"
    scores = {}
    for file in out.glob("runs/*/*/*/metrics.json"):
        config = json.loads((file.parent / "config.json").read_text())
        name = {("lora", 8): "lora", ("lora", 2): "lora 2"}.get((config["method"]["type"], config["method"].get("r")), "probe")
        key = name, config["task"]["data"].rpartition("/")[2]
        scores.setdefault(key, []).append(100 * json.loads(file.read_text())["eval_accuracy"])
        if name == "lora":
            assert config["train"]["learning_rate"] == 2e-2  # 1e-9 learns nothing
        assert config["train"]["learning_rates"] == ({"head": 1e-3} if name == "lora 2" else {})
    assert len(scores) == 6 and all(len(v) == 3 for v in scores.values())
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert len(rows) == 6
    for row in rows:
        expected = scores[row["method"], row["task"]]
        assert float(row["median"]) == pytest.approx(statistics.median(expected)) and float(row["stdev"]) == pytest.approx(statistics.stdev(expected))
    assert (out / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_call_trains_nothing(world):
    before = {f: f.stat().st_mtime_ns for f in world.path.glob("out/*/*/*/*/metrics.json")}
    assert len(before) == 4 + 3 * 2 * 3  # tuned on one task; every method, task and seed
    assert compare(world).returncode == 0
    assert before == {f: f.stat().st_mtime_ns for f in world.path.glob("out/*/*/*/*/metrics.json")}


def test_unknown_names_are_told(world):
    done = compare(world, "--methods", "lora,lara")
    assert done.returncode == 1 and "'lara' is not in the config" in done.stderr
