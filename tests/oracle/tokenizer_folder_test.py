"""Random model folders against transformers' AutoTokenizer: ids, types, offsets, truncation, decoded text.

Each folder holds tokenizer.json or vocab.txt and some of config.json, tokenizer_config.json, special_tokens_map.json and
added_tokens.json, which may contradict each other.
"""

import json
import random

import pytest

pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

import tokenizer_driver as driver  # noqa: E402
import tokenizer_lines as lines  # noqa: E402
import tokenizer_sections_test as sections  # noqa: E402

MODELS = ["bert", "distilbert", "electra", "mpnet"]
CLASSES = ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast", "ElectraTokenizer",
           "MPNetTokenizer", "MPNetTokenizerFast"]  # fmt: skip
MPNET = ["<s>", "</s>", "<pad>", "<mask>"]
NAMES = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]


def some(rng, chance, value):
    return value if rng.random() < chance else None


def flags(rng):
    return {name: rng.random() < 0.4 for name in ("single_word", "lstrip", "rstrip", "normalized")}


def token(rng, content, typed):
    """A special token as a string, or as the object that transformers writes."""
    if rng.random() < 0.5:
        return content
    # One content named twice with two values of `normalized` decodes to what the library once remembered: left out.
    made = {"content": content, **flags(rng), "normalized": False}
    return made | ({"__type": "AddedToken", "special": rng.random() < 0.7} if typed else {})


def named_tokens(rng, vocabulary, typed):
    """Some of the five, mostly with contents that the vocabulary knows."""
    chosen = {}
    for name in NAMES:
        if rng.random() < 0.3:
            known = [*lines.SPECIALS, *MPNET, "a", "é"] + ([] if name == "unk_token" else ["<new>", "<other>"])
            content = rng.choice([c for c in known if name != "unk_token" or c in vocabulary])
            chosen[name] = token(rng, content, typed)
        elif name != "unk_token" and rng.random() < 0.05:
            chosen[name] = None
    return chosen


def next_ids(vocabulary, contents):
    """Each content with its id in the vocabulary, or the next free one."""
    ids, size = {}, len(vocabulary)
    for content in contents:
        ids[content] = vocabulary.get(content, size)
        size += content not in vocabulary
    return ids


def tokenizer_config(rng, vocabulary, backend_tokens):
    config = {"model_max_length": 512, "add_prefix_space": rng.random() < 0.5}
    for key in ("do_lower_case", "tokenize_chinese_chars", "strip_accents", "clean_up_tokenization_spaces", "split_special_tokens"):
        if rng.random() < (0.15 if key == "split_special_tokens" else 0.4):
            config[key] = rng.random() < 0.5
    if rng.random() < 0.2:
        config["truncation_side"] = rng.choice(["left", "right"])
    config |= named_tokens(rng, vocabulary, typed=True)
    if rng.random() < 0.2:
        config["image_token"] = "<image>"
    if rng.random() < 0.3:
        key = rng.choice(["additional_special_tokens", "extra_special_tokens"])
        config[key] = rng.sample(["<x>", "abc", "[MASK]", "É"], 2)
    elif rng.random() < 0.1:
        config["extra_special_tokens"] = {"video_token": "<video>"}
    if rng.random() < 0.3:
        contents = list(dict.fromkeys([*backend_tokens, *rng.sample(["[MASK]", "<d>", "Éa", "a", "[CLS]"], 3)]))
        ids = next_ids(vocabulary, contents)
        decoder = {}
        for content, index in ids.items():
            entry = {"content": content, **flags(rng), "special": rng.random() < 0.5}
            if rng.random() < 0.2:
                del entry[rng.choice(["single_word", "lstrip", "normalized", "special"])]
            decoder[str(index)] = entry
        config["added_tokens_decoder"] = decoder
    return config


def special_tokens_map(rng, vocabulary):
    found = {name: value for name, value in named_tokens(rng, vocabulary, typed=False).items() if value is not None}
    if rng.random() < 0.3:
        found[rng.choice(["additional_special_tokens", "extra_special_tokens"])] = rng.sample(["<x>", "<m>", "é"], 2)
    return found


def write_folder(rng, folder, kind):
    """Returns words worth having in a text."""
    vocabulary = lines.random_vocabulary(rng)
    for content in MPNET:
        if rng.random() < 0.8:
            vocabulary.setdefault(content, len(vocabulary))
    backend_tokens = []
    if kind == "tokenizer.json":
        tokenizer, _ = sections.random_tokenizer(rng, vocabulary=vocabulary)
        if rng.random() < 0.3:
            tokenizer.enable_truncation(5, direction=rng.choice(["left", "right"]))
        if rng.random() < 0.3:
            tokenizer.enable_padding(pad_id=0, pad_token=rng.choice(["[PAD]", "a", "<p>"]))
        tokenizer.save(str(folder / "tokenizer.json"))
        file = json.loads(tokenizer.to_str())
        backend_tokens = [t["content"] for t in sorted(file["added_tokens"], key=lambda t: t["id"])]
    else:
        vocabulary = {t: i for i, t in enumerate(t for t in vocabulary if t == t.strip())}
        (folder / "vocab.txt").write_text("".join(t + "\n" for t in vocabulary), encoding="utf-8", newline="")

    model = {"model_type": rng.choice(MODELS)} if rng.random() < 0.6 else None
    config = some(rng, 0.7, tokenizer_config(rng, vocabulary, backend_tokens))
    if config is not None and rng.random() < 0.5:
        plain = ["PreTrainedTokenizerFast"] if kind == "tokenizer.json" else []
        config["tokenizer_class"] = rng.choice(CLASSES + plain)
    if kind == "vocab.txt" and model is None and "tokenizer_class" not in (config or {}):
        model = {"model_type": rng.choice(MODELS)}  # AutoTokenizer opens no vocab.txt without a class
    files = {"config.json": model, "tokenizer_config.json": config,
             "special_tokens_map.json": some(rng, 0.3, special_tokens_map(rng, vocabulary))}  # fmt: skip
    if rng.random() < 0.3:
        contents = list(dict.fromkeys([*backend_tokens, *rng.sample(["<added>", "[E1]", "a", "[MASK]"], 2)]))
        files["added_tokens.json"] = next_ids(vocabulary, contents)
    for name, content in files.items():
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    special = ["<x>", "abc", "<image>", "<video>", "<new>", "<other>", "<d>", "Éa", "[E1]", "[e1]", "<added>", "<m>", "<p>"]
    return sorted(vocabulary) + (special + MPNET + backend_tokens) * 8


def random_request(rng, known):
    request = {"text": lines.line(rng, known), "special": rng.random() < 0.8, "offsets": True}
    if rng.random() < 0.4:
        request["pair"] = lines.line(rng, known)
    if rng.random() < 0.4:
        request["max_length"] = rng.randint(6, 20)
        request["truncation"] = rng.choice(["longest_first", "only_first"])
    return request


def encode(reference, request):
    """None where the library panics, and where it does not cut a text to nothing."""
    pair = [request["pair"]] if "pair" in request else None
    cut = {key: request[key] for key in ("max_length", "truncation") if key in request}
    try:
        batch = sections.unless_panic(reference, [request["text"]], pair, add_special_tokens=request["special"], **cut)
    except Exception as refusal:
        assert "Truncation" in str(refusal) or "truncat" in str(refusal), refusal
        return None
    return batch and batch.encodings[0]


def compare(rng, folder, known, count=40):
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    if not sections.has_clear_forms(reference.backend_tokenizer):
        return
    size = len(reference)
    requests = [random_request(rng, known) for _ in range(count)]
    decodes = []
    for _ in range(count):
        decodes.append({"decode": [rng.randrange(size) for _ in range(rng.randint(0, 15))], "skip": rng.random() < 0.5})
        if rng.random() < 0.5:
            decodes[-1]["clean"] = rng.random() < 0.5
    answers = driver.ask(folder, requests + decodes)
    for request, answer in zip(requests, answers):
        wanted = encode(reference, request)
        if wanted is None:
            continue
        assert answer.get("ids") == wanted.ids, (ascii(request), list(zip(wanted.tokens, wanted.ids, answer["ids"])))
        assert answer["types"] == wanted.type_ids, ascii(request)
        spans = [tuple(span) for span in answer["offsets"]]
        assert spans == wanted.offsets, (ascii(request), list(zip(wanted.tokens, spans, wanted.offsets)))
    for request, answer in zip(decodes, answers[count:]):
        clean = {"clean_up_tokenization_spaces": request["clean"]} if "clean" in request else {}
        wanted = sections.unless_panic(reference.decode, request["decode"], skip_special_tokens=request["skip"], **clean)
        assert wanted is None or answer["text"] == wanted, (request, [reference.convert_ids_to_tokens(i) for i in request["decode"]])


@pytest.mark.parametrize("kind", ["vocab.txt", "tokenizer.json"])
def test_random_folders_as_auto_tokenizer(tmp_path, kind):
    transformers.logging.set_verbosity_error()
    for number in range(60):
        rng = random.Random(f"folder {kind} {number}")
        folder = tmp_path / str(number)
        folder.mkdir()
        compare(rng, folder, write_folder(rng, folder, kind))
