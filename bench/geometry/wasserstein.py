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


def against_both(
    job: str, p: Gaussian, q: Gaussian, goals: tuple[float | None, float | None]
) -> Iterator[Race]:
    """A row for each backend of POT: NumPy, torch."""
    for backend, goal in zip(("NumPy", "torch"), goals, strict=True):
        yield Race(
            job=job,
            peer=f"POT, {backend} backend",
            ours=lambda: wasserstein(p, q),
            theirs=lambda numpy=backend == "NumPy": pot(p, q, numpy),
            goal=goal,
            reference=lambda: wasserstein_squared_by_roots(p, q).sqrt(),
            floor=lambda: bare_w2(p, q),
        )


def races() -> Iterator[Race]:
    """The rows on the cost of moving."""
    many, one = pair(1000, d=32), pair(d=512)
    yield from against_both(
        "W2 of 1000 pairs, d=32, float64", *many, goals=(0.035, 0.25)
    )
    yield from against_both(
        "W2 of one pair, d=512, float64", *one, goals=(0.12, None)
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["POT"])
