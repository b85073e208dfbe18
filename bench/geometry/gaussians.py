"""Gaussians against POT (Python Optimal Transport) and `torch.distributions`.

POT returns the root, so ours is the root too. The Gaussians are made outside the race where the peer takes bare arrays.
"""

from collections.abc import Iterator

import ot
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.distributions import kl_divergence as torch_kl

from bench.race import Race, main
from lbdl.geometry.gaussians import Gaussian, kl_divergence, wasserstein, wasserstein_squared_by_roots

F64 = torch.float64


def pair(*batch: int, d: int) -> tuple[Gaussian, Gaussian]:
    """Two batches of Gaussians whose covariances are those of 2 d points."""
    stream = torch.Generator().manual_seed(0)
    roots = torch.randn(2, *batch, d, 2 * d, generator=stream, dtype=F64)
    means = torch.randn(2, *batch, d, generator=stream, dtype=F64)
    p, q = (Gaussian(m, r @ r.mT / (2 * d)) for m, r in zip(means, roots, strict=True))
    return p, q


def pot(p: Gaussian, q: Gaussian, numpy: bool) -> Tensor:
    """POT's distance with its NumPy or its torch backend."""
    fields = [p.mean, q.mean, p.covariance, q.covariance]
    arrays = [x.numpy() for x in fields] if numpy else fields
    return ot.gaussian.bures_wasserstein_distance(*arrays, paired=p.mean.dim() > 1)


def of_torch(p: Gaussian, q: Gaussian, validate: bool) -> Tensor:
    """The divergence of torch.distributions, constructors included."""
    return torch_kl(*(MultivariateNormal(r.mean, r.covariance, validate_args=validate) for r in (p, q)))


def rebuilt(p: Gaussian) -> Gaussian:
    """The constructor, with its checks."""
    return Gaussian(p.mean, p.covariance)


def races() -> Iterator[Race]:
    """The rows on Gaussians."""
    p, q = pair(1000, d=32)
    for numpy, backend, goal in ((True, "NumPy", 0.035), (False, "torch", 0.25)):
        yield Race(
            job="W2 of 1000 pairs, d=32, float64",
            peer=f"POT, {backend} backend",
            ours=lambda: wasserstein(p, q),
            theirs=lambda numpy=numpy: pot(p, q, numpy),
            goal=goal,
            reference=lambda: wasserstein_squared_by_roots(p, q).sqrt(),
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
        )
    p, q = pair(d=128)
    for validate, goal in ((True, 0.25), (False, 0.7)):
        yield Race(
            job="KL of one pair, d=128, float64, constructors included",
            peer="torch.distributions" + ("" if validate else ", validation off"),
            ours=lambda: kl_divergence(rebuilt(p), rebuilt(q)),
            theirs=lambda validate=validate: of_torch(p, q, validate),
            goal=goal,
            reference=lambda: of_torch(p, q, False),
            note="ours checks its input in both rows",
        )


if __name__ == "__main__":
    main(__spec__, races(), packages=["POT"])
