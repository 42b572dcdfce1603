"""peft-tool score against scikit-learn, scipy and numpy on random and awkward inputs."""

import json
import subprocess
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from score_many import BIN, draws, interval, score, score_arguments

TOOL = BIN / "peft-tool"
CASES = 250  # of each family; five families


def test_one_case_by_peft_tool_itself(tmp_path):
    case = tmp_path, "accuracy,macro_f1", [0, None, 2, 1], [0, 1, 2, 2], "--num-classes", 3, "--bootstrap", 50
    done = subprocess.run([str(TOOL), *score_arguments(*case)], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == score(*case)


def reference_scores(predictions, references, num_classes):
    """Scores by scikit-learn, with the rules of docs/tasks.md#metrics for invalid predictions (None) written out."""
    extra = num_classes  # one class more
    with_extra = [extra if p is None else p for p in predictions]
    opposite = [1 - r if p is None else p for p, r in zip(predictions, references)]
    present = sorted(set(references) | {p for p in predictions if p is not None})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "accuracy": sk.accuracy_score(references, with_extra),
            "f1": sk.f1_score(references, opposite, zero_division=0) if num_classes == 2 else None,
            "macro_f1": sk.f1_score(references, with_extra, labels=present, average="macro", zero_division=0),
            "macro_f1_all": sk.f1_score(references, with_extra, labels=list(range(num_classes)), average="macro", zero_division=0),
            "mcc": sk.matthews_corrcoef(references, with_extra),
        }


@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_class_metrics_equal_scikit_learn(tmp_path, num_classes):
    rng = np.random.default_rng(num_classes)
    for case in range(CASES):
        n = int(rng.integers(1, 40))
        # Narrow ranges give rows with one class only, absent classes and all-invalid predictions.
        high = int(rng.integers(1, num_classes + 1))
        references = rng.integers(0, high, n).tolist()
        predictions = rng.integers(0, int(rng.integers(1, num_classes + 1)), n).tolist()
        if case % 3 == 0:
            predictions = [None if rng.random() < 0.3 else p for p in predictions]
        if case % 50 == 0:
            predictions = [None] * n
        expected = reference_scores(predictions, references, num_classes)
        names = [name for name, value in expected.items() if value is not None]
        got = score(tmp_path, ",".join(names), predictions, references, "--num-classes", num_classes)
        for name in names:
            assert abs(got[name] - expected[name]) <= 1e-12, (name, predictions, references)
        assert got["n"] == n
        assert got["invalid"] == sum(p is None for p in predictions)
        one_class = len(set(references)) == 1 or len({num_classes if p is None else p for p in predictions}) == 1
        assert ("mcc" in got["undefined"]) == one_class


def test_label_strings_score_like_ids(tmp_path):
    rng = np.random.default_rng(5)
    names = ["entailment", "neutral", "contradiction", "f\u00fcnf"]
    for _ in range(20):
        references, predictions = rng.integers(0, 4, 30).tolist(), rng.integers(0, 4, 30).tolist()
        metrics = "accuracy,macro_f1,macro_f1_all,mcc"
        ids = score(tmp_path, metrics, predictions, references, "--num-classes", 4)
        strings = score(tmp_path, metrics, [names[p] for p in predictions], [names[r] for r in references], "--num-classes", 4)
        for name in metrics.split(","):
            assert abs(ids[name] - strings[name]) <= 1e-15


def test_metrics_of_sets_equal_scikit_learn(tmp_path):
    rng = np.random.default_rng(11)
    for case in range(CASES):
        n, classes = int(rng.integers(1, 30)), int(rng.integers(1, 7))
        rates = rng.random(classes) * (0 if case % 40 == 0 else 1)  # sometimes nothing is ever referenced
        truth = (rng.random((n, classes)) < rates).astype(int)
        predicted = np.where(rng.random((n, classes)) < 0.7, truth, 1 - truth)
        invalid = rng.random(n) < (0.3 if case % 3 == 0 else 0.0)
        predicted[invalid] = 0  # an invalid prediction holds no class
        sets = [None if bad else np.flatnonzero(p).tolist() for p, bad in zip(predicted, invalid)]
        references = [rng.permutation(np.flatnonzero(t)).tolist() for t in truth]
        got = score(tmp_path, "micro_f1,macro_f1,subset_accuracy", sets, references, "--num-classes", classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if classes > 1:  # scikit-learn takes one column for binary labels
                assert abs(got["micro_f1"] - sk.f1_score(truth, predicted, average="micro", zero_division=0)) <= 1e-12
                assert abs(got["macro_f1"] - sk.f1_score(truth, predicted, average="macro", zero_division=0)) <= 1e-12
            assert abs(got["subset_accuracy"] - ((predicted == truth).all(1) & ~invalid).mean()) <= 1e-12
            if classes > 1 and not invalid.any():
                assert abs(got["subset_accuracy"] - sk.accuracy_score(truth, predicted)) <= 1e-12
        assert got["n"] == n and got["invalid"] == int(invalid.sum())
        assert ("micro_f1" in got["undefined"]) == (truth.sum() + predicted.sum() == 0)


def test_sets_of_label_strings_and_their_intervals(tmp_path):
    rng = np.random.default_rng(12)
    truth = rng.integers(0, 2, (25, 3))
    predicted = np.where(rng.random((25, 3)) < 0.7, truth, 1 - truth)
    names = np.array(["b", "a", "c"])
    lists = [[names[row > 0].tolist() for row in side] for side in (predicted, truth)]
    got = score(tmp_path, "micro_f1,subset_accuracy", *lists, "--bootstrap", 100, "--bootstrap-seed", 4)
    assert abs(got["micro_f1"] - sk.f1_score(truth, predicted, average="micro")) <= 1e-12
    drawn = [draws(4, b, 25) for b in range(100)]
    right = (truth == predicted).all(1)
    assert np.allclose(got["ci95"]["subset_accuracy"], interval([right[d].mean() for d in drawn]), rtol=0, atol=1e-9)
    micro = [sk.f1_score(truth[d], predicted[d], average="micro") for d in drawn]
    assert np.allclose(got["ci95"]["micro_f1"], interval(micro), rtol=0, atol=1e-9)


def test_perplexity_is_over_all_tokens(tmp_path):
    rng = np.random.default_rng(13)
    for _ in range(50):
        n = int(rng.integers(1, 20))
        tokens, losses = rng.integers(0, 9, n), rng.exponential(5, n)
        got = score(tmp_path, "perplexity", losses.tolist(), tokens.tolist())
        if tokens.sum() == 0:
            assert got["perplexity"] == 0 and got["undefined"] == ["perplexity"]
        else:
            assert got["perplexity"] == pytest.approx(np.exp(losses.sum() / tokens.sum()), rel=1e-12)


AWKWARD = [
    lambda rng, n: rng.normal(size=n),
    lambda rng, n: rng.integers(0, 4, n).astype(float),  # ties
    lambda rng, n: 1e3 + 1e-2 * rng.normal(size=n),  # far from zero
    lambda rng, n: 1e150 * rng.normal(size=n),  # squares overflow
    lambda rng, n: 1e-200 * rng.normal(size=n),  # squares vanish
    lambda rng, n: rng.choice([-0.0, 0.0, 1.0], n),
    lambda rng, n: np.exp(8 * rng.normal(size=n)),  # one large value
]


def pearson(x, y):
    """In extended precision, after scaling: scipy itself loses 1e150 and 1e-200."""
    x, y = (np.asarray(v, dtype=np.longdouble) for v in (x, y))
    x, y = x / (np.abs(x).max() or 1), y / (np.abs(y).max() or 1)
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def test_correlations_equal_scipy(tmp_path):
    rng = np.random.default_rng(11)
    for case in range(2 * CASES):
        n = int(rng.integers(2, 60))
        x, y = (AWKWARD[int(rng.integers(len(AWKWARD)))](rng, n) for _ in range(2))
        if case % 2:
            y = y + x  # correlated where the scales allow
        got = score(tmp_path, "pearson,spearman", x.tolist(), y.tolist())
        if len(set(x.tolist())) == 1 or len(set(y.tolist())) == 1:
            assert got["undefined"] == ["pearson", "spearman"] and got["pearson"] == 0 and got["spearman"] == 0
            continue
        assert abs(got["pearson"] - pearson(x, y)) <= 1e-9
        assert abs(got["spearman"] - stats.spearmanr(x, y).statistic) <= 1e-9
        if max(np.abs(x).max(), np.abs(y).max()) < 1e100 and min(np.abs(x).max(), np.abs(y).max()) > 1e-100:
            assert abs(got["pearson"] - stats.pearsonr(x, y).statistic) <= 1e-9


def test_unreadable_number_leaves_correlations_undefined(tmp_path):
    got = score(tmp_path, "pearson,spearman", [1.0, None, 2.0], [1, 2, 3])
    assert got["undefined"] == ["pearson", "spearman"] and got["invalid"] == 1 and got["pearson"] == 0


def test_draws_have_the_documented_values():
    assert draws(42, 0, 10)[:8] == [7, 1, 2, 3, 0, 8, 2, 8]


@pytest.mark.parametrize("seed", [0, 42, 2**64 - 1])
def test_bootstrap_of_rows_is_reproduced(tmp_path, seed):
    rng = np.random.default_rng(seed % 1000)
    n, resamples = 37, 200
    references = rng.integers(0, 3, n)
    predictions = np.where(rng.random(n) < 0.7, references, rng.integers(0, 3, n))
    names = {
        "accuracy": lambda p, r: sk.accuracy_score(r, p),
        "macro_f1": lambda p, r: sk.f1_score(r, p, average="macro", zero_division=0),
        "mcc": lambda p, r: sk.matthews_corrcoef(r, p),
        "spearman": lambda p, r: stats.spearmanr(p, r).statistic,
        "pearson": lambda p, r: stats.pearsonr(p, r).statistic,
    }
    got = score(tmp_path, ",".join(names), predictions.tolist(), references.tolist(),
                "--bootstrap", resamples, "--bootstrap-seed", seed)
    for name, metric in names.items():
        values = [metric(predictions[d], references[d]) for d in (draws(seed, b, n) for b in range(resamples))]
        assert np.allclose(got["ci95"][name], interval(values), rtol=0, atol=1e-9), name


def test_undefined_resamples_count_as_zero(tmp_path):
    predictions, references = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
    values = []
    for b in range(300):
        d = draws(1, b, 3)
        values.append(0.0 if len(set(d)) == 1 else stats.pearsonr(predictions[d], references[d]).statistic)
    got = score(tmp_path, "pearson", predictions.tolist(), references.tolist(), "--bootstrap", 300, "--bootstrap-seed", 1)
    assert np.allclose(got["ci95"]["pearson"], interval(values), rtol=0, atol=1e-9)


def test_grouped_metrics_resample_whole_groups(tmp_path):
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(12), rng.integers(1, 5, 12))
    names = [f"q{g}" for g in groups]
    references = rng.integers(0, 2, len(groups))
    predictions = np.where(rng.random(len(groups)) < 0.8, references, 1 - references)
    rows = [np.flatnonzero(groups == g) for g in range(12)]
    all_right = np.array([float((predictions[r] == references[r]).all()) for r in rows])
    inside = np.array([sk.f1_score(references[r], predictions[r], average="macro", zero_division=0) for r in rows])
    drawn = [draws(9, b, 12) for b in range(200)]
    f1a = [sk.f1_score(*(np.concatenate([side[rows[g]] for g in d]) for side in (references, predictions)), zero_division=0)
           for d in drawn]
    got = score(tmp_path, "multirc_f1a,multirc_em,multirc_f1m", predictions.tolist(), references.tolist(),
                "--bootstrap", 200, "--bootstrap-seed", 9, groups=names)
    assert abs(got["multirc_em"] - all_right.mean()) <= 1e-12
    assert abs(got["multirc_f1m"] - inside.mean()) <= 1e-12
    assert abs(got["multirc_f1a"] - sk.f1_score(references, predictions)) <= 1e-12
    assert np.allclose(got["ci95"]["multirc_em"], interval([all_right[d].mean() for d in drawn]), rtol=0, atol=1e-9)
    assert np.allclose(got["ci95"]["multirc_f1m"], interval([inside[d].mean() for d in drawn]), rtol=0, atol=1e-9)
    assert np.allclose(got["ci95"]["multirc_f1a"], interval(f1a), rtol=0, atol=1e-9)


@pytest.mark.parametrize("bad, message, code", [
    ('1\nNaN\n', "predictions:2:", 3), ('1\n\n1\n', "predictions:2:", 3), ('1\n1.5\n', "predictions:2:", 3),
    ('1\n-2\n', "predictions:2:", 3), ('1\ntrue\n', "predictions:2:", 3), ('1\n[1]\n', "predictions:2:", 3),
    ('1\n2\n', "predictions:2:", 3), ('1\n', "1 lines, expected 2", 3), ('', "no lines", 3), ('1\n1 1\n', "predictions:2:", 3),
])
def test_bad_lines_name_file_and_line(tmp_path, bad, message, code):
    (tmp_path / "predictions").write_text(bad)
    (tmp_path / "references").write_text("0\n1\n")
    done = subprocess.run([str(TOOL), "score", "--metric", "accuracy", "--num-classes", "2", "--predictions",
                           str(tmp_path / "predictions"), "--references", str(tmp_path / "references")],
                          capture_output=True, text=True)
    assert done.returncode == code and message in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("metric, predictions, references, message, code", [
    ("accuracy", "[0]\n", "[0]\n", "accuracy scores single classes or numbers, not sets", 2),
    ("micro_f1", "0\n", "0\n", "micro_f1 scores sets of classes", 2),
    ("macro_f1", "[0]\n", "[0]\n", "macro_f1 of sets needs the number of classes", 2),
    ("micro_f1", "[0]\n1\n", "[0]\n[1]\n", "predictions:2: 1; expected a list of classes", 3),
    ("micro_f1", "[0]\n[1]\n", "[0]\nnull\n", "references:2: null; expected a list of classes", 3),
    ("micro_f1", "[0, 0]\n", "[0]\n", "predictions:1: [0,0]; a class occurs twice", 3),
    ("micro_f1", "[-1]\n", "[0]\n", "predictions:1: -1; a reference needs a class", 3),
])
def test_bad_sets_are_named(tmp_path, metric, predictions, references, message, code):
    (tmp_path / "predictions").write_text(predictions)
    (tmp_path / "references").write_text(references)
    done = subprocess.run([str(TOOL), "score", "--metric", metric, "--predictions", str(tmp_path / "predictions"), "--references",
                           str(tmp_path / "references")], capture_output=True, text=True)
    assert done.returncode == code and message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_unknown_metric_is_bad_usage(tmp_path):
    done = subprocess.run([str(TOOL), "score", "--metric", "acuracy", "--predictions", "p", "--references", "r"],
                          capture_output=True, text=True)
    assert done.returncode == 2 and 'did you mean "accuracy"' in done.stderr
