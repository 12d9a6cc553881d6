#!/usr/bin/env python3
"""Golden values of the whole model from PyTorch: test/golden/model.json and model_gradients.bin.

A small GPT-2 with weights from a formula that the test repeats exactly (no weights are stored):
loss, the gradient of every parameter, and the losses of ten AdamW steps with weight decay, clipping
and the cosine schedule. Everything is computed in float64.

    python3 scripts/golden_model.py        # needs torch and numpy
"""
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

LAYERS, HEADS, CHANNELS, VOCAB, CONTEXT, BATCH = 2, 3, 48, 65, 32, 2
STEPS, WARMUP, PEAK, LOWEST, DECAY, CLIP = 10, 2, 1e-2, 1e-3, 0.1, 1.0
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "test" / "golden"


def mixed(index):
    """The finalizer of splitmix64 over an array of uint64: well-mixed bits from a counter."""
    with np.errstate(over="ignore"):
        z = index * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def values(tensor_number, count, scale, center):
    """Exactly representable in float32: a 16-bit fraction in [-1, 1) times a power of two."""
    bits = mixed(np.arange(count, dtype=np.uint64) + np.uint64((tensor_number + 1) << 32))
    fraction = (bits >> np.uint64(48)).astype(np.float64) / 32768.0 - 1.0
    return center + scale * fraction


def parameter_list():
    """(name, shape) in the order of the program's parameter store; linear weights are (out, in)."""
    c = CHANNELS
    result = [("wte.weight", (VOCAB, c)), ("wpe.weight", (CONTEXT, c))]
    for i in range(LAYERS):
        h = f"h.{i}."
        result += [
            (h + "ln_1.weight", (c,)), (h + "ln_1.bias", (c,)),
            (h + "attn.c_attn.weight", (3 * c, c)), (h + "attn.c_attn.bias", (3 * c,)),
            (h + "attn.c_proj.weight", (c, c)), (h + "attn.c_proj.bias", (c,)),
            (h + "ln_2.weight", (c,)), (h + "ln_2.bias", (c,)),
            (h + "mlp.c_fc.weight", (4 * c, c)), (h + "mlp.c_fc.bias", (4 * c,)),
            (h + "mlp.c_proj.weight", (c, 4 * c)), (h + "mlp.c_proj.bias", (c,)),
        ]
    return result + [("ln_f.weight", (c,)), ("ln_f.bias", (c,))]


def make_parameters():
    parameters = {}
    for number, (name, shape) in enumerate(parameter_list()):
        center = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
        flat = values(number, math.prod(shape), 0.125, center)
        parameters[name] = torch.tensor(flat.reshape(shape), requires_grad=True)
    return parameters


def make_tokens(step):
    rows = BATCH * (CONTEXT + 1)
    bits = mixed(np.arange(rows, dtype=np.uint64) + np.uint64((1000 + step) << 32))
    ids = (bits >> np.uint64(40)) % np.uint64(VOCAB)
    ids = torch.tensor(ids.astype(np.int64).reshape(BATCH, CONTEXT + 1))
    return ids[:, :-1], ids[:, 1:]


def loss_of(p, tokens, targets):
    c, heads = CHANNELS, HEADS
    b, t = tokens.shape
    x = p["wte.weight"][tokens] + p["wpe.weight"][:t]
    for i in range(LAYERS):
        h = f"h.{i}."
        n = F.layer_norm(x, (c,), p[h + "ln_1.weight"], p[h + "ln_1.bias"], 1e-5)
        qkv = F.linear(n, p[h + "attn.c_attn.weight"], p[h + "attn.c_attn.bias"])
        q, k, v = (z.view(b, t, heads, c // heads).transpose(1, 2) for z in qkv.split(c, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = y.transpose(1, 2).reshape(b, t, c)
        x = x + F.linear(y, p[h + "attn.c_proj.weight"], p[h + "attn.c_proj.bias"])
        n = F.layer_norm(x, (c,), p[h + "ln_2.weight"], p[h + "ln_2.bias"], 1e-5)
        y = F.gelu(F.linear(n, p[h + "mlp.c_fc.weight"], p[h + "mlp.c_fc.bias"]), approximate="tanh")
        x = x + F.linear(y, p[h + "mlp.c_proj.weight"], p[h + "mlp.c_proj.bias"])
    x = F.layer_norm(x, (c,), p["ln_f.weight"], p["ln_f.bias"], 1e-5)
    logits = F.linear(x, p["wte.weight"])
    return F.cross_entropy(logits.view(-1, VOCAB), targets.reshape(-1))


def learning_rate(step):
    """nanoGPT's schedule: linear warmup, then cosine from PEAK to LOWEST over the remaining steps."""
    if step < WARMUP:
        return PEAK * (step + 1) / (WARMUP + 1)
    ratio = (step - WARMUP) / (STEPS - WARMUP)
    return LOWEST + 0.5 * (1 + math.cos(math.pi * ratio)) * (PEAK - LOWEST)


def main():
    parameters = make_parameters()
    loss = loss_of(parameters, *make_tokens(0))
    loss.backward()
    gradients = np.concatenate([p.grad.numpy().ravel() for p in parameters.values()])
    GOLDEN.mkdir(parents=True, exist_ok=True)
    gradients.astype("<f4").tofile(GOLDEN / "model_gradients.bin")

    parameters = make_parameters()
    decayed = [p for p in parameters.values() if p.dim() == 2]
    others = [p for p in parameters.values() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=PEAK, betas=(0.9, 0.95), eps=1e-8)
    losses, norms, rates = [], [], []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        step_loss = loss_of(parameters, *make_tokens(step))
        step_loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)))
        optimizer.step()
        losses.append(step_loss.item())
        rates.append(learning_rate(step))
    golden = {
        "layers": LAYERS, "heads": HEADS, "channels": CHANNELS, "vocab_size": VOCAB,
        "context": CONTEXT, "batch": BATCH, "loss": loss.item(),
        "steps": {"warmup": WARMUP, "peak": PEAK, "lowest": LOWEST, "weight_decay": DECAY,
                  "clip": CLIP, "learning_rates": rates, "losses": losses, "norms": norms},
    }
    (GOLDEN / "model.json").write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    main()
