#!/usr/bin/env python3
"""Fine-tunes the same model on the same instructions with `llm finetune` and with PyTorch (transformers,
peft), full and with LoRA: the same initial weights, the same batches in the same order, the same
learning rates, in float32 on the CPU. Prints the validation losses side by side.

The rows of each part are those that the run keeps in RUN/data, the initial weights those of its
checkpoint of step 0, and the order of the batches is computed here once more, from the seed.

usage: compare_finetune.py LLM_BINARY INSTRUCTIONS.json [--model FOLDER --tokenizer-dir DIR
       --steps N --batch N --eval-every N --only full|lora]
Without --model it is a random one of 2 layers and 64 channels with the tokenizer of GPT-2, whose
vocab.json and merges.txt are in --tokenizer-dir. Needs torch, transformers, peft, safetensors.
Exit code 1 if two losses differ by more than 1 %.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F
from peft import PeftModel
from safetensors import safe_open
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

BOUND = 0.01
MASK64, MASK32 = (1 << 64) - 1, (1 << 32) - 1
BUCKET_STEPS, MULTIPLE, IGNORED = 32, 8, -100
FIRST = ("Below is an instruction that describes a task. Write a response that appropriately completes "
         "the request.")
FIRST_WITH_INPUT = ("Below is an instruction that describes a task, paired with an input that provides "
                    "further context. Write a response that appropriately completes the request.")


# The random numbers of src/base/rng.h, and the order of src/data/example_batches.h.

def philox(counter, key):
    counter, key = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & MASK32,
                   (a >> 32) ^ counter[3] ^ key[1], a & MASK32]
        key = [(key[0] + 0x9E3779B9) & MASK32, (key[1] + 0xBB67AE85) & MASK32]
    return counter


def stream_id(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK64
    return value


def bits64(seed, stream, index):
    words = philox([(index // 2) & MASK32, (index // 2) >> 32, stream & MASK32, stream >> 32],
                   [seed & MASK32, seed >> 32])
    at = index % 2 * 2
    return words[at] | words[at + 1] << 32


def permute_index(index, count, seed, stream):
    if count == 1:
        return 0
    half = 1
    while half < 32 and 1 << (2 * half) < count:
        half += 1
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for number in range(6):
            mixed = philox([right, number, stream & MASK32, stream >> 32], [seed & MASK32, seed >> 32])
            left, right = right, left ^ (mixed[0] & mask)
        index = left << half | right
        if index < count:
            return index


def shuffled(count, seed, what, epoch):
    stream = bits64(seed, stream_id(what), epoch)
    return [permute_index(i, count, seed, stream) for i in range(count)]


def order_of_epoch(lengths, rows, seed, epoch):
    """Indices of examples in the order in which steps of `rows` rows see them."""
    count, order = len(lengths), shuffled(len(lengths), seed, "order of examples", epoch)
    window = rows * BUCKET_STEPS
    order = [i for begin in range(0, count, window)
             for i in sorted(order[begin:begin + window], key=lambda i: lengths[i])]
    blocks = count // rows
    result = []
    for block in shuffled(blocks, seed, "order of steps", epoch):
        result += order[block * rows:(block + 1) * rows]
    return result + order[blocks * rows:]


# The other side.

def read_examples(path, tokenizer):
    """Token ids of conversations in the alpaca template, each piece encoded on its own."""
    examples = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if "messages" in row:
            user, assistant = [m for m in row["messages"] if m["role"] != "system"]
            instruction, more, output = user["content"], user.get("input", ""), assistant["content"]
        else:
            instruction, more, output = row["instruction"], row.get("input", ""), row["output"]
        prompt = (FIRST_WITH_INPUT if more else FIRST) + f"\n\n### Instruction:\n{instruction}"
        prompt += f"\n\n### Input:\n{more}" if more else ""
        prompt += "\n\n### Response:\n"
        ids = tokenizer(prompt)["input_ids"] + tokenizer(output)["input_ids"]
        examples.append(ids + [tokenizer.eos_token_id])
    return examples


def padded(examples, end):
    """(tokens, targets) of next-token prediction, padded on the right."""
    longest = max(len(ids) - 1 for ids in examples)
    tokens = [ids[:-1] + [end] * (longest - len(ids) + 1) for ids in examples]
    targets = [ids[1:] + [IGNORED] * (longest - len(ids) + 1) for ids in examples]
    return torch.tensor(tokens), torch.tensor(targets)


def loss_sum(model, examples, end):
    tokens, targets = padded(examples, end)
    logits = model(input_ids=tokens).logits
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=IGNORED)
    return loss, int((targets != IGNORED).sum())


def validation_loss(model, examples, batch, end):
    total, count = 0.0, 0
    by_length = sorted(examples, key=len)
    with torch.no_grad():
        for begin in range(0, len(by_length), batch):
            loss, targets = loss_sum(model, by_length[begin:begin + batch], end)
            total, count = total + loss.item(), count + targets
    return total / count


def learning_rate(options, step):
    """The cosine schedule of src/train/schedule.h; steps count from 1."""
    at, warmup, peak, lowest = step - 1, options["warmup"], options["lr"], options["min-lr"]
    if at < warmup:
        return peak * step / (warmup + 1)
    share = min(1.0, (at - warmup) / (options["steps"] - warmup))
    return lowest + 0.5 * (1 + math.cos(math.pi * share)) * (peak - lowest)


def zero_blocks(model, folder):
    """Of adapters for q, k and v apart, what of each B stays zero: masks by parameter."""
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        parts = (file.metadata() or {}).get("lora_targets", "")
    masks = {}
    for name, parameter in model.named_parameters():
        if not parts or "c_attn.lora_B" not in name:
            continue
        names = parts.split(",")
        third, rank = parameter.shape[0] // 3, parameter.shape[1] // len(names)
        mask = torch.zeros_like(parameter)
        for i, part in enumerate(names):
            row = "qkv".index(part) * third
            mask[row:row + third, i * rank:(i + 1) * rank] = 1
        masks[parameter] = mask
    return masks


def load_initial(run, base):
    start = run / "checkpoints" / "step_00000000"
    if not (start / "adapter_config.json").exists():
        return GPT2LMHeadModel.from_pretrained(start), {}
    model = PeftModel.from_pretrained(GPT2LMHeadModel.from_pretrained(base), start, is_trainable=True)
    return model, zero_blocks(model, start)


def train_in_torch(run, base, evaluations):
    described = json.loads((run / "run.json").read_text())
    options = described.get("options", described)
    tokenizer = GPT2TokenizerFast.from_pretrained(base)
    train = read_examples(run / "data" / "train.jsonl", tokenizer)
    validation = read_examples(run / "data" / "validation.jsonl", tokenizer)
    model, masks = load_initial(run, base)
    model.eval()  # there is no dropout on either side
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in trained if p.dim() == 2], "weight_decay": options["weight-decay"]},
         {"params": [p for p in trained if p.dim() != 2], "weight_decay": 0.0}],
        lr=options["lr"], betas=(options["beta1"], options["beta2"]), eps=options["epsilon"])
    rows, seed = options["total-batch-tokens"] // options["length"], options["seed"]
    lengths, end, losses, queue, epoch = [len(ids) - 1 for ids in train], tokenizer.eos_token_id, {}, [], 0
    for step in range(1, options["steps"] + 1):
        if not queue:
            order = order_of_epoch(lengths, rows, seed, epoch)
            queue = [order[i:i + rows] for i in range(0, len(order), rows)]
            epoch += 1
        batch = [train[i] for i in queue.pop(0)]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options, step)
        optimizer.zero_grad()
        loss, targets = loss_sum(model, batch, end)
        (loss / targets).backward()
        for parameter, mask in masks.items():
            parameter.grad *= mask
        torch.nn.utils.clip_grad_norm_(trained, options["grad-clip"])
        optimizer.step()
        if step in evaluations:
            losses[step] = validation_loss(model, validation, 16, end)
            print(f"    PyTorch, step {step}: {losses[step]:.4f}", file=sys.stderr)
    return losses


def make_model(folder, tokenizer_dir):
    torch.manual_seed(1)
    end = 50256
    GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=4, n_embd=64, n_positions=256, vocab_size=50257,
                               bos_token_id=end, eos_token_id=end, resid_pdrop=0, embd_pdrop=0,
                               attn_pdrop=0)).save_pretrained(folder)
    for name in ["vocab.json", "merges.txt"]:
        (folder / name).write_bytes((tokenizer_dir / name).read_bytes())


def compare(arguments, base, work, name):
    run = work / name
    command = [arguments.binary, "finetune", base, "--task", "instruct", "--train", arguments.instructions,
               "-o", run, "--template", "alpaca", "--trainable", "all" if name == "full" else "lora",
               "--steps", arguments.steps, "--batch", arguments.batch, "--eval-every",
               arguments.eval_every, "--lr", 1e-3 if name == "full" else 3e-3, "--answers", 0,
               "--split", "0.85,0.15,0", "--save-every", 0, "--device", "cpu", "--dtype", "f32"]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"llm finetune: exit code {result.returncode}\n{result.stderr}")
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    ours = {r["step"]: r["val_loss"] for r in records if r.get("type") == "eval" and r["step"] > 0}
    theirs = train_in_torch(run, base, set(ours))
    print(f"{name} fine-tuning, {arguments.steps} steps of {arguments.batch} examples\n"
          f"{'step':>6} {'llm':>9} {'PyTorch':>9} {'differs by':>11}")
    worst = 0.0
    for step, loss in sorted(ours.items()):
        relative = abs(loss - theirs[step]) / theirs[step]
        worst = max(worst, relative)
        print(f"{step:>6} {loss:>9.5f} {theirs[step]:>9.5f} {100 * relative:>9.4f} %")
    if not ours:
        sys.exit("no evaluation in the log")
    return worst <= BOUND


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("instructions")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--tokenizer-dir", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--eval-every", type=int, default=15)
    parser.add_argument("--only", choices=["full", "lora"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work, base = pathlib.Path(place), arguments.model
        if base is None:
            if arguments.tokenizer_dir is None:
                parser.error("give --model or --tokenizer-dir")
            base = work / "model"
            make_model(base, arguments.tokenizer_dir)
        names = [arguments.only] if arguments.only else ["full", "lora"]
        good = [compare(arguments, base.resolve(), work, name) for name in names]
    sys.exit(0 if all(good) else 1)


main()
