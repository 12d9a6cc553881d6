"""Models as other projects keep them, for golden files and comparisons: a module whose state dict has
the names of GPTModel in "Build a Large Language Model (From Scratch)", and the model files of llm.c.
"""
import numpy as np
import torch
from torch import nn


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return nn.functional.layer_norm(x, x.shape[-1:], self.scale, self.shift, 1e-5)


class Attention(nn.Module):
    def __init__(self, width, heads, context, qkv_bias):
        super().__init__()
        self.heads = heads
        self.W_query = nn.Linear(width, width, bias=qkv_bias)
        self.W_key = nn.Linear(width, width, bias=qkv_bias)
        self.W_value = nn.Linear(width, width, bias=qkv_bias)
        self.out_proj = nn.Linear(width, width)
        self.register_buffer("mask", torch.ones(context, context).triu(1))

    def forward(self, x):
        rows, length, width = x.shape
        split = (rows, length, self.heads, width // self.heads)
        q, k, v = (layer(x).view(split).transpose(1, 2)
                   for layer in (self.W_query, self.W_key, self.W_value))
        y = nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=~self.mask.bool()[:length, :length])
        return self.out_proj(y.transpose(1, 2).reshape(rows, length, width))


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        gelu = nn.GELU(approximate="tanh")
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), gelu, nn.Linear(4 * width, width))

    def forward(self, x):
        return self.layers(x)


class Block(nn.Module):
    def __init__(self, width, heads, context, qkv_bias):
        super().__init__()
        self.att = Attention(width, heads, context, qkv_bias)
        self.ff = FeedForward(width)
        self.norm1, self.norm2 = Norm(width), Norm(width)

    def forward(self, x):
        x = x + self.att(self.norm1(x))
        return x + self.ff(self.norm2(x))


class BookGpt(nn.Module):
    def __init__(self, layers, heads, width, context, vocab, qkv_bias):
        super().__init__()
        self.tok_emb, self.pos_emb = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.trf_blocks = nn.Sequential(
            *(Block(width, heads, context, qkv_bias) for _ in range(layers)))
        self.final_norm = Norm(width)
        self.out_head = nn.Linear(width, vocab, bias=False)

    def forward(self, ids):
        x = self.tok_emb(ids) + self.pos_emb(torch.arange(ids.shape[1]))
        return self.out_head(self.final_norm(self.trf_blocks(x)))


def disturb(model, amount=0.3):
    """Adds noise to all parameters, so that norms and biases are not trivial."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * torch.randn_like(parameter))


LLM_C_BLOCK = ["ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias",
               "attn.c_proj.weight", "attn.c_proj.bias", "ln_2.weight", "ln_2.bias",
               "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"]


def write_llm_c(model, path, dtype):
    """A GPT2LMHeadModel as a model file of llm.c in float32 (version 3) or bfloat16 (version 5)."""
    config, state = model.config, model.state_dict()
    padded = (config.vocab_size + 127) // 128 * 128
    header = np.zeros(256, dtype=np.int32)
    header[:8] = [20240326, 3 if dtype == torch.float32 else 5, config.n_positions,
                  config.vocab_size, config.n_layer, config.n_head, config.n_embd, padded]
    table = state["transformer.wte.weight"]
    parts = [torch.cat([table, torch.zeros(padded - len(table), table.shape[1])]),
             state["transformer.wpe.weight"]]
    for name in LLM_C_BLOCK:
        for layer in range(config.n_layer):
            value = state[f"transformer.h.{layer}.{name}"]
            parts.append(value.t() if value.dim() == 2 else value)
    parts += [state["transformer.ln_f.weight"], state["transformer.ln_f.bias"]]
    with open(path, "wb") as file:
        file.write(header.tobytes())
        for part in parts:
            part = part.to(dtype).contiguous()
            file.write((part.view(torch.int16) if dtype == torch.bfloat16 else part)
                       .numpy().tobytes())


def read_llm_c(path, config):
    """The state dict, under Hugging Face's names, of a model file of llm.c."""
    raw = open(path, "rb").read()
    header = np.frombuffer(raw[:1024], dtype=np.int32)
    assert header[0] == 20240326 and header[1] in (3, 5), header[:2]
    dtype = torch.float32 if header[1] == 3 else torch.bfloat16
    values = torch.frombuffer(bytearray(raw[1024:]), dtype=dtype).float()
    context, vocab, layers, _, width, padded = (int(n) for n in header[2:8])
    state, at = {}, 0

    def take(*shape):
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return values[at - count:at].view(*shape)

    sizes = {"attn.c_attn": (3 * width, width), "attn.c_proj": (width, width),
             "mlp.c_fc": (4 * width, width), "mlp.c_proj": (width, 4 * width)}
    state["transformer.wte.weight"] = take(padded, width)[:vocab]
    state["transformer.wpe.weight"] = take(context, width)
    for name in LLM_C_BLOCK:
        for layer in range(layers):
            rows, columns = sizes.get(name.rsplit(".", 1)[0], (width, None))
            matrix = columns is not None and name.endswith("weight")
            value = take(rows, columns).t() if matrix else take(rows)
            state[f"transformer.h.{layer}.{name}"] = value
    state["transformer.ln_f.weight"], state["transformer.ln_f.bias"] = take(width), take(width)
    assert at == len(values), (at, len(values))
    return state
