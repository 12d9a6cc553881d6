#!/usr/bin/env python3
"""The small tinyshakespeare recipe in PyTorch, to compare the loss that `llm pretrain` reaches with.

    python scripts/torch_shakespeare.py tinyshakespeare.txt --seed 1 --windows grid

Characters, the last tenth for validation; 4 layers, 4 heads, 128 channels, no biases, context 64, 2000
steps of 12 sequences, AdamW 1e-3 to 1e-4 (cosine, 100 steps of warm-up), beta2 0.99, weight decay 0.1,
clip 1.0. Training windows are drawn anywhere (`random`) or once each per epoch (`grid`, as llm does).
Prints the loss over the whole validation text in windows of 64. Needs torch and numpy.
"""
import argparse
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

LAYERS, HEADS, CHANNELS, CONTEXT, BATCH, STEPS, WARMUP = 4, 4, 128, 64, 12, 2000, 100
PEAK, LOWEST = 1e-3, 1e-4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(CHANNELS, bias=False) for _ in range(2))
        self.qkv = nn.Linear(CHANNELS, 3 * CHANNELS, bias=False)
        self.projection = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.up = nn.Linear(CHANNELS, 4 * CHANNELS, bias=False)
        self.down = nn.Linear(4 * CHANNELS, CHANNELS, bias=False)

    def forward(self, x):
        rows, length, _ = x.shape
        qkv = self.qkv(self.norm1(x)).view(rows, length, 3, HEADS, CHANNELS // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(y.transpose(1, 2).reshape(rows, length, CHANNELS))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, CHANNELS), nn.Embedding(CONTEXT, CHANNELS)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(CHANNELS, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                onto_stream = "projection" in name or "down" in name
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * LAYERS) if onto_stream else 1))

    def loss(self, tokens, targets, reduction="mean"):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


def window_begins(kind, size, generator):
    """Endless beginnings of training windows."""
    windows, epoch = (size - 1) // CONTEXT, 0
    while True:
        if kind == "random":
            yield int(generator.integers(0, size - CONTEXT))
            continue
        offset = int(generator.integers(0, CONTEXT)) if epoch else 0
        for window in generator.permutation(windows):
            begin = offset + int(window) * CONTEXT
            yield begin if begin + CONTEXT + 1 <= size else 0
        epoch += 1


def learning_rate(step):
    if step < WARMUP:
        return PEAK * (step + 1) / (WARMUP + 1)
    done = (step - WARMUP) / (STEPS - WARMUP)
    return LOWEST + 0.5 * (1 + math.cos(math.pi * done)) * (PEAK - LOWEST)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--windows", choices=["random", "grid"], default="grid")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    text = open(args.text, encoding="utf-8").read()
    ids = {character: i for i, character in enumerate(sorted(set(text)))}
    data = torch.tensor([ids[character] for character in text])
    train, val = data[: int(0.9 * len(data))], data[int(0.9 * len(data)) :]

    model = Gpt(len(ids))
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.99))
    begins = window_begins(args.windows, len(train), np.random.default_rng(args.seed))
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        rows = torch.stack([train[b : b + CONTEXT + 1] for b in (next(begins) for _ in range(BATCH))])
        model.loss(rows[:, :-1], rows[:, 1:]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    windows = (len(val) - 1) // CONTEXT
    tokens = val[: windows * CONTEXT].view(windows, CONTEXT)
    targets = val[1 : windows * CONTEXT + 1].view(windows, CONTEXT)
    with torch.no_grad():
        total = sum(model.loss(tokens[i : i + 64], targets[i : i + 64], "sum").item() for i in range(0, windows, 64))
    print(f"{args.windows} windows, seed {args.seed}: validation loss {total / (windows * CONTEXT):.4f}")


if __name__ == "__main__":
    main()
