"""Ids, types and truncation against the tokenizers and transformers libraries, live.

PEFT_BIN   folder with peft-tool and test-encode (default: build/bin)
PEFT_DATA  folder with glue/ and tokenizers/ or their .tar.xz (default: ../data, then ../shared/data); without it only the
           generated lines are compared
"""

import itertools
import json
import os
import pathlib
import random
import subprocess
import tarfile

import pytest

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: E402

import tokenizer_lines as lines  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin"))
REAL = ["bert-base-uncased", "bert-base-cased"]


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folder with glue/ and tokenizers/."""
    candidates = [ROOT.parent / "data", ROOT.parent / "shared" / "data"]
    if "PEFT_DATA" in os.environ:
        candidates = [pathlib.Path(os.environ["PEFT_DATA"])]
    for folder in candidates:
        if (folder / "glue").is_dir() and (folder / "tokenizers").is_dir():
            return folder
        if (folder / "glue.tar.xz").is_file() and (folder / "tokenizers.tar.xz").is_file():
            target = tmp_path_factory.mktemp("data")
            for name in ("glue", "tokenizers"):
                with tarfile.open(folder / f"{name}.tar.xz") as archive:
                    archive.extractall(target, filter="data")
            return target
    pytest.skip("no folder with glue and tokenizers; set PEFT_DATA")


@pytest.fixture(scope="session")
def glue_lines(data):
    """Two middle columns of every GLUE row as text<TAB>text_pair, one column as text."""
    found = []
    for path in sorted((data / "glue").rglob("*.tsv")):
        for row in path.read_text(encoding="utf-8").split("\n"):
            fields = [field for field in row.rstrip("\r").split("\t") if "\r" not in field and "\0" not in field]
            texts = sorted(fields, key=len)[-2:] if len(fields) > 1 else fields
            if texts and sum(map(len, texts)):
                found.append("\t".join(texts if len(found) % 2 else texts[-1:]))
    return found


def ours(folder, texts, *options):
    command = [BIN / "peft-tool", "tokenize", "--model", folder, *options]
    done = subprocess.run(command, input=("\n".join(texts) + "\n").encode(), capture_output=True, check=True)
    rows = done.stdout.decode().split("\n")
    assert rows.pop() == ""
    return [[int(i) for i in row.split()] for row in rows]


def theirs(tokenizer, texts, special=True):
    inputs = [tuple(text.split("\t")) if "\t" in text else text for text in texts]
    return [encoding.ids for encoding in tokenizer.encode_batch(inputs, add_special_tokens=special)]


def assert_equal(folder, tokenizer, texts, special=True):
    got = ours(folder, texts, *([] if special else ["--no-special-tokens"]))
    wanted = theirs(tokenizer, texts, special)
    assert len(got) == len(wanted)
    for text, a, b in zip(texts, got, wanted):
        assert a == b, ascii(text)


def bert(vocabulary, **normalizer):
    """A tokenizer built with the library alone."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in lines.SPECIALS])
    cls, sep = ("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[cls, sep]
    )
    return tokenizer


def save(tokenizer, folder):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def save_lines(vocabulary, folder):
    """vocab.txt of the tokens that survive it: the reference trims lines."""
    tokens = [token for token in vocabulary if token == token.strip()]
    (folder / "vocab.txt").write_text("".join(token + "\n" for token in tokens), encoding="utf-8", newline="")
    return tokens


def real_vocabulary(data, name):
    tokens = (data / "tokenizers" / name / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    return {token: i for i, token in enumerate(tokens)}


@pytest.mark.parametrize("name", REAL)
def test_real_text_from_vocab_txt_and_tokenizer_json(data, glue_lines, tmp_path, name):
    folder = data / "tokenizers" / name
    tokenizer = bert(real_vocabulary(data, name), lowercase=name.endswith("-uncased"))
    assert_equal(folder, tokenizer, glue_lines)
    assert_equal(save(tokenizer, tmp_path), tokenizer, glue_lines[:20000], special=False)


@pytest.mark.parametrize("name", REAL)
def test_hard_lines_with_a_real_vocabulary(data, name):
    rng = random.Random(f"hard {name}")
    vocabulary = real_vocabulary(data, name)
    known = sorted(vocabulary)
    texts = [lines.line(rng, known) for _ in range(25000)]
    texts += ["\t".join((lines.line(rng, known), lines.line(rng, known))) for _ in range(5000)]
    assert_equal(data / "tokenizers" / name, bert(vocabulary, lowercase=name.endswith("-uncased")), texts)


@pytest.mark.parametrize(
    "options", list(itertools.product([True, False], [True, False], [None, True, False], [True, False]))
)
def test_hard_lines_with_random_vocabularies_and_all_normalizer_options(tmp_path, options):
    names = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    rng = random.Random(f"random {options}")
    for number in range(4):
        vocabulary = lines.random_vocabulary(rng)
        tokenizer = bert(vocabulary, **dict(zip(names, options)))
        folder = save(tokenizer, tmp_path / str(number))
        texts = [lines.line(rng, sorted(vocabulary)) for _ in range(700)]
        assert_equal(folder, tokenizer, texts, special=number % 2 == 0)


@pytest.mark.parametrize("lowercase", [True, False])
def test_every_code_point(tmp_path, lowercase):
    """Each one between letters, doubled behind a mark, and next to an added token that must stand alone."""
    points = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000 and c not in (9, 10, 13)]
    pieces = {"a", "b", "\u0301", "\u0316", *points[: 0x3000], *(p for p in points if p.lower() != p)}
    vocabulary = {t: i for i, t in enumerate([*lines.SPECIALS, "XQ", *sorted(pieces), *("##" + p for p in sorted(pieces))])}
    tokenizer = bert(vocabulary, lowercase=lowercase)
    tokenizer.add_tokens([AddedToken("XQ", single_word=True, rstrip=True, normalized=False)])
    texts = [f"a{c}b {c}\u0301{c}\u0316 {c}XQ XQ{c}" for c in points]
    assert_equal(save(tokenizer, tmp_path), tokenizer, texts)


def test_added_tokens_with_all_flags(tmp_path):
    rng = random.Random("added")
    for number in range(60):
        vocabulary = lines.random_vocabulary(rng)
        added = lines.random_added_tokens(rng, vocabulary)
        tokenizer = bert(vocabulary, lowercase=number % 2 == 0)
        tokenizer.add_tokens([AddedToken(content, **flags) for content, flags in added if content not in lines.SPECIALS])
        folder = save(tokenizer, tmp_path / str(number))
        known = sorted(vocabulary) + [content for content, _ in added] * 20
        assert_equal(folder, Tokenizer.from_file(str(folder / "tokenizer.json")), [lines.line(rng, known) for _ in range(300)])


@pytest.mark.parametrize("steps", ["NFD", "Lowercase", "StripAccents", "NFD Lowercase StripAccents", "Lowercase NFD", ""])
def test_other_normalizers_and_no_pre_tokenizer(tmp_path, steps):
    rng = random.Random(steps)
    for number in range(6):
        vocabulary = lines.random_vocabulary(rng, prefix="@")
        model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=12, continuing_subword_prefix="@")
        tokenizer = Tokenizer(model)
        if steps:
            made = [getattr(normalizers, step)() for step in steps.split()]
            tokenizer.normalizer = made[0] if len(made) == 1 else normalizers.Sequence(made)
        if number % 2:
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        if number % 3:
            tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
        folder = save(tokenizer, tmp_path / str(number))
        texts = ["\t".join((lines.line(rng, sorted(vocabulary)), lines.line(rng, sorted(vocabulary)))) for _ in range(400)]
        assert_equal(folder, tokenizer, texts)


@pytest.mark.parametrize("kind", ["vocab.txt", "tokenizer.json"])
def test_pairs_types_and_truncation_as_transformers(tmp_path, kind):
    rng = random.Random(f"pairs {kind}")
    known = sorted(save_lines(lines.random_vocabulary(rng), tmp_path))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    reference = transformers.BertTokenizerFast.from_pretrained(tmp_path)
    folder = tmp_path if kind == "vocab.txt" else save(reference.backend_tokenizer, tmp_path / "json")

    requests = []
    for _ in range(6000):
        request = {"text": lines.line(rng, known), "special": rng.random() < 0.8}
        if rng.random() < 0.7:
            request["pair"] = lines.line(rng, known)
        if rng.random() < 0.8:
            request["max_length"] = rng.randint(4, 40)  # for 3 the library drops both texts whatever the strategy
            request["truncation"] = rng.choice(["longest_first", "only_first", "only_second"])
        requests.append(request)
    done = subprocess.run(
        [BIN / "test-encode", folder], input="".join(json.dumps(r) + "\n" for r in requests).encode(), capture_output=True, check=True
    )

    def encode(request, **options):  # as a batch: a lone call takes an empty pair for none
        pairs = [request["pair"]] if "pair" in request else None
        batch = reference([request["text"]], pairs, add_special_tokens=request["special"], **options)
        return batch["input_ids"][0], batch["token_type_ids"][0]

    compared = 0
    for request, row in zip(requests, done.stdout.decode().splitlines(), strict=True):
        answer = json.loads(row)
        whole, _ = encode(request)
        cut = {key: request[key] for key in ("max_length", "truncation") if key in request}
        try:
            ids, types = encode(request, **cut)
        except Exception as refusal:  # the binding raises a bare Exception
            # The library also refuses to cut a text to nothing, which is allowed here.
            kept = answer.get("ids")
            assert kept is None or len(kept) == request["max_length"], refusal
            continue
        assert answer.get("ids") == ids, (ascii(request), answer)
        assert answer["types"] == types, ascii(request)
        assert answer["lost"] == len(whole) - len(ids), ascii(request)
        compared += 1
    assert compared > 4000


CONFIGS = [
    {},
    {"do_lower_case": False},
    {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False},
    {"do_lower_case": False, "strip_accents": True, "mask_token": {"content": "[MASK]", "lstrip": True, "rstrip": True,
     "normalized": False, "single_word": False, "__type": "AddedToken"}},
    {"do_lower_case": True, "additional_special_tokens": ["<x>", "abc"]},
    {"do_lower_case": True, "sep_token": "<sep>", "unk_token": "a", "pad_token": None},
    {"do_lower_case": True, "added_tokens_decoder": {"5": {"content": "a", "lstrip": False, "rstrip": True, "normalized": False,
     "single_word": True, "special": True}}},
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_vocab_txt_with_options_as_transformers(tmp_path, config):
    rng = random.Random(str(config))
    fixed = dict.fromkeys([*lines.SPECIALS, "a"])
    tokens = save_lines(fixed | dict.fromkeys(sorted(lines.random_vocabulary(rng))), tmp_path)
    if config:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    # Without a word about case transformers takes lowercase; ours looks at the vocabulary, which has capitals here.
    reference = transformers.BertTokenizerFast.from_pretrained(tmp_path, **({} if config else {"do_lower_case": False}))
    known = tokens + ["<x>", "abc", "<sep>"] * 20
    texts = [lines.line(rng, known) for _ in range(1500)]
    assert ours(tmp_path, texts) == [reference(text)["input_ids"] for text in texts]
