"""LegS on samples: its recurrences, whose step shrinks as the history grows, and
its matrix in O(N).

In the time tau = log t the system x' = (A x + B u) / t is the time-invariant
dx/dtau = A x + B u, and the samples k and k + 1 lie log((k + 1) / k) apart. No unit
of time is left in it. Written with v_n = sqrt(2n + 1),

    (A x)_n = n x_n - v_n (v_0 x_0 + ... + v_n x_n),

so a product is a running sum, and a solve is a recurrence of one number.

Source: Gu et al. 2020, theorem 2, propositions 3 and 4, arXiv:2008.07669.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl import require
from lbdl.models.hippo.memories import (
    basis,
    gauss_legendre,
    heights,
    hippo_legs,
    legendre,
)
from lbdl.models.state_space.discretization import (
    METHODS,
    WEIGHTS,
    Method,
)
from lbdl.models.state_space.systems import apply, require_dtype

__all__ = [
    "legs_product",
    "legs_solve",
    "fast_legs_solve",
    "legs_transitions",
    "legs_states",
]

BLOCK = 32  # entries that a solve takes at once
ENTRIES = 2**19  # of matrices that exist at a time

# --- The matrix in O(N) -----------------------------------------------------------


def legs_product(x: Tensor) -> Tensor:
    """The LegS matrix times a vector, in O(N).

        (A x)_n = n x_n - v_n sum_{k <= n} v_k x_k,    v_n = sqrt(2n + 1)

    Args:
        x: (..., N), floating or complex dtype, N >= 1.

    Returns:
        A x (..., N), dtype of `x`.

    Raises:
        TypeError: `x` is not a floating (or complex) tensor.
        ValueError: `x` has no element along its last dimension.
    """
    wide, n, v = prepared(x)
    return (n * wide - v * (v * wide).cumsum(-1)).to(x.dtype)


def legs_solve(x: Tensor, step: float | Tensor) -> Tensor:
    """The solution z of (I - step A) z = x for the LegS matrix A, in O(N).

        S_n = ((1 - step n) S_{n-1} + v_n x_n) / (1 + step (n + 1))
        z_n = (S_n - S_{n-1}) / v_n,    S_{-1} = 0

    where S_n = v_0 z_0 + ... + v_n z_n is the running sum.

    Args:
        x: (..., N), floating or complex dtype, N >= 1.
        step: >= 0, a number or a floating tensor (...) that broadcasts with the
            leading dimensions.

    Returns:
        z (..., N), dtype of `x`.

    Raises:
        TypeError: `x` is not a floating (or complex) tensor, or `step` neither
            number nor floating tensor.
        ValueError: `x` has no element along its last dimension, `step` < 0, or
            shapes do not broadcast.
    """
    wide, n, v = prepared(x)
    keep, take = step_factors(wide, n, v, step)
    S, sums = torch.zeros_like(wide[..., 0]), []
    for a, b in zip(keep.unbind(-1), (take * wide).unbind(-1), strict=True):
        S = a * S + b
        sums.append(S)
    return differences(torch.stack(sums, -1), v).to(x.dtype)


def fast_legs_solve(x: Tensor, step: float | Tensor) -> Tensor:
    """`legs_solve` in blocks of 32: within each a small matrix product, from one to
    the next a single number, found in the same way.

    Args:
        x: (..., N), floating or complex dtype, N >= 1.
        step: >= 0, a number or a floating tensor (...) that broadcasts with the
            leading dimensions.

    Returns:
        z (..., N), dtype of `x`.

    Raises:
        TypeError: `x` is not a floating (or complex) tensor, or `step` neither
            number nor floating tensor.
        ValueError: `x` has no element along its last dimension, `step` < 0, or
            shapes do not broadcast.
    """
    wide, n, v = prepared(x)
    keep, take = step_factors(wide, n, v, step)
    return differences(running_sums(keep, take * wide), v).to(x.dtype)


def running_sums(a: Tensor, b: Tensor) -> Tensor:
    """S_n = a_n S_{n-1} + b_n along the last dimension, in blocks of 32; the sums
    at their ends are the same problem, 32 times shorter."""
    n = b.shape[-1]
    if n <= BLOCK:
        return torch.einsum("...ij,...j->...i", products(a).to(b.dtype), b)
    a, b = (blocks_of(x) for x in (a, b))  # (..., blocks, 32)
    inside = torch.einsum("...kij,...kj->...ki", products(a).to(b.dtype), b)
    through = a.cumprod(-1)
    ends = running_sums(through[..., -1], inside[..., -1])
    starts = F.pad(ends[..., :-1], (1, 0)).unsqueeze(-1)
    return torch.addcmul(inside, through.to(b.dtype), starts).flatten(-2)[..., :n]


def blocks_of(x: Tensor) -> Tensor:
    """Entries (..., n) as (..., blocks, 32), the last filled up with zeros."""
    spare = -x.shape[-1] % BLOCK
    return (F.pad(x, (0, spare)) if spare else x).unflatten(-1, (-1, BLOCK))


def products(a: Tensor) -> Tensor:
    """The lower triangular matrix a_{k+1} a_{k+2} ... a_n of what is left of entry
    k at entry n: (..., b, b)."""
    b = a.shape[-1]
    strict = torch.ones(b, b, dtype=torch.bool, device=a.device).tril(-1)
    steps = torch.where(strict, a.unsqueeze(-1), 1.0)  # factor a_n where k < n
    return steps.cumprod(-2).tril()


def prepared(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x in single precision at least, n = 0 ... N - 1, and v_n = sqrt(2n + 1)."""
    require.inexact(x=x)
    N = require.shapes(x=(x, "... N"))["N"]
    wide = require.widen(x)
    n = torch.arange(N, dtype=wide.real.dtype, device=x.device)
    return wide, n, (2 * n + 1).sqrt()


def step_factors(
    x: Tensor, n: Tensor, v: Tensor, step: float | Tensor
) -> tuple[Tensor, Tensor]:
    """How much of S_{n-1} is kept, and how much of x_n taken, in the recurrence of
    a solve."""
    require.number_or_tensor(step=step, least=0)
    if isinstance(step, Tensor):
        require.broadcast(x=x.shape[:-1], step=step.shape)
        step = step.to(n.dtype).unsqueeze(-1)
    below = 1 + step * (n + 1)
    return (1 - step * n) / below, v / below


def differences(sums: Tensor, v: Tensor) -> Tensor:
    """z from its running sums S."""
    return torch.diff(sums, dim=-1, prepend=torch.zeros_like(sums[..., :1])) / v


# --- The recurrences --------------------------------------------------------------


def legs_transitions(
    N: int,
    k: Tensor,
    method: Method = "exact",
    *,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """The steps of LegS from k samples to k + 1: x_{k+1} = A_bar x_k + B_bar u_k.

        exact       as `zero_order_hold` over the step log((k + 1) / k) of log t
        otherwise   (I - b A) x_{k+1} = (I + a A) x_k + (a + b) B u_k,
                    a = (1 - w) / k,   b = w / (k + 1)

    with the weight w = 0 for "forward", 1 for "backward" and 1/2 for "bilinear".
    Each of them keeps the memory of a constant input as it is.

    Args:
        N: number of coefficients, >= 1.
        k: how many samples there have been, (...), int64, >= 1; with "exact" also
            0, where the state before does not count.
        method: "forward", "backward", "bilinear" or "exact".
        dtype: a real floating dtype.

    Returns:
        A_bar (..., N, N) and B_bar (..., N), in the scale "probability".

    Raises:
        TypeError: `N` is not a whole number, `k` not an int64 tensor, or `dtype`
            not a floating dtype.
        ValueError: `N` < 1, a `k` is too small, or the method is unknown.

    Source: Gu et al. 2020, arXiv:2008.07669, with other weights of B.
    """
    require_dtype(dtype)
    require.whole(N=N, least=1)
    require.integer(k=k)
    require.choice(METHODS, method=method)
    require.within(k=k, least=0 if method == "exact" else 1)
    if method == "exact":
        A_bar, B_bar = exact_transitions(N, k.double())
    else:
        A_bar, B_bar = weighted_transitions(N, k.double(), WEIGHTS[method])
    return A_bar.to(dtype), B_bar.to(dtype)


def exact_transitions(N: int, k: Tensor) -> tuple[Tensor, Tensor]:
    """Squeeze the remembered polynomial into the first k / (k + 1) of the history,
    let the sample fill the rest, and project: N places of quadrature are exact."""
    s, weights = (x.to(k.device) for x in gauss_legendre(N))
    share = (k / (k + 1)).unsqueeze(-1)
    places = torch.cat([share * (1 + s) - 1, 1 - (1 - share) * (1 - s)], -1)
    old, new = legendre(places, N).split(N, -2)  # (..., places, N)
    v = heights(N, "probability", s)
    projection = weights[:, None] / 2 * basis(s, N)  # (places, N)
    A_bar = (old.movedim(-1, 0) @ projection).movedim(0, -2)
    B_bar = torch.einsum("...pn,p->...n", new, weights / 2)
    return (share * v).unsqueeze(-1) * A_bar, (1 - share) * v * B_bar


def weighted_transitions(N: int, t: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """The steps of (A x + B u) / t by the slopes at both ends, weighted."""
    A, B = (x.to(t.device) for x in hippo_legs(N))
    early, late = (
        (1 - weight) / t[..., None, None],
        weight / (t[..., None, None] + 1),
    )
    identity = torch.eye(len(A)).to(A)
    right = torch.cat([identity + early * A, (early + late) * B[:, None]], -1)
    moved = torch.linalg.solve_triangular(identity - late * A, right, upper=False)
    return moved[..., :-1], moved[..., -1]


def legs_states(u: Tensor, N: int, method: Method = "exact") -> Tensor:
    """The memory of all samples so far, after each sample.

        x_1 = (u_0, 0, ..., 0),    x_{k+1} = A_bar_k x_k + B_bar_k u_k

    The first sample fills the memory exactly: it is a constant. No step in time
    occurs: every sample taken twice gives, with "exact", the same memory.

    Args:
        u: samples (..., L), floating dtype, L >= 1.
        N: number of coefficients, >= 1.
        method: "forward", "backward", "bilinear" or "exact".

    Returns:
        x_1 ... x_L, shape (..., L, N), in the scale "probability", float32 for half
        precision.

    Raises:
        TypeError: `u` is not a floating tensor, or `N` not a whole number.
        ValueError: `u` holds no sample, `N` < 1, or the method is unknown.

    Source: Gu et al. 2020, theorem 2, arXiv:2008.07669.
    """
    require.floating(u=u)
    L = require.shapes(u=(u, "... L"))["L"]
    require.whole(N=N, least=1)
    require.choice(METHODS, method=method)
    u = require.widen(u)
    x = F.pad(u[..., :1], (0, N - 1))
    reached = [x]
    for k in torch.arange(1, L, device=u.device).split(max(1, ENTRIES // N**2)):
        A_bar, B_bar = legs_transitions(N, k, method, dtype=u.dtype)
        pushes = u[..., k, None] * B_bar  # (..., steps, N)
        for A_k, push in zip(A_bar, pushes.unbind(-2), strict=True):
            x = apply(A_k, x) + push
            reached.append(x)
    return torch.stack(reached, -2)
