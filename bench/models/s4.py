"""Kernels and scans of state spaces against how one writes them in torch, and against mambapy."""

import importlib.util
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
    fast_selective_scan,
    kernel_by_roots,
    legs_dplr,
    s4d_kernel,
    s4d_poles,
    selective_scan,
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
    if importlib.util.find_spec("mambapy"):
        yield scan(4096, 0.75)
        yield scan(16384, 0.55)
    yield scan_step_by_step(1024)


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


def selection(L: int) -> tuple[Tensor, ...]:
    """u, delta, A, B, C for 64 channels of 16 numbers."""
    delta = torch.nn.functional.softplus(normal(1, L, 64, seed=1) - 3)
    A = -torch.arange(1.0, 17).repeat(64, 1)
    B, C = normal(1, L, 16, seed=2), normal(1, L, 16, seed=3)
    return normal(1, L, 64), delta, A, B, C


def scan(L: int, goal: float) -> Race:
    from mambapy.pscan import pscan

    def by_pscan(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor
    ) -> Tensor:
        """As mambapy's own layer calls it."""
        decay = torch.exp(delta.unsqueeze(-1) * A)
        states = pscan(
            decay, delta.unsqueeze(-1) * B.unsqueeze(2) * u.unsqueeze(-1)
        )
        return (states @ C.unsqueeze(-1)).squeeze(3)

    given = selection(L)
    return Race(
        job=f"selective scan, forward and backward, L={L}, float32",
        peer="mambapy pscan",
        goal=goal,
        memory_goal=0.1 if L > 10_000 else None,
        ours=lambda: slopes(fast_selective_scan, given),
        theirs=lambda: slopes(by_pscan, given),
    )


def scan_step_by_step(L: int) -> Race:
    given = selection(L)
    return Race(
        job=f"selective scan, forward and backward, L={L}, float32",
        peer="one step after the other",
        goal=0.3,
        ours=lambda: slopes(fast_selective_scan, given),
        theirs=lambda: slopes(selective_scan, given),
    )


def slopes(scan: Callable[..., Tensor], given: tuple[Tensor, ...]) -> Tensor:
    """The gradient of the input."""
    leaves = [x.detach().requires_grad_() for x in given]
    scan(*leaves).sum().backward()
    return leaves[0].grad


if __name__ == "__main__":
    main(
        __spec__,
        races(),
        packages=["scipy", *filter(importlib.util.find_spec, ["mambapy"])],
    )
