"""HiPPO: LegS in O(N) against its dense matrix, and its exact steps against SciPy's discretisation."""

from collections.abc import Iterator

import numpy as np
import scipy.linalg
import scipy.signal
import torch
from torch import Tensor

from bench.race import Race, main
from lbdl.models.hippo import (
    fast_legs_solve,
    hippo_legs,
    legs_product,
    legs_states,
)


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(
        *shape, dtype=dtype, generator=torch.Generator().manual_seed(0)
    )


def races() -> Iterator[Race]:
    yield product(256)
    yield product(2048)
    yield solves(256)
    yield solves(2048)
    yield solves_with_the_matrix(256)
    yield solves_with_the_matrix(2048)
    yield history()


def product(N: int) -> Race:
    A, x = hippo_legs(N, dtype=torch.float32)[0], normal(64, N, dtype=torch.float32)
    wide = hippo_legs(N)[0]
    return Race(
        job=f"LegS matrix times 64 vectors, N={N}, float32",
        peer="x @ A.mT, A made before",
        goal=1.0 if N < 1000 else 0.2,
        ours=lambda: legs_product(x),
        theirs=lambda: x @ A.mT,
        reference=lambda: x.double() @ wide.mT,
    )


def solves(N: int) -> Race:
    x = normal(64, N)
    left = torch.eye(N).double() - 0.01 * hippo_legs(N)[0]
    columns = np.asfortranarray(x.mT.numpy())
    options = {"lower": True, "check_finite": False}
    return Race(
        job=f"LegS solves for 64 vectors, N={N}, float64",
        peer="scipy solve_triangular",
        goal=1.0 if N < 1000 else 0.1,
        ours=lambda: fast_legs_solve(x, 0.01),
        theirs=lambda: (
            scipy.linalg.solve_triangular(left.numpy(), columns, **options).T
        ),
        note="The peer's matrix is made before; at each step of LegS it is another.",
    )


def solves_with_the_matrix(N: int) -> Race:
    """As a step of LegS has it: with a factor of its own, so with a matrix of its own."""
    x, A = normal(64, N), hippo_legs(N)[0]
    eye = torch.eye(N).double()
    return Race(
        job=f"the same, the matrix made at each step, N={N}",
        peer="torch solve_triangular",
        goal=1.0 if N < 1000 else 0.3,
        ours=lambda: fast_legs_solve(x, 0.01),
        theirs=lambda: (
            torch.linalg.solve_triangular(eye - 0.01 * A, x.mT, upper=False).mT
        ),
    )


def history() -> Race:
    u = normal(300)
    A, B = (x.numpy() for x in hippo_legs(32))
    rest = np.eye(32), np.zeros((32, 1))

    def by_scipy() -> np.ndarray:
        """One cont2discrete for each sample, as the recurrence is published."""
        x = np.eye(32)[0] * u[0].item()
        for k in range(1, 300):
            peer = (A, B[:, None], *rest)
            A_bar, B_bar = scipy.signal.cont2discrete(peer, np.log1p(1 / k), "zoh")[
                :2
            ]
            x = A_bar @ x + B_bar[:, 0] * u[k].item()
        return x

    return Race(
        job="exact LegS over 300 samples, N=32, float64",
        peer="cont2discrete at each sample",
        goal=0.3,
        ours=lambda: legs_states(u, 32)[-1],
        theirs=by_scipy,
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["numpy", "scipy"])
