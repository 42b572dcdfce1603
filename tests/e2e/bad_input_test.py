"""Bad input ends in one line on stderr that names the file, line or key, in the right exit code, and in nothing half-written."""

import json
import shutil
import struct

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from bad_input import DATA, USAGE, assert_one_line, assert_refused, edit_header, edit_tensors, pristine, run_config, world  # noqa: E402, F401
from e2e_runs import METHODS, run, write_model  # noqa: E402
from safetensors.torch import load_file  # noqa: E402


# ---- model folders


QUERY = "bert.encoder.layer.1.attention.self.query.weight"
KEY = "bert.encoder.layer.1.attention.self.key.weight"


def overlap(header):
    header[QUERY]["data_offsets"] = header[KEY]["data_offsets"]
    return header


def set_entry(name, **entry):
    def change(header):
        header[name] |= entry
        return header

    return change


def as_type(name, dtype):
    import torch

    return lambda tensors: tensors.update({name: tensors[name].to(getattr(torch, dtype))})


def as_shape(name, *shape):
    import torch

    return lambda tensors: tensors.update({name: torch.zeros(shape)})


TENSORS = {
    "empty file": (lambda f: f.write_bytes(b""), []),
    "truncated header": (lambda f: f.write_bytes(f.read_bytes()[:50]), []),
    "truncated data": (lambda f: f.write_bytes(f.read_bytes()[:-5]), []),
    "bytes too many": (lambda f: f.write_bytes(f.read_bytes() + b"12345"), []),
    "header larger than the file": (lambda f: f.write_bytes(struct.pack("<Q", 1 << 60) + f.read_bytes()[8:]), []),
    "header is no JSON": (lambda f: edit_header(f, lambda h: b"{nothing"), []),
    "header is a list": (lambda f: edit_header(f, lambda h: b"[]"), []),
    "duplicate names": (lambda f: edit_header(f, lambda h: json.dumps(h).encode()[:-1] + b"," + json.dumps({QUERY: h[QUERY]}).encode()[1:]), [QUERY]),
    "overlap": (lambda f: edit_header(f, overlap), [QUERY]),
    "offsets beyond the file": (lambda f: edit_header(f, set_entry(QUERY, data_offsets=[0, 1 << 50])), [QUERY]),
    "shape unlike the bytes": (lambda f: edit_header(f, set_entry(QUERY, shape=[32, 33])), [QUERY]),
    "negative shape": (lambda f: edit_header(f, set_entry(QUERY, shape=[-32, -32])), [QUERY]),
    "shape beyond 64 bits": (lambda f: edit_header(f, set_entry(QUERY, shape=[1 << 40, 1 << 40])), [QUERY]),
    "unknown type": (lambda f: edit_header(f, set_entry(QUERY, dtype="F33")), ["F33"]),
    "missing tensor": (lambda f: edit_tensors(f, lambda t: t.pop(QUERY)), [QUERY]),
    "wrong shape": (lambda f: edit_tensors(f, as_shape(QUERY, 32, 16)), [QUERY, "[32, 16]", "[32, 32]"]),
    "wrong rank": (lambda f: edit_tensors(f, as_shape(QUERY, 1024)), [QUERY, "[1024]"]),
    "integer weights": (lambda f: edit_tensors(f, as_type(QUERY, "int32")), [QUERY]),
    "positions of another size": (lambda f: edit_tensors(f, as_shape("bert.embeddings.position_embeddings.weight", 60, 32)), ["position_embeddings", "60"]),
    "git LFS pointer": (lambda f: f.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), []),
}


@pytest.mark.parametrize("name", TENSORS)
def test_broken_model_tensors(world, name):
    change, parts = TENSORS[name]
    change(world.model / "model.safetensors")
    assert_refused(world, run_config(world), DATA, world.model, *parts)


def write_bin(folder):
    import torch

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def change_json(name, **values):
    def change(folder):
        file = folder / name
        file.write_text(json.dumps({k: v for k, v in (json.loads(file.read_text()) | values).items() if v != "absent"}))

    return change


def longer_vocabulary(folder):
    with open(folder / "vocab.txt", "a") as file:
        file.write("".join(f"word{i}\n" for i in range(3)))


MODELS = {
    "pickle": (write_bin, ["pytorch_model", "pickle", "convert"]),
    "no tensors": (lambda m: (m / "model.safetensors").unlink(), ["model.safetensors"]),
    "no folder": (shutil.rmtree, ["model"]),
    "no config": (lambda m: (m / "config.json").unlink(), ["config.json"]),
    "malformed config": (lambda m: (m / "config.json").write_text('{"model_type": "bert",'), ["config.json"]),
    "duplicate key": (lambda m: (m / "config.json").write_text('{"model_type": "bert", "model_type": "bert"}'), ["config.json", "model_type"]),
    "unknown architecture": (change_json("config.json", model_type="berd", architectures="absent"), ["config.json", "berd"]),
    "width and heads": (change_json("config.json", num_attention_heads=5), ["config.json"]),
    "width of another model": (change_json("config.json", hidden_size=64), ["[", "64"]),
    "more layers than tensors": (change_json("config.json", num_hidden_layers=3), ["bert.encoder.layer.2"]),
    "a string for a number": (change_json("config.json", num_hidden_layers="two"), ["config.json", "num_hidden_layers"]),
    "negative layers": (change_json("config.json", num_hidden_layers=-1), ["config.json", "num_hidden_layers"]),
    "huge layers": (change_json("config.json", num_hidden_layers=1 << 60), ["num_hidden_layers", "10000"]),
    "unknown activation": (change_json("config.json", hidden_act="golu"), ["config.json", "golu"]),
    "tokenizer larger than the table": (longer_vocabulary, ["tokenizer"]),
    "no tokenizer": (lambda m: (m / "vocab.txt").unlink(), ["tokenizer.json"]),
    "vocabulary without [UNK]": (lambda m: (m / "vocab.txt").write_text("a\nb\n"), ["vocab.txt", "["]),
    "malformed tokenizer": (lambda m: (m / "tokenizer.json").write_text('{"model": '), ["tokenizer.json"]),
    "index of shards names a missing file": (
        lambda m: ((m / "model.safetensors").unlink(), (m / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {QUERY: "part-1.safetensors"}}))),
        ["part-1.safetensors"],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_broken_model_folders(world, name):
    change, parts = MODELS[name]
    change(world.model)
    assert_refused(world, run_config(world), DATA, *parts)


# ---- data


def rows(world, split, *lines):
    (world.data / f"{split}.tsv").write_bytes(b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in ("text\tlabel", *lines)))


DATASETS = {
    "empty train": (lambda w: rows(w, "train"), ["train.tsv"]),
    "empty dev": (lambda w: rows(w, "dev"), ["dev.tsv"]),
    "no bytes at all": (lambda w: (w.data / "train.tsv").write_bytes(b""), ["train.tsv"]),
    "not UTF-8": (lambda w: rows(w, "train", "fine\tyes", "fine\tno", b"f\xffne\tyes\n"), ["train.tsv:4"]),
    "NUL": (lambda w: rows(w, "train", "fine\tyes", b"f\0ne\tno\n"), ["train.tsv:3"]),
    "a column missing": (lambda w: rows(w, "train", "fine\tyes", "fine"), ["train.tsv:3", "1", "2"]),
    "a column too many": (lambda w: rows(w, "train", "fine\tyes", "fine\tno\tno"), ["train.tsv:3", "3", "2"]),
    "an empty line": (lambda w: rows(w, "train", "fine\tyes", "", "fine\tno"), ["train.tsv:3"]),
    "a label that train has not": (lambda w: rows(w, "dev", "fine\tyes", "fine\tperhaps"), ["dev.tsv:3", "perhaps", "no, yes"]),
    "another header": (lambda w: (w.data / "train.tsv").write_text("txt\tlabel\nfine\tyes\n"), ["train.tsv", "text", "txt"]),
    "no folder": (lambda w: shutil.rmtree(w.data), ["data"]),
    "two files for a split": (lambda w: (w.data / "train.csv").write_text("text,label\na,yes\n"), ["train.tsv", "train.csv"]),
}


@pytest.mark.parametrize("name", DATASETS)
def test_broken_data(world, name):
    change, parts = DATASETS[name]
    change(world)
    assert_refused(world, run_config(world), DATA, *parts)


@pytest.mark.parametrize("data", [{"labels": ["no", "yes"]}, {}])
def test_no_train_split(world, data):
    (world.data / "train.tsv").unlink()
    assert_refused(world, run_config(world, data=data), DATA, world.data, "no train split")


@pytest.mark.parametrize("label, row", [("2", 3), ("-2", 2), ("yes", 2)])
def test_labels_out_of_range_of_a_known_task(world, label, row):
    folder = world.path / "SST-2"
    folder.mkdir()
    lines = ["sentence\tlabel", "good \t1", "bad \t0"]
    lines.insert(row - 1, f"fine \t{label}")
    (folder / "train.tsv").write_text("\n".join(lines) + "\n")
    (folder / "dev.tsv").write_text("sentence\tlabel\ngood \t1\nbad \t0\n")
    config = run_config(world, task={"name": "sst2", "data": str(folder)})
    assert_refused(world, config, DATA, f"train.tsv:{row}", f'"{label}"', "0, 1")


def test_broken_json_lines(world):
    for line, parts in [('{"text": "a", "label": "yes"', []), ('{"text": "a", "text": "b", "label": "yes"}', ["text"]), ("[1]", []), ('{"text": 3, "label": "yes"}', ["text"])]:
        (world.data / "train.tsv").unlink(missing_ok=True)
        (world.data / "train.jsonl").write_text('{"text": "a", "label": "no"}\n' + line + "\n")
        assert_refused(world, run_config(world), DATA, "train.jsonl:2", *parts)


# ---- configs

CONFIGS = {
    "unknown key": ({"train": {"learning_rat": 1}}, ["train.learning_rat", 'did you mean "learning_rate"']),
    "unknown section": ({"trian": {}}, ["trian", 'did you mean "train"']),
    "unknown method": ({"method": {"type": "lorra"}}, ["run.json", "method", "lorra", 'did you mean "lora"']),
    "key of another method": ({"method": {"num_virtual_tokens": 4}}, ["method.num_virtual_tokens"]),
    "unknown task": ({"task": {"name": "sst-2"}}, ["task.name", "sst-2", "sst2"]),
    "wrong type": ({"train": {"batch_size": "many"}}, ["train.batch_size", '"many"']),
    "not whole": ({"train": {"batch_size": 2.5}}, ["train.batch_size", "2.5"]),
    "out of range": ({"train": {"batch_size": 0}}, ["train.batch_size", "0"]),
    "negative rate": ({"train": {"learning_rate": -1}}, ["train.learning_rate", "-1"]),
    "rate beyond double": ({"train": {"learning_rate": "1e999"}}, ["train.learning_rate"]),
    "no steps": ({"train": {"max_steps": 0}}, ["train.max_steps", "0"]),
    "unknown scheduler": ({"train": {"lr_scheduler_type": "liner"}}, ["train.lr_scheduler_type", "liner", 'did you mean "linear"']),
    "unknown metric": ({"train": {"metric_for_best_model": "acuracy"}}, ["train.metric_for_best_model", "acuracy", "accuracy"]),
    "unknown group": ({"train": {"learning_rates": {"heads": 1}}}, ["train.learning_rates.heads", "head"]),
    "max_length below the special tokens": ({"task": {"max_length": 1}}, ["task.max_length", "1", "2"]),
    "max_length 0": ({"task": {"max_length": 0}}, ["task.max_length", "0"]),
    "max_length above the positions": ({"task": {"max_length": 65}}, ["task.max_length", "65", "64"]),
    "no output": ({"output": ""}, ["run.json", "output"]),
    "no model": ({"model": {"path": ""}}, ["model.path"]),
    "dropout of 1": ({"model": {"dropout": 1.0}}, ["model.dropout", "1.0"]),
    "own kernels on a CPU": ({"model": {"use_kernels": True}, "train": {"device": "cpu"}}, ["model.use_kernels", "GPU"]),
    "unknown dtype": ({"model": {"dtype": "float16"}}, ["model.dtype", "float16", "bfloat16"]),
    "rank above the width": ({"method": {"type": "lora", "r": 33}}, ["method.r", "33", "32"]),
    "nothing to train": ({"method": {"type": "linear_probe", "modules_to_save": []}}, ["method.modules_to_save", "linear_probe"]),
    "features of a model with dropout": ({"method": {"type": "linear_probe", "cache_features": True}, "model": {"dropout": 0.1}}, ["method.cache_features"]),
    "rank 0": ({"method": {"type": "lora", "r": 0}}, ["method.r", "0"]),
    "unknown target": ({"method": {"type": "lora", "target_modules": ["qvery"]}}, ["target_modules", "qvery", "query"]),
    "broken expression": ({"method": {"type": "lora", "target_modules": "(query"}}, ["target_modules"]),
    "unknown init": ({"method": {"type": "lora", "init_lora_weights": "gausian"}}, ["init_lora_weights", "gausian"]),
    "bfloat16 full": ({"model": {"dtype": "bfloat16"}, "method": {"type": "full"}}, ["model.dtype", "float32"]),
    "cuda without a device": ({"train": {"device": "cuda"}}, ["train.device", "cuda"]),
    "labels twice": ({"data": {"labels": ["no", "yes", "no"]}}, ["data.labels"]),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_bad_configs(world, name):
    import torch

    if name == "cuda without a device" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    changes, parts = CONFIGS[name]
    config = run_config(world)
    for section, value in changes.items():
        config[section] = (config.get(section, {}) | value) if isinstance(value, dict) else value
    if name == "no output":  # nothing to look for behind it
        assert_one_line(run("peft-train", "--config", world.write_config(config, "run")), USAGE, *parts)
        return
    assert_refused(world, config, USAGE, *parts)


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_virtual_tokens_take_positions(world, method):
    """20 of 64: 44 are left for text."""
    many = METHODS[method] | {"num_virtual_tokens": 20}
    config = run_config(world, many, task={"max_length": 45})
    assert_refused(world, config, USAGE, "task.max_length", "45", "44", "64", "20")
    config = run_config(world, METHODS[method] | {"num_virtual_tokens": 64}, task={"max_length": 3})
    assert_refused(world, config, USAGE, "64")
    fits = run_config(world, many, task={"max_length": 44})
    assert world.train(fits).returncode == 0


TEXTS = {
    "malformed": ('{"model": {"path": "x"},\n  "task" {}}', ["2"]),
    "duplicate key": ('{"output": "a", "output": "b"}', ["output"]),
    "nested duplicate key": ('{"train": {"seed": 1, "seed": 2}}', ["seed"]),
    "a list": ("[]", ["object"]),
    "nothing": ("", []),
    "not UTF-8": (b'{"output": "\xff"}', []),
    "NUL": (b'{"output": "a"}\0', []),
    "NaN": ('{"train": {"learning_rate": NaN}}', []),
    "deep": ("[" * 100000, []),
}


@pytest.mark.parametrize("name", TEXTS)
def test_configs_that_are_no_json(tmp_path, name):
    text, parts = TEXTS[name]
    file = tmp_path / "bad.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_one_line(run("peft-train", "--config", file), USAGE, "bad.json", *parts)
    assert list(tmp_path.iterdir()) == [file]


COMMANDS = [
    ([], ["--config"]),
    (["--config"], ["config"]),
    (["--config", "absent.json"], ["absent.json"]),
    (["--config", "."], ["."]),
    (["--cofnig", "x"], ["cofnig"]),
    (["--config", "run.json", "stray"], ["stray"]),
    (["--config", "run.json", "--set", "train.seed"], ["train.seed"]),
    (["--config", "run.json", "--set", "train.sed=1"], ["train.sed", 'did you mean "seed"']),
    (["--config", "run.json", "--set", "output.x=1"], ["output"]),
]


@pytest.mark.parametrize("arguments, parts", COMMANDS)
def test_bad_command_lines(world, arguments, parts):
    world.write_config(run_config(world))
    assert_one_line(run("peft-train", *arguments, cwd=world.path), USAGE, *parts)
    assert not (world.path / "run").exists()


def test_bad_init_from(world):
    good = run_config(world, "lora")
    folder = world.finished(good | {"output": str(world.path / "first")})
    config = run_config(world, METHODS["lora"] | {"init_from": str(world.path / "absent")})
    assert_refused(world, config, DATA, "absent")
    config = run_config(world, METHODS["prompt"] | {"init_from": str(folder)})
    assert_refused(world, config, USAGE, "method.init_from", "lora", "prompt")
    config = run_config(world, METHODS["lora"] | {"r": 8, "init_from": str(folder)})
    assert_refused(world, config, DATA, "adapter_model.safetensors", "[4, 32]", "[8, 32]")


# ---- the other programs


def test_evaluation_of_bad_folders(world):
    folder = world.finished(run_config(world, "lora"))
    out = world.path / "predictions.jsonl"
    cases = [
        (["--adapter", world.path / "absent"], DATA, ["absent"]),
        (["--adapter", folder, "--split", "tset"], USAGE, ["tset"]),
        (["--adapter", folder, "--task", "sst3", "--data", world.data], USAGE, ["sst3", "sst2"]),
        (["--adapter", folder, "--data", world.path / "nowhere"], DATA, ["nowhere"]),
        (["--adapter", folder, "--max-length", "0"], USAGE, ["max-length", "0"]),
        (["--adapter", folder, "--max-length", "65"], USAGE, ["max-length", "65", "64"]),
        (["--adapter", folder, "--model", world.path / "data"], DATA, ["data"]),
        ([], USAGE, ["--adapter"]),
    ]
    for arguments, code, parts in cases:
        assert_one_line(run("peft-eval", *arguments, "--predictions", out), code, *parts)
        assert not out.exists()
    other = write_model(world.path / "other", hidden_size=16)
    assert_one_line(run("peft-eval", "--adapter", folder, "--model", other, "--predictions", out), DATA, "shape")
    (folder / "best" / "adapter_model.safetensors").write_bytes(b"")
    assert_one_line(run("peft-eval", "--adapter", folder / "best", "--predictions", out), DATA, "adapter_model.safetensors")
    assert not out.exists()
