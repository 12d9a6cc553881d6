#!/usr/bin/env python3
"""Compares model folders with transformers: loads each with GPT2LMHeadModel, lets it continue a prompt
greedily and compares ids and log-probabilities with those of `llm generate`; then saves it with
transformers and compares once more.

usage: check_transformers.py LLM_BINARY MODEL_FOLDER...   (needs torch and transformers)
Exit code 1 if any number differs by more than 1e-4, or any id.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPT2LMHeadModel

BOUND = 1e-4


def generate(binary, folder, prompt, tokens):
    command = [binary, "generate", folder, "-p", prompt, "-n", str(tokens), "--temperature", "0"]
    command += ["--ignore-end-of-text", "--logprobs", "5", "--json", "--no-echo"]
    result = subprocess.run(command, capture_output=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def compare(ours, model):
    """The largest difference of log-probabilities, and how many tokens are not transformers' own."""
    prompt = ours["prompt_ids"]
    ids = torch.tensor([prompt + ours["ids"]])
    with torch.no_grad():
        logprobs = model(ids).logits[0].log_softmax(-1)
    worst, others = 0.0, 0
    for i, token in enumerate(ours["logprobs"]):
        row = logprobs[len(prompt) - 1 + i]
        for entry in [token] + token["top"]:
            worst = max(worst, abs(entry["logprob"] - row[entry["id"]].item()))
        others += int(row.argmax()) != token["id"]
    return worst, others


def main():
    binary, failed = sys.argv[1], False
    for folder in sys.argv[2:]:
        model, loading = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True)
        model.eval()
        unexpected = {key: list(value) for key, value in loading.items() if value}
        prompt = "The "
        tokens = min(24, model.config.n_positions - 8)
        worst, others = compare(generate(binary, folder, prompt, tokens), model)
        with tempfile.TemporaryDirectory() as saved:
            model.save_pretrained(saved)
            for name in ["tokenizer.json", "vocab.json", "merges.txt"]:
                if (pathlib.Path(folder) / name).exists():
                    (pathlib.Path(saved) / name).write_bytes((pathlib.Path(folder) / name).read_bytes())
            back, back_others = compare(generate(binary, saved, prompt, tokens), model)
        held = load_file(pathlib.Path(folder) / "model.safetensors")
        state = model.state_dict()
        same = all(torch.equal(value, state[name]) for name, value in held.items())
        good = max(worst, back) <= BOUND and others + back_others == 0 and same and not unexpected
        failed = failed or not good
        print(f"{folder}: {len(held)} tensors {'equal' if same else 'DIFFER'}, loading remarks "
              f"{unexpected or 'none'}, {tokens} tokens, largest difference of log-probabilities "
              f"{worst:.1e}, through transformers and back {back:.1e}, other tokens "
              f"{others + back_others}: {'ok' if good else 'FAILED'}")
        ours = generate(binary, folder, prompt, 1)["prompt_ids"]
        theirs = AutoTokenizer.from_pretrained(folder)(prompt)["input_ids"]
        failed = failed or ours != theirs
        print(f"  tokenizer: {ours} here, {theirs} in transformers")
    sys.exit(1 if failed else 0)


main()
