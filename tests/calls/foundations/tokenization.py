"""Valid calls of the tokenization topic."""

from lbdl.foundations.tokenization import (
    BPE,
    end_of_word,
    fast_merge_word,
    fast_merges,
    plain_merge_word,
    plain_merges,
    train_bpe,
    word_counts,
)
from tests.calls import Call

WORDS = {("a", "b", "a", "b"): 3, ("b", "a"): 2}
RANKS = {("a", "b"): 0}
JOINS, PARTS = {"ab": "c"}, {"c": "ab"}

CALLS = [
    Call(plain_merges, {"words": WORDS, "merges": 2}),
    Call(fast_merges, {"words": WORDS, "merges": 2}),
    Call(
        end_of_word, {"words": {"low": 2}, "end": "</w>"}, takes={"end": "anything"}
    ),
    Call(plain_merge_word, {"word": ["a", "b"], "ranks": RANKS}),
    Call(
        fast_merge_word,
        {"word": "abab", "joins": JOINS, "parts": PARTS},
        takes={"word": "anything"},
    ),
    Call(
        word_counts,
        {"text": "low lower", "pattern": r"\S+|\s+", "special": ["<end>"]},
        takes={"text": "anything"},
    ),
    Call(
        train_bpe,
        {
            "text": "low lower",
            "merges": 3,
            "pattern": r"\S+|\s+",
            "special": ["<end>"],
        },
        takes={"text": "anything"},
    ),
    Call(
        BPE,
        {"merges": [(b"a", b"b")], "pattern": r"\S+|\s+", "special": ["<end>"]},
        takes={"pattern": "anything"},
    ),
]
