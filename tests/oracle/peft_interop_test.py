"""Adapter folders of Hugging Face peft read here, and ours read by peft: the same logits on random BERT folders."""

import json
import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from conftest import WORDS, random_rows, same_within, write_rows  # noqa: E402
from peft import LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

TOLERANCE = 1e-5
assert_same = same_within(TOLERANCE)
LAYER = r"bert\.encoder\.layer\.\d+\."
LORA = {
    "plain": dict(r=4, lora_alpha=16, target_modules=["query", "value"]),
    "default targets": dict(r=8, lora_alpha=3),
    "rslora": dict(r=4, lora_alpha=8, use_rslora=True, target_modules=["query", "key", "value"]),
    "dense hits the pooler too": dict(r=2, lora_alpha=1, target_modules=["dense"]),
    "whole path": dict(r=3, target_modules=["bert.encoder.layer.0.attention.self.query", "intermediate.dense"]),
    "regular expression": dict(r=3, target_modules=LAYER + r"(attention\.self\.(key|value)|output\.dense)"),
    "all-linear": dict(r=4, lora_alpha=9, target_modules="all-linear"),
    "patterns": dict(
        r=4, lora_alpha=8, target_modules=["query", "value", "dense"],
        rank_pattern={"value": 2, r"0\.attention\.self\.query": 1}, alpha_pattern={r"layer\.0\..*": 3, "pooler.dense": 40},
    ),
    "patterns with rslora": dict(r=4, use_rslora=True, target_modules="all-linear", rank_pattern={"dense": 3}, alpha_pattern={"key": 1}),
    "dropout": dict(r=4, lora_dropout=0.5, target_modules=["query"]),
    "gaussian": dict(r=4, init_lora_weights="gaussian", target_modules=["query"]),
    "one layer": dict(r=4, target_modules=["query", "value"], layers_to_transform=[0]),
    "rank above the width": dict(r=40, lora_alpha=10, target_modules=["query", "intermediate.dense"]),
    "excluded": dict(r=4, target_modules=["query", "value"], exclude_modules=r".*\.0\..*query"),
}  # fmt: skip
PROMPT = [dict(num_virtual_tokens=p) for p in (1, 5, 12)]
PREFIX = PROMPT + [dict(num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=10)]


def randomise(model, seed, scale=0.4):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))


def write_adapter(folder, target, config, seed, labels):
    """An adapter of peft with random values on the folder's model."""
    model = get_peft_model(folder.model(num_labels=labels, ignore_mismatched_sizes=True), config)
    randomise(model, seed)
    model.save_pretrained(target)


def peft_logits(folder, adapter, rows, labels, **options):
    base = folder.model(num_labels=labels, ignore_mismatched_sizes=True, **options)
    return folder.logits(PeftModel.from_pretrained(base, adapter).eval(), rows)


def assert_peft_loads_here(folder, adapter, our_logits, seed, labels):
    rows = random_rows(seed)
    theirs = peft_logits(folder, adapter, rows, labels)
    base = folder.logits(folder.model(num_labels=labels, ignore_mismatched_sizes=True), rows)
    assert (theirs - base).abs().max() > 1e-2  # or the test could not tell
    assert_same(our_logits(folder, rows, "--adapter", adapter), theirs)


@pytest.mark.parametrize("name", LORA)
def test_lora_of_peft_loads_here(make_bert, our_logits, tmp_path, name):
    seed = 100 + list(LORA).index(name)
    labels = [2, 3, 1, 5][seed % 4]
    folder = make_bert(seed, labels, num_hidden_layers=2, hidden_size=24, num_attention_heads=3)
    write_adapter(folder, tmp_path / "adapter", LoraConfig(task_type="SEQ_CLS", **LORA[name]), seed, labels)
    assert_peft_loads_here(folder, tmp_path / "adapter", our_logits, seed, labels)


ORDERS = [
    {"self.query": 3, "layer.0.attention.self.query": 2, "layer.1.attention.self.value": 1},
    {"layer.1.attention.self.query": 2, "[a-z.]*value": 3, "attention.self.query": 1},
    {r"layer\.1\.(?P<rest>.*)": 4, "q{,1}uery": 1, "value": 2},
]


@pytest.mark.parametrize("index", range(len(ORDERS)))
def test_the_first_pattern_of_the_file_wins(make_bert, our_logits, tmp_path, index):
    """peft sorts the keys when it saves, so the file gets their order back here."""
    seed, ranks = 150 + index, ORDERS[index]
    alphas = {key: 3 * value for key, value in reversed(ranks.items())}
    folder = make_bert(seed, 2, num_hidden_layers=2, hidden_size=24, num_attention_heads=3)
    config = LoraConfig(task_type="SEQ_CLS", r=5, lora_alpha=8, target_modules=["query", "value"], rank_pattern=ranks, alpha_pattern=alphas)
    write_adapter(folder, tmp_path / "adapter", config, seed, 2)
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rank_pattern": ranks, "alpha_pattern": alphas}))
    assert_peft_loads_here(folder, tmp_path / "adapter", our_logits, seed, 2)


@pytest.mark.parametrize("kind, index", [(PromptTuningConfig, i) for i in range(3)] + [(PrefixTuningConfig, i) for i in range(4)])
def test_prompts_and_prefixes_of_peft_load_here(make_bert, our_logits, tmp_path, kind, index):
    seed = 200 + index
    folder = make_bert(seed, 3, max_position_embeddings=64)
    options = (PROMPT if kind is PromptTuningConfig else PREFIX)[index]
    write_adapter(folder, tmp_path / "adapter", kind(task_type="SEQ_CLS", **options), seed, 3)
    assert_peft_loads_here(folder, tmp_path / "adapter", our_logits, seed, 3)


@pytest.mark.parametrize("labels", [1, 2, 4])
def test_the_head_comes_from_the_adapter(make_bert, our_logits, tmp_path, labels):
    """Neither a bare encoder nor a checkpoint with another number of labels gets in the way."""
    from transformers import BertModel

    for seed, cls, own in [(300, BertModel, 2), (301, None, 7)]:
        folder = make_bert(seed, own, cls=cls, name=f"model{seed}")
        if cls is BertModel:  # a bare encoder's saved pooler is there, only the classifier is not
            assert not any(n.startswith("bert.") for n in load_file(folder.path / "model.safetensors"))
        write_adapter(folder, tmp_path / f"a{seed}", LoraConfig(task_type="SEQ_CLS", r=4), seed, labels)
        rows = random_rows(seed)
        assert_same(our_logits(folder, rows, "--adapter", tmp_path / f"a{seed}"), peft_logits(folder, tmp_path / f"a{seed}", rows, labels))


def test_without_a_task_type_the_checkpoint_keeps_its_head(make_bert, our_logits, tmp_path):
    folder = make_bert(310, 3)
    write_adapter(folder, tmp_path / "adapter", LoraConfig(r=4, target_modules=["query", "value"]), 310, 3)
    assert_peft_loads_here(folder, tmp_path / "adapter", our_logits, 310, 3)


@pytest.mark.parametrize("options", [dict(target_modules="all-linear"), dict(target_modules="all-linear", bias="all"), dict(target_modules="all-linear", bias="lora_only"), dict(target_modules=["classifier"]), dict(target_modules=["classifier", "query"], rank_pattern={"classifier": 2}, alpha_pattern={"classifier": 9})])
def test_without_a_task_type_the_label_layer_can_be_a_target(make_bert, our_logits, tmp_path, options):
    folder = make_bert(311, 3)
    write_adapter(folder, tmp_path / "adapter", LoraConfig(r=4, **options), 311, 3)
    assert any("classifier.lora_A" in name for name in load_file(tmp_path / "adapter" / "adapter_model.safetensors"))
    assert_peft_loads_here(folder, tmp_path / "adapter", our_logits, 311, 3)


def test_a_bfloat16_base_with_a_float32_adapter(make_bert, our_logits, tmp_path):
    """As for models: our root mean square error against float32 may be at most 1.5 times peft's."""
    ours = theirs = 0.0
    for seed in range(320, 324):
        folder, adapter, rows = make_bert(seed, 5, name=f"m{seed}"), tmp_path / f"a{seed}", random_rows(seed)
        tensors = load_file(folder.path / "model.safetensors")
        save_file({n: t.bfloat16() for n, t in tensors.items()}, folder.path / "model.safetensors", {"format": "pt"})
        kind = [LoraConfig(task_type="SEQ_CLS", r=4), PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=5)][seed % 2]
        write_adapter(folder, adapter, kind, seed, 5)
        exact = peft_logits(folder, adapter, rows, 5)
        theirs += (peft_logits(folder, adapter, rows, 5, dtype=torch.bfloat16) - exact).square().sum().item()
        ours += (our_logits(folder, rows, "--adapter", adapter, "--dtype", "bfloat16") - exact).square().sum().item()
    assert 0 < ours**0.5 <= 1.5 * theirs**0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_adapter_files_are_cast_up(make_bert, our_logits, tmp_path, dtype):
    folder, adapter = make_bert(330, 2), tmp_path / "adapter"
    write_adapter(folder, adapter, LoraConfig(task_type="SEQ_CLS", r=4), 330, 2)
    file = adapter / "adapter_model.safetensors"
    save_file({n: t.to(dtype) for n, t in load_file(file).items()}, file)
    assert_peft_loads_here(folder, adapter, our_logits, 330, 2)


@pytest.mark.parametrize("module", ["bert.pooler.dense", "bert.encoder.layer.0.attention.self.key", "bert.encoder.layer.0.output.LayerNorm"])
def test_base_parameters_in_the_file_override_the_model_with_a_note(make_bert, our_logits, program, tmp_path, module):
    folder, adapter, rows = make_bert(340, 2), tmp_path / "adapter", random_rows(340)
    write_adapter(folder, adapter, LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query"]), 340, 2)
    plain = our_logits(folder, rows, "--adapter", adapter)
    base = dict(folder.model().named_parameters())[module + ".weight"]
    file = adapter / "adapter_model.safetensors"
    save_file(load_file(file) | {f"base_model.model.{module}.weight": torch.randn(base.shape)}, file)
    theirs = peft_logits(folder, adapter, rows, 2)
    assert (theirs - plain).abs().max() > 1e-2
    assert_same(our_logits(folder, rows, "--adapter", adapter), theirs)
    done = program("peft-tool", "logits", "--model", folder.path, "--adapter", adapter, "--input", tmp_path / "rows.jsonl", "--output", tmp_path / "out")
    assert f"replaces {module}.weight of the base model" in done.stderr


def test_a_pooler_in_modules_to_save(make_bert, our_logits, tmp_path):
    folder = make_bert(350, 2)
    write_adapter(folder, tmp_path / "a", LoraConfig(task_type="SEQ_CLS", r=4, modules_to_save=["pooler", "classifier"], target_modules=["query"]), 350, 2)
    assert_peft_loads_here(folder, tmp_path / "a", our_logits, 350, 2)


BIAS = {
    "of the targets": dict(task_type="SEQ_CLS", bias="lora_only"),
    "all": dict(task_type="SEQ_CLS", bias="all"),
    "all, with a pooler in modules_to_save": dict(task_type="SEQ_CLS", bias="all", modules_to_save=["pooler"], target_modules=["query", "output.dense"]),
    "all, without a task type": dict(bias="all"),
}


@pytest.mark.parametrize("name", BIAS)
def test_trained_biases_of_peft_load_here(make_bert, our_logits, tmp_path, name):
    """Against the live model, the model that peft reads again, and the same file without its biases."""
    seed = 360 + list(BIAS).index(name)
    folder, adapter, rows = make_bert(seed, 3), tmp_path / "adapter", random_rows(seed)
    live = get_peft_model(folder.model(), LoraConfig(**(dict(r=4, target_modules=["query", "dense"]) | BIAS[name]))).eval()
    randomise(live, seed)
    live.save_pretrained(adapter)
    theirs = folder.logits(live, rows)
    assert_same(our_logits(folder, rows, "--adapter", adapter), theirs)
    assert_same(peft_logits(folder, adapter, rows, 3), theirs)
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    biases = [n for n in tensors if n.endswith(".bias") and "classifier" not in n]
    assert any(n.endswith("query.base_layer.bias") for n in biases)
    assert any(n.endswith("key.bias") for n in biases) == (BIAS[name]["bias"] == "all")
    save_file({n: t for n, t in tensors.items() if n not in biases}, file)
    assert (our_logits(folder, rows, "--adapter", adapter) - theirs).abs().max() > 1e-2


def edit(adapter, **changes):
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (config | changes).items() if v != "absent"}))


def drop_tensor(ending):
    def change(adapter):
        file = adapter / "adapter_model.safetensors"
        tensors = load_file(file)
        del tensors[next(n for n in sorted(tensors) if n.endswith(ending))]
        save_file(tensors, file)

    return change


def only_pickle(adapter):
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()


def truncate(adapter):
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-3])


REFUSALS = {
    "pickle": (only_pickle, ["adapter_model.bin", "convert"]),
    "dora": (lambda a: edit(a, use_dora=True), ["adapter_config.json", "use_dora"]),
    "bias": (lambda a: edit(a, bias="boft_only"), ["adapter_config.json", "bias", "boft_only"]),
    "pissa": (lambda a: edit(a, init_lora_weights="pissa_niter_4"), ["init_lora_weights", "pissa_niter_4"]),
    "newer format": (lambda a: edit(a, library="peft.cpp", format_version=2), ["format_version 2"]),
    "unknown type": (lambda a: edit(a, peft_type="LOHA"), ["peft_type", "LOHA"]),
    "type of a number": (lambda a: edit(a, peft_type=3), ["peft_type", "3"]),
    "no type": (lambda a: edit(a, peft_type="absent"), ["peft_type"]),
    "another task": (lambda a: edit(a, task_type="FEATURE_EXTRACTION"), ["task_type", "FEATURE_EXTRACTION"]),
    "r of another type": (lambda a: edit(a, r="four"), ["adapter_config.json", "r: "]),
    "r of zero": (lambda a: edit(a, r=0), ["adapter_config.json", "r"]),
    "another r": (lambda a: edit(a, r=3), ["lora_A.weight", "[4, 24]", "expected 3 rows"]),
    "r above memory": (lambda a: edit(a, r=10**9), ["lora_A.weight", "[4, 24]", "expected 1000000000 rows"]),
    "no lora_A": (drop_tensor("lora_A.weight"), ["lora_A.weight"]),
    "no lora_B": (drop_tensor("lora_B.weight"), ["lora_B.weight", "missing"]),
    "no head": (drop_tensor("classifier.weight"), ["classifier.weight", "missing"]),
    "no head bias": (drop_tensor("classifier.bias"), ["classifier.bias", "missing"]),
    "truncated": (truncate, ["adapter_model.safetensors"]),
    "no tensors": (lambda a: (a / "adapter_model.safetensors").unlink(), ["adapter_model.safetensors"]),
    "malformed": (lambda a: (a / "adapter_config.json").write_text('{"r": 4,'), ["adapter_config.json", "column"]),
    "duplicate key": (lambda a: (a / "adapter_config.json").write_text('{"r": 4, "r": 8}'), ["adapter_config.json", "r"]),
    "no object": (lambda a: (a / "adapter_config.json").write_text("[]"), ["adapter_config.json", "object"]),
    "no config": (lambda a: (a / "adapter_config.json").unlink(), ["no adapter_config.json", "adapter_model.safetensors"]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_one_line(make_bert, program, tmp_path, name):
    change, expected = REFUSALS[name]
    folder, adapter = make_bert(400, 2, hidden_size=24, num_attention_heads=3), tmp_path / "adapter"
    write_adapter(folder, adapter, LoraConfig(task_type="SEQ_CLS", r=4), 400, 2)
    change(adapter)
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": "a"}])
    done = program("peft-tool", "logits", "--model", folder.path, "--adapter", adapter, "--input", rows, "--output", tmp_path / "out")
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()
    for part in expected:
        assert part in done.stderr


def test_virtual_tokens_must_be_the_rows_of_the_table(make_bert, program, tmp_path):
    folder, rows = make_bert(405), write_rows(tmp_path / "rows.jsonl", [{"text": "a"}])
    for kind in (PromptTuningConfig, PrefixTuningConfig):
        for tokens, message in [(4, "num_virtual_tokens: found 4, but prompt_embeddings has 3 rows"), (10**9, "has 3 rows"), (-1, "num_virtual_tokens")]:
            write_adapter(folder, tmp_path / "a", kind(task_type="SEQ_CLS", num_virtual_tokens=3), 405, 2)
            edit(tmp_path / "a", num_virtual_tokens=tokens)
            done = program("peft-tool", "logits", "--model", folder.path, "--adapter", tmp_path / "a", "--input", rows, "--output", tmp_path / "out")
            assert done.returncode == 3 and message in done.stderr and done.stderr.count("\n") == 1


def test_a_model_of_another_shape_is_refused(make_bert, program, tmp_path):
    small, large = make_bert(410, hidden_size=24, num_attention_heads=3), make_bert(411, name="large", hidden_size=32, num_attention_heads=4)
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": "a"}])
    for i, config in enumerate([LoraConfig(r=4, task_type="SEQ_CLS"), PromptTuningConfig(num_virtual_tokens=3, task_type="SEQ_CLS"), PrefixTuningConfig(num_virtual_tokens=3, task_type="SEQ_CLS")]):
        write_adapter(small, tmp_path / f"a{i}", config, 410, 2)
        done = program("peft-tool", "logits", "--model", large.path, "--adapter", tmp_path / f"a{i}", "--input", rows, "--output", tmp_path / "out")
        assert done.returncode == 3 and done.stderr.count("\n") == 1 and "shape" in done.stderr


def test_virtual_tokens_take_positions(make_bert, program, tmp_path):
    folder = make_bert(420, max_position_embeddings=48)
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": "a " * 30}])
    for i, (tokens, message) in enumerate([(17, "32 tokens, the model has positions for 31"), (48, "leave no room")]):
        for j, kind in enumerate([PromptTuningConfig, PrefixTuningConfig]):
            adapter = tmp_path / f"a{i}{j}"
            write_adapter(folder, adapter, kind(task_type="SEQ_CLS", num_virtual_tokens=tokens), 420, 2)
            done = program("peft-tool", "logits", "--model", folder.path, "--adapter", adapter, "--input", rows, "--output", tmp_path / "out")
            assert done.returncode == 3 and message in done.stderr and done.stderr.count("\n") == 1


OURS = {
    "lora": dict(type="lora", r=4, lora_alpha=16, target_modules=["query", "value"]),
    "lora everywhere": dict(type="lora", r=2, use_rslora=True, target_modules="all-linear", rank_pattern={"query": 3}, alpha_pattern={"dense": 2}),
    "lora by expression": dict(type="lora", r=3, target_modules=r".*\.(key|intermediate\.dense)"),
    "prompt": dict(type="prompt", num_virtual_tokens=5),
    "prompt from text": dict(type="prompt", num_virtual_tokens=7, prompt_tuning_init="TEXT", prompt_tuning_init_text="the good film"),
    "prefix": dict(type="prefix", num_virtual_tokens=4),
    "lora with the pooler": dict(type="lora", r=3, modules_to_save=["pooler", "classifier"]),
    "lora on one layer": dict(type="lora", r=3, target_modules=["query", "dense"], layers_to_transform=[0], exclude_modules=["output.dense"]),
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("labels", [1, 3])
def test_trained_adapters_load_in_peft(make_bert, our_logits, succeed, tmp_path, name, labels):
    rng, seed = random.Random(500), 500 + list(OURS).index(name)
    folder = make_bert(seed, labels, max_position_embeddings=64)
    for split, count in [("train", 48), ("dev", 16)]:
        rows = [{"text": " ".join(rng.choices(WORDS, k=6)), "label": rng.random() if labels == 1 else f"class{rng.randrange(labels)}"} for _ in range(count)]
        write_rows(tmp_path / f"{split}.jsonl", rows)
    config = {
        "model": {"path": str(folder.path)},
        "task": {"name": "regression" if labels == 1 else "classification", "data": str(tmp_path), "max_length": 32},
        "data": {} if labels == 1 else {"labels": [f"class{i}" for i in range(labels)]},
        "method": OURS[name],
        "train": {"max_steps": 6, "batch_size": 8, "learning_rate": 0.05, "seed": seed, "device": "cpu"},
        "output": str(tmp_path / "run"),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    succeed("peft-train", "--config", tmp_path / "config.json")
    rows = random_rows(seed)
    for best in (tmp_path / "run" / "best", tmp_path / "run" / "last"):
        theirs = peft_logits(folder, best, rows, labels)
        assert_same(our_logits(folder, rows, "--adapter", best), theirs)
        base = folder.logits(folder.model(), rows)
        assert (theirs - base).abs().max() > 1e-3
