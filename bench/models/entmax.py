"""Sparsemax and entmax against the `entmax` package: forward, forward and backward, peaked and nearly uniform rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import entmax as peer
import torch
from torch import Tensor

from bench.race import Race, main
from lbdl.models.entmax import fast_entmax, fast_entmax15, fast_sparsemax

Map = Callable[[Tensor], Tensor]
SHAPES = ((4096, 1024), (64, 32000))
# standard deviation of the scores: rows with small and with large support
SPREADS = {
    1.0: "peaked",
    0.05: "flat",
}


def ours125(x: Tensor) -> Tensor:
    return fast_entmax(x, 1.25)


def peers125(x: Tensor) -> Tensor:
    return peer.entmax_bisect(
        x, 1.25, n_iter=50 if x.dtype == torch.float32 else 60
    )


def scores(shape: tuple[int, int], spread: float) -> Tensor:
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def forward_and_backward(f: Map, x: Tensor) -> Callable[[], Tensor]:
    """A job: the probabilities, and then the gradient of their product with a fixed table."""
    x = x.clone().requires_grad_()
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    return lambda: torch.autograd.grad(f(x), x, grad)[0]


@dataclass(frozen=True)
class Contest:
    """One map: who runs, and the goals on the shapes (4096, 1024) and (64, 32000)."""

    name: str
    peer: str
    ours: Map
    theirs: Map
    forward: tuple[float, float]
    both: tuple[float, float]


CONTESTS = (
    Contest(
        "sparsemax",
        "entmax.sparsemax",
        fast_sparsemax,
        peer.sparsemax,
        (0.12, 0.06),
        (0.14, 0.14),
    ),
    Contest(
        "entmax-1.5",
        "entmax.entmax15",
        fast_entmax15,
        peer.entmax15,
        (0.20, 0.08),
        (0.20, 0.08),
    ),
    Contest(
        "entmax-1.25",
        "entmax.entmax_bisect",
        ours125,
        peers125,
        (0.06, 0.06),
        (0.20, 0.20),
    ),
)
# The package's own shortcut: sort the k largest, again with 2k where that was too few. The k that serves it best:
SHORTCUTS = {
    ("sparsemax", SHAPES[0]): 8,
    ("sparsemax", SHAPES[1]): 32,
    ("entmax-1.5", SHAPES[0]): 64,
    ("entmax-1.5", SHAPES[1]): 64,
}
MEMORY = 0.45


def races() -> Iterator[Race]:
    for shape, spread in product(SHAPES, SPREADS):
        for contest in CONTESTS:
            yield from against_package(
                contest, scores(shape, spread), f"{shape}, {SPREADS[spread]}"
            )
    for contest, shape in product(CONTESTS[:2], SHAPES):
        yield against_shortcut(
            contest,
            scores(shape, 1.0),
            f"{shape}, peaked",
            SHORTCUTS[contest.name, shape],
        )


def against_package(contest: Contest, x: Tensor, where: str) -> Iterator[Race]:
    """Forward, with its error against the package in float64; then forward and backward, with its memory."""
    which = SHAPES.index(tuple(x.shape))
    yield Race(
        job=f"{contest.name}, forward, {where}",
        peer=contest.peer,
        ours=lambda: contest.ours(x),
        theirs=lambda: contest.theirs(x),
        goal=contest.forward[which],
        reference=lambda: contest.theirs(x.double()),
    )
    yield Race(
        job=f"{contest.name}, forward+backward, {where}",
        peer=contest.peer,
        ours=forward_and_backward(contest.ours, x),
        theirs=forward_and_backward(contest.theirs, x),
        goal=contest.both[which],
        memory_goal=MEMORY,
    )


def against_shortcut(contest: Contest, x: Tensor, where: str, k: int) -> Race:
    """Forward and backward against the package's partial sort."""
    return Race(
        job=f"{contest.name}, forward+backward, {where}",
        peer=f"{contest.peer}(k={k})",
        ours=forward_and_backward(contest.ours, x),
        theirs=forward_and_backward(partial(contest.theirs, k=k), x),
        goal=1.0,
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["entmax"])
