#!/usr/bin/env python3
"""Texts a second of peft-predict and of transformers + peft, one lora adapter, in turns.

    benchmarks/predict.py [--repeats N] [--threads N] [--copies N] [--model DIR] [--dtype float32|bfloat16]

Sentences of SST-2's dev file, some times over, and a random adapter (r 8 on query and value) that peft itself writes. Both sides tokenise,
predict and form probabilities; loading does not count. Theirs runs in padded batches of 16 to 128 texts, in file order and sorted by length,
with both of transformers' attentions: a first round finds the best of them, which then takes turns with ours. Labels must be the same and
probabilities within 1e-4. Prints a Markdown line and one JSON.

PEFT_BIN   folder of peft-predict (default: build/bin)
PEFT_DATA  folder that holds SST-2/dev.tsv, or glue/SST-2/dev.tsv (default: ../shared/data)
"""

import argparse
import itertools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MAX_LENGTH = 128
BATCHES = (16, 64, 128)
TRIED = 384  # sentences that a setting is tried on


def find_sentences():
    data = pathlib.Path(os.environ.get("PEFT_DATA", ROOT.parent / "shared" / "data"))
    for folder in (data, data / "glue"):
        if (folder / "SST-2" / "dev.tsv").is_file():
            lines = (folder / "SST-2" / "dev.tsv").read_text(encoding="utf-8").split("\n")[1:]
            return [line.rsplit("\t", 1)[0] for line in lines if line]
    sys.exit(f"predict: no SST-2/dev.tsv in {data}; set PEFT_DATA")


class Theirs:
    """The adapter under transformers and peft, once for each attention."""

    def __init__(self, options, adapter):
        import torch
        from peft import LoraConfig, PeftModel, get_peft_model
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.set_num_threads(options.threads)
        self.torch, self.tokenizer = torch, AutoTokenizer.from_pretrained(options.model)
        torch.manual_seed(0)

        def base(attention):
            torch.manual_seed(1)  # the head that the checkpoint lacks
            return AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=2, attn_implementation=attention, dtype=getattr(torch, options.dtype))

        model = get_peft_model(base("eager").float(), LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"]))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(0.05 * torch.randn(parameter.shape))
        model.save_pretrained(adapter)
        self.models = {attention: PeftModel.from_pretrained(base(attention), adapter).eval() for attention in ("eager", "sdpa")}

    def run(self, sentences, attention, batch, sort):
        """Texts a second, and the probabilities in the order of the sentences."""
        torch, model = self.torch, self.models[attention]
        rows = [None] * len(sentences)
        start = time.perf_counter()
        with torch.inference_mode():
            order = sorted(range(len(sentences)), key=lambda i: -len(sentences[i])) if sort else range(len(sentences))
            for chosen in (order[i : i + batch] for i in range(0, len(order), batch)):
                inputs = self.tokenizer([sentences[i] for i in chosen], padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
                for i, row in zip(chosen, model(**inputs).logits.float().softmax(1).tolist()):
                    rows[i] = row
        return len(sentences) / (time.perf_counter() - start), rows


def run_ours(options, adapter, file, output):
    program = pathlib.Path(os.environ.get("PEFT_BIN", ROOT / "build" / "bin")) / "peft-predict"
    command = [program, "--adapter", adapter, "--model", options.model, "--task", "sst2", "--max-length", MAX_LENGTH, "--dtype", options.dtype, "--input", file, "--output", output]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": str(options.threads)})
    if done.returncode != 0:
        sys.exit(f"predict: {done.stderr.strip()}")
    return float(re.search(r"([0-9]+) texts/s", done.stderr).group(1)), [json.loads(line) for line in output.read_text().splitlines()]


def check(ours, theirs, tolerance):
    worst = max(abs(p - q) for row, other in zip(ours, theirs, strict=True) for p, q in zip(row["probabilities"].values(), other, strict=True))
    names = list(ours[0]["probabilities"])
    wrong = sum(row["label"] != names[other.index(max(other))] for row, other in zip(ours, theirs, strict=True))
    if worst > tolerance or (wrong and tolerance < 1e-3):
        sys.exit(f"predict: the two sides differ: {wrong} labels, probabilities by up to {worst}")
    return {"different_labels": wrong, "largest_difference": worst}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--copies", type=int, default=4, help="how many times over the sentences are predicted")
    parser.add_argument("--model", default=str(ROOT / "models" / "minilm"))
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    sentences = find_sentences() * options.copies
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        adapter, file, output = folder / "adapter", folder / "sentences.txt", folder / "predictions.jsonl"
        file.write_text("\n".join(sentences) + "\n", encoding="utf-8")
        theirs = Theirs(options, adapter)
        theirs.run(sentences[:64], "eager", 32, True)  # warm
        tried = {setting: theirs.run(sentences[:TRIED], *setting)[0] for setting in itertools.product(("eager", "sdpa"), BATCHES, (False, True))}
        sides = {"ours": [], "peft": [], "peft unsorted": []}
        best = {sort: max((s for s in tried if s[2] == sort), key=tried.get) for sort in (False, True)}
        for _ in range(options.repeats):
            rate, rows = run_ours(options, adapter, file, output)
            sides["ours"].append(rate)
            for name, sort in (("peft", True), ("peft unsorted", False)):
                rate, other = theirs.run(sentences, *best[sort])
                sides[name].append(rate)
            agreement = check(rows, other, 1e-4 if options.dtype == "float32" else 0.05)
    medians = {name: statistics.median(rates) for name, rates in sides.items()}
    print("| ours | peft, sorted | peft, file order | ours / peft, sorted | ours / peft, file order |\n|---|---|---|---|---|")
    cells = [f"{medians[name]:.0f} ({min(rates):.0f} - {max(rates):.0f})" for name, rates in sides.items()]
    print(f"| {' | '.join(cells)} | {medians['ours'] / medians['peft']:.2f} | {medians['ours'] / medians['peft unsorted']:.2f} |")
    names = {"sorted": best[True], "file order": best[False]}
    print(json.dumps({"texts_per_second": sides, "peft_settings": {k: {"attention": a, "batch": b} for k, (a, b, _) in names.items()}, "texts": len(sentences),
                      "threads": options.threads, "dtype": options.dtype, "load_average": load} | agreement))  # fmt: skip


if __name__ == "__main__":
    main()
