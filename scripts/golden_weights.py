#!/usr/bin/env python3
"""Writes test/golden/weights.safetensors with the safetensors library, and what is in it as JSON,
and test/golden/tiny_gpt2, a model saved by transformers, with its logits.

usage: golden_weights.py   (needs torch, safetensors and transformers)
"""
import json
import pathlib

import torch
from safetensors.torch import save_file

golden = pathlib.Path(__file__).resolve().parent.parent / "test" / "golden"
torch.manual_seed(1)
tensors = {
    "matrix": torch.randn(3, 5),
    "vector": torch.randn(7),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
    "brain": torch.randn(2, 2, 3).to(torch.bfloat16),
    "half": torch.randn(5).to(torch.float16),
    "counts": torch.arange(4),
    "name with \"quotes\" and \u00e9": torch.ones(1),
}
save_file(tensors, golden / "weights.safetensors", metadata={"format": "pt"})
names = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16", torch.int64: "i64"}
expected = {
    name: {
        "dtype": names[tensor.dtype],
        "shape": list(tensor.shape),
        "values": tensor.double().flatten().tolist(),
    }
    for name, tensor in tensors.items()
}
(golden / "weights.json").write_text(json.dumps(expected, indent=1) + "\n")

# A tiny GPT-2 as transformers saves it, and its logits.
from transformers import GPT2Config, GPT2LMHeadModel  # noqa: E402

config = GPT2Config(
    n_layer=2, n_head=2, n_embd=16, n_positions=12, vocab_size=31, bos_token_id=30, eos_token_id=30
)
model = GPT2LMHeadModel(config).eval()
with torch.no_grad():
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))  # biases and norms that are not trivial
    model.save_pretrained(golden / "tiny_gpt2")
    ids = torch.randint(0, 31, (2, 12))
    logits = model(ids).logits
(golden / "tiny_gpt2" / "logits.json").write_text(
    json.dumps({"ids": ids.tolist(), "logits": logits.flatten().tolist()}) + "\n"
)
