"""Byte-pair encoding: the paper's example, fast against plain, token for token with two packages, damaged files."""

import json
import os
import random
import re
from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbdl.core import data
from lbdl.foundations import tokenization as T

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
tiktoken = pytest.importorskip("tiktoken")
tokenizers = pytest.importorskip("tokenizers")

PEERS_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
SENNRICH = {"low": 5, "lower": 2, "newest": 6, "widest": 3}


@pytest.fixture(scope="module")
def text() -> str:
    return data.english()


@pytest.fixture(scope="module")
def english(text: str) -> T.BPE:
    return T.train_bpe(text, 400)


def as_tiktoken(own: T.BPE) -> "tiktoken.Encoding":
    ranks = {
        token: i for i, token in own.tokens.items() if i < 256 + len(own.merges)
    }
    return tiktoken.Encoding(
        "lbdl",
        pat_str=PEERS_PATTERN,
        mergeable_ranks=ranks,
        special_tokens=dict(own.special),
    )


def as_tokenizers(own: T.BPE) -> "tokenizers.Tokenizer":
    letters = T.byte_letters()
    spell = lambda token: "".join(letters[byte] for byte in token)
    model = tokenizers.models.BPE(
        {spell(token): i for token, i in own.ids.items()},
        [(spell(a), spell(b)) for a, b in own.merges],
    )
    built = tokenizers.Tokenizer(model)
    built.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False
    )
    built.add_special_tokens([*own.special])
    return built


words = st.dictionaries(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=12).map(tuple),
    st.integers(1, 9),
    max_size=8,
)


# --- Learning merges


def test_the_ten_merges_of_the_paper() -> None:
    expected = [
        ("e", "s"), ("es", "t"), ("est", "</w>"), ("l", "o"), ("lo", "w"),
        ("n", "e"), ("ne", "w"), ("new", "est</w>"), ("low", "</w>"), ("w", "i"),
    ]  # fmt: skip
    for learn in (T.plain_merges, T.fast_merges):
        learned = learn(T.end_of_word(SENNRICH), 10)
        assert [pair for pair, _ in learned] == expected
        assert [n for _, n in learned] == [9, 9, 9, 7, 7, 6, 6, 6, 5, 3]


@given(words, st.integers(0, 40))
@example({tuple("aaaaa"): 2, tuple("aaa"): 1}, 10)
def test_fast_merges_are_the_plain_ones(counts: dict, merges: int) -> None:
    assert T.fast_merges(counts, merges) == T.plain_merges(counts, merges)


def test_fast_merges_are_the_plain_ones_on_english(text: str) -> None:
    cut = T.word_counts(text[:30_000])
    spelled = {tuple(bytes([b]) for b in word): n for word, n in cut.items()}
    assert T.fast_merges(spelled, 80) == T.plain_merges(spelled, 80)


def test_ties_go_to_the_first_in_the_text() -> None:
    assert T.fast_merges({tuple("xy"): 2, tuple("ab"): 2}, 2) == [
        (("x", "y"), 2),
        (("a", "b"), 2),
    ]
    assert T.fast_merges({tuple("xyab"): 1}, 1) == [(("x", "y"), 1)]
    assert T.fast_merges({tuple("xy"): 2, tuple("ab"): 3}, 1) == [(("a", "b"), 3)]


def test_merging_ends_when_no_pair_is_left() -> None:
    for learn in (T.plain_merges, T.fast_merges):
        assert [pair for pair, _ in learn({tuple("abc"): 1}, 99)] == [
            ("a", "b"),
            ("ab", "c"),
        ]
        assert (
            learn({}, 5)
            == learn({("a",): 3}, 5)
            == learn({tuple("ab"): 0}, 5)
            == []
        )
        assert learn({tuple("ab"): 1}, 0) == []


def test_the_merges_of_tokenizers_are_ours_up_to_ties(text: str) -> None:
    """Every merge that `tokenizers` learns has, at its time, the largest count of all pairs."""
    piece = text[:60_000]
    built = tokenizers.Tokenizer(tokenizers.models.BPE())
    built.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + 150,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    built.train_from_iterator([piece], trainer)
    byte_of = {letter: bytes([b]) for b, letter in enumerate(T.byte_letters())}
    bytes_of = lambda token: b"".join(byte_of[letter] for letter in token)
    theirs = [
        tuple(map(bytes_of, pair))
        for pair in json.loads(built.to_str())["model"]["merges"]
    ]
    assert len(theirs) == 150
    spelled = {
        "".join(map(chr, word)): n for word, n in T.word_counts(piece).items()
    }  # a character for each byte
    counts = T.PairCounts(spelled)
    letters = {bytes([b]): chr(b) for b in range(256)}
    for left, right in theirs:
        pair = letters[left] + letters[right]
        assert counts.settle()
        assert counts.pairs[pair] == -counts.heap[0][0]
        new = letters.setdefault(left + right, chr(256 + len(letters)))
        counts.merge(pair, new)


def test_pair_counts_stay_right_while_merging(text: str) -> None:
    spelled = {
        "".join(map(chr, w)): n for w, n in T.word_counts(text[:5000]).items()
    }
    counts = T.PairCounts(spelled)
    for new in range(256, 300):
        counts.settle()
        pair, _ = counts.pop()
        counts.merge(pair, chr(new))
        recount: Counter[str] = Counter()
        for word, n in zip(counts.words, counts.counts, strict=True):
            for a, b in pairwise(word):
                recount[a + b] += n
        assert {p: n for p, n in counts.pairs.items() if n} == recount


# --- Using merges


@given(words, st.text("abc", max_size=60))
def test_fast_merging_of_a_word_is_the_plain_one(counts: dict, word: str) -> None:
    pairs = [pair for pair, _ in T.plain_merges(counts, 30)]
    ranks = {pair: i for i, pair in enumerate(pairs)}
    tokens = dict.fromkeys(["a", "b", "c", *(a + b for a, b in pairs)])
    letters = {token: chr(i) for i, token in enumerate(tokens)}
    joins = {letters[a] + letters[b]: letters[a + b] for a, b in pairs}
    parts = {new: pair for pair, new in joins.items()}
    expected = "".join(letters[token] for token in T.plain_merge_word(word, ranks))
    spelled = "".join(letters[c] for c in word)
    assert T.fast_merge_word(spelled, joins, parts) == expected
    assert T.merge_long_word(spelled, joins, parts) == expected


def test_a_long_word_takes_no_square_time(english: T.BPE) -> None:
    word = "etaoinshr" * 20_000
    assert english.decode(english.encode(word)) == word


def test_plain_merging_of_a_word_by_hand() -> None:
    ranks = {("b", "c"): 0, ("a", "b"): 1}
    assert T.plain_merge_word("abcab", ranks) == ["a", "bc", "ab"]
    assert T.plain_merge_word("", ranks) == []
    assert T.plain_merge_word("a", ranks) == ["a"]
    assert T.plain_merge_word("aaaaa", {("a", "a"): 0}) == ["aa", "aa", "a"]


# --- Cutting text into words


@given(st.text())
def test_no_text_is_lost_in_cutting(text: str) -> None:
    assert "".join(re.findall(T.GPT2_PATTERN, text)) == text


LIKE_GPT2 = st.text(
    st.characters(
        exclude_categories=["Cs", "Cn"], exclude_characters="\x1c\x1d\x1e\x1f"
    ).filter(
        lambda c: ord(c) < 2**16 or c.isdecimal() or c.isalpha() or not c.isalnum()
    )
)


@given(LIKE_GPT2)
@example("it's they'll I'd we've you're don't 'tis 'S")
@example("x² + ½ = Ⅷ, 四月 1st 3.14 __init__ a_b  \n\n  \tif x:\r\n   ")
@example("naïve café — “quotes” … 😀😀 ß°")
def test_words_are_those_of_gpt2(text: str) -> None:
    """Against the same pattern in the package `regex`; characters that its Unicode is newer for are left out."""
    regex = pytest.importorskip("regex")
    if all(bool(regex.match(r"\p{Cn}", c)) is False for c in text):
        assert re.findall(T.GPT2_PATTERN, text) == regex.findall(
            PEERS_PATTERN, text
        )


def test_where_the_pattern_differs_from_gpt2() -> None:
    regex = pytest.importorskip("regex")
    for odd in ("a\U00010107", "a \x1cb"):  # an Aegean number; a file separator
        assert re.findall(T.GPT2_PATTERN, odd) != regex.findall(PEERS_PATTERN, odd)


def test_word_counts_of_pieces_and_bytes() -> None:
    assert T.word_counts("to be or not to be") == {
        b"to": 1, b" be": 2, b" or": 1, b" not": 1, b" to": 1,
    }  # fmt: skip
    assert T.word_counts(["ab", "cd"]) == {b"ab": 1, b"cd": 1}
    assert T.word_counts("") == {}
    assert T.word_counts(b"\xff\xfe") == {b"\xff\xfe": 1}
    assert T.word_counts("a<end>b<end>", special=["<end>"]) == {b"a": 1, b"b": 1}


# --- The tokenizer


@given(st.binary())
@example(b"\xff\xfe\x00 \xc3\x28 a\xf0\x9f\x98")
def test_any_bytes_come_back(raw: bytes) -> None:
    own = TRAINED
    ids = own.encode(raw)
    assert own.decode_bytes(ids) == raw
    assert own.decode(ids) == raw.decode("utf-8", "replace")
    assert all(0 <= i < len(own) for i in ids)


@given(st.text())
@example("<|end|> and <|end|><|pad|>")
def test_any_text_comes_back_with_and_without_special_tokens(text: str) -> None:
    own = T.BPE(TRAINED.merges, special=["<|end|>", "<|pad|>"])
    assert own.decode(own.encode(text)) == text
    assert own.decode(own.encode(text, special=True)) == text


TRAINED = T.train_bpe(
    "the theme of the thesis is that these things thrive, they say; ünïcödé ünïcödé 123 123",
    60,
)


@given(LIKE_GPT2)
def test_tokens_are_those_of_tiktoken_and_tokenizers(text: str) -> None:
    if not re.search(r"[^\x00-\u2fff]", text):
        # older than all three tables of Unicode
        assert (
            TRAINED.encode(text)
            == TIKTOKEN.encode_ordinary(text)
            == TOKENIZERS.encode(text).ids
        )


TIKTOKEN, TOKENIZERS = as_tiktoken(TRAINED), as_tokenizers(TRAINED)


def test_english_is_token_for_token_that_of_both(text: str, english: T.BPE) -> None:
    ids = english.encode(text)
    assert ids == as_tiktoken(english).encode_ordinary(text)
    assert ids == as_tokenizers(english).encode(text).ids
    assert english.decode(ids) == text
    assert len(ids) < 0.6 * len(text)


def test_special_tokens_as_in_tiktoken(english: T.BPE) -> None:
    own = T.BPE(english.merges, special=["<|end|>", "<|end|>of"])
    line = "one<|end|>two <|end|>of three<|end|>"
    assert own.encode(line, special=True).count(own.special["<|end|>"]) == 2
    assert own.encode(line, special=True) == as_tokenizers(own).encode(line).ids
    single = T.BPE(english.merges, special=["<|end|>"])
    assert single.encode(line, special=True) == as_tiktoken(single).encode(
        line, allowed_special="all"
    )
    assert single.encode(line) == as_tiktoken(single).encode_ordinary(line)
    assert len(single) == 256 + len(english.merges) + 1


def test_every_token_is_encoded_as_itself(english: T.BPE) -> None:
    for i in range(256 + len(english.merges)):
        assert english.encode(english.tokens[i]) == [i] or not english.tokens[
            i
        ].decode("utf-8", "ignore")


def test_more_merges_never_make_a_text_longer(text: str, english: T.BPE) -> None:
    piece = text[:20_000]
    lengths = [len(english.first(n).encode(piece)) for n in (0, 1, 10, 100, 400)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == len(piece.encode())
    assert english.first(400).merges == english.merges


def test_tokens_as_a_tensor() -> None:
    ids = TRAINED.encode("the thesis")
    assert TRAINED.decode(torch.tensor(ids)) == "the thesis"


def test_a_cache_that_is_full_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(T, "REMEMBERED", 2)
    own = T.BPE(TRAINED.merges)
    assert (
        own.decode(own.encode("a b c d e f the thesis")) == "a b c d e f the thesis"
    )
    assert len(own.known) <= 2


def test_training_does_not_learn_special_tokens() -> None:
    own = T.train_bpe("<|end|>" * 50 + "ab ab ab", 3, special=["<|end|>"])
    assert own.merges[0] == (b"a", b"b")
    assert not any(
        b"end" in token
        for i, token in own.tokens.items()
        if i < 256 + len(own.merges)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: T.train_bpe("a", -1),
            "merges must be a whole number >= 0, got -1",
        ),
        (
            lambda: T.plain_merges({("a", "b"): -1}, 1),
            "words must be a whole number >= 0, got -1",
        ),
        (lambda: T.train_bpe("a", 1, pattern="(a)"), "pattern must have no groups"),
        (
            lambda: T.train_bpe("a", 1, pattern="("),
            "pattern must be a regular expression",
        ),
        (
            lambda: T.train_bpe("ab", 1, pattern="a"),
            "pattern must match every part",
        ),
        (
            lambda: T.BPE([], pattern="a").encode("ab"),
            "pattern must match every part",
        ),
        (
            lambda: T.BPE([(b"ab", b"c")]),
            "merges must join tokens that are there already",
        ),
        (
            lambda: T.BPE([(b"a", b"b"), (b"a", b"b")]),
            "merges must make new tokens",
        ),
        (lambda: T.BPE([], special=["x", "x"]), "special must be different texts"),
        (lambda: T.BPE([], special=[""]), "special must be different texts"),
        (lambda: T.BPE([]).encode("a\ud800"), r"lone surrogate '\\ud800'"),
        (
            lambda: T.BPE([]).decode([256]),
            "ids must be whole numbers from 0 to 255, got 256",
        ),
        (
            lambda: T.BPE([]).decode([-1]),
            "ids must be whole numbers from 0 to 255, got -1",
        ),
        (
            lambda: T.BPE([]).first(1),
            "merges must be a whole number >= 0 and <= 0, got 1",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- Files


def same(a: T.BPE, b: T.BPE) -> bool:
    return (a.merges, a.pattern, a.special, a.tokens) == (
        b.merges,
        b.pattern,
        b.special,
        b.tokens,
    )


def test_saved_and_loaded(tmp_path, english: T.BPE, text: str) -> None:
    own = T.BPE(english.merges, special=["<|end|>"])
    own.save(tmp_path / "bpe.json")
    own.save(tmp_path / "bpe.json")  # over itself
    loaded = T.BPE.load(tmp_path / "bpe.json")
    assert same(own, loaded)
    assert loaded.encode(text[:5000]) == own.encode(text[:5000])
    assert [path.name for path in tmp_path.iterdir()] == ["bpe.json"]
    assert json.loads((tmp_path / "bpe.json").read_text())["version"] == 1


def test_a_failed_save_leaves_the_old_file(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TRAINED.save(tmp_path / "bpe.json")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(T.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        T.BPE([]).save(tmp_path / "bpe.json")
    assert same(T.BPE.load(tmp_path / "bpe.json"), TRAINED)
    assert [path.name for path in tmp_path.iterdir()] == ["bpe.json"]


def refusal(path) -> str | None:
    try:
        T.BPE.load(path)
    except ValueError as problem:
        return str(problem)
    return None


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_file_is_named_and_refused(data, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("damaged") / "bpe.json"
    TRAINED.save(path)
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[place] ^= data.draw(st.integers(1, 255))
    else:
        del raw[place:]
    path.write_bytes(raw)
    refused = refusal(path)
    if refused is None:
        assert same(
            T.BPE.load(path), TRAINED
        )  # only white space or the spelling of JSON was touched
    else:
        assert "bpe.json holds no tokenizer: " in refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("[]", "its format is not 'lbdl.bpe'"),
        ('{"merges": []}', "its format is not 'lbdl.bpe'"),
        (
            '{"format": "lbdl.bpe", "version": 2}',
            "its version is 2, this code reads 1",
        ),
        ('{"format": "lbdl.bpe", "version": 1}', "does not match its fingerprint"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_foreign_file_is_refused(content: str, message: str, tmp_path) -> None:
    (tmp_path / "x").write_text(content)
    with pytest.raises(ValueError, match=message):
        T.BPE.load(tmp_path / "x")


@pytest.mark.parametrize(
    "change",
    [
        {"merges": [[97, 256]]},
        {"merges": [[97, 98], [97, 98]]},
        {"merges": [[97, -1]]},
        {"merges": [[97, "b"]]},
        {"merges": [[True, 98]]},
        {"merges": [[1, 2, 3]]},
        {"merges": 7},
        {"special": [7]},
        {"special": "<|end|>"},
        {"pattern": 7},
        {"pattern": "("},
    ],
)
def test_a_file_that_means_nothing_is_refused(change: dict, tmp_path) -> None:
    content = {
        "format": "lbdl.bpe",
        "version": 1,
        "pattern": ".",
        "special": [],
        "merges": [],
    } | change
    (tmp_path / "x").write_text(
        json.dumps(content | {"sha256": T.fingerprint(content)})
    )
    with pytest.raises(ValueError, match="holds no tokenizer"):
        T.BPE.load(tmp_path / "x")


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        T.BPE.load(tmp_path / "none.json")


def test_the_letters_of_gpt2() -> None:
    letters = T.byte_letters()
    assert len(set(letters)) == 256
    assert (letters[32], letters[0], letters[65], letters[255]) == (
        "Ġ",
        "Ā",
        "A",
        "ÿ",
    )
    assert set(letters) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())


# --- Long runs


class Counted(dict):
    """A dict that counts how often it is asked."""

    asked = 0

    def get(self, key, default=None):
        self.asked += 1
        return super().get(key, default)


def spelled(word: str, merges: int) -> tuple[T.BPE, str]:
    """A tokenizer of the letters of a word, and the word spelled in its characters."""
    tokenizer = T.train_bpe(word, merges)
    return tokenizer, word.encode().decode("latin-1")


@pytest.mark.parametrize("run", ["a", "ab", "aab"])
@pytest.mark.parametrize("length", [17, 1000, 30_001])
def test_a_long_run_is_merged_as_by_the_plain_way(run: str, length: int) -> None:
    tokenizer, word = spelled((run * length)[:length], 12)
    ranks = {pair: i for i, pair in enumerate(tokenizer.merges)}
    plain = T.plain_merge_word([bytes([b]) for b in word.encode()], ranks)
    fast = T.fast_merge_word(word, tokenizer.joins, tokenizer.parts)
    assert [tokenizer.tokens[ord(c)] for c in fast] == plain


@given(text=st.text("abc", min_size=17, max_size=200), merges=st.integers(1, 60))
def test_a_long_word_is_merged_as_by_the_plain_way(text: str, merges: int) -> None:
    tokenizer = T.train_bpe(text + text[::-1] + "ab" * 20, merges)
    ranks = {pair: i for i, pair in enumerate(tokenizer.merges)}
    plain = T.plain_merge_word([bytes([b]) for b in text.encode()], ranks)
    for merge in (T.fast_merge_word, T.merge_long_word):
        found = merge(text, tokenizer.joins, tokenizer.parts)
        assert [tokenizer.tokens[ord(c)] for c in found] == plain


@pytest.mark.parametrize("merge", ["fast_merge_word", "merge_long_word"])
@pytest.mark.parametrize("run", ["a", "ab", "abcabcabd"])
def test_long_runs_cost_a_few_questions_a_letter(merge: str, run: str) -> None:
    """A million equal letters took as long as their heap of pairs: 15 seconds."""
    for length in (4_000, 64_000):
        tokenizer, word = spelled((run * length)[:length], 20)
        joins = Counted(tokenizer.joins)
        getattr(T, merge)(word, joins, tokenizer.parts)
        assert joins.asked < 5 * length


def test_many_merges_of_a_long_word_cost_a_few_questions_a_letter() -> None:
    """One question a letter and merge, if every merge looked at the whole word."""
    chance = random.Random(0)
    word = "".join(chance.choices("abcdef", k=4_000))
    tokenizer, _ = spelled(word, 200)
    joins = Counted(tokenizer.joins)
    T.fast_merge_word(word, joins, tokenizer.parts)
    assert len(tokenizer.merges) == 200 and joins.asked < 8 * len(word)


# --- Another Python


def test_a_file_says_by_which_tables_it_cuts(
    tmp_path, monkeypatch, recwarn
) -> None:
    TRAINED.save(tmp_path / "bpe.json")
    assert same(T.BPE.load(tmp_path / "bpe.json"), TRAINED)
    assert not recwarn.list
    monkeypatch.setattr(T.unicodedata, "unidata_version", "9.0.0")
    with pytest.warns(UserWarning, match=r"this Python has 9\.0\.0"):
        assert same(T.BPE.load(tmp_path / "bpe.json"), TRAINED)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: T.train_bpe(3, 1), "text must be"),
        (lambda: T.train_bpe([3], 1), "text must be str or bytes, got int"),
        (lambda: T.train_bpe("a", 1.0), "merges must be a whole number, got 1.0"),
        (lambda: T.train_bpe("a", 1, pattern=None), "pattern must be a str"),
        (lambda: T.train_bpe("a", 1, special="end"), "special must be a list"),
        (lambda: T.plain_merges([("a", "b")], 1), "words must be a Mapping"),
        (lambda: T.fast_merges({"ab": 1}, 1), "words must be a tuple"),
        (lambda: T.BPE([("a", "b")]), "merges must be a bytes"),
        (lambda: T.BPE([]).encode(None), "text must be str or bytes"),
        (lambda: T.BPE([]).decode(3), "ids must be a Iterable, got int"),
        (lambda: T.BPE([]).first(True), "merges must be a whole number"),
    ],
)
def test_the_wrong_kind_is_named(call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
