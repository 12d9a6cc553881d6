#!/usr/bin/env python3
"""Writes test/golden/fine_tuned/: what transformers and peft make of a very small GPT-2, with what
PyTorch computes from it in float32.

    base/              a language model of bytes
    classifier/        GPT2ForSequenceClassification, and probabilities.json: of texts
    adapters/          LoRA on attention and MLP of base/, of several ranks, and logits.json
    classifier_lora/   LoRA and an output layer for base/, and probabilities.json

usage: golden_fine_tuned.py   (needs torch, transformers and peft)
"""
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "test" / "golden" / "fine_tuned"
END = 256  # of a vocabulary of bytes
TEXTS = ["Win a prize", "see you at the station", "a", "Ok.", "Where are you? I wait here",
         "\u00e4\u00f6\u00fc and \u4f60\u597d", "FREE entry now"]


def config(**more):
    return GPT2Config(n_layer=2, n_head=3, n_embd=12, n_positions=40, vocab_size=257,
                      bos_token_id=END, eos_token_id=END, pad_token_id=END, initializer_range=0.3,
                      **more)


def labels():
    return dict(id2label={0: "ham", 1: "spam", 2: "unsure"},
                label2id={"ham": 0, "spam": 1, "unsure": 2})


def randomize(model, names, scale):
    """Gives what starts as zeros or ones values that matter."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in names):
                parameter.add_(scale * torch.randn_like(parameter))


def save_probabilities(model, folder):
    model.eval()
    rows = []
    for text in TEXTS:
        ids = torch.tensor([list(text.encode())])
        with torch.no_grad():
            probabilities = model(input_ids=ids).logits[0].softmax(-1)
        rows.append({"text": text, "probabilities": probabilities.tolist()})
    (folder / "probabilities.json").write_text(json.dumps(rows, indent=1) + "\n")


def adapters(base, folder, **options):
    lora = LoraConfig(r=2, lora_alpha=6, lora_dropout=0.05, fan_in_fan_out=True, **options)
    model = get_peft_model(base, lora)
    randomize(model, ["lora_B", "score"], 0.3)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    written = json.loads(path.read_text())
    written["base_model_name_or_path"] = "../base"
    written["target_modules"] = sorted(written["target_modules"])  # a set has no order
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
    return model


def main():
    shutil.rmtree(GOLDEN, ignore_errors=True)
    torch.manual_seed(7)
    base = GPT2LMHeadModel(config())
    randomize(base, ["bias", "ln_"], 0.1)
    base.save_pretrained(GOLDEN / "base")

    classifier = GPT2ForSequenceClassification(config(**labels()))
    randomize(classifier, ["bias", "ln_"], 0.1)
    classifier.save_pretrained(GOLDEN / "classifier")
    save_probabilities(classifier, GOLDEN / "classifier")

    model = adapters(base, GOLDEN / "adapters", task_type=TaskType.CAUSAL_LM,
                     target_modules=["c_attn", "c_fc", "mlp.c_proj"],
                     rank_pattern={"c_attn": 4, "h.1.mlp.c_fc": 1}, alpha_pattern={"c_fc": 3})
    ids = torch.tensor([list("Once upon a time".encode()), list("there was a fox.".encode())])
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits
    (GOLDEN / "adapters" / "logits.json").write_text(
        json.dumps({"ids": ids.tolist(), "logits": [round(x, 6) for x in logits[:, -1].flatten().tolist()]}) + "\n")

    fresh = GPT2ForSequenceClassification.from_pretrained(GOLDEN / "base", **labels())
    fresh.config.pad_token_id = END
    model = adapters(fresh, GOLDEN / "classifier_lora", task_type=TaskType.SEQ_CLS,
                     target_modules=["c_attn"])
    save_probabilities(model, GOLDEN / "classifier_lora")


if __name__ == "__main__":
    main()
