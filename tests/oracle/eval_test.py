"""peft-eval and `peft-tool schema` against transformers, scikit-learn and the adapters of peft."""

import json
import random
import subprocess

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
metrics = pytest.importorskip("sklearn.metrics")

from conftest import BIN, ROOT, WORDS, randomise, write_rows  # noqa: E402
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

LABELS = ["left", "middle", "right"]


def write_task(folder, seed, counts=(("train", 40), ("dev", 30), ("test", 20)), labels=LABELS):
    """A classification or, without labels, a regression task; the test split hides its labels."""
    rng = random.Random(seed)
    folder.mkdir()
    rows = {}
    for split, count in counts:
        rows[split] = [{"text": " ".join(rng.choices(WORDS, k=rng.randint(1, 9)))} for _ in range(count)]
        for row in rows[split]:
            if split != "test":
                row["label"] = rng.choice(labels) if labels else round(rng.gauss(0, 1), 3)
        write_rows(folder / f"{split}.jsonl", rows[split])
    return rows


def write_adapter(folder, target, config, labels=3):
    model = get_peft_model(folder.model(num_labels=labels, ignore_mismatched_sizes=True), config)
    randomise(torch.nn.ParameterList(p for p in model.parameters() if p.requires_grad), 7)
    model.save_pretrained(target)
    return target


def peft_logits(folder, adapter, rows, labels=3):
    base = folder.model(num_labels=labels, ignore_mismatched_sizes=True)
    return folder.logits(PeftModel.from_pretrained(base, adapter).eval(), [{"text": row["text"]} for row in rows])


@pytest.fixture
def lora(make_bert, tmp_path):
    """(model folder, adapter of peft, task folder, rows of the splits)"""
    folder = make_bert(600, 3, max_position_embeddings=100)
    adapter = write_adapter(folder, tmp_path / "adapter", LoraConfig(task_type="SEQ_CLS", r=4))
    return folder, adapter, tmp_path / "task", write_task(tmp_path / "task", 600)


def test_scores_predictions_and_logits_of_a_peft_adapter(lora, succeed, tmp_path):
    folder, adapter, task, rows = lora
    out = succeed(
        "peft-eval", "--adapter", adapter, "--model", folder.path, "--task", "classification", "--data", task, "--split", "validation",
        "--predictions", tmp_path / "p.jsonl", "--logits", tmp_path / "l.safetensors", "--bootstrap", 200, "--bootstrap-seed", 5,
    )  # fmt: skip
    report = json.loads(out)
    logits = peft_logits(folder, adapter, rows["dev"])
    predicted, truth = [LABELS[i] for i in logits.argmax(1)], [row["label"] for row in rows["dev"]]
    assert report["n"] == 30 and report["split"] == "dev" and report["task"] == "classification"
    assert report["adapter"] == str(adapter) and report["model"] == str(folder.path)
    assert report["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert report["macro_f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([LABELS.index(label) for label in truth]))
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name in ("accuracy", "macro_f1"):
        low, high = report["ci95"][name]
        assert 0 <= low <= report[name] <= high <= 1 and low < high
    assert report["undefined"] == [] and report["invalid"] == report["nonfinite"] == 0 and report["samples_per_second"] > 0
    tensors = load_file(tmp_path / "l.safetensors")
    assert torch.allclose(tensors["logits"], logits, atol=1e-5 * logits.abs().max().item())
    assert tensors["cu_seqlens"].tolist() == list(range(31))
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == predicted and [line["reference"] for line in lines] == truth
    assert [line["idx"] for line in lines] == list(range(30))
    assert torch.allclose(torch.tensor([line["scores"] for line in lines]), tensors["logits"])


def test_the_model_named_by_the_adapter_is_the_default(lora, succeed, program, tmp_path):
    folder, adapter, task, _ = lora
    arguments = ["peft-eval", "--adapter", adapter, "--task", "classification", "--data", task]
    assert json.loads(succeed(*arguments))["model"] == str(folder.path)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "bert-base-nowhere"}))
    done = program(*arguments)
    assert done.returncode == 2 and "--model DIR is missing" in done.stderr and "bert-base-nowhere" in done.stderr


def test_several_adapters_give_one_object_each(lora, succeed, tmp_path):
    folder, adapter, task, rows = lora
    other = write_adapter(folder, tmp_path / "with, comma", PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3))
    lines = succeed("peft-eval", "--adapter", adapter, "--adapter", other, "--task", "classification", "--data", task, "--bootstrap", 0).splitlines()
    reports = [json.loads(line) for line in lines]
    assert [report["adapter"] for report in reports] == [str(adapter), str(other)]
    for report, path in zip(reports, (adapter, other)):
        predicted = [LABELS[i] for i in peft_logits(folder, path, rows["dev"]).argmax(1)]
        assert report["accuracy"] == pytest.approx(metrics.accuracy_score([row["label"] for row in rows["dev"]], predicted))
        assert "ci95" not in report


def test_hidden_labels_give_predictions_only(lora, succeed, tmp_path):
    folder, adapter, task, rows = lora
    report = json.loads(succeed("peft-eval", "--adapter", adapter, "--task", "classification", "--data", task, "--split", "test", "--predictions", tmp_path / "p"))
    assert report["n"] == 20 and not {"accuracy", "loss", "ci95"} & set(report)
    lines = [json.loads(line) for line in (tmp_path / "p").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == [LABELS[i] for i in peft_logits(folder, adapter, rows["test"]).argmax(1)]
    assert all("reference" not in line for line in lines)


def test_regression(make_bert, succeed, tmp_path):
    stats = pytest.importorskip("scipy.stats")
    folder = make_bert(610, 1, max_position_embeddings=100)
    adapter = write_adapter(folder, tmp_path / "adapter", LoraConfig(task_type="SEQ_CLS", r=4), labels=1)
    rows = write_task(tmp_path / "task", 610, labels=None)["dev"]
    report = json.loads(succeed("peft-eval", "--adapter", adapter, "--task", "regression", "--data", tmp_path / "task"))
    predicted, truth = peft_logits(folder, adapter, rows, 1)[:, 0].numpy(), [row["label"] for row in rows]
    assert report["pearson"] == pytest.approx(stats.pearsonr(predicted, truth)[0], abs=1e-5)
    assert report["spearman"] == pytest.approx(stats.spearmanr(predicted, truth)[0], abs=1e-5)
    assert report["loss"] == pytest.approx(float(((predicted - truth) ** 2).mean()), rel=1e-4)


def test_bad_command_lines_are_one_line_with_code_2(lora, program):
    folder, adapter, task, _ = lora
    full = ["--adapter", adapter, "--task", "classification", "--data", task]
    for arguments, expected in [
        ([], "--adapter DIR is missing"),
        (["--adapter", adapter], "--task NAME and --data PATH"),
        (["--adapter", adapter, "--task", "classification"], "--data PATH is missing"),
        (["--adapter", adapter, "--task", "sst", "--data", task], 'did you mean "sst2"'),
        (full + ["--split", "holdout"], "holdout"),
        (full + ["--dtype", "float3"], 'did you mean "float32"'),
        (full + ["--max-length", "101"], "expected 1 to 100"),
        (full + ["--max-length", "0"], "expected at least 1"),
        (full + ["--adapter", adapter, "--predictions", "p"], "one file for 2 adapters"),
        (full + ["--bootstrap", "-1"], "expected 0 or more"),
        (full + ["--bootstrap", "many"], "many"),
    ]:
        done = program("peft-eval", *arguments)
        assert done.returncode == 2 and expected in done.stderr and done.stderr.count("\n") == 1, (arguments, done.stderr)
        assert done.stderr.startswith("peft-eval: ") and done.stdout == ""


def test_bad_folders_are_one_line_with_code_3(lora, program, tmp_path):
    folder, adapter, task, _ = lora
    write_task(tmp_path / "two", 1, labels=LABELS[:2])
    (tmp_path / "empty").mkdir()
    for arguments, expected in [
        (["--adapter", tmp_path / "nowhere", "--data", task], "no such folder"),
        (["--adapter", tmp_path / "empty", "--data", task], "no adapter_config.json"),
        (["--adapter", adapter, "--data", tmp_path / "two"], "the head has 3 outputs, classification needs 2"),
        (["--adapter", adapter, "--data", tmp_path / "empty"], str(tmp_path / "empty")),
        (["--adapter", adapter, "--data", task, "--model", tmp_path / "empty"], "config.json"),
    ]:
        done = program("peft-eval", "--task", "classification", *arguments)
        assert done.returncode == 3 and expected in done.stderr and done.stderr.count("\n") == 1, (arguments, done.stderr)


def test_a_model_folder_is_evaluated_with_its_own_head(make_bert, succeed, program, tmp_path):
    folder = make_bert(605, 3, max_position_embeddings=100)
    rows = write_task(tmp_path / "task", 605)["dev"]
    done = program("peft-eval", "--adapter", folder.path, "--task", "classification", "--data", tmp_path / "task")
    predicted = [LABELS[i] for i in folder.logits(folder.model(), [{"text": row["text"]} for row in rows]).argmax(1)]
    assert json.loads(done.stdout)["accuracy"] == pytest.approx(metrics.accuracy_score([row["label"] for row in rows], predicted))


def test_results_that_cannot_be_written_are_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN / "peft-tool", "schema"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.startswith("peft-tool: stdout: ") and done.stderr.count("\n") == 1


METHODS = {
    "lora": dict(type="lora", r=4),
    "prompt": dict(type="prompt", num_virtual_tokens=4),
    "prefix": dict(type="prefix", num_virtual_tokens=4),
    "linear_probe": dict(type="linear_probe"),
    "full": dict(type="full"),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_folder_tells_everything(make_bert, succeed, program, tmp_path, method):
    """After peft-train, `--adapter RUN` alone repeats the score that chose best/, and full writes a folder transformers reads."""
    folder = make_bert(620, 2, max_position_embeddings=64)
    rows = write_task(tmp_path / "task", 620)
    config = {
        "model": {"path": str(folder.path)},
        "task": {"name": "classification", "data": str(tmp_path / "task"), "max_length": 24},
        "method": METHODS[method],
        "train": {"num_train_epochs": 2, "batch_size": 8, "learning_rate": 0.01, "device": "cpu"},
        "output": str(tmp_path / "run"),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    succeed("peft-train", "--config", tmp_path / "config.json")
    trained = json.loads((tmp_path / "run" / "metrics.json").read_text())
    reports = [json.loads(succeed("peft-eval", "--adapter", place)) for place in (tmp_path / "run", tmp_path / "run" / "best", f"{tmp_path}/run/best/")]
    for report in reports:
        assert report["n"] == 30 and report["task"] == "classification"
        assert report["accuracy"] == pytest.approx(trained["eval_accuracy"]) and report["loss"] == pytest.approx(trained["eval_loss"], rel=1e-5)
    if method == "full":
        rows = [{"text": row["text"]} for row in rows["dev"]]
        succeed("peft-eval", "--adapter", tmp_path / "run", "--logits", tmp_path / "l")
        folder.path = tmp_path / "run" / "best"
        model = folder.model()
        assert [model.config.id2label[i] for i in range(3)] == LABELS
        theirs = folder.logits(model, rows, max_length=24)
        assert torch.allclose(load_file(tmp_path / "l")["logits"], theirs, atol=1e-5 * theirs.abs().max().item())
    done = program("peft-eval", "--adapter", tmp_path / "run", "--task", "sst2")
    assert done.returncode == 2 and "--data PATH is missing for --task sst2" in done.stderr


def test_too_long_rows_tell_the_fix(make_bert, program, succeed, tmp_path):
    folder = make_bert(630, 3, max_position_embeddings=48)
    adapter = write_adapter(folder, tmp_path / "adapter", PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=40))
    task = tmp_path / "task"
    write_task(task, 630)
    arguments = ["--adapter", adapter, "--task", "classification", "--data", task]
    succeed("peft-eval", *arguments)  # nobody chose a length: cut to the 8 positions left
    done = program("peft-eval", *arguments, "--max-length", 9)
    assert done.returncode == 2 and "expected 1 to 8" in done.stderr


def test_schema_and_reference_page(succeed, program):
    schema = json.loads(succeed("peft-tool", "schema"))
    assert set(schema["properties"]) >= {"model", "task", "data", "method", "train", "output"}
    for section in ("model", "task", "data", "method", "train"):
        assert json.loads(succeed("peft-tool", "schema", section))["$schema"] == schema["$schema"]
    done = program("peft-tool", "schema", "trian")
    assert done.returncode == 2 and 'did you mean "train"' in done.stderr
    page = succeed("peft-tool", "schema", "--markdown")
    assert (ROOT / "docs" / "configuration.md").read_text() == page, "peft-tool schema --markdown > docs/configuration.md"
    method = page.partition("\n## method\n")[2].partition("\n## train\n")[0]
    for key in ("compat", "init_from", "init_head", "modules_to_save"):
        assert method.count(f"| `{key}` |") == 1, "keys that all methods have stand in one table"


def test_unknown_subcommands_name_the_nearest(program, succeed):
    done = program("peft-tool", "logit")
    assert done.returncode == 2 and 'did you mean "logits"' in done.stderr and done.stderr.count("\n") == 1
    assert program("peft-tool").returncode == 2
    listing = succeed("peft-tool", "--help")
    for name in ("inspect", "logits", "schema", "score", "tokenize"):
        assert name in listing and name in succeed("peft-tool", name, "--help")
    assert "--adapter" in succeed("peft-eval", "--help") and "--config" in succeed("peft-train", "--help")
