"""Model folders of peft-tool merge: the adapter's logits, in our programs and in transformers."""

import json
import random
import shutil

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from conftest import WORDS, random_rows, same_within, write_rows  # noqa: E402
from embedding_methods_test import random_adapter  # noqa: E402
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model  # noqa: E402
from peft_interop_test import LORA, randomise  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

TOLERANCE = 1e-5
assert_same = same_within(TOLERANCE)


class Merged:
    """A folder that peft-tool merge wrote, read like any other model."""

    def __init__(self, folder, path):
        self.path, self.batch, self.logits, self.model = path, folder.batch, folder.logits, lambda: type(folder).model(self)


def assert_merged_equals(folder, adapter, merged, rows, our_logits):
    """The adapter's logits; both programs read the merged folder. Returns transformers' logits."""
    expected = our_logits(folder, rows, "--adapter", adapter)
    whole = Merged(folder, merged)
    assert_same(our_logits(whole, rows), expected)
    theirs = whole.logits(whole.model(), rows)
    assert_same(theirs, expected)
    assert (expected - folder.logits(folder.model(num_labels=expected.shape[1], ignore_mismatched_sizes=True), rows)).abs().max() > 1e-2
    return theirs


@pytest.mark.parametrize("name", LORA)
def test_lora_of_peft(make_bert, our_logits, succeed, tmp_path, name):
    seed = 1000 + list(LORA).index(name)
    labels = [2, 3, 1, 5][seed % 4]
    folder, adapter = make_bert(seed, 2, num_hidden_layers=2, hidden_size=24, num_attention_heads=3), tmp_path / "adapter"
    model = get_peft_model(folder.model(num_labels=labels, ignore_mismatched_sizes=True), LoraConfig(task_type="SEQ_CLS", **LORA[name]))
    randomise(model, seed)
    model.save_pretrained(adapter)
    succeed("peft-tool", "merge", adapter, "--model", folder.path, "--output", tmp_path / "merged")

    # With weights as large as these float32 alone moves logits by up to 1e-5, in peft too: all forms are compared with peft in float64.
    rows = random_rows(seed)
    base = lambda: folder.model(num_labels=labels, ignore_mismatched_sizes=True)  # noqa: E731
    alone, merged = PeftModel.from_pretrained(base(), adapter).eval(), PeftModel.from_pretrained(base(), adapter).merge_and_unload().eval()
    whole = Merged(folder, tmp_path / "merged")
    theirs = [folder.logits(alone, rows), folder.logits(merged, rows)]
    exact = folder.logits(alone.double(), rows)
    error = lambda found: (found - exact).abs().max().item() / max(1.0, exact.abs().max().item())  # noqa: E731
    allowed = max(TOLERANCE / 4, 3 * max(map(error, theirs)))
    assert allowed < 1e-4
    for found in [our_logits(folder, rows, "--adapter", adapter), our_logits(whole, rows), whole.logits(whole.model(), rows)]:
        assert found.shape == exact.shape and error(found) <= allowed
    assert (exact - folder.logits(base(), rows)).abs().max() > 1e-2


def test_a_trained_pooler_and_a_stray_tensor_are_merged(make_bert, our_logits, succeed, tmp_path):
    folder, adapter = make_bert(1050, 2), tmp_path / "adapter"
    config = LoraConfig(task_type="SEQ_CLS", r=4, modules_to_save=["pooler", "classifier"], target_modules=["query"])
    model = get_peft_model(folder.model(), config)
    randomise(model, 1050)
    model.save_pretrained(adapter)
    file, stray = adapter / "adapter_model.safetensors", "bert.encoder.layer.0.attention.self.query.weight"
    save_file(load_file(file) | {f"base_model.model.{stray}": torch.randn_like(folder.model().get_parameter(stray))}, file)
    succeed("peft-tool", "merge", adapter, "--model", folder.path, "--output", tmp_path / "merged")
    assert_merged_equals(folder, adapter, tmp_path / "merged", random_rows(1050), our_logits)


def test_lora_on_the_label_layer_is_merged(make_bert, our_logits, succeed, tmp_path):
    """peft gives it one where the config names no task type."""
    folder, adapter = make_bert(1055, 3), tmp_path / "adapter"
    model = get_peft_model(folder.model(), LoraConfig(r=4, target_modules="all-linear", bias="all"))
    randomise(model, 1055)
    model.save_pretrained(adapter)
    succeed("peft-tool", "merge", adapter, "--model", folder.path, "--output", tmp_path / "merged")
    rows = random_rows(1055)
    theirs = assert_merged_equals(folder, adapter, tmp_path / "merged", rows, our_logits)
    assert_same(theirs, folder.logits(model.eval(), rows))


def test_bitfit_with_random_values(make_bert, our_logits, succeed, tmp_path):
    folder, adapter = make_bert(1060, 2), tmp_path / "adapter"
    adapter.mkdir()
    config, tensors = random_adapter(folder, "BITFIT", 1060, 3)
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(folder.path)}))
    save_file(tensors, adapter / "adapter_model.safetensors")
    succeed("peft-tool", "merge", adapter, "--output", tmp_path / "merged")  # the adapter names its model
    assert_merged_equals(folder, adapter, tmp_path / "merged", random_rows(1060), our_logits)
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    for name, value in tensors.items():
        assert torch.equal(merged[name.removeprefix("base_model.model.")], value)


METHODS = {
    "lora": dict(type="lora", r=4, lora_alpha=16, target_modules="all-linear"),
    "chosen lora": dict(type="lora", r=2, layers_to_transform=[0], exclude_modules=["value"], use_rslora=True),
    "bitfit": dict(type="bitfit"),
    "probe": dict(type="linear_probe"),
}


@pytest.fixture
def trained(make_bert, succeed, tmp_path):
    """trained(method, labels) -> model folder and run folder."""

    def train(method, labels, seed=1070, **model):
        rng, folder = random.Random(seed), make_bert(seed, 2, max_position_embeddings=64, **model)
        for split, count in [("train", 40), ("dev", 16)]:
            rows = [{"text": " ".join(rng.choices(WORDS, k=6)), "label": rng.random() if labels == 1 else f"class{rng.randrange(labels)}"} for _ in range(count)]
            write_rows(tmp_path / f"{split}.jsonl", rows)
        config = {
            "model": {"path": str(folder.path)},
            "task": {"name": "regression" if labels == 1 else "classification", "data": str(tmp_path), "max_length": 32},
            "data": {} if labels == 1 else {"labels": [f"class{i}" for i in range(labels)]},
            "method": method,
            "train": {"max_steps": 6, "batch_size": 8, "learning_rate": 0.05, "device": "cpu"},
            "output": str(tmp_path / "run"),
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        succeed("peft-train", "--config", tmp_path / "config.json")
        return folder, tmp_path / "run"

    return train


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("labels", [1, 3])
def test_a_run_is_merged_with_its_labels(trained, our_logits, succeed, tmp_path, name, labels):
    folder, run = trained(METHODS[name], labels)
    succeed("peft-tool", "merge", run, "--output", tmp_path / "merged")
    assert_merged_equals(folder, run, tmp_path / "merged", random_rows(1070), our_logits)
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["id2label"] == ({"0": "LABEL_0"} if labels == 1 else {str(i): f"class{i}" for i in range(3)})
    assert config["architectures"] == ["BertForSequenceClassification"]


def test_a_bfloat16_model_is_merged_in_float32(make_bert, our_logits, succeed, tmp_path):
    folder, adapter = make_bert(1080, 2), tmp_path / "adapter"
    file = folder.path / "model.safetensors"
    save_file({n: t.bfloat16() for n, t in load_file(file).items()}, file, {"format": "pt"})
    model = get_peft_model(folder.model(), LoraConfig(task_type="SEQ_CLS", r=4))
    randomise(model, 1080)
    model.save_pretrained(adapter)
    succeed("peft-tool", "merge", adapter, "--model", folder.path, "--output", tmp_path / "merged")
    assert {t.dtype for t in load_file(tmp_path / "merged" / "model.safetensors").values()} == {torch.float32}
    assert_merged_equals(folder, adapter, tmp_path / "merged", random_rows(1080), our_logits)


def test_what_cannot_be_merged_is_one_line(make_bert, trained, program, tmp_path):
    folder, adapter = make_bert(1090, 2, name="small"), tmp_path / "adapter"
    get_peft_model(folder.model(), PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)).save_pretrained(adapter)
    _, linear = trained(dict(type="linear_probe", head="linear"), 3)
    shutil.copytree(folder.path, tmp_path / "full" / "best")
    run = json.loads((linear / "config.json").read_text()) | {"method": {"type": "full"}}
    (tmp_path / "full" / "config.json").write_text(json.dumps(run))
    model = ["--model", folder.path]
    for arguments, code, parts in [
        ([adapter, *model, "--output", tmp_path / "out"], 2, [str(adapter), '"prompt" adapter does not change weights']),
        ([linear, "--output", tmp_path / "out"], 2, ["linear", "cannot be merged"]),
        ([tmp_path / "full", "--output", tmp_path / "out"], 2, ["it holds a whole model"]),
        ([adapter, *model], 2, ["--output is missing"]),
        ([*model, "--output", tmp_path / "out"], 2, ["one ADAPTER folder expected"]),
        ([adapter, *model, "--output", folder.path], 2, ["already exists"]),
        ([folder.path, "--output", tmp_path / "out"], 2, ["it holds a whole model"]),
        ([tmp_path, "--output", tmp_path / "out"], 3, ["no adapter_config.json"]),
        ([tmp_path / "gone", "--output", tmp_path / "out"], 3, ["no such folder"]),
    ]:
        done = program("peft-tool", "merge", *arguments)
        assert done.returncode == code and done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "out").exists()
        for part in parts:
            assert part in done.stderr, done.stderr
