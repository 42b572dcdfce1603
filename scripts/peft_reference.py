#!/usr/bin/env python3
"""Trains with transformers and peft what a run config of peft-train describes, in a plain PyTorch loop, and prints the result as JSON.

    scripts/peft_reference.py --config configs/sst2/lora.json [--set key.path=value]... [--max-steps N] [--threads N] [--output FILE]

The rows come in the order in which peft-train draws them, padded to the longest of each batch; attention is PyTorch's sdpa, the optimiser
torch.optim.AdamW. Start values differ from ours: they come from torch's generator, seeded with train.seed. The dev split is scored after
every epoch; eval_accuracy is the best score, as in metrics.json. train_runtime counts training steps only.
Tasks sst2, rte and classification (label and text columns, tab-separated); methods lora, prefix and prompt.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import re
import sys
import time

if __name__ == "__main__" and not {"-h", "--help"}.isdisjoint(sys.argv[1:]):
    sys.exit(print(__doc__))  # needs none of the packages below

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

TASKS = {  # folder of the dump, text columns, label names in id order (None: the sorted set of the train split)
    "sst2": ("SST-2", ["sentence"], ["0", "1"]),
    "rte": ("RTE", ["sentence1", "sentence2"], ["entailment", "not_entailment"]),
    "classification": ("", ["text", "text_pair"], None),
}
TRAIN_DEFAULTS = {  # those of peft-train: docs/configuration.md
    "learning_rates": {}, "lr_scheduler_type": "linear", "warmup_steps": 0, "warmup_ratio": 0.0,
    "num_train_epochs": 3.0, "max_steps": -1, "weight_decay": 0.0, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0, "seed": 42, "data_seed": None,
}  # fmt: skip
FIXED = {  # what this loop does not vary
    "train": {"optim": "adamw", "gradient_accumulation_steps": 1, "batch_tokens": None, "early_stopping_patience": None},
    "method": {"init_from": None, "pooling": "first", "prompt_tuning_init": "RANDOM", "init_weights": "normal", "init_std": 1, "sharing": "none"},
}


def fail(message):
    sys.exit(f"peft_reference: {message}")


def read_config(path, sets=()):
    """A config of peft-train: JSON with // comments; `sets` are key.path=value as in --set."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        config = json.loads(re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*', lambda m: m[1] or "", text))
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")
    for item in sets:
        keys, _, value = item.partition("=")
        *sections, last = keys.split(".")
        section = config
        for key in sections:
            section = section.setdefault(key, {})
        try:
            section[last] = json.loads(value)
        except ValueError:
            section[last] = value
    for section, fixed in FIXED.items():
        for key, only in fixed.items():
            found = config[section].get(key, only)
            if found != only:
                fail(f"{path}: {section}.{key}: found {json.dumps(found)}, expected {json.dumps(only)}: this loop knows nothing else")
    if "learning_rate" not in config["train"]:
        fail(f"{path}: train.learning_rate: missing, and this loop does not know the method's own")
    if config["method"]["type"] == "prompt" and "prompt_tuning_init" not in config["method"]:
        fail(f'{path}: method.prompt_tuning_init: missing, where peft-train takes "SAMPLE_VOCAB"; this loop knows "RANDOM" alone')
    config["train"] = TRAIN_DEFAULTS | config["train"]
    return config


# ---- data


def split_file(config, split):
    folder, name = TASKS[task_name(config)][0], f"{split}.tsv"
    data = pathlib.Path(config["task"]["data"])
    return next((f for f in (data / name, data / folder / name) if f.is_file()), data / name)


def task_name(config):
    name = config["task"]["name"].removeprefix("glue/")
    return name if name in TASKS else fail(f"task.name: found {name}, expected one of {', '.join(TASKS)}")


def read_rows(config, split):
    """Texts, second texts (or None) and label names of a tab-separated file with a header, whose fields are never quoted."""
    file = split_file(config, split)
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    header = lines[0].split("\t")
    rows = [line.split("\t") for line in lines[1:] if line]
    columns = [header.index(c) for c in TASKS[task_name(config)][1] if c in header]
    texts = [[row[c] for row in rows] for c in columns]
    return texts[0], texts[1] if len(texts) > 1 else None, [row[header.index("label")] for row in rows]


def encode(config, tokenizer, rows, names):
    """[(ids, token types)] without padding, and label ids."""
    texts, pairs, labels = rows
    encoded = tokenizer(texts, pairs, truncation=True, max_length=config["task"].get("max_length", 128))
    return list(zip(encoded["input_ids"], encoded["token_type_ids"])), [names.index(label) for label in labels]


def load_data(config, splits=("train", "dev")):
    """{split: (examples, label ids)} and the label names."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(config["model"]["path"])
    rows = {split: read_rows(config, split) for split in splits}
    names = TASKS[task_name(config)][2] or sorted(set(rows["train"][2]))
    return {split: encode(config, tokenizer, rows[split], names) for split in splits}, names


def collate(examples, labels, rows):
    """The rows as one batch, padded on the right to its longest; [PAD] is id 0 in every BERT vocabulary."""
    length = max(len(examples[r][0]) for r in rows)
    batch = {key: torch.zeros(len(rows), length, dtype=torch.long) for key in ("input_ids", "token_type_ids", "attention_mask")}
    for i, r in enumerate(rows):
        ids, types = examples[r]
        batch["input_ids"][i, : len(ids)] = torch.tensor(ids)
        batch["token_type_ids"][i, : len(ids)] = torch.tensor(types)
        batch["attention_mask"][i, : len(ids)] = 1
    return batch | {"labels": torch.tensor([labels[r] for r in rows])}


# ---- order of the rows: that of peft-train's sampler (include/peft/base/rng.h, src/data/sampler.cpp)

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


def stream_name(purpose, seed):
    """XXH3 (64 bits) of 4 to 8 bytes with a seed."""
    def word(data):
        return int.from_bytes(data, "little")

    data, secret = purpose.encode(), bytes.fromhex("7c01812cf721ad1cded46de9839097db")  # bytes 8..23 of XXH3's default secret
    seed ^= word((seed & MASK32).to_bytes(4, "big")) << 32
    flip = ((word(secret[:8]) ^ word(secret[8:])) - seed) & MASK64
    h = (word(data[-4:]) + (word(data[:4]) << 32)) ^ flip
    h ^= (h << 49 | h >> 15) & MASK64 ^ (h << 24 | h >> 40) & MASK64
    h = h * 0x9FB21C651E98DF25 & MASK64
    h ^= (h >> 35) + len(data)
    h = h * 0x9FB21C651E98DF25 & MASK64
    return h ^ h >> 28


def epoch_order(n, seed, epoch):
    """Rows 0..n-1 sorted by the words of the Philox4x32-10 stream ("order", seed, epoch), ties by row."""
    blocks = (n + 3) // 4
    name = stream_name("order", seed)
    counter = [np.arange(blocks, dtype=np.uint64), *(np.full(blocks, c, dtype=np.uint64) for c in (0, epoch & MASK32, epoch >> 32))]
    keys = [name & MASK32, name >> 32]
    low = np.uint64(MASK32)
    for _ in range(10):
        a, b = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
        counter = [b >> np.uint64(32) ^ counter[1] ^ np.uint64(keys[0]), b & low, a >> np.uint64(32) ^ counter[3] ^ np.uint64(keys[1]), a & low]
        keys = [(keys[0] + 0x9E3779B9) & MASK32, (keys[1] + 0xBB67AE85) & MASK32]
    return np.argsort(np.stack(counter, axis=1).ravel()[:n], kind="stable").tolist()


def batches(config, n):
    """Row numbers of every step, epoch after epoch, without end."""
    train, epoch = config["train"], 0
    size, seed = train["batch_size"], train["seed"] if train["data_seed"] is None else train["data_seed"]
    while True:
        order = epoch_order(n, seed, epoch)
        yield from (order[i : i + size] for i in range(0, n, size))
        epoch += 1


# ---- model and step


def build_model(config, labels, attention="sdpa"):
    method, options = dict(config["method"]), {}
    if config["model"].get("dropout", "checkpoint") != "checkpoint":
        options = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), float(config["model"]["dropout"]))
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(config["train"]["seed"])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        config["model"]["path"], num_labels=labels, dtype=torch.float32, attn_implementation=attention, **options
    )
    kind = method.pop("type")
    known = {key: value for key, value in method.items() if key not in FIXED["method"] and key != "init_head"}
    if kind == "lora":
        adapter = peft.LoraConfig(task_type="SEQ_CLS", **{"lora_alpha": 8, "lora_dropout": 0.0} | known)
    elif kind == "prefix":
        adapter = peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=known.get("num_virtual_tokens", 20))
    elif kind == "prompt":
        adapter = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=known.get("num_virtual_tokens", 20))
    else:
        fail(f"method.type: found {kind}, expected lora, prefix or prompt")
    return peft.get_peft_model(model, adapter)


class Loop:
    """One training step at a time: forward, backward, clipping, AdamW, schedule."""

    def __init__(self, config, model, total_steps):
        train = config["train"]
        groups = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                group = "head" if ".classifier." in name else "adapter"
                rate = train["learning_rates"].get(group, train["learning_rate"])
                decay = train["weight_decay"] if parameter.dim() > 1 else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        self.model, self.max_grad_norm = model, train["max_grad_norm"]
        self.parameters = [p for group in groups.values() for p in group]
        self.optimizer = torch.optim.AdamW(
            [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()],
            betas=(train["adam_beta1"], train["adam_beta2"]),
            eps=train["adam_epsilon"],
        )
        warmup = train["warmup_steps"] or math.ceil(train["warmup_ratio"] * total_steps)
        self.schedule = transformers.get_scheduler(train["lr_scheduler_type"], self.optimizer, warmup, total_steps)
        bfloat16 = config["model"].get("dtype", "float32") == "bfloat16"
        self.autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if bfloat16 else contextlib.nullcontext

    def step(self, batch):
        with self.autocast():
            loss = self.model(**batch).loss
        loss.backward()
        if self.max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return loss.item()


@torch.no_grad()
def accuracy(model, examples, labels):
    model.eval()
    right = 0
    for start in range(0, len(examples), 32):
        batch = collate(examples, labels, range(start, min(start + 32, len(examples))))
        right += int((model(**batch).logits.argmax(1) == batch["labels"]).sum())
    model.train()
    return right / len(examples)


def versions():
    return {"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=pathlib.Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides one key of the config")
    parser.add_argument("--max-steps", type=int, help="stop after so many steps of the schedule, for trying things out")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=pathlib.Path, help="write the JSON here too")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    config = read_config(options.config, options.set)
    splits, names = load_data(config)
    examples, labels = splits["train"]
    steps_per_epoch = math.ceil(len(examples) / config["train"]["batch_size"])
    total = config["train"]["max_steps"]
    total = total if total > 0 else math.ceil(config["train"]["num_train_epochs"] * steps_per_epoch)
    last = min(total, options.max_steps or total)
    model = build_model(config, len(names)).train()
    loop = Loop(config, model, total)

    seconds, tokens, seen, losses, scores = 0.0, 0, 0, [], []
    for step, rows in zip(range(1, last + 1), batches(config, len(examples))):
        start = time.perf_counter()
        losses.append(loop.step(collate(examples, labels, rows)))
        seconds += time.perf_counter() - start
        seen += len(rows)
        tokens += sum(len(examples[r][0]) for r in rows)
        if step % 100 == 0:
            print(f"step {step}/{last}  loss {sum(losses[-100:]) / 100:.4f}  {seen / seconds:.1f} samples/s", file=sys.stderr)
        if step == last or step % steps_per_epoch == 0:
            scores.append(accuracy(model, *splits["dev"]))
            print(f"step {step}/{last}  dev accuracy {100 * scores[-1]:.2f} %", file=sys.stderr)
    report = {
        "config": config, "global_step": last, "eval_accuracy": max(scores), "eval_accuracy_of_epochs": scores,
        "train_loss": sum(losses) / len(losses), "train_runtime": seconds, "train_samples_per_second": seen / seconds,
        "train_tokens_per_second": tokens / seconds, "train_samples": len(examples), "dev_samples": len(splits["dev"][0]),
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "threads": options.threads, "versions": versions(),
    }  # fmt: skip
    text = json.dumps(report, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
