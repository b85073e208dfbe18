"""The Wasserstein distance of Gaussians against POT (Python Optimal Transport).

POT returns the root, so ours is the root too. The Gaussians are made outside the race, for POT takes bare arrays.
"""

from collections.abc import Iterator

import ot
import torch
from torch import Tensor

from bench.geometry.gaussians import pair
from bench.race import Race, main
from lbdl.geometry.gaussians import Gaussian
from lbdl.geometry.wasserstein import wasserstein, wasserstein_squared_by_roots


def pot(p: Gaussian, q: Gaussian, numpy: bool) -> Tensor:
    """POT's distance with its NumPy or its torch backend."""
    fields = [p.mean, q.mean, p.covariance, q.covariance]
    arrays = [x.numpy() for x in fields] if numpy else fields
    return ot.gaussian.bures_wasserstein_distance(*arrays, paired=p.mean.dim() > 1)


def bare_w2(p: Gaussian, q: Gaussian) -> Tensor:
    """What W2 cannot do without: one Cholesky factorisation and the eigenvalues of one symmetric matrix."""
    torch.linalg.cholesky_ex(p.covariance)
    return torch.linalg.eigvalsh(q.covariance)


def races() -> Iterator[Race]:
    """The rows on the cost of moving."""
    p, q = pair(1000, d=32)
    for numpy, backend, goal in ((True, "NumPy", 0.035), (False, "torch", 0.25)):
        yield Race(
            job="W2 of 1000 pairs, d=32, float64",
            peer=f"POT, {backend} backend",
            ours=lambda: wasserstein(p, q),
            theirs=lambda numpy=numpy: pot(p, q, numpy),
            goal=goal,
            reference=lambda: wasserstein_squared_by_roots(p, q).sqrt(),
            floor=lambda: bare_w2(p, q),
        )
    p, q = pair(d=512)
    for numpy, backend, goal in ((True, "NumPy", 0.12), (False, "torch", None)):
        yield Race(
            job="W2 of one pair, d=512, float64",
            peer=f"POT, {backend} backend",
            ours=lambda: wasserstein(p, q),
            theirs=lambda numpy=numpy: pot(p, q, numpy),
            goal=goal,
            reference=lambda: wasserstein_squared_by_roots(p, q).sqrt(),
            floor=lambda: bare_w2(p, q),
        )


if __name__ == "__main__":
    main(__spec__, races(), packages=["POT"])
