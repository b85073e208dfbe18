"""Ridge regression against scikit-learn: a whole path, its leave-one-out errors, and many small problems at once."""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.linear_model import Ridge, RidgeCV
from torch import Tensor

from bench.race import Race, main
from lbdl.foundations.learning import (
    fast_leave_one_out,
    fast_ridge_path,
    ridge,
    ridge_normal,
    ridge_path,
)

STRENGTHS = torch.logspace(-1, 4, 50, dtype=torch.float64)
DOUBLE = torch.float64


def problem(
    n: int, K: int, *batch: int, dtype: torch.dtype = DOUBLE
) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(0)
    features = torch.randn(*batch, n, K, generator=chance, dtype=DOUBLE)
    w = torch.randn(*batch, K, 1, generator=chance, dtype=DOUBLE) / K**0.5
    y = features @ w + torch.randn(*batch, n, 1, generator=chance, dtype=DOUBLE)
    return features.to(dtype), y.to(dtype)


def looped(features: Tensor, y: Tensor, strengths: Tensor) -> Tensor:
    """One `Ridge` for each strength, (S, K, 1)."""
    x, t = features.numpy(), y[:, 0].numpy()
    fits = [
        Ridge(alpha=float(s), fit_intercept=False, copy_X=False).fit(x, t)
        for s in strengths
    ]
    return torch.from_numpy(np.stack([fit.coef_ for fit in fits])).unsqueeze(-1)


def each(features: Tensor, y: Tensor, strength: float) -> Tensor:
    """One `Ridge` for each problem of a batch, (B, K, 1)."""
    fits = [
        Ridge(alpha=strength, fit_intercept=False, copy_X=False).fit(x, t)
        for x, t in zip(features.numpy(), y[..., 0].numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack([fit.coef_ for fit in fits])).unsqueeze(-1)


def chosen(features: Tensor, y: Tensor) -> Tensor:
    """The strength with the smallest mean squared leave-one-out error."""
    errors = fast_leave_one_out(features, y, STRENGTHS).square().mean((-2, -1))
    return STRENGTHS[errors.argmin()]


def chosen_by_peer(features: Tensor, y: Tensor) -> Tensor:
    peer = RidgeCV(alphas=STRENGTHS.numpy(), fit_intercept=False).fit(
        features.numpy(), y[:, 0].numpy()
    )
    return torch.tensor(float(peer.alpha_), dtype=DOUBLE)


PATHS = (
    # n, K, goal by the Gram matrix, goal by the singular value decomposition
    (2000, 300, 0.1, 0.25),
    (300, 2000, 0.15, 0.5),
)
CHOICES = ((2000, 300, 0.1), (300, 2000, 1.0))
# n, K, goal by the normal equations, goal by QR
SMALL = ((30, 8, 0.02, 0.03), (100, 20, 0.06, 0.2))


def races() -> Iterator[Race]:
    for n, K, fast_goal, plain_goal in PATHS:
        features, y = problem(n, K)
        for name, path, goal in (
            ("fast_ridge_path", fast_ridge_path, fast_goal),
            ("ridge_path", ridge_path, plain_goal),
        ):
            yield Race(
                job=f"50 strengths, n={n}, K={K}, {name}",
                peer="Ridge, looped",
                ours=lambda path=path, x=features, t=y: path(x, t, STRENGTHS),
                theirs=lambda x=features, t=y: looped(x, t, STRENGTHS),
                goal=goal,
                note="float64; accuracy is held by the tests",
            )
    for n, K, goal in CHOICES:
        features, y = problem(n, K)
        yield Race(
            job=f"choose of 50 by leave-one-out, n={n}, K={K}",
            peer="RidgeCV",
            ours=lambda x=features, t=y: chosen(x, t),
            theirs=lambda x=features, t=y: chosen_by_peer(x, t),
            reference=lambda x=features, t=y: chosen_by_peer(x, t),
            goal=goal,
            note="both choose the same strength",
        )
    for n, K, fast_goal, plain_goal in SMALL:
        features, y = problem(n, K, 500)
        for name, solve, goal in (
            ("ridge_normal", ridge_normal, fast_goal),
            ("ridge", ridge, plain_goal),
        ):
            yield Race(
                job=f"500 problems, n={n}, K={K}, {name}",
                peer="Ridge, looped",
                ours=lambda solve=solve, x=features, t=y: solve(x, t, 1.0),
                theirs=lambda x=features, t=y: each(x, t, 1.0),
                goal=goal,
                note="float64",
            )


if __name__ == "__main__":
    main(__spec__, races(), packages=["scikit-learn"])
