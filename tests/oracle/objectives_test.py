"""Multi-label and multiple-choice tasks against transformers: losses, predictions, scores and 12 steps of training."""

import copy
import json
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
metrics = pytest.importorskip("sklearn.metrics")

from conftest import WORDS, randomise, write_rows  # noqa: E402
from loss_curve_test import CLIP, DECAY, RATE, SEED, STEPS, WARMUP, assert_same_training, optimizer_of, steps_of  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402

LABELS = [f"class{i}" for i in range(4)]
LENGTH = 40  # of a text: some are cut


def some_words(rng, most):
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))


def multi_label_rows(rng, count):
    return [{"text": some_words(rng, 20), "label": sorted(rng.sample(LABELS, rng.randint(0, 4)))} for _ in range(count)]


def choice_rows(rng, count):
    rows = []
    for _ in range(count):
        choices = [some_words(rng, 9) for _ in range(rng.randint(2, 5))]
        rows.append({"text": some_words(rng, 20), "choices": choices, "label": rng.randrange(len(choices))})
    return rows


class MultiLabel:
    task, make_rows, labels, cls = "multi_label", staticmethod(multi_label_rows), 4, transformers.BertForSequenceClassification
    options = {"problem_type": "multi_label_classification"}

    @staticmethod
    def answer(model, folder, rows):
        """Logits of each row, and the model's own loss."""
        held = torch.tensor([[float(name in row["label"]) for name in LABELS] for row in rows])
        out = model(**folder.batch([{"text": row["text"]} for row in rows], LENGTH), labels=held)
        return list(out.logits), out.loss


class Choice:
    task, make_rows, labels, cls = "multiple_choice", staticmethod(choice_rows), 1, transformers.BertForMultipleChoice
    options = {}

    @staticmethod
    def answer(model, folder, rows):
        """One row at a time: transformers wants as many choices in each."""
        scores, losses = [], []
        for row in rows:
            batch = folder.batch([{"text": row["text"], "text_pair": choice} for choice in row["choices"]], LENGTH)
            out = model(**{k: v[None] for k, v in batch.items()}, labels=torch.tensor([row["label"]]))
            scores.append(out.logits[0])
            losses.append(out.loss)
        return scores, torch.stack(losses).mean()


KINDS = {"multi_label": MultiLabel, "choice": Choice}


def peft_model(folder, kind, seed):
    options = dict(num_labels=kind.labels, ignore_mismatched_sizes=True) if kind is MultiLabel else {}
    base = folder.model(kind.cls, **options, **kind.options)
    config = LoraConfig(task_type="SEQ_CLS" if kind is MultiLabel else None, r=4, lora_alpha=8, target_modules=["query", "value"], modules_to_save=["classifier"])
    model = get_peft_model(base, copy.deepcopy(config))
    randomise(torch.nn.ParameterList(p for p in model.parameters() if p.requires_grad), seed)
    return model.eval()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", KINDS)
def test_evaluation_equals_transformers(make_bert, succeed, tmp_path, name, seed):
    kind = KINDS[name]
    folder = make_bert(800 + seed, kind.labels, max_position_embeddings=64)
    model = peft_model(folder, kind, seed)
    model.save_pretrained(tmp_path / "adapter")
    rows = kind.make_rows(random.Random(seed), 40)
    (tmp_path / "task").mkdir()
    write_rows(tmp_path / "task" / "dev.jsonl", rows)
    write_rows(tmp_path / "task" / "train.jsonl", rows)
    report = json.loads(succeed(
        "peft-eval", "--adapter", tmp_path / "adapter", "--model", folder.path, "--task", kind.task, "--data", tmp_path / "task",
        "--max-length", LENGTH, "--predictions", tmp_path / "p.jsonl", "--bootstrap", 20,
    ))  # fmt: skip
    with torch.no_grad():
        logits, loss = kind.answer(model, folder, rows)
    assert report["loss"] == pytest.approx(loss.item(), rel=1e-5) and report["n"] == 40
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    for line, row, expected in zip(lines, rows, logits, strict=True):
        assert torch.allclose(torch.tensor(line["scores"]), expected, atol=1e-5 * expected.abs().max().item())
        assert line["reference"] == row["label"]
    if kind is MultiLabel:
        predicted = np.array([(scores > 0).int().tolist() for scores in logits])
        truth = np.array([[int(name in row["label"]) for name in LABELS] for row in rows])
        assert [line["prediction"] for line in lines] == [[LABELS[n] for n in np.flatnonzero(p)] for p in predicted]
        assert report["micro_f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="micro"), abs=1e-12)
        assert report["macro_f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro", zero_division=0), abs=1e-12)
        assert report["subset_accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted), abs=1e-12)
    else:
        assert [line["prediction"] for line in lines] == [int(scores.argmax()) for scores in logits]
        assert report["accuracy"] == pytest.approx(np.mean([line["prediction"] == row["label"] for line, row in zip(lines, rows)]))


@pytest.mark.parametrize("shape", [(12, 12, 1), (23, 4, 2)])
@pytest.mark.parametrize("name", KINDS)
def test_training_equals_a_plain_peft_loop(make_bert, succeed, tmp_path, name, shape):
    kind, (count, batch_size, accumulation) = KINDS[name], shape
    folder = make_bert(850 + count, kind.labels, max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = peft_model(folder, kind, count)
    model.save_pretrained(tmp_path / "start")
    rows = kind.make_rows(random.Random(count), count)
    write_rows(tmp_path / "train.jsonl", rows)
    config = {
        "model": {"path": str(folder.path), "dropout": 0},
        "task": {"name": kind.task, "data": str(tmp_path), "max_length": LENGTH},
        "data": {"labels": LABELS} if kind is MultiLabel else {},
        "method": {"type": "lora", "r": 4, "lora_alpha": 8, "target_modules": ["query", "value"], "init_from": str(tmp_path / "start")},
        "train": {
            "max_steps": STEPS, "batch_size": batch_size, "gradient_accumulation_steps": accumulation, "learning_rate": RATE,
            "lr_scheduler_type": "linear", "warmup_steps": WARMUP, "weight_decay": DECAY, "max_grad_norm": CLIP, "seed": SEED,
            "logging_steps": 1, "device": "cpu",
        },
        "output": str(tmp_path / "run"),
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    succeed("peft-train", "--config", tmp_path / "config.json")

    trained, optimizer, schedule = optimizer_of(model)
    expected = []
    for micro_batches in steps_of(count, batch_size, accumulation):
        total, examples = 0.0, sum(map(len, micro_batches))
        optimizer.zero_grad()
        for batch in micro_batches:
            loss = kind.answer(model, folder, [rows[i] for i in batch])[1] * len(batch) / examples
            loss.backward()
            total += loss.item()
        expected.append((total, torch.nn.utils.clip_grad_norm_(trained, CLIP).item()))
        optimizer.step()
        schedule.step()
    assert_same_training(tmp_path, expected, model, idle="classifier.bias" if kind is Choice else None)
