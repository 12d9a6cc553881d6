#!/usr/bin/env python3
"""Decoding on the CPU, one sequence, beside the memory's speed, PyTorch and transformers.

    python scripts/compare_decode_cpu.py --llm build/llm [--torch-script torch_gpt2.py] [--work DIR]

Makes a GPT-2 124M with random weights, lets `llm generate` continue a prompt greedily in f32 and in
bf16, and transformers do the same; measures how fast memory is read (read_bandwidth.cpp); with
--torch-script also runs `decode --device cpu` of that script. They take turns, for --rounds rounds;
the table shows the best speed of each. Every token reads all weights but the position table once:
the share is those bytes per second against the memory's in the same round, the median of the rounds
(on a virtual machine the memory's speed is another one every few seconds). Needs torch, transformers
and tokenizers.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SCRIPTS = pathlib.Path(__file__).resolve().parent
PROMPT = "Decoding reads every weight once per token. " * 3
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def make_model(folder):
    """124M random weights, and a tokenizer of as many tokens: bytes and pairs of bytes."""
    torch.manual_seed(1)
    config = transformers.GPT2Config()
    model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(a, b) for a in letters for b in letters][: config.vocab_size - 257]
    vocab = {token: i for i, token in enumerate(letters + [a + b for a, b in pairs])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))


def bytes_per_token(model, dtype):
    elements = sum(p.numel() for p in model.parameters()) - model.transformer.wpe.weight.numel()
    return elements * (2 if dtype == "bf16" else 4)


def resident_peak(pid):
    """The most memory that a process has had resident, 0 if it has just ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found.group(1)) * 1024 if found else 0


def run_llm(llm, folder, dtype, tokens):
    """The JSON of `llm generate`, with the most memory that it had resident."""
    command = [llm, "generate", str(folder), "-p", PROMPT, "-n", str(tokens), "--temperature", "0"]
    command += ["--dtype", dtype, "--device", "cpu", "--ignore-end-of-text", "--no-echo", "--json"]
    resident = 0
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        while process.poll() is None:  # what wait4 reports begins with the memory of this process
            resident = resident_peak(process.pid) or resident
            time.sleep(0.1)
        if process.returncode != 0:
            sys.exit(f"failed: {' '.join(command)}")
        out.seek(0)
        result = json.loads(out.read().splitlines()[-1])
    result["resident"] = resident
    return result


def run_transformers(model, prompt, tokens):
    """ids and tokens per second behind the prompt: a long call less a short one."""
    ids = torch.tensor([prompt])
    seconds = []
    for count in (1, tokens):
        start = time.perf_counter()
        out = model.generate(ids, max_new_tokens=count, min_new_tokens=count, do_sample=False,
                             attention_mask=torch.ones_like(ids), pad_token_id=0)
        seconds.append(time.perf_counter() - start)
    return out[0, len(prompt):].tolist(), (tokens - 1) / (seconds[1] - seconds[0])


def run_torch(script, tokens):
    command = [sys.executable, script, "decode", "--device", "cpu", "--model", "d12"]
    out = subprocess.run(command + ["--tokens", str(tokens)], capture_output=True, check=True, text=True)
    return float(re.search(r"([0-9.]+) tok/s", out.stdout).group(1))


def same_start(a, b):
    """How many tokens are the same before the first that is not."""
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llm", default="build/llm")
    parser.add_argument("--torch-script")
    parser.add_argument("--work", help="keeps the model there for the next time")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    temporary = None if args.work else tempfile.TemporaryDirectory()
    work = pathlib.Path(args.work or temporary.name)
    folder = work / "gpt2-random"
    if not (folder / "tokenizer.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_model(folder)
    probe = work / "read_bandwidth"
    subprocess.run(["c++", "-O3", "-march=native", "-std=c++20", "-pthread",
                    str(SCRIPTS / "read_bandwidth.cpp"), "-o", str(probe)], check=True)
    transformers.logging.set_verbosity_error()
    others = {name: transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=dtype).eval()
              for name, dtype in DTYPES.items()}

    seen, resident, agreed = {}, {}, {}

    def record(name, value):
        seen.setdefault(name, []).append(value)
        print(f"  {name}: {value:.4g}", file=sys.stderr)

    for round_number in range(args.rounds):
        print(f"round {round_number + 1} of {args.rounds}", file=sys.stderr)
        record("memory", float(subprocess.run([probe], capture_output=True, text=True).stdout))
        for dtype, model in others.items():
            ours = run_llm(args.llm, folder, dtype, args.tokens)
            record(f"llm {dtype}", ours["decode_tokens_per_second"])
            resident[dtype] = ours["resident"]
            ids, rate = run_transformers(model, ours["prompt_ids"], args.tokens)
            record(f"transformers {dtype}", rate)
            agreed[dtype] = same_start(ours["ids"], ids)
        if args.torch_script:
            record("torch f32", run_torch(args.torch_script, args.tokens))
    memory = seen.pop("memory")
    print(f"memory is read at {min(memory) / 1e9:.1f} to {max(memory) / 1e9:.1f} GB/s; {args.rounds} rounds, "
          f"{args.tokens} tokens after a prompt of {len(ours['prompt_ids'])}, {os.cpu_count()} cores; torch "
          f"{torch.__version__}, transformers {transformers.__version__}")
    print("| what | tok/s, best | GB/s of weights | share of memory | peak memory |\n|---|---|---|---|---|")
    for name, rates in seen.items():
        what, dtype = name.split()
        size = bytes_per_token(others[dtype], dtype)
        share = statistics.median(rate * size / speed for rate, speed in zip(rates, memory))
        peak = f"{resident[dtype] / 1e6:,.0f} MB" if what == "llm" else ""
        print(f"| {name} | {max(rates):.1f} | {max(rates) * size / 1e9:.1f} | {100 * share:.0f} % | {peak} |")
    for dtype, count in agreed.items():
        print(f"{dtype}: the first {count} of {args.tokens} tokens are those of transformers")


if __name__ == "__main__":
    main()
