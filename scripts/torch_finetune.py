#!/usr/bin/env python3
"""The PyTorch side of `llm bench train --batch 8 [--lora-rank R]`: fine-tuning GPT-2 on a GPU.

    python3 scripts/torch_finetune.py --length 256 512 1024 --lora-rank 0 16

The model is compiled, its products run under bf16 autocast, attention is PyTorch's fused one, AdamW is
the fused one, gradients are clipped to a norm of 1. With --lora-rank R every linear layer of the blocks
(q, k and v apart) has an adapter of rank R and everything else is frozen. Token ids are distributed as
in text (Zipf). Prints one line per length and rank; tokens/s is the figure to compare.
"""
import argparse
import math
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SIZES = {"gpt2": (12, 12, 768), "gpt2-medium": (24, 16, 1024), "gpt2-large": (36, 20, 1280)}
VOCABULARY, CONTEXT = 50304, 1024


class Adapted(nn.Module):
    """A linear layer; with a rank, y += alpha / rank * B A x for each of its `parts` outputs."""

    def __init__(self, inputs, outputs, rank, parts=1):
        super().__init__()
        self.linear, self.rank, self.parts = nn.Linear(inputs, outputs), rank, parts
        if rank:
            self.a = nn.ParameterList(
                nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs)) for _ in range(parts))
            self.b = nn.ParameterList(
                nn.Parameter(torch.zeros(outputs // parts, rank)) for _ in range(parts))

    def forward(self, x):
        y = self.linear(x)
        if not self.rank:
            return y
        low = [F.linear(F.linear(x, a), b) for a, b in zip(self.a, self.b)]
        return y + (low[0] if self.parts == 1 else torch.cat(low, -1))  # alpha = rank


class Block(nn.Module):
    def __init__(self, heads, channels, rank):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv = Adapted(channels, 3 * channels, rank, parts=3)
        self.projection = Adapted(channels, channels, rank)
        self.up = Adapted(channels, 4 * channels, rank)
        self.down = Adapted(4 * channels, channels, rank)

    def forward(self, x):
        batch, length, channels = x.shape
        split = (batch, length, self.heads, channels // self.heads)
        q, k, v = (part.view(split).transpose(1, 2)
                   for part in self.qkv(self.norm1(x)).split(channels, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(y.transpose(1, 2).reshape(batch, length, channels))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, layers, heads, channels, rank):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, channels)
        self.positions = nn.Embedding(CONTEXT, channels)
        self.blocks = nn.ModuleList(Block(heads, channels, rank) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)
        if rank:
            for name, parameter in self.named_parameters():
                parameter.requires_grad = ".a." in name or ".b." in name

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def measure(model_name, batch, length, rank, steps, mode):
    torch.manual_seed(0)
    torch._dynamo.reset()
    model = Gpt(*SIZES[model_name], rank).cuda()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.1, fused=True)
    compiled = torch.compile(model, mode=mode)
    weights = 1.0 / torch.arange(1, VOCABULARY - 46, dtype=torch.float64)
    ids = torch.multinomial(weights, batch * (length + 1), replacement=True).view(batch, -1).cuda()

    def step():
        torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast("cuda", torch.bfloat16):
            loss = compiled(ids[:, :-1], ids[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    for _ in range(5):
        step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        loss = step().detach().clone()  # the next step writes over what a graph returned
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / steps
    kind = (f"LoRA rank {rank}" if rank else "full") + f", mode {mode}"
    count = sum(p.numel() for p in trained)
    print(f"PyTorch {torch.__version__} {model_name} {kind} ({count:,} trained): batch {batch} x "
          f"{length}, {seconds * 1e3:.2f} ms per step, {batch * length / seconds:,.0f} tokens/s, "
          f"loss {loss.item():.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=SIZES, default="gpt2")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--lora-rank", type=int, nargs="+", default=[0, 16])
    parser.add_argument("--mode", default="reduce-overhead", help="of torch.compile: reduce-overhead "
                        "records CUDA graphs, without which short sequences wait for the processor")
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    for rank in arguments.lora_rank:
        for length in arguments.length:
            measure(arguments.model, arguments.batch, length, rank, arguments.steps, arguments.mode)


if __name__ == "__main__":
    main()
