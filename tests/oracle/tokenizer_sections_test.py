"""Random tokenizer.json files of every section type against the tokenizers library: ids, types, offsets, decoded text."""

import json
import random
import unicodedata

import pytest

pytest.importorskip("tokenizers")

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors  # noqa: E402

import tokenizer_driver as driver  # noqa: E402
import tokenizer_lines as lines  # noqa: E402

BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def options(rng, *names):
    return {name: rng.random() < 0.5 for name in names}


def replacement(rng):
    return rng.choice(["a", "ab", "é", "e\u0301", " ", "  ", ".", "漢"]), rng.choice(["", "b", "é", "cd", " ", "字"])


NORMALIZERS = {
    "bert": lambda rng: normalizers.BertNormalizer(
        **options(rng, "clean_text", "handle_chinese_chars", "lowercase"), strip_accents=rng.choice([None, True, False])
    ),
    "NFC": lambda rng: normalizers.NFC(),
    "NFD": lambda rng: normalizers.NFD(),
    "NFKC": lambda rng: normalizers.NFKC(),
    "NFKD": lambda rng: normalizers.NFKD(),
    "lowercase": lambda rng: normalizers.Lowercase(),
    "strip accents": lambda rng: normalizers.StripAccents(),
    "strip": lambda rng: normalizers.Strip(**options(rng, "left", "right")),
    "replace": lambda rng: normalizers.Replace(*replacement(rng)),
    "prepend": lambda rng: normalizers.Prepend(rng.choice(["a", "éb", "_ "])),
}
PRE_TOKENIZERS = {
    "bert": lambda rng: pre_tokenizers.BertPreTokenizer(),
    "whitespace": lambda rng: pre_tokenizers.Whitespace(),
    "whitespace split": lambda rng: pre_tokenizers.WhitespaceSplit(),
    "punctuation": lambda rng: pre_tokenizers.Punctuation(rng.choice(BEHAVIORS)),
    "digits": lambda rng: pre_tokenizers.Digits(**options(rng, "individual_digits")),
    "split": lambda rng: pre_tokenizers.Split(rng.choice(["a", "ab", " ", ".", "é"]), rng.choice(BEHAVIORS), rng.random() < 0.3),
    "delimiter": lambda rng: pre_tokenizers.CharDelimiterSplit(rng.choice(["a", " ", "漢"])),
}
DECODERS = {
    "wordpiece": lambda rng: decoders.WordPiece(rng.choice(["##", "@", "a"]), **options(rng, "cleanup")),
    "replace": lambda rng: decoders.Replace(*replacement(rng)),
    "strip": lambda rng: decoders.Strip(rng.choice([" ", "#", "é"]), rng.randint(0, 2), rng.randint(0, 2)),
    "fuse": lambda rng: decoders.Fuse(),
    "bpe": lambda rng: decoders.BPEDecoder(suffix=rng.choice(["</w>", "a", "é"])),
}


def sequence(rng, made, together):
    """None, one, or a Sequence of several of `made`."""
    steps = [made[name](rng) for name in rng.choices(sorted(made), k=rng.choice([0, 1, 1, 2, 3]))]
    return None if not steps else steps[0] if len(steps) == 1 else together(steps)


def post_processor(rng, vocabulary):
    cls, sep = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    made = [
        None,
        processors.BertProcessing(sep, cls),
        processors.RobertaProcessing(sep, cls, **options(rng, "trim_offsets", "add_prefix_space")),
        processors.TemplateProcessing(
            single="[CLS] $A [SEP]:2", pair="$B:1 [SEP] $A:3 [CLS] [SEP]:1", special_tokens=[cls, sep]
        ),
    ][rng.randrange(4)]
    return processors.Sequence([made]) if made is not None and rng.random() < 0.3 else made


def random_tokenizer(rng, normalizer=None, pre_tokenizer=None, decoder=None, vocabulary=None):
    vocabulary = vocabulary or lines.random_vocabulary(rng)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=rng.choice([5, 100])))
    chosen = {
        "normalizer": normalizer(rng) if normalizer else sequence(rng, NORMALIZERS, normalizers.Sequence),
        "pre_tokenizer": pre_tokenizer(rng) if pre_tokenizer else sequence(rng, PRE_TOKENIZERS, pre_tokenizers.Sequence),
        "decoder": decoder(rng) if decoder else sequence(rng, DECODERS, decoders.Sequence),
        "post_processor": post_processor(rng, vocabulary),
    }
    for name, section in chosen.items():
        if section is not None:
            setattr(tokenizer, name, section)
    if rng.random() < 0.6:
        tokenizer.add_special_tokens([AddedToken(t, **options(rng, "lstrip", "rstrip", "normalized")) for t in lines.SPECIALS])
    added = [(content, flags) for content, flags in lines.random_added_tokens(rng, vocabulary) if content not in lines.SPECIALS]
    tokenizer.add_tokens([AddedToken(content, **flags) for content, flags in added])
    return tokenizer, sorted(vocabulary) + [content for content, _ in added] * 10


def unless_panic(call, *args, **kwargs):
    """None where the library panics: its Strip decoder on a piece that is nothing but what it strips, overlapping added tokens."""
    try:
        return call(*args, **kwargs)
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        return None


def has_clear_forms(tokenizer):
    """Which of two added tokens with one normalised form is found, differs from run to run; an empty form we refuse."""
    added = [token for token in tokenizer.get_added_tokens_decoder().values() if token.normalized]
    forms = [tokenizer.normalizer.normalize_str(t.content) if tokenizer.normalizer else t.content for t in added]
    return "" not in forms and len(set(forms)) == len(forms)


def compare(rng, tokenizer, known, folder, count=80):
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if not has_clear_forms(tokenizer):
        return
    requests = [{"text": lines.line(rng, known), "special": rng.random() < 0.7, "offsets": True} for _ in range(count)]
    for request in requests[::3]:
        request["pair"] = lines.line(rng, known)
    ids = [[rng.randrange(tokenizer.get_vocab_size() + 2) for _ in range(rng.randint(0, 20))] for _ in range(count)]
    decodes = [{"decode": row, "skip": rng.random() < 0.5} for row in ids]
    answers = driver.ask(folder, requests + decodes)
    for request, answer in zip(requests, answers):
        texts = [request[key] for key in ("text", "pair") if key in request]
        wanted = unless_panic(tokenizer.encode, *texts, add_special_tokens=request["special"])
        if wanted is None:
            continue
        assert answer["ids"] == wanted.ids, ascii(request)
        assert answer["types"] == wanted.type_ids, ascii(request)
        assert [tuple(span) for span in answer["offsets"]] == wanted.offsets, ascii(request)
    for request, answer in zip(decodes, answers[count:]):
        wanted = unless_panic(tokenizer.decode, request["decode"], skip_special_tokens=request["skip"])
        assert wanted is None or answer["text"] == wanted, request


@pytest.mark.parametrize("name", NORMALIZERS)
def test_every_normalizer(tmp_path, name):
    for number in range(6):
        rng = random.Random(f"normalizer {name} {number}")
        compare(rng, *random_tokenizer(rng, normalizer=NORMALIZERS[name]), tmp_path / str(number))


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_every_pre_tokenizer(tmp_path, name):
    for number in range(6):
        rng = random.Random(f"pre-tokenizer {name} {number}")
        compare(rng, *random_tokenizer(rng, pre_tokenizer=PRE_TOKENIZERS[name]), tmp_path / str(number))


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder(tmp_path, name):
    for number in range(6):
        rng = random.Random(f"decoder {name} {number}")
        compare(rng, *random_tokenizer(rng, decoder=DECODERS[name]), tmp_path / str(number))


def test_random_tokenizers(tmp_path):
    for number in range(80):
        rng = random.Random(f"sections {number}")
        compare(rng, *random_tokenizer(rng), tmp_path / str(number))


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_unicode_forms_of_every_code_point(tmp_path, form):
    """Those that change or may join others, and some that do not: alone, behind a letter, between two marks."""
    normalizer = getattr(normalizers, form)()
    points = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    hangul = range(0xAC00, 0xD7A4)
    changed = [c for c in points if unicodedata.decomposition(c) or unicodedata.combining(c) or normalizer.normalize_str(c) != c]
    chosen = [c for c in changed if ord(c) not in hangul] + points[::97]
    texts = [f"{c} e{c}\u0301{c}\u0323 \u1100{c}" for c in chosen]
    pieces = sorted({c for text in texts for c in normalizer.normalize_str(text)} | {"[UNK]"})
    tokenizer = Tokenizer(models.WordPiece({c: i for i, c in enumerate(pieces)}, unk_token="[UNK]", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizer
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    answers = driver.ask(tmp_path, [{"text": text, "offsets": True} for text in texts])
    for text, answer, wanted in zip(texts, answers, tokenizer.encode_batch(texts), strict=True):
        assert answer["ids"] == wanted.ids, ascii(text)
        assert [tuple(span) for span in answer["offsets"]] == wanted.offsets, ascii(text)


@pytest.mark.parametrize("section", ["normalizer", "pre_tokenizer", "model", "post_processor", "decoder"])
def test_unknown_types_are_refused_by_name(tmp_path, section):
    rng = random.Random(section)
    tokenizer, _ = random_tokenizer(rng)
    file = json.loads(tokenizer.to_str())
    file[section] = {"type": "Nothing"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(file))
    done = driver.start(tmp_path, [])
    assert done.returncode == 3
    message = done.stderr.decode()
    assert f'tokenizer.json: {section}: type "Nothing" is not supported (supported: ' in message and message.count("\n") == 1
