"""Multiple-choice and multi-label tasks from file to prediction: learning, resuming, sweeps, evaluation, messages for bad files."""

import json
import random

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import POSITIVE, WORDS, World, log_lines, metrics, run  # noqa: E402
from resume_test import assert_interrupted_equals_uninterrupted  # noqa: E402

CLASSES = ["film", "movie", "plot"]


def words(rng, without, most=8):
    return rng.choices([w for w in WORDS if w not in without], k=rng.randint(1, most))


def copa(rng, idx, hidden):
    """The choice that holds POSITIVE is right."""
    label = rng.randrange(2)
    row = {"premise": " ".join(words(rng, [POSITIVE])), "question": rng.choice(["cause", "effect"]), "idx": idx}
    for i in range(2):
        row[f"choice{i + 1}"] = " ".join([*words(rng, [POSITIVE]), *([POSITIVE] if i == label else [])])
    return row if hidden else row | {"label": label}


def multi_label(rng, idx, hidden):
    held = [name for name in CLASSES if rng.random() < 0.5]
    row = {"text": " ".join([*words(rng, CLASSES), *held])}
    return row if hidden else row | {"label": held}


TASKS = {  # task, its rows, the files' names, the metric
    "copa": (copa, "COPA/{}.jsonl", "val", "accuracy"),
    "multi_label": (multi_label, "own/{}.jsonl", "dev", "micro_f1"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("tasks"))
    rng = random.Random(5)
    for make, name, dev, _ in TASKS.values():
        for split, count in (("train", 120), (dev, 40), ("test", 12)):
            file = made.data / name.format(split)
            file.parent.mkdir(exist_ok=True)
            file.write_text("".join(json.dumps(make(rng, i, split == "test")) + "\n" for i in range(count)))
    return made


def sections(world, task):
    return {"task": {"name": task, "data": str((world.data / TASKS[task][1]).parent)}}


@pytest.mark.parametrize("task", TASKS)
def test_a_learnable_task_is_learned_and_scored_alike_by_peft_eval(world, task):
    metric = TASKS[task][3]
    train = {"max_steps": 300, "batch_size": 16, "learning_rate": 3e-3, "eval_steps": 50, "warmup_ratio": 0.1}
    folder = world.finished(world.config("full", world.path / f"learn-{task}", train, **sections(world, task), model={"dropout": 0}))
    expected = metrics(folder)
    assert expected[f"eval_{metric}"] > 0.95 and expected["task"] == {"copa": "superglue/copa"}.get(task, task)
    done = run("peft-eval", "--adapter", folder / "best", "--predictions", folder / "again.jsonl")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report[metric] == expected[f"eval_{metric}"] and report["loss"] == pytest.approx(expected["eval_loss"], rel=1e-6)
    assert report["majority"] == expected["eval_majority"] and report["majority"][metric] < 0.95
    lines = (folder / "predictions" / "dev.jsonl").read_text().splitlines()
    for line, again in zip(map(json.loads, lines), map(json.loads, (folder / "again.jsonl").read_text().splitlines()), strict=True):
        assert line["prediction"] == again["prediction"] and line["idx"] == again["idx"]
        if task == "copa":
            assert len(line["scores"]) == 2 and line["prediction"] == line["scores"].index(max(line["scores"]))
        else:
            assert line["prediction"] == [name for name, score in zip(CLASSES, line["scores"], strict=True) if score > 0]


@pytest.mark.parametrize("task", TASKS)
def test_hidden_labels_give_predictions_only(world, task):
    folder = world.finished(world.config("lora", world.path / f"hidden-{task}", {"max_steps": 3}, **sections(world, task)))
    done = run("peft-eval", "--adapter", folder, "--split", "test", "--predictions", folder / "test.jsonl")
    assert done.returncode == 0 and "labels of test are hidden" in done.stderr
    lines = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    assert len(lines) == 12 and all("reference" not in line for line in lines)
    assert TASKS[task][3] not in json.loads(done.stdout)


@pytest.mark.parametrize("method", ["lora", "deep_prompt"])
@pytest.mark.parametrize("task", TASKS)
def test_killed_and_resumed_equals_uninterrupted(world, task, method):
    train = {"max_steps": 60, "batch_tokens": 150, "gradient_accumulation_steps": 2, "eval_steps": 7, "save_steps": 3}
    assert_interrupted_equals_uninterrupted(world, f"{task}-{method}", method, train, interruptions=3, **sections(world, task))


@pytest.mark.parametrize("task", TASKS)
def test_runs_of_a_sweep_are_ordinary_runs(world, task):
    config = world.config("lora", world.path / f"sweep-{task}", {"max_steps": 12, "eval_steps": 4}, **sections(world, task))
    done = run("peft-sweep", "--config", world.write_config(config | {"sweep": {"train.seed": [1, 2]}}))
    assert done.returncode == 0, done.stderr
    for seed in (1, 2):
        [job] = (world.path / f"sweep-{task}").glob(f"*seed={seed}")
        single = world.finished(json.loads((job / "config.json").read_text()) | {"output": str(world.path / f"single-{task}-{seed}")})
        assert metrics(job)["eval_loss"] == pytest.approx(metrics(single)["eval_loss"], rel=1e-3)


def test_the_resolved_names_are_in_the_runs_config(world):
    folder = world.finished(world.config("linear_probe", world.path / "names", {"max_steps": 2}, **sections(world, "multi_label")))
    assert json.loads((folder / "config.json").read_text())["data"]["labels"] == CLASSES
    folder = world.finished(world.config("linear_probe", world.path / "plain", {"max_steps": 2}, **sections(world, "copa")))
    config = json.loads((folder / "config.json").read_text())
    assert config["task"]["name"] == "superglue/copa" and config["data"]["labels"] == []


@pytest.mark.parametrize("changes, code, message", [
    ({"label": 2}, 3, "train.jsonl:121: label 2; expected the number of a choice, 0 to 1"),
    ({"label": "1"}, 3, "train.jsonl:121: label is a string, expected the number of a choice"),
    ({"question": "why"}, 3, 'train.jsonl:121: question "why"; expected one of cause, effect'),
    ({"choice2": ["a"]}, 3, "train.jsonl:121: choice2 is an array, expected a string"),
    ({"label": -1}, 3, "train.jsonl:121: no label; expected one in every row of train"),
])
def test_bad_copa_records_name_file_and_line(world, tmp_path, changes, code, message):
    (tmp_path / "COPA").mkdir()
    good = (world.data / "COPA" / "train.jsonl").read_text()
    (tmp_path / "COPA" / "train.jsonl").write_text(good + json.dumps(copa(random.Random(1), 120, False) | changes) + "\n")
    done = world.train(world.config("lora", tmp_path / "run", task={"name": "copa", "data": str(tmp_path)}))
    assert done.returncode == code and message in done.stderr and done.stderr.strip().count("\n") <= 1, done.stderr
    assert not (tmp_path / "run").exists()


def test_labels_of_a_choice_cannot_be_named(world, tmp_path):
    done = world.train(world.config("lora", tmp_path / "run", **sections(world, "copa"), data={"labels": ["a", "b"]}))
    assert done.returncode == 2 and "data.labels: copa has numbers of choices, not classes" in done.stderr


def test_choices_of_ones_own_may_differ_in_number(world, tmp_path):
    rng = random.Random(8)
    for split, count in (("train", 60), ("dev", 20)):
        rows = []
        for _ in range(count):
            choices = [" ".join(words(rng, [])) for _ in range(rng.randint(2, 5))]
            rows.append({"text": " ".join(words(rng, [])), "choices": choices, "label": rng.randrange(len(choices))})
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = world.finished(world.config("prompt", tmp_path / "run", {"max_steps": 6}, task={"name": "multiple_choice", "data": str(tmp_path)}))
    for line, row in zip((folder / "predictions" / "dev.jsonl").read_text().splitlines(), rows, strict=True):
        assert len(json.loads(line)["scores"]) == len(row["choices"]) and json.loads(line)["reference"] == row["label"]
    assert "loss" in log_lines(folder)[0]
