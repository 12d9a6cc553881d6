#!/usr/bin/env python3
"""Compares probabilities of `llm classify` with those of GPT2ForSequenceClassification in transformers:
of small random models and of the model folders that are named (with their own tokenizers), one text
at a time, on stdin and from a file; then once more of what `llm export` writes.

usage: check_classifier.py LLM_BINARY [MODEL_FOLDER...]   (needs torch and transformers)
Exit code 1 if any probability differs by more than 1e-4.
"""
import csv
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2ForSequenceClassification

BOUND = 1e-4
END = 256  # of a vocabulary of bytes


def llm(binary, *arguments, text=None):
    result = subprocess.run([binary, *map(str, arguments)], input=text, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: exit code {result.returncode}\n{result.stderr}")
    return result.stdout.splitlines()


def make_model(folder, seed, labels):
    torch.manual_seed(seed)
    names = {i: f"label {chr(97 + i)}" for i in range(labels)}
    config = GPT2Config(n_layer=3, n_head=4, n_embd=32, n_positions=96, vocab_size=257,
                        bos_token_id=END, eos_token_id=END, pad_token_id=END, initializer_range=0.2,
                        id2label=names, label2id={name: i for i, name in names.items()})
    model = GPT2ForSequenceClassification(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name or "ln_" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)


def make_texts(count):
    random.seed(3)
    words = "a the prize, won \"you\" have\u00e9 call \U0001f600 now please ok 7".split()
    texts = [" ".join(random.choices(words, k=random.randint(1, 10))) for _ in range(count)]
    return texts + ["x" * 90]


def theirs(model, encode, texts, batch):
    """Probabilities of each text, padded on the right in batches as people do."""
    pad, rows = model.config.pad_token_id, []
    for begin in range(0, len(texts), batch):
        ids = [encode(text)[:model.config.n_positions] for text in texts[begin:begin + batch]]
        longest = max(map(len, ids))
        tokens = torch.tensor([row + [pad] * (longest - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        with torch.no_grad():
            rows += model(input_ids=tokens, attention_mask=mask).logits.softmax(-1).tolist()
    return rows


def difference(lines, expected, names):
    worst = 0.0
    for line, row in zip(lines, expected, strict=True):
        got = json.loads(line)
        values = [got["probabilities"][name] for name in names]
        worst = max([worst] + [abs(a - b) for a, b in zip(values, row, strict=True)])
        best = max(row)
        if best - sorted(row)[-2] > BOUND and got["label"] != names[row.index(best)]:
            worst = float("inf")
    return worst


def check(binary, folder, texts, work, tokenizer):
    model = GPT2ForSequenceClassification.from_pretrained(folder).eval()
    if model.config.pad_token_id is None:
        model.config.pad_token_id = model.config.eos_token_id or 0
    own = [] if tokenizer is None else ["--tokenizer", tokenizer]
    if tokenizer == "bytes":
        encode = lambda text: list(text.encode())
    else:
        loaded = AutoTokenizer.from_pretrained(folder)
        encode = lambda text: loaded(text)["input_ids"]
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    expected = theirs(model, encode, texts, 8)
    table = work / "texts.csv"
    with open(table, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for text, row in zip(texts, expected):
            writer.writerow([text, names[row.index(max(row))]])
    lines = llm(binary, "classify", folder, *own, "--dtype", "f32", "--file", table, "--json", "--batch", 7)
    worst = {"file": difference(lines[:-1], expected, names)}
    if json.loads(lines[-1])["accuracy"] < 1 and worst["file"] < 1e-6:
        worst["file"] = float("inf")
    worst["stdin"] = difference(
        llm(binary, "classify", folder, *own, "--dtype", "f32", "--json", text="\n".join(texts) + "\n"), expected, names)
    worst["text"] = difference(
        llm(binary, "classify", folder, texts[0], *own, "--dtype", "f32", "--json"), expected[:1], names)
    exported = work / "exported"
    llm(binary, "export", folder, *own, "-o", exported)
    again = GPT2ForSequenceClassification.from_pretrained(exported).eval()
    again.config.pad_token_id = model.config.pad_token_id
    back = theirs(again, encode, texts, 8)
    worst["exported"] = max(abs(a - b) for x, y in zip(back, expected) for a, b in zip(x, y))
    good = max(worst.values()) <= BOUND
    figures = ", ".join(f"{name} {value:.1e}" for name, value in worst.items())
    print(f"{folder}: {len(names)} labels, {len(texts)} texts, largest difference of probabilities: "
          f"{figures}: {'ok' if good else 'FAILED'}")
    return good


def main():
    binary, good = sys.argv[1], True
    texts = make_texts(40)
    with tempfile.TemporaryDirectory() as place:
        for seed, labels in [(1, 2), (2, 3), (3, 11)]:
            work = pathlib.Path(place) / f"{labels}_labels"
            make_model(work / "model", seed, labels)
            good &= check(binary, work / "model", texts, work, "bytes")
        for number, folder in enumerate(sys.argv[2:]):
            work = pathlib.Path(place) / f"given_{number}"
            work.mkdir()
            good &= check(binary, pathlib.Path(folder), texts, work, None)
    sys.exit(0 if good else 1)


main()
