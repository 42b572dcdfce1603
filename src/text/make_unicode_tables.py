"""Writes unicode_tables.cpp: what the tokenizers library takes each code point for, read from the library itself.

The library's crates carry Unicode tables of different ages (its categories are those of Unicode 8), so no one version of
Unicode, and no installed library, agrees with it. Run:  python src/text/make_unicode_tables.py > src/text/unicode_tables.cpp
"""

from tokenizers import AddedToken, Tokenizer, __version__, models, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
# One mark of each canonical combining class, old enough for every version of Unicode.
MARKS = "\u0334\u093c\u3099\u094d\u0321\u1dce\u031b\u302a\u0316\u05ad\u302e\u302b\u0300\u0315\u035c\u035d\u0345"


def bert(**on):
    options = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**options, **on}).normalize_str


def removed_by(normalize):
    return lambda c: normalize("a" + c + "b") == "ab"


def punctuation(c):
    pieces = pre_tokenizers.BertPreTokenizer().pre_tokenize_str("a" + c + "b")
    return len(pieces) == 3


def word_character():
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.add_tokens([AddedToken("XQ", single_word=True, normalized=False)])
    return lambda c: len(tokenizer.encode(c + "XQ").ids) == 1


def reordered(c):
    """Changes places with some mark: combining class other than 0."""
    nfd = normalizers.NFD().normalize_str
    return nfd(c) == c and any(nfd(m + c) != m + c or nfd(c + m) != c + m for m in MARKS)


def decomposed(c):
    return normalizers.NFD().normalize_str(c) != c


def compatible(c):
    return normalizers.NFKD().normalize_str(c) != normalizers.NFD().normalize_str(c)


def numeric(c):
    return len(pre_tokenizers.Digits().pre_tokenize_str("a" + c)) == 2


TABLES = [
    ("kControl", removed_by(bert(clean_text=True))),
    ("kNonspacingMark", removed_by(bert(strip_accents=True))),
    ("kCombiningMark", removed_by(normalizers.StripAccents().normalize_str)),
    ("kPunctuation", punctuation),
    ("kWord", word_character()),
    ("kReordered", reordered),
    ("kDecomposed", decomposed),
    ("kCompatible", compatible),
    ("kNumeric", numeric),
]


def ranges(belongs):
    found = []
    for c in CODE_POINTS:
        if not belongs(chr(c)):
            continue
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def main():
    print(f"// Written by make_unicode_tables.py from tokenizers {__version__}; not edited by hand.")
    print('#include "src/text/unicode_tables.h"\n\nnamespace peft::text {\nnamespace {\n\n// clang-format off')
    for name, belongs in TABLES:
        print(f"constexpr CodeRange {name}Ranges[] = {{")
        line = "   "
        for first, last in ranges(belongs):
            item = f" {{{first:#x},{last:#x}}},"
            if len(line) + len(item) > 120:
                print(line)
                line = "   "
            line += item
        print(line + "\n};")
    print("// clang-format on\n\n}  // namespace\n")
    for name, _ in TABLES:
        print(f"const std::span<const CodeRange> {name} = {name}Ranges;")
    print("\n}  // namespace peft::text")


main()
