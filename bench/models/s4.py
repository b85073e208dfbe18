"""Kernels of state spaces against how one writes them in torch, and their convolution against SciPy's."""

from collections.abc import Callable, Iterator
from typing import Any

import scipy.signal
import torch
from torch import Tensor

from bench.race import Race, main
from lbdl.models.s4 import (
    cauchy_sums,
    fast_causal_convolution,
    fast_dplr_kernel,
    fast_s4d_kernel,
    kernel_by_roots,
    legs_dplr,
    s4d_kernel,
    s4d_poles,
    unit_roots,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def races() -> Iterator[Race]:
    yield kernel(4096, 0.05)
    yield kernel(16384, 0.03)
    yield layer(4096)
    yield dplr(4096)
    yield convolution(4096)


def diagonal(H: int, N: int) -> tuple[Tensor, Tensor, Tensor]:
    """poles (H, N), C (H, N) and steps (H,) in single precision."""
    poles = s4d_poles(2 * N, dtype=torch.complex64).expand(H, N).clone()
    C = torch.complex(normal(H, N), normal(H, N, seed=1))
    return poles, C, torch.logspace(-3, -1, H)


def kernel(L: int, goal: float) -> Race:
    system = diagonal(64, 32)
    return Race(
        job=f"S4D kernel, H=64, N=32, L={L}, float32",
        peer="exp of the Vandermonde matrix",
        goal=goal,
        ours=lambda: fast_s4d_kernel(*system, L),
        theirs=lambda: s4d_kernel(*system, L),
    )


def layer(L: int) -> Race:
    u = normal(1, 64, L)
    return Race(
        job=f"S4D layer, forward and backward, L={L}, float32",
        peer="exp kernel, FFT convolution",
        goal=0.07,
        ours=lambda: backward(fast_s4d_kernel, diagonal(64, 32), u),
        theirs=lambda: backward(s4d_kernel, diagonal(64, 32), u),
    )


def backward(make: Callable[..., Tensor], system: Any, u: Tensor) -> Tensor:
    """The gradient of C, through the kernel and the convolution."""
    poles, C, step = (x.requires_grad_() for x in system)
    fast_causal_convolution(u, make(poles, C, step, u.shape[-1])).sum().backward()
    return torch.view_as_real(C.grad)


def dplr(L: int) -> Race:
    poles, P, B, V = legs_dplr(64, dtype=torch.complex64)
    C = normal(64, 64).to(V.dtype) @ V
    step = torch.logspace(-3, -1, 64)
    return Race(
        job=f"S4 kernel, forward and backward, H=64, N=64, L={L}, float32",
        peer="Cauchy matrix, all at once",
        goal=1.0,
        memory_goal=0.5,
        ours=lambda: through(fast_dplr_kernel, poles, P, B, C, step, L),
        theirs=lambda: through(by_one_matrix, poles, P, B, C, step, L),
    )


def through(make: Callable[..., Tensor], *system: Any) -> Tensor:
    """The gradient of C through a kernel."""
    poles, P, B, C, step, L = system
    C = C.detach().requires_grad_()
    make(poles, P, B, C, step, L).square().sum().backward()
    return torch.view_as_real(C.grad)


def by_one_matrix(
    poles: Tensor, P: Tensor, B: Tensor, C: Tensor, step: Tensor, L: int
) -> Tensor:
    """Algorithm 1 of S4 with the whole Cauchy matrix in memory."""
    z = unit_roots(L, poles.dtype)
    half = (step / 2)[:, None]
    Q = half.sqrt() * P
    weights = torch.stack(
        [C * B, C * Q, (Q.conj() * B).expand_as(C), (Q.conj() * Q).expand_as(C)], -2
    )
    k = cauchy_sums(weights, half * poles, z).unbind(-2)
    values = k[0] - (1 + z) * k[1] * k[2] / (1 + (1 + z) * k[3])
    return kernel_by_roots(step[:, None] * values, L)


def convolution(L: int) -> Race:
    u, K = normal(64, L), normal(64, L, seed=1)
    return Race(
        job=f"causal convolution, 64 channels, L={L}, float32",
        peer="scipy fftconvolve",
        goal=1.0,
        ours=lambda: fast_causal_convolution(u, K),
        theirs=lambda: scipy.signal.fftconvolve(u, K, axes=-1)[:, :L],
        reference=lambda: fast_causal_convolution(u.double(), K.double()),
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["scipy"])
