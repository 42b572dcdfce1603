#!/usr/bin/env python3
"""Makes examples/wordnet_gloss: from a dictionary definition to the category of the noun, 8 classes.

    scripts/make_wordnet_gloss.py [--source /usr/share/wordnet/data.noun] [--output examples/wordnet_gloss]

Source: data.noun of WordNet 3.0 (Debian package wordnet-base). The text of a row is the gloss of a synset up to the first
"; "; rows of 4 to 25 words are kept whose text stands under one lexicographer category only. Each class is shuffled
and cut into 300 / 38 / 37 rows. The shuffle is an order by SHA-256 of seed and text, so it depends on no random generator.
"""

import argparse
import hashlib
import pathlib
import sys

# Numbers of the lexicographer files, lexnames(5WN).
CATEGORIES = {4: "act", 6: "artifact", 7: "attribute", 9: "cognition", 10: "communication", 18: "person", 26: "state", 27: "substance"}
ROWS = {"train": 300, "dev": 38, "test": 37}
SEED = 42


def read(source: pathlib.Path) -> tuple[str, dict[str, set[int]]]:
    """The licence that heads the file, and for every text the categories it occurs under."""
    notice: list[str] = []
    categories: dict[str, set[int]] = {}
    for line in source.read_text(encoding="ascii").splitlines():
        if line.startswith("  "):  # "  17 text": the numbered lines of the licence
            notice.append(line.lstrip().partition(" ")[2].rstrip())
            continue
        fields, gloss = line.split(" | ", 1)
        text = gloss.split("; ", 1)[0].strip()
        categories.setdefault(text, set()).add(int(fields.split(" ", 2)[1]))
    return "\n".join(notice) + "\n", categories


def order(text: str) -> bytes:
    return hashlib.sha256(f"{SEED}\t{text}".encode()).digest()


def draw(categories: dict[str, set[int]]) -> dict[str, list[tuple[str, str]]]:
    splits: dict[str, list[tuple[str, str]]] = {split: [] for split in ROWS}
    for number, label in CATEGORIES.items():
        texts = [t for t, where in categories.items() if where == {number} and 4 <= len(t.split()) <= 25]
        if len(texts) < sum(ROWS.values()):
            raise ValueError(f"{label}: {len(texts)} usable glosses, expected at least {sum(ROWS.values())}")
        texts.sort(key=order)
        for split, rows in ROWS.items():
            splits[split] += [(label, text) for text in texts[:rows]]
            texts = texts[rows:]
    for rows in splits.values():
        rows.sort(key=lambda row: order(row[1]))
    return splits


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=pathlib.Path, default=pathlib.Path("/usr/share/wordnet/data.noun"))
    parser.add_argument("--output", type=pathlib.Path, default=root / "examples" / "wordnet_gloss")
    arguments = parser.parse_args()
    if not arguments.source.is_file():
        print(f"{arguments.source}: not found; install wordnet-base or name the file with --source", file=sys.stderr)
        return 3
    notice, categories = read(arguments.source)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for split, rows in draw(categories).items():
        lines = ["label\ttext"] + [f"{label}\t{text}" for label, text in rows]
        (arguments.output / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="ascii")
    (arguments.output / "LICENSE.WordNet").write_text(notice, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
