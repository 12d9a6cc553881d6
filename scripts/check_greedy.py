#!/usr/bin/env python3
"""Compares greedy text with transformers, token by token: `llm generate --temperature 0` and
generate() of GPT2LMHeadModel continue the same prompts in float32. Where transformers' two best logits
differ by less than 1e-4, rounding decides: either token passes, and the comparison of that text ends.

usage: check_greedy.py LLM_BINARY [MODEL_FOLDER...] [--random] [--vocabulary DIR] [--tokens N]
       [--device DEVICE]        (needs torch and transformers)
--random makes models with random weights of several shapes as well, saved by save_pretrained, whose
tokens are GPT-2's (--vocabulary: the folder with vocab.json and merges.txt). Exit code 1 if any differs.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel

CLOSE = 1e-4
PROMPTS = ["Once upon a time", "The ", "There was a brave boy who", "1, 2, 3, 4,",
           "In a green forest, there lived a small fox. Every day the fox"]
SHAPES = [dict(n_layer=2, n_head=2, n_embd=64), dict(n_layer=5, n_head=7, n_embd=112),
          dict(n_layer=3, n_head=4, n_embd=128, tie_word_embeddings=False)]


def make_random_models(folder, vocabulary):
    """Weights large enough that the logits of different tokens are well apart."""
    for number, shape in enumerate(SHAPES):
        torch.manual_seed(number)
        config = GPT2Config(n_positions=320, initializer_range=0.1, bos_token_id=50256,
                            eos_token_id=50256, **shape)
        target = folder / ("random-" + "x".join(str(n) for n in list(shape.values())[:3]))
        model = GPT2LMHeadModel(config)
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms that are not trivial
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(target)
        for name in ["vocab.json", "merges.txt"]:
            shutil.copy(pathlib.Path(vocabulary) / name, target)
        yield target


def ours(arguments, folder, prompt, tokens):
    command = [arguments.llm, "generate", str(folder), "-p", prompt, "-n", str(tokens),
               "--temperature", "0", "--ignore-end-of-text", "--json", "--no-echo", "--dtype", "f32"]
    command += ["--device", arguments.device]
    result = subprocess.run(command, capture_output=True, check=True)
    figures = json.loads(result.stdout.splitlines()[-1])
    return figures["prompt_ids"], figures["ids"]


def compare(model, prompt, ids):
    """(tokens compared, the smallest gap of two best logits there, what differs or None)."""
    inputs = torch.tensor([prompt])
    result = model.generate(inputs, attention_mask=torch.ones_like(inputs), do_sample=False,
                            max_new_tokens=len(ids), pad_token_id=0, eos_token_id=None,
                            return_dict_in_generate=True, output_logits=True)
    theirs = result.sequences[0, len(prompt):].tolist()
    smallest = float("inf")
    for i, logits in enumerate(result.logits):
        best = logits[0].float().topk(2)
        gap = (best.values[0] - best.values[1]).item()
        if gap < CLOSE:
            good = ids[i] in best.indices.tolist()
            return i, smallest, None if good else f"token {i} is neither of the two best"
        smallest = min(smallest, gap)
        if ids[i] != theirs[i]:
            return i, smallest, f"token {i} is {ids[i]}, not {theirs[i]}"
    return len(ids), smallest, None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("llm")
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--vocabulary", default="../shared/data/gpt2")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    failed, total = False, 0
    with tempfile.TemporaryDirectory() as made:
        folders = list(arguments.models)
        if arguments.random:
            folders += make_random_models(pathlib.Path(made), arguments.vocabulary)
        for folder in folders:
            model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
            model.generation_config.eos_token_id = None
            for prompt in PROMPTS:
                prompt_ids, ids = ours(arguments, folder, prompt, arguments.tokens)
                count, gap, difference = compare(model, prompt_ids, ids)
                short = len(ids) < arguments.tokens
                failed = failed or difference is not None or short
                total += count
                print(f"{folder.name}: {prompt[:28]!r}: {count} of {len(ids)} tokens compared, "
                      f"{len(set(ids))} different ones, smallest gap {gap:.1e}: "
                      f"{difference or ('too few tokens' if short else 'the same')}", flush=True)
    print(f"{total} tokens compared: {'FAILED' if failed or total == 0 else 'all the same'}")
    sys.exit(1 if failed or total == 0 else 0)


main()
