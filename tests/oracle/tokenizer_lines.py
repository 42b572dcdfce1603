"""Lines that are hard to tokenise, and tokenizers with random vocabularies: material of tokenizer_test.py."""

import random

SPECIALS = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]"]
# Ranges drawn from, with weights: ASCII first, then the scripts and blocks where tokenizers go wrong.
BLOCKS = [
    (30, 0x61, 0x7A), (8, 0x41, 0x5A), (8, 0x20, 0x20), (6, 0x21, 0x7E), (2, 0x01, 0x1F), (1, 0x7F, 0x9F),
    (6, 0xA0, 0x24F), (5, 0x300, 0x36F), (3, 0x370, 0x3FF), (3, 0x400, 0x52F), (2, 0x590, 0x6FF), (3, 0x900, 0xDFF),
    (1, 0xE00, 0xEFF), (1, 0x1680, 0x1DFF), (2, 0x1E00, 0x1FFF), (3, 0x2000, 0x206F), (2, 0x20A0, 0x214F),
    (2, 0x2C00, 0x2E7F), (4, 0x3000, 0x30FF), (4, 0x3400, 0x9FFF), (3, 0xAC00, 0xD7A3), (1, 0xA640, 0xABFF),
    (1, 0xE000, 0xF8FF), (3, 0xF900, 0xFFFF), (2, 0x10000, 0x1FFFF), (3, 0x1F300, 0x1FAFF), (1, 0x20000, 0x2FA1F),
    (1, 0xE0000, 0x10FFFF), (1, 0x0, 0x10FFFF),
]  # fmt: skip
WEIGHTS = [weight for weight, _, _ in BLOCKS]


def character(rng):
    while True:
        _, first, last = rng.choices(BLOCKS, WEIGHTS)[0]
        c = rng.randint(first, last)
        if c not in (0x00, 0x09, 0x0A, 0x0D) and not 0xD800 <= c < 0xE000:  # the line format's own characters
            return chr(c)


def word(rng, known):
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(known).removeprefix("##")
    if kind < 0.6:
        return "".join(rng.choice(known).removeprefix("##") for _ in range(rng.randint(2, 5)))
    if kind < 0.65:
        special = rng.choice(SPECIALS)
        return rng.choice([special, special.lower(), special[:-1], rng.choice(known) + special + rng.choice(known)])
    if kind < 0.68:
        return "".join(rng.choice("abcdeé漢") for _ in range(rng.randint(95, 105)))
    if kind < 0.72:
        return rng.choice("aeuAEUçñ가漢") + "".join(chr(rng.randint(0x300, 0x345)) for _ in range(rng.randint(1, 4)))
    return "".join(character(rng) for _ in range(rng.randint(1, 8)))


def line(rng, known):
    separators = [" "] * 8 + ["", "  ", "\u00a0", "\u3000", "\u200b", "\u2028", "\x85", "\x0b"]
    return "".join(word(rng, known) + rng.choice(separators) for _ in range(rng.randint(0, 12)))


def random_vocabulary(rng, prefix="##"):
    """Letters, random pieces over few letters (so that greedy choices matter), accents, CJK, punctuation."""
    letters = list("abcdeABCéÉçñıİßσςΣ漢字가ᄀ.,!?-'\u0301\u0327") + [character(rng) for _ in range(40)]
    pieces = {"[PAD]": None, "[UNK]": None, "[CLS]": None, "[SEP]": None, "[MASK]": None}
    for letter in letters:
        if rng.random() < 0.8:
            pieces[letter] = None
        if rng.random() < 0.8:
            pieces[prefix + letter] = None
    while len(pieces) < rng.randint(60, 400):
        piece = "".join(rng.choice(letters[:12]) for _ in range(rng.randint(1, 6)))
        pieces[rng.choice(["", prefix]) + piece] = None
    tokens = list(pieces)
    rng.shuffle(tokens)
    return {token: i for i, token in enumerate(tokens)}


def random_added_tokens(rng, vocabulary):
    """(content, flags) with every combination of flags, some known to the model, some prefixes of others."""
    contents = ["<x>", "<x>y", "abc", "é", "Éa", "new token", " lead", "[MASK]s", "漢", "##a", "end. ", "A\u0301"]
    contents += rng.sample(sorted(vocabulary), 3)
    chosen = rng.sample(contents, rng.randint(0, 6))
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return [(c, {flag: rng.random() < 0.4 for flag in flags}) for c in dict.fromkeys(chosen)]
