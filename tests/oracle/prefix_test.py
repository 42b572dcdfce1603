"""prefix and p_tuning_v2 against live peft, and against the equations written down here in plain PyTorch."""

import json
import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from conftest import WORDS, random_rows, randomise, same_within, write_rows  # noqa: E402
from peft import PeftModel, PrefixTuningConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

TOLERANCE = 1e-4
assert_same = same_within(TOLERANCE)
PEFT = {
    "flat": dict(num_virtual_tokens=5),
    "zero": dict(num_virtual_tokens=5, init_weights="zero"),
    "projection": dict(num_virtual_tokens=4, prefix_projection=True),
    "narrow projection": dict(num_virtual_tokens=9, prefix_projection=True, encoder_hidden_size=7),
}
OURS = {
    "none": dict(type="prefix"),
    "simple": dict(type="prefix", sharing="simple"),
    "simple without the maps": dict(type="prefix", sharing="simple", through_projection=False),
    "none through the maps": dict(type="prefix", through_projection=True),
    "one network": dict(type="prefix", sharing="deep", encoder_hidden_size=11),
    "one network through the maps": dict(type="prefix", sharing="deep", encoder_hidden_size=11, through_projection=True),
    "a network per layer": dict(type="prefix", sharing="deep", network="per_layer"),
    "one map": dict(type="prefix", sharing="deep", single=True),
    "a map per layer": dict(type="prefix", sharing="deep", network="per_layer", single=True),
    "peft's network": dict(type="prefix", prefix_projection=True),
    "some layers": dict(type="prefix", layers=[0, 2]),
    "one layer, no shift": dict(type="prefix", sharing="simple", layers=[1], position_shift="off"),
    "from a text": dict(type="prefix", init_weights="text", init_text="the good film"),
    "p_tuning_v2": dict(type="p_tuning_v2"),
    "p_tuning_v2 with a network": dict(type="p_tuning_v2", prefix_projection=True, encoder_hidden_size=13),
}


@pytest.mark.parametrize("name", PEFT)
def test_prefixes_of_peft_load_here(make_bert, our_logits, tmp_path, name):
    """The network is gone from peft's file; what it wrote is there."""
    seed = 800 + list(PEFT).index(name)
    folder = make_bert(seed, 3, max_position_embeddings=64)
    model = get_peft_model(folder.model(num_labels=3), PrefixTuningConfig(task_type="SEQ_CLS", **PEFT[name]))
    randomise(torch.nn.ParameterList(p for p in model.parameters() if p.requires_grad), seed, 0.5)
    rows = random_rows(seed)
    trained = folder.logits(model.eval(), rows)
    model.save_pretrained(tmp_path / "adapter")
    assert (trained - folder.logits(folder.model(num_labels=3), rows)).abs().max() > 1e-2
    assert_same(our_logits(folder, rows, "--adapter", tmp_path / "adapter"), trained)


def bert_with_pairs(model, batch, keys, values, shift):
    """BERT's equations with pairs in front: keys and values [L][P,C] or None."""
    weights, config = model.state_dict(), model.config
    heads, eps = config.num_attention_heads, config.layer_norm_eps
    activation = {"gelu": torch.nn.functional.gelu, "relu": torch.relu, "gelu_new": lambda x: torch.nn.functional.gelu(x, approximate="tanh")}[config.hidden_act]

    def linear(x, module):
        return x @ weights[module + ".weight"].T + weights[module + ".bias"]

    def norm(x, module):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weights[module + ".weight"], weights[module + ".bias"], eps)

    def split(x):
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    ids, mask = batch["input_ids"], batch["attention_mask"]
    table = weights["bert.embeddings.position_embeddings.weight"][shift : shift + ids.shape[1]]
    x = weights["bert.embeddings.word_embeddings.weight"][ids] + table + weights["bert.embeddings.token_type_embeddings.weight"][batch["token_type_ids"]]
    x = norm(x, "bert.embeddings.LayerNorm")
    for i in range(config.num_hidden_layers):
        name = f"bert.encoder.layer.{i}."
        q, k, v = (linear(x, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
        visible = mask
        if keys[i] is not None:
            k, v = (torch.cat([pairs[i].expand(len(ids), -1, -1), own], 1) for pairs, own in ((keys, k), (values, v)))
            visible = torch.cat([torch.ones(len(ids), len(keys[i]), dtype=mask.dtype), mask], 1)
        scores = split(q) @ split(k).transpose(-1, -2) / (x.shape[-1] // heads) ** 0.5
        scores = scores.masked_fill(visible[:, None, None, :] == 0, float("-inf"))
        attended = (scores.softmax(-1) @ split(v)).transpose(1, 2).flatten(2)
        x = norm(x + linear(attended, name + "attention.output.dense"), name + "attention.output.LayerNorm")
        x = norm(x + linear(activation(linear(x, name + "intermediate.dense")), name + "output.dense"), name + "output.LayerNorm")
    return linear(torch.tanh(linear(x[:, 0], "bert.pooler.dense")), "classifier")


def pairs_of(method, tensors, model):
    """Keys and values [L][P,C] of the trained tensors, None where a layer has no prefix."""
    layers, width = model.config.num_hidden_layers, model.config.hidden_size
    chosen = method.get("layers", list(range(layers)))
    sharing = method.get("sharing", "deep" if method.get("prefix_projection") else "none")
    through = method.get("through_projection", sharing == "simple")

    def network(rows, at):
        first = torch.tanh(rows @ at("encoder.0.weight") + at("encoder.0.bias"))
        return first if method.get("single") else first @ at("encoder.1.weight") + at("encoder.1.bias")

    keys, values = [None] * layers, [None] * layers
    for i, layer in enumerate(chosen):
        if sharing == "none":
            key, value = tensors["prefix_key"][i], tensors["prefix_value"][i]
        elif sharing == "simple":
            key = value = tensors["prefix_rows"][i]
        elif method.get("network") == "per_layer":
            key, value = network(tensors["prefix_rows"][i], lambda n, i=i: tensors[n][i]).split(width, -1)
        else:
            key, value = network(tensors["prefix_rows"], tensors.__getitem__).split(width, -1)[2 * i : 2 * i + 2]
        if through:
            attention = model.bert.encoder.layer[layer].attention.self
            key, value = attention.key(key), attention.value(value)
        keys[layer], values[layer] = key, value
    return keys, values


def train(folder, tmp_path, succeed, method, labels, **train_keys):
    rng = random.Random(7)
    for split, count in [("train", 24), ("dev", 8)]:
        rows = [{"text": " ".join(rng.choices(WORDS, k=6)), "label": f"class{rng.randrange(labels)}"} for _ in range(count)]
        write_rows(tmp_path / f"{split}.jsonl", rows)
    config = {
        "model": {"path": str(folder.path), "dropout": 0},
        "task": {"name": "classification", "data": str(tmp_path), "max_length": 32},
        "data": {"labels": [f"class{i}" for i in range(labels)]},
        "method": method,
        "train": {"max_steps": 6, "batch_size": 24, "learning_rate": 0.05, "seed": 3, "device": "cpu", "eval_steps": 0} | train_keys,
        "output": str(tmp_path / "run"),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    succeed("peft-train", "--config", tmp_path / "config.json")
    return tmp_path / "run" / "last", [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]


def trained_values(adapter):
    """Trained tensors by name: from trained.safetensors where the method folds, else out of peft's table."""
    if (adapter / "trained.safetensors").exists():
        return load_file(adapter / "trained.safetensors")
    tensors, config = load_file(adapter / "adapter_model.safetensors"), json.loads((adapter / "adapter_config.json").read_text())
    table = tensors["prompt_embeddings"].unflatten(1, (config["num_layers"], 2, -1)).permute(1, 2, 0, 3)
    table = table[config.get("layers", list(range(len(table))))]
    head = {n.removeprefix("base_model."): t for n, t in tensors.items() if n.startswith("base_model.")}
    return {"prefix_key": table[:, 0], "prefix_value": table[:, 1]} | head


def equation_logits(model, method, tensors, batch):
    """Differentiable in `tensors`."""
    head = {"classifier.weight": tensors["classifier.weight"], "classifier.bias": tensors["classifier.bias"]}
    keys, values = pairs_of(method, tensors, model)
    shift = 0 if method.get("position_shift") == "off" else method["num_virtual_tokens"]
    state = model.state_dict() | head
    model.state_dict = lambda: state
    return bert_with_pairs(model, batch, keys, values, shift)


@pytest.mark.parametrize("name", OURS)
def test_trained_prefixes_are_what_the_equations_say(make_bert, our_logits, succeed, tmp_path, name):
    seed = 820 + list(OURS).index(name)
    folder = make_bert(seed, 3, num_hidden_layers=3, max_position_embeddings=64)
    method = dict(num_virtual_tokens=4) | OURS[name]
    adapter, _ = train(folder, tmp_path, succeed, method, 3)
    rows, plain = random_rows(seed), folder.model(num_labels=3)
    with torch.no_grad():
        expected = equation_logits(folder.model(num_labels=3), method, trained_values(adapter), folder.batch(rows))
    assert (expected - folder.logits(plain, rows)).abs().max() > 1e-3
    ours = our_logits(folder, rows, "--adapter", adapter)
    assert_same(ours, expected)
    config = json.loads((adapter / "adapter_config.json").read_text())
    if config["peft_type"] == "PREFIX_TUNING":
        assert_same(folder.logits(PeftModel.from_pretrained(folder.model(num_labels=3), adapter).eval(), rows), expected)
    else:
        assert "layers" in method or "position_shift" in method
        with pytest.raises(KeyError, match="PEFT_CPP_PREFIX_TUNING"):
            PeftModel.from_pretrained(folder.model(num_labels=3), adapter)


@pytest.mark.parametrize("name", [n for n in OURS if n != "from a text"])
def test_training_follows_the_gradient(make_bert, succeed, tmp_path, name):
    """Five steps of plain gradient descent on all rows, here by autograd of the equations."""
    seed = 850 + list(OURS).index(name)
    folder = make_bert(seed, 3, num_hidden_layers=3, max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    method = dict(num_virtual_tokens=4) | OURS[name]
    sgd = dict(optim="sgd", momentum=0.0, max_grad_norm=0, lr_scheduler_type="constant", weight_decay=0.0)
    (tmp_path / "start").mkdir(), (tmp_path / "moved").mkdir()
    start, _ = train(folder, tmp_path / "start", succeed, method, 3, max_steps=1, learning_rate=0.0, **sgd)
    moved, rows = train(folder, tmp_path / "moved", succeed, method, 3, max_steps=5, learning_rate=0.1, **sgd)
    tensors = {n: t.clone().requires_grad_() for n, t in trained_values(start).items()}
    labels = torch.tensor([int(row["label"][-1]) for row in rows])
    for _ in range(5):
        logits = equation_logits(folder.model(num_labels=3), method, tensors, folder.batch(rows))
        gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), list(tensors.values()))
        with torch.no_grad():
            for tensor, gradient in zip(tensors.values(), gradients):
                tensor -= 0.1 * gradient
    before, after = trained_values(start), trained_values(moved)
    for tensor_name, expected in tensors.items():
        step = (expected - before[tensor_name]).norm()
        assert step > 0, tensor_name
        assert (after[tensor_name] - expected).norm() <= 2e-3 * step, tensor_name


def test_a_run_can_start_from_another(make_bert, succeed, program, tmp_path):
    """A network from its trained form only; a flat prefix also from what a network wrote."""
    folder = make_bert(890, 3, num_hidden_layers=2, max_position_embeddings=64, hidden_dropout_prob=0.0)
    still = dict(max_steps=1, learning_rate=0.0)
    for i, (first, second) in enumerate(
        [
            (OURS["one network"], OURS["one network"]),
            (OURS["p_tuning_v2"], OURS["p_tuning_v2"]),
            (OURS["p_tuning_v2 with a network"], OURS["p_tuning_v2 with a network"]),
            (OURS["one network"], OURS["none"]),
            (OURS["p_tuning_v2"], OURS["none"]),
            (OURS["none"], OURS["p_tuning_v2"]),
            (OURS["simple"], OURS["none"]),
        ]
    ):
        folders = [tmp_path / f"{i}a", tmp_path / f"{i}b"]
        for f in folders:
            f.mkdir()
        start, _ = train(folder, folders[0], succeed, first, 3)
        same, _ = train(folder, folders[1], succeed, second | {"init_from": str(folders[0] / "run" / "last")}, 3, **still)
        a, b = (load_file(f / "adapter_model.safetensors") for f in (start, same))
        assert a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a), (first, second)


def test_a_folded_network_does_not_train(make_bert, program, tmp_path):
    folder = make_bert(891, 3, num_hidden_layers=2, max_position_embeddings=64)
    model = get_peft_model(folder.model(num_labels=3), PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4, prefix_projection=True))
    model.save_pretrained(tmp_path / "adapter")
    write_rows(tmp_path / "train.jsonl", [{"text": "a", "label": f"class{i}"} for i in range(3)])
    config = {
        "model": {"path": str(folder.path)},
        "task": {"name": "classification", "data": str(tmp_path), "max_length": 32},
        "method": dict(type="prefix", num_virtual_tokens=4, prefix_projection=True, init_from=str(tmp_path / "adapter")),
        "train": {"max_steps": 1, "device": "cpu"},
        "output": str(tmp_path / "run"),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = program("peft-train", "--config", tmp_path / "config.json")
    assert done.returncode == 2 and "no trained.safetensors (a folded adapter cannot be trained on)" in done.stderr


def test_a_prefix_on_some_layers_of_another_model_is_refused(make_bert, succeed, program, tmp_path):
    folder = make_bert(892, 3, num_hidden_layers=3, max_position_embeddings=64)
    adapter, _ = train(folder, tmp_path, succeed, OURS["some layers"] | {"num_virtual_tokens": 4}, 3)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layers": [0, 3]}))
    done = program("peft-tool", "logits", "--model", folder.path, "--adapter", adapter, "--input", write_rows(tmp_path / "rows.jsonl", [{"text": "a"}]), "--output", tmp_path / "out")
    assert done.returncode == 3 and "layers: found [0,3], expected indices 0 to 2" in done.stderr and done.stderr.count("\n") == 1
