"""Intervals and tests of many counts, and moved images, against SciPy; folds against scikit-learn."""

from collections.abc import Iterator

import numpy as np
import scipy.ndimage
import scipy.stats
import torch
from sklearn.model_selection import KFold
from torch import Tensor

from bench.race import Race, main
from lbdl.foundations.generalization import (
    k_folds,
    mcnemar_test,
    shift,
    wilson_interval,
)

TRIES, PAIRS, ROWS, FOLDS = 1000, 500, 100_000, 10


def each_interval(hits: Tensor) -> tuple[Tensor, Tensor]:
    """SciPy's interval of every count, one after the other."""
    ends = [
        scipy.stats.binomtest(h, TRIES).proportion_ci(0.95, "wilson")
        for h in hits.tolist()
    ]
    low, high = torch.tensor([(e.low, e.high) for e in ends], dtype=torch.float64).T
    return low, high


def each_test(b: Tensor, c: Tensor) -> Tensor:
    """SciPy's exact test of every pair of counts."""
    pairs = zip(b.tolist(), c.tolist(), strict=True)
    return torch.tensor(
        [scipy.stats.binomtest(i, i + j).pvalue for i, j in pairs],
        dtype=torch.float64,
    )


def peers_folds() -> list[tuple[np.ndarray, np.ndarray]]:
    return list(KFold(FOLDS, shuffle=True, random_state=0).split(np.zeros(ROWS)))


def races() -> Iterator[Race]:
    hits = torch.arange(TRIES + 1)
    yield Race(
        job=f"Wilson's interval of {TRIES + 1} counts",
        peer="scipy binomtest, looped",
        ours=lambda: wilson_interval(hits, TRIES),
        theirs=lambda: each_interval(hits),
        goal=0.02,
        note="equal to 1e-12, by the tests",
    )
    chance = torch.Generator().manual_seed(0)
    b, c = torch.randint(1, 60, (2, PAIRS), generator=chance)
    yield Race(
        job=f"McNemar's exact test of {PAIRS} pairs of models",
        peer="scipy binomtest, looped",
        ours=lambda: mcnemar_test(b, c),
        theirs=lambda: each_test(b, c),
        goal=0.05,
        note="equal to 1e-9, by the tests",
    )
    yield Race(
        job=f"{FOLDS} folds of {ROWS} rows, in random order",
        peer="KFold(shuffle=True)",
        ours=lambda: k_folds(ROWS, FOLDS, torch.Generator().manual_seed(0)),
        theirs=peers_folds,
        goal=1.0,
        note="row numbers alone, on both sides",
    )
    images = torch.rand(2000, 28, 28, generator=chance)
    yield Race(
        job="2000 images of 28 x 28, moved by two pixels",
        peer="scipy.ndimage.shift, order 0",
        ours=lambda: shift(images, 1, -2),
        theirs=lambda: scipy.ndimage.shift(images.numpy(), (0, 1, -2), order=0),
        reference=lambda: shift(images.double(), 1, -2),
        goal=0.2,
        note="whole pixels; SciPy's function does fractions of one, too",
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["scipy", "scikit-learn"])
