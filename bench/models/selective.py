"""The selective scan against mambapy's, and against one step after the other."""

import importlib.util
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.race import Race, main
from lbdl.models.selective import fast_selective_scan, selective_scan


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def races() -> Iterator[Race]:
    if importlib.util.find_spec("mambapy"):
        yield scan(4096, 0.75)
        yield scan(16384, 0.55)
    yield scan_step_by_step(1024)


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
        packages=[*filter(importlib.util.find_spec, ["mambapy"])],
    )
