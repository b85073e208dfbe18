"""An S4D layer against its textbook form, on a GPU."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.race import Place, Race, main
from lbdl.models.s4 import (
    fast_causal_convolution,
    fast_s4d_kernel,
    s4d_kernel,
    s4d_poles,
)


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
    yield Race(
        job="S4D layer, forward and backward, H=512, N=64, L=16384",
        peer="exp kernel, FFT convolution",
        goal=0.1,
        ours=layer(fast_s4d_kernel, place),
        theirs=layer(s4d_kernel, place),
    )


if __name__ == "__main__":
    main(__spec__, races)
