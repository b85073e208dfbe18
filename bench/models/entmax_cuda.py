"""Sparsemax and entmax by their kernel against the `entmax` package and one copy of the table, on a GPU."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.race import Place, Race, main, of
from lbdl.models.entmax import entmax, fast_entmax

SHAPES = ((4096, 1024), (64, 32000), (8192, 32000))
FLOORS = (
    None,
    None,
    2.2,
)  # above one copy, forward: small tables stay in the cache
Map = Callable[[Tensor], Tensor]


class Contest(NamedTuple):
    """One map: the package's function, and the goals on the three shapes."""

    alpha: float
    name: str
    forward: tuple[float, float, float]
    both: tuple[float | None, float | None, float | None]


CONTESTS = (
    Contest(2.0, "sparsemax", (0.15, 0.15, 0.05), (0.2, 0.2, 0.09)),
    Contest(1.5, "entmax15", (0.12, 0.12, 0.04), (0.2, 0.2, 0.09)),
    Contest(1.25, "entmax_bisect", (0.01, 0.01, 0.01), (None, None, None)),
)


def both_passes(f: Map, x: Tensor) -> Callable[[], Tensor]:
    """A job: the probabilities, and the gradient of their product with a fixed table."""
    x, grad = x.clone().requires_grad_(), torch.randn_like(x)
    return lambda: torch.autograd.grad(f(x), x, grad)[0]


def forward(f: Map, x: Tensor) -> Callable[[], Tensor]:
    """A job: the probabilities."""
    return lambda: f(x)


def peers(contest: Contest) -> Callable[[Any], Map]:
    """The package's map, as a function of the package."""
    bisects = contest.name == "entmax_bisect"
    more = (contest.alpha,) if bisects else ()
    return lambda entmax: lambda x: getattr(entmax, contest.name)(x, *more)


def races(place: Place) -> Iterator[Race]:
    for which, sizes in enumerate(SHAPES):
        x = torch.randn(place.shape(*sizes), device=place.device)
        for contest in CONTESTS:
            yield from of_one(contest, which, x)


def of_one(contest: Contest, which: int, x: Tensor) -> Iterator[Race]:
    """One map on one table: forward, its errors on some rows, forward and backward."""
    ours = partial(fast_entmax, alpha=contest.alpha)
    theirs = of("entmax", peers(contest))
    jobs = [("forward", forward, contest.forward, FLOORS[which])]
    jobs += [("forward and backward", both_passes, contest.both, None)]
    named = f"entmax-{contest.alpha}, {{}}, {SHAPES[which]}"
    for name, job, goals, floor in jobs:
        yield Race(
            job=named.format(name),
            peer=f"entmax.{contest.name}",
            ours=job(ours, x),
            theirs=theirs and job(theirs, x),
            goal=goals[which],
            table=x,
            floor_goal=floor,
        )
    few = x[:64]
    yield Race(
        job=named.format("64 rows and their errors"),
        peer=f"entmax.{contest.name}",
        ours=forward(ours, few),
        theirs=theirs and forward(theirs, few),
        reference=lambda: entmax(few.double(), contest.alpha),
    )


if __name__ == "__main__":
    main(__spec__, races, packages=["entmax", "triton"])
