"""Prompt, deep prompt, DePT, ADePT, BitFit and linear probes against the equations written in plain PyTorch around transformers' BERT."""

import json
import math
import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from conftest import WORDS, random_rows, same_within, write_rows  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

TOLERANCE = 1e-4
assert_same = same_within(TOLERANCE)
P, R, S = 5, 3, 55  # virtual tokens, rank, positions with an offset


def offsets_of_words(config, tensors, words):
    """What a method adds to the word embeddings [B, N, C] of padded texts."""
    kind = config["peft_type"]
    if kind == "DEPT":
        factor = {"none": 1.0, "code": 8 / math.sqrt(config["r"])}.get(config["offset_scaling"], config["offset_scaling"])
        return (tensors["dept_A"] @ tensors["dept_B"])[: words.shape[1]] * factor
    if kind == "ADEPT":
        hidden = torch.relu(words @ tensors["adept_W1"] + tensors["adept_b1"])
        return (hidden @ tensors["adept_W2"] + tensors["adept_b2"]) * config["offset_scaling"]
    return 0.0


def expected_logits(folder, adapter, rows, labels):
    config, tensors = json.loads((adapter / "adapter_config.json").read_text()), load_file(adapter / "adapter_model.safetensors")
    model = folder.model(num_labels=labels, ignore_mismatched_sizes=True)
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in tensors.items():
            parameter = own.get(name.removeprefix("base_model.").removeprefix("model."))
            if parameter is not None:  # heads, and the biases of BitFit
                parameter.copy_(value)
        batch = folder.batch(rows)
        words = model.bert.embeddings.word_embeddings(batch["input_ids"])
        prompt = tensors.get("prompt_embeddings", torch.zeros(0, words.shape[2]))
        rows_of_layer = prompt.view(-1, config.get("num_virtual_tokens", 0) or 1, words.shape[2]) if len(prompt) else None
        count = rows_of_layer.shape[1] if rows_of_layer is not None else 0
        x = words + offsets_of_words(config, tensors, words)
        mask, types = batch["attention_mask"], batch["token_type_ids"]
        if count:
            x = torch.cat([rows_of_layer[0].expand(len(rows), -1, -1), x], 1)
            mask = torch.cat([torch.ones(len(rows), count, dtype=mask.dtype), mask], 1)
            types = torch.cat([torch.zeros(len(rows), count, dtype=types.dtype), types], 1)
        if config.get("depth") == "deep":
            for layer, own_rows in list(zip(model.bert.encoder.layer, rows_of_layer))[1:]:

                def overwrite(module, inputs, own_rows=own_rows):
                    hidden = torch.cat([own_rows.expand(len(rows), -1, -1), inputs[0][:, count:]], 1)
                    return (hidden, *inputs[1:])

                layer.register_forward_pre_hook(overwrite)
        hidden = model.bert(inputs_embeds=x, attention_mask=mask, token_type_ids=types).last_hidden_state
        row = hidden[:, count if config.get("pooling") == "cls" else 0]
        if config.get("head") == "linear":
            return row @ tensors["base_model.model.linear_head.weight"].T + tensors["base_model.model.linear_head.bias"]
        return model.classifier(torch.tanh(model.bert.pooler.dense(row)))


def random_adapter(folder, kind, seed, labels, **changes):
    """Config and tensors as docs/formats.md#types-of-our-own lays them out, with values far from any start."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=0.4):
        return scale * torch.randn(*shape, generator=generator)

    model = folder.model()
    width, layers = model.config.hidden_size, model.config.num_hidden_layers
    config = {"peft_type": kind, "task_type": "SEQ_CLS", "library": "peft.cpp", "format_version": 1, "num_virtual_tokens": P, "token_dim": width, "r": R}
    tensors = {"prompt_embeddings": draw(P, width), "base_model.classifier.weight": draw(labels, width), "base_model.classifier.bias": draw(labels)}
    if kind == "DEPT":
        config |= {"max_length": S, "offset_scaling": "none", "row_alignment": "start", "left_pad_positions": False, "pooling": "first"}
        tensors |= {"dept_A": draw(S, R), "dept_B": draw(R, width)}
    if kind == "ADEPT":
        config |= {"max_length": S, "offset_scaling": 1.0, "left_pad_positions": False, "pooling": "first"}
        tensors |= {"adept_W1": draw(width, R), "adept_b1": draw(R), "adept_W2": draw(R, width), "adept_b2": draw(width)}
    if kind.endswith("PROMPT_TUNING"):
        config |= {"num_layers": layers, "num_transformer_submodules": 1}
        if changes.get("depth") == "deep":
            tensors["prompt_embeddings"] = draw(P * layers, width)
    if kind == "BITFIT":
        heads = {n.replace("base_model.", "base_model.model."): t for n, t in tensors.items() if "classifier" in n}
        config = {k: config[k] for k in ("peft_type", "task_type", "library", "format_version")} | {"add_missing": False}
        biases = {n: p for n, p in model.named_parameters() if n.endswith(".bias") and n.startswith(("bert.encoder", "bert.embeddings"))}
        tensors = heads | {f"base_model.model.{n}": p.detach() + draw(*p.shape) for n, p in biases.items()}
    return config | changes, tensors


RANDOM = {
    "dept": ("DEPT", {}),
    "dept of the released code": ("DEPT", {"offset_scaling": "code"}),
    "dept, number and cls": ("DEPT", {"offset_scaling": -0.7, "pooling": "cls"}),
    "adept": ("ADEPT", {}),
    "adept, scaled and cls": ("ADEPT", {"offset_scaling": 2.5, "pooling": "cls"}),
    "deep prompt": ("PROMPT_TUNING", {"depth": "deep", "peft_compatible": False}),
    "deep prompt and cls": ("PROMPT_TUNING", {"depth": "deep", "peft_compatible": False, "pooling": "cls"}),
    "prompt and cls": ("PROMPT_TUNING", {"peft_compatible": False, "pooling": "cls"}),
    "deep prompt of a type of our own": ("PEFT_CPP_PROMPT_TUNING", {"depth": "deep", "pooling": "cls"}),
    "bitfit": ("BITFIT", {}),
}


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("labels", [1, 3])
def test_adapters_with_random_values(make_bert, our_logits, tmp_path, name, labels):
    kind, changes = RANDOM[name]
    seed = 800 + list(RANDOM).index(name)
    folder = make_bert(seed, 2, max_position_embeddings=64, num_hidden_layers=2 + labels % 2)
    config, tensors = random_adapter(folder, kind, seed, labels, **changes)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, adapter / "adapter_model.safetensors", {"format": "pt"})
    rows = random_rows(seed)
    theirs = expected_logits(folder, adapter, rows, labels)
    heads = {n: t for n, t in tensors.items() if "classifier" in n}
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / "adapter_config.json").write_text(json.dumps({"peft_type": "LINEAR_PROBE"}))
    save_file(heads, tmp_path / "heads" / "adapter_model.safetensors")
    assert (theirs - expected_logits(folder, tmp_path / "heads", rows, labels)).abs().max() > 1e-2  # the adapter matters
    assert_same(our_logits(folder, rows, "--adapter", adapter), theirs)


TRAINED = {
    "prompt, uniform": dict(type="prompt", num_virtual_tokens=P, prompt_tuning_init="UNIFORM", prompt_dropout=0.2),
    "deep prompt": dict(type="prompt", num_virtual_tokens=P, depth="deep", pooling="cls"),
    "dept": dict(type="dept", num_virtual_tokens=P, r=R),
    "dept of the released code": dict(type="dept", num_virtual_tokens=P, r=R, compat="code", max_length=S),
    "adept": dict(type="adept", num_virtual_tokens=P, r=R),
    "adept of the released code": dict(type="adept", num_virtual_tokens=P, r=R, compat="code", fold="none"),
    "bitfit": dict(type="bitfit"),
    "bitfit of queries": dict(type="bitfit", subset="query_ffn"),
    "probe": dict(type="linear_probe"),
    "linear probe": dict(type="linear_probe", head="linear", init_head_zero=True),
}


@pytest.mark.parametrize("name", TRAINED)
def test_trained_adapters(make_bert, our_logits, succeed, tmp_path, name):
    seed, labels = 900 + list(TRAINED).index(name), 3
    rng = random.Random(seed)
    folder = make_bert(seed, 2, max_position_embeddings=64)
    for split, count in [("train", 48), ("dev", 16)]:
        rows = [{"text": " ".join(rng.choices(WORDS, k=6)), "label": f"class{rng.randrange(labels)}"} for _ in range(count)]
        write_rows(tmp_path / f"{split}.jsonl", rows)
    config = {
        "model": {"path": str(folder.path)},
        "task": {"name": "classification", "data": str(tmp_path), "max_length": S},
        "data": {"labels": [f"class{i}" for i in range(labels)]},
        "method": TRAINED[name],
        "train": {"max_steps": 6, "batch_size": 8, "learning_rate": 0.05, "seed": seed, "device": "cpu"},
        "output": str(tmp_path / "run"),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    succeed("peft-train", "--config", tmp_path / "config.json")
    rows = random_rows(seed)
    for adapter in (tmp_path / "run" / "best", tmp_path / "run" / "last"):
        assert_same(our_logits(folder, rows, "--adapter", adapter), expected_logits(folder, adapter, rows, labels))


def released(tmp_path, name, seed, rank, peft_type, **more):
    """Files as DePT's and ADePT's code writes them."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: 0.3 * torch.randn(*shape, generator=generator)  # noqa: E731
    width, folder = 24, tmp_path / name
    folder.mkdir()
    rows = width if peft_type == "PROMPT_TUNING_LORAX" else S
    tensors = {
        "prompt_embeddings": draw(P, width), "prompt_encoder.lora_embedding_A": draw(rows, rank), "prompt_encoder.lora_embedding_B": draw(rank, width),
        "base_model.classifier.weight": draw(2, width), "base_model.classifier.bias": draw(2),
    }  # fmt: skip
    if peft_type == "PROMPT_TUNING_LORAX":
        tensors |= {"prompt_encoder.lora_embedding_a": draw(rank), "prompt_encoder.lora_embedding_b": draw(width)}
    config = {"peft_type": peft_type, "task_type": "SEQ_CLS", "num_virtual_tokens": P, "r": rank, "lora_alpha": 8, "max_length": S, "token_dim": width}
    (folder / "adapter_config.json").write_text(json.dumps(config | more))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder, tensors


@pytest.mark.parametrize("alpha", [8, 12])
def test_released_dept_files_are_imported(make_bert, our_logits, succeed, tmp_path, alpha):
    folder, rows = make_bert(950, 2, hidden_size=24, num_attention_heads=3, max_position_embeddings=64), random_rows(950)
    source, tensors = released(tmp_path, "dept", 950, R, "PROMPT_TUNING_LORA", lora_alpha=alpha)
    succeed("peft-tool", "import", source, "--output", tmp_path / "ours", "--model", folder.path)
    config, ours = json.loads((tmp_path / "ours" / "adapter_config.json").read_text()), load_file(tmp_path / "ours" / "adapter_model.safetensors")
    assert (config["peft_type"], config["r"], config["max_length"], config["num_virtual_tokens"]) == ("DEPT", R, S, P)
    assert config["offset_scaling"] == ("code" if alpha == 8 else pytest.approx(alpha / math.sqrt(R)))
    assert torch.equal(ours["dept_A"], tensors["prompt_encoder.lora_embedding_A"]) and torch.equal(ours["dept_B"], tensors["prompt_encoder.lora_embedding_B"])
    assert_same(our_logits(folder, rows, "--adapter", tmp_path / "ours"), expected_logits(folder, tmp_path / "ours", rows, 2))


def test_released_adept_files_are_imported(make_bert, our_logits, succeed, tmp_path):
    folder, rows = make_bert(951, 2, hidden_size=24, num_attention_heads=3, max_position_embeddings=64), random_rows(951)
    source, tensors = released(tmp_path, "adept", 951, 7, "PROMPT_TUNING_LORAX")
    succeed("peft-tool", "import", source / "adapter_model.safetensors", "--output", tmp_path / "ours")
    ours = load_file(tmp_path / "ours" / "adapter_model.safetensors")
    for mine, theirs in [("adept_W1", "A"), ("adept_b1", "a"), ("adept_W2", "B"), ("adept_b2", "b")]:
        assert torch.equal(ours[mine], tensors[f"prompt_encoder.lora_embedding_{theirs}"])
    assert json.loads((tmp_path / "ours" / "adapter_config.json").read_text())["offset_scaling"] == 1.0
    assert_same(our_logits(folder, rows, "--adapter", tmp_path / "ours"), expected_logits(folder, tmp_path / "ours", rows, 2))


def test_interleaved_prefixes_are_imported(succeed, tmp_path):
    layers, width = 2, 3
    keys, values = torch.randn(P, layers, width), torch.randn(P, layers, width)
    table = torch.empty(P, layers, 2 * width)
    table[..., 0::2], table[..., 1::2] = keys, values
    (tmp_path / "vision").mkdir()
    (tmp_path / "vision" / "adapter_config.json").write_text(json.dumps({"num_virtual_tokens": P, "num_layers": layers}))
    save_file({"prompt_embeddings": table.flatten(1)}, tmp_path / "vision" / "adapter_model.safetensors")
    succeed("peft-tool", "import", tmp_path / "vision", "--interleaved", "--output", tmp_path / "ours")
    ours = load_file(tmp_path / "ours" / "adapter_model.safetensors")["prompt_embeddings"]
    assert torch.equal(ours, torch.stack([keys, values], 2).flatten(1))


def test_import_refusals_are_one_line(program, tmp_path):
    source, tensors = released(tmp_path, "dept", 952, R, "PROMPT_TUNING_LORA")
    config = (source / "adapter_config.json").read_text()

    def variant(name, change):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_config.json").write_text(config)
        changed = change(dict(tensors))
        save_file(changed, folder / "adapter_model.safetensors")
        return folder

    pickled = tmp_path / "pickled"
    pickled.mkdir()
    torch.save(tensors, pickled / "adapter_model.bin")
    without = lambda key: lambda t: {n: v for n, v in t.items() if not n.endswith(key)}  # noqa: E731
    cases = [
        ([pickled], 3, ["adapter_model.bin", "convert"]),
        ([variant("no A", without("embedding_A"))], 3, ["tensor lora_embedding_A is missing"]),
        ([variant("no B", without("embedding_B"))], 3, ["tensor lora_embedding_B is missing"]),
        ([variant("no prompt", without("prompt_embeddings"))], 3, ["tensor prompt_embeddings is missing"]),
        ([variant("ranks", lambda t: t | {"prompt_encoder.lora_embedding_B": torch.zeros(R + 1, 24)})], 3, ["dept_B has shape [4, 24]", "[3, *]"]),
        ([source, source], 3, ["a second time"]),
        ([tmp_path / "gone"], 3, ["gone"]),
        ([], 2, ["files are missing"]),
    ]
    for paths, code, parts in cases:
        done = program("peft-tool", "import", *paths, "--output", tmp_path / "out")
        assert done.returncode == code and done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "out").exists()
        for part in parts:
            assert part in done.stderr
    done = program("peft-tool", "import", source, "--output", source)
    assert done.returncode == 2 and "already exists" in done.stderr
