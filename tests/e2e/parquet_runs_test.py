"""Runs on Parquet files and on folders of save_to_disk: the same results as from text files of the same rows, and one line where they are bad."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from e2e_runs import World, assert_same_results, metrics, run  # noqa: E402

NAMES = ["yes", "no"]  # the order in which the files count them


def table_of(file):
    lines = [line.split("\t") for line in file.read_text().splitlines()[1:]]
    features = {"label": {"names": NAMES, "_type": "ClassLabel"}}
    table = pa.table({"text": [text for text, _ in lines], "label": [NAMES.index(label) for _, label in lines]})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def save(table, folder):
    """As save_to_disk writes it, in two files."""
    folder.mkdir(parents=True)
    half = table.num_rows // 2
    names = [f"data-0000{i}-of-00002.arrow" for i in range(2)]
    for name, part in zip(names, (table.slice(0, half), table.slice(half))):
        with pa.ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(part, max_chunksize=7)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names], "_split": None}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {"label": {"names": NAMES, "_type": "ClassLabel"}}}))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("parquet"))
    world.parquet, world.saved = world.path / "parquet", world.path / "saved"
    world.parquet.mkdir()
    tables = {split: table_of(world.data / f"{split}.tsv") for split in ("train", "dev")}
    for i in range(2):
        pq.write_table(tables["train"].slice(30 * i, 30), world.parquet / f"train-0000{i}-of-00002.parquet", row_group_size=11)
    pq.write_table(tables["dev"], world.parquet / "validation.parquet", compression="zstd")
    for split, table in tables.items():
        save(table, world.saved / split)
    (world.saved / "dataset_dict.json").write_text(json.dumps({"splits": list(tables)}))
    return world


def config(world, name, folder, **changes):
    return world.config("lora", world.path / name, {"max_steps": 6, "eval_steps": 3, "lr_scheduler_type": "constant"}, task={"data": str(folder)}, **changes)


def test_runs_and_predictions_are_those_from_text_files(world):
    text = world.finished(config(world, "text", world.data, data={"labels": NAMES}))
    for name, folder in (("parquet", world.parquet), ("saved", world.saved)):
        ours = world.finished(config(world, f"run-{name}", folder))  # which has the classes of the files
        assert json.loads((ours / "config.json").read_text())["data"]["labels"] == NAMES
        assert metrics(ours)["eval_loss"] == metrics(text)["eval_loss"]
        for file in ("best/adapter_model.safetensors", "predictions/dev.jsonl"):
            assert (ours / file).read_bytes() == (text / file).read_bytes(), (name, file)
        done = run("peft-eval", "--adapter", text / "best", "--data", folder)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["loss"] == pytest.approx(metrics(text)["eval_loss"], rel=1e-6)
    expected = run("peft-predict", "--adapter", text, "--input", world.data / "dev.tsv").stdout
    for file in (world.parquet / "validation.parquet",):
        done = run("peft-predict", "--adapter", text, "--input", file)
        assert done.returncode == 0 and done.stdout == expected, done.stderr


def test_a_stopped_run_goes_on_from_the_same_files_only(world):
    whole = world.finished(config(world, "whole", world.parquet))
    part = config(world, "part", world.parquet)
    part["train"]["max_steps"] = 3
    world.finished(part)
    part["train"]["max_steps"] = 6
    assert_same_results(world.finished(part, "--resume"), whole)
    shard = world.parquet / "train-00001-of-00002.parquet"
    before = shard.read_bytes()
    pq.write_table(table_of(world.data / "train.tsv").slice(29, 30), shard)
    done = world.train(part | {"train": part["train"] | {"max_steps": 9}}, "--resume")
    shard.write_bytes(before)
    assert done.returncode != 0 and done.stderr.count("\n") == 1, done.stderr


def test_a_dry_run_counts_the_files(world):
    done = world.train(config(world, "dry", world.parquet), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"train: 60 examples from {world.parquet}/train-00000-of-00002.parquet and 1 more\n" in done.stdout


def refused(done, message):
    assert (done.returncode, done.stdout) == (3, ""), (done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1 and message in done.stderr, done.stderr


def test_bad_files_end_a_program_in_one_line(world, tmp_path):
    adapter = world.finished(world.config("linear_probe", world.path / "probe", {"max_steps": 2}, data={"labels": NAMES}))
    table = table_of(world.data / "dev.tsv")
    null = table.set_column(0, "text", pa.array([None if i == 4 else "good" for i in range(30)]))
    for name, content, message in [
        ("cut", None, 'a.parquet: cut off: a Parquet file ends with "PAR1"'),
        ("null", null, "a.parquet: row 5, "),
        ("type", table.set_column(0, "text", pa.array(range(30))), "a.parquet"),
        ("column", table.drop_columns(["text"]), "a.parquet: columns label; expected text"),
    ]:
        file = tmp_path / "a.parquet"
        pq.write_table(table if content is None else content, file)
        if content is None:
            file.write_bytes(file.read_bytes()[:-100])
        refused(run("peft-predict", "--adapter", adapter, "--input", file), message)
        refused(run("peft-eval", "--adapter", adapter, "--data", file, "--split", "dev"), message)
        broken = config(world, "broken", world.data, data={"files": {"train": str(file)}, "labels": NAMES})
        refused(world.train(broken), message)
        assert not (world.path / "broken").exists()
