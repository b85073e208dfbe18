"""Exact tails and distortions against SciPy, the matrix of the proofs against scikit-learn."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy import integrate, special, stats
from scipy.spatial.distance import pdist
from sklearn.random_projection import GaussianRandomProjection

from bench.race import Race, main
from lbdl.geometry.johnson_lindenstrauss import (
    distortions,
    gaussian_matrix,
    inner_product_tail,
    norm_tail,
)


def races() -> Iterator[Race]:
    chance = torch.Generator().manual_seed(0)
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
    x = torch.randn(1000, 1024, generator=chance, dtype=torch.float64)
    y = x @ gaussian_matrix(128, 1024, generator=chance, dtype=torch.float64).mT
    yield Race(
        job="distortions of 1000 points, 1024 -> 128, float64",
        peer="scipy.spatial.distance.pdist",
        goal=1.0,
        ours=lambda: distortions(x, y),
        theirs=lambda: (pdist(y.numpy()) / pdist(x.numpy())) ** 2 - 1,
    )
    wide = torch.randn(2000, 4096, generator=chance)
    yield Race(
        job="Gaussian matrix, drawn and applied, 2000 x 4096 -> 512",
        peer="GaussianRandomProjection",
        goal=0.7,
        ours=lambda: wide @ gaussian_matrix(512, 4096, generator=chance).mT,
        theirs=lambda: GaussianRandomProjection(512, random_state=0).fit_transform(
            wide.numpy()
        ),
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
    main(__spec__, races(), packages=["scipy", "scikit-learn"])
