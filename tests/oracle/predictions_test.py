"""peft-predict against transformers and peft on a thousand texts: the same labels, the same probabilities."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from conftest import random_rows, randomise, write_rows  # noqa: E402
from peft import LoraConfig, PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model  # noqa: E402

COUNT, LONGEST, TOLERANCE = 1000, 24, 1e-4
NAMES = ["left", "middle", "right"]
CONFIGS = {
    "lora": LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"]),
    "prefix": PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=5),
    "prompt": PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4),
    "p_tuning": PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=4, encoder_hidden_size=16),
}


def write_adapter(folder, target, config, labels, seed):
    model = get_peft_model(folder.model(num_labels=labels, ignore_mismatched_sizes=True), config)
    randomise(torch.nn.ParameterList(p for p in model.parameters() if p.requires_grad), seed)
    model.save_pretrained(target)
    return target


def their_logits(folder, adapter, rows, labels):
    """In batches of 50, padded."""
    model = PeftModel.from_pretrained(folder.model(num_labels=labels, ignore_mismatched_sizes=True), adapter).eval()
    return torch.cat([folder.logits(model, rows[i : i + 50], max_length=LONGEST) for i in range(0, len(rows), 50)])


@pytest.fixture
def thousand(tmp_path):
    rows = random_rows(11, COUNT - 3, longest=100)
    assert len(rows) == COUNT
    return rows, write_rows(tmp_path / "rows.jsonl", [{"id": f"row {i}"} | row for i, row in enumerate(rows)])


def test_a_mix_of_methods_of_peft_on_a_thousand_texts(make_bert, succeed, thousand, tmp_path):
    rows, file = thousand
    folder = make_bert(810, 3, max_position_embeddings=100)
    adapters = [write_adapter(folder, tmp_path / name, config, 3, 20 + i) for i, (name, config) in enumerate(CONFIGS.items())]
    arguments = [argument for adapter in adapters for argument in ("--adapter", adapter)]
    out = succeed("peft-predict", *arguments, "--model", folder.path, "--input", file, "--max-length", LONGEST).splitlines()
    ours = [json.loads(line) for line in out]
    assert [row["id"] for row in ours] == [f"row {i}" for i in range(COUNT)]
    for adapter in adapters:
        logits = their_logits(folder, adapter, rows, 3)
        answers = [row["adapters"][str(adapter)] for row in ours]
        assert [answer["label"] for answer in answers] == [f"LABEL_{i}" for i in logits.argmax(1).tolist()]
        assert len({answer["label"] for answer in answers}) > 1
        probabilities = torch.tensor([list(answer["probabilities"].values()) for answer in answers])
        assert (probabilities - logits.softmax(1)).abs().max().item() < TOLERANCE


def test_scores_of_peft(make_bert, succeed, thousand, tmp_path):
    rows, file = thousand
    folder = make_bert(811, 1, max_position_embeddings=100)
    adapter = write_adapter(folder, tmp_path / "adapter", CONFIGS["lora"], 1, 5)
    out = succeed("peft-predict", "--adapter", adapter, "--input", file, "--max-length", LONGEST).splitlines()
    ours, theirs = torch.tensor([json.loads(line)["score"] for line in out]), their_logits(folder, adapter, rows, 1)[:, 0]
    assert (ours - theirs).abs().max().item() < TOLERANCE * max(1.0, theirs.abs().max().item())


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
def test_a_model_folder_of_transformers(make_bert, succeed, thousand, tmp_path, problem):
    rows, file = thousand
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    folder = make_bert(812, 3, max_position_embeddings=100, problem_type=problem, **names)
    out = succeed("peft-predict", "--adapter", folder.path, "--input", file, "--max-length", LONGEST).splitlines()
    logits = torch.cat([folder.logits(folder.model(), rows[i : i + 50], max_length=LONGEST) for i in range(0, COUNT, 50)])
    several = problem.startswith("multi")
    expected = logits.sigmoid() if several else logits.softmax(1)
    for line, row, row_logits in zip(map(json.loads, out), expected, logits, strict=True):
        assert list(line["probabilities"]) == NAMES
        assert list(line["probabilities"].values()) == pytest.approx(row.tolist(), abs=TOLERANCE)
        if several:
            assert line["labels"] == [name for name, logit in zip(NAMES, row_logits, strict=True) if logit > 0]
        else:
            assert line["label"] == NAMES[row_logits.argmax()]
