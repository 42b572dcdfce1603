"""20 steps of training equal a plain PyTorch + peft loop: losses, gradient norms, learning rates, final tensors.

Both start from one adapter folder that peft wrote with random values. The loop below pads its batches and takes rows in the order that
include/peft/data/sampler.h promises, written down here once more.
"""

import copy
import json
import random

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from conftest import WORDS, randomise, write_rows  # noqa: E402
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

STEPS, WARMUP, RATE, DECAY, CLIP, LABELS, SEED = 20, 4, 2e-2, 0.1, 0.1, 3, 42
LENGTH = 50  # of a text: some are cut
METHODS = {
    "lora": (LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=["query", "value"]), dict(type="lora", r=4, lora_alpha=8, target_modules=["query", "value"])),
    "prompt": (PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=5), dict(type="prompt", num_virtual_tokens=5)),
    "prefix": (PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4), dict(type="prefix", num_virtual_tokens=4)),
}
SHAPES = {  # rows, batch_size, accumulation
    "one batch": (12, 12, 1),
    "one step of three": (14, 5, 3),
    "epochs with a rest": (20, 6, 1),
    "accumulation with a rest": (23, 4, 2),
}
MASK = (1 << 64) - 1


def hash_order(seed):
    """XXH3_64bits("order", seed), whose form for 4 to 8 bytes is this."""
    text = b"order"
    secret = bytes.fromhex("7c01812cf721ad1c ded46de9839097db")
    seed ^= int.from_bytes((seed & 0xFFFFFFFF).to_bytes(4, "little"), "big") << 32
    flip = (int.from_bytes(secret[:8], "little") ^ int.from_bytes(secret[8:], "little")) - seed & MASK
    h = int.from_bytes(text[-4:], "little") + (int.from_bytes(text[:4], "little") << 32) ^ flip
    h ^= (h << 49 | h >> 15) & MASK ^ (h << 24 | h >> 40) & MASK
    h = h * 0x9FB21C651E98DF25 & MASK
    h ^= (h >> 35) + len(text)
    h = h * 0x9FB21C651E98DF25 & MASK
    return h ^ h >> 28


def philox(counter, key):
    """Philox4x32-10."""
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [b >> 32 ^ counter[1] ^ key[0], b & 0xFFFFFFFF, a >> 32 ^ counter[3] ^ key[1], a & 0xFFFFFFFF]
        key = [key[0] + 0x9E3779B9 & 0xFFFFFFFF, key[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return counter


def epoch_order(rows, seed, epoch):
    name = hash_order(seed)
    words = [philox([i // 4, 0, epoch, 0], [name & 0xFFFFFFFF, name >> 32])[i % 4] for i in range(rows)]
    return sorted(range(rows), key=lambda i: (words[i], i))


def steps_of(rows, batch_size, accumulation):
    """The first STEPS optimiser steps, each a list of micro-batches of row numbers."""
    steps = []
    for epoch in range(STEPS):
        order = epoch_order(rows, SEED, epoch)
        batches = [order[i : i + batch_size] for i in range(0, rows, batch_size)]
        steps += [batches[i : i + accumulation] for i in range(0, len(batches), accumulation)]
    return steps[:STEPS]


def make_rows(seed, count):
    rng = random.Random(seed)
    return [{"text": " ".join(rng.choices(WORDS, k=rng.randint(1, 20))), "label": f"class{rng.randrange(LABELS)}"} for _ in range(count)]


def optimizer_of(model, rate=RATE):
    """The trained parameters, AdamW with decay of those that are no vectors, and a linear schedule."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if p.ndim >= 2], "weight_decay": DECAY}, {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    return trained, optimizer, schedule


def train_with_peft(model, folder, rows, steps, rate=RATE):
    """The loop that everyone writes. Returns lines as our log has them."""
    model.train()
    trained, optimizer, schedule = optimizer_of(model, rate)
    lines = []
    for step, micro_batches in enumerate(steps):
        total, examples = 0.0, sum(map(len, micro_batches))
        optimizer.zero_grad()
        for batch in micro_batches:
            labels = torch.tensor([int(rows[i]["label"][-1]) for i in batch])
            logits = model(**folder.batch([rows[i] for i in batch], LENGTH)).logits
            loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum") / examples
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(trained, CLIP).item()
        lines.append({"step": step + 1, "loss": total, "grad_norm": norm, "learning_rate": schedule.get_last_lr()[0]})
        optimizer.step()
        schedule.step()
    return lines


def assert_same_training(tmp_path, expected, model, idle=None):
    """The log of run/ has these (loss, gradient norm), and its last adapter is that of `model`. A tensor `idle` moves all outputs of a softmax alike: its
    gradient is rounding."""
    ours = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    ours = [line for line in ours if "loss" in line]
    assert len(ours) == len(expected) == STEPS
    for line, (loss, norm) in zip(ours, expected):
        assert line["loss"] == pytest.approx(loss, rel=1e-4), line["step"]
        assert line["grad_norm"] == pytest.approx(norm, rel=1e-3), line["step"]
    model.save_pretrained(tmp_path / "theirs")
    mine, theirs = (load_file(f / "adapter_model.safetensors") for f in (tmp_path / "run" / "last", tmp_path / "theirs"))
    assert sorted(mine) == sorted(theirs)
    for tensor, value in theirs.items():
        if idle is None or not tensor.endswith(idle):
            assert (mine[tensor] - value).abs().max() <= 1e-3 * value.abs().max(), tensor


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", METHODS)
def test_training_equals_a_plain_peft_loop(make_bert, succeed, tmp_path, name, shape):
    theirs_config, ours_config = METHODS[name]
    count, batch_size, accumulation = SHAPES[shape]
    seed = 700 + 10 * list(METHODS).index(name) + list(SHAPES).index(shape)
    folder = make_bert(seed, LABELS, max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = get_peft_model(folder.model(num_labels=LABELS), copy.deepcopy(theirs_config))
    randomise(torch.nn.ParameterList(p for p in model.parameters() if p.requires_grad), seed)
    model.save_pretrained(tmp_path / "start")
    rows = make_rows(seed, count)
    write_rows(tmp_path / "train.jsonl", rows)
    config = {
        "model": {"path": str(folder.path), "dropout": 0},
        "task": {"name": "classification", "data": str(tmp_path), "max_length": LENGTH},
        "data": {"labels": [f"class{i}" for i in range(LABELS)]},
        "method": ours_config | {"init_from": str(tmp_path / "start")},
        "train": {
            "max_steps": STEPS, "batch_size": batch_size, "gradient_accumulation_steps": accumulation, "learning_rate": RATE,
            "lr_scheduler_type": "linear", "warmup_steps": WARMUP, "weight_decay": DECAY, "max_grad_norm": CLIP, "seed": SEED,
            "logging_steps": 1, "device": "cpu",
        },
        "output": str(tmp_path / "run"),
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    succeed("peft-train", "--config", tmp_path / "config.json")

    expected = train_with_peft(model, folder, rows, steps_of(count, batch_size, accumulation))
    ours = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    ours = [line for line in ours if "loss" in line]
    assert [line["step"] for line in ours] == [line["step"] for line in expected]
    for mine, theirs in zip(ours, expected):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4), mine["step"]
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3), mine["step"]
        assert mine["learning_rate"] == pytest.approx(theirs["learning_rate"], rel=1e-12), mine["step"]
    losses = [line["loss"] for line in expected]
    assert max(losses) > 1.05 * min(losses) and max(line["grad_norm"] for line in expected) > CLIP  # or it would tell little

    model.save_pretrained(tmp_path / "theirs")
    mine, theirs = (load_file(f / "adapter_model.safetensors") for f in (tmp_path / "run" / "last", tmp_path / "theirs"))
    before = load_file(tmp_path / "start" / "adapter_model.safetensors")
    assert sorted(mine) == sorted(theirs)
    for tensor, value in theirs.items():
        assert (value - before[tensor]).abs().max() > 1e-3
        assert (mine[tensor] - value).abs().max() <= 1e-3 * value.abs().max(), tensor
