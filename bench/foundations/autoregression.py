"""Counting n-grams against scikit-learn, drawing tokens against `torch.distributions`."""

import re
from collections.abc import Iterator

import torch
from sklearn.feature_extraction.text import CountVectorizer

from bench.race import Race, main
from lbdl.core import data
from lbdl.foundations.autoregression import count_up_to, sample

ORDER = 5


def races() -> Iterator[Race]:
    text = re.sub(r"\s\s+", " ", data.english())  # as the peer has it
    tokens = torch.tensor(list(text.encode("latin-1")))  # one byte a letter
    assert counted(tokens) == peers_count(text)
    yield Race(
        job=f"all n-grams of {len(tokens):,} letters, n = 1 to {ORDER}",
        peer="CountVectorizer(analyzer='char')",
        ours=lambda: counted(tokens),
        theirs=lambda: peers_count(text),
        goal=0.2,
        note="the same number of different n-grams of each order on both sides",
    )
    logits = 3 * torch.randn(64, 50_257, generator=torch.Generator().manual_seed(0))
    yield Race(
        job="one token from each of 64 x 50257 logits",
        peer="torch.distributions.Categorical",
        ours=lambda: sample(logits),
        theirs=lambda: torch.distributions.Categorical(logits=logits).sample(),
        goal=1.0,
    )


def counted(tokens: torch.Tensor) -> list[int]:
    """How many different n-grams there are, by order."""
    return [len(level.codes) for level in count_up_to(tokens, ORDER, 256)]


def peers_count(text: str) -> list[int]:
    """The same by scikit-learn, whose table has a column for each n-gram."""
    vectorizer = CountVectorizer(
        analyzer="char", ngram_range=(1, ORDER), lowercase=False
    )
    vectorizer.fit_transform([text])
    orders = [0] * ORDER
    for gram in vectorizer.vocabulary_:
        orders[len(gram) - 1] += 1
    return orders


if __name__ == "__main__":
    main(__spec__, races(), packages=["scikit-learn"])
