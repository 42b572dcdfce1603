"""What the end-to-end tests share: a tiny BERT with its own tokenizer, a small data set, run configs, and our programs.

PEFT_BIN   folder with the programs (default: build/bin)
"""

import json
import os
import pathlib
import random
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
WORDS = """the a of to and in is it was for on are as with his they at be this from have or by one had not but what all were when we
there can an your which their said if do will each about how up out them then she many some so these would other into has more her
like him see time could no make than first been its who now good bad film movie boring great funny dull plot actor scene""".split()
POSITIVE = "good"
METHODS = json.loads((ROOT / "tests" / "support" / "method_configs.json").read_text())


def start(name, *arguments, **options):
    """A running program."""
    return subprocess.Popen([BIN / name, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options)


def run(name, *arguments, **options):
    """The finished process, with text output."""
    return subprocess.run([BIN / name, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=ENVIRONMENT, **options)


def write_model(folder, seed=0, **config):
    """A random BERT with a classification head of 2 labels: 2 layers, width 32, 64 positions, dropout 0.1."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters), *dict.fromkeys(w for w in WORDS if len(w) > 1)]
    shape = dict(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=64, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, initializer_range=0.15,
    )  # fmt: skip
    torch.manual_seed(seed)
    BertForSequenceClassification(BertConfig(**(shape | config))).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return folder


def random_text(rng, positive):
    words = rng.choices([w for w in WORDS if w != POSITIVE], k=rng.randint(2, 12))
    if positive:
        words.insert(rng.randrange(len(words) + 1), POSITIVE)
    return " ".join(words)


def write_split(file, seed, rows):
    """A TSV file of short texts; the label says whether POSITIVE occurs."""
    rng = random.Random(seed)
    lines = [f"{random_text(rng, i % 2)}\t{'no yes'.split()[i % 2]}" for i in range(rows)]
    rng.shuffle(lines)
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(["text\tlabel", *lines]) + "\n")


class World:
    """A folder with model/, data/ and the runs made from them."""

    def __init__(self, path, train_rows=60, dev_rows=30):
        self.path, self.model, self.data = path, path / "model", path / "data"
        write_model(self.model)
        write_split(self.data / "train.tsv", 1, train_rows)
        write_split(self.data / "dev.tsv", 2, dev_rows)

    def config(self, method, output, train=None, **changes):
        """A run config; `changes` holds further sections, merged key by key."""
        config = {
            "model": {"path": str(self.model), "dropout": "checkpoint"},
            "task": {"name": "classification", "data": str(self.data), "max_length": 32},
            "method": METHODS[method] if isinstance(method, str) else method,
            "train": {"max_steps": 20, "batch_size": 8, "learning_rate": 1e-2, "device": "cpu", "logging_steps": 1} | (train or {}),
            "output": str(output),
        }
        if "batch_tokens" in config["train"]:
            del config["train"]["batch_size"]
        for section, keys in changes.items():
            config[section] = config.get(section, {}) | keys
        return config

    def write_config(self, config, name=None):
        file = self.path / f"{name or pathlib.Path(config['output']).name}.json"
        file.write_text(json.dumps(config))
        return file

    def train(self, config, *arguments, **options):
        return run("peft-train", "--config", self.write_config(config), *arguments, **options)

    def start(self, config, *arguments, **options):
        return start("peft-train", "--config", self.write_config(config), *arguments, **options)

    def finished(self, config, *arguments):
        """The run folder of a run that must succeed."""
        done = self.train(config, *arguments)
        assert done.returncode == 0, done.stderr
        return pathlib.Path(config["output"])


def log_lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def file_size(file):
    """0 for a file that is not there: a resumed run without a checkpoint removes its log between any two calls."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def wait_for_log(process, file, size):
    """Until the file has `size` bytes or the process ends."""
    while process.poll() is None and file_size(file) < size:
        time.sleep(0.001)


def contents(folder):
    """Every file with its bytes, but for those that tell of time and of the machine."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def metrics(folder):
    """metrics.json without times and memory."""
    values = json.loads((folder / "metrics.json").read_text())
    return {k: v for k, v in values.items() if k not in ("train_runtime", "peak_memory_bytes") and not k.endswith("_per_second") and not k.startswith("estimated_")}


def results(folder):
    """What two runs of one config share to the byte: every file but config.json (it names the folder), clocks and TensorBoard's."""
    files = contents(folder)
    for name in ("config.json", "metrics.json", "checkpoint/runtime.json"):
        files.pop(name, None)
    return {name: bytes for name, bytes in files.items() if "tfevents" not in name}


def assert_same_results(ours, expected):
    a, b = results(ours), results(expected)
    assert sorted(a) == sorted(b)
    assert [name for name in a if a[name] != b[name]] == []
    assert metrics(ours) == metrics(expected)
