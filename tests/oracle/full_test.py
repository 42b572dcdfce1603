"""20 steps of full fine-tuning equal a plain PyTorch loop on transformers' model: losses, norms, and every tensor of the folder."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from conftest import write_rows  # noqa: E402
from loss_curve_test import CLIP, DECAY, LABELS, LENGTH, RATE, SEED, STEPS, WARMUP, make_rows, steps_of, train_with_peft  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

ROWS, BATCH = 20, 6
FROZEN = {
    "everything": ({}, ()),
    "no tables": ({"train_embeddings": False}, ("word_embeddings", "position_embeddings", "token_type_embeddings")),
    "upper half": ({"exclude_modules": ["embeddings", "layer.0"]}, ("embeddings.", "layer.0.")),
}


@pytest.mark.parametrize("name", FROZEN)
def test_full_fine_tuning_equals_plain_torch(make_bert, succeed, tmp_path, name):
    keys, frozen = FROZEN[name]
    folder = make_bert(760, LABELS, max_position_embeddings=64, num_hidden_layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = folder.model()
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(part in parameter_name for part in frozen))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    rows = make_rows(760, ROWS)
    write_rows(tmp_path / "train.jsonl", rows)
    config = {
        "model": {"path": str(folder.path), "dropout": 0},
        "task": {"name": "classification", "data": str(tmp_path), "max_length": LENGTH},
        "data": {"labels": [f"class{i}" for i in range(LABELS)]},
        "method": {"type": "full"} | keys,
        "train": {
            "max_steps": STEPS, "batch_size": BATCH, "learning_rate": RATE / 10, "lr_scheduler_type": "linear", "warmup_steps": WARMUP,
            "weight_decay": DECAY, "max_grad_norm": CLIP, "seed": SEED, "logging_steps": 1, "device": "cpu",
        },
        "output": str(tmp_path / "run"),
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    succeed("peft-train", "--config", tmp_path / "config.json")

    expected = train_with_peft(model, folder, rows, steps_of(ROWS, BATCH, 1), rate=RATE / 10)
    ours = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for mine, theirs in zip([line for line in ours if "loss" in line], expected, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4), mine["step"]
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3), mine["step"]
    written = load_file(tmp_path / "run" / "last" / "model.safetensors")
    assert sorted(written) == sorted(before)
    for tensor, value in model.named_parameters():
        if any(part in tensor for part in frozen):
            assert torch.equal(written[tensor], before[tensor]), tensor
        elif "self.key.bias" not in tensor:  # its gradient is zero but for rounding, of which AdamW makes whole steps
            assert not torch.equal(written[tensor], before[tensor]), tensor
            assert (written[tensor] - value).abs().max() <= 1e-3 * value.abs().max(), tensor
