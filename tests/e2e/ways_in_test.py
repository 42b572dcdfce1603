"""The first things a user meets: versions, helps, lists, a written config, a dry run, a model's name in place of a folder."""

import json
import os
import re
import shutil
import subprocess

import pytest
from e2e_runs import BIN, ENVIRONMENT, ROOT, World, contents, run

SUBCOMMANDS = ["aggregate", "compare", "data", "import", "init", "inspect", "list", "logits", "merge", "schema", "score", "tokenize"]
HELPS = [("peft-train",), ("peft-eval",), ("peft-sweep",), ("peft-tool",), *(("peft-tool", name) for name in SUBCOMMANDS)]
METHODS = ["adept", "bitfit", "dept", "full", "linear_probe", "lora", "ntk_attention", "p_tuning", "p_tuning_v2", "prefix", "prompt"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("ways"))


def text_of(program, *arguments, **options):
    done = run(program, *arguments, **options)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["peft-train", "peft-eval", "peft-sweep", "peft-tool"])
def test_versions(program):
    """Of the project, the checkout and LibTorch."""
    import torch

    project = re.search(r"VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text().split("project(")[1])[1]
    found = re.fullmatch(rf"{program} {re.escape(project)}( \(revision ([0-9a-f]{{12}})(-dirty)?\))?, LibTorch ([\d.]+)\n", text_of(program, "--version"))
    assert found and torch.__version__.startswith(found[4])
    git = subprocess.run(["git", "-C", ROOT, "cat-file", "-t", found[2] or "none"], capture_output=True, text=True)
    assert found[2] is None or not (ROOT / ".git").exists() or git.stdout == "commit\n"


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_every_help_ends_in_examples_whose_options_it_names(command):
    text = text_of(*command, "--help")
    examples = text.split("\nExamples:\n")[1].splitlines()
    assert examples and all(line.startswith("  ") and command[0] in line for line in examples)
    for option in re.findall(r"--[a-z-]+", "\n".join(examples)):
        helps = text if len(command) == 2 or command[0] != "peft-tool" else "".join(text_of("peft-tool", name, "--help") for name in SUBCOMMANDS)
        assert re.search(rf"{option}\b", helps.split("\nExamples:\n")[0] if len(command) == 2 else helps), option


def test_every_subcommand_is_listed():
    listed = re.findall(r"^  ([a-z]+) ", text_of("peft-tool", "--help").split("\nExamples:")[0], re.M)
    assert listed == SUBCOMMANDS


def test_lists_name_what_there_is():
    assert [line.split()[0] for line in text_of("peft-tool", "list", "methods").splitlines()] == METHODS
    tasks = {line.split()[0]: line for line in text_of("peft-tool", "list", "tasks").splitlines()}
    schema = json.loads(text_of("peft-tool", "schema", "task"))
    assert set(tasks) <= set(schema["properties"]["name"]["enum"])
    assert "[classification; accuracy, f1]" in tasks["mrpc"] and "[choice; accuracy]" in tasks["superglue/copa"]
    metrics = [line.split()[0] for line in text_of("peft-tool", "list", "metrics").splitlines()]
    listed = re.search(r"separated by\s+commas:(.*?)--predictions", text_of("peft-tool", "score", "--help"), re.S)[1]
    assert sorted(metrics) == sorted(re.findall(r"\w+", listed))
    architectures = [line.split()[0] for line in text_of("peft-tool", "list", "architectures").splitlines()]
    assert architectures == ["bert", "distilbert", "mpnet"]
    done = run("peft-tool", "list", "method")
    assert done.returncode == 2 and 'did you mean "methods"?' in done.stderr and "configs" in done.stderr
    assert run("peft-tool", "list").returncode == 2


def test_configs_are_listed_with_their_first_comment(tmp_path):
    (tmp_path / "configs" / "mine").mkdir(parents=True)
    (tmp_path / "configs" / "mine" / "a.json").write_text("// What it is for.\n{}\n")
    assert text_of("peft-tool", "list", "configs", cwd=tmp_path) == "configs/mine/a.json  What it is for.\n"
    shipped = text_of("peft-tool", "list", "configs", cwd=ROOT).splitlines()
    assert len(shipped) == len(list((ROOT / "configs").rglob("*.json")))
    assert any(re.match(r"configs/quickstart/lora.json +Low-rank", line) for line in shipped)


def test_a_written_config_trains_as_it_stands(world):
    file = world.path / "written.json"
    words = ["--method", "prefix", "--task", "classification", "--model", world.model, "--data", world.data]
    assert text_of("peft-tool", "init", *words, "--output", file).startswith(f"{file}: written")
    assert file.read_text() == text_of("peft-tool", "init", *words)
    short = ["--set", "task.max_length=32", "--set", "train.max_steps=3", "--set", f"output={world.path / 'written'}"]
    done = run("peft-train", "--config", file, *short)
    assert done.returncode == 0 and json.loads(done.stdout)["global_step"] == 3, done.stderr
    before = file.read_bytes()
    done = run("peft-tool", "init", *words, "--output", file)
    assert done.returncode == 2 and "already exists" in done.stderr and file.read_bytes() == before


def test_init_says_what_is_missing():
    done = run("peft-tool", "init", "--task", "rte")
    assert done.returncode == 2 and "--method NAME is missing (peft-tool list methods)" in done.stderr
    done = run("peft-tool", "init", "--method", "lroa", "--task", "rte")
    assert done.returncode == 2 and 'did you mean "lora"' in done.stderr
    done = run("peft-tool", "init", "--method", "lora", "--task", "rte", "--data", "/no/such/dump")
    assert done.returncode == 0 and "task.data: nothing lies at /no/such/dump yet" in done.stderr


def test_the_forecast_of_a_dry_run_is_what_a_run_takes(world):
    config = world.config("lora", world.path / "forecast", {"max_steps": 200})
    facts = text_of("peft-train", "--config", world.write_config(config), "--dry-run").split("\n\n")[0]
    memory = int(re.search(r"^memory +([\d,]+) MiB", facts, re.M)[1].replace(",", ""))
    values = json.loads((world.finished(config) / "metrics.json").read_text())
    assert memory == pytest.approx(values["peak_memory_bytes"] / 2**20, rel=0.1)
    assert values["estimated_peak_memory_bytes"] == pytest.approx(values["peak_memory_bytes"], rel=0.1)


def test_the_memory_of_a_run_is_its_own(world):
    """Not that of the process which started it."""
    config = world.write_config(world.config("linear_probe", world.path / "child", {"max_steps": 2}))
    ballast = bytearray(1 << 30)
    ballast[:: 1 << 12] = b"x" * len(ballast[:: 1 << 12])
    done = subprocess.run([BIN / "peft-train", "--config", config], env=ENVIRONMENT, capture_output=True, text=True, close_fds=False)
    assert len(ballast) > json.loads(done.stdout)["peak_memory_bytes"]


def test_a_dry_run_of_a_sweep_begins_with_the_facts(world):
    config = world.config("lora", world.path / "sweep", {"max_steps": 4}) | {"sweep": {"method.r": [2, 4], "train.seed": [1, 2, 3]}}
    before = contents(world.path)
    text = text_of("peft-sweep", "--config", world.write_config(config, "sweep"), "--dry-run")
    sections = text.split("\n\n")
    assert sections[0].splitlines()[0].split(maxsplit=1) == ["sweep", "6 runs in 2 banks"]
    assert [line.split()[0] for line in sections[0].splitlines()] == ["sweep", "memory", "time", "output"]
    assert [s.splitlines()[0] for s in sections[1:]] == ["bank 1: 3 runs", "bank 2: 3 runs"]
    assert "  r=4-seed=3" in sections[2]
    assert contents(world.path).keys() - before.keys() == {"sweep.json"}


@pytest.fixture
def cache(world, tmp_path):
    """Hugging Face's cache with the world's model in it, as its tools lay it out."""
    folder = tmp_path / "hub" / "models--org--tiny"
    shutil.copytree(world.model, folder / "snapshots" / "a1b2c3")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a1b2c3")
    return tmp_path / "hub"


def test_a_models_name_is_looked_up_in_the_cache(world, cache, tmp_path):
    snapshot_download = pytest.importorskip("huggingface_hub").snapshot_download
    snapshot = snapshot_download("org/tiny", cache_dir=cache, local_files_only=True)  # where Hugging Face finds it
    environment = ENVIRONMENT | {"HF_HUB_CACHE": str(cache)}

    def program(name, *arguments):
        done = subprocess.run([BIN / name, *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    output = tmp_path / "run"
    config = world.write_config(world.config("lora", output, {"max_steps": 2}, model={"path": "org/tiny"}), "named")
    program("peft-train", "--config", config)
    assert json.loads((output / "config.json").read_text())["model"]["path"] == snapshot
    adapter = shutil.copytree(output / "best", tmp_path / "alone")
    scores = [
        json.loads(program("peft-eval", "--adapter", adapter, "--model", model, "--task", "classification", "--data", world.data, "--max-length", 32))
        for model in ("org/tiny", world.model)
    ]
    assert scores[0]["accuracy"] == scores[1]["accuracy"] and scores[0]["n"] == 30
    (tmp_path / "texts.jsonl").write_text('{"text": "good film"}\n')
    program("peft-tool", "logits", "--model", "org/tiny", "--input", tmp_path / "texts.jsonl", "--output", tmp_path / "logits.safetensors")
    program("peft-tool", "merge", adapter, "--model", "org/tiny", "--output", tmp_path / "merged")
    assert program("peft-tool", "inspect", "org/tiny") == program("peft-tool", "inspect", snapshot)
    tokens = subprocess.run(
        [BIN / "peft-tool", "tokenize", "--model", "org/tiny"], input="good film\n", capture_output=True, text=True, env=environment
    )
    assert tokens.returncode == 0 and len(tokens.stdout.split()) == 4


def test_a_name_that_is_nowhere_names_the_command_that_fetches_it(world, tmp_path):
    config = world.write_config(world.config("lora", tmp_path / "none", model={"path": "org/none"}), "nowhere")
    environment = ENVIRONMENT | {"HF_HUB_CACHE": str(tmp_path)}
    for command in (
        ["peft-train", "--config", config],
        ["peft-tool", "tokenize", "--model", "org/none"],
        ["peft-tool", "logits", "--model", "org/none", "--input", "x", "--output", "y"],
    ):
        done = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
        assert done.returncode == 3 and done.stderr.count("\n") == 1, done.stderr
        assert "nothing is downloaded" in done.stderr and done.stderr.endswith("hf download org/none\n")
        assert str(tmp_path) in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_config_finds_what_lies_beside_it_and_its_run_moves_on_alone(world, tmp_path):
    config = world.config("lora", "run", {"max_steps": 20, "save_steps": 10}, model={"path": "model"}, task={"data": "data"})
    file = world.write_config(config, "beside")
    (tmp_path / "there").mkdir()
    done = run("peft-train", "--config", file, "--set", "train.max_steps=4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["model"]["path"] == str(world.model) and stored["task"]["data"] == str(world.data)
    for command in (["peft-train", "--config", tmp_path / "run" / "config.json", "--resume"], ["peft-eval", "--adapter", tmp_path / "run"]):
        done = run(*command, cwd=tmp_path / "there")
        assert done.returncode == 0, done.stderr


def test_shipped_configs_fit_the_schema(world):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(text_of("peft-tool", "schema")))
    found = 0
    for file in (ROOT / "configs").rglob("*.json"):
        config = json.loads(re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*', lambda m: m[1] or "", file.read_text()))
        if "base" in config:  # of scripts/compare_methods
            continue
        assert list(validator.iter_errors(config | {"$schema": "config.schema.json"})) == [], file
        found += 1
    assert found >= 6
    stored = json.loads((world.finished(world.config("prefix", world.path / "stored", {"max_steps": 1})) / "config.json").read_text())
    assert list(validator.iter_errors(stored)) == []
    for wrong in ({"task": stored["task"] | {"name": "ret"}}, {"sweep": {"train.seed": 1}}, {"sweeps": {}}):
        assert list(validator.iter_errors(stored | wrong)), wrong


@pytest.mark.skipif(not os.access(ROOT / "examples", os.R_OK), reason="no examples")
@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_init_writes_valid_json_behind_comments(method):
    text = text_of("peft-tool", "init", "--method", method, "--task", "classification", "--data", "examples/wordnet_gloss", "--model", ".", cwd=ROOT)
    config = json.loads(re.sub(r"  //[^\n]*|^//[^\n]*", "", text, flags=re.M))
    assert config["method"]["type"] == method and config["task"]["data"] == "examples/wordnet_gloss"
