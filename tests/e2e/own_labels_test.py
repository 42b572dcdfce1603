"""A run whose data.labels have an order of their own: whatever is made of it says the same of the same texts."""

import json
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import World, metrics, run  # noqa: E402
from safetensors import safe_open  # noqa: E402

REVERSED = ["yes", "no"]  # a train split alone would give no, yes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module", params=["lora", "full", "linear_probe"])
def trained(request, world):
    config = world.config(request.param, world.path / request.param, {"max_steps": 60, "eval_steps": 20}, data={"labels": REVERSED})
    folder = world.finished(config)
    assert metrics(folder)["eval_accuracy"] != 0.5  # else the wrong order would show nothing
    return folder


def accuracy(folder, *arguments):
    done = run("peft-eval", "--adapter", folder, "--bootstrap", 0, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["accuracy"]


def moved(trained, target):
    """best/ away from its run, as somebody would send it."""
    return shutil.copytree(trained / "best", target)


def generic(world, data=None):
    return ["--task", "classification", "--data", data or world.data, "--max-length", 32]


def on_model(world, folder):
    return ["--model", world.model] if (folder / "adapter_config.json").exists() else []


def test_a_folder_alone_knows_its_labels(world, trained, tmp_path):
    alone = moved(trained, tmp_path / "alone")
    assert accuracy(alone, *generic(world), *on_model(world, alone)) == metrics(trained)["eval_accuracy"]


def test_one_labelled_file_is_enough(world, trained, tmp_path):
    alone = moved(trained, tmp_path / "alone")
    assert accuracy(alone, *generic(world, world.data / "dev.tsv"), *on_model(world, alone)) == metrics(trained)["eval_accuracy"]


def test_files_with_other_labels_are_refused(world, trained, tmp_path):
    alone = moved(trained, tmp_path / "alone")
    (tmp_path / "dev.tsv").write_text("text\tlabel\na good movie\tpositive\n")
    done = run("peft-eval", "--adapter", alone, *generic(world, tmp_path / "dev.tsv"), *on_model(world, alone))
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "dev.tsv:2" in done.stderr and "positive" in done.stderr and "yes" in done.stderr


def test_a_merged_model_knows_them_too(world, tmp_path):
    folder = world.finished(world.config("lora", tmp_path / "run", {"max_steps": 60}, data={"labels": REVERSED}))
    alone = moved(folder, tmp_path / "alone")
    for adapter in (folder, alone):
        merged = tmp_path / f"merged-{adapter.name}"
        done = run("peft-tool", "merge", adapter, "--output", merged, "--model", world.model)
        assert done.returncode == 0, done.stderr
        assert json.loads((merged / "config.json").read_text())["id2label"] == {"0": "yes", "1": "no"}
        assert accuracy(merged, *generic(world)) == metrics(folder)["eval_accuracy"]


def test_peft_sees_no_key_of_ours(world, tmp_path):
    folder = world.finished(world.config("lora", tmp_path / "run", {"max_steps": 1}, data={"labels": REVERSED}))
    with safe_open(folder / "best" / "adapter_model.safetensors", "np") as file:
        assert json.loads(file.metadata()["labels"]) == REVERSED
    assert "labels" not in json.loads((folder / "best" / "adapter_config.json").read_text())
