"""S4D: diagonal state matrices, whose kernel is a sum of decaying waves.

    K_k = 2 Re sum_n C_n B_bar_n A_bar_n^k

Poles come in conjugate pairs, and one of each pair is kept: N numbers of state are
N / 2 complex ones. B is one; what it could be is in C.

Source: Gu, Gupta, Goel & Ré 2022, "On the parameterization and initialization of
diagonal state space models", arXiv:2206.11893; Gupta, Gu & Berant 2022, "Diagonal
state spaces are as effective as structured state spaces", arXiv:2203.14343.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from lbdl import require
from lbdl.models.s4.dplr import legs_dplr

__all__ = [
    "s4d_poles",
    "discretize_diagonal",
    "s4d_kernel",
    "fast_s4d_kernel",
    "s4d_states",
]

INITIALISATIONS = ("lin", "inv", "legs")
METHODS = ("bilinear", "exact")
Method = Literal["bilinear", "exact"]


def s4d_poles(
    N: int,
    kind: Literal["lin", "inv", "legs"] = "lin",
    *,
    dtype: torch.dtype = torch.complex128,
) -> Tensor:
    """Where the poles of a diagonal system start: one of each conjugate pair.

        lin    -1/2 + i pi n
        inv    -1/2 + i N/pi (N / (2n + 1) - 1)
        legs   the diagonal of `legs_dplr`: LegS without its rank one

    for n = 0 ... N/2 - 1.

    Args:
        N: numbers of state, even, >= 2.
        kind: "lin", "inv" or "legs".
        dtype: a complex dtype.

    Returns:
        poles (N / 2,), with imaginary parts >= 0.

    Raises:
        TypeError: `N` is not a whole number, or `dtype` not a complex dtype.
        ValueError: `N` < 2 or odd, or the kind is unknown.

    Source: Gu, Gupta, Goel & Ré 2022, section 4, arXiv:2206.11893.
    """
    require.whole(N=N, least=2)
    require.choice(INITIALISATIONS, kind=kind)
    require.instance(torch.dtype, dtype=dtype)
    if not dtype.is_complex:
        raise TypeError(f"dtype must be a complex dtype, got {dtype}")
    if N % 2:
        raise ValueError(f"N must be even, got {N}")
    n = torch.arange(N // 2, dtype=torch.float64)
    if kind == "legs":
        imaginary = legs_dplr(N).poles.imag[N // 2 :]
    else:
        inverse = N / math.pi * (N / (2 * n + 1) - 1)
        imaginary = inverse if kind == "inv" else math.pi * n
    return torch.complex(torch.full_like(imaginary, -0.5), imaginary).to(dtype)


def discretize_diagonal(
    poles: Tensor, step: Tensor, method: Method = "exact"
) -> tuple[Tensor, Tensor]:
    """`discretize` for diagonal A and B = 1, number by number.

        exact      A_bar = e^{step a}
                   B_bar = (A_bar - 1) / a
        bilinear   A_bar = (1 + step/2 a) / (1 - step/2 a)
                   B_bar = step / (1 - step/2 a)

    Args:
        poles: a, (..., n), complex dtype, real part < 0.
        step: (...), > 0, the real dtype of `poles`.
        method: "exact" or "bilinear".

    Returns:
        A_bar (..., n) and B_bar (..., n).

    Raises:
        TypeError: `poles` is not complex, or `step` not of its real dtype.
        ValueError: shapes do not fit, a step <= 0, a real part >= 0, or the method
            is unknown.
    """
    require_diagonal(poles, step)
    require.choice(METHODS, method=method)
    z = step.unsqueeze(-1) * poles
    if method == "exact":
        return z.exp(), torch.expm1(z) / poles
    return (1 + z / 2) / (1 - z / 2), step.unsqueeze(-1) / (1 - z / 2)


def s4d_kernel(
    poles: Tensor, C: Tensor, step: Tensor, L: int, method: Method = "exact"
) -> Tensor:
    """The kernel of a diagonal system, by the Vandermonde matrix of A_bar.

        K_k = 2 Re sum_n C_n B_bar_n A_bar_n^k,    k = 0 ... L - 1

    Args:
        poles: (..., n), complex dtype, real part < 0, n >= 1.
        C: (..., n), same dtype; leading dimensions broadcast.
        step: (...), > 0, the real dtype of `poles`.
        L: >= 1.
        method: "exact" or "bilinear".

    Returns:
        K (..., L), real.

    Raises:
        TypeError: `poles` or `C` is not complex, `step` not of their real dtype, or
            `L` no whole number.
        ValueError: shapes do not fit, a step <= 0, a real part >= 0, `L` < 1, or
            the method is unknown.
    """
    A_bar, weights = weighted(poles, C, step, L, method)
    k = torch.arange(L, device=C.device, dtype=step.dtype)
    waves = (A_bar.log().unsqueeze(-1) * k).exp()  # (..., n, L)
    return 2 * torch.einsum("...n,...nl->...l", weights, waves).real


def fast_s4d_kernel(
    poles: Tensor, C: Tensor, step: Tensor, L: int, method: Method = "exact"
) -> Tensor:
    """`s4d_kernel` as one real matrix product of blocks: k = c q + r.

        K_{cq + r} = 2 Re sum_n (C_n B_bar_n A_bar_n^{cq}) (A_bar_n^r)

    With c near sqrt(L), about 2 sqrt(L) exponentials for each pole, and not L.

    Args:
        poles: (..., n), complex dtype, real part < 0, n >= 1.
        C: (..., n), same dtype; leading dimensions broadcast.
        step: (...), > 0, the real dtype of `poles`.
        L: >= 1.
        method: "exact" or "bilinear".

    Returns:
        K (..., L), real.

    Raises:
        TypeError: `poles` or `C` is not complex, `step` not of their real dtype, or
            `L` no whole number.
        ValueError: shapes do not fit, a step <= 0, a real part >= 0, `L` < 1, or
            the method is unknown.
    """
    A_bar, weights = weighted(poles, C, step, L, method)
    c = math.isqrt(L - 1) + 1
    rate = A_bar.log().unsqueeze(-2)  # (..., 1, n)
    r = torch.arange(c, device=C.device, dtype=step.dtype)[:, None]
    q = c * torch.arange(-(-L // c), device=C.device, dtype=step.dtype)[:, None]
    rows = 2 * weights.unsqueeze(-2) * (rate * q).exp()  # (..., L / c, n)
    columns = (rate * r).exp()  # (..., c, n)
    left = torch.cat([rows.real, -rows.imag], -1)
    right = torch.cat([columns.real, columns.imag], -1)
    return (left @ right.mT).flatten(-2)[..., :L]


def s4d_states(
    poles: Tensor, u: Tensor, step: Tensor, method: Method = "exact"
) -> Tensor:
    """The recurrence of a diagonal system: what generation runs.

        x_{k+1} = A_bar x_k + B_bar u_k,    y_k = 2 Re sum_n C_n x_{k+1, n}

    Args:
        poles: (..., n), complex dtype, real part < 0, n >= 1.
        u: inputs (..., L), the real dtype of `poles`, L >= 1.
        step: (...), > 0, the real dtype of `poles`.
        method: "exact" or "bilinear".

    Returns:
        x_1 ... x_L, shape (..., L, n), complex.

    Raises:
        TypeError: `poles` is not complex, or `u` or `step` not of its real dtype.
        ValueError: shapes do not fit, a step <= 0, a real part >= 0, or the method
            is unknown.
    """
    A_bar, B_bar = discretize_diagonal(poles, step, method)
    require.floating(u=u)
    require.alike(step=step, u=u)
    require.shapes(u=(u, "... L"))
    require.broadcast(poles=A_bar.shape[:-1], u=u.shape[:-1])
    x, reached = torch.zeros_like(A_bar), []
    for push in u.unbind(-1):
        x = A_bar * x + B_bar * push.unsqueeze(-1)
        reached.append(x)
    return torch.stack(reached, -2)


def weighted(
    poles: Tensor, C: Tensor, step: Tensor, L: int, method: Method
) -> tuple[Tensor, Tensor]:
    """A_bar and the weights C B_bar, after refusing what is no diagonal system."""
    A_bar, B_bar = discretize_diagonal(poles, step, method)
    require.whole(L=L, least=1)
    require.inexact(C=C)
    require.alike(poles=poles, C=C)
    require.shapes(poles=(poles, "... n"), C=(C, "... n"))
    require.broadcast(A_bar=A_bar.shape[:-1], C=C.shape[:-1])
    return A_bar, C * B_bar


def require_diagonal(poles: Tensor, step: Tensor) -> None:
    """Refuse what is no stable diagonal system with steps."""
    require.tensor(poles=poles)
    if not poles.is_complex() or poles.dtype.itemsize < 8:
        raise TypeError(
            f"poles must be a complex tensor, got {require.kind(poles)}"
        )
    require.floating(step=step)
    if step.dtype != poles.real.dtype:
        raise TypeError(
            f"step must have the real dtype of poles, {poles.real.dtype}, "
            f"got {step.dtype}"
        )
    require.shapes(poles=(poles, "... n"))
    require.broadcast(poles=poles.shape[:-1], step=step.shape)
    require.within(step=step, above=0)
    require.values(poles.real < 0, "poles must have real parts < 0")
