"""Metrics of tags against seqeval on random sequences of marks and types, and squad_v2_f1 against the official script's rule."""

import random
import warnings

import numpy as np
import pytest
from score_many import draws, interval, score
from text_metrics_test import case, normalize_answer, squad_f1

seqeval = pytest.importorskip("seqeval.metrics")

SCHEMES = {
    "BIO": ["O", "B-A", "I-A", "B-B", "I-B"],
    "BIOES": ["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B"],
    "types with hyphens": ["O", "B-a-b", "I-a-b", "B-a-c", "I-a-c"],
    "without types": ["O", "B", "I"],
    "parts of speech": ["NOUN", "VERB", "ADJ", "PUNCT"],
}


def sentences(rng, tags):
    """Wanted and predicted tags; a prediction is mostly right."""
    wanted = [[rng.choice(tags) for _ in range(rng.randint(1, 12))] for _ in range(rng.randint(1, 6))]
    return [[t if rng.random() < 0.7 else rng.choice(tags) for t in tags_] for tags_ in wanted], wanted


@pytest.mark.parametrize("scheme", SCHEMES)
def test_equal_seqeval(tmp_path, scheme):
    rng = random.Random(scheme)
    for _ in range(120):
        predicted, wanted = sentences(rng, SCHEMES[scheme])
        got = score(tmp_path, "entity_f1,entity_precision,entity_recall,tag_accuracy", predicted, wanted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert got["entity_f1"] == pytest.approx(seqeval.f1_score(wanted, predicted), abs=1e-12), (wanted, predicted)
            assert got["entity_precision"] == pytest.approx(seqeval.precision_score(wanted, predicted), abs=1e-12)
            assert got["entity_recall"] == pytest.approx(seqeval.recall_score(wanted, predicted), abs=1e-12)
            assert got["tag_accuracy"] == pytest.approx(seqeval.accuracy_score(wanted, predicted), abs=1e-12)


def test_bootstrap_draws_sentences(tmp_path):
    rng = random.Random(5)
    predicted, wanted = [], []
    for _ in range(8):
        p, w = sentences(rng, SCHEMES["BIO"])
        predicted, wanted = predicted + p, wanted + w
    got = score(tmp_path, "entity_f1", predicted, wanted, "--bootstrap", 60, "--bootstrap-seed", 3)
    n = len(wanted)
    scores = [seqeval.f1_score([wanted[i] for i in units], [predicted[i] for i in units]) for units in (draws(3, b, n) for b in range(60))]
    assert got["ci95"]["entity_f1"] == pytest.approx(interval(scores), abs=1e-12)


def test_no_entity_is_undefined_and_no_prediction_is_outside(tmp_path):
    got = score(tmp_path, "entity_f1,entity_precision,entity_recall,tag_accuracy", [["O", "O"]], [["O", "O"]])
    assert got["undefined"] == ["entity_f1", "entity_precision", "entity_recall"] and got["tag_accuracy"] == 1
    got = score(tmp_path, "entity_f1,tag_accuracy", [None, ["B-A"]], [["B-A", "O"], ["B-A"]])
    assert got["entity_f1"] == pytest.approx(2 / 3) and got["tag_accuracy"] == pytest.approx(2 / 3) and got["invalid"] == 1


def test_squad_v2_f1_lets_two_empty_texts_agree(tmp_path):
    rng = random.Random(2)
    for _ in range(120):
        predictions, references = case(rng)
        references = [[""] if rng.random() < 0.3 else r for r in references]
        predictions = ["" if rng.random() < 0.3 else p for p in predictions]

        def f1(prediction, reference):
            if not normalize_answer(prediction) or not normalize_answer(reference):
                return float(normalize_answer(prediction) == normalize_answer(reference))
            return squad_f1(prediction, reference)

        got = score(tmp_path, "squad_v2_f1", predictions, references)
        expected = np.mean([max(f1(p, r) for r in rs) for p, rs in zip(predictions, references)])
        assert got["squad_v2_f1"] == pytest.approx(expected, abs=1e-12), (predictions, references)
