"""Training steps of transformers and peft for one run config, timed: the other side of compare_hf.py, one process a measurement.

python benchmarks/hf_step.py CONFIG THREADS ATTENTION     prints one JSON with the time at the end of every step

ATTENTION   transformers' attn_implementation: eager or sdpa
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripts"))

import peft_reference as reference  # noqa: E402
import torch  # noqa: E402


def main():
    torch.set_num_threads(int(sys.argv[2]))
    config = reference.read_config(sys.argv[1])
    splits, names = reference.load_data(config, ("train",))
    examples, labels = splits["train"]
    steps = config["train"]["max_steps"]
    model = reference.build_model(config, len(names), sys.argv[3]).train()
    loop = reference.Loop(config, model, steps)

    ends, losses, tokens, padded = [], [], [], []
    for _, rows in zip(range(steps), reference.batches(config, len(examples))):
        losses.append(loop.step(reference.collate(examples, labels, rows)))
        ends.append(time.time())
        lengths = [len(examples[r][0]) for r in rows]
        tokens.append(sum(lengths))
        padded.append(len(rows) * max(lengths))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(json.dumps({"ends": ends, "losses": losses, "tokens": tokens, "padded_tokens": padded, "trainable_parameters": trainable,
                      "versions": reference.versions()}))  # fmt: skip


if __name__ == "__main__":
    main()
