"""The tape, forward mode and clipping against torch's own."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.race import Race, main
from lbdl.foundations.backpropagation import (
    Variable,
    clip_by_global_norm_,
    cross_entropy,
    jvp,
)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- A training step


def network(x, w1, b1, w2, b2, w3, b3):
    return ((x @ w1 + b1).relu() @ w2 + b2).relu() @ w3 + b3


def weights_of(width: int) -> list[Tensor]:
    shapes = ((64, width), (width,), (width, width), (width,), (width, 10), (10,))
    return [randn(*shape, seed=i) / 8 for i, shape in enumerate(shapes)]


def step(tape: bool, width: int, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """A step of gradient descent on the first weights, whose result is the same each time."""
    weights = [
        Variable(w) if tape else w.requires_grad_() for w in weights_of(width)
    ]
    loss_of = cross_entropy if tape else F.cross_entropy

    def job() -> Tensor:
        for w in weights:
            w.grad = None
        loss_of(network(x, *weights), y).backward()
        first = weights[0].value if tape else weights[0].detach()
        return first - 0.1 * weights[0].grad

    return job


# --- Clipping


def clipping(ours: bool, limits: Iterator[float]) -> Callable[[], Tensor]:
    """A job: clip a hundred gradients to the next of the limits."""
    parameters = [nn.Parameter(torch.zeros(100_000)) for _ in range(100)]
    for i, p in enumerate(parameters):
        p.grad = randn(100_000, seed=i)
    if ours:
        return lambda: clip_by_global_norm_(
            [p.grad for p in parameters], next(limits)
        )
    return lambda: nn.utils.clip_grad_norm_(parameters, next(limits))


def falling() -> Iterator[float]:
    """Limits below the norm that the last one left: the gradients are always too long."""
    return (1000 * 0.999**i for i in count())


# --- Forward mode


def curve(x):
    for _ in range(20):
        x = (x * 1.1).tanh()
    return x


def races() -> Iterator[Race]:
    for width, batch, goal in ((32, 32, 2.75), (128, 128, 2.0), (512, 512, 1.3)):
        x, y = randn(batch, 64, seed=9), torch.arange(batch) % 10
        yield Race(
            job=f"training step, 3 dense layers of {width}, batch {batch}",
            peer="torch.autograd",
            ours=step(True, width, x, y),
            theirs=step(False, width, x, y),
            goal=goal,
        )
    for limits, goal, which in (
        (falling, 1.1, "too long"),
        (partial(repeat, 1e6), 0.6, "short enough"),
    ):
        yield Race(
            job=f"clipping 100 gradients of 100000, {which}",
            peer="torch.nn.utils.clip_grad_norm_",
            ours=clipping(True, limits()),
            theirs=clipping(False, limits()),
            goal=goal,
        )
    x, t = randn(512, 512), randn(512, 512, seed=1)
    yield Race(
        job="J t of 20 layers element by element, 512 x 512",
        peer="torch.func.jvp",
        ours=lambda: jvp(curve, [x], [t])[1],
        theirs=lambda: torch.func.jvp(curve, (x,), (t,))[1],
        goal=1.1,
    )


if __name__ == "__main__":
    main(__spec__, races())
