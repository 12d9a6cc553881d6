#!/usr/bin/env python3
"""Golden values of fine-tuning from PyTorch: test/golden/finetune.json.

The model and the formula of its weights are those of golden_model.py, computed in float64. Of each
gradient the file holds its norm and its product with a fixed vector, which no wrong element leaves
alone:
  - a classifier of three labels with each pooling: loss and the gradient of every parameter
  - next tokens where the targets of prompts and padding are ignored
  - low-rank adapters on all linear layers, on q and v alone, and on a classifier's output layer:
    loss and the gradients of the adapters

    python3 scripts/golden_finetune.py        # needs torch and numpy
"""
import json

import numpy as np
import torch
import torch.nn.functional as F

import golden_model as base
from golden_model import BATCH, CHANNELS, CONTEXT, GOLDEN, HEADS, LAYERS, VOCAB

LABELS, RANK, ALPHA = 3, 4, 6.0
LENGTHS = [CONTEXT - 5, 9]  # tokens of the two rows, the rest is padding
ROW_LABELS, CLASS_WEIGHTS = [2, 0], [0.5, 1.0, 2.0]
PROMPTS = [11, 3]  # targets at the beginning of a row that are ignored


def fixed(number, count, scale=0.125):
    return torch.tensor(base.values(number, count, scale, 0.0))


def digest(tensor, number):
    flat = tensor.detach().reshape(-1)
    return [flat.norm().item(), (flat * fixed(5000 + number, flat.numel(), 1.0)).sum().item()]


class Adapters:
    """y += scale (x A^T) B^T beside chosen layers; parts: rows of the output with one adapter each."""

    def __init__(self, targets):
        self.parameters, self.parts, number = {}, {}, 2000
        shapes = {"attn.c_attn": (3 * CHANNELS, CHANNELS), "attn.c_proj": (CHANNELS, CHANNELS),
                  "mlp.c_fc": (4 * CHANNELS, CHANNELS), "mlp.c_proj": (CHANNELS, 4 * CHANNELS)}
        names = [(f"h.{i}." + n, shape) for i in range(LAYERS) for n, shape in shapes.items()]
        for name, (rows, columns) in names + [("score", (LABELS, CHANNELS))]:
            parts = targets.get(name.split(".", 2)[-1] if name != "score" else "score")
            if parts is None:
                continue
            self.parts[name] = parts = [(0, rows)] if parts == "all" else parts
            a = fixed(number, RANK * len(parts) * columns).reshape(RANK * len(parts), columns)
            b = fixed(number + 1, rows * RANK * len(parts)).reshape(rows, RANK * len(parts))
            for i, (begin, count) in enumerate(parts):
                b[:begin, i * RANK:(i + 1) * RANK] = 0
                b[begin + count:, i * RANK:(i + 1) * RANK] = 0
            self.parameters[name + ".lora_A"] = a.requires_grad_()
            self.parameters[name + ".lora_B"] = b.requires_grad_()
            number += 2

    def __call__(self, name, x, y):
        if name not in self.parts:
            return y
        low = F.linear(x, self.parameters[name + ".lora_A"])
        return y + ALPHA / RANK * F.linear(low, self.parameters[name + ".lora_B"])

    def digests(self):
        result = {}
        for number, (name, parameter) in enumerate(self.parameters.items()):
            gradient = parameter.grad.clone()
            if name.endswith("lora_B"):  # elements between the parts do not exist
                keep = torch.zeros_like(gradient)
                for i, (begin, count) in enumerate(self.parts[name[:-len(".lora_B")]]):
                    keep[begin:begin + count, i * RANK:(i + 1) * RANK] = 1
                gradient *= keep
            result[name] = digest(gradient, 100 + number)
        return result


def hidden_of(p, tokens, adapters=None):
    adapters = adapters or (lambda name, x, y: y)
    c, (b, t) = CHANNELS, tokens.shape

    def linear(name, x):
        return adapters(name, x, F.linear(x, p[name + ".weight"], p[name + ".bias"]))

    x = p["wte.weight"][tokens] + p["wpe.weight"][:t]
    for i in range(LAYERS):
        h = f"h.{i}."
        n = F.layer_norm(x, (c,), p[h + "ln_1.weight"], p[h + "ln_1.bias"], 1e-5)
        q, k, v = (z.view(b, t, HEADS, c // HEADS).transpose(1, 2)
                   for z in linear(h + "attn.c_attn", n).split(c, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + linear(h + "attn.c_proj", y.transpose(1, 2).reshape(b, t, c))
        n = F.layer_norm(x, (c,), p[h + "ln_2.weight"], p[h + "ln_2.bias"], 1e-5)
        x = x + linear(h + "mlp.c_proj", F.gelu(linear(h + "mlp.c_fc", n), approximate="tanh"))
    return F.layer_norm(x, (c,), p["ln_f.weight"], p["ln_f.bias"], 1e-5)


def pooled_of(hidden, pooling):
    if pooling == "last":
        return hidden[:, -1]
    if pooling == "last-token":
        return torch.stack([hidden[b, n - 1] for b, n in enumerate(LENGTHS)])
    return torch.stack([hidden[b, :n].mean(0) for b, n in enumerate(LENGTHS)])


def classifier(pooling, weights=None, adapters=None):
    p = base.make_parameters()
    score = fixed(len(p), LABELS * CHANNELS).reshape(LABELS, CHANNELS).requires_grad_()
    tokens, _ = base.make_tokens(0)
    pooled = pooled_of(hidden_of(p, tokens, adapters), pooling)
    logits = F.linear(pooled, score)
    if adapters:
        logits = adapters("score", pooled, logits)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    loss = F.cross_entropy(logits, torch.tensor(ROW_LABELS), weight=weight)
    loss.backward()
    result = {"loss": loss.item(), "logits": logits.detach().reshape(-1).tolist()}
    if not adapters:
        p["score.weight"] = score
        gradients = {name: digest(q.grad, n) for n, (name, q) in enumerate(p.items())}
        result["gradients"] = gradients
    else:
        result["gradients"] = adapters.digests()
    return result


def next_token(adapters=None):
    p = base.make_parameters()
    tokens, targets = base.make_tokens(0)
    targets = targets.clone()
    for b in range(BATCH):
        targets[b, :PROMPTS[b]] = -100
        targets[b, LENGTHS[b]:] = -100
    logits = F.linear(hidden_of(p, tokens, adapters), p["wte.weight"])
    loss = F.cross_entropy(logits.view(-1, VOCAB), targets.reshape(-1))
    loss.backward()
    gradients = adapters.digests() if adapters else {
        name: digest(q.grad, n) for n, (name, q) in enumerate(p.items())}
    return {"loss": loss.item(), "gradients": gradients}


def main():
    c = CHANNELS
    everything = {"attn.c_attn": "all", "attn.c_proj": "all", "mlp.c_fc": "all", "mlp.c_proj": "all"}
    parts = {"q": (0, c), "k": (c, c), "v": (2 * c, c)}
    golden = {
        "classifier": {pooling: classifier(pooling) for pooling in ("last-token", "last", "mean")},
        "weighted": classifier("last-token", CLASS_WEIGHTS),
        "masked": next_token(),
        "adapters": {
            "all": next_token(Adapters(everything)),
            "q,v": next_token(Adapters({"attn.c_attn": [parts["q"], parts["v"]]})),
            "q,k,v,c_proj": next_token(Adapters(
                {"attn.c_attn": list(parts.values()), "attn.c_proj": "all"})),
            "classifier": classifier("last-token", None, Adapters(
                {**everything, "attn.c_attn": list(parts.values()), "score": "all"})),
        },
        "settings": {"labels": ROW_LABELS, "lengths": LENGTHS, "prompts": PROMPTS, "rank": RANK,
                     "alpha": ALPHA, "class_weights": CLASS_WEIGHTS},
    }
    with open(GOLDEN / "finetune.json", "w") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")
    print(json.dumps({k: v for k, v in golden["masked"].items() if k == "loss"}))


if __name__ == "__main__":
    main()
