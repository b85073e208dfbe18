"""State spaces against SciPy's discretisation and simulation."""

from collections.abc import Iterator

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from bench.race import Race, main
from lbdl.models.hippo import hippo_legt
from lbdl.models.state_space import discretize, fast_states


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(
        *shape, dtype=dtype, generator=torch.Generator().manual_seed(0)
    )


def races() -> Iterator[Race]:
    yield exact_step(64)
    yield bilinear_step(64)
    yield bilinear_step(256)
    yield many_steps()
    yield simulation()


def system(N: int, window: float = 1.0) -> tuple[np.ndarray, ...]:
    """LegT in SciPy's form."""
    A, B = (x.numpy() for x in hippo_legt(N, window))
    return A, B[:, None], np.eye(N), np.zeros((N, 1))


def exact_step(N: int) -> Race:
    A, B = hippo_legt(N)
    peer = system(N)
    block = torch.zeros(N + 1, N + 1, dtype=A.dtype)
    block[:N] = 1e-3 * torch.cat([A, B[:, None]], -1)
    return Race(
        job=f"discretise LegT, exact, N={N}, float64",
        peer="scipy cont2discrete 'zoh'",
        ours=lambda: discretize(A, B, 1e-3, "exact"),
        theirs=lambda: scipy.signal.cont2discrete(peer, 1e-3, "zoh")[:2],
        floor=lambda: torch.matrix_exp(block),
        note="The floor is torch's matrix exponential alone.",
    )


def bilinear_step(N: int) -> Race:
    A, B = hippo_legt(N)
    peer = system(N)
    return Race(
        job=f"discretise LegT, bilinear, N={N}, float64",
        peer="scipy cont2discrete 'bilinear'",
        goal=1.0,
        ours=lambda: discretize(A, B, 1e-3, "bilinear"),
        theirs=lambda: scipy.signal.cont2discrete(peer, 1e-3, "bilinear")[:2],
    )


def many_steps() -> Race:
    A, B = hippo_legt(64)
    peer, steps = system(64), torch.linspace(1e-4, 1e-2, 64).double()
    return Race(
        job="discretise LegT, bilinear, 64 steps, N=64, float64",
        peer="a loop of cont2discrete",
        goal=1.0,
        ours=lambda: discretize(A, B, steps, "bilinear")[0],
        theirs=lambda: np.stack(
            [
                scipy.signal.cont2discrete(peer, step, "bilinear")[0]
                for step in steps.tolist()
            ]
        ),
        note="A layer with a step for each channel: one batched solve.",
    )


def simulation() -> Race:
    A_bar, B_bar = discretize(*hippo_legt(64), 1e-3, "exact")
    u = normal(4096)
    peer = (A_bar.numpy(), B_bar.numpy()[:, None], *system(64)[2:], 1e-3)
    return Race(
        job="run 4096 samples, N=64, float64",
        peer="scipy.signal.dlsim",
        goal=0.2,
        ours=lambda: fast_states(A_bar, B_bar, u),
        theirs=lambda: scipy.signal.dlsim(peer, u.numpy())[2],
        note="Blocks of 32 steps; all states are kept by both.",
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["numpy", "scipy"])
