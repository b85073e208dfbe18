"""Byte-pair encoding against `tokenizers` and `tiktoken`, which do it in Rust: one thread each, the same text."""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import tiktoken
import tokenizers

from bench.race import Race, main
from lbdl.core import data
from lbdl.foundations.tokenization import BPE, byte_letters, train_bpe

SIZE, MERGES = 1_000_000, 512
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def megabyte() -> str:
    """Python's help texts, and after them modules of its standard library, in the order of their names."""
    text = data.english()
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += path.read_text(encoding="utf-8") if len(text) < SIZE else ""
    return text[:SIZE]


def peers_training(text: str) -> tokenizers.Tokenizer:
    built = tokenizers.Tokenizer(tokenizers.models.BPE())
    built.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False
    )
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + MERGES, show_progress=False, initial_alphabet=alphabet
    )
    built.train_from_iterator([text], trainer)
    return built


def as_tiktoken(own: BPE) -> tiktoken.Encoding:
    return tiktoken.Encoding(
        "lbdl", pat_str=PATTERN, mergeable_ranks=own.ids, special_tokens={}
    )


def as_tokenizers(own: BPE) -> tokenizers.Tokenizer:
    letters = byte_letters()

    def spell(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    vocabulary = {spell(token): i for token, i in own.ids.items()}
    built = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocabulary, [(spell(a), spell(b)) for a, b in own.merges]
        )
    )
    built.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False
    )
    return built


def forgetful(own: BPE, text: str) -> list[int]:
    """Encoding by a tokenizer that has met no word before."""
    own.known.clear()
    return own.encode(text)


def races() -> Iterator[Race]:
    text = megabyte()
    own = train_bpe(text, MERGES)
    openai, huggingface = as_tiktoken(own), as_tokenizers(own)
    assert (
        own.encode(text)
        == openai.encode_ordinary(text)
        == huggingface.encode(text).ids
    )
    yield Race(
        job="BPE training, 1 MB, 512 merges",
        peer="tokenizers BpeTrainer",
        ours=lambda: train_bpe(text, MERGES),
        theirs=lambda: peers_training(text),
        goal=1.2,
        note="cutting into words included, on both sides",
    )
    yield Race(
        job="BPE encoding, 1 MB",
        peer="tiktoken",
        ours=lambda: own.encode(text),
        theirs=lambda: openai.encode_ordinary(text),
        goal=2.2,
        note="in steady state: the words were met before",
    )
    yield Race(
        job="BPE encoding, 1 MB",
        peer="tokenizers",
        ours=lambda: own.encode(text),
        theirs=lambda: huggingface.encode(text).ids,
        goal=0.26,
        note="in steady state: both remember words",
    )
    yield Race(
        job="BPE encoding, 1 MB, no word met before",
        peer="tiktoken",
        ours=lambda: forgetful(own, text),
        theirs=lambda: openai.encode_ordinary(text),
        note="the first megabyte a tokenizer sees",
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["tiktoken", "tokenizers"])
