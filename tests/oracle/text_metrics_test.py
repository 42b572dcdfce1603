"""Text metrics of peft-tool score against sacreBLEU, rouge-score and SQuAD's own script on random and awkward texts."""

import collections
import decimal
import json
import random
import re
import string
import subprocess
import unicodedata

import numpy as np
import pytest

from score_many import BIN, ask, draws, interval, score, score_arguments

CASES = 250  # calls of each family, of one to six rows
WORDS = """the a an The A AN cat dog's well-known U.S. 3.5 1,234 -7 5-year it's x_y a1 & &amp; &quot;quoted&quot; &lt;tag&gt; <skipped>
$5 50% (aside) [b] {c} ! ?! ... , . ; : / \\ ` ~ ^ @ # * + = | “quoted” – — … ¿ « » café naïve Ünï ÄRGER ß İstanbul Kelvin Å ΣΑΣ ﬁn ½ ² ١٢
电影 日本 é à नमस्ते 👍 ’s the’s un the\u0301 a\u0301 an\u200d of in to is was red blue sat mat 18 18.0 0 00 .5 5. 1.2.3 --3 x-3 #### ####7""".split()
SPACES = [" "] * 12 + ["  ", "\t", "\n", "-\n", "\u00a0", "\u2003", "\u3000", "\x1f", "\x85", "\u2028", ""]


def text(rng, words=WORDS, longest=14):
    parts = [rng.choice(SPACES)] if rng.random() < 0.1 else []
    for _ in range(rng.randint(0, longest)):
        parts += [rng.choice(words), rng.choice(SPACES)]
    return "".join(parts) if rng.random() < 0.3 else "".join(parts).rstrip()


def near(rng, reference):
    """The reference with some words dropped, doubled, exchanged or put elsewhere."""
    words = re.split(r"( )", reference)
    for _ in range(rng.randint(0, 4)):
        if words:
            at = rng.randrange(len(words))
            words[at : at + 1] = rng.choice([[], [words[at]] * 2, [rng.choice(WORDS)], [words[rng.randrange(len(words))]]])
    return "".join(words)


def case(rng):
    """Predictions and one to three references for each."""
    references = [[text(rng) for _ in range(rng.choice([1, 1, 2, 3]))] for _ in range(rng.randint(1, 6))]
    return [near(rng, rng.choice(r)) if rng.random() < 0.8 else text(rng) for r in references], references


def as_given(rng, references):
    """One reference may stand alone or in a list."""
    return [r[0] if len(r) == 1 and rng.random() < 0.5 else r for r in references]


def lower(s):
    """Character by character: no context, and one character for one."""
    return "".join("i" if c == "İ" else c.lower() for c in s)


def normalize_answer(s):
    """evaluate-v1.1.py of SQuAD, but for lower()."""
    s = "".join(c for c in lower(s) if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", s).split())


def squad_f1(prediction, reference):
    prediction, reference = normalize_answer(prediction).split(), normalize_answer(reference).split()
    same = sum((collections.Counter(prediction) & collections.Counter(reference)).values())
    if same == 0:
        return 0
    precision, recall = same / len(prediction), same / len(reference)
    return 2 * precision * recall / (precision + recall)


def test_squad_metrics_equal_the_official_script(tmp_path):
    rng = random.Random(1)
    for _ in range(CASES):
        predictions, references = case(rng)
        got = score(tmp_path, "squad_em,squad_f1", predictions, as_given(rng, references))
        pairs = list(zip(predictions, references))
        expected_em = np.mean([max(normalize_answer(p) == normalize_answer(r) for r in rs) for p, rs in pairs])
        assert abs(got["squad_em"] - expected_em) <= 1e-12, pairs
        assert abs(got["squad_f1"] - np.mean([max(squad_f1(p, r) for r in rs) for p, rs in pairs])) <= 1e-12, pairs


def test_every_character_counts_as_the_official_script_has_it(tmp_path):
    """All characters that this Python and Unicode 9 know: whether they are lower-cased, end words, or stay."""
    known = [chr(c) for c in range(1, 0x30000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    known = [c for c in known if unicodedata.ucd_3_2_0.category(c) != "Cn"]
    predictions = [f"x{c}the b{c}" for c in known]
    references = [normalize_answer(p) for p in predictions]
    assert score(tmp_path, "squad_em", predictions, references)["squad_em"] == 1.0
    wrong = [f"{normalize_answer(p)} more" for p in predictions]
    assert score(tmp_path, "squad_em", predictions, wrong)["squad_em"] == 0.0


def test_exact_match_equals_python(tmp_path):
    rng = random.Random(2)
    for _ in range(CASES):
        predictions, references = case(rng)
        predictions = [rng.choice(["", " ", "\n\t", "\u00a0"]) + p for p in predictions]
        got = score(tmp_path, "exact_match", predictions, as_given(rng, references))
        strip = lambda s: s.strip(string.whitespace)  # noqa: E731
        expected = np.mean([strip(p) in map(strip, rs) for p, rs in zip(predictions, references)])
        assert abs(got["exact_match"] - expected) <= 1e-12


def last_number(s):
    """By the definition of docs/tasks.md#metrics, as an exact decimal."""
    found = list(re.finditer(r"(-?)([0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)", s))
    if not found:
        return None
    sign, digits = found[-1].groups()
    before = s[found[-1].start() - 1 : found[-1].start()]
    if before and (unicodedata.category(before).startswith("L") or before in "0123456789.,)"):
        sign = ""
    return decimal.Decimal(sign + digits.replace(",", ""))


def test_number_em_equals_the_definition(tmp_path):
    rng = random.Random(3)
    pieces = list("0123456789") * 2 + list(".,--()x é²") + ["#### ", "- ", "10", "1,000", "0.50", "\u2212", "\u0301"]
    matches = 0
    for _ in range(2 * CASES):
        count = rng.randint(1, 6)
        references = ["".join(rng.choices(pieces, k=rng.randint(1, 8))) + rng.choice(["", "#### 7", "-3"]) for _ in range(count)]
        predictions = [near(rng, r) for r in references]
        last = [last_number(r.rsplit("####", 1)[-1]) for r in references]
        arguments = score_arguments(tmp_path, "number_em", predictions, references)
        if None in last:
            assert ask(*arguments)[1:] == (3, f"{tmp_path}/references:{last.index(None) + 1}: " + error_text(references[last.index(None)]))
            continue
        right = [last_number(p) is not None and last_number(p) == n for p, n in zip(predictions, last)]
        matches += sum(right)
        assert abs(score(tmp_path, "number_em", predictions, references)["number_em"] - np.mean(right)) <= 1e-12, (predictions, references)
    assert matches > 200


def error_text(reference):
    return json.dumps(reference, ensure_ascii=False) + "; no number in it"


def test_rouge_equals_rouge_score(tmp_path):
    scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="rouge-score is not installed; scripts/setup --test").RougeScorer
    names = ["rouge1", "rouge2", "rougeL"]
    theirs = scorer(names, use_stemmer=False)
    rng = random.Random(4)
    for _ in range(CASES):
        predictions, references = case(rng)
        got = score(tmp_path, ",".join(names), predictions, as_given(rng, references))
        rows = [theirs.score_multi(rs, p) for p, rs in zip(predictions, references)]
        for name in names:
            assert abs(got[name] - np.mean([row[name].fmeasure for row in rows])) <= 1e-12, (name, predictions, references)


def sacre_bleu(predictions, references):
    from sacrebleu.metrics import BLEU

    most = max(map(len, references))
    streams = [[rs[i] if i < len(rs) else None for rs in references] for i in range(most)]
    bleu = BLEU()
    value = bleu.corpus_score(predictions, streams).score
    assert str(bleu.get_signature()).split("|version")[0].split("|", 1)[1] == "case:mixed|eff:no|tok:13a|smooth:exp"
    return value


def test_bleu_equals_sacrebleu(tmp_path):
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed; scripts/setup --test")
    rng = random.Random(5)
    above = 0
    for _ in range(2 * CASES):
        predictions, references = case(rng)
        got = score(tmp_path, "bleu", predictions, as_given(rng, references))["bleu"]
        above += got > 0
        assert abs(got - sacre_bleu(predictions, references)) <= 1e-9, (predictions, references)
    assert above > CASES


def test_tokenizer_13a_equals_sacrebleus_on_any_characters(tmp_path):
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed; scripts/setup --test")
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    rng = random.Random(6)
    alphabet = "".join(map(chr, range(32, 127))) + "é电\u2028\u00a0" + "..,,--09" * 3
    for _ in range(CASES):
        line = "".join(rng.choices(alphabet, k=40))
        tokens = Tokenizer13a()(line.rstrip())
        # Tokens that are split again would change the counts; a text beside its own tokens matches only where both are cut alike.
        assert abs(score(tmp_path, "bleu", [line], [tokens])["bleu"] - sacre_bleu([line], [[tokens]])) <= 1e-9, line


def test_intervals_of_texts_resample_rows(tmp_path):
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed; scripts/setup --test")
    rng = random.Random(7)
    references = [[text(rng, longest=9) + " end of it"] for _ in range(12)]
    predictions = [near(rng, r[0]) for r in references]
    got = score(tmp_path, "bleu,squad_f1", predictions, references, "--bootstrap", 60, "--bootstrap-seed", 2)
    drawn = [draws(2, b, 12) for b in range(60)]
    bleu = [sacre_bleu([predictions[i] for i in d], [references[i] for i in d]) for d in drawn]
    f1 = np.array([squad_f1(p, r[0]) for p, r in zip(predictions, references)])
    assert np.allclose(got["ci95"]["bleu"], interval(bleu), rtol=0, atol=1e-9)
    assert np.allclose(got["ci95"]["squad_f1"], interval([f1[d].mean() for d in drawn]), rtol=0, atol=1e-9)


def test_no_prediction_is_an_empty_text_and_counted(tmp_path):
    got = score(tmp_path, "squad_em,rouge1,bleu", [None, "x"], [["", "the"], "x"])
    assert got["invalid"] == 1 and got["squad_em"] == 1.0 and got["rouge1"] == 0.5 and got["undefined"] == []


@pytest.mark.parametrize("metric, predictions, references, message, code", [
    ("squad_em", ["x", 1], ["x", "y"], "predictions:2: 1; expected a text or null", 3),
    ("squad_em", ["x", "y"], ["x", None], "references:2: null; expected a text or a list of texts", 3),
    ("squad_em", ["x"], [[]], "references:1: []; expected a text or a list of texts", 3),
    ("bleu", ["x"], [["x", 1]], 'references:1: ["x",1]; expected a text or a list of texts', 3),
    ("number_em", ["1", "2"], ["1", ["2", "two"]], 'references:2: "two"; no number in it', 3),
    ("squad_em", ["x"], ["x", "y"], "1 lines, expected 2", 3),
    ("squadem", ["x"], ["x"], 'did you mean "squad_em"', 2),
])  # fmt: skip
def test_bad_texts_are_named(tmp_path, metric, predictions, references, message, code):
    text, status, error = ask(*score_arguments(tmp_path, metric, predictions, references))
    assert status == code and message in error and text == "", error


def test_references_may_stand_in_a_column(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"id": 4, "prediction": "The cat."}\n{"id": 5, "prediction": "dog"}\n')
    (tmp_path / "r.csv").write_text('idx,answer\n4,"cat"\n5,"big | dog"\n')
    text, code, error = ask("score", "--metric", "squad_em,squad_f1", "--predictions", tmp_path / "p.jsonl", "--references",
                            tmp_path / "r.csv", "--label-column", "answer")  # fmt: skip
    assert code == 0, error
    got = json.loads(text)  # a text is whole: only lists of classes are cut at |
    assert got["squad_em"] == 0.5 and got["squad_f1"] == pytest.approx((1 + 2 / 3) / 2)


def test_one_case_by_peft_tool_itself(tmp_path):
    if not (BIN / "peft-tool").exists():
        pytest.skip("peft-tool is not built")
    arguments = score_arguments(tmp_path, "rougeL,bleu", ["a red cat sat here"], [["a red cat sat", "b"]], "--bootstrap", 5)
    done = subprocess.run([BIN / "peft-tool", *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == ask(*arguments)[0]
