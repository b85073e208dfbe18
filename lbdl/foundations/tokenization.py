"""Byte-pair encoding: a vocabulary learned by merging the most frequent pair of
neighbours, again and again.

Text is cut into words; a word starts as a sequence of symbols (characters for
Sennrich et al., bytes for GPT-2), and each merge turns one pair of neighbours into
a new symbol, everywhere. `plain_merges` is the algorithm as it is told,
`fast_merges` recounts only what a merge has changed; `plain_merge_word` and
`fast_merge_word` apply the merges to a new word. `BPE` makes a tokenizer of it,
with words cut by a regular expression, and bytes as symbols.

Gage 1994, "A New Algorithm for Data Compression" (the idea); Sennrich,
Haddow & Birch 2016, arXiv:1508.07909 (for words); Radford et al. 2019, "Language
Models are Unsupervised Multitask Learners", section 2.2 (for bytes).
"""

import hashlib
import json
import math
import os
import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import chain, pairwise
from operator import add
from pathlib import Path
from typing import Any, Self, TypeVar

from torch import Tensor

from lbdl import require

__all__ = [
    "plain_merges",
    "fast_merges",
    "end_of_word",
    "plain_merge_word",
    "fast_merge_word",
    "GPT2_PATTERN",
    "word_counts",
    "train_bpe",
    "BPE",
    "byte_letters",
]

Symbol = TypeVar("Symbol", str, bytes)


# --- Learning merges --------------------------------------------------------------


def plain_merges(
    words: Mapping[tuple[Symbol, ...], int], merges: int
) -> list[tuple[tuple[Symbol, Symbol], int]]:
    """Count all pairs of neighbours, join the most frequent one everywhere, start
    again.

        (a, b) = argmax over pairs of
            sum over words of  count(word) #{i : word[i] = a, word[i+1] = b}

    Of pairs with the same count, the one that occurs first wins: in the earliest of
    `words`, leftmost in it.

    Args:
        words: how often each word occurs; a word is a tuple of symbols, all `str`
            or all `bytes`.
        merges: number of merges to learn, >= 0; fewer come back when no pair is
            left.

    Returns:
        The pairs in the order learned, each with its count at that time.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: `merges` or a count is negative.

    Source: Sennrich, Haddow & Birch 2016, algorithm 1, arXiv:1508.07909.
    """
    require_words(words, merges)
    spelled = [(list(word), n) for word, n in words.items() if n > 0]
    learned: list[tuple[tuple[Symbol, Symbol], int]] = []
    while len(learned) < merges:
        counts: Counter[tuple[Symbol, Symbol]] = Counter()
        for word, n in spelled:
            for pair in pairwise(word):
                counts[pair] += n
        if not counts:
            break
        # of equals, `max` takes the one that was counted first
        best = max(counts, key=counts.__getitem__)
        learned.append((best, counts[best]))
        spelled = [(merge_pair(word, best), n) for word, n in spelled]
    return learned


def merge_pair(word: Sequence[Symbol], pair: tuple[Symbol, Symbol]) -> list[Symbol]:
    """Joins every occurrence of a pair in a word, from left to right."""
    merged: list[Symbol] = []
    for symbol in word:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def fast_merges(
    words: Mapping[tuple[Symbol, ...], int], merges: int
) -> list[tuple[tuple[Symbol, Symbol], int]]:
    """The same merges as `plain_merges`, without counting everything again.

    A merge changes only the words that hold its pair. Their old pairs are taken off
    the counts and their new pairs put on; a heap, whose entries are renewed when
    they come to the top, gives the most frequent pair.

    Args:
        words: how often each word occurs; a word is a tuple of symbols, all `str`
            or all `bytes`.
        merges: number of merges to learn, >= 0; fewer come back when no pair is
            left.

    Returns:
        The pairs in the order learned, each with its count at that time.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: `merges` or a count is negative.

    Source: Sennrich, Haddow & Birch 2016, section 3.2 (the indexed counts),
        arXiv:1508.07909.
    """
    require_words(words, merges)
    symbols = list(dict.fromkeys(chain.from_iterable(words)))
    # one character for each symbol
    letters = {symbol: chr(i) for i, symbol in enumerate(symbols)}
    pairs = PairCounts(
        {
            "".join(map(letters.__getitem__, word)): n
            for word, n in words.items()
            if n > 0
        }
    )
    learned: list[tuple[tuple[Symbol, Symbol], int]] = []
    while len(learned) < merges and pairs.settle():
        best, count = pairs.pop()
        left, right = symbols[ord(best[0])], symbols[ord(best[1])]
        if left + right not in letters:
            letters[left + right] = chr(len(symbols))
            symbols.append(left + right)
        pairs.merge(best, letters[left + right])
        learned.append(((left, right), count))
    return learned


class PairCounts:
    """How often each pair of neighbours occurs in a set of words, kept right while
    pairs are merged.

    A symbol is one character here: a word is a string, a pair a string of two, and
    `str.replace` merges.
    """

    def __init__(self, words: Mapping[str, int]) -> None:
        self.words, self.counts = list(words), list(words.values())
        self.pairs: defaultdict[str, int] = defaultdict(int)
        # words that hold a pair, or once held it
        self.places: defaultdict[str, set[int]] = defaultdict(set)
        for i, (word, n) in enumerate(words.items()):
            for pair in map(add, word, word[1:]):
                self.pairs[pair] += n
                self.places[pair].add(i)
        self.heap = [self.entry(pair) for pair in self.pairs]
        heapify(self.heap)

    def entry(self, pair: str) -> tuple[int, int, str]:
        """Sorts by count, largest first, then by the first word that holds the
        pair."""
        first = min(i for i in self.places[pair] if pair in self.words[i])
        return -self.pairs[pair], first, pair

    def settle(self) -> bool:
        """Renews the top of the heap until it tells the truth; whether anything is
        left."""
        while self.heap:
            count, first, pair = self.heap[0]
            if self.pairs[pair] == -count and pair in self.words[first]:
                return True
            if self.pairs[pair] > 0:
                heapreplace(self.heap, self.entry(pair))
            else:
                heappop(self.heap)
        return False

    def pop(self) -> tuple[str, int]:
        """The most frequent pair and its count; of equals in the same first word,
        the leftmost."""
        equals = [heappop(self.heap)]
        while self.settle() and self.heap[0][:2] == equals[0][:2]:
            equals.append(heappop(self.heap))
        count, _, best = min(
            equals, key=lambda entry: self.words[entry[1]].find(entry[2])
        )
        for entry in equals:
            if entry[2] != best:
                heappush(self.heap, entry)
        return best, -count

    def merge(self, pair: str, new: str) -> None:
        """Writes `new` for `pair` in every word, and corrects the counts."""
        changes: defaultdict[str, int] = defaultdict(int)
        for i in self.places.pop(pair):
            old, n = self.words[i], self.counts[i]
            if pair not in old:
                continue
            self.words[i] = word = old.replace(pair, new)
            for gone in map(add, old, old[1:]):
                changes[gone] -= n
            for come in map(add, word, word[1:]):
                changes[come] += n
                if new in come:
                    self.places[come].add(i)
        self.correct(changes)

    def correct(self, changes: Mapping[str, int]) -> None:
        """Applies changes of counts. Only what grew needs a new place in the heap:
        `settle` finds the rest."""
        for pair, change in changes.items():
            self.pairs[pair] += change
            if change > 0:
                heappush(self.heap, self.entry(pair))
            elif not self.pairs[pair]:
                del self.pairs[pair]


def end_of_word(
    words: Mapping[str, int], end: str = "</w>"
) -> dict[tuple[str, ...], int]:
    """Words as Sennrich et al. write them: characters, and a symbol that marks the
    end.

        "low"  ->  ("l", "o", "w", "</w>")

    Args:
        words: how often each word occurs.
        end: the symbol for the end of a word.

    Returns:
        The same counts, with words as tuples of symbols.

    Raises:
        TypeError: an argument is of the wrong kind.

    Source: Sennrich, Haddow & Birch 2016, section 3.2, arXiv:1508.07909.
    """
    require.instance(Mapping, words=words)
    require.instance(str, end=end)
    return {(*word, end): n for word, n in words.items()}


# --- Using merges -----------------------------------------------------------------


def plain_merge_word(
    word: Sequence[Symbol], ranks: Mapping[tuple[Symbol, Symbol], int]
) -> list[Symbol]:
    """Apply the earliest merge that a word has a pair for, to all such pairs;
    repeat until none is left.

        (a, b) = argmin of ranks over the pairs of neighbours in the word;
        ... a b ...  ->  ... ab ...

    Args:
        word: symbols, n of them, all `str` or all `bytes`.
        ranks: for each pair that was merged, its number in the order learned.

    Returns:
        The symbols of the word after all merges. Time O(n m), for m different
        merges in the word.

    Raises:
        TypeError: an argument is of the wrong kind.

    Source: Sennrich, Haddow & Birch 2016, section 3.2, arXiv:1508.07909.
    """
    require.instance(Sequence, word=word)
    require.instance(Mapping, ranks=ranks)
    symbols = list(word)
    while len(symbols) > 1:
        best = min(pairwise(symbols), key=lambda pair: ranks.get(pair, math.inf))
        if best not in ranks:
            break
        symbols = merge_pair(symbols, best)
    return symbols


def fast_merge_word(
    word: str, joins: Mapping[str, str], parts: Mapping[str, str]
) -> str:
    """The same, for a word that is spelled with one character a token: strings do
    the work.

        new = min over the pairs of neighbours of joins[pair];
        word = word.replace(parts[new], new)

    Tokens are numbered in the order learned: so the smallest character is the
    earliest merge. In a short word, or where a merge takes a quarter of the word,
    `str.replace` is quick. Other long words take a linked list and, for each merge,
    the places where it may be made: merging at one place changes two pairs only,
    the one before and the one after. The time is O(n log n).

    Args:
        word: n characters; character number i stands for token i.
        joins: for each pair of characters that was merged, the character of the new
            token.
        parts: the inverse of `joins`.

    Returns:
        The word after all merges, spelled the same way.

    Raises:
        TypeError: an argument is of the wrong kind.

    Source: Sennrich, Haddow & Birch 2016, section 3.2, arXiv:1508.07909.
    """
    require.instance(str, word=word)
    require.instance(Mapping, joins=joins, parts=parts)
    while new := earliest(word, joins):
        shorter = word.replace(parts[new], new)
        if len(shorter) > max(SHORT, 3 * len(word) // 4):
            return merge_long_word(word, joins, parts)
        word = shorter
    return word


def earliest(word: str, joins: Mapping[str, str]) -> str:
    """The earliest merge that a word has a pair for, "" if it has none."""
    pairs = map(add, word, word[1:])
    return min(filter(None, map(joins.get, pairs)), default="")


def merge_long_word(
    word: str, joins: Mapping[str, str], parts: Mapping[str, str]
) -> str:
    """`fast_merge_word` with a linked list, and for each merge the places where it
    may be made: merging there opens new places for later merges only."""
    symbols = [*word, ""]  # "": merged into the symbol before, or the end
    before, after = [*range(-1, len(word))], [*range(1, len(word) + 1), 0]
    places: defaultdict[str, list[int]] = defaultdict(list)
    for i, new in enumerate(map(joins.get, map(add, word, word[1:]))):
        if new:
            places[new].append(i)
    merges = list(places)
    heapify(merges)
    while merges:
        new = heappop(merges)
        pair = parts[new]
        for i in places.pop(new):  # from left to right, where pairs can overlap
            j = after[i]
            if symbols[i] + symbols[j] != pair:
                continue  # the pair is gone
            symbols[i], symbols[j] = new, ""
            after[i], before[after[j]] = after[j], i
            for left in (before[i], i):
                come = joins.get(symbols[left] + symbols[after[left]])
                if come and come not in places:
                    heappush(merges, come)
                if come:
                    places[come].append(left)
    return "".join(symbols)


# --- From text to words -----------------------------------------------------------

# Digits outside the decimal ones: superscripts, fractions, Roman numerals. To `re`,
# they are letters.
OTHER_NUMBERS = "".join(
    chr(c) for c in range(2**16) if unicodedata.category(chr(c)) in ("No", "Nl")
)

GPT2_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)"  # an English ending
    rf"| ?[^\W\d_{OTHER_NUMBERS}]+"  # letters, with the space before them
    rf"| ?[\d{OTHER_NUMBERS}]+"  # digits
    r"| ?(?:[^\s\w]|_)+"  # other signs
    r"|\s+(?!\S)|\s+"  # white space, without the last space where a word follows
)


def word_counts(
    text: str | bytes | Iterable[str],
    pattern: str = GPT2_PATTERN,
    special: Sequence[str] = (),
) -> dict[bytes, int]:
    r"""Cut text into words and count them.

    The default pattern cuts as GPT-2 does. Its authors write `\p{L}` for letters
    and `\p{N}` for numbers, which `re` does not know. Ours differs in rare
    characters only: numbers beyond U+FFFF that are no decimal digits (Aegean
    numerals, say) count as letters, and U+001C to U+001F as white space.

    Which characters are letters or numbers is asked of the tables of the Python
    that runs. They grow with Unicode: a character that was assigned later than the
    table (`unicodedata.unidata_version`) is cut as a sign. So texts in young
    scripts may be cut otherwise by another Python; `BPE.load` warns where the
    tables differ.

    Args:
        text: the text, or pieces of it that are cut one by one; bytes may be
            anything.
        pattern: a regular expression of `re` without groups that matches every part
            of the text.
        special: texts that are no words but separate them.

    Returns:
        How often each word occurs, as bytes of UTF-8, in the order of first
        occurrence.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: the pattern has groups, is no regular expression, or leaves out
            a part of the text.

    Source: Radford et al. 2019, section 2.2, and the code published with it.
    """
    cut = require_pattern(pattern)
    require_special(special)
    pieces = [text] if isinstance(text, str | bytes) else text
    require.instance(Iterable, text=pieces)
    parts = (
        part
        for piece in pieces
        for part, _ in split_special(as_text(piece), special)
        if part
    )
    counts = Counter(chain.from_iterable(words_of(part, cut) for part in parts))
    return {as_bytes(word): n for word, n in counts.items()}


def words_of(text: str, cut: re.Pattern[str]) -> list[str]:
    """The words of a text; ValueError where the pattern leaves something out."""
    words = cut.findall(text)
    if sum(map(len, words)) != len(text):
        raise ValueError(
            "pattern must match every part of the text, left out some: "
            f"{cut.pattern!r}"
        )
    return words


def split_special(text: str, special: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a text, perhaps empty, and the special token behind it, "" behind
    the last."""
    if not special:
        yield text, ""
        return
    either = "|".join(
        re.escape(each) for each in sorted(special, key=len, reverse=True)
    )
    parts = re.split(f"({either})", text)
    yield from zip(parts[::2], [*parts[1::2], ""], strict=True)


def as_text(piece: str | bytes) -> str:
    """Bytes as text: what is no UTF-8 becomes lone surrogates, one a byte, which
    `as_bytes` turns back."""
    if isinstance(piece, bytes):
        return piece.decode("utf-8", "surrogateescape")
    if not isinstance(piece, str):
        raise TypeError(f"text must be str or bytes, got {require.kind(piece)}")
    return piece


def as_bytes(text: str) -> bytes:
    """The UTF-8 of a text, and the bytes that `as_text` could not read."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as problem:
        lone = text[problem.start]
        raise ValueError(
            f"text must be valid Unicode, got the lone surrogate {lone!a}"
        ) from None


# --- A tokenizer ------------------------------------------------------------------


def train_bpe(
    text: str | bytes | Iterable[str],
    merges: int,
    pattern: str = GPT2_PATTERN,
    special: Sequence[str] = (),
) -> "BPE":
    """Learn a byte-level tokenizer: the 256 bytes, and the merges of the words of a
    text.

    Args:
        text: the text, or pieces of it; bytes may be anything.
        merges: number of merges, >= 0; the tokenizer has fewer when no pair is
            left.
        pattern: a regular expression of `re` without groups; a word is what it
            matches, and merges do not cross words.
        special: texts that become one token each, and are not learned from.

    Returns:
        The tokenizer.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: `merges` is negative, or the pattern or a special token is no
            good.

    Source: Radford et al. 2019, section 2.2; Sennrich, Haddow & Birch 2016,
        algorithm 1, arXiv:1508.07909.
    """
    words = word_counts(text, pattern, special)
    spelled = {tuple(map(BYTES.__getitem__, word)): n for word, n in words.items()}
    return BPE([pair for pair, _ in fast_merges(spelled, merges)], pattern, special)


class BPE:
    """A byte-level tokenizer: any bytes to token numbers, and exactly back.

        decode_bytes(encode(text)) = text,  for every text

    Tokens 0 to 255 are the single bytes, then come the merged ones in the order
    learned, then the special ones.

    Args:
        merges: pairs of byte strings, in the order learned; each part is a byte or
            the result of a merge before.
        pattern: a regular expression of `re` without groups, which cuts text into
            words.
        special: texts that become one token each, where `encode` is asked for it.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: a merge joins what is not there yet, or makes again what is; the
            pattern is no good; a special token is empty or given twice.

    Source: Radford et al. 2019, section 2.2.
    """

    def __init__(
        self,
        merges: Sequence[tuple[bytes, bytes]],
        pattern: str = GPT2_PATTERN,
        special: Sequence[str] = (),
    ) -> None:
        self.cut = require_pattern(pattern)
        self.ids = {byte: i for i, byte in enumerate(BYTES)}
        require.instance(Sequence, merges=merges)
        for left, right in merges:
            require_merge(left, right, self.ids)
            self.ids[left + right] = len(self.ids)
        require_special(special)
        self.merges, self.pattern = list(merges), pattern
        self.joins = {
            self.spell(pair): self.spell([pair[0] + pair[1]]) for pair in merges
        }
        self.parts = {new: pair for pair, new in self.joins.items()}
        self.special = {token: len(self.ids) + i for i, token in enumerate(special)}
        self.tokens = dict(enumerate([*self.ids, *map(as_bytes, special)]))
        self.known = WordCache(self.spell_word)

    def __len__(self) -> int:
        """The size of the vocabulary."""
        return len(self.tokens)

    def encode(self, text: str | bytes, special: bool = False) -> list[int]:
        """The token numbers of a text.

        Args:
            text: the text; bytes may be anything.
            special: read special tokens as such; otherwise they are text like any
                other.

        Returns:
            Numbers from 0 to `len(self) - 1`.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: the text holds a lone surrogate that stands for no byte, or
                the pattern leaves out a part.
        """
        text = as_text(text)
        if not (special and self.special):
            return list(
                map(
                    ord,
                    "".join(map(self.known.__getitem__, words_of(text, self.cut))),
                )
            )
        ids: list[int] = []
        for part, token in split_special(text, [*self.special]):
            ids += self.encode(part)
            ids += [self.special[token]] if token else []
        return ids

    def spell_word(self, word: str) -> str:
        """The tokens of one word, one character each."""
        return fast_merge_word(
            as_bytes(word).decode("latin-1"), self.joins, self.parts
        )

    def spell(self, symbols: Iterable[bytes]) -> str:
        """Tokens as a string, one character each."""
        return "".join(chr(self.ids[symbol]) for symbol in symbols)

    def decode_bytes(self, ids: Iterable[int] | Tensor) -> bytes:
        """The bytes that tokens stand for.

        Args:
            ids: token numbers, or a tensor (T,) of them, int64.

        Returns:
            Their bytes, one after another.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: a number is no token.
        """
        numbers = ids.tolist() if isinstance(ids, Tensor) else ids
        require.instance(Iterable, ids=numbers)
        try:
            return b"".join(map(self.tokens.__getitem__, numbers))
        except (KeyError, TypeError) as problem:
            raise ValueError(
                f"ids must be whole numbers from 0 to {len(self) - 1}, got "
                f"{problem.args[0]!r}"
            ) from None

    def decode(self, ids: Iterable[int] | Tensor, errors: str = "replace") -> str:
        """The text that tokens stand for.

        Tokens may end inside a character: what is no UTF-8 becomes the replacement
        character.

        Args:
            ids: token numbers, or a tensor (T,) of them, int64.
            errors: what to do with bytes that are no UTF-8, as in `bytes.decode`.

        Returns:
            The text.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: a number is no token; with `errors="strict"`, also bytes
                that are no UTF-8.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    def first(self, merges: int) -> "BPE":
        """The tokenizer that has only the first so many merges."""
        require.whole(merges=merges, least=0, most=len(self.merges))
        return BPE(self.merges[:merges], self.pattern, [*self.special])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the tokenizer to a JSON file, in one move: a reader never finds
        half of it.

        Args:
            path: the file; one that is there is replaced.
        """
        content = {
            "format": FORMAT,
            "version": VERSION,
            "pattern": self.pattern,
            "special": [*self.special],
            "unicode": unicodedata.unidata_version,
            "merges": [
                [self.ids[left], self.ids[right]] for left, right in self.merges
            ],
        }
        write_atomically(
            Path(path), json.dumps(content | {"sha256": fingerprint(content)})
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a tokenizer that `save` wrote.

        Warns where it was written by a Python with other tables of Unicode.

        Args:
            path: the file.

        Returns:
            The tokenizer.

        Raises:
            ValueError: the file is damaged, of a later version, or no tokenizer at
                all.
            OSError: the file cannot be read.
        """
        try:
            content = require_content(json.loads(Path(path).read_bytes()))
            warn_of_other_tables(content)
            tokens = list(BYTES)
            for left, right in content["merges"]:
                tokens.append(tokens[left] + tokens[right])
            merges = [
                (tokens[left], tokens[right]) for left, right in content["merges"]
            ]
            return cls(merges, content["pattern"], content["special"])
        except (ValueError, LookupError, TypeError, RecursionError) as problem:
            raise ValueError(
                f"{os.fspath(path)} holds no tokenizer: {problem}"
            ) from None


def byte_letters() -> list[str]:
    """The printable characters that GPT-2's files write for the 256 bytes.

        byte b  ->  itself as Latin-1 where that prints,
        else U+0100, U+0101, ... in turn

    A space becomes U+0120, an accented capital G: the sign that opens most tokens
    in such files.

    Returns:
        256 characters; number b stands for byte b.

    Source: the code published with Radford et al. 2019.
    """
    prints = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in prints else next(others)) for byte in range(256)]


# --- Inside -----------------------------------------------------------------------

BYTES = [bytes([byte]) for byte in range(256)]
SHORT = (
    16  # symbols: up to here, looking at all pairs again and again beats the heap
)
# words, and characters of a word: what a tokenizer remembers at most
REMEMBERED, LONGEST = (2**18, 256)
FORMAT, VERSION = "lbdl.bpe", 1


class WordCache(dict[str, str]):
    """The tokens of words met before: text repeats its words, so most are looked
    up, not computed."""

    def __init__(self, spell: Callable[[str], str]) -> None:
        super().__init__()
        self.spell = spell

    def __missing__(self, word: str) -> str:
        spelled = self.spell(word)
        if len(word) <= LONGEST:
            if len(self) >= REMEMBERED:
                self.clear()
            self[word] = spelled
        return spelled


def fingerprint(content: dict[str, Any]) -> str:
    """SHA-256 of what a file holds, to tell a damaged one."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Writes a file beside the place, then moves it there: the old one stays until
    the new one is complete."""
    trial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(trial, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(trial, path)
    except BaseException:
        trial.unlink(missing_ok=True)
        raise


def require_content(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if content.get("version") != VERSION:
        raise ValueError(
            f"its version is {content.get('version')!r}, this code reads {VERSION}"
        )
    if content.pop("sha256", None) != fingerprint(content):
        raise ValueError(
            "its content does not match its fingerprint: it is damaged or was "
            "changed"
        )
    for number in chain.from_iterable(content["merges"]):
        if type(number) is not int or number < 0:
            raise ValueError(f"its merges hold {number!r}, which is no token")
    return content


def warn_of_other_tables(content: Mapping[str, Any]) -> None:
    """Says so where a file was written with other tables of Unicode."""
    written, here = content.get("unicode"), unicodedata.unidata_version
    if written not in (None, here):
        warnings.warn(
            f"the tokenizer was written with Unicode {written}, this Python has "
            f"{here}:"
            " words with characters assigned in between may be cut otherwise",
            stacklevel=3,
        )


def require_words(words: Mapping[Any, int], merges: int) -> None:
    """Refuse what is no table of counts of words."""
    require.whole(merges=merges, least=0)
    require.instance(Mapping, words=words)
    for word, count in words.items():
        require.instance(tuple, words=word)
        require.whole(words=count, least=0)


def require_pattern(pattern: str) -> re.Pattern[str]:
    """The compiled pattern; refuses one that `re` does not know, or with groups."""
    require.instance(str, pattern=pattern)
    try:
        cut = re.compile(pattern)
    except re.error as problem:
        raise ValueError(
            f"pattern must be a regular expression of `re`: {problem}"
        ) from None
    if cut.groups:
        raise ValueError(
            f"pattern must have no groups but (?:...), got {pattern!r}"
        )
    return cut


def require_merge(left: bytes, right: bytes, ids: Mapping[bytes, int]) -> None:
    """Refuse a merge of what is not there, or into what is."""
    for part in (left, right):
        require.instance(bytes, merges=part)
    if left not in ids or right not in ids:
        raise ValueError(
            "merges must join tokens that are there already, got "
            f"{left!r} and {right!r}"
        )
    if left + right in ids:
        raise ValueError(f"merges must make new tokens, got {left + right!r} twice")


def require_special(special: Sequence[str]) -> None:
    """Refuse what is no list of different texts."""
    if isinstance(special, str) or not isinstance(special, Sequence):
        raise TypeError(
            f"special must be a list of texts, got {require.kind(special)}"
        )
    for each in special:
        require.instance(str, special=each)
    if "" in special or len(set(special)) < len(special):
        raise ValueError(
            f"special must be different texts, none of them empty, got {special!r}"
        )
