#!/usr/bin/env python3
"""Compares `llm eval` with transformers: the loss and perplexity of a text under the same model, context
and stride. The windows are those of the usual recipe: they begin every STRIDE tokens, hold CONTEXT
tokens, and predict those that the windows before them did not. Without overlap (stride = context) each
window also predicts the token behind it, which no other window could.

usage: check_perplexity.py LLM_BINARY MODEL_FOLDER TEXT_FILE [--context N] [--stride N]
       [--characters N] [--device DEVICE]      (needs torch and transformers)
Exit code 1 if the perplexities differ by more than 1e-4 of their value, or the tokens at all.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, GPT2LMHeadModel

BOUND = 1e-4


def encode(folder, text):
    file = pathlib.Path(folder) / "tokenizer.json"
    if file.exists():
        return Tokenizer.from_file(str(file)).encode(text).ids
    return AutoTokenizer.from_pretrained(folder)(text)["input_ids"]


def transformers_loss(model, ids, context, stride):
    """(sum of the losses, tokens predicted)."""
    ids = torch.tensor(ids)
    total, count, predicted = 0.0, 0, 1  # token 0 has nothing before it
    behind = 1 if stride == context else 0
    for begin in range(0, len(ids), stride):
        end = min(begin + context + behind, len(ids))
        if end <= predicted:
            break
        with torch.no_grad():
            logits = model(ids[None, begin:end - 1]).logits[0]
        losses = torch.nn.functional.cross_entropy(
            logits[predicted - 1 - begin:], ids[predicted:end], reduction="none")
        total += losses.double().sum().item()
        count += end - predicted
        predicted = end
    return total, count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("llm")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--context", type=int)
    parser.add_argument("--stride", type=int)
    parser.add_argument("--characters", type=int, help="of the text's beginning (default: all)")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    model = GPT2LMHeadModel.from_pretrained(arguments.model, dtype=torch.float32).eval()
    context = arguments.context or model.config.n_positions
    stride = arguments.stride or context
    text = arguments.text.read_bytes().decode()[:arguments.characters]

    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(text.encode())
        file.flush()
        command = [arguments.llm, "eval", str(arguments.model), "--data", file.name, "--context",
                   str(context), "--stride", str(stride), "--dtype", "f32", "--json", "--device",
                   arguments.device]
        result = subprocess.run(command, capture_output=True, check=True)
    ours = json.loads(result.stdout.splitlines()[-1])
    ids = encode(arguments.model, text)
    total, count = transformers_loss(model, ids, context, stride)
    perplexity = math.exp(total / count)
    difference = abs(ours["perplexity"] / perplexity - 1)
    good = difference <= BOUND and ours["tokens"] == count == len(ids) - 1
    print(f"{arguments.model}, {arguments.text.name}, context {context}, stride {stride}: "
          f"{ours['tokens']} tokens here, {count} there; perplexity {ours['perplexity']:.6f} here, "
          f"{perplexity:.6f} there, relative difference {difference:.1e}; loss {ours['loss']:.6f}, "
          f"{ours['bits_per_byte']:.6f} bits per byte: {'ok' if good else 'FAILED'}")
    sys.exit(0 if good else 1)


main()
