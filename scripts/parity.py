#!/usr/bin/env python3
"""Compares models with transformers in both directions: small odd ones, and large ones by name.

  - Models with random weights, saved by transformers (types, shards, prefixes, tied and not), are read
    by `llm generate`: its log-probabilities against those of transformers, greedily.
  - `llm export` of each, in every type and format, is loaded by transformers, by PyTorch as a state
    dict of the book's GPTModel and as a file of llm.c: logits, and `llm import` back to the same bytes.
  - Our tokenizer's files in transformers' AutoTokenizer: the same ids on texts of all kinds.

usage: parity.py LLM_BINARY [--model gpt2|gpt2-medium|gpt2-large|gpt2-xl]... [--tokenizer GPT2_FOLDER]
       [--device cpu|cuda] [--work FOLDER]      (needs torch and transformers)
With --model only those are compared; they need twice their size in f32 on the disk and once in memory.
Exit code 1 if any number differs by more than 1e-4, or any byte, id or token where none may.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
from transformers import (AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPT2Model,
                          GPT2TokenizerFast)

from other_models import BookGpt, disturb, read_llm_c

BOUND = 1e-4
SHAPES = {"gpt2": (12, 12, 768), "gpt2-medium": (24, 16, 1024), "gpt2-large": (36, 20, 1280),
          "gpt2-xl": (48, 25, 1600)}
SMALL = [  # name, config, type, shards of, without prefix
    ("one layer", dict(n_layer=1, n_head=1, n_embd=2, n_positions=40, vocab_size=257), "f32"),
    ("odd heads", dict(n_layer=3, n_head=7, n_embd=77, n_positions=61, vocab_size=331), "f32"),
    ("untied", dict(n_layer=2, n_head=3, n_embd=33, n_positions=47, vocab_size=263,
                    tie_word_embeddings=False), "f32"),
    ("wide MLP", dict(n_layer=2, n_head=2, n_embd=26, n_inner=131, n_positions=53,
                      vocab_size=307), "f32"),
    ("bf16", dict(n_layer=2, n_head=5, n_embd=65, n_positions=64, vocab_size=512), "bf16"),
    ("f16 untied", dict(n_layer=2, n_head=3, n_embd=39, n_positions=41, vocab_size=997,
                        tie_word_embeddings=False), "f16"),
    ("sharded", dict(n_layer=4, n_head=4, n_embd=68, n_positions=50, vocab_size=401), "f32",
     "100KB"),
    ("sharded f16 bare", dict(n_layer=3, n_head=3, n_embd=51, n_positions=44, vocab_size=299),
     "f16", "60KB", True),
]
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
TEXTS = ["Hello there, it's 12345 o'clock!", "  two  spaces\n\n\nand\tlines  ", "",
         "\u00e9t\u00e9 \u4e2d\u6587 \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u0645\u0631",
         "<|endoftext|> is text here", "a" * 3000, "\x00\x01\x7f\u0080\u2028", "x = [1,2]; //\u00a0!"]
failures = 0


def verdict(name, good, text):
    global failures
    failures += not good
    print(f"{name:<18} {text}: {'ok' if good else 'FAILED'}", flush=True)


def llm(*words):
    result = subprocess.run([ARGUMENTS.binary, *map(str, words)], capture_output=True)
    if result.returncode != 0:
        sys.exit(f"llm {' '.join(map(str, words))}: {result.stderr.decode()}")
    return result.stdout


def generate(folder, tokens, tokenizer):
    words = ["generate", folder, "-p", "The ", "-n", tokens, "--temperature", 0, "--no-echo",
             "--ignore-end-of-text", "--logprobs", 1000, "--json", "--dtype", "f32",
             "--device", ARGUMENTS.device]
    return json.loads(llm(*words, *tokenizer).splitlines()[-1])


def difference(ours, model, known):
    """Largest difference of log-probabilities among the `known` tokens of the tokenizer; tokens that are
    not transformers' own choice, where its best two are not as good as equal; numbers compared."""
    prompt = ours["prompt_ids"]
    with torch.no_grad():
        rows = model(torch.tensor([prompt + ours["ids"]])).logits[0, :, :known].log_softmax(-1)
    worst, others, count = 0.0, 0, 0
    for i, token in enumerate(ours["logprobs"]):
        row = rows[len(prompt) - 1 + i]
        top = token["top"]
        theirs = row[[entry["id"] for entry in top]]
        mine = torch.tensor([entry["logprob"] for entry in top])
        worst, count = max(worst, (theirs - mine).abs().max().item()), count + len(top)
        best = row.topk(2)
        close = (best.values[0] - best.values[1]).item() < BOUND
        others += best.indices[0].item() != token["id"] and not close
    return worst, others, count


def logits(model, ids):
    with torch.no_grad():
        output = model(ids)
    return (output if isinstance(output, torch.Tensor) else output.logits).float()


def save(model, folder, dtype, shards="50GB", bare=False):
    """Saves in a type, and returns the model rounded to it, in f32."""
    rounded = model.to(TYPES[dtype]).float().eval()
    saved = rounded
    if bare:
        saved = GPT2Model(model.config)
        saved.load_state_dict(rounded.transformer.state_dict())
    saved.to(TYPES[dtype]).save_pretrained(folder, max_shard_size=shards)
    return rounded.float()


def compare_exports(name, folder, model, work, dtype):
    ids = torch.randint(0, model.config.vocab_size, (2, min(20, model.config.n_positions)))
    expected = logits(model, ids)
    reference = work / "reference"  # the model in our own form
    llm("import", folder, "-o", reference, "--tokenizer", "none")
    bytes_of = (reference / "model.safetensors").read_bytes()
    for out_dtype in ["f32", "bf16", "f16"]:
        out = work / f"hf-{out_dtype}"
        llm("export", reference, "-o", out, "--dtype", out_dtype, "--tokenizer", "none")
        loaded, report = GPT2LMHeadModel.from_pretrained(out, dtype="auto",
                                                         output_loading_info=True)
        remarks = {key: list(value) for key, value in report.items() if value}
        rounded = model.state_dict()
        same = all(torch.equal(value, rounded[key].to(TYPES[out_dtype]))
                   for key, value in loaded.state_dict().items())
        worst = (logits(loaded.float().eval(), ids) - expected).abs().max().item()
        good = same and not remarks and loaded.config.n_head == model.config.n_head
        if out_dtype == dtype:
            good = good and worst <= BOUND
        note = f", logits differ by {worst:.1e}" if out_dtype == dtype else ""
        verdict(name, good, f"export in {out_dtype} loaded by transformers, tensors "
                            f"{'equal' if same else 'DIFFER'}{note}{remarks or ''}")
    if model.config.n_inner is None:
        compare_book(name, reference, model, work, ids, expected, bytes_of)
    if model.config.n_inner is None and model.config.tie_word_embeddings and dtype != "f16":
        llm("export", reference, "-o", work / "llmc", "--format", "llm.c")
        other = GPT2LMHeadModel(model.config)
        other.load_state_dict(read_llm_c(work / "llmc" / "model.bin", model.config), strict=False)
        worst = (logits(other.eval(), ids) - expected).abs().max().item()
        llm("import", work / "llmc" / "model.bin", "-o", work / "from-llmc")
        same = (work / "from-llmc" / "model.safetensors").read_bytes() == bytes_of
        verdict(name, worst <= BOUND and same, f"llm.c: logits differ by {worst:.1e}, back "
                                               f"{'identical' if same else 'DIFFERENT'}")


def compare_book(name, reference, model, work, ids, expected, bytes_of):
    llm("export", reference, "-o", work / "book", "--format", "book")
    config = model.config
    book = BookGpt(config.n_layer, config.n_head, config.n_embd, config.n_positions,
                   config.vocab_size, qkv_bias=True)
    book.load_state_dict(torch.load(work / "book" / "model.pth", weights_only=True))
    worst = (logits(book.eval(), ids) - expected).abs().max().item()
    llm("import", work / "book" / "model.pth", "-o", work / "from-book", "--heads", config.n_head)
    same = (work / "from-book" / "model.safetensors").read_bytes() == bytes_of
    torch.save({"model_state_dict": book.state_dict()}, work / "saved.pth")  # in f32, by PyTorch
    llm("import", work / "saved.pth", "-o", work / "from-saved", "--heads", config.n_head)
    again = GPT2LMHeadModel.from_pretrained(work / "from-saved")
    back = (logits(again.eval(), ids) - expected).abs().max().item()
    verdict(name, max(worst, back) <= BOUND and same,
            f"book: logits differ by {worst:.1e}, back {'identical' if same else 'DIFFERENT'}, saved "
            f"by PyTorch and imported {back:.1e}")


def small_models(work):
    for number, (name, numbers, dtype, *rest) in enumerate(SMALL):
        torch.manual_seed(number)
        model = GPT2LMHeadModel(GPT2Config(**numbers, bos_token_id=256, eos_token_id=256))
        disturb(model, 0.1)
        folder = work / f"small-{number}"
        model = save(model, folder, dtype, *rest)
        tokens = numbers["n_positions"] - 6
        worst, others, count = difference(generate(folder, tokens, ["--tokenizer", "bytes"]), model,
                                          257)
        verdict(name, worst <= BOUND and others == 0,
                f"{dtype}, {tokens} tokens, {count} log-probabilities differ by {worst:.1e}, other "
                f"tokens {others}")
        with tempfile.TemporaryDirectory(dir=work) as inner:
            compare_exports(name, folder, model, pathlib.Path(inner), dtype)


def large_model(name, work):
    layers, heads, channels = SHAPES[name]
    torch.manual_seed(1)
    start = time.time()
    model = GPT2LMHeadModel(GPT2Config(n_layer=layers, n_head=heads, n_embd=channels))
    disturb(model, 0.01)
    count = sum(parameter.numel() for parameter in model.parameters())
    folder = work / name
    model.save_pretrained(folder)
    del model
    made = time.time()
    tokens = 24
    ours = generate(folder, tokens, ["--tokenizer", ARGUMENTS.tokenizer])
    generated = time.time()
    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    worst, others, compared = difference(ours, model, 50257)
    verdict(name, worst <= BOUND and others == 0,
            f"{count:,} parameters, {tokens} tokens, {compared} log-probabilities differ by "
            f"{worst:.1e}, other tokens {others} (made in {made - start:.0f} s, `llm generate` "
            f"{generated - made:.1f} s, prefill {ours['prefill_tokens_per_second']:.1f} and decode "
            f"{ours['decode_tokens_per_second']:.1f} tok/s)")
    del model
    out = work / f"{name}-exported"
    start = time.time()
    llm("export", folder, "-o", out, "--tokenizer", "none")
    seconds = time.time() - start
    loaded = GPT2LMHeadModel.from_pretrained(out).eval()
    again, _, _ = difference(ours, loaded, 50257)
    verdict(name, again == worst, f"export in {seconds:.1f} s, loaded by transformers: "
                                  f"differ by {again:.1e}")


def tokenizers(work):
    """The GPT-2 tokenizer, and one trained here, from our files."""
    def compare(name, source, words):
        out = work / f"tokenizer-{name}".replace(" ", "-")
        model = work / f"model-{name}".replace(" ", "-")
        vocab = len(json.loads((source / "vocab.json").read_text())) if source else 257
        GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=2, n_positions=8,
                                   vocab_size=vocab)).save_pretrained(model)
        llm("export", model, "-o", out, *words)
        theirs = AutoTokenizer.from_pretrained(out)
        wrong = 0
        for text in TEXTS:
            path = work / "text"
            path.write_bytes(text.encode())
            ours = llm("tokenizer", "encode", "--tokenizer", out, "--file", path)
            ids = [int(word) for word in ours.split()]
            wrong += ids != theirs(text, add_special_tokens=False, split_special_tokens=True)[
                "input_ids"]
            wrong += theirs.decode(ids, clean_up_tokenization_spaces=False) != text
        end = theirs.eos_token == "<|endoftext|>" and theirs.eos_token_id == vocab - 1
        verdict(name, wrong == 0 and end, f"tokenizer of {vocab} tokens in AutoTokenizer, "
                                          f"{wrong} of {len(TEXTS)} texts differ, end of text "
                                          f"{theirs.eos_token_id}")
    saved = work / "saved-by-transformers"
    GPT2TokenizerFast.from_pretrained(ARGUMENTS.tokenizer).save_pretrained(saved)
    compare("gpt2", ARGUMENTS.tokenizer, ["--tokenizer", ARGUMENTS.tokenizer])
    compare("gpt2 by theirs", ARGUMENTS.tokenizer, ["--tokenizer", saved])
    compare("bytes", None, ["--tokenizer", "bytes"])


def main():
    global ARGUMENTS
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--model", action="append", choices=SHAPES, default=[])
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--tokenizer", type=pathlib.Path,
                        default=root.parent / "shared" / "data" / "gpt2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work")
    ARGUMENTS = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=ARGUMENTS.work) as name:
        work = pathlib.Path(name)
        if ARGUMENTS.model:
            for model in ARGUMENTS.model:
                large_model(model, work)
        else:
            small_models(work)
            tokenizers(work)
    sys.exit(1 if failures else 0)


main()
