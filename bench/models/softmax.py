"""Softmax means in one pass against the whole table of probabilities; Gumbel draws against torch's; one temperature
against a general solver."""

from collections.abc import Callable, Iterator
from functools import partial
from math import exp

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from bench.race import Race, main
from lbdl.models.softmax import fit_temperature, gumbel_softmax, online_softmax

BLOCK = 2048  # scores of a row that are read at a time


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def table(scores: Tensor, values: Tensor) -> Tensor:
    """The mean by all probabilities at once."""
    return torch.softmax(scores, -1) @ values


def both_passes(way: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    """A job: the draws, and then the gradient of their product with a fixed table."""
    x, grad = x.clone().requires_grad_(), draw(*x.shape, seed=1)
    return lambda: torch.autograd.grad(way(x), x, grad)[0]


def by_general_solver(x: Tensor, target: Tensor) -> float:
    """The temperature of the smallest cross-entropy, by Brent's method on its logarithm."""
    found = minimize_scalar(
        lambda log: F.cross_entropy(x / exp(log), target).item(),
        bounds=(-7, 7),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return exp(found.x)


def races() -> Iterator[Race]:
    scores, values = 3 * draw(256, 65536), draw(65536, 64, seed=1)
    yield Race(  # written to be read: what it saves is the table
        job=f"mean with softmax weights, {tuple(scores.shape)} scores, 64 values",
        peer="torch.softmax and one product",
        ours=partial(online_softmax, scores, values, BLOCK),
        theirs=partial(table, scores, values),
        reference=partial(table, scores.double(), values.double()),
        memory_goal=0.1,
    )
    x = draw(4096, 1024)
    for hard in (False, True):
        kind = "one-hot" if hard else "soft"
        yield Race(
            job=f"Gumbel-softmax, {kind}, forward and backward, {tuple(x.shape)}",
            peer="F.gumbel_softmax",
            ours=both_passes(partial(gumbel_softmax, hard=hard), x),
            theirs=both_passes(partial(F.gumbel_softmax, hard=hard), x),
            goal=2.0,
        )
    x = 3 * draw(10_000, 100)
    target = torch.multinomial(
        torch.softmax(x / 4, -1), 1, generator=torch.Generator().manual_seed(2)
    ).squeeze(-1)
    found = [way(x, target) for way in (fit_temperature, by_general_solver)]
    yield Race(
        job=f"the temperature that fits {tuple(x.shape)} scores best",
        peer="scipy.optimize.minimize_scalar",
        ours=partial(fit_temperature, x, target),
        theirs=partial(by_general_solver, x, target),
        note=f"T = {found[0]:.4f} against {found[1]:.4f}",
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["scipy"])
