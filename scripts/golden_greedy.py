#!/usr/bin/env python3
"""Greedy continuations of transformers' generate(): test/golden/greedy.json.

Models with weights from the formula of golden_model.py, of several shapes, with a context of 256. With
an output layer of its own a model says something new with every token; tied to the embedding, such
weights mostly repeat the last one. Beside the tokens stands where the two best logits first come closer
than 1e-4: behind that, rounding may decide.

usage: golden_greedy.py   (needs torch, numpy and transformers)
"""
import json
import math

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import golden_model

TOKENS, CONTEXT, CLOSE = 200, 256, 1e-4
SHAPES = [
    {"layers": 2, "heads": 3, "channels": 48, "vocab_size": 65, "tied": True},
    {"layers": 2, "heads": 3, "channels": 48, "vocab_size": 65, "tied": False},
    {"layers": 3, "heads": 5, "channels": 40, "vocab_size": 131, "tied": False},
]
PROMPT_LENGTHS = [1, 7, 31, 56]


def make_model(shape):
    golden_model.LAYERS, golden_model.CHANNELS = shape["layers"], shape["channels"]
    golden_model.VOCAB, golden_model.CONTEXT = shape["vocab_size"], CONTEXT
    config = GPT2Config(n_layer=shape["layers"], n_head=shape["heads"], n_embd=shape["channels"],
                        n_positions=CONTEXT, vocab_size=shape["vocab_size"], bos_token_id=None,
                        eos_token_id=None, tie_word_embeddings=shape["tied"])
    model = GPT2LMHeadModel(config).eval()
    state = model.state_dict()
    parameters = golden_model.parameter_list()
    if not shape["tied"]:
        parameters.append(("lm_head.weight", (shape["vocab_size"], shape["channels"])))
    for number, (name, sizes) in enumerate(parameters):
        center = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
        flat = golden_model.values(number, math.prod(sizes), 0.125, center)
        tensor = torch.tensor(flat.reshape(sizes), dtype=torch.float32)
        linear = len(sizes) == 2 and name.startswith("h.")  # stored (in, out)
        state[name if name.startswith("lm_head") else "transformer." + name].copy_(tensor.T if linear else tensor)
    return model


def make_prompt(number, length, vocab):
    bits = golden_model.mixed(np.arange(length, dtype=np.uint64) + np.uint64((2000 + number) << 32))
    return [int(id) for id in (bits >> np.uint64(40)) % np.uint64(vocab)]


def main():
    models = []
    for shape in SHAPES:
        model, cases = make_model(shape), []
        for number, length in enumerate(PROMPT_LENGTHS):
            prompt = make_prompt(number, length, shape["vocab_size"])
            ids = torch.tensor([prompt])
            result = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                                    max_new_tokens=TOKENS, pad_token_id=0,
                                    return_dict_in_generate=True, output_scores=True)
            best = torch.stack(result.scores)[:, 0].topk(2).values
            gaps = best[:, 0] - best[:, 1]
            close = [i for i, gap in enumerate(gaps.tolist()) if gap < CLOSE]
            cases.append({"prompt": prompt, "ids": result.sequences[0, length:].tolist(),
                          "decided": close[0] if close else TOKENS})
            print(f"{shape}: prompt of {length}, {len(set(cases[-1]['ids']))} tokens occur, "
                  f"smallest gap {gaps.min():.1e}")
        models.append({**shape, "context": CONTEXT, "cases": cases})
    path = golden_model.GOLDEN / "greedy.json"
    path.write_text(json.dumps({"models": models}) + "\n")


if __name__ == "__main__":
    main()
