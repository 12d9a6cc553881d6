#!/usr/bin/env python3
"""Compares LoRA adapters with peft, in both directions, on small random models: what peft saves is run by
`llm` as it is, after `llm import`, and merged into its base; what `llm import` writes is loaded by
peft again. Adapters for q, k and v together, for q and v apart, with and without the MLP, of
several ranks, of a classifier with its output layer, and on a frozen output layer; and what
`llm finetune` leaves behind of a classifier with adapters everywhere, which peft loads.

usage: check_peft.py LLM_BINARY   (needs torch, transformers, peft and safetensors)
Exit code 1 if any log-probability or probability differs by more than 1e-5.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

BOUND = 1e-5
APART = 0.1  # what adapters change at least, or nothing is shown
END, CHANNELS, RANK = 256, 32, 3
PROMPTS = ["Once upon a time", "q", "there was a fox, and it was 7 years old."]
MLP = ["mlp.c_fc", "mlp.c_proj"]
CASES = {
    "qkv together": dict(target_modules=["c_attn"]),
    "qkv together, projection and MLP": dict(target_modules=["c_attn", "attn.c_proj", *MLP]),
    "MLP alone": dict(target_modules=MLP),
    "several ranks": dict(target_modules=["c_attn", *MLP], rank_pattern={"c_fc": 8, "c_attn": 1},
                          alpha_pattern={"mlp.c_proj": 5}),
    "q and v apart": dict(target_modules=["c_attn"], parts=[0, 2]),
    "q, k and v apart, and MLP": dict(target_modules=["c_attn", *MLP], parts=[0, 1, 2]),
}
# On the output layer of a base that is a classifier of two labels.
FROZEN_HEAD_CASES = {
    "frozen output layer alone": dict(target_modules=["score"]),
    "frozen output layer and every other": dict(
        target_modules=["c_attn", "attn.c_proj", *MLP, "score"], rank_pattern={"score": 2}),
}


def llm(binary, *arguments):
    result = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: exit code {result.returncode}\n{result.stderr}")
    return result.stdout


def make_base(folder):
    torch.manual_seed(5)
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=4, n_embd=CHANNELS, n_positions=64,
                                       vocab_size=257, bos_token_id=END, eos_token_id=END,
                                       pad_token_id=END, initializer_range=0.1))
    model.save_pretrained(folder)


def load_base(folder, classifier):
    if not classifier:
        return GPT2LMHeadModel.from_pretrained(folder)
    torch.manual_seed(6)
    labels = {} if is_classifier(folder) else {"num_labels": 3}
    model = GPT2ForSequenceClassification.from_pretrained(folder, **labels)
    model.config.pad_token_id = END
    return model


def is_classifier(folder):
    architecture = json.loads((folder / "config.json").read_text())["architectures"]
    return architecture == ["GPT2ForSequenceClassification"]


def make_classifier_base(folder, base):
    torch.manual_seed(7)
    GPT2ForSequenceClassification.from_pretrained(base, num_labels=2).save_pretrained(folder)


def make_adapters(base, folder, classifier, options):
    """Adapters with values everywhere, as peft saves them; `parts`: those of q, k, v that one is for."""
    parts = options.get("parts")
    options = {key: value for key, value in options.items() if key != "parts"}
    if parts:
        options["rank_pattern"] = {"c_attn": RANK * len(parts)}
        options["alpha_pattern"] = {"c_attn": 7 * len(parts)}
    # With SEQ_CLS the output layer would be trained whole, and not have an adapter.
    frozen_head = is_classifier(base)
    task = None if frozen_head else TaskType.SEQ_CLS if classifier else TaskType.CAUSAL_LM
    model = get_peft_model(load_base(base, classifier), LoraConfig(
        task_type=task, r=RANK, lora_alpha=7, fan_in_fan_out=True, **options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" not in name and "modules_to_save" not in name:
                continue
            parameter.copy_(0.2 * torch.randn_like(parameter))
            if parts and "c_attn" in name and "lora_B" in name:  # (3 C, R)
                kept = torch.zeros_like(parameter)
                for i, part in enumerate(parts):
                    rows, columns = slice(part * CHANNELS, (part + 1) * CHANNELS), slice(i * RANK, (i + 1) * RANK)
                    kept[rows, columns] = parameter[rows, columns]
                parameter.copy_(kept)
    model.save_pretrained(folder)
    if parts:  # what `llm finetune` says of such adapters
        path = folder / "adapter_model.safetensors"
        save_file(load_file(path), path,
                  {"format": "pt", "lora_targets": ",".join("qkv"[part] for part in parts)})


def outputs_of(model, classifier):
    """Log-probabilities of the next token, or of labels, after each prompt."""
    rows = []
    for prompt in PROMPTS:
        with torch.no_grad():
            logits = model.eval()(input_ids=torch.tensor([list(prompt.encode())])).logits
        rows.append((logits[0] if classifier else logits[0, -1]).log_softmax(-1))
    return rows


def difference(binary, folder, expected, classifier, *more):
    """Of what `llm` computes: log-probabilities of the likeliest tokens, probabilities of labels."""
    worst = 0.0
    for prompt, row in zip(PROMPTS, expected, strict=True):
        if classifier:
            line = llm(binary, "classify", folder, prompt, "--tokenizer", "bytes", "--json", "--dtype",
                       "f32", *more)
            found = list(json.loads(line)["probabilities"].values())
            worst = max(worst, (torch.tensor(found) - row.exp()).abs().max().item())
            continue
        out = llm(binary, "generate", folder, "-p", prompt, "-n", 1, "--dtype", "f32",
                  "--temperature", 0, "--no-echo", "--ignore-end-of-text", "--logprobs", 100, "--json", "--tokenizer", "bytes", *more)
        for entry in json.loads(out.splitlines()[-1])["logprobs"][0]["top"]:
            worst = max(worst, abs(entry["logprob"] - row[entry["id"]].item()))
    return worst


def spread(rows, expected):
    return max((a - b).abs().max().item() for a, b in zip(rows, expected, strict=True))


def check(binary, name, base, work, classifier, options):
    folder, imported, merged = work / "peft", work / "imported", work / "merged"
    make_adapters(base, folder, classifier, options)
    expected = outputs_of(PeftModel.from_pretrained(load_base(base, classifier), folder), classifier)
    without = outputs_of(load_base(base, classifier), classifier)
    tokenizer = ["--tokenizer", "none"]
    llm(binary, "import", folder, "-o", imported, *tokenizer)
    llm(binary, "export", folder, "--merge", "-o", merged, *tokenizer)
    kind = GPT2ForSequenceClassification if classifier else GPT2LMHeadModel
    whole = kind.from_pretrained(merged)
    whole.config.pad_token_id = END
    back = PeftModel.from_pretrained(load_base(base, classifier), imported)
    figures = {
        "llm": difference(binary, folder, expected, classifier),
        "llm --base": difference(binary, folder, expected, classifier, "--base", base),
        "llm import": difference(binary, imported, expected, classifier),
        "llm export --merge": difference(binary, merged, expected, classifier),
        "peft of import": spread(outputs_of(back, classifier), expected),
        "transformers of merged": spread(outputs_of(whole, classifier), expected),
    }
    apart = spread(expected, without)
    return report(name, apart, figures)


def report(name, apart, figures):
    good = max(figures.values()) <= BOUND and apart > APART
    text = ", ".join(f"{key} {value:.1e}" for key, value in figures.items())
    print(f"{name}: adapters change up to {apart:.1f}; largest difference: {text}: "
          f"{'ok' if good else 'FAILED'}")
    return good


def check_finetuned(binary, base, work, targets):
    """What `llm finetune` leaves behind, of a classifier whose adapters have learned."""
    run, table = work / "run", work / "texts.csv"
    work.mkdir()
    rows = ["label,text"] + [f"{'low,a' if i % 2 else 'high,z'}{'bcd'[i % 3]} {i}" for i in range(60)]
    table.write_text("\n".join(rows) + "\n")
    llm(binary, "finetune", base, "--task", "classify", "--train", table, "-o", run, "--epochs", 2,
        "--trainable", "lora", "--lora-rank", RANK, "--lora-targets", targets, "--lr", 0.02)
    kind = GPT2ForSequenceClassification
    torch.manual_seed(8)
    plain = kind.from_pretrained(base, num_labels=2)
    plain.config.pad_token_id = END
    without = outputs_of(plain, True)
    expected = outputs_of(PeftModel.from_pretrained(plain, run), True)
    figures = {"llm": difference(binary, run, expected, True)}
    return report(f"fine-tuned here, adapters on {targets}", spread(expected, without), figures)


def main():
    binary, good = sys.argv[1], True
    with tempfile.TemporaryDirectory() as place:
        base = pathlib.Path(place) / "base"
        make_base(base)
        for number, (name, options) in enumerate(CASES.items()):
            for classifier in (False, True):
                work = pathlib.Path(place) / f"case_{number}_{classifier}"
                label = f"{name}, {'classifier' if classifier else 'language model'}"
                good &= check(binary, label, base, work, classifier, options)
        classifier_base = pathlib.Path(place) / "classifier_base"
        make_classifier_base(classifier_base, base)
        for number, (name, options) in enumerate(FROZEN_HEAD_CASES.items()):
            work = pathlib.Path(place) / f"head_{number}"
            good &= check(binary, name, classifier_base, work, True, options)
        start = pathlib.Path(place) / "start"
        llm(binary, "export", base, "-o", start, "--tokenizer", "bytes")
        for number, targets in enumerate(["all", "q,v", "qkv,score"]):
            good &= check_finetuned(binary, start, pathlib.Path(place) / f"run_{number}", targets)
    sys.exit(0 if good else 1)


main()
