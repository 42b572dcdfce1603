"""peft-tool compare against its definition in Python and scipy's binomial test; peft-tool aggregate on run folders."""

import json
import random
import subprocess

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from score_many import BIN, answer, ask, draws, interval

REMARK = "one seed a side: the tests see the sampling of rows, not the noise of training"


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(predictions, references, first=0, **more):
    return [
        {"idx": first + i, "prediction": p, "reference": r} | {key: values[i] for key, values in more.items()}
        for i, (p, r) in enumerate(zip(predictions, references))
    ]


def write_run(folder, task, rows=(), labels=None, metrics=None, seed=1, **changes):
    """What compare and aggregate read of a run folder."""
    folder.mkdir(parents=True)
    config = {"task": {"name": task}, "data": {"labels": labels or []}, "train": {"seed": seed}, "output": str(folder)} | changes
    (folder / "config.json").write_text(json.dumps(config))
    if rows:
        write_rows(folder / "predictions" / "dev.jsonl", rows)
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps({"task": task, "note": "selected on the reported split"} | metrics))
    return folder


def paired(metric, a, b, references, resamples, seed):
    """ci95 and p_bootstrap by the definition of docs/tasks.md#comparing-runs."""
    a, b, references = (np.array(values) for values in (a, b, references))
    differences = np.array([metric(a[d], references[d]) - metric(b[d], references[d]) for d in (draws(seed, i, len(a)) for i in range(resamples))])
    differences[np.abs(differences) < 1e-12] = 0
    tails = (1 + (differences <= 0).sum()) / (resamples + 1), (1 + (differences >= 0).sum()) / (resamples + 1)
    return interval(differences), min(1.0, 2 * min(tails))


def binomial_p(only_a, only_b):
    return stats.binomtest(only_a, only_a + only_b, 0.5).pvalue if only_a + only_b else 1.0


CLASS_METRICS = {
    "accuracy": lambda p, r: (p == r).mean(),
    "macro_f1": lambda p, r: sk.f1_score(r, p, average="macro", zero_division=0),
    "mcc": lambda p, r: sk.matthews_corrcoef(r, p),
}


@pytest.mark.parametrize("metric", CLASS_METRICS)
def test_classes_equal_the_definition(tmp_path, metric):
    rng = np.random.default_rng(len(metric))
    for case in range(12):
        n, names = int(rng.integers(1, 50)), np.array(["b", "a", "c"])
        references = rng.integers(0, 3, n)
        a, b = (np.where(rng.random(n) < share, references, rng.integers(0, 3, n)) for share in rng.random(2))
        file_a = write_rows(tmp_path / "a.jsonl", rows_of(names[a].tolist(), names[references].tolist()))
        file_b = write_rows(tmp_path / "b.jsonl", rng.permutation(rows_of(names[b].tolist(), names[references].tolist())).tolist())
        [got] = answer("compare", file_a, file_b, "--metric", metric, "--bootstrap", 60, "--bootstrap-seed", case)
        score = CLASS_METRICS[metric]
        assert abs(got["a"] - score(a, references)) <= 1e-12 and abs(got["b"] - score(b, references)) <= 1e-12
        assert abs(got["difference"] - (score(a, references) - score(b, references))) <= 1e-12
        ci95, p = paired(score, a, b, references, 60, case)
        assert np.allclose(got["ci95"], ci95, rtol=0, atol=1e-12)
        assert got["p_bootstrap"] == pytest.approx(p, abs=1e-12)
        only_a, only_b = ((a == references) & (b != references)).sum(), ((b == references) & (a != references)).sum()
        assert (got["only_a"], got["only_b"]) == (only_a, only_b)
        assert abs(got["p_mcnemar"] - binomial_p(only_a, only_b)) <= 1e-12
        assert got["metric"] == metric and got["n"] == n and got["remark"] == REMARK and got["seeds"] == [1, 1]
        assert got["runs"] == [str(file_a), str(file_b)]


def test_mcnemar_equals_scipys_binomial_test(tmp_path):
    rng = np.random.default_rng(8)
    for only_a, only_b in [(0, 0), (0, 1), (5, 5), (1, 60), *rng.integers(0, 400, (30, 2)).tolist(), (2000, 2200), (9000, 9300)]:
        right = np.repeat([1, 0], [only_a, only_b]).tolist() + [1, 0]
        wrong = np.repeat([0, 1], [only_a, only_b]).tolist() + [1, 0]
        references = [1] * len(right)
        write_rows(tmp_path / "a", rows_of(right, references)), write_rows(tmp_path / "b", rows_of(wrong, references))
        [got] = answer("compare", tmp_path / "a", tmp_path / "b", "--metric", "accuracy", "--bootstrap", 1)
        assert (got["only_a"], got["only_b"]) == (only_a, only_b)
        expected = binomial_p(only_a, only_b)
        assert got["p_mcnemar"] == pytest.approx(expected, rel=1e-11, abs=1e-12)


def test_correlations_and_texts_equal_the_definition(tmp_path):
    rng = np.random.default_rng(9)
    references = rng.normal(size=30)
    a, b = references + rng.normal(size=30), references + 2 * rng.normal(size=30)
    write_rows(tmp_path / "a", rows_of(a.tolist(), references.tolist())), write_rows(tmp_path / "b", rows_of(b.tolist(), references.tolist()))
    [got] = answer("compare", tmp_path / "a", tmp_path / "b", "--metric", "spearman", "--bootstrap", 100)
    ci95, p = paired(lambda x, y: stats.spearmanr(x, y).statistic, a, b, references, 100, 0)
    assert np.allclose(got["ci95"], ci95, rtol=0, atol=1e-9) and got["p_bootstrap"] == pytest.approx(p, abs=1e-12)
    assert got["p_mcnemar"] is None and got["only_a"] is None and got["only_b"] is None

    texts = [["the cat", "a dog"], ["cat"], ["sun"]]
    write_rows(tmp_path / "a", rows_of(["dog", "x", "sun"], texts)), write_rows(tmp_path / "b", rows_of(["cat", "cat", None], texts))
    [got] = answer("compare", tmp_path / "a", tmp_path / "b", "--metric", "squad_f1", "--bootstrap", 50)
    assert (got["a"], got["b"], got["only_a"], got["only_b"]) == (2 / 3, 2 / 3, 1, 1)
    [got] = answer("compare", tmp_path / "a", tmp_path / "b", "--metric", "rouge1", "--bootstrap", 50)
    assert got["p_mcnemar"] is None and got["p_bootstrap"] <= 1


def test_groups_are_drawn_whole(tmp_path):
    rng = np.random.default_rng(10)
    groups = np.repeat(np.arange(10), rng.integers(1, 4, 10))
    references = rng.integers(0, 2, len(groups))
    a, b = (np.where(rng.random(len(groups)) < 0.8, references, 1 - references) for _ in range(2))
    for name, predictions in (("a", a), ("b", b)):
        write_rows(tmp_path / name, rows_of(predictions.tolist(), references.tolist(), group=groups.tolist()))
    [got] = answer("compare", tmp_path / "a", tmp_path / "b", "--metric", "multirc_em", "--bootstrap", 80)
    right = np.array([[(p[groups == g] == references[groups == g]).all() for g in range(10)] for p in (a, b)])
    differences = np.array([right[0][d].mean() - right[1][d].mean() for d in (draws(0, i, 10) for i in range(80))])
    assert np.allclose(got["ci95"], interval(differences), rtol=0, atol=1e-12)
    assert got["difference"] == pytest.approx(right[0].mean() - right[1].mean(), abs=1e-12)


def test_runs_tell_their_metric_and_the_order_of_their_labels(tmp_path):
    names = ["not_equivalent", "equivalent"]
    rng = np.random.default_rng(11)
    references = rng.integers(0, 2, 40)
    a, b = (np.where(rng.random(40) < share, references, 1 - references) for share in (0.9, 0.6))
    runs = [write_run(tmp_path / name, "mrpc", rows_of([names[p] for p in side], [names[r] for r in references])) for name, side in (("a", a), ("b", b))]
    [got] = answer("compare", *runs, "--bootstrap", 10)
    assert got["metric"] == "accuracy" and got["a"] == (a == references).mean()
    [got] = answer("compare", *runs, "--bootstrap", 10, "--metric", "f1", "--split", "validation")
    assert got["a"] == pytest.approx(sk.f1_score(references, a), abs=1e-12) and got["b"] == pytest.approx(sk.f1_score(references, b), abs=1e-12)
    # Beside a run, a file's labels are in the run's order.
    [again] = answer("compare", runs[0], runs[1] / "predictions" / "dev.jsonl", "--bootstrap", 10, "--metric", "f1")
    assert again["b"] == got["b"]
    own = [write_run(tmp_path / f"own-{name}", "classification", rows_of([names[p] for p in side], [names[r] for r in references]), names)
           for name, side in (("a", a), ("b", b))]  # fmt: skip
    [got] = answer("compare", *own, "--bootstrap", 10, "--metric", "f1")
    assert got["a"] == pytest.approx(sk.f1_score(references, a), abs=1e-12)


def test_the_reported_split_is_compared(tmp_path):
    runs = []
    for name, right in (("a", [1, 1, 0]), ("b", [0, 1, 0])):
        run = write_run(tmp_path / name, "sst2", rows_of(["positive"], ["positive"]), metrics={"reported_split": "test"})
        write_rows(run / "predictions" / "test.jsonl", rows_of([["negative", "positive"][x] for x in right], ["positive"] * 3))
        runs.append(run)
    [got] = answer("compare", *runs, "--bootstrap", 5)
    assert (got["n"], got["split"], got["only_a"]) == (3, "test", 1)
    [got] = answer("compare", *runs, "--bootstrap", 5, "--split", "dev")
    assert (got["n"], got["split"]) == (1, "dev")
    [got] = answer("compare", *(run / "predictions" / "test.jsonl" for run in runs), "--bootstrap", 5, "--metric", "accuracy")
    assert got["n"] == 3 and got["split"] is None


def test_rows_of_parts_and_of_passages_keep_their_own_numbers(tmp_path):
    rows = [{"idx": i, "part": part, "prediction": p, "reference": 1} for part in ("matched", "mismatched") for i, p in enumerate([1, 0])]
    nested = [{"idx": {"passage": i, "query": 0}, "prediction": p, "reference": 1} for i, p in enumerate([1, 0])]
    for kind in (rows, nested):
        a, b = write_rows(tmp_path / "a", kind), write_rows(tmp_path / "b", kind[::-1])
        [got] = answer("compare", a, b, "--metric", "accuracy", "--bootstrap", 5)
        assert (got["n"], got["a"], got["only_a"], got["only_b"]) == (len(kind), 0.5, 0, 0)
    write_rows(tmp_path / "a", rows), write_rows(tmp_path / "b", rows[:3])
    error = ask("compare", tmp_path / "a", tmp_path / "b", "--metric", "accuracy")[2]
    assert f'b: no row with idx {{"idx":1,"part":"mismatched"}}, which {tmp_path}/a:4 has' in error


def holm(p):
    """Each p times the number of tests that are left, never below the one before."""
    order, adjusted, largest = np.argsort(p, kind="stable"), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted


def test_more_than_two_are_compared_with_the_first(tmp_path):
    rng = np.random.default_rng(12)
    references = rng.integers(0, 2, 60)
    sides = [np.where(rng.random(60) < share, references, 1 - references) for share in (0.9, 0.85, 0.7, 0.5)]
    files = [write_rows(tmp_path / f"{i}.jsonl", rows_of(s.tolist(), references.tolist())) for i, s in enumerate(sides)]
    got = answer("compare", *files, "--metric", "accuracy", "--bootstrap", 200)
    assert [line["runs"] for line in got] == [[str(files[0]), str(f)] for f in files[1:]]
    for key in ("p_bootstrap", "p_mcnemar"):
        assert [line[key + "_holm"] for line in got] == pytest.approx(holm([line[key] for line in got]), abs=1e-15)
    alone = answer("compare", files[0], files[2], "--metric", "accuracy", "--bootstrap", 200)[0]
    assert {k: v for k, v in got[1].items() if not k.endswith("_holm")} == alone
    correlated = answer("compare", *files, "--metric", "pearson", "--bootstrap", 20)
    assert "p_mcnemar_holm" not in correlated[0] and "p_bootstrap_holm" in correlated[0]


ROW = {"idx": 0, "prediction": "x", "reference": "x"}


@pytest.mark.parametrize("a, b, message, code", [
    ([ROW], [ROW | {"idx": 1}], "b: no row with idx 0, which {tmp}/a:1 has", 3),
    ([ROW], [ROW, ROW | {"idx": 7}], "b:2: idx 7, which {tmp}/a does not have", 3),
    ([ROW, ROW | {"idx": 1}], [ROW | {"idx": 1, "reference": "y"}, ROW], 'b:1: idx 1: reference "y", expected "x" as in {tmp}/a:2', 3),
    ([ROW, ROW], [ROW], "a:2: idx 0 is that of line 1 too", 3),
    ([ROW], [{"prediction": "x", "reference": "x"}], "b:1: no idx", 3),
    ([ROW, {"idx": 1, "prediction": "x"}], [ROW], "a: 1 of 2 rows have a reference", 3),
    ([ROW | {"group": 1}], [ROW], "b: rows without a group, which {tmp}/a has", 3),
    ([ROW | {"group": 1}], [ROW | {"group": 2}], "b:1: idx 0: group 2, expected 1 as in {tmp}/a:1", 3),
])  # fmt: skip
def test_rows_that_do_not_match_are_named(tmp_path, a, b, message, code):
    write_rows(tmp_path / "a", a), write_rows(tmp_path / "b", b)
    text, status, error = ask("compare", tmp_path / "a", tmp_path / "b", "--metric", "accuracy")
    assert status == code and message.format(tmp=tmp_path) in error and text == "", error


def test_bad_arguments_are_one_clear_line(tmp_path):
    file = write_rows(tmp_path / "a.jsonl", [ROW])
    run = write_run(tmp_path / "run", "cola", [ROW])
    other = write_run(tmp_path / "other", "sst2", [ROW])
    empty = write_run(tmp_path / "empty", "cola")
    (tmp_path / "folder").mkdir()
    for arguments, message, code in [
        ([file], "1 given; expected two or more", 2),
        ([file, file], "--metric NAME is missing", 2),
        ([file, file, "--metric", "acuracy"], 'did you mean "accuracy"', 2),
        ([file, file, "--metric", "f1"], "give run folders", 2),
        ([file, file, "--metric", "multirc_em"], "no group in its rows", 3),
        ([file, file, "--metric", "macro_f1_all"], "needs the number of classes", 2),
        ([file, file, "--metric", "pearson"], 'a.jsonl:1: "x"; expected a number', 3),
        ([file, file, "--metric", "accuracy", "--bootstrap", "0"], "--bootstrap 0: expected at least 1", 2),
        ([run, other], "is of task sst2", 2),
        ([run, empty], "empty/predictions/dev.jsonl: missing", 3),
        ([run, run, "--split", "test"], "predictions holds dev.jsonl", 3),
        ([run, run, "--split", "tset"], "tset", 2),
        ([run, tmp_path / "folder"], "folder: no run", 3),
        ([run, tmp_path / "none.jsonl"], "none.jsonl", 3),
    ]:
        text, status, error = ask("compare", *arguments)
        assert status == code and message in error and "\n" not in error and text == "", (arguments, status, error)


GLUE8 = {"mnli": ("accuracy_matched", 85.0), "qqp": ("accuracy", 90.4), "qnli": ("accuracy", 93.2), "sst2": ("accuracy", 94.2),
         "stsb": ("pearson", 90.8), "mrpc": ("accuracy", 90.7), "glue/rte": ("accuracy", 79.1), "cola": ("mcc", 63.8)}  # fmt: skip
KNOWN = ["sst2", "stsb", "mrpc", "glue/rte", "cola", "qnli"]


def write_glue(tmp_path, tasks):
    return [write_run(tmp_path / t.replace("/", "-"), t, metrics={f"eval_{GLUE8[t][0]}": GLUE8[t][1] / 100}) for t in tasks]


def test_a_benchmark_is_the_mean_over_its_tasks_and_says_what_is_missing(tmp_path):
    runs = write_glue(tmp_path, KNOWN)
    text, code, error = ask("aggregate", "--benchmark", "glue8", "--json", *runs)
    got = json.loads(text)
    assert code == 0 and got["partial"] and got["missing"] == ["mnli", "qqp"] and got["failed"] == []
    assert got["score"] == pytest.approx(np.mean([GLUE8[t][1] for t in KNOWN]) / 100, abs=1e-12)
    assert got["tasks"]["cola"] == {"metric": "mcc", "split": "dev", "n": 1, "mean": 0.638, "standard_deviation": None, "median": 0.638, "minimum": 0.638, "maximum": 0.638}
    text, code, _ = ask("aggregate", "--benchmark", "glue8", *runs)
    assert code == 0 and "glue8 (partial: 6 of 8 tasks)  85.3\nmissing: mnli, qqp\ndev: selected on the reported split\n" in text
    assert [line.split() for line in text.splitlines() if line.startswith("cola")] == [["cola", "mcc", "dev", "1", "63.8", "-", "63.8", "63.8", "63.8"]]


def test_all_eight_tasks_give_the_published_mean(tmp_path):
    text, code, _ = ask("aggregate", "--benchmark", "glue8", *write_glue(tmp_path, GLUE8))
    assert code == 0 and "\nglue8  85.9\n" in text and "missing" not in text


def test_a_reported_test_split_counts_and_is_named(tmp_path):
    both = {"eval_accuracy": 0.9, "test_accuracy": 0.6, "reported_split": "test", "split_policy": "dept"}
    runs = [write_run(tmp_path / "a", "mnli", metrics=both), write_run(tmp_path / "b", "qnli", metrics={"eval_accuracy": 0.8, "reported_split": "dev"}),
            write_run(tmp_path / "c", "qnli", metrics=both, seed=2)]  # fmt: skip
    tasks = json.loads(ask("aggregate", "--benchmark", "glue8", "--json", *runs)[0])["tasks"]
    assert tasks["mnli"]["mean"] == 0.6 and tasks["mnli"]["split"] == "test"
    assert tasks["mnli"]["metric"] == "accuracy (matched)", "the policy tests with the matched file"
    assert tasks["qnli"]["mean"] == pytest.approx(0.7) and tasks["qnli"]["split"] == "dev, test"
    assert "selected on the reported split" not in ask("aggregate", "--benchmark", "glue8", runs[0])[0]


def test_runs_of_one_task_are_seeds_and_stopped_ones_are_listed(tmp_path):
    values = [0.6, 0.7, 0.62]
    runs = [write_run(tmp_path / f"s{i}", "copa", metrics={"eval_accuracy": v}, seed=i) for i, v in enumerate(values)]
    stopped = write_run(tmp_path / "stopped", "copa", seed=9)
    (stopped / "stopped.json").write_text('{"step": 20, "message": "the loss is not a number"}')
    unfinished = write_run(tmp_path / "unfinished", "copa", seed=10)
    got = json.loads(ask("aggregate", "--benchmark", "superglue", "--json", *runs, stopped, unfinished)[0])
    task = got["tasks"]["copa"]
    assert task["n"] == 3 and task["mean"] == pytest.approx(np.mean(values)) and task["median"] == 0.62
    assert task["standard_deviation"] == pytest.approx(np.std(values, ddof=1)) and (task["minimum"], task["maximum"]) == (0.6, 0.7)
    assert [f["reason"] for f in got["failed"]] == ["the loss is not a number", "not finished: no metrics.json"]
    text = ask("aggregate", "--benchmark", "superglue", stopped)[0]
    assert "no finished run" in text and f"failed, not counted: {stopped} (superglue/copa): the loss is not a number" in text


def test_bad_runs_of_a_benchmark_are_named(tmp_path):
    run = write_run(tmp_path / "run", "mrpc", metrics={"eval_accuracy": 0.5})
    (tmp_path / "folder").mkdir()
    for arguments, message, code in [
        (["--benchmark", "glue", run], "run: no f1, which the score of mrpc needs", 3),
        (["--benchmark", "glue", run, run], "given twice", 2),
        (["--benchmark", "glue9", run], "unknown benchmark", 2),
        (["--benchmark", "glue8"], "RUN is missing", 2),
        ([run], "--benchmark NAME is missing (known: glue, glue8, superglue, superglue5)", 2),
        (["--benchmark", "glue8", tmp_path / "folder"], "folder: no run", 3),
        (["--benchmark", "glue8", tmp_path / "none"], "none: no run", 3),
    ]:
        text, status, error = ask("aggregate", *arguments)
        assert status == code and message in error and "\n" not in error and text == "", (arguments, status, error)


def test_warnings_name_runs_that_do_not_belong_together(tmp_path):
    if not (BIN / "peft-tool").exists():
        pytest.skip("peft-tool is not built")
    a = write_run(tmp_path / "a", "cola", metrics={"eval_mcc": 0.5})
    b = write_run(tmp_path / "b", "cola", metrics={"eval_mcc": 0.6}, seed=2, method={"type": "lora"})
    c = write_run(tmp_path / "c", "copa", metrics={"eval_accuracy": 0.6})
    done = subprocess.run([BIN / "peft-tool", "aggregate", "--benchmark", "glue8", a, b, c], capture_output=True, text=True)
    assert done.returncode == 0 and "these differ in method" in done.stderr and "c: passed over" in done.stderr


def test_tied_resamples_count_for_both_sides(tmp_path):
    rng = random.Random(13)
    references = [rng.randrange(2) for _ in range(9)]
    same = write_rows(tmp_path / "same", rows_of(references, references))
    [got] = answer("compare", same, same, "--metric", "mcc", "--bootstrap", 30)
    assert got["difference"] == 0 and got["p_bootstrap"] == 1 and got["p_mcnemar"] == 1 and got["ci95"] == [0, 0]
    constant = write_rows(tmp_path / "constant", rows_of([1] * 9, references))
    [got] = answer("compare", constant, same, "--metric", "mcc", "--bootstrap", 30)
    assert got["undefined"] == ["a"] and got["difference"] == -1
