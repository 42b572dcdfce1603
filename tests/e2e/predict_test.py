"""peft-predict: every form of input, several adapters at once, every kind of answer, bad rows, and an output that is complete or absent."""

import csv
import io
import json
import math
import random
import shutil
import signal
import time

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from e2e_runs import WORDS, World, metrics, random_text, run, start  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

LABELS = ["yes", "no"]  # an order of their own
MIXED = ["lora", "prompt", "prefix", "bitfit", "ntk_attention", "linear_probe", "full"]
CLASSES = ["film", "movie", "plot"]


def write_lines(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def words(rng, most=8):
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))


OWN = {  # task -> a row
    "regression": lambda rng: {"text": words(rng), "text_pair": words(rng), "label": round(rng.gauss(0, 1), 3)},
    "multi_label": lambda rng: {"text": words(rng), "label": [name for name in CLASSES if rng.random() < 0.5]},
    "multiple_choice": lambda rng: {"text": words(rng), "choices": [words(rng) for _ in range(rng.randint(2, 4))], "label": rng.randrange(2)},
}


class Runs:
    """Runs of one world, trained when first asked for."""

    def __init__(self, world):
        self.world, self.made = world, {}
        rng = random.Random(3)
        for task, make in OWN.items():
            for split, count in (("train", 40), ("dev", 30)):
                write_lines(world.path / task / f"{split}.jsonl", [make(rng) for _ in range(count)])

    def __call__(self, method, task="classification", **changes):
        name = f"{task}-{method}" + "".join(f"-{section}" for section in changes)
        if name not in self.made:
            if task != "classification":
                changes["task"] = {"name": task, "data": str(self.world.path / task)}
            elif "data" not in changes:
                changes["data"] = {"labels": LABELS}
            train = {"max_steps": 8, "learning_rate": 0.05 if method != "full" else 1e-3}
            self.made[name] = self.world.finished(self.world.config(method, self.world.path / name, train, **changes))
        return self.made[name]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(World(tmp_path_factory.mktemp("predict")))


def adapters(folders):
    return [argument for folder in folders for argument in ("--adapter", folder)]


def predict(folders, file, *arguments, **options):
    """The rows of a prediction that must succeed."""
    folders = folders if isinstance(folders, list) else [folders]
    done = run("peft-predict", *adapters(folders), "--input", file, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def without_ids(rows):
    return [{key: value for key, value in row.items() if key != "id"} for row in rows]


def texts(seed, count):
    rng = random.Random(seed)
    return [random_text(rng, i % 2) for i in range(count)]


def softmax(scores):
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def eval_rows(folder, split="dev"):
    file = folder / "eval.jsonl"
    done = run("peft-eval", "--adapter", folder, "--split", split, "--predictions", file, "--bootstrap", 0)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_answers_are_those_of_peft_eval_and_labels_are_passed_over(runs):
    folder = runs("lora")
    expected = eval_rows(folder)
    rows = predict(folder, runs.world.data / "dev.tsv")
    assert [row["id"] for row in rows] == list(range(30))
    assert [row["label"] for row in rows] == [row["prediction"] for row in expected]
    assert len({row["label"] for row in rows}) == 2
    for row, evaluated in zip(rows, expected, strict=True):
        assert list(row) == ["id", "label", "probabilities"]
        assert list(row["probabilities"]) == LABELS
        assert list(row["probabilities"].values()) == pytest.approx(softmax(evaluated["scores"]), abs=1e-6)


def test_every_form_of_input_gives_the_same_answers(runs, tmp_path):
    folder = runs("lora")
    lines = [*texts(1, 20), 'he said "good, bad"', "fine, and dull"]
    quoted = io.StringIO()
    csv.writer(quoted).writerows([["id", "text"], *enumerate(lines)])
    forms = {
        "a.jsonl": "".join(json.dumps({"text": line}) + "\n" for line in lines),
        "a.json": json.dumps([{"text": line} for line in lines], indent=1),
        "a.csv": quoted.getvalue(),
        "a.tsv": "label\ttext\n" + "".join(f"whatever\t{line}\n" for line in lines),
        "a.txt": "\n".join(lines),
    }
    for name, content in forms.items():
        (tmp_path / name).write_text(content)
    expected = predict(folder, tmp_path / "a.jsonl")
    assert len(expected) == 22
    for name in forms:
        assert predict(folder, tmp_path / name) == expected, name
    for name, form in (("a.txt", "lines"), ("a.csv", "csv"), ("a.tsv", "tsv"), ("a.jsonl", "jsonl")):
        assert predict(folder, "-", "--format", form, input=forms[name]) == expected, form  # a pipe
        with open(tmp_path / name) as file:
            assert predict(folder, "-", "--format", form, stdin=file) == expected, form
        shutil.copy(tmp_path / name, tmp_path / "data")
        assert predict(folder, tmp_path / "data", "--format", form) == expected, form


def test_ids_come_back_as_they_were(runs, tmp_path):
    folder = runs("lora")
    rows = [{"id": "a b", "text": "good"}, {"id": 7, "text": "bad"}, {"text": "film", "idx": 3}, {"text": "dull"}, {"id": 'q"', "text": "plot", "idx": 1}]
    assert [row["id"] for row in predict(folder, write_lines(tmp_path / "a.jsonl", rows))] == ["a b", 7, 3, 3, 'q"']
    (tmp_path / "a.csv").write_text("text,id\ngood,007\nbad,12\nfilm,-4\ndull,x\n")
    assert [row["id"] for row in predict(folder, tmp_path / "a.csv")] == ["007", 12, -4, "x"]


def test_order_is_kept_over_many_chunks(runs, tmp_path):
    folder = runs("lora")
    lines = [f"{text} {'good ' * (i % 7)}" for i, text in enumerate(texts(2, 5000))]
    rows = predict(folder, write_lines(tmp_path / "a.jsonl", [{"id": f"r{i}", "text": line} for i, line in enumerate(lines)]))
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(5000)]
    few = [0, 1, 2047, 2048, 2049, 4096, 4999]
    alone = predict(folder, write_lines(tmp_path / "b.jsonl", [{"id": f"r{i}", "text": lines[i]} for i in few]))
    for i, row in zip(few, alone, strict=True):
        assert row["label"] == rows[i]["label"] and row["probabilities"] == pytest.approx(rows[i]["probabilities"], abs=1e-5)


def test_a_mix_of_methods_answers_as_each_alone(runs, tmp_path):
    folders = [runs(method) for method in MIXED] + [runs("lora", "regression")]
    rows = [{"id": i, "text": text, "text_pair": "the plot" if i % 3 else "a film"} for i, text in enumerate(texts(4, 40))]
    file = write_lines(tmp_path / "a.jsonl", rows)
    together = predict(folders, file)
    assert [row["id"] for row in together] == list(range(40))
    for folder in folders:
        for row, alone in zip(together, without_ids(predict(folder, file)), strict=True):
            assert list(row["adapters"]) == [str(name) for name in folders]
            assert row["adapters"][str(folder)] == alone
    labels = {tuple(row["adapters"][str(folder)]["label"] for row in together) for folder in folders[:-1]}
    assert len(labels) > 1  # else nothing shows who answered


def test_scores(runs):
    folder = runs("lora", "regression")
    rows = predict(folder, runs.world.path / "regression" / "dev.jsonl")
    assert [list(row) for row in rows] == [["id", "score"]] * 30
    assert [row["score"] for row in rows] == pytest.approx([row["prediction"] for row in eval_rows(folder)], abs=1e-6)


def test_sets_of_labels(runs):
    folder = runs("lora", "multi_label")
    rows = predict(folder, runs.world.path / "multi_label" / "dev.jsonl")
    for row, evaluated in zip(rows, eval_rows(folder), strict=True):
        assert row["labels"] == evaluated["prediction"]
        assert row["probabilities"] == pytest.approx({n: 1 / (1 + math.exp(-s)) for n, s in zip(CLASSES, evaluated["scores"], strict=True)}, abs=1e-6)


def test_choices(runs, tmp_path):
    folder = runs("lora", "multiple_choice")
    file = runs.world.path / "multiple_choice" / "dev.jsonl"
    rows = predict(folder, file)
    assert len({row["choice"] for row in rows}) > 1
    for row, evaluated in zip(rows, eval_rows(folder), strict=True):
        assert row["choice"] == evaluated["prediction"] and row["probabilities"] == pytest.approx(softmax(evaluated["scores"]), abs=1e-6)
    given = [json.loads(line) for line in file.read_text().splitlines()]
    (tmp_path / "a.tsv").write_text("text\tchoices\n" + "".join(f"{row['text']}\t{'|'.join(row['choices'])}\n" for row in given))
    assert predict(folder, tmp_path / "a.tsv") == rows
    done = run("peft-predict", "--adapter", folder, "--input", "-", "--format", "lines", input="good\n")
    assert done.returncode == 2 and "choices" in done.stderr


def test_columns_have_the_names_of_the_run_or_ours(runs, tmp_path):
    data = tmp_path / "reviews"
    data.mkdir()
    for split in ("train", "dev"):
        (data / f"{split}.tsv").write_text((runs.world.data / f"{split}.tsv").read_text().replace("text\t", "review\t"))
    files = {split: str(data / f"{split}.tsv") for split in ("train", "dev")}
    folder = runs("lora", data={"labels": LABELS, "columns": {"text": "review"}, "files": files})
    theirs = predict(folder, data / "dev.tsv")
    assert theirs == predict(folder, runs.world.data / "dev.tsv")
    done = run("peft-predict", "--adapter", folder, "--input", runs.world.data / "dev.tsv", "--task", "mrpc")
    assert done.returncode == 3 and "dev.tsv:1: header text, label; expected sentence1 (or " in done.stderr


BAD = {
    "broken json": ("a.jsonl", b'{"text": "good"}\n{"text": "bad"\n', "a.jsonl:2: column"),
    "no text": ("a.jsonl", b'{"text": "good"}\n{"sentence": "bad"}\n', "a.jsonl:2: no text; the keys are sentence"),
    "a text that is none": ("a.jsonl", b'{"text": 5}\n', "a.jsonl:1: text is an integer, expected a string"),
    "no object": ("a.jsonl", b'"good"\n', "a.jsonl:1: column 1: a string, expected an object"),
    "an id that is none": ("a.jsonl", b'{"text": "a", "id": [1]}\n', "a.jsonl:1: id is an array, expected a string or an integer"),
    "encoding": ("a.txt", b"good\nb\xffd\n", "a.txt:2: byte 2: invalid UTF-8"),
    "encoding of json": ("a.jsonl", b'{"text": "b\xffd"}\n', "a.jsonl:1: byte 12: invalid UTF-8"),
    "an empty line": ("a.txt", b"good\n\nbad\n", "a.txt:2: empty line"),
    "columns": ("a.tsv", b"text\tid\ngood\t1\nbad\n", "a.tsv:3: 1 columns, expected 2"),
    "header": ("a.csv", b"review,stars\ngood,1\n", "a.csv:1: header review, stars; expected text"),
    "no rows": ("a.jsonl", b"", "a.jsonl: no rows"),
    "a header alone": ("a.csv", b"text,id\n", "a.csv: no rows"),
    "a bad row behind a good chunk": ("a.txt", b"good film\n" * 3000 + b"\x00\n", "a.txt:3001: byte 1: NUL"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_ends_it_and_leaves_no_output(runs, tmp_path, case):
    name, content, message = BAD[case]
    (tmp_path / name).write_bytes(content)
    output = tmp_path / "out" / "p.jsonl"
    for before in (None, "what was there\n"):
        if before:
            output.parent.mkdir(exist_ok=True)
            output.write_text(before)
        done = run("peft-predict", "--adapter", runs("lora"), "--input", tmp_path / name, "--output", output)
        assert done.returncode == 3 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
        assert message in done.stderr
        assert (output.read_text() if before else None) == before
        assert [file.name for file in output.parent.glob("*")] == (["p.jsonl"] if before else [])


def test_standard_input_is_named_in_messages(runs):
    done = run("peft-predict", "--adapter", runs("lora"), "--input", "-", "--format", "jsonl", input='{"text": "good"}\n{}\n')
    assert done.returncode == 3 and "stdin:2: no text" in done.stderr


def test_the_output_is_what_stdout_would_say(runs, tmp_path):
    rows = predict(runs("lora"), runs.world.data / "dev.tsv")
    done = run("peft-predict", "--adapter", runs("lora"), "--input", runs.world.data / "dev.tsv", "--output", tmp_path / "new" / "p.jsonl")
    assert done.returncode == 0 and done.stdout == "" and "30 texts in" in done.stderr and "texts/s" in done.stderr
    assert [json.loads(line) for line in (tmp_path / "new" / "p.jsonl").read_text().splitlines()] == rows


def test_a_signal_leaves_no_output(runs, tmp_path):
    output = tmp_path / "p.jsonl"
    process = start("peft-predict", "--adapter", runs("lora"), "--input", "-", "--format", "lines", "--output", output, stdin=-1)
    process.stdin.write("good film\n" * 2048)
    process.stdin.flush()
    until = time.time() + 60
    while time.time() < until and not any(file.stat().st_size for file in tmp_path.glob(".p.jsonl.*.tmp")):
        time.sleep(0.02)
    assert not output.exists()
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate("bad film\n")
    assert process.returncode == 1 and "stopped by a signal" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_cut_texts_are_counted(runs, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("good film\n" + "good " * 40 + "\n")
    done = run("peft-predict", "--adapter", runs("lora"), "--input", file)
    assert done.returncode == 0 and "1 of 2 texts are longer than 32 tokens" in done.stderr
    done = run("peft-predict", "--adapter", runs("lora"), "--input", file, "--max-length", 64)
    assert done.returncode == 0 and "longer" not in done.stderr
    done = run("peft-predict", "--adapter", runs("lora"), "--input", file, "--max-length", 65)
    assert done.returncode == 2 and "--max-length 64" in done.stderr


def test_usage_is_checked(runs, tmp_path):
    folder = runs("lora")
    (tmp_path / "a.dat").write_text("good\n")
    for arguments, message in [
        (["--input", "-"], "--adapter DIR is missing"),
        (["--adapter", folder], "--input FILE is missing"),
        (["--adapter", folder, "--input", "-"], "--format NAME is missing"),
        (["--adapter", folder, "--input", tmp_path / "a.dat"], "use --format"),
        (["--adapter", folder, "--input", "-", "--format", "yaml"], "expected one of jsonl, csv, tsv, lines"),
        (["--adapter", folder, "--adapter", folder, "--input", tmp_path / "a.txt"], "given twice"),
        (["--adapter", folder, "--input", tmp_path / "a.txt", "--task", "no"], "no"),
    ]:
        done = run("peft-predict", *arguments, input="")
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, (arguments, done.stderr)
    done = run("peft-predict", "--adapter", folder, "--input", tmp_path / "none.txt")
    assert done.returncode == 3 and "none.txt" in done.stderr
    assert "Example:" in run("peft-predict", "--help").stdout


def test_an_adapter_that_changes_the_model_answers_alone(runs, tmp_path):
    """peft loads tensors of the base model that an adapter file holds: others beside it would answer with them."""
    changing = tmp_path / "changing"
    shutil.copytree(runs("lora") / "best", changing)
    tensors = load_file(changing / "adapter_model.safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    own = load_file(runs.world.model / "model.safetensors")[name]
    tensors["base_model.model." + name] = torch.flip(own, [0])
    save_file(tensors, changing / "adapter_model.safetensors", {"labels": json.dumps(LABELS)})
    file = tmp_path / "a.txt"
    file.write_text("\n".join(texts(8, 10)))
    model = ["--model", runs.world.model]
    assert predict(changing, file, *model) != predict(runs("lora"), file)
    for folders in ([changing, runs("prompt")], [runs("prompt"), changing]):
        done = run("peft-predict", *adapters(folders), "--input", file, *model)
        assert done.returncode == 2 and f"--adapter {changing}: it replaces tensors" in done.stderr
    assert len(predict([changing, runs("full")], file, *model)) == 10  # a network of its own


def test_a_lone_folder_without_names_says_so(runs, tmp_path):
    lone = tmp_path / "lone"
    shutil.copytree(runs("lora") / "best", lone)
    save_file(load_file(lone / "adapter_model.safetensors"), lone / "adapter_model.safetensors")
    file = tmp_path / "a.txt"
    file.write_text("\n".join(texts(9, 6)))
    done = run("peft-predict", "--adapter", lone, "--model", runs.world.model, "--input", file)
    assert done.returncode == 0 and done.stderr.count("names of its 2 classes are not known") == 1
    for line, named in zip(done.stdout.splitlines(), predict(runs("lora"), file), strict=True):
        assert LABELS[["LABEL_0", "LABEL_1"].index(json.loads(line)["label"])] == named["label"]


def score(*arguments):
    done = run("peft-tool", "score", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_score_reads_predictions_beside_a_labelled_file(runs, tmp_path):
    folder, data = runs("lora"), runs.world.data / "dev.tsv"
    accuracy = metrics(folder)["eval_accuracy"]
    output = tmp_path / "p.jsonl"
    output.write_text("".join(json.dumps(row) + "\n" for row in predict(folder, data)))
    rows = [line.split("\t") for line in data.read_text().splitlines()[1:]]
    write_lines(tmp_path / "a.jsonl", [{"text": text, "label": label} for text, label in rows])
    write_lines(tmp_path / "ids.jsonl", [{"text": text, "stars": LABELS.index(label)} for text, label in rows])
    (tmp_path / "a.csv").write_text("label,text\n" + "".join(f"{label},{text}\n" for text, label in rows))
    arguments = ["--metric", "accuracy,macro_f1", "--predictions", output]
    expected = score(*arguments, "--references", data)
    assert expected["accuracy"] == accuracy and expected["n"] == 30
    for name in ("a.jsonl", "a.csv"):
        assert score(*arguments, "--references", tmp_path / name) == expected
    assert score(*arguments, "--references", tmp_path / "ids.jsonl", "--label-column", "stars") == expected
    # Class 1 is the second of the adapter's labels, whatever the alphabet says.
    from sklearn.metrics import f1_score

    predicted = [json.loads(line)["label"] for line in output.read_text().splitlines()]
    truth = [label for _, label in rows]
    assert score("--metric", "f1", "--predictions", output, "--references", data)["f1"] == pytest.approx(f1_score(truth, predicted, pos_label=LABELS[1]))
    own = folder / "predictions" / "dev.jsonl"
    assert score("--metric", "accuracy", "--predictions", own)["accuracy"] == accuracy
    assert score("--metric", "accuracy", "--predictions", own, "--references", data)["accuracy"] == accuracy
    done = run("peft-tool", "score", "--metric", "accuracy", "--predictions", output)
    assert done.returncode == 2 and "--references is missing" in done.stderr


def test_score_chooses_an_adapter_and_checks_ids(runs, tmp_path):
    folders = [runs("lora"), runs("prompt")]
    output, data = tmp_path / "p.jsonl", runs.world.data / "dev.tsv"
    output.write_text("".join(json.dumps(row) + "\n" for row in predict(folders, data)))
    for folder in folders:
        scores = score("--metric", "accuracy", "--predictions", output, "--references", data, "--adapter", folder)
        assert scores["accuracy"] == metrics(folder)["eval_accuracy"]
    done = run("peft-tool", "score", "--metric", "accuracy", "--predictions", output, "--references", data)
    assert done.returncode == 2 and str(folders[1]) in done.stderr
    rows = data.read_text().splitlines()
    (tmp_path / "a.tsv").write_text("\n".join([rows[0] + "\tid", *(f"{row}\t{i + (i == 4)}" for i, row in enumerate(rows[1:]))]) + "\n")
    done = run("peft-tool", "score", "--metric", "accuracy", "--predictions", output, "--references", tmp_path / "a.tsv", "--adapter", folders[0])
    assert done.returncode == 3 and 'a.tsv:6: id "5", expected 4 as in' in done.stderr


@pytest.mark.parametrize("task, metric", [("regression", "pearson"), ("multi_label", "micro_f1"), ("multiple_choice", "accuracy")])
def test_score_reads_every_kind_of_answer(runs, tmp_path, task, metric):
    folder, data = runs("lora", task), runs.world.path / task / "dev.jsonl"
    output = tmp_path / "p.jsonl"
    output.write_text("".join(json.dumps(row) + "\n" for row in predict(folder, data)))
    expected = pytest.approx(metrics(folder)[f"eval_{metric}"], abs=1e-6)
    assert score("--metric", metric, "--predictions", output, "--references", data)[metric] == expected
    assert score("--metric", metric, "--predictions", folder / "predictions" / "dev.jsonl")[metric] == expected
    labels = [json.loads(line)["label"] for line in data.read_text().splitlines()]
    (tmp_path / "a.tsv").write_text("label\n" + "".join(f"{'|'.join(label) if isinstance(label, list) else label}\n" for label in labels))
    if task != "multi_label" or all(labels):  # an empty set would be an empty line
        assert score("--metric", metric, "--predictions", output, "--references", tmp_path / "a.tsv")[metric] == expected
