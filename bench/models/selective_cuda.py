"""The selective scan by its kernels against mambapy, on a GPU."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.race import Place, Race, main, of
from lbdl.models.selective import fast_selective_scan


def slopes(
    scan: Callable[..., Tensor], given: tuple[Tensor, ...]
) -> Callable[[], tuple[Tensor, ...]]:
    """A job: the scan, and the gradients of all that it is given."""
    leaves = [x.clone().requires_grad_() for x in given]
    return lambda: torch.autograd.grad(scan(*leaves).sum(), leaves)


def by_pscan(package: Any) -> Callable[..., Tensor]:
    """The scan as mambapy's own layer calls it."""

    def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        decay = torch.exp(delta.unsqueeze(-1) * A)
        written = delta.unsqueeze(-1) * B.unsqueeze(2) * u.unsqueeze(-1)
        return (package.pscan(decay, written) @ C.unsqueeze(-1)).squeeze(3)

    return scan


def selection(place: Place) -> tuple[Tensor, ...]:
    """u, delta, A, B, C."""
    L, D, N = (*place.shape(4096, 1024), 16)
    draw = lambda *shape: torch.randn(shape, device=place.device)
    delta = torch.nn.functional.softplus(draw(1, L, D) - 3)
    A = -torch.arange(1.0, N + 1, device=place.device).repeat(D, 1)
    return draw(1, L, D), delta, A, draw(1, L, N), draw(1, L, N)


def races(place: Place) -> Iterator[Race]:
    given = selection(place)
    yield Race(
        job="selective scan, forward and backward, D=1024, N=16, L=4096",
        peer="mambapy pscan",
        goal=0.1,
        ours=slopes(fast_selective_scan, given),
        theirs=of(
            "mambapy.pscan", lambda package: slopes(by_pscan(package), given)
        ),
        table=given[0],
    )


if __name__ == "__main__":
    main(__spec__, races, packages=["mambapy", "triton"])
