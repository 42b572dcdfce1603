"""scripts/compare_methods.py: tunes, trains every method on every task with every seed, and sums up what the runs say."""

import copy
import csv
import json
import math
import shutil
import statistics
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("matplotlib")

from e2e_runs import BIN, ENVIRONMENT, ROOT, World, write_split  # noqa: E402

sys.path.insert(0, str(ROOT / "scripts"))
import compare_methods  # noqa: E402

METHODS = {
    "lora": {"method": {"type": "lora"}, "rates": [1e-9, 2e-2]},
    "lora 2": {"method": {"type": "lora", "r": 2}, "train": {"learning_rates": {"head": 1e-3}}, "rates": [1e-2]},
    "probe": {"method": {"type": "linear_probe"}, "rates": [1e-2]},
}


def compare(world, *arguments, **options):
    command = [sys.executable, ROOT / "scripts" / "compare_methods.py", "--config", world.path / "compare.json", "--data", world.path, "--output", world.path / "out"]
    return subprocess.run([*map(str, command), *arguments], capture_output=True, text=True, timeout=300, env=ENVIRONMENT, **options)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    if BIN != ROOT / "build" / "bin":
        pytest.skip("the script starts the programs of build/bin")
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
        assert row["runs"] == "3"
        expected = scores[row["method"], row["task"]]
        assert float(row["median"]) == pytest.approx(statistics.median(expected)) and float(row["stdev"]) == pytest.approx(statistics.stdev(expected))
    assert (out / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_call_trains_nothing(world):
    before = {f: f.stat().st_mtime_ns for f in world.path.glob("out/*/*/*/*/metrics.json")}
    assert len(before) == 4 + 3 * 2 * 3  # tuned on one task; every method, task and seed
    assert compare(world, "--data", ".", "--output", "out", cwd=world.path).returncode == 0
    assert before == {f: f.stat().st_mtime_ns for f in world.path.glob("out/*/*/*/*/metrics.json")}


def test_finished_runs_of_other_steps_are_refused(world):
    done = compare(world, "--steps", "31")
    assert done.returncode == 2 and "train.max_steps" in done.stderr.splitlines()[-1], done.stderr


def test_unknown_names_are_told(world):
    done = compare(world, "--methods", "lora,lara")
    assert done.returncode == 1 and "'lara' is not in the config" in done.stderr


def test_every_name_of_the_default_config_can_be_selected():
    config = compare_methods.read_config(ROOT / "configs" / "compare" / "methods.json")
    for what in ("methods", "tasks"):
        assert compare_methods.chosen(config[what], ",".join(config[what]).split(","), what) == config[what]


def write_program(file, script):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_arguments_are_those_of_the_callers_folder(tmp_path):
    repository, caller = tmp_path / "repository", tmp_path / "caller"
    (caller / "rte").mkdir(parents=True)
    for name in ("setup", "build"):
        write_program(repository / "scripts" / name, "exit 0")
    for name in ("compare_methods", "steps.sh"):
        shutil.copy(ROOT / "scripts" / name, repository / "scripts")
    write_program(repository / ".venv" / "bin" / "python", 'printf "%s\\n" "$PWD" "$@"')
    arguments = ["--data", "dumps", "--output=new", "--tasks", "rte"]
    done = subprocess.run([repository / "scripts" / "compare_methods", *arguments], cwd=caller, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(caller), str(repository / "scripts" / "compare_methods.py"), *arguments]


CONFIG = {
    "base": {"train": {}},
    "tasks": {"t": {"task": {"name": "classification", "data": "T"}}},
    "tune_on": "t",
    "seeds": [1, 2, 3],
    "methods": {"m": {"method": {"type": "lora"}, "rates": [0.1, 0.2, 0.3]}},
}


def run_of(score, metric="accuracy", **more):
    return {"best_metric": metric, f"eval_{metric}": score, "trainable_parameters": 1000} | more


@pytest.fixture
def comparison(monkeypatch, tmp_path):
    """comparison(SCRIPT) -> a comparison in tmp_path/out whose peft-sweep is the shell script."""

    def make(script):
        write_program(tmp_path / "build" / "bin" / "peft-sweep", script)
        monkeypatch.setattr(compare_methods, "ROOT", tmp_path)
        return compare_methods.Comparison(copy.deepcopy(CONFIG), tmp_path, tmp_path / "out", 1)

    return make


def test_a_refused_sweep_ends_with_its_message_and_code(comparison, tmp_path, capsys):
    refusing = comparison('echo "peft-sweep: $PWD: refused" >&2; exit 2')
    with pytest.raises(SystemExit) as end:
        refusing.sweeps("runs", {("m", "t"): ([0.1], [1])})
    assert end.value.code == 2
    assert capsys.readouterr().err == f"peft-sweep: {tmp_path}: refused\n"  # models are found from the repository


def test_runs_of_earlier_lists_are_ignored(comparison, tmp_path):
    for rate in (0.1, 0.2):
        for seed in (1, 2):
            folder = tmp_path / "out" / "runs" / "m" / "t" / f"learning_rate={rate}-seed={seed}"
            folder.mkdir(parents=True)
            (folder / "config.json").write_text(json.dumps({"train": {"learning_rate": rate, "seed": seed}}))
            (folder / "metrics.json").write_text(json.dumps(run_of(rate + seed)))
    found = comparison("exit 0").sweep("runs", "m", "t", [0.2], [1], 1)
    assert found == [run_of(1.2, learning_rate=0.2)]


def test_a_task_without_a_dev_split_is_refused(comparison, tmp_path):
    folder = tmp_path / "out" / "runs" / "m" / "t" / "run"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"train": {"learning_rate": 0.1, "seed": 1}}))
    (folder / "metrics.json").write_text(json.dumps({"trainable_parameters": 1000}))
    with pytest.raises(compare_methods.Failed, match="t has no dev split with labels"):
        comparison("exit 0").sweep("runs", "m", "t", [0.1], [1], 1)


@pytest.mark.parametrize("metric, best", [("accuracy", 0.3), ("loss", 0.2)])
def test_tuning_takes_the_best_rate_and_no_undefined_score(monkeypatch, comparison, metric, best):
    runs = [run_of(score, metric, learning_rate=rate) for rate, score in [(0.1, None), (0.2, 0.4), (0.3, 0.9)]]
    monkeypatch.setattr(compare_methods.Comparison, "sweeps", lambda *_: {("m", "t"): runs})
    assert comparison("exit 1").tune() == {"m": best}


def table(metric, **runs):
    """Rows of methods that have these runs on the one task."""
    config = CONFIG | {"methods": {name: CONFIG["methods"]["m"] for name in runs}}
    found = {(name, "t"): [run_of(score, metric) for score in scores] for name, scores in runs.items()}
    return config, compare_methods.table_of(config, found, {name: 0.1 for name in runs}, {"t": metric})


def test_a_cell_says_which_part_of_the_runs_it_holds(tmp_path):
    config, rows = table("accuracy", whole=[0.5, 0.6, 0.7], stopped=[0.5, 0.6], undefined=[0.5, None, None], none=[])
    compare_methods.write_tables(config, rows, {"t": "accuracy"}, tmp_path)
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[3] for line in (tmp_path / "table.md").read_text().splitlines()[2:]}
    assert cells == {"whole": "60.0 ± 10.0", "stopped": "55.0 ± 7.1 (2 of 3)", "undefined": "50.0 ± 0.0 (1 of 3)", "none": "failed"}
    runs = {row["method"]: row["runs"] for row in csv.DictReader((tmp_path / "table.csv").open(newline="", encoding="utf-8"))}
    assert runs == {"whole": "3", "stopped": "2", "undefined": "1", "none": "0"}


def test_a_mean_of_zero_is_a_mean(monkeypatch, tmp_path):
    config, rows = table("mcc", none=[], below=[-0.1] * 3, zero=[0.0] * 3)
    assert [row["method"] for row in rows] == ["zero", "below", "none"]
    compare_methods.write_tables(config, rows, {"t": "mcc"}, tmp_path)
    assert (tmp_path / "table.md").read_text().splitlines()[2].endswith("| 0.0 |")
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.scatter", lambda axes, x, y: drawn.append(y))
    compare_methods.plot(rows, tmp_path / "plot.png")
    assert drawn == pytest.approx([0.0, -10.0])


def test_of_losses_the_smallest_mean_is_first_and_other_scores_share_none():
    assert [row["method"] for row in table("loss", worse=[0.9] * 3, none=[None] * 3, better=[0.2] * 3)[1]] == ["better", "worse", "none"]
    config = CONFIG | {"tasks": {"t": {}, "u": {}}}
    runs = {("m", "t"): [run_of(0.2, "loss")], ("m", "u"): [run_of(0.9)]}
    assert compare_methods.table_of(config, runs, {"m": 0.1}, {"t": "loss", "u": "accuracy"})[0]["mean"] is None


def test_an_undefined_score_costs_the_most():
    assert compare_methods.cost(run_of(None)) == compare_methods.cost(run_of(None, "loss")) == math.inf
