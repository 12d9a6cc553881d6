#!/usr/bin/env python3
"""Writes test/golden/weights.safetensors with the safetensors library, and what is in it as JSON.

usage: golden_weights.py   (needs torch and safetensors)
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
