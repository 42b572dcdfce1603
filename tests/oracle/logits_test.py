"""`peft-tool logits` against transformers on random BERT folders of many shapes and spellings."""

import json
import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from conftest import random_rows, same_within, write_rows  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

TOLERANCE = 1e-5  # float32: the order of sums is all that may differ
assert_same = same_within(TOLERANCE)


def rewrite(folder, change):
    """Passes all tensors of a folder through `change` and writes them as one file."""
    tensors = load_file(folder.path / "model.safetensors")
    save_file(change(tensors), folder.path / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("seed, labels", [(seed, [1, 2, 3, 5][seed % 4]) for seed in range(12)])
def test_random_shapes(make_bert, our_logits, seed, labels):
    folder, rows = make_bert(seed, labels), random_rows(seed)
    assert_same(our_logits(folder, rows), folder.logits(folder.model(), rows))


def old_norm_names(tensors):
    return {re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", re.sub(r"LayerNorm\.bias$", "LayerNorm.beta", n)): t for n, t in tensors.items()}


def without_prefix(tensors):
    return {n.removeprefix("bert."): t for n, t in tensors.items()}


def with_strays(tensors):
    strays = {
        "bert.embeddings.position_ids": torch.arange(64).unsqueeze(0),
        "cls.predictions.bias": torch.zeros(7),
        "cls.seq_relationship.weight": torch.zeros(2, 4),
    }
    return tensors | strays


@pytest.mark.parametrize("change", [old_norm_names, without_prefix, with_strays, lambda t: old_norm_names(without_prefix(t))])
def test_spellings_of_tensor_names(make_bert, our_logits, change):
    folder, rows = make_bert(50, 3), random_rows(50)
    expected = folder.logits(folder.model(), rows)
    rewrite(folder, change)
    assert_same(our_logits(folder, rows), expected)


def test_sharded_folder(make_bert, our_logits):
    folder, rows = make_bert(60, 2, save={"max_shard_size": "20KB"}, hidden_size=32, num_attention_heads=4), random_rows(60)
    assert len(list(folder.path.glob("model-*.safetensors"))) > 1
    assert_same(our_logits(folder, rows), folder.logits(folder.model(), rows))


def test_bfloat16_weights_computed_in_float32(make_bert, our_logits):
    folder, rows = make_bert(70, 3), random_rows(70)
    rewrite(folder, lambda tensors: {n: t.to(torch.bfloat16) for n, t in tensors.items()})
    assert_same(our_logits(folder, rows), folder.logits(folder.model(), rows))


def test_bfloat16_is_as_near_to_float32_as_transformers(make_bert, our_logits):
    """Both round to 8 bits at slightly different places: our root mean square error may be at most 1.5 times theirs."""
    ours = theirs = 0.0
    for seed in range(71, 75):
        folder, rows = make_bert(seed, 5, name=f"model{seed}"), random_rows(seed)
        rewrite(folder, lambda tensors: {n: t.to(torch.bfloat16) for n, t in tensors.items()})
        exact = folder.logits(folder.model(), rows)
        theirs += (folder.logits(folder.model(dtype=torch.bfloat16), rows) - exact).square().sum().item()
        ours += (our_logits(folder, rows, "--dtype", "bfloat16") - exact).square().sum().item()
    assert 0 < ours**0.5 <= 1.5 * theirs**0.5


def test_auto_takes_the_dtype_of_the_folder(make_bert, our_logits):
    folder, rows = make_bert(80, 2), random_rows(80)
    config = json.loads((folder.path / "config.json").read_text())
    for dtype in ("float32", "bfloat16"):
        config.pop("torch_dtype", None)
        (folder.path / "config.json").write_text(json.dumps(config | {"dtype": dtype}))
        assert torch.equal(our_logits(folder, rows, "--dtype", "auto"), our_logits(folder, rows, "--dtype", dtype))


def test_max_length_cuts_as_the_tokenizer_does(make_bert, our_logits):
    folder, rows = make_bert(90, 2, max_position_embeddings=48), random_rows(90, longest=200)
    assert_same(our_logits(folder, rows, "--max-length", 16), folder.logits(folder.model(), rows, max_length=16))


def test_batches_do_not_change_results(make_bert, our_logits):
    folder = make_bert(91, 3)
    rows = random_rows(91, count=600)
    assert_same(our_logits(folder, rows), folder.logits(folder.model(), rows))


@pytest.fixture
def fails(program, tmp_path):
    """fails(Folder, rows or bytes, *options) -> (exit code, the one line on stderr)."""

    def run(folder, rows, *options):
        path = tmp_path / "rows.jsonl"
        path.write_bytes(rows) if isinstance(rows, bytes) else write_rows(path, rows)
        output = tmp_path / "never.safetensors"
        done = program("peft-tool", "logits", "--model", folder.path, "--input", path, "--output", output, *options)
        assert done.returncode != 0 and not output.exists() and done.stdout == ""
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("peft-tool")
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize(
    "line, message",
    [
        (b'{"text": 3}', "text: found a"),
        (b'{"txt": "a"}', "text: found nothing"),
        (b'{"text": "a", "text_pair": 1}', "text_pair: found a"),
        (b'{"text": "a", "text": "b"}', "text"),
        (b'["a"]', "expected an object"),
        (b'{"text": "a"', "column"),
        (b'{"text": "\xff"}', "UTF-8"),
        (b"", "empty line"),
    ],
)
def test_bad_lines_are_named(make_bert, fails, line, message):
    code, error = fails(make_bert(1), b'{"text": "good"}\n' + line + b'\n{"text": "good"}\n')
    assert code == 3 and "rows.jsonl:2: " in error and message in error


def test_bad_input_and_options(make_bert, fails):
    folder = make_bert(2, max_position_embeddings=48)
    long = [{"text": "a"}, {"text": "a " * 60}]
    code, error = fails(folder, long)
    assert code == 3 and "rows.jsonl:2: 62 tokens" in error and "48" in error and "--max-length" in error
    for options, expected in [
        (["--max-length", 49], "1 to 48"),
        (["--max-length", 0], "1 to 48"),
        (["--dtype", "float16"], "bfloat16"),
        (["--modle", "x"], "modle"),
        (["extra"], "extra"),
    ]:
        code, error = fails(folder, long, *options)
        assert code == 2 and expected in error
    code, error = fails(folder, b"")
    assert code == 3 and "rows.jsonl: no examples" in error


def test_a_folder_without_a_head_is_refused(make_bert, fails):
    from transformers import BertModel

    code, error = fails(make_bert(3, cls=BertModel), [{"text": "a"}])
    assert code == 3 and "classifier.weight is missing" in error and "BertModel" in error


def test_a_tokenizer_larger_than_the_model_is_refused(make_bert, fails):
    folder = make_bert(4)
    rewrite(folder, lambda t: t | {"bert.embeddings.word_embeddings.weight": t["bert.embeddings.word_embeddings.weight"][:40].clone()})
    config = json.loads((folder.path / "config.json").read_text()) | {"vocab_size": 40}
    (folder.path / "config.json").write_text(json.dumps(config))
    code, error = fails(folder, [{"text": "a"}])
    assert code == 3 and "40 word vectors" in error


def test_missing_type_rows_are_refused(make_bert, fails):
    code, error = fails(make_bert(5, type_vocab_size=1), [{"text": "a", "text_pair": "b"}])
    assert code == 3 and "type_vocab_size" in error


def test_an_output_that_cannot_be_written(make_bert, program, tmp_path):
    folder, rows = make_bert(6), write_rows(tmp_path / "rows.jsonl", [{"text": "a"}])
    for output in ("/dev/full", rows / "below-a-file"):
        done = program("peft-tool", "logits", "--model", folder.path, "--input", rows, "--output", output)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
