"""MPNet and DistilBERT against live transformers and peft, on random folders: logits, adapters both ways, bad folders."""

import json
import os
import pathlib
import random

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from conftest import WORDS, Folder, random_rows, randomise, write_rows  # noqa: E402
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: E402

TOLERANCE = 1e-5  # float32: the order of sums is all that may differ


class MPNet:
    special = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
    padding = 1
    template = dict(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    bare, classifier = transformers.MPNetModel, transformers.MPNetForSequenceClassification
    targets, maps, prefix = ["q", "v"], "all-linear", "mpnet."
    stray = {"lm_head.bias": (5,), "pooler.dense.weight": (4, 4)}

    @staticmethod
    def config(rng, heads, **options):
        return transformers.MPNetConfig(**(dict(
            hidden_size=heads * rng.choice([4, 8, 12]), num_attention_heads=heads, num_hidden_layers=rng.choice([1, 2, 3]),
            intermediate_size=rng.choice([16, 37]), max_position_embeddings=rng.choice([50, 66, 102]), layer_norm_eps=rng.choice([1e-12, 1e-5]),
            hidden_act=rng.choice(["gelu", "relu"])) | options))  # fmt: skip


class DistilBert:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    padding = 0
    template = dict(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    bare, classifier = transformers.DistilBertModel, transformers.DistilBertForSequenceClassification
    targets, prefix = ["q_lin", "v_lin"], "distilbert."
    maps = ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]  # peft's "all-linear" meets its own wrapper of pre_classifier and stops
    stray = {"vocab_projector.bias": (5,), "vocab_layer_norm.weight": (4,)}

    @staticmethod
    def config(rng, heads, **options):
        return transformers.DistilBertConfig(**(dict(
            dim=heads * rng.choice([4, 8, 12]), n_heads=heads, n_layers=rng.choice([1, 2, 3]), hidden_dim=rng.choice([16, 37]),
            max_position_embeddings=rng.choice([48, 64, 100]), activation=rng.choice(["gelu", "relu"]))
            | options))  # fmt: skip


FAMILIES = pytest.mark.parametrize("family", [MPNet, DistilBert])


class FamilyFolder(Folder):
    """A random model of a family with a tokenizer.json of its own."""

    def __init__(self, family, path, seed, labels=2, cls=None, **options):
        rng = random.Random(seed)
        path.mkdir()
        self.family, self.path = family, path
        letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
        pieces = list(dict.fromkeys(family.special + letters + ["##" + c for c in letters] + list(".,!?'-") + rng.sample(WORDS, rng.randint(20, 70))))
        tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]", max_input_chars_per_word=100))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.TemplateProcessing(**family.template)
        tokenizer.add_special_tokens(family.special)
        tokenizer.save(str(path / "tokenizer.json"))
        self.tokenizer = tokenizer
        config = family.config(rng, rng.choice([1, 2, 3, 4]), vocab_size=len(pieces) + rng.choice([0, 7]), num_labels=labels, **options)
        model = (cls or family.classifier)(config)
        randomise(model, seed)
        model.save_pretrained(path)

    def model(self, cls=None, **options):
        return super().model(cls or self.family.classifier, **options)

    def batch(self, rows, max_length=None):
        batch = super().batch(rows, max_length)
        del batch["token_type_ids"]
        batch["input_ids"][batch["attention_mask"] == 0] = self.family.padding
        return batch


@pytest.fixture
def make(tmp_path):
    def folder(family, seed, **options):
        return FamilyFolder(family, tmp_path / f"model{seed}", seed, **options)

    return folder


def assert_same(ours, theirs):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max().item() <= TOLERANCE * max(1.0, theirs.abs().max().item())


@FAMILIES
@pytest.mark.parametrize("seed", range(6))
def test_logits_of_random_shapes(make, our_logits, family, seed):
    folder, rows = make(family, seed, labels=[1, 2, 3, 5][seed % 4]), random_rows(seed, longest=120)
    assert_same(our_logits(folder, rows, "--max-length", 40), folder.logits(folder.model(), rows, 40))


@FAMILIES
def test_a_padding_token_in_a_text(make, our_logits, family):
    folder = make(family, 10, labels=3)
    rows = [{"text": f"the {family.special[family.padding]} good film", "text_pair": f"a {family.special[family.padding]}"}, {"text": "good"}]
    assert_same(our_logits(folder, rows), folder.logits(folder.model(), rows))


@FAMILIES
def test_spellings_of_tensor_names(make, our_logits, family):
    folder, rows = make(family, 20), random_rows(20)
    file = folder.path / "model.safetensors"
    expected = folder.logits(folder.model(), rows)
    tensors = {name.removeprefix(family.prefix): tensor for name, tensor in load_file(file).items()}
    save_file(tensors | {name: torch.zeros(shape) for name, shape in family.stray.items()}, file, {"format": "pt"})
    assert_same(our_logits(folder, rows), expected)


def randomise_adapter(model, seed):
    randomise(torch.nn.ParameterList(p for p in model.parameters() if p.requires_grad), seed, 0.4)


CONFIGS = {
    "lora": lambda family: LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=9, target_modules=family.targets),
    "lora of all maps": lambda family: LoraConfig(task_type="SEQ_CLS", r=2, target_modules=family.maps),
    "lora with biases": lambda family: LoraConfig(task_type="SEQ_CLS", r=2, bias="all", target_modules=family.targets),
    "prompt": lambda family: PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=5),
}


@FAMILIES
@pytest.mark.parametrize("name", CONFIGS)
def test_adapters_of_peft_load_here(make, our_logits, tmp_path, family, name):
    seed = 30 + list(CONFIGS).index(name)
    folder, rows = make(family, seed, labels=3), random_rows(seed)
    config, base = CONFIGS[name](family), folder.model()
    if name == "prompt":  # peft looks for other names of these in a config than DistilBERT's
        config.token_dim, config.num_layers, config.num_attention_heads = base.config.hidden_size, base.config.num_hidden_layers, base.config.num_attention_heads
    model = get_peft_model(base, config)
    randomise_adapter(model, seed)
    theirs = folder.logits(model.eval(), rows)
    model.save_pretrained(tmp_path / "adapter")
    assert (theirs - folder.logits(folder.model(), rows)).abs().max() > 1e-2
    assert_same(our_logits(folder, rows, "--adapter", tmp_path / "adapter"), theirs)


METHODS = {
    "lora": dict(type="lora", r=3, lora_alpha=6),
    "lora of all maps": dict(type="lora", r=2, target_modules="all-linear"),
    "prompt": dict(type="prompt", num_virtual_tokens=4),
    "p_tuning": dict(type="p_tuning", num_virtual_tokens=4),
}
OWN = {
    "prefix": dict(type="prefix", num_virtual_tokens=4),
    "p_tuning_v2": dict(type="p_tuning_v2", num_virtual_tokens=4, head="architecture"),
    "dept": dict(type="dept", num_virtual_tokens=4, r=2),
    "adept": dict(type="adept", num_virtual_tokens=4, r=2),
    "ntk_attention": dict(type="ntk_attention"),
    "bitfit": dict(type="bitfit"),
    "linear_probe": dict(type="linear_probe"),
    "full": dict(type="full"),
}


@pytest.fixture
def train(succeed, tmp_path):
    """train(folder, method) -> run folder after some steps on a small labelled file, and its rows."""

    def run(folder, method):
        rng = random.Random(7)
        data, lines = tmp_path / "data", []
        data.mkdir(exist_ok=True)
        for _ in range(48):
            lines.append((" ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 9))), rng.choice(["no", "yes", "some"])))
        for split, some in [("train", lines[:32]), ("dev", lines[32:])]:
            (data / f"{split}.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in some))
        config = {
            "model": {"path": str(folder.path)},
            "task": {"name": "classification", "data": str(data), "max_length": 24},
            "method": method,
            "train": {"max_steps": 12, "batch_size": 8, "learning_rate": 0.05, "device": "cpu", "num_threads": 1},
            "output": str(tmp_path / "run"),
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        succeed("peft-train", "--config", tmp_path / "config.json")
        return tmp_path / "run", [{"text": text} for text, _ in lines[32:]]

    return run


@FAMILIES
@pytest.mark.parametrize("name", METHODS)
def test_our_adapters_load_in_peft(make, our_logits, train, family, name):
    folder = make(family, 50 + list(METHODS).index(name), labels=3)
    run, rows = train(folder, METHODS[name])
    theirs = folder.logits(PeftModel.from_pretrained(folder.model(), run / "best").eval(), rows)
    assert (theirs - folder.logits(folder.model(), rows)).abs().max() > 1e-2
    assert_same(our_logits(folder, rows, "--adapter", run / "best"), theirs)


@FAMILIES
@pytest.mark.parametrize("name", OWN)
def test_methods_that_peft_cannot_run_here_train_and_read_their_files(make, our_logits, train, family, name):
    """peft's prefixes need past_key_values, which these models of transformers do not take."""
    folder = make(family, 70 + list(OWN).index(name), labels=3)
    run, rows = train(folder, OWN[name])
    predictions = [json.loads(line) for line in (run / "predictions" / "dev.jsonl").read_text().splitlines()]
    if name == "full":
        ours = our_logits(FamilyView(folder, run / "best"), rows, "--max-length", 24)
        assert_same(ours, folder.logits(family.classifier.from_pretrained(run / "best").eval(), rows, 24))
    else:
        ours = our_logits(folder, rows, "--adapter", run / "best", "--max-length", 24)
    assert_same(ours, torch.tensor([p["scores"] for p in predictions]))


class FamilyView:
    def __init__(self, folder, path):
        self.path = path
        (path / "tokenizer.json").write_text((folder.path / "tokenizer.json").read_text())


@FAMILIES
@pytest.mark.parametrize("ending", ["ffn.lin1.bias|intermediate.dense.bias", "word_embeddings.weight", "relative_attention_bias.weight|k_lin.weight", "LayerNorm.bias"])
def test_a_missing_tensor_is_named_with_its_file_and_architecture(make, program, tmp_path, family, ending):
    folder = make(family, 90)
    file = folder.path / "model.safetensors"
    tensors = load_file(file)
    gone = next(name for name in tensors if any(name.endswith(e) for e in ending.split("|")))
    save_file({name: tensor for name, tensor in tensors.items() if name != gone}, file, {"format": "pt"})
    done = program("peft-tool", "logits", "--model", folder.path, "--input", write_rows(tmp_path / "rows.jsonl", [{"text": "a"}]), "--output", tmp_path / "out")
    model_type = folder.model().config.model_type
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert f"{file}: tensor {gone} is missing" in done.stderr and f'"{model_type}"' in done.stderr


def test_mpnet_with_another_number_of_buckets_is_refused(make, program, tmp_path):
    folder = make(MPNet, 91)
    config = json.loads((folder.path / "config.json").read_text())
    (folder.path / "config.json").write_text(json.dumps(config | {"relative_attention_num_buckets": 16}))
    done = program("peft-tool", "logits", "--model", folder.path, "--input", write_rows(tmp_path / "rows.jsonl", [{"text": "a"}]), "--output", tmp_path / "out")
    assert done.returncode == 3 and "relative_attention_num_buckets: found 16, expected 32" in done.stderr


def test_a_real_mpnet_on_real_sentences(our_logits, tmp_path):
    """PEFT_MODELS names a folder with all-mpnet-base-v2, PEFT_DATA one with the GLUE dumps."""
    models, data = (os.environ.get(name) for name in ("PEFT_MODELS", "PEFT_DATA"))
    if not models or not data:
        pytest.skip("PEFT_MODELS or PEFT_DATA is not set")
    texts = [line.split("\t")[0] for line in next(pathlib.Path(data).glob("**/SST-2/dev.tsv")).read_text().splitlines()[1:151]]
    pairs = [line.split("\t")[1:3] for line in next(pathlib.Path(data).glob("**/glue*/**/RTE/dev.tsv")).read_text().splitlines()[1:51]]
    rows = [{"text": text} for text in texts] + [{"text": first, "text_pair": second} for first, second in pairs]
    source = pathlib.Path(models) / "all-mpnet-base-v2"
    model = MPNet.classifier.from_pretrained(source, num_labels=3, dtype=torch.float32)
    randomise(model.classifier, 1, 0.1)
    model.save_pretrained(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (tmp_path / "model" / name).write_bytes((source / name).read_bytes())
    view = type("View", (), {"path": tmp_path / "model"})
    ours, theirs = our_logits(view, rows), []
    with torch.no_grad():
        for row in rows:
            theirs.append(model.eval()(**tokenizer(row["text"], row.get("text_pair"), return_tensors="pt")).logits[0])
    assert_same(ours, torch.stack(theirs))
