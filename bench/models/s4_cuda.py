"""The selective scan by its kernels against mambapy, and an S4D layer against its textbook form, on a GPU."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.race import Place, Race, main, of
from lbdl.models.s4 import (
    fast_causal_convolution,
    fast_s4d_kernel,
    fast_selective_scan,
    s4d_kernel,
    s4d_poles,
)


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


def layer(make: Callable[..., Tensor], place: Place) -> Callable[[], Tensor]:
    """A job: the layer, and the gradient of what it reads of its states."""
    H, N, L = place.shape(512, 64, 16384)
    u = torch.randn(1, H, L, device=place.device)
    poles = s4d_poles(N, dtype=torch.complex64).to(place.device).expand(H, -1)
    C = torch.randn(poles.shape, dtype=torch.complex64, device=place.device)
    step = torch.logspace(-3, -1, H, device=place.device)
    C = C.requires_grad_()

    def job() -> Tensor:
        y = fast_causal_convolution(u, make(poles, C, step, L))
        return torch.view_as_real(torch.autograd.grad(y.sum(), C)[0])

    return job


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
    yield Race(
        job="S4D layer, forward and backward, H=512, N=64, L=16384",
        peer="exp kernel, FFT convolution",
        goal=0.1,
        ours=layer(fast_s4d_kernel, place),
        theirs=layer(s4d_kernel, place),
    )


if __name__ == "__main__":
    main(__spec__, races, packages=["mambapy", "triton"])
