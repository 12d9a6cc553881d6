#!/usr/bin/env python3
"""Writes test/golden/models/: small models as transformers, PyTorch and llm.c's format keep them, each
with the logits that PyTorch computes from them in float32.

usage: golden_models.py   (needs torch and transformers)
"""
import json
import pathlib
import shutil

import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

from other_models import BookGpt, disturb, write_llm_c

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "test" / "golden" / "models"


def config(**more):
    small = dict(n_layer=2, n_head=3, n_embd=15, n_positions=9, vocab_size=23,
                 bos_token_id=22, eos_token_id=22)
    return GPT2Config(**{**small, **more})


def save_logits(model, folder, vocab, length):
    ids = torch.randint(0, vocab, (2, length))
    with torch.no_grad():
        output = model(ids)
    logits = output if isinstance(output, torch.Tensor) else output.logits
    (folder / "logits.json").write_text(
        json.dumps({"ids": ids.tolist(), "logits": logits.flatten().tolist()}) + "\n")


def new_folder(name):
    folder = GOLDEN / name
    folder.mkdir(parents=True)
    return folder


def rounded(model, dtype):
    """The model with its parameters rounded to a type, in float32."""
    return model.to(dtype).float().eval()


def hugging_face():
    """Untied in float16, in shards; without prefix in bfloat16, its MLP of another width."""
    model = rounded(noisy(GPT2LMHeadModel(config(n_layer=3, n_head=5, tie_word_embeddings=False))),
                    torch.float16)
    folder = new_folder("sharded_f16")
    save_logits(model, folder, 23, 9)
    model.to(torch.float16).save_pretrained(folder, max_shard_size="4KB")

    model = rounded(noisy(GPT2LMHeadModel(config(n_head=1, n_inner=26))), torch.bfloat16)
    folder = new_folder("bare_bf16")
    save_logits(model, folder, 23, 9)
    bare = GPT2Model(model.config)
    bare.load_state_dict(model.transformer.state_dict())
    bare.to(torch.bfloat16).save_pretrained(folder)


def noisy(model):
    disturb(model)
    return model


def llm_c():
    model = noisy(GPT2LMHeadModel(config())).eval()
    folder = new_folder("llm_c_f32")
    save_logits(model, folder, 23, 9)
    write_llm_c(model, folder / "model.bin", torch.float32)
    model = rounded(model, torch.bfloat16)
    folder = new_folder("llm_c_bf16")
    save_logits(model, folder, 23, 9)
    write_llm_c(model, folder / "model.bin", torch.bfloat16)


def book():
    """A plain state dict; one beside an optimizer's, with weights that are stored transposed."""
    model = noisy(BookGpt(2, 3, 15, 9, 23, qkv_bias=False)).eval()
    folder = new_folder("book")
    save_logits(model, folder, 23, 9)
    torch.save(model.state_dict(), folder / "model.pth")

    model = noisy(BookGpt(2, 5, 15, 9, 23, qkv_bias=True))
    with torch.no_grad():
        model.out_head.weight = nn_parameter(model.tok_emb.weight.clone())
        for block in model.trf_blocks:
            block.att.W_key.weight = nn_parameter(block.att.W_key.weight.t().contiguous().t())
            block.ff.layers[0].weight = nn_parameter(
                block.ff.layers[0].weight.t().contiguous().t())
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.randint(0, 23, (2, 9))
    model(ids).logsumexp(-1).mean().backward()
    optimizer.step()
    with torch.no_grad():  # training has pulled the two apart
        model.out_head.weight.copy_(model.tok_emb.weight)
    folder = new_folder("book_checkpoint")
    save_logits(model.eval(), folder, 23, 9)
    torch.save({"model_state_dict": model.state_dict(),
                "optimizer_state_dict": optimizer.state_dict()}, folder / "model.pth")


def nn_parameter(values):
    return torch.nn.Parameter(values)


def pytorch_model_bin():
    """What transformers wrote before safetensors, with the mask buffers of that time."""
    model = noisy(GPT2LMHeadModel(config(n_layer=1))).eval()
    folder = new_folder("pytorch_model_bin")
    save_logits(model, folder, 23, 9)
    state = model.state_dict()
    state["transformer.h.0.attn.bias"] = torch.ones(9, 9).tril().view(1, 1, 9, 9).to(torch.uint8)
    state["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(state, folder / "pytorch_model.bin")
    model.config.save_pretrained(folder)


def main():
    torch.manual_seed(2)
    shutil.rmtree(GOLDEN, ignore_errors=True)
    hugging_face()
    llm_c()
    book()
    pytorch_model_bin()


main()
