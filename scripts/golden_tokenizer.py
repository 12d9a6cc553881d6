#!/usr/bin/env python3
"""Writes test/golden/tokenizer.json: hashes of the ids that tiktoken and Hugging Face tokenizers give.

    python scripts/golden_tokenizer.py --data DIR

DIR holds the sample texts and gpt2/{vocab.json,merges.txt}. Needs tiktoken and tokenizers, and a
Python whose unicodedata is Unicode 14 (3.11): that is what PCRE2 10.42 knows.

A hash of ids is the SHA-256 of the ids as little-endian int32, cut to 16 hex digits.
"""

import argparse
import hashlib
import json
import pathlib
import struct
import unicodedata

import tiktoken
import tokenizers
from tiktoken_ext.openai_public import r50k_pat_str
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXTS = [
    "tinyshakespeare.txt",
    "the-verdict.txt",
    "wikitext2-valid.txt",
    "multi30k/train.en",
    "multi30k/train.de",
    "multi30k/val.en",
    "multi30k/val.de",
]
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPACES = [0x20, 0x20, 0x20, 0x0A, 0x0D, 0x09, 0x0B, 0x85, 0xA0, 0x180E, 0x200A, 0x2028, 0x202F, 0x3000]
MASK = (1 << 64) - 1
STRINGS = 100_000
GROUP = 1_000


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, bound):
        return self.next() % bound


def assigned_ranges():
    """[first, last] of the code points with a general category other than Cn and Cs."""
    ranges = []
    for code_point in range(0x110000):
        if unicodedata.category(chr(code_point)) in ("Cn", "Cs"):
            continue
        if ranges and ranges[-1][1] == code_point - 1:
            ranges[-1][1] = code_point
        else:
            ranges.append([code_point, code_point])
    return ranges


def random_string(generator, ranges):
    """1 to 40 characters: ASCII, spaces, any assigned one, and repetitions of the one before."""
    characters = []
    for _ in range(1 + generator.below(40)):
        kind = generator.below(8)
        if kind < 2:
            code_point = 0x21 + generator.below(0x5E)
        elif kind == 2:
            code_point = SPACES[generator.below(len(SPACES))]
        elif kind == 3 and characters:
            code_point = characters[-1]
        else:
            first, last = ranges[generator.below(len(ranges))]
            code_point = first + generator.below(last - first + 1)
        characters.append(code_point)
    return "".join(map(chr, characters))


def hash_ids(ids):
    return hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).hexdigest()[:16]


def gpt2_in_tiktoken(directory, pattern=r50k_pat_str):
    table = {}
    extra = 0x100
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            table[chr(byte)] = byte
        else:
            table[chr(extra)] = byte
            extra += 1
    vocabulary = json.loads((directory / "vocab.json").read_text("utf-8"))
    end = vocabulary.pop("<|endoftext|>")
    ranks = {bytes(table[c] for c in token): rank for token, rank in vocabulary.items()}
    merges = (directory / "merges.txt").read_text("utf-8").split("\n")[1:]
    for rank, merge in enumerate(filter(None, merges)):
        assert vocabulary[merge.replace(" ", "")] == 256 + rank
    return tiktoken.Encoding(
        "gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": end}
    )


def train_in_hugging_face(text, vocab_size, pattern=None):
    tokenizer = Tokenizer(models.BPE())
    if pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def trained(data, file, vocab_size, pattern_name):
    text = (data / file).read_bytes().decode("utf-8")
    pattern = LLAMA3_PATTERN if pattern_name == "llama3" else None
    tokenizer = train_in_hugging_face(text, vocab_size, pattern)
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = sorted(model["vocab"], key=model["vocab"].get)
    ids = tokenizer.encode(text).ids
    return {
        "file": file,
        "vocab_size": vocab_size,
        "pattern": pattern_name,
        "vocabulary": hashlib.sha256("\n".join(vocabulary).encode()).hexdigest()[:16],
        "merges": len(model["merges"]),
        "tokens": len(ids),
        "ids": hash_ids(ids),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("-o", type=pathlib.Path, default=root / "test/golden/tokenizer.json")
    arguments = parser.parse_args()
    assert unicodedata.unidata_version.startswith("14."), unicodedata.unidata_version

    gpt2 = gpt2_in_tiktoken(arguments.data / "gpt2")
    llama3 = gpt2_in_tiktoken(arguments.data / "gpt2", LLAMA3_PATTERN)
    files = {}
    for name in TEXTS:
        text = (arguments.data / name).read_bytes().decode("utf-8")
        ids = gpt2.encode_ordinary(text)
        files[name] = {
            "tokens": len(ids),
            "ids": hash_ids(ids),
            "llama3_pattern_ids": hash_ids(llama3.encode_ordinary(text)),
        }
    ranges = assigned_ranges()
    generator = SplitMix64(42)
    random, random_llama3 = [], []
    for _ in range(STRINGS // GROUP):
        strings = [random_string(generator, ranges) for _ in range(GROUP)]
        random.append(hash_ids([i for s in strings for i in gpt2.encode_ordinary(s)]))
        random_llama3.append(hash_ids([i for s in strings for i in llama3.encode_ordinary(s)]))
    golden = {
        "versions": {"tiktoken": tiktoken.__version__, "tokenizers": tokenizers.__version__},
        "files": files,
        "trained": [
            trained(arguments.data, "tinyshakespeare.txt", 1000, "gpt2"),
            trained(arguments.data, "tinyshakespeare.txt", 1000, "llama3"),
            trained(arguments.data, "wikitext2-valid.txt", 8000, "gpt2"),
            trained(arguments.data, "multi30k/val.de", 3000, "gpt2"),
        ],
        "random": random,
        "random_llama3_pattern": random_llama3,
        "spaces": SPACES,
        "assigned_in_unicode_14": ranges,
    }
    text = json.dumps(golden, indent=1)
    # One line per small list.
    text = text.replace("[\n   ", "[").replace(",\n   ", ", ").replace("\n  ]", "]")
    arguments.o.write_text(text + "\n")


if __name__ == "__main__":
    main()
