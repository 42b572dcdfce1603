"""p_tuning against live peft, whose networks and files it shares, and against torch's own LSTM."""

import json
import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from conftest import WORDS, random_rows, randomise, same_within, write_rows  # noqa: E402
from peft import PeftModel, PromptEncoderConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

TOLERANCE = 1e-4
assert_same = same_within(TOLERANCE)
PEFT = {
    "MLP": dict(num_virtual_tokens=5, encoder_hidden_size=9),
    "MLP of the model's width": dict(num_virtual_tokens=5),
    "LSTM": dict(num_virtual_tokens=6, encoder_reparameterization_type="LSTM", encoder_hidden_size=7),
    "LSTM of three layers": dict(num_virtual_tokens=3, encoder_reparameterization_type="LSTM", encoder_hidden_size=5, encoder_num_layers=3),
}
PAPER = {
    "MLP of the paper": dict(num_virtual_tokens=5, encoder_variant="paper"),
    "LSTM of the paper": dict(num_virtual_tokens=4, encoder_variant="paper", encoder_reparameterization_type="LSTM"),
    "LSTM of the paper, one layer": dict(num_virtual_tokens=4, encoder_variant="paper", encoder_reparameterization_type="LSTM", encoder_num_layers=1),
}
OURS = PEFT | PAPER


@pytest.mark.parametrize("name", PEFT)
def test_adapters_of_peft_load_here(make_bert, our_logits, tmp_path, name):
    seed = 900 + list(PEFT).index(name)
    folder = make_bert(seed, 3, max_position_embeddings=64)
    model = get_peft_model(folder.model(num_labels=3), PromptEncoderConfig(task_type="SEQ_CLS", **PEFT[name]))
    randomise(torch.nn.ParameterList(p for p in model.parameters() if p.requires_grad), seed, 0.5)
    rows = random_rows(seed)
    trained = folder.logits(model.eval(), rows)
    model.save_pretrained(tmp_path / "adapter")
    assert (trained - folder.logits(folder.model(num_labels=3), rows)).abs().max() > 1e-2
    assert_same(our_logits(folder, rows, "--adapter", tmp_path / "adapter"), trained)


def train(folder, tmp_path, succeed, method, **train_keys):
    rng = random.Random(7)
    for split, count in [("train", 24), ("dev", 8)]:
        rows = [{"text": " ".join(rng.choices(WORDS, k=6)), "label": f"class{rng.randrange(3)}"} for _ in range(count)]
        write_rows(tmp_path / f"{split}.jsonl", rows)
    config = {
        "model": {"path": str(folder.path), "dropout": 0},
        "task": {"name": "classification", "data": str(tmp_path), "max_length": 32},
        "data": {"labels": [f"class{i}" for i in range(3)]},
        "method": dict(type="p_tuning") | method,
        "train": {"max_steps": 6, "batch_size": 24, "learning_rate": 0.02, "seed": 3, "device": "cpu", "eval_steps": 0} | train_keys,
        "output": str(tmp_path / "run"),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    succeed("peft-train", "--config", tmp_path / "config.json")
    return tmp_path / "run" / "last", [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]


def written_rows(method, tensors):
    """p = g(u) with torch's own layers; differentiable in `tensors`."""
    x = tensors["encoder.rows"]
    if method.get("encoder_reparameterization_type") == "LSTM":
        layers = method.get("encoder_num_layers", 2)
        first = tensors["encoder.lstm.0.forward.weight_hh"]
        lstm = torch.nn.LSTM(x.shape[1], first.shape[0], layers, bidirectional=True, batch_first=True)
        parts = {}
        for layer in range(layers):
            for way, suffix in [("forward", ""), ("reverse", "_reverse")]:
                for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    parts[f"{part}_l{layer}{suffix}"] = tensors[f"encoder.lstm.{layer}.{way}.{part}"].t()
        x = torch.func.functional_call(lstm, parts, (x[None],))[0][0]
    count = sum(n.startswith("encoder.") and n.split(".")[1].isdigit() and n.endswith("weight") for n in tensors)
    for i in range(count):
        x = (x if i == 0 else torch.relu(x)) @ tensors[f"encoder.{i}.weight"] + tensors[f"encoder.{i}.bias"]
    return x


def equation_logits(model, tensors, rows, batch):
    """The rows in front of the word embeddings: positions go on, token type 0, the first virtual row is pooled."""
    ids, count = batch["input_ids"], len(rows)
    words = model.bert.embeddings.word_embeddings(ids)
    ones, zeros = (torch.full((len(ids), count), value, dtype=torch.long) for value in (1, 0))
    output = model.bert(
        inputs_embeds=torch.cat([rows.expand(len(ids), -1, -1), words], 1),
        attention_mask=torch.cat([ones, batch["attention_mask"]], 1),
        token_type_ids=torch.cat([zeros, batch["token_type_ids"]], 1),
    )
    return output.pooler_output @ tensors["classifier.weight"].T + tensors["classifier.bias"]


@pytest.mark.parametrize("name", OURS)
def test_trained_rows_are_what_the_equations_say(make_bert, our_logits, succeed, tmp_path, name):
    seed = 920 + list(OURS).index(name)
    folder = make_bert(seed, 3, max_position_embeddings=64, hidden_size=16, num_attention_heads=2)
    adapter, _ = train(folder, tmp_path, succeed, OURS[name])
    tensors, file = load_file(adapter / "trained.safetensors"), load_file(adapter / "adapter_model.safetensors")
    with torch.no_grad():
        rows = written_rows(OURS[name], tensors)
        assert_same(file["prompt_embeddings"], rows)
        texts = random_rows(seed)
        expected = equation_logits(folder.model(num_labels=3), tensors, rows, folder.batch(texts))
    assert (expected - folder.logits(folder.model(num_labels=3), texts)).abs().max() > 1e-3
    assert_same(our_logits(folder, texts, "--adapter", adapter), expected)
    assert_same(folder.logits(PeftModel.from_pretrained(folder.model(num_labels=3), adapter).eval(), texts), expected)


@pytest.mark.parametrize("name", OURS)
def test_training_follows_the_gradient(make_bert, succeed, tmp_path, name):
    """Five steps of plain gradient descent on all rows, here by autograd of torch's layers."""
    seed = 940 + list(OURS).index(name)
    folder = make_bert(seed, 3, max_position_embeddings=64, hidden_size=16, num_attention_heads=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    sgd = dict(optim="sgd", momentum=0.0, max_grad_norm=0, lr_scheduler_type="constant", weight_decay=0.0)
    (tmp_path / "start").mkdir(), (tmp_path / "moved").mkdir()
    start, _ = train(folder, tmp_path / "start", succeed, OURS[name], **(sgd | dict(max_steps=1, learning_rate=0.0)))
    moved, rows = train(folder, tmp_path / "moved", succeed, OURS[name], **(sgd | dict(max_steps=5, learning_rate=0.1)))
    before, after = (load_file(f / "trained.safetensors") for f in (start, moved))
    tensors, labels = {n: t.clone().requires_grad_() for n, t in before.items()}, torch.tensor([int(row["label"][-1]) for row in rows])
    model = folder.model(num_labels=3)
    for _ in range(5):
        logits = equation_logits(model, tensors, written_rows(OURS[name], tensors), folder.batch(rows))
        gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), list(tensors.values()))
        with torch.no_grad():
            for tensor, gradient in zip(tensors.values(), gradients):
                tensor -= 0.1 * gradient
    for tensor_name, expected in tensors.items():
        step = (expected - before[tensor_name]).norm()
        assert step > 0, tensor_name
        assert (after[tensor_name] - expected).norm() <= 2e-3 * step, tensor_name


def test_rows_without_their_network_do_not_train(make_bert, succeed, program, tmp_path):
    """A file of peft's is refused as a start; a run of ours goes on from its trained form, and its best/ evaluates."""
    folder = make_bert(960, 3, max_position_embeddings=64)
    model = get_peft_model(folder.model(num_labels=3), PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=4))
    model.save_pretrained(tmp_path / "theirs")
    method = dict(num_virtual_tokens=4)
    first, _ = train(folder, tmp_path, succeed, method)
    config = json.loads((tmp_path / "config.json").read_text())
    config["method"]["init_from"] = str(tmp_path / "theirs")
    config["output"] = str(tmp_path / "refused")
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = program("peft-train", "--config", tmp_path / "config.json")
    assert done.returncode == 2 and "no trained.safetensors (a folded adapter cannot be trained on)" in done.stderr
    (tmp_path / "again").mkdir()
    second, _ = train(folder, tmp_path / "again", succeed, method | {"init_from": str(tmp_path / "run" / "last")}, max_steps=1, learning_rate=0.0)
    a, b = (load_file(f / "trained.safetensors") for f in (first, second))
    assert a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
