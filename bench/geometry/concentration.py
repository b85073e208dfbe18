"""Exact tails of lengths and of inner products against SciPy."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy import integrate, special, stats

from bench.race import Race, main
from lbdl.geometry.concentration import inner_product_tail, norm_tail


def races() -> Iterator[Race]:
    eps = torch.linspace(0.01, 0.9, 10_000, dtype=torch.float64)
    law = stats.chi2(200, scale=1 / 200)
    yield Race(
        job="norm_tail, n = 200, 10000 values of eps",
        peer="scipy.stats.chi2, sf + cdf",
        ours=lambda: norm_tail(200, eps),
        theirs=lambda: law.sf(1 + eps.numpy()) + law.cdf(1 - eps.numpy()),
    )
    yield Race(
        job="inner_product_tail, n = 200, 100 values of eps",
        peer="scipy.integrate.quad",
        goal=0.1,
        ours=lambda: inner_product_tail(200, eps[::100]),
        theirs=lambda: by_quadrature(200, eps[::100].numpy()),
        note="both to about eight digits",
    )


def by_quadrature(n: int, eps: np.ndarray) -> np.ndarray:
    """The tail of the inner product as an integral over the squared length of one
    of the two vectors."""
    law = stats.chi2(n)
    low, high = law.ppf(1e-16), law.isf(1e-16)

    def tail(e: float) -> float:
        return integrate.quad(
            lambda q: law.pdf(q) * special.erfc(e * n / math.sqrt(2 * q)),
            low,
            high,
            epsabs=0,
            epsrel=1e-8,
        )[0]

    return np.array([tail(float(e)) for e in eps])


if __name__ == "__main__":
    main(__spec__, races(), packages=["scipy"])
