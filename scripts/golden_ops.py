#!/usr/bin/env python3
"""Golden values of every op, forward and backward, by PyTorch in float64 from float32 inputs.

    python3 scripts/golden_ops.py test/golden     # writes ops_<op>.json there

Needs torch (CPU). Each file: {case: {tensor: {"shape": [...], "values": [...]}}}; the names are those of
src/backend/backend.h.
"""
import json
import math
import sys

import torch
import torch.nn.functional as F

IGNORED = -100


def leaf(*shape, scale=1.0, center=0.0):
    """Random float32 numbers, as float64 that requires a gradient."""
    return (torch.randn(*shape) * scale + center).float().double().requires_grad_()


def array(tensor):
    def number(value):
        return value if isinstance(value, int) else (float(f"{value:.10g}") if math.isfinite(value) else str(value))

    return {"shape": list(tensor.shape), "values": [number(v) for v in tensor.detach().flatten().tolist()]}


def write(folder, op, cases):
    text = json.dumps({name: {key: array(t) for key, t in case.items()} for name, case in cases.items()},
                      separators=(",", ":"))
    with open(f"{folder}/ops_{op}.json", "w") as file:
        file.write(text.replace('},"', '},\n"') + "\n")


def scalar(value):
    return torch.tensor([value], dtype=torch.float64)


def embedding():
    table, positions = leaf(11, 6), leaf(5, 6)
    tokens = torch.randint(0, 11, (2, 4))
    y = F.embedding(tokens, table) + positions[:4]
    dy = leaf(*y.shape)
    y.backward(dy)
    return {"sum": dict(tokens=tokens, token_table=table, position_table=positions, y=y, dy=dy,
                        dtoken_table=table.grad, dposition_table=positions.grad)}


def layernorm():
    cases = {}
    for name, rows, channels in (("bias", 5, 12), ("no_bias", 3, 17)):
        x, weight = leaf(rows, channels, scale=2, center=0.5), leaf(channels, scale=0.3, center=1)
        bias = leaf(channels) if name == "bias" else None
        y = F.layer_norm(x, (channels,), weight, bias, 1e-5)
        dy = leaf(rows, channels)
        y.backward(dy)
        mean, variance = x.mean(-1), x.var(-1, unbiased=False)
        cases[name] = dict(x=x, weight=weight, y=y, dy=dy, dx=x.grad, dweight=weight.grad, mean=mean,
                           rstd=(variance + 1e-5).rsqrt())
        if bias is not None:
            cases[name].update(bias=bias, dbias=bias.grad)
    return cases


def linear():
    cases = {}
    for name, rows, inputs, outputs in (("many_rows", 7, 5, 9), ("one_row", 1, 21, 6)):
        x, weight, bias = leaf(rows, inputs), leaf(outputs, inputs), leaf(outputs)
        y = F.linear(x, weight, bias)
        dy = leaf(*y.shape)
        y.backward(dy)
        cases[name] = dict(x=x, weight=weight, bias=bias, y=y, gelu=F.gelu(y, approximate="tanh"), dy=dy,
                           dx=x.grad, dweight=weight.grad, dbias=bias.grad)
    return cases


def gelu():
    x = torch.cat([torch.linspace(-6, 6, 49), torch.tensor([0.0, -0.0, 30.0, -30.0])]).double().requires_grad_()
    y = F.gelu(x, approximate="tanh")
    dy = leaf(*x.shape)
    y.backward(dy)
    return {"tanh": dict(x=x, y=y, dy=dy, dx=x.grad)}


def attend(q, k, v, allowed, scale):
    """(B, T, H, D) with grouped key/value heads -> out and log-sum-exp; allowed: (Tq, Tk)."""
    group = q.shape[2] // k.shape[2]
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale)
    scores = (q @ k.transpose(-1, -2) * scale).masked_fill(~allowed, -math.inf)
    return out.transpose(1, 2), scores.logsumexp(-1)


def allowed_keys(queries, keys, kind, window=0):
    i, j = torch.arange(queries)[:, None], torch.arange(keys)[None]
    own = i + keys - queries
    allowed = torch.ones(queries, keys, dtype=torch.bool)
    if kind != "full":
        allowed &= j <= own
    if kind == "window":
        allowed &= j > own - window
    return allowed


def attention():
    cases = {}
    for name, kind, B, queries, keys, heads, kv_heads, size in (
            ("causal", "causal", 2, 6, 6, 2, 2, 4), ("full", "full", 1, 5, 5, 2, 2, 3),
            ("window", "window", 1, 9, 9, 1, 1, 4), ("longer_keys", "causal", 1, 3, 7, 2, 2, 4),
            ("grouped", "causal", 1, 5, 5, 4, 2, 4), ("longer_window", "window", 1, 4, 8, 4, 1, 2)):
        q, k, v = leaf(B, queries, heads, size), leaf(B, keys, kv_heads, size), leaf(B, keys, kv_heads, size)
        window = 3
        scale = size ** -0.5
        out, lse = attend(q, k, v, allowed_keys(queries, keys, kind, window), scale)
        dout = leaf(*out.shape)
        out.backward(dout)
        cases[name] = dict(q=q, k=k, v=v, out=out, lse=lse, dout=dout, dq=q.grad, dk=k.grad, dv=v.grad,
                           window=scalar(window if kind == "window" else 0), full=scalar(float(kind == "full")),
                           scale=scalar(scale))
    # Packed rows: sequence by sequence.
    query_offsets, key_offsets = [0, 3, 4, 9], [0, 5, 6, 11]
    q, k, v = leaf(1, 9, 2, 4), leaf(1, 11, 2, 4), leaf(1, 11, 2, 4)
    parts = []
    for n in range(3):
        a, b, c, d = query_offsets[n], query_offsets[n + 1], key_offsets[n], key_offsets[n + 1]
        parts.append(attend(q[:, a:b], k[:, c:d], v[:, c:d], allowed_keys(b - a, d - c, "causal"), 0.5))
    out, lse = torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 2)
    dout = leaf(*out.shape)
    out.backward(dout)
    cases["packed"] = dict(q=q, k=k, v=v, out=out, lse=lse, dout=dout, dq=q.grad, dk=k.grad, dv=v.grad,
                           window=scalar(0), full=scalar(0), scale=scalar(0.5),
                           query_offsets=torch.tensor(query_offsets), key_offsets=torch.tensor(key_offsets))
    return cases


def cross_entropy():
    logits = leaf(6, 16, scale=3)
    vocab, factor = 13, 0.25
    targets = torch.tensor([3, IGNORED, 12, 0, IGNORED, 7])
    losses = F.cross_entropy(logits[:, :vocab], targets, ignore_index=IGNORED, reduction="none")
    (losses.sum() * factor).backward()
    return {"ignored_and_padded": dict(logits=logits, targets=targets, vocab=scalar(vocab), losses=losses,
                                       gradient_scale=scalar(factor), dlogits=logits.grad)}


def adamw():
    """Five steps on two groups: the first 64 parameters with weight decay, the rest without."""
    count, decayed = 100, 64
    start = torch.randn(count).float().double()
    groups = [start[:decayed].clone().requires_grad_(), start[decayed:].clone().requires_grad_()]
    optimizer = torch.optim.AdamW([{"params": groups[:1], "weight_decay": 0.1}, {"params": groups[1:], "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    case = dict(params=start, decay=torch.tensor([0.1, 0.0], dtype=torch.float64))
    for step in range(5):
        gradient = (torch.randn(count) * 10.0 ** (step - 3)).float().double()
        rate = 1e-3 * (5 - step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        clip = min(1.0, 1.0 / gradient.norm().item())
        for group, part in zip(groups, (gradient[:decayed], gradient[decayed:])):
            group.grad = part * clip
        optimizer.step()
        case.update({f"gradient{step}": gradient, f"rate{step}": scalar(rate), f"norm{step}": gradient.norm()[None],
                     f"params{step}": torch.cat([g.detach() for g in groups])})
    case["m"] = torch.cat([optimizer.state[g]["exp_avg"] for g in groups])
    case["v"] = torch.cat([optimizer.state[g]["exp_avg_sq"] for g in groups])
    return {"five_steps": case}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for make in (embedding, layernorm, linear, gelu, attention, cross_entropy, adamw):
        torch.manual_seed(20240520)
        write(sys.argv[1], make.__name__, make())


if __name__ == "__main__":
    main()
