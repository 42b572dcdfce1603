"""Split policies and k-shot from config to scores: what is selected on, what is reported, and what peft-tool data tells of it."""

import json
import pathlib
import random

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import World, metrics, random_text, run  # noqa: E402

PAIRS = 80  # rows of the benchmark's dev file


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """With a folder glue/RTE whose labels are noise: a run that learns them by heart gets worse on dev."""
    made = World(tmp_path_factory.mktemp("splits"))
    rng = random.Random(8)
    (made.path / "glue" / "RTE").mkdir(parents=True)
    for split, count in (("train", 60), ("dev", PAIRS), ("test", 6)):
        labels = ["index", "sentence1", "sentence2"] + (["label"] if split != "test" else [])
        rows = [[i, random_text(rng, False), random_text(rng, False), rng.choice(["entailment", "not_entailment"])][: len(labels)] for i in range(count)]
        (made.path / "glue" / "RTE" / f"{split}.tsv").write_text("".join("\t".join(map(str, row)) + "\n" for row in [labels, *rows]))
    return made


def rte(world, name, train=None, **data):
    sections = {"task": {"name": "glue/rte", "data": str(world.path / "glue")}, "data": data}
    return world.config("lora", world.path / name, train, **sections)


def evaluate(folder, *arguments):
    done = run("peft-eval", "--adapter", folder, "--bootstrap", 0, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tool(*arguments):
    done = run("peft-tool", "data", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(*arguments):
    done = run("peft-tool", "data", *arguments)
    said = [line for line in done.stderr.splitlines() if " warning: " not in line]
    assert done.stdout == "" and len(said) == 1
    return done.returncode, said[0]


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def dept(world):
    train = {"max_steps": 60, "eval_steps": 10, "learning_rate": 3e-2, "metric_for_best_model": "loss"}
    folder = world.finished(rte(world, "dept", train, split_policy="dept"))
    assert metrics(folder)["best_step"] < 60, "else best/ and the last state are one"
    return folder


def test_dev_chooses_and_test_is_reported(dept):
    found = metrics(dept)
    assert found["split_policy"] == "dept" and found["split_seed"] == 42
    assert found["split_sizes"] == {"train": 60, "dev": PAIRS // 2, "test": PAIRS - PAIRS // 2}
    assert found["reported_split"] == "test" and "note" not in found
    assert found["eval_samples"] == found["test_samples"] == PAIRS // 2
    for split, prefix in (("dev", "eval"), ("test", "test")):
        again = evaluate(dept, "--split", split)
        assert again["accuracy"] == found[f"{prefix}_accuracy"] and (again["split_policy"], again["split_seed"]) == ("dept", 42)
        assert again["loss"] == pytest.approx(found[f"{prefix}_loss"], rel=1e-6)


def test_predictions_and_scores_are_those_of_the_split(dept):
    dev, test = (lines(dept / "predictions" / f"{split}.jsonl") for split in ("dev", "test"))
    assert sorted(row["idx"] for row in dev + test) == list(range(PAIRS))
    right = sum(row["prediction"] == row["reference"] for row in test)
    assert right / len(test) == pytest.approx(metrics(dept)["test_accuracy"])
    told = json.loads((dept / "best" / "task.json").read_text())["scores"]
    assert told["split"] == "test" and told["split_policy"] == "dept" and told["n"] == len(test)
    assert told["accuracy"] == metrics(dept)["test_accuracy"] and told["step"] == metrics(dept)["best_step"]
    assert f"test, {len(test)} examples (split policy dept)" in (dept / "best" / "README.md").read_text()
    config = json.loads((dept / "config.json").read_text())
    assert config["data"]["split_policy"] == "dept" and config["data"]["split_seed"] == 42
    assert config["provenance"]["splits"] == metrics(dept)["split_sizes"]


def test_other_data_has_its_own_splits_unless_asked(world, dept):
    data = ["--data", world.path / "glue" / "RTE"]
    assert evaluate(dept, *data)["n"] == PAIRS and evaluate(dept, *data)["split_policy"] == "official"
    again = evaluate(dept, *data, "--split", "test", "--set", "data.split_policy=dept")
    assert again["accuracy"] == metrics(dept)["test_accuracy"] and again["n"] == PAIRS // 2
    done = run("peft-eval", "--adapter", dept, "--set", "data.split_polic=dept")
    assert done.returncode == 2 and 'did you mean "split_policy"' in done.stderr


def test_official_reports_what_it_selects_on(world):
    folder = world.finished(rte(world, "official", {"max_steps": 4}))
    found = metrics(folder)
    assert found["note"] == "selected on the reported split" and found["reported_split"] == "dev"
    assert found["split_policy"] == "official" and found["split_sizes"] == {"train": 60, "dev": PAIRS}
    assert not any(key.startswith("test_") for key in found) and not (folder / "predictions" / "test.jsonl").exists()


def test_dry_run_tells_the_splits(world):
    done = world.train(rte(world, "dry", split_policy="holdout", dev_size=10), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "splits: holdout, seed 42\n" in done.stdout and "train: 50 examples" in done.stdout
    assert f"test        {PAIRS} examples" in done.stdout and "would be right" in done.stdout


def test_k_shot_follows_the_seed_of_training_and_resumes(world):
    chosen = {}
    for seed in (1, 2):
        config = rte(world, f"few-{seed}", {"max_steps": 4, "seed": seed}, k_shot=4)
        folder = world.finished(config)
        stored = json.loads((folder / "config.json").read_text())
        assert stored["data"]["k_shot_seed"] == seed
        assert metrics(folder)["split_sizes"]["train"] == 8 and metrics(folder)["k_shot"] == 4 and metrics(folder)["k_shot_seed"] == seed
        chosen[seed] = stored["provenance"]["data"]
        assert world.train(config, "--resume").returncode == 0
        changed = world.train(config | {"data": {"k_shot": 4, "k_shot_seed": seed + 5}}, "--resume")
        assert changed.returncode == 2 and "data.k_shot_seed" in changed.stderr
    assert chosen[1] != chosen[2]


def test_a_sweep_over_seeds_has_the_median_of_test(world):
    config = rte(world, "sweep", {"max_steps": 4}, split_policy="dept", k_shot=4) | {"sweep": {"train.seed": [1, 2, 3]}}
    done = run("peft-sweep", "--config", world.write_config(config))
    assert done.returncode == 0, done.stderr
    header, _, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines())
    cells = dict(zip(header, row, strict=True))
    scores = sorted(metrics(pathlib.Path(config["output"]) / f"seed={seed}")["test_accuracy"] for seed in (1, 2, 3))
    assert cells["runs"] == "3" and cells["split policy"] == "dept" and cells["test median"] == f"{scores[1]:.4f}"


def test_a_test_split_without_labels_is_not_reported(world, tmp_path):
    files = {split: str(world.path / "glue" / "RTE" / f"{split}.tsv") for split in ("train", "dev", "test")}
    config = rte(world, "files", {"max_steps": 4}, split_policy="files", files=files)
    done = world.train(config)
    assert done.returncode == 0 and "the test split has no labels: the reported score is that of dev" in done.stderr
    assert metrics(pathlib.Path(config["output"]))["reported_split"] == "dev"


def test_tool_data_tells_what_was_read(world, dept):
    base = ["--task", "rte", "--data", world.path / "glue", "--model", world.model, "--max-length", 32]
    official = tool(*base)
    assert official["task"] == "glue/rte" and official["policy"] == "official"
    assert {split: facts["rows"] for split, facts in official["splits"].items()} == {"train": 60, "dev": PAIRS, "test": 6}
    dev = official["splits"]["dev"]
    assert sum(dev["labels"].values()) == PAIRS == sum(each["rows"] for each in dev["lengths"])
    assert dev["majority"]["share"] == max(dev["labels"].values()) / PAIRS and dev["labels"][dev["majority"]["label"]] == max(dev["labels"].values())
    assert [each["up_to"] for each in dev["lengths"]] == [8 * 2**i for i in range(len(dev["lengths"]))]
    assert official["splits"]["test"]["hidden_labels"] and "labels" not in official["splits"]["test"]
    assert dev["skipped"] == {} and dev["overlap_with_train"] == 0 and set(dev["tokens"]) == {"50", "90", "99", "100"}
    split = tool(*base, "--set", "data.split_policy=dept")
    assert split["policy"] == "dept" and split["split_seed"] == 42
    assert {name: facts["rows"] for name, facts in split["splits"].items()} == metrics(dept)["split_sizes"]
    assert split["fingerprint"] == json.loads((dept / "config.json").read_text())["provenance"]["data"]
    few = tool(*base, "--set", "data.k_shot=3", "--set", "data.k_shot_seed=1")
    assert few["splits"]["train"]["labels"] == {"entailment": 3, "not_entailment": 3} and few["k_shot"] == 3


def test_tool_data_reads_one_file(world):
    base = ["--task", "classification", "--data", world.data / "train.tsv", "--model", world.model]
    assert set(tool(*base)["splits"]) == {"train"}
    held = tool(*base, "--set", "data.split_policy=holdout", "--set", "data.dev_size=0.25")["splits"]
    assert set(held) == {"train", "dev"} and held["dev"]["rows"] * 3 == held["train"]["rows"]
    named = tool(*base[:2], "--model", world.model, "--set", f"data.files.dev={world.data / 'dev.tsv'}", "--set", 'data.labels=["no", "yes"]')
    assert set(named["splits"]) == {"dev"}


def test_tool_data_refuses_in_one_line(world):
    base = ["--task", "rte", "--data", world.path / "glue", "--model", world.model]
    assert refused("--data", world.data, "--model", world.model) == (2, "peft-tool data: --task is missing (see --help)")
    assert refused(*base[:2], *base[4:])[0] == 2
    assert refused(*base, "--max-length", 0)[0] == 2
    code, text = refused(*base, "--set", "train.seed=1")
    assert code == 2 and "train: unknown key" in text
    code, text = refused(*base, "--set", "data.split_policy=depth")
    assert code == 2 and 'data.split_policy: found "depth", expected one of' in text
    code, text = refused(*base, "--set", "data.k_shot=500")
    assert code == 3 and "the class entailment has" in text and "data.k_shot asks for 500" in text
    assert refused("--task", "rte", "--data", world.path / "nowhere", "--model", world.model)[0] == 3
