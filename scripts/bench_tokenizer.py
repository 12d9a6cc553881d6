#!/usr/bin/env python3
"""Compares `llm tokenizer` with Hugging Face tokenizers: training and encoding, one and two threads,
the same files, in one run. Also checks that both give the same vocabulary and the same ids, and that
Hugging Face loads what llm wrote.

    python scripts/bench_tokenizer.py --llm build/llm --data DIR

Needs tokenizers. Times are the best of --rounds, without starting the program and without reading
or printing ids; encoding in Hugging Face is `encode_batch_fast` on one batch of pieces of about
64 KiB cut at line ends, its fastest way (its threads work on the texts of a batch), while llm gets
one text.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

TEXTS = ["tinyshakespeare.txt", "wikitext2-valid.txt"]
VOCAB_SIZE = 8000


def run_llm(llm, *arguments):
    result = subprocess.run([llm, "tokenizer", *map(str, arguments)], capture_output=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def hugging_face(job):
    """One job in a process of its own: the number of its threads is read once, at the start."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if job["what"] == "train":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=VOCAB_SIZE,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<|endoftext|>"],
            show_progress=False,
        )
        start = time.perf_counter()
        tokenizer.train(job["files"], trainer)
        seconds = time.perf_counter() - start
        # train() cuts files at line ends first; whole texts are what llm counts.
        texts = [pathlib.Path(file).read_bytes().decode("utf-8") for file in job["files"]]
        tokenizer.train_from_iterator(texts, trainer)
        return {"seconds": seconds, "vocab": tokenizer.get_vocab()}
    tokenizer = Tokenizer.from_file(job["tokenizer"])
    text = pathlib.Path(job["file"]).read_bytes().decode("utf-8")
    pieces = [""]
    for line in text.splitlines(keepends=True):
        if len(pieces[-1]) >= 1 << 16:
            pieces.append("")
        pieces[-1] += line
    start = time.perf_counter()
    encodings = tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    whole = tokenizer.encode_batch_fast([text], add_special_tokens=False)[0]
    seconds_whole = time.perf_counter() - start
    return {
        "seconds": min(seconds, seconds_whole),
        "tokens": sum(len(e.ids) for e in encodings),
        "ids": whole.ids if job["want_ids"] else len(whole.ids),
    }


def run_hugging_face(threads, **job):
    environment = dict(
        os.environ, RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM=str(threads > 1).lower()
    )
    result = subprocess.run(
        [sys.executable, __file__, "--job", json.dumps(job)],
        capture_output=True, check=True, env=environment,
    )
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llm", default="build/llm")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=20, help="copies of the texts to encode")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        json.dump(hugging_face(json.loads(arguments.job)), sys.stdout)
        return
    files = [str(arguments.data / name) for name in TEXTS]
    llm, rounds = arguments.llm, range(arguments.rounds)
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        text = b"".join(pathlib.Path(file).read_bytes() for file in files)
        (folder / "once.txt").write_bytes(text)
        (folder / "many.txt").write_bytes(text * arguments.repeat)
        rows = []
        for threads in (1, 2):
            ours, theirs = [], []
            for _ in rounds:  # in turn, so that both see the same machine
                ours.append(run_llm(llm, "train", *files, "--vocab-size", VOCAB_SIZE, "-o", folder / "t",
                                    "--force", "--threads", threads, "--json")["seconds"])
                trained = run_hugging_face(threads, what="train", files=files)
                theirs.append(trained["seconds"])
            rows.append((f"train {VOCAB_SIZE}", threads, len(text), min(ours), min(theirs)))
        vocabulary = json.loads((folder / "t/vocab.json").read_text("utf-8"))
        assert vocabulary == trained["vocab"], "the vocabularies differ"
        print(f"vocabulary of {len(vocabulary):,}: the same")

        tokenizer = str(folder / "t/tokenizer.json")
        check = run_hugging_face(1, what="encode", tokenizer=tokenizer, file=str(folder / "once.txt"),
                                 want_ids=True)
        ids = run_llm(llm, "encode", "--tokenizer", folder / "t", "--file", folder / "once.txt", "--json")
        assert ids["ids"] == check["ids"], "the ids differ"
        print(f"ids of {len(text):,} bytes: the same {len(check['ids']):,}")
        for threads in (1, 2):
            ours, theirs = [], []
            for _ in rounds:
                ours.append(run_llm(llm, "encode", "--tokenizer", folder / "t", "--file", folder / "many.txt",
                                    "--threads", threads, "--count", "--json")["seconds"])
                theirs.append(run_hugging_face(threads, what="encode", tokenizer=tokenizer,
                                               file=str(folder / "many.txt"), want_ids=False)["seconds"])
            rows.append(("encode", threads, len(text) * arguments.repeat, min(ours), min(theirs)))
    print(f"{'job':<12}{'threads':>8}{'MB':>8}{'llm s':>9}{'HF s':>9}{'llm MB/s':>10}{'ratio':>8}")
    for job, threads, size, ours, theirs in rows:
        print(f"{job:<12}{threads:>8}{size / 1e6:>8.1f}{ours:>9.3f}{theirs:>9.3f}"
              f"{size / 1e6 / ours:>10.1f}{theirs / ours:>8.1f}")


if __name__ == "__main__":
    main()
