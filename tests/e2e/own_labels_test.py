"""A run whose data.labels have an order of their own: whatever is made of it says the same of the same texts."""

import json
import shutil
import warnings

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


def test_the_folder_itself_tells_what_is_needed(world, trained, tmp_path):
    alone = moved(trained, tmp_path / "alone")
    told = json.loads((alone / "task.json").read_text())
    assert told["task"] == {"name": "classification", "max_length": 32, "doc_stride": 128} and told["base_model"]["name"] == world.model.name
    assert told["scores"]["accuracy"] == metrics(trained)["eval_accuracy"] and len(told["scores"]["ci95"]["accuracy"]) == 2
    card = (alone / "README.md").read_text()
    assert "yes, no" in card and f"{told['scores']['accuracy']:.4f}" in card
    assert accuracy(alone, "--data", world.data / "dev.tsv", *on_model(world, alone)) == metrics(trained)["eval_accuracy"]


def test_a_folder_below_another_run_keeps_its_own_task(world, trained, tmp_path):
    (tmp_path / "other").mkdir()
    other = json.loads((trained / "config.json").read_text())
    other["task"] |= {"name": "regression"}
    other["data"]["labels"] = []
    (tmp_path / "other" / "config.json").write_text(json.dumps(other))
    alone = moved(trained, tmp_path / "other" / "alone")
    assert accuracy(alone, "--data", world.data / "dev.tsv", *on_model(world, alone)) == metrics(trained)["eval_accuracy"]


def test_a_head_starts_in_the_order_of_the_new_run(world, trained, tmp_path):
    method = json.loads((trained / "config.json").read_text())["method"] | {"init_from": str(trained / "best")}
    still = {"max_steps": 1, "learning_rate": 1e-12, "eval_steps": 1}
    turned = world.finished(world.config(method, tmp_path / "turned", still, data={"labels": REVERSED[::-1]}))
    assert metrics(turned)["eval_accuracy"] == metrics(trained)["eval_accuracy"]
    for split in ("train", "dev"):
        text = (world.data / f"{split}.tsv").read_text()
        (tmp_path / f"{split}.tsv").write_text(text.replace("\tno", "\tmaybe"))
    files = {"files": {split: str(tmp_path / f"{split}.tsv") for split in ("train", "dev")}}
    done = world.train(world.config(method, tmp_path / "other", still, data=files))
    assert done.returncode == 3 and "yes, no" in done.stderr and "maybe, yes" in done.stderr
    assert world.train(world.config(method | {"init_head": False}, tmp_path / "other", still, data=files)).returncode == 0


def test_the_heads_of_checkpoints_meet_the_classes_of_a_task_by_name(world, tmp_path):
    """sst2 has the classes negative, positive; hubs spell them in capitals and in any order."""
    rows = sorted((world.data / "dev.tsv").read_text().splitlines()[1:], key=lambda row: row.endswith("yes"))[8:]  # more of one class
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\n" + "".join(f"{text}\t{int(label == 'yes')}\n" for text, label in (r.split("\t") for r in rows)))
    found = {}
    for names in (("NEGATIVE", "POSITIVE"), ("POSITIVE", "NEGATIVE"), ("bad", "good")):
        model = shutil.copytree(world.model, tmp_path / names[0])
        config = json.loads((model / "config.json").read_text())
        config |= {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
        (model / "config.json").write_text(json.dumps(config))
        done = run("peft-eval", "--adapter", model, "--task", "sst2", "--data", tmp_path / "dev.tsv", "--bootstrap", 0)
        found[names[0]] = json.loads(done.stdout)["accuracy"] if done.returncode == 0 else done.stderr
    assert found["NEGATIVE"] != 0.5 and found["NEGATIVE"] == pytest.approx(1 - found["POSITIVE"], abs=1e-9)
    assert "bad, good" in found["bad"] and "negative, positive" in found["bad"]


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
    peft = pytest.importorskip("peft")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as for an unknown key
        assert peft.PeftConfig.from_pretrained(folder / "best").peft_type == "LORA"
