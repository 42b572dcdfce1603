"""Random adapters of our own types: scripts/peft_plugin.py on transformers and our programs give the same logits."""

import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from conftest import ROOT, random_rows  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

sys.path.insert(0, str(ROOT / "scripts"))
from peft_plugin import load_adapter  # noqa: E402

TOLERANCE = 1e-4


def write_adapter(folder, config, tensors):
    folder.mkdir()
    common = {"task_type": "SEQ_CLS", "library": "peft.cpp", "format_version": 1, "modules_to_save": ["classifier"]}
    (folder / "adapter_config.json").write_text(json.dumps(common | config))
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")


def ntk_adapter(folder, model, seed, feature_map="elu", z_rank=None, center=False, shift=0, layers=None, labels=2, scale=1.0):
    torch.manual_seed(seed)
    config = model.config
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    count = {"elu": width, "taylor1": 1 + width, "taylor2": 1 + width + width * (width + 1) // 2}[feature_map]
    tensors = {
        "base_model.model.classifier.weight": torch.randn(labels, config.hidden_size),
        "base_model.model.classifier.bias": torch.randn(labels),
    }
    modules = [f"bert.encoder.layer.{i}.attention.self" for i in range(config.num_hidden_layers) if layers is None or i in layers]
    for module in modules:
        state = {"den": torch.rand(heads, count) if feature_map == "elu" else torch.randn(heads, count)}  # signed features gate rows
        if z_rank:
            state |= {"z_a": scale * torch.randn(heads, count, z_rank), "z_b": torch.randn(heads, z_rank, width)}
        else:
            state["Z"] = scale * torch.randn(heads, count, width)
        if center:
            state["center"] = torch.randn(heads, width)
            state["den"][:, 0] += 20  # few gated rows: what is left is the center's own doing
        tensors |= {f"base_model.model.{module}.ntk_{name}": tensor for name, tensor in state.items()}
    settings = {"feature_map": feature_map, "feature_dim": count, "z_rank": z_rank, "per": "query_head", "center": center}
    write_adapter(folder, {"peft_type": "NTK_ATTENTION", "target_modules": modules, "num_virtual_tokens": shift} | settings, tensors)


def virtual_rows_adapter(folder, model, seed, kind, labels=2, r=3, rows=4, length=48, **settings):
    torch.manual_seed(seed)
    width = model.config.hidden_size
    tensors = {
        "base_model.classifier.weight": torch.randn(labels, width),
        "base_model.classifier.bias": torch.randn(labels),
        "prompt_embeddings": torch.randn(rows, width),
    }
    if kind == "DEPT":
        tensors |= {"dept_A": torch.randn(length, r), "dept_B": 0.5 * torch.randn(r, width)}
        settings = {"row_alignment": "start", "offset_scaling": "none"} | settings
    else:
        shapes = {"W1": (width, r), "b1": (r,), "W2": (r, width), "b2": (width,)}
        tensors |= {f"adept_{name}": torch.randn(shape) for name, shape in shapes.items()}
        settings = {"offset_scaling": 1.0} | settings
    keys = {"num_virtual_tokens": rows, "token_dim": width, "r": r, "max_length": length, "left_pad_positions": False, "pooling": "first"}
    write_adapter(folder, {"peft_type": kind} | keys | settings, tensors)


def with_head_of(adapter, model):
    for name, tensor in load_file(adapter / "adapter_model.safetensors").items():
        if ".classifier." in name:
            model.get_parameter("classifier." + name.rpartition(".")[2]).data = tensor
    return model


def assert_plugin_agrees(folder, adapter, our_logits, seed):
    rows = random_rows(seed)
    ours = our_logits(folder, rows, "--adapter", adapter)
    bert = lambda **options: folder.model(num_labels=ours.shape[1], ignore_mismatched_sizes=True, **options)  # noqa: E731
    for attention in ("eager", "sdpa"):
        with torch.no_grad():
            theirs = load_adapter(bert(attn_implementation=attention), adapter)(**folder.batch(rows))
        assert theirs.shape == ours.shape
        assert (ours - theirs).abs().max().item() <= TOLERANCE * max(1.0, theirs.abs().max().item())
    assert (folder.logits(with_head_of(adapter, bert()), rows) - ours).abs().max() > 1e-2  # or the test could not tell


NTK = {
    "elu": {},
    "elu of low rank": dict(z_rank=2),
    "other number of labels": dict(labels=5),
    "taylor1": dict(feature_map="taylor1"),
    "taylor2 with a center": dict(feature_map="taylor2", center=True, shift=7),
    "taylor2 of low rank": dict(feature_map="taylor2", z_rank=3, shift=1),
    "taylor1 with a center": dict(feature_map="taylor1", center=True),
    "one layer": dict(layers=[1]),
    "large values": dict(scale=30.0),
}


@pytest.mark.parametrize("name", NTK)
def test_ntk_attention(make_bert, our_logits, tmp_path, name):
    seed = 600 + list(NTK).index(name)
    folder = make_bert(seed, 2, max_position_embeddings=64, num_hidden_layers=2)
    ntk_adapter(tmp_path / "adapter", folder.model(), seed, **NTK[name])
    assert_plugin_agrees(folder, tmp_path / "adapter", our_logits, seed)


VIRTUAL_ROWS = {
    "plain": {},
    "text pooled": dict(pooling="cls", labels=3),
    "scaled": dict(offset_scaling=0.7, rows=1, r=5),
}
DEPT = VIRTUAL_ROWS | {"code scaling": dict(offset_scaling="code"), "end alignment": dict(row_alignment="end")}


@pytest.mark.parametrize("kind, name", [("DEPT", name) for name in DEPT] + [("ADEPT", name) for name in VIRTUAL_ROWS])
def test_virtual_rows_with_an_offset_on_the_text(make_bert, our_logits, tmp_path, kind, name):
    seed = 700 + list(DEPT).index(name)
    folder = make_bert(seed, 2, max_position_embeddings=64)
    virtual_rows_adapter(tmp_path / "adapter", folder.model(), seed, kind, **DEPT[name])
    assert_plugin_agrees(folder, tmp_path / "adapter", our_logits, seed)


def rewrite_config(adapter, **changes):
    """Of adapter_config.json; a key whose new value is None goes."""
    file = adapter / "adapter_config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@pytest.mark.parametrize("version", [2, "1"])
def test_a_newer_format_is_refused(make_bert, tmp_path, version):
    model = make_bert(660).model()
    ntk_adapter(tmp_path / "adapter", model, 660)
    load_adapter(model, tmp_path / "adapter")
    rewrite_config(tmp_path / "adapter", format_version=version)
    with pytest.raises(ValueError, match=f"adapter_config.json: format_version {version!r}, expected 1"):
        load_adapter(model, tmp_path / "adapter")


@pytest.mark.parametrize("alignment", ["start", "end"])
def test_a_text_longer_than_the_offsets_is_refused(make_bert, tmp_path, alignment):
    folder = make_bert(661, max_position_embeddings=64)
    virtual_rows_adapter(tmp_path / "adapter", folder.model(), 661, "DEPT", length=5, row_alignment=alignment)
    adapted = load_adapter(folder.model(), tmp_path / "adapter")
    ids = torch.arange(1, 7).unsqueeze(0)
    with torch.no_grad():
        with pytest.raises(ValueError, match="a text of 6 tokens: the adapter has offsets for 5"):
            adapted(ids)
        padded, alone = adapted(ids, attention_mask=torch.tensor([[1, 1, 1, 1, 1, 0]])), adapted(ids[:, :5])
    assert (padded - alone).abs().max() <= TOLERANCE * max(1.0, alone.abs().max().item())


@pytest.mark.parametrize("key", ["peft_type", "feature_map"])
def test_a_missing_key_is_named(make_bert, tmp_path, key):
    model = make_bert(662).model()
    ntk_adapter(tmp_path / "adapter", model, 662)
    rewrite_config(tmp_path / "adapter", **{key: None})
    with pytest.raises(ValueError, match=f"adapter_config.json: {key} is missing"):
        load_adapter(model, tmp_path / "adapter")


def test_an_unknown_scaling_is_refused(make_bert, tmp_path):
    model = make_bert(664).model()
    virtual_rows_adapter(tmp_path / "adapter", model, 664, "DEPT", offset_scaling="rslora")
    with pytest.raises(ValueError, match="adapter_config.json: offset_scaling 'rslora', expected a number"):
        load_adapter(model, tmp_path / "adapter")


MISSING = [("DEPT", "classifier.weight"), ("NTK_ATTENTION", "classifier.bias")]
MISSING += [("DEPT", "prompt_embeddings"), ("DEPT", "dept_A"), ("DEPT", "dept_B"), ("ADEPT", "adept_b1"), ("ADEPT", "adept_W2")]
MISSING += [("NTK_ATTENTION", f"ntk_{name}") for name in ("Z", "den", "center", "z_a", "z_b")]


@pytest.mark.parametrize("kind, name", MISSING)
def test_a_missing_tensor_is_named(make_bert, tmp_path, kind, name):
    model = make_bert(663).model()
    if kind == "NTK_ATTENTION":
        ntk_adapter(tmp_path / "adapter", model, 663, feature_map="taylor1", center=True, z_rank=2 if "z_" in name else None)
    else:
        virtual_rows_adapter(tmp_path / "adapter", model, 663, kind)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = {key: tensor.clone() for key, tensor in load_file(file).items()}
    del tensors[next(key for key in tensors if key.endswith(name))]
    file.unlink()
    save_file(tensors, file)
    with pytest.raises(ValueError, match=f"adapter_model.safetensors: .*{name} is missing"):
        load_adapter(model, tmp_path / "adapter")


def test_the_command_line_prints_a_line_of_logits_per_text(make_bert, tmp_path):
    folder = make_bert(650)
    tokens = [t for t, _ in sorted(folder.tokenizer.get_vocab().items(), key=lambda item: item[1])]
    (folder.path / "vocab.txt").write_text("\n".join(tokens) + "\n")
    ntk_adapter(tmp_path / "adapter", folder.model(), 650)
    script = ROOT / "scripts" / "peft_plugin.py"
    rows = [{"text": "a good film"}, {"text": "the"}]

    def run(adapter):
        command = [sys.executable, script, "--model", folder.path, "--adapter", tmp_path / adapter, *(row["text"] for row in rows)]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("adapter")
    assert done.returncode == 0, done.stderr
    printed = torch.tensor([[float(x) for x in line.split()] for line in done.stdout.splitlines()])
    with torch.no_grad():
        expected = load_adapter(folder.model(), tmp_path / "adapter")(**folder.batch(rows))
    assert (printed - expected).abs().max() < 1e-4
    assert subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True).stdout.startswith("usage:")
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace("NTK_ATTENTION", "LORA"))
    refused = run("adapter")
    assert refused.returncode == 1 and "peft_type LORA, expected one of DEPT" in refused.stderr.splitlines()[-1]
    virtual_rows_adapter(tmp_path / "short", folder.model(), 650, "DEPT", length=3)
    refused = run("short")
    assert refused.returncode == 1 and refused.stderr.splitlines()[-1].startswith("peft_plugin: a text of ")
