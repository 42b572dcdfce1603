"""Token classification and question answering against transformers and peft: tokens and windows, logits, losses, predictions, 12 steps of training,
and adapters that both sides read."""

import copy
import json
import random

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from conftest import WORDS, randomise, write_rows  # noqa: E402
from loss_curve_test import CLIP, DECAY, RATE, SEED, STEPS, WARMUP, assert_same_training, optimizer_of, steps_of  # noqa: E402
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

TAGS = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]  # in the order of their bytes, as our programs count them
ODD = ["U.S.", "don't", "Zürich", "電影", "e-mail", "1,234.5", "(", "x" * 30, "¿", "[MASK]"]
IGNORED = -100
LENGTH, STRIDE = 34, 6  # some sentences are cut, most texts have several windows
BEST, LONGEST = 20, 30


def words_of(rng, least, most):
    return [rng.choice(WORDS if rng.random() < 0.8 else ODD) for _ in range(rng.randint(least, most))]


class Tags:
    task, peft_type, outputs = "token_classification", "TOKEN_CLS", len(TAGS)
    cls = transformers.BertForTokenClassification
    options, set = {}, []

    @staticmethod
    def rows(rng, count):
        sentences = [words_of(rng, 1, 14) for _ in range(count)]
        return [{"tokens": tokens, "tags": [rng.choice(TAGS) for _ in tokens]} for tokens in sentences]

    @staticmethod
    def features(tokenizer, rows):
        """As transformers' example for token classification: the label of a word stands at its first token."""
        features = []
        for row in rows:
            encoded = tokenizer(row["tokens"], is_split_into_words=True, truncation=True, max_length=LENGTH)
            seen, labels = None, []
            for word in encoded.word_ids():
                labels.append(IGNORED if word is None or word == seen else TAGS.index(row["tags"][word]))
                seen = word
            features.append([dict(encoded, labels=labels)])
        return features

    @staticmethod
    def weight(features):
        """Of an example in a mean loss."""
        return sum(label != IGNORED for label in features[0]["labels"])

    @staticmethod
    def read(out, feature):
        """The rows of logits that count."""
        return out.logits[0][[label != IGNORED for label in feature["labels"]]]


class Spans:
    task, peft_type, outputs = "span", "QUESTION_ANS", 2
    cls = transformers.BertForQuestionAnswering
    options = {"doc_stride": STRIDE}
    set = ["--set", f"task.doc_stride={STRIDE}"]

    @staticmethod
    def rows(rng, count):
        rows = []
        for i in range(count):
            context = " ".join(words_of(rng, 8, 60))
            start = rng.randrange(len(context))
            answer = context[start : start + rng.randint(1, 20)].strip() or context[:3]
            start = context.index(answer)
            texts, starts = [answer] * rng.randint(1, 2), [start] * 2
            rows.append({"id": f"q{i}", "question": " ".join(words_of(rng, 1, 6)), "context": context, "answers": {"text": texts, "answer_start": starts[: len(texts)]}})
        return rows

    @staticmethod
    def features(tokenizer, rows):
        """As transformers' example for question answering."""
        all_features = []
        for row in rows:
            encoded = tokenizer(row["question"], row["context"], truncation="only_second", max_length=LENGTH, stride=STRIDE, return_overflowing_tokens=True, return_offsets_mapping=True, return_token_type_ids=True)
            features = []
            for w, ids in enumerate(encoded["input_ids"]):
                offsets, sequence = encoded["offset_mapping"][w], encoded.sequence_ids(w)
                feature = {"input_ids": ids, "token_type_ids": encoded["token_type_ids"][w], "attention_mask": [1] * len(ids)}
                feature["offsets"] = [o if s == 1 else None for o, s in zip(offsets, sequence)]
                start, end = row["answers"]["answer_start"][0], row["answers"]["answer_start"][0] + len(row["answers"]["text"][0])
                first, last = sequence.index(1), len(ids) - 1
                while sequence[last] != 1:
                    last -= 1
                if not (offsets[first][0] <= start and offsets[last][1] >= end):
                    feature["start_positions"] = feature["end_positions"] = 0
                else:
                    while first < len(offsets) and offsets[first][0] <= start and sequence[first] == 1:
                        first += 1
                    while offsets[last][1] >= end and sequence[last] == 1:
                        last -= 1
                    feature["start_positions"], feature["end_positions"] = first - 1, last + 1
                features.append(feature)
            all_features.append(features)
        return all_features

    @staticmethod
    def weight(features):
        return len(features)

    @staticmethod
    def read(out, feature):
        return torch.stack([out.start_logits[0], out.end_logits[0]], dim=1)


KINDS = {"tags": Tags, "spans": Spans}


def tokenizer_of(folder):
    return transformers.AutoTokenizer.from_pretrained(folder.path)


def stride_fits(tokenizer, rows):
    """Questions that leave a window of more than twice the stride, as transformers wants more than once."""
    return [row for row in rows if LENGTH - len(tokenizer(row["question"]).input_ids) - 1 >= 2 * STRIDE]


def make_rows(kind, tokenizer, rng, count):
    rows = kind.rows(rng, count if kind is Tags else 3 * count)
    return (rows if kind is Tags else stride_fits(tokenizer, rows))[:count]


def call(kind, model, batch):
    """PeftModelForQuestionAnswering drops token_type_ids, so it is passed by."""
    if kind is Tags or not isinstance(model, PeftModel):
        return model(**batch)
    if not model.active_peft_config.is_prompt_learning:
        return model.base_model(**batch)
    virtual = torch.ones(1, model.active_peft_config.num_virtual_tokens, dtype=torch.long)
    batch["attention_mask"] = torch.cat([virtual, batch["attention_mask"]], 1)
    return model._prefix_tuning_forward(**batch, return_dict=True)


def outputs(kind, model, features):
    """Loss sum of an example, weighted as in a mean over words or windows, and the rows of logits of its features."""
    loss, logits = 0.0, []
    for feature in features:
        batch = {k: torch.tensor([v]) for k, v in feature.items() if k != "offsets"}
        out = call(kind, model, batch)
        weight = kind.weight([feature]) if kind is Tags else 1
        loss = loss + (out.loss * weight if weight else 0.0)
        logits.append(kind.read(out, feature))
    return loss, logits


def best_answer(row, features, logits, may_be_none):
    """As postprocess_qa_predictions of transformers' example."""
    candidates, none = [], None
    for feature, scores in zip(features, logits):
        start, end, offsets = scores[:, 0].tolist(), scores[:, 1].tolist(), feature["offsets"]
        none = start[0] + end[0] if none is None else min(none, start[0] + end[0])
        order = lambda values: sorted(range(len(values)), key=lambda i: -values[i])[:BEST]  # noqa: E731
        for first in order(start):
            for last in order(end):
                if offsets[first] is None or offsets[last] is None or not 0 <= last - first < LONGEST:
                    continue
                candidates.append((start[first] + end[last], row["context"][offsets[first][0] : offsets[last][1]]))
    best = max(candidates)
    return "" if may_be_none and none > best[0] else best[1]


def peft_model(folder, kind, seed, method="lora"):
    base = folder.model(kind.cls, num_labels=kind.outputs, ignore_mismatched_sizes=True)
    if method == "lora":
        config = LoraConfig(task_type=kind.peft_type, r=4, lora_alpha=8, target_modules=["query", "value"])
    else:
        config = PrefixTuningConfig(task_type=kind.peft_type, num_virtual_tokens=3)
    model = get_peft_model(base, copy.deepcopy(config))
    randomise(torch.nn.ParameterList(p for p in model.parameters() if p.requires_grad), seed)
    return model.eval()


def write_task(folder, rows):
    folder.mkdir(exist_ok=True)
    for split in ("train", "dev"):
        write_rows(folder / f"{split}.jsonl", rows)
    return folder


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("method", ["lora", "prefix"])
@pytest.mark.parametrize("name", KINDS)
def test_evaluation_equals_transformers(make_bert, succeed, tmp_path, name, method, seed):
    kind = KINDS[name]
    folder = make_bert(900 + seed, kind.outputs, cls=kind.cls, max_position_embeddings=64)
    tokenizer = tokenizer_of(folder)
    model = peft_model(folder, kind, seed, method)
    model.save_pretrained(tmp_path / "adapter")
    rows = make_rows(kind, tokenizer, random.Random(seed), 20)
    report = json.loads(succeed(
        "peft-eval", "--adapter", tmp_path / "adapter", "--model", folder.path, "--task", kind.task, "--data", write_task(tmp_path / "task", rows),
        "--max-length", LENGTH, *kind.set,
        "--predictions", tmp_path / "p.jsonl", "--logits", tmp_path / "logits.safetensors", "--bootstrap", 10,
    ))  # fmt: skip
    features = kind.features(tokenizer, rows)
    with torch.no_grad():
        answers = [outputs(kind, model, example) for example in features]
    weights = sum(map(kind.weight, features))
    assert report["loss"] == pytest.approx(float(sum(loss for loss, _ in answers)) / weights, rel=2e-5)
    theirs = torch.cat([rows for _, logits in answers for rows in logits])
    ours = load_file(tmp_path / "logits.safetensors")["logits"]
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    if kind is Tags:
        seqeval = pytest.importorskip("seqeval.metrics")
        predicted = []
        for row, (_, logits) in zip(rows, answers):
            found = [TAGS[n] for n in logits[0].argmax(1)]
            predicted.append(found + [None] * (len(row["tokens"]) - len(found)))  # words that were cut off
        assert [line["prediction"] for line in lines] == predicted
        assert any(None in tags for tags in predicted)
        known = [[tag or "O" for tag in tags] for tags in predicted]
        wanted = [row["tags"] for row in rows]
        assert report["entity_f1"] == pytest.approx(seqeval.f1_score(wanted, known), abs=1e-12)
        assert report["tag_accuracy"] == pytest.approx(seqeval.accuracy_score(wanted, known), abs=1e-12)
    else:
        assert max(map(len, features)) > 2
        for line, row, example, (_, logits) in zip(lines, rows, features, answers):
            assert line["prediction"] == best_answer(row, example, logits, may_be_none=False)
            assert line["reference"] == row["answers"]["text"] and line["id"] == row["id"]


@pytest.mark.parametrize("shape", [(12, 12, 1), (23, 4, 2)])
@pytest.mark.parametrize("name", KINDS)
def test_training_equals_a_plain_peft_loop(make_bert, succeed, tmp_path, name, shape):
    kind, (count, batch_size, accumulation) = KINDS[name], shape
    folder = make_bert(950 + count, kind.outputs, cls=kind.cls, max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    tokenizer = tokenizer_of(folder)
    model = peft_model(folder, kind, count)
    model.save_pretrained(tmp_path / "start")
    rows = make_rows(kind, tokenizer, random.Random(count), count)
    assert len(rows) == count
    config = {
        "model": {"path": str(folder.path), "dropout": 0},
        "task": {"name": kind.task, "data": str(write_task(tmp_path / "task", rows)), "max_length": LENGTH, **kind.options},
        "data": {"labels": TAGS} if kind is Tags else {},
        "method": {"type": "lora", "r": 4, "lora_alpha": 8, "target_modules": ["query", "value"], "init_from": str(tmp_path / "start")},
        "train": {
            "max_steps": STEPS, "batch_size": batch_size, "gradient_accumulation_steps": accumulation, "learning_rate": RATE,
            "lr_scheduler_type": "linear", "warmup_steps": WARMUP, "weight_decay": DECAY, "max_grad_norm": CLIP, "seed": SEED,
            "logging_steps": 1, "device": "cpu", "eval_steps": 0,
        },
        "output": str(tmp_path / "run"),
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    succeed("peft-train", "--config", tmp_path / "config.json")

    features = kind.features(tokenizer, rows)
    trained, optimizer, schedule = optimizer_of(model)
    expected = []
    for micro_batches in steps_of(count, batch_size, accumulation):
        numbers = [i for batch in micro_batches for i in batch]
        weights = sum(kind.weight(features[i]) for i in numbers)
        optimizer.zero_grad()
        loss = sum(outputs(kind, model, features[i])[0] for i in numbers) / weights
        loss.backward()
        expected.append((loss.item(), torch.nn.utils.clip_grad_norm_(trained, CLIP).item()))
        optimizer.step()
        schedule.step()
    assert_same_training(tmp_path, expected, model, idle="qa_outputs.bias" if kind is Spans else None)
    # peft takes our folder for its own.
    base = folder.model(kind.cls, num_labels=kind.outputs, ignore_mismatched_sizes=True)
    loaded = PeftModel.from_pretrained(base, tmp_path / "run" / "last").eval()
    with torch.no_grad():
        again, before = (torch.cat(outputs(kind, m, features[0])[1]) for m in (loaded, model.eval()))
    if kind is Spans:  # but for the bias
        again, before = again - again.mean(0), before - before.mean(0)
    assert (again - before).abs().max() <= 1e-3 * before.abs().max()


MODELS = {
    "bert": (transformers.BertConfig, dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=2, intermediate_size=37)),
    "distilbert": (transformers.DistilBertConfig, dict(dim=32, n_heads=4, n_layers=2, hidden_dim=37)),
    "mpnet": (transformers.MPNetConfig, dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=2, intermediate_size=37)),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("family", MODELS)
def test_whole_models_of_other_families(succeed, tmp_path, make_bert, family, name):
    """The checkpoint's own head, without an adapter."""
    kind, (config_type, shape) = KINDS[name], MODELS[family]
    cls = getattr(transformers, {"bert": "Bert", "distilbert": "DistilBert", "mpnet": "MPNet"}[family] + kind.cls.__name__.removeprefix("Bert"))
    bert = make_bert(31, 2, name="bert")
    tokenizer = tokenizer_of(bert)
    model = cls(config_type(vocab_size=bert.tokenizer.get_vocab_size(), max_position_embeddings=70, num_labels=kind.outputs, id2label=dict(enumerate(TAGS)) if kind is Tags else None, **shape))
    randomise(model, 4)
    model.eval().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = make_rows(kind, tokenizer, random.Random(8), 20)
    report = json.loads(succeed(
        "peft-eval", "--adapter", tmp_path / "model", "--task", kind.task, "--data", write_task(tmp_path / "task", rows), "--max-length", LENGTH, *kind.set,
        "--logits", tmp_path / "logits.safetensors", "--bootstrap", 0,
    ))  # fmt: skip
    assert report["n"] == len(rows)
    features = kind.features(tokenizer, rows)
    with torch.no_grad():
        theirs = torch.cat([
            rows for example in features for rows in outputs(kind, model if family == "bert" else lambda token_type_ids=None, **b: model(**b), example)[1]
        ])  # fmt: skip
    ours = load_file(tmp_path / "logits.safetensors")["logits"]
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()

