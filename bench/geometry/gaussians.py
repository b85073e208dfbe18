"""Gaussians against `torch.distributions`, constructors included."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.distributions import kl_divergence as torch_kl

from bench.race import Race, main
from lbdl.geometry.gaussians import Gaussian, kl_divergence

F64 = torch.float64


def pair(*batch: int, d: int) -> tuple[Gaussian, Gaussian]:
    """Two batches of Gaussians whose covariances are those of 2 d points."""
    stream = torch.Generator().manual_seed(0)
    roots = torch.randn(2, *batch, d, 2 * d, generator=stream, dtype=F64)
    means = torch.randn(2, *batch, d, generator=stream, dtype=F64)
    p, q = (
        Gaussian(m, r @ r.mT / (2 * d)) for m, r in zip(means, roots, strict=True)
    )
    return p, q


def of_torch(p: Gaussian, q: Gaussian, validate: bool) -> Tensor:
    """The divergence of torch.distributions, constructors included."""
    return torch_kl(
        *(
            MultivariateNormal(r.mean, r.covariance, validate_args=validate)
            for r in (p, q)
        )
    )


def exact_kl(p: Gaussian, q: Gaussian) -> Tensor:
    """The divergence in extended precision (80 bits where the machine has them), by plain Cholesky factors."""
    factors = [
        long_cholesky(r.covariance.numpy().astype(np.longdouble)) for r in (p, q)
    ]
    right = np.concatenate(
        [factors[0], (p.mean - q.mean).numpy().astype(np.longdouble)[:, None]],
        axis=1,
    )
    for i, row in enumerate(factors[1]):  # forward substitution: L_q^-1 [L_p, D]
        right[i] = (right[i] - row[:i] @ right[:i]) / row[i]
    log_ratio = np.log(np.diag(factors[0]) / np.diag(factors[1])).sum()
    return torch.tensor(
        float((right**2).sum() / 2 - len(right) / np.longdouble(2) - log_ratio),
        dtype=F64,
    )


def long_cholesky(a: np.ndarray) -> np.ndarray:
    """The Cholesky factor in the dtype of `a`, column by column."""
    factor = np.zeros_like(a)
    for j in range(len(a)):
        column = a[j:, j] - factor[j:, :j] @ factor[j, :j]
        factor[j:, j] = column / np.sqrt(column[0])
    return factor


def rebuilt(p: Gaussian) -> Gaussian:
    """The constructor, with its checks."""
    return Gaussian(p.mean, p.covariance)


def bare_kl(p: Gaussian, q: Gaussian) -> Tensor:
    """What the divergence cannot do without: two Cholesky factorisations and a triangular solve."""
    factors = [torch.linalg.cholesky_ex(r.covariance).L for r in (p, q)]
    return torch.linalg.solve_triangular(factors[1], factors[0], upper=False)


def races() -> Iterator[Race]:
    """The rows on Gaussians."""
    p, q = pair(d=128)
    for validate, goal in ((True, 0.25), (False, 0.7)):
        yield Race(
            job="KL of one pair, d=128, float64, constructors included",
            peer="torch.distributions" + ("" if validate else ", validation off"),
            ours=lambda: kl_divergence(rebuilt(p), rebuilt(q)),
            theirs=lambda validate=validate: of_torch(p, q, validate),
            goal=goal,
            reference=lambda: exact_kl(p, q),
            floor=lambda: bare_kl(p, q),
            note="ours checks that its input is finite and symmetric in both rows",
        )


if __name__ == "__main__":
    main(__spec__, races())
