"""peft-eval --submission, --fill-missing and --validate: from trained adapters to the archive that a leaderboard takes."""

import json
import random
import shutil
import zipfile

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import WORDS, World, random_text, run  # noqa: E402

USAGE, DATA = 2, 3
FILES = {
    "glue": ["AX.tsv", "CoLA.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "MRPC.tsv", "QNLI.tsv", "QQP.tsv", "RTE.tsv", "SST-2.tsv", "STS-B.tsv", "WNLI.tsv"],
    "superglue": ["AX-b.jsonl", "AX-g.jsonl", "BoolQ.jsonl", "CB.jsonl", "COPA.jsonl", "MultiRC.jsonl", "RTE.jsonl", "ReCoRD.jsonl", "WSC.jsonl", "WiC.jsonl"],
}  # fmt: skip


def write_tsv(folder, labels, rows, columns="index sentence1 sentence2", label="label"):
    """train, dev and test; `rows` are the numbers of each, `labels` cycle."""
    folder.mkdir(parents=True)
    for split, count in zip(("train", "dev", "test"), rows, strict=True):
        rng = random.Random(split)
        names = columns.split() + ([label] if split != "test" else [])
        texts = [n for n in names if n.startswith("sentence")]
        lines = ["\t".join(names)]
        for i in range(count):
            cells = {"index": i, label: labels[i % len(labels)]} | {n: random_text(rng, i % 2) for n in texts}
            lines.append("\t".join(str(cells.get(n, "x")) for n in names))
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")


def write_copa(folder):
    folder.mkdir(parents=True)
    for split, count in (("train", 20), ("val", 10), ("test", 500)):
        rng = random.Random(split)
        rows = [{"idx": i, "question": "cause", **{n: " ".join(rng.choices(WORDS, k=3)) for n in ("premise", "choice1", "choice2")}} for i in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r if split == "test" else r | {"label": r["idx"] % 2}) + "\n" for r in rows))


def write_multirc(folder, passages=166, questions=1820, answers=9693):
    """The test file alone, of the official size: what fills a submission."""
    folder.mkdir(parents=True)
    rows = [{"idx": p, "passage": {"text": "the film", "questions": []}} for p in range(passages)]
    for q in range(questions):
        rows[q * passages // questions]["passage"]["questions"].append({"question": "what", "idx": q, "answers": []})
    by_number = {q["idx"]: q for row in rows for q in row["passage"]["questions"]}
    for a in range(answers):
        by_number[a * questions // answers]["answers"].append({"text": "a plot", "idx": a})
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("submission"))
    made.glue, made.superglue = made.path / "glue", made.path / "superglue"
    write_tsv(made.glue / "WNLI", "01", (40, 20, 146))
    write_tsv(made.glue / "RTE", ["entailment", "not_entailment"], (40, 20, 3000))
    write_tsv(made.glue / "STS-B", ["0.0", "5.000", "2.5"], (40, 20, 30), "index genre filename year old_index source1 source2 sentence1 sentence2", "score")
    write_copa(made.superglue / "COPA")
    write_multirc(made.superglue / "MultiRC")
    made.runs = {}
    for task, root in (("wnli", made.glue), ("rte", made.glue), ("stsb", made.glue), ("copa", made.superglue)):
        train = {"max_steps": 12, "learning_rate": 3e-3}
        config = made.config("lora", made.path / "runs" / task, train, task={"name": task, "data": str(root), "max_length": 48})
        made.runs[task] = made.finished(config | {"data": {"limit": {"train": 30, "test": 5}}})
    return made


def evaluate(*arguments, code=0):
    done = run("peft-eval", *arguments)
    assert done.returncode == code, done.stderr
    return done, [json.loads(line) for line in done.stdout.splitlines()]


def refused(code, *arguments):
    done, lines = evaluate(*arguments, code=code)
    assert lines == [] and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def predictions_of(world, task, tmp_path):
    """What peft-eval says row by row, without the limit of the run's config."""
    run_folder = world.runs[task]
    root = world.superglue if task == "copa" else world.glue
    file = tmp_path / "predictions.jsonl"
    evaluate("--adapter", run_folder, "--split", "test", "--data", root, "--predictions", file)
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("task, name", [("wnli", "WNLI.tsv"), ("rte", "RTE.tsv"), ("copa", "COPA.jsonl"), ("stsb", "STS-B.tsv")])
def test_the_file_of_a_task_holds_what_the_adapter_predicts(world, task, name, tmp_path):
    rows = predictions_of(world, task, tmp_path)
    out = tmp_path / "out"
    done, [report, result] = evaluate("--adapter", world.runs[task] / "best", "--split", "test", "--submission", out)
    assert report["submission"] == [str(out / name)] and report["n"] == len(rows)
    assert result["archive"] is None and result["files"] == [name] and result["failures"] == 0
    assert result["missing"] == [n for n in FILES[result["benchmark"]] if n != name]
    lines = (out / name).read_text().splitlines()
    if task == "copa":
        assert [json.loads(line) for line in lines] == [{"idx": r["idx"], "label": r["prediction"]} for r in rows]
    else:
        spelled = {"not_entailment": "0", "entailment": "1"} if task == "wnli" else {}
        expected = [f"{min(max(r['prediction'], 0), 5):.3f}" if task == "stsb" else spelled.get(r["prediction"], r["prediction"]) for r in rows]
        assert lines == ["index\tprediction", *(f"{r['idx']}\t{label}" for r, label in zip(rows, expected, strict=True))]
    manifest = json.loads((out / "manifest.json").read_text())
    assert list(manifest) == [name]
    assert manifest[name] == manifest[name] | {"source": "predicted", "run": str(world.runs[task]), "rows": len(rows)}
    assert len(manifest[name]["adapter_hash"]) == 32
    if task == "stsb":
        assert "test.tsv: 30 rows, and the leaderboard has 1379" in done.stderr


def test_a_whole_submission_grows_call_by_call_and_has_stable_bytes(world, tmp_path):
    archives = []
    for out in (tmp_path / "one", tmp_path / "two"):
        evaluate("--adapter", world.runs["wnli"], "--adapter", world.runs["rte"] / "best", "--submission", out)
        assert not (out / "submission.zip").exists()
        done, [result] = evaluate("--submission", out, "--fill-missing", "--data", world.glue)
        assert result["archive"] == str(out / "submission.zip") and result["missing"] == [] and result["failures"] == 0
        filled = [n for n in FILES["glue"] if n not in ("WNLI.tsv", "RTE.tsv")]
        assert result["filled"] == filled and result["compared_with_dump"] == ["RTE.tsv", "STS-B.tsv", "WNLI.tsv"]
        assert f"manifest.json: filled, not predicted: {', '.join(filled)}" in done.stderr
        assert f'{out / "QQP.tsv"}: all 390965 predictions are "0"' in done.stderr
        manifest = json.loads((out / "manifest.json").read_text())
        assert sorted(manifest) == FILES["glue"] and manifest["AX.tsv"] == {"source": "filled", "rows": 1104}
        archives.append((out / "submission.zip").read_bytes())
    assert archives[0] == archives[1]
    with zipfile.ZipFile(tmp_path / "one" / "submission.zip") as archive:
        assert archive.namelist() == FILES["glue"]
    # Another adapter changes its file, and the archive with it.
    again = tmp_path / "one"
    done, [_, result] = evaluate("--adapter", world.runs["stsb"], "--submission", again)
    assert "STS-B.tsv" not in result["filled"] and result["archive"]
    assert (again / "submission.zip").read_bytes() != archives[0]
    assert evaluate("--validate", again, "--data", world.glue)[1][0]["failures"] == 0
    assert evaluate("--validate", again / "submission.zip", "--data", world.glue / "RTE")[1][0]["compared_with_dump"] == ["RTE.tsv", "STS-B.tsv", "WNLI.tsv"]


def test_superglue_is_filled_from_the_dump_of_multirc(world, tmp_path):
    out = tmp_path / "out"
    _, [_, result] = evaluate("--adapter", world.runs["copa"], "--submission", out, "--fill-missing")
    assert result["archive"] and result["compared_with_dump"] == ["COPA.jsonl", "MultiRC.jsonl"]
    assert json.loads((out / "ReCoRD.jsonl").read_text().splitlines()[9]) == {"idx": 9, "label": ""}
    (out / "MultiRC.jsonl").unlink()
    message = refused(DATA, "--submission", out, "--fill-missing")
    assert "MultiRC.jsonl: cannot be filled without the dump" in message and "--data ROOT" in message


def test_each_broken_rule_is_one_line(world, tmp_path):
    out = tmp_path / "out"
    evaluate("--adapter", world.runs["wnli"], "--submission", out, "--fill-missing")
    assert evaluate("--validate", out, "--data", world.glue)[1][0]["failures"] == 0
    lines = (out / "WNLI.tsv").read_text().splitlines()
    lines[17] = "16\t1.0"
    (out / "WNLI.tsv").write_text("\n".join(lines) + "\n")
    lines = (out / "STS-B.tsv").read_text()
    (out / "STS-B.tsv").write_text(lines.replace("\n3\t0.000", "\n3\t5.100"))
    (out / "notes.txt").write_text("")
    done, [result] = evaluate("--validate", out, code=DATA)
    failures = [line for line in done.stderr.splitlines() if " warning: " not in line]
    assert failures[0].startswith(f'{out}: "notes.txt" is no file of GLUE; expected AX.tsv, ')
    assert failures[1:] == [
        # Without --data the number of rows is the official one.
        f"{out}/STS-B.tsv:5: prediction \"5.100\"; expected 0.000 to 5.000 with three decimals",
        f"{out}/STS-B.tsv:31: 30 rows; expected the 1379 of the leaderboard; index 30 is missing, and 1348 more",
        f'{out}/WNLI.tsv:18: prediction "1.0"; expected one of 0, 1',
        f"{out}/submission.zip: holds other files than the folder; expected the same, byte for byte",
    ] and result["failures"] == 5  # fmt: skip


def test_a_submission_that_fails_has_no_archive(world, tmp_path):
    out = tmp_path / "out"
    evaluate("--adapter", world.runs["wnli"], "--submission", out, "--fill-missing")
    (out / "CoLA.tsv").write_text("index\tprediction\n0\tyes\n")
    done, [_, result] = evaluate("--adapter", world.runs["rte"], "--submission", out, code=DATA)
    assert f'{out}/CoLA.tsv:2: prediction "yes"; expected one of 0, 1' in done.stderr.splitlines()
    assert result["archive"] is None and not (out / "submission.zip").exists()


def test_a_prediction_that_is_not_finite_is_never_written(world, tmp_path):
    from safetensors.torch import load_file, save_file

    adapter = shutil.copytree(world.runs["wnli"] / "best", tmp_path / "adapter")
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name in tensors:
        if "classifier" in name:
            tensors[name] *= float("nan")
    save_file(tensors, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    arguments = ["--adapter", adapter, "--model", world.model, "--data", world.glue, "--submission", tmp_path / "out"]
    done, lines = evaluate(*arguments, code=DATA)
    assert lines == [] and f"{world.glue}/WNLI/test.tsv: idx 0: the prediction is not finite; expected a class" in done.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".lock"]


def test_rows_of_a_test_file_are_never_skipped(world, tmp_path):
    glue = shutil.copytree(world.glue, tmp_path / "glue")
    with open(glue / "WNLI" / "test.tsv", "a") as file:
        file.write("146\tone column is missing\n")
    config = json.loads((world.runs["wnli"] / "config.json").read_text())
    moved = shutil.copytree(world.runs["wnli"], tmp_path / "run")
    (moved / "config.json").write_text(json.dumps(config | {"data": config["data"] | {"on_bad_row": "skip"}}))
    assert "test.tsv:148: 2 columns, expected 3" in refused(DATA, "--adapter", moved, "--data", glue, "--submission", tmp_path / "out")


def test_what_cannot_become_a_submission_is_refused_before_anything_is_evaluated(world, tmp_path):
    out = tmp_path / "out"
    wnli, copa = world.runs["wnli"], world.runs["copa"]
    own = world.finished(world.config("lora", world.path / "runs" / "own", {"max_steps": 1}))
    assert "no leaderboard takes the task classification; expected one of ax, cola, " in refused(USAGE, "--adapter", own, "--submission", out)
    assert "superglue/copa is a task of SuperGLUE, and that of" in refused(USAGE, "--adapter", wnli, "--adapter", copa, "--submission", out)
    assert f"{wnli} and {wnli}/best both answer wnli" in refused(USAGE, "--adapter", wnli, "--adapter", wnli / "best", "--submission", out)
    assert "--split dev: expected test" in refused(USAGE, "--adapter", wnli, "--split", "dev", "--submission", out)
    assert "--submission DIR is missing" in refused(USAGE, "--adapter", wnli, "--fill-missing")
    assert "which would tell what to fill; expected --adapter" in refused(USAGE, "--submission", out, "--fill-missing")
    assert "--adapter DIR is missing" in refused(USAGE, "--submission", out)
    assert not out.exists()
    assert "holds best; expected an empty folder" in refused(USAGE, "--adapter", wnli, "--submission", wnli)
    evaluate("--adapter", wnli, "--submission", out)
    assert "holds WNLI.tsv; expected an empty folder, or one with files of SuperGLUE alone" in refused(USAGE, "--adapter", copa, "--submission", out)


def test_validate_refuses_what_it_cannot_read(world, tmp_path):
    assert "--validate: found --adapter beside it" in refused(USAGE, "--validate", tmp_path, "--adapter", world.runs["wnli"])
    assert "no such folder or archive" in refused(DATA, "--validate", tmp_path / "gone")
    assert "no file of a leaderboard; expected AX.tsv, " in refused(DATA, "--validate", tmp_path)
    (tmp_path / "x.zip").write_bytes(b"PK")
    assert "expected a zip archive" in refused(DATA, "--validate", tmp_path / "x.zip")
    evaluate("--adapter", world.runs["wnli"], "--submission", tmp_path / "out")
    assert "no such folder" in refused(DATA, "--validate", tmp_path / "out", "--data", tmp_path / "gone")
    message = refused(DATA, "--validate", tmp_path / "out", "--data", world.superglue)
    assert "no test file of a task of GLUE; expected folders such as RTE; found COPA, MultiRC" in message


def test_a_model_of_full_fine_tuning_is_submitted_too(world, tmp_path):
    config = world.config("full", tmp_path / "full", {"max_steps": 2}, task={"name": "wnli", "data": str(world.glue), "max_length": 48})
    folder = world.finished(config)
    evaluate("--adapter", folder, "--submission", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["WNLI.tsv"]["run"] == str(folder)
