#!/usr/bin/env python3
"""Runs adapters of our own types (DEPT, ADEPT, NTK_ATTENTION) on a BERT classifier of transformers.

In Python:

    from transformers import AutoTokenizer, BertForSequenceClassification
    from peft_plugin import load_adapter

    model = BertForSequenceClassification.from_pretrained("models/MiniLM")
    adapted = load_adapter(model, "runs/ntk/best")                    # changes `model` too: heads, and NTK_ATTENTION its layers
    batch = AutoTokenizer.from_pretrained("models/MiniLM")(["a good film"], return_tensors="pt", padding=True)
    logits = adapted(**batch)

On the command line, one line of logits per text:

    scripts/peft_plugin.py --model models/MiniLM --adapter runs/ntk/best "a good film" "a dull one"

Texts are padded on the right. What the three types compute, with e the word embeddings of a text:

    DEPT            x_j = e_j + scale (A B)_j                         (A B has a row per position)     rows = [prompt ; x]
    ADEPT           x_t = e_t + scale (relu(e_t W1 + b1) W2 + b2)                                     rows = [prompt ; x]
    NTK_ATTENTION   O = (sum_j e^{s_j} v_j + a) / (sum_j e^{s_j} + b),  a = phi(y) Z,  b = phi(y) . den,  y = q / D^(1/4)
                    with a center c: a and b times e^{q.c / sqrt(D)}; rows with b <= 0 (signed features) attend without the state
"""

import argparse
import json
import math
import pathlib
import sys

if __name__ == "__main__" and not {"-h", "--help"}.isdisjoint(sys.argv[1:]):
    sys.exit(print("usage: peft_plugin.py --model DIR --adapter DIR TEXT...\n\n" + __doc__))  # needs none of the packages below

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

FORMAT_VERSION = 1


class Entries(dict):
    """What a file holds, by name; a name that is missing is an error of the file."""

    def __init__(self, file, entries):
        super().__init__(entries)
        self.file = file

    def __missing__(self, name):
        raise ValueError(f"{self.file}: {name} is missing")


def load_adapter(model, folder):
    """The BertForSequenceClassification `model` with the adapter in `folder`: a callable (input_ids, attention_mask, ...) -> logits."""
    file, tensor_file = (pathlib.Path(folder) / name for name in ("adapter_config.json", "adapter_model.safetensors"))
    config = Entries(file, json.loads(file.read_text(encoding="utf-8")))
    version = config.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ValueError(f"{file}: format_version {version!r}, expected {FORMAT_VERSION}, the newest known to this script")
    known = {"DEPT": VirtualRows, "ADEPT": VirtualRows, "NTK_ATTENTION": LinearStates}
    if config["peft_type"] not in known:
        raise ValueError(f"{file}: peft_type {config['peft_type']}, expected one of {', '.join(known)}")
    tensors = Entries(tensor_file, load_file(tensor_file))
    adapted = known[config["peft_type"]](model, config, tensors)
    adapted.load_base_tensors(tensors)
    return adapted.eval()


class Adapted(torch.nn.Module):
    """A classifier and what an adapter adds to it."""

    prefix = "base_model."  # in front of the names of base tensors in the file

    def __init__(self, model):
        super().__init__()
        self.model = model

    def load_base_tensors(self, tensors):
        """Heads and other tensors stored under names of the model; the layer of the labels is in every file."""
        parameters = dict(self.model.named_parameters())
        for part in ("weight", "bias"):
            tensors[f"{self.prefix}classifier.{part}"]
        for name, tensor in tensors.items():
            if name.startswith(self.prefix) and name.removeprefix(self.prefix) in parameters:
                parameters[name.removeprefix(self.prefix)].data = tensor.to(self.model.dtype)  # the labels' number may differ


class VirtualRows(Adapted):
    """DEPT and ADEPT: rows in front of the text, and an offset on the text's word embeddings."""

    def __init__(self, model, config, tensors):
        super().__init__(model)
        self.prompt = tensors["prompt_embeddings"]
        self.pool_text = config.get("pooling", "first") == "cls"
        self.offset = (dept_offset if config["peft_type"] == "DEPT" else adept_offset)(config, tensors)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        rows, virtual = len(input_ids), len(self.prompt)
        words = self.model.bert.embeddings.word_embeddings(input_ids)
        words = torch.cat([self.prompt.expand(rows, -1, -1), words + self.offset(words, mask)], 1)
        in_front = lambda x, value: torch.cat([x.new_full((rows, virtual), value), x], 1)  # noqa: E731
        hidden = self.model.bert(inputs_embeds=words, attention_mask=in_front(mask, 1), token_type_ids=in_front(types, 0)).last_hidden_state
        return self.model.classifier(self.model.bert.pooler(hidden[:, virtual if self.pool_text else 0 :]))  # the pooler takes row 0


def dept_offset(config, tensors):
    a, b = tensors["dept_A"], tensors["dept_B"]
    table = scale_of(config, len(b)) * a @ b
    from_end = config.get("row_alignment", "start") == "end"

    def offset(words, mask):
        length = mask.sum(1, keepdim=True)
        if (length > len(table)).any():
            raise ValueError(f"a text of {length.max()} tokens: the adapter has offsets for {len(table)} (max_length)")
        row = torch.arange(words.shape[1]).expand(mask.shape) + (len(table) - length if from_end else 0)
        return table[row.clamp(max=len(table) - 1)]  # columns beyond the table are padding

    return offset


def adept_offset(config, tensors):
    w1, b1, w2, b2 = (tensors[f"adept_{name}"] for name in ("W1", "b1", "W2", "b2"))
    scale = scale_of(config, len(b1))
    return lambda words, mask: scale * (torch.relu(words @ w1 + b1) @ w2 + b2)


def scale_of(config, r):
    """offset_scaling: a number, "none", or "code" = lora_alpha / sqrt(r) with the alpha of DePT's script, 8."""
    scaling = config.get("offset_scaling", "none")
    named = {"none": 1.0, "code": 8 / math.sqrt(r), None: 1.0}
    if isinstance(scaling, str | None) and scaling not in named:
        raise ValueError(f'{config.file}: offset_scaling {scaling!r}, expected a number, "none" or "code"')
    return named.get(scaling, scaling)


class LinearStates(Adapted):
    """NTK_ATTENTION: a constant-size state beside the keys and values of each layer."""

    prefix = "base_model.model."

    def __init__(self, model, config, tensors):
        super().__init__(model)
        self.first_position = config.get("num_virtual_tokens") or 0
        for name, module in model.named_modules():
            part = f"{self.prefix}{name}.ntk_"
            if not any(tensor.startswith(part) for tensor in tensors):
                continue
            z = tensors[part + "z_a"] @ tensors[part + "z_b"] if config.get("z_rank") else tensors[part + "Z"]
            center = tensors[part + "center"] if config.get("center") else None
            module.forward = with_state(module, config["feature_map"], z, tensors[part + "den"], center)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        positions = self.first_position + torch.arange(input_ids.shape[1]).expand(input_ids.shape)
        return self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, position_ids=positions).logits


def with_state(attention, feature_map, z, den, center):
    """A forward for a BertSelfAttention. z [H,M,D], den [H,M], center [H,D] or None."""
    scale = 1 / math.sqrt(attention.attention_head_size)

    def forward(hidden, attention_mask=None, *_, **__):
        split = lambda x: x.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)  # noqa: E731
        q, k, v = (split(projection(hidden)) for projection in (attention.query, attention.key, attention.value))
        scores = scale * q @ k.mT
        if attention_mask is not None:
            scores = scores.masked_fill(~attention_mask, -math.inf) if attention_mask.dtype == torch.bool else scores + attention_mask
        phi = features(math.sqrt(scale) * q, feature_map)
        a, b = phi @ z, phi @ den.unsqueeze(-1)
        log_weight = torch.zeros_like(b) if center is None else scale * q @ center.unsqueeze(-1)
        top = torch.maximum(scores.amax(-1, keepdim=True), log_weight)  # for range alone: it cancels
        weights, weight = torch.exp(scores - top), torch.exp(log_weight - top)
        off = b <= 0 if feature_map != "elu" else torch.zeros_like(b, dtype=torch.bool)
        a, b = (weight * x.masked_fill(off, 0) for x in (a, b))
        out = (weights @ v + a) / (weights.sum(-1, keepdim=True) + b)
        return out.transpose(1, 2).flatten(2), None

    return forward


def features(y, feature_map):
    if feature_map == "elu":
        return torch.where(y > 0, y + 1, torch.exp(y))
    parts = [torch.ones_like(y[..., :1]), y]
    if feature_map == "taylor2":
        i, j = torch.triu_indices(y.shape[-1], y.shape[-1], offset=1)
        parts += [y * y / math.sqrt(2), y[..., i] * y[..., j]]
    return torch.cat(parts, -1)


def main():
    description, _, example = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=description, epilog=example, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR", help="folder of the BERT model")
    parser.add_argument("--adapter", required=True, metavar="DIR", help="adapter folder: best/ or last/ of a run")
    parser.add_argument("text", nargs="+")
    arguments = parser.parse_args()
    from transformers import AutoTokenizer, BertForSequenceClassification

    try:
        adapted = load_adapter(BertForSequenceClassification.from_pretrained(arguments.model), arguments.adapter)
        batch = AutoTokenizer.from_pretrained(arguments.model)(arguments.text, return_tensors="pt", padding=True)
        with torch.no_grad():
            logits = adapted(**batch)
    except (OSError, ValueError) as error:
        sys.exit(f"peft_plugin: {error}")
    for row in logits.tolist():
        print(*(f"{x:.6f}" for x in row))


if __name__ == "__main__":
    main()
