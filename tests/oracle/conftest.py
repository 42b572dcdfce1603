"""What the oracle tests share: our programs, and small random BERT folders with tokenizers of their own.

PEFT_BIN   folder with the programs (default: build/bin)
"""

import json
import os
import pathlib
import random
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))
WORDS = """the a of to and in is it was for on are as with his they at be this from have or by one had not but what all were when we
there can an your which their said if do will each about how up out them then she many some so these would other into has more her two
like him see time could no make than first been its who now people my made over did down only way find use may water long little very
after words called just where most know good bad film movie boring great funny dull terrible wonderful plot actor scene""".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def program():
    """program("peft-tool", "logits", ...) -> finished process with text output."""

    def run(name, *arguments, **options):
        return subprocess.run([BIN / name, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)

    return run


@pytest.fixture(scope="session")
def succeed(program):
    """The same for calls that must succeed: their stdout."""

    def run(*arguments, **options):
        done = program(*arguments, **options)
        assert done.returncode == 0, f"{arguments}: {done.returncode}: {done.stderr}"
        return done.stdout

    return run


def write_tokenizer(folder, rng):
    """A lower-casing WordPiece tokenizer of random size, as tokenizer.json or as a bare vocab.txt. Returns its vocabulary."""
    from tokenizers.implementations import BertWordPieceTokenizer

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = SPECIAL + letters + ["##" + c for c in letters] + list(".,!?'-") + ["##ing", "##ed", "##s", "##er"]
    pieces += rng.sample(WORDS, rng.randint(20, len(WORDS) - 5))
    pieces = list(dict.fromkeys(pieces))
    if rng.random() < 0.5:
        BertWordPieceTokenizer({piece: i for i, piece in enumerate(pieces)}, lowercase=True).save(str(folder / "tokenizer.json"))
    else:
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return pieces


class Folder:
    """A model folder on disk and its tokenizer."""

    def __init__(self, path, pieces):
        from tokenizers.implementations import BertWordPieceTokenizer

        self.path = path
        self.tokenizer = BertWordPieceTokenizer({piece: i for i, piece in enumerate(pieces)}, lowercase=True)

    def model(self, cls=None, **options):
        import torch
        from transformers import BertForSequenceClassification

        return (cls or BertForSequenceClassification).from_pretrained(self.path, **({"dtype": torch.float32} | options)).eval()

    def batch(self, rows, max_length=None):
        """Right-padded ids, types and mask of [{"text", "text_pair"}]."""
        import torch

        if max_length:
            self.tokenizer.enable_truncation(max_length)
        encoded = [self.tokenizer.encode(row["text"], row.get("text_pair")) for row in rows]
        self.tokenizer.no_truncation()
        longest = max(len(e.ids) for e in encoded)
        ids, types, mask = (torch.zeros(len(rows), longest, dtype=torch.long) for _ in range(3))
        for i, e in enumerate(encoded):
            n = len(e.ids)
            ids[i, :n], types[i, :n], mask[i, :n] = torch.tensor(e.ids), torch.tensor(e.type_ids), 1
        return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}

    def logits(self, model, rows, max_length=None):
        import torch

        with torch.no_grad():
            return model(**self.batch(rows, max_length)).logits.float()


def same_within(default):
    """assert_same(ours, theirs): of one shape and, relative to the largest value or to 1, within the tolerance."""

    def assert_same(ours, theirs, tolerance=default):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max().item() <= tolerance * max(1.0, theirs.abs().max().item())

    return assert_same


def randomise(module, seed, scale=0.3):
    """Values far from any initialisation, so that every tensor matters: norms near 1, the rest normal."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            norm = "LayerNorm.weight" in name or name.endswith("gamma")
            parameter.copy_(1 + 0.2 * noise if norm else scale * noise)


@pytest.fixture
def make_bert(tmp_path):
    """make_bert(seed, labels=2, cls=None, save={}, **config) -> Folder with random weights and a random tokenizer."""

    def make(seed, labels=2, cls=None, save=None, name="model", **config):
        from transformers import BertConfig, BertForSequenceClassification

        rng = random.Random(seed)
        folder = tmp_path / name
        folder.mkdir()
        pieces = write_tokenizer(folder, rng)
        heads = rng.choice([1, 2, 3, 4])
        shape = dict(
            hidden_size=heads * rng.choice([4, 8, 12]),
            num_attention_heads=heads,
            num_hidden_layers=rng.choice([1, 2, 3]),
            intermediate_size=rng.choice([16, 37, 64]),
            max_position_embeddings=rng.choice([48, 64, 100]),
            layer_norm_eps=rng.choice([1e-12, 1e-5]),
            hidden_act=rng.choice(["gelu", "gelu_new", "relu"]),
            vocab_size=len(pieces) + rng.choice([0, 0, 7]),
            num_labels=labels,
        )
        model = (cls or BertForSequenceClassification)(BertConfig(**(shape | config)))
        randomise(model, seed)
        model.save_pretrained(folder, **(save or {}))
        return Folder(folder, pieces)

    return make


def random_rows(seed, count=24, longest=30):
    """Texts and pairs of ragged lengths, with rare characters among them."""
    rng = random.Random(seed)
    odd = ["naïve", "café", "電影", "zzz", "don't", "e-mail", "???", "[MASK]", "Ünï", "1984"]

    def text():
        return " ".join(rng.choice(WORDS if rng.random() < 0.9 else odd) for _ in range(rng.randint(0, longest // 4)))

    rows = [{"text": text()} if rng.random() < 0.5 else {"text": text(), "text_pair": text()} for _ in range(count)]
    return rows + [{"text": ""}, {"text": "the", "text_pair": ""}, {"text": "a", "text_pair": None}]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def our_logits(succeed, tmp_path):
    """our_logits(Folder, rows, *options) -> [rows, N] of peft-tool logits."""

    def run(folder, rows, *options):
        import torch
        from safetensors.torch import load_file

        output = tmp_path / "logits.safetensors"
        succeed("peft-tool", "logits", "--model", folder.path, "--input", write_rows(tmp_path / "rows.jsonl", rows), "--output", output, *options)
        tensors = load_file(output)
        assert tensors["logits"].dtype == torch.float32
        assert tensors["cu_seqlens"].tolist() == list(range(len(rows) + 1))
        return tensors["logits"]

    return run
