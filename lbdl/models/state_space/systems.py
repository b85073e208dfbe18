"""Linear time-invariant systems x' = A x + B u: their answers in time and
frequency, their coordinates, their run.

A has shape (..., N, N), B (..., N): one input, N numbers of state. After
discretisation the same letters hold with a bar: x_{k+1} = A_bar x_k + B_bar u_k.
`states` runs that recurrence as it is written; `fast_states` gives the same numbers
in blocks. Half precision is computed, and comes back, in float32.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl import require

__all__ = [
    "mass_on_a_spring",
    "impulse_response",
    "frequency_response",
    "rescale",
    "states",
    "fast_states",
]


def mass_on_a_spring(
    mass: float = 1.0,
    damping: float = 0.0,
    stiffness: float = 1.0,
    *,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """A driven mass on a spring as a linear system; its state is (position,
    velocity).

        mass y'' = u - damping y' - stiffness y

        A = [[0, 1], [-stiffness / mass, -damping / mass]],   B = [0, 1 / mass]

    Args:
        mass: > 0.
        damping: force per velocity, >= 0.
        stiffness: force per length, > 0.
        dtype: a real floating dtype.

    Returns:
        A (2, 2) and B (2,).

    Raises:
        TypeError: an argument is not a number, or `dtype` not a floating dtype.
        ValueError: a number lies outside its range.
    """
    require.number(mass=mass, stiffness=stiffness, above=0)
    require.number(damping=damping, least=0)
    require_dtype(dtype)
    A = torch.tensor(
        [[0.0, 1.0], [-stiffness / mass, -damping / mass]], dtype=dtype
    )
    return A, torch.tensor([0.0, 1 / mass], dtype=dtype)


def impulse_response(A: Tensor, B: Tensor, C: Tensor, times: Tensor) -> Tensor:
    """What comes out after a short blow: the answer to an input of area 1 at time
    0.

        h(t) = C e^{tA} B,   and for any input   y(t) = integral of h(t - s) u(s) ds

    Args:
        A: (..., N, N), floating or complex dtype, N >= 1.
        B: (..., N), same dtype.
        C: (..., N), same dtype: y = C x.
        times: (L,), >= 0, floating dtype.

    Returns:
        h (..., L).

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, or dtypes
            differ.
        ValueError: shapes do not fit, or a time is negative.
    """
    require_system(A, B, C=C)
    require.floating(times=times)
    require.shapes(times=(times, "L"))
    require.within(least=0, times=times)
    A, B, C = (require.widen(x) for x in (A, B, C))
    flow = torch.matrix_exp(A.unsqueeze(-3) * times[:, None, None])
    return torch.einsum("...n,...lnm,...m->...l", C, flow, B)


def frequency_response(A: Tensor, B: Tensor, C: Tensor, omega: Tensor) -> Tensor:
    """How a steady oscillation comes out: scaled by |H| and shifted in phase by its
    angle.

        u(t) = e^{i omega t}   gives   y(t) = H(omega) e^{i omega t}
        H(omega) = C (i omega I - A)^{-1} B

    once the answer to the start has died out; for that every eigenvalue of A needs
    a negative real part.

    Args:
        A: (..., N, N), floating or complex dtype, N >= 1.
        B: (..., N), same dtype.
        C: (..., N), same dtype.
        omega: angles a unit of time, (L,), floating dtype.

    Returns:
        H (..., L), complex.

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, or dtypes
            differ.
        ValueError: shapes do not fit, or i omega is an eigenvalue of A: resonance
            without damping.
    """
    require_system(A, B, C=C)
    require.floating(omega=omega)
    require.shapes(omega=(omega, "L"))
    A, B, C = (complexified(x) for x in (A, B, C))
    i_omega = 1j * require.widen(omega)[:, None, None]
    matrix = i_omega * torch.eye(A.shape[-1], device=A.device) - A.unsqueeze(-3)
    x = solve(
        matrix, B[..., None, :, None], "i omega must not be an eigenvalue of A"
    )
    return torch.einsum("...n,...ln->...l", C, x.squeeze(-1))


def rescale(A: Tensor, B: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The same system in other units: x = scale * x_new, number by number.

        A_new = diag(scale)^{-1} A diag(scale),    B_new = diag(scale)^{-1} B

    Args:
        A: (..., N, N), floating or complex dtype, N >= 1.
        B: (..., N), same dtype.
        scale: (N,), same dtype, without zeros.

    Returns:
        A_new (..., N, N) and B_new (..., N).

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, or dtypes
            differ.
        ValueError: shapes do not fit, or a scale is zero or NaN.
    """
    N = require_system(A, B)
    require.inexact(scale=scale)
    require.alike(A=A, scale=scale)
    if scale.shape != (N,):
        raise ValueError(
            f"scale must be (N,) with N = {N}, got shape {tuple(scale.shape)}"
        )
    require.values(scale.abs() > 0, "scale must hold no zero and no NaN")
    return A * scale / scale.unsqueeze(-1), B / scale


# --- The recurrence ---------------------------------------------------------------


def states(
    A_bar: Tensor, B_bar: Tensor, u: Tensor, start: Tensor | None = None
) -> Tensor:
    """The recurrence, one step after the other.

        x_{k+1} = A_bar x_k + B_bar u_k,    k = 0 ... L - 1

    >>> A_bar, B_bar = torch.tensor([[0.5]]), torch.tensor([1.0])
    >>> states(A_bar, B_bar, torch.tensor([1.0, 0.0, 0.0])).squeeze(-1)
    tensor([1.0000, 0.5000, 0.2500])

    Args:
        A_bar: (..., N, N), floating or complex dtype, N >= 1.
        B_bar: (..., N), same dtype.
        u: inputs (..., L), floating or complex dtype, L >= 1; leading dimensions
            broadcast.
        start: the state x_0, (..., N), dtype of `A_bar`; zero when not given.

    Returns:
        x_1 ... x_L, shape (..., L, N), in the common dtype.

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, or dtypes of
            the system differ.
        ValueError: shapes do not fit.
    """
    A_bar, B_bar, u, start = prepared_run(A_bar, B_bar, u, start)
    pushes = u.unsqueeze(-1) * B_bar.unsqueeze(-2)  # (..., L, N)
    x = start
    reached = []
    for push in pushes.unbind(-2):
        x = apply(A_bar, x) + push
        reached.append(x)
    return torch.stack(reached, -2)


def fast_states(
    A_bar: Tensor, B_bar: Tensor, u: Tensor, start: Tensor | None = None
) -> Tensor:
    """`states`, computed in blocks of about sqrt(L) / 2 steps: from block to block
    one after the other, within all blocks by one matrix product.

        x_{b+j} = A_bar^j x_b + sum_{i < j} A_bar^{j-1-i} B_bar u_{b+i}

    The powers of A_bar are taken once. That is as accurate as `states` where they
    stay bounded; where they grow beyond what the dtype holds, inf appears in both.

    Args:
        A_bar: (..., N, N), floating or complex dtype, N >= 1.
        B_bar: (..., N), same dtype.
        u: inputs (..., L), floating or complex dtype, L >= 1; leading dimensions
            broadcast.
        start: the state x_0, (..., N), dtype of `A_bar`; zero when not given.

    Returns:
        x_1 ... x_L, shape (..., L, N), in the common dtype.

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, or dtypes of
            the system differ.
        ValueError: shapes do not fit.
    """
    A_bar, B_bar, u, start = prepared_run(A_bar, B_bar, u, start)
    L, N = u.shape[-1], A_bar.shape[-1]
    c = max(1, math.isqrt(L) // 2)
    powers = stacked_powers(A_bar, c)  # (..., c N, N): A_bar, ..., A_bar^c
    after = apply(powers, B_bar).unflatten(-1, (c, N))  # an input, at age 1 ... c
    fresh = B_bar.expand_as(after[..., 0, :]).unsqueeze(-2)
    response = torch.cat([fresh, after[..., :-1, :]], -2)  # at age 0 ... c - 1
    common = torch.promote_types(u.dtype, A_bar.dtype)
    blocks = F.pad(u.to(common), (0, -L % c)).unflatten(-1, (-1, c)).flip(-1)
    ends = blocks @ response.to(common)  # of each block from rest
    starts = block_starts(powers[..., -N:, :], ends, start)
    causes = torch.cat([starts, blocks.expand(*starts.shape[:-1], c)], -1)
    effects = torch.cat([powers.mT, within_a_block(response)], -2).to(common)
    return (causes @ effects).unflatten(-1, (c, N)).flatten(-3, -2)[..., :L, :]


def stacked_powers(A: Tensor, most: int) -> Tensor:
    """A, A^2, ..., A^most, one below the other, by doubling: (..., most N, N)."""
    N, powers = A.shape[-1], A
    while powers.shape[-2] < most * N:
        powers = torch.cat([powers, powers @ powers[..., -N:, :]], -2)
    return powers[..., : most * N, :]


def within_a_block(response: Tensor) -> Tensor:
    """What the inputs of a block, the last one first, add to its states: (..., c,
    c N), from responses (..., c, N) by age."""
    c = response.shape[-2]
    later = F.pad(response, (0, 0, c - 1, 0)).unfold(-2, c, 1)  # (..., c, N, c)
    return later.transpose(-1, -2).flatten(-2)


def block_starts(power: Tensor, ends: Tensor, x: Tensor) -> Tensor:
    """The state at the start of each block, (..., blocks, N), from what each
    block's inputs cause at its end."""
    starts = []
    for end in ends.unbind(-2):
        starts.append(x.to(end.dtype).expand_as(end))
        x = apply(power, x) + end
    return torch.stack(starts, -2)


# --- What the functions of this topic share ---------------------------------------


def apply(A: Tensor, x: Tensor) -> Tensor:
    """The matrix times the vector, over leading dimensions."""
    if A.dim() == 2:
        return A @ x if x.dim() == 1 else x @ A.mT
    return (A @ x.unsqueeze(-1)).squeeze(-1)


def solve(A: Tensor, B: Tensor, else_say: str) -> Tensor:
    """A^{-1} B, or a ValueError in the caller's words where A is singular."""
    x, info = torch.linalg.solve_ex(A, B)
    require.values(info == 0, else_say)
    return x


def complexified(x: Tensor) -> Tensor:
    """A complex tensor of the same precision, single at least."""
    return (
        x
        if x.is_complex()
        else torch.complex(require.widen(x), require.widen(x) * 0)
    )


def require_system(
    A: Tensor, B: Tensor, names: tuple[str, str] = ("A", "B"), **C: Tensor
) -> int:
    """Refuse what is no system (A, B) or (A, B, C); gives N."""
    given = {names[0]: A, names[1]: B, **C}
    require.inexact(**given)
    require.alike(**given)
    patterns = ["... N N", "... N", "... N"]
    shapes: Any = {
        name: pair
        for name, *pair in zip(given, given.values(), patterns, strict=False)
    }
    return require.shapes(**shapes)["N"]


def prepared_run(
    A_bar: Tensor, B_bar: Tensor, u: Tensor, start: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Refuse what cannot be run; gives the recurrence, its inputs and its start in
    single precision at least."""
    start = torch.zeros_like(B_bar) if start is None else start
    require.inexact(A_bar=A_bar, B_bar=B_bar, u=u, start=start)
    require.alike(A_bar=A_bar, B_bar=B_bar, start=start)
    require.shapes(
        A_bar=(A_bar, "... N N"),
        B_bar=(B_bar, "... N"),
        u=(u, "... L"),
        start=(start, "... N"),
    )
    A_bar, B_bar, u, start = map(require.widen, (A_bar, B_bar, u, start))
    return A_bar, B_bar, u, start


def require_dtype(dtype: torch.dtype) -> None:
    """TypeError unless it is a real floating dtype of torch."""
    require.instance(torch.dtype, dtype=dtype)
    if not dtype.is_floating_point:
        raise TypeError(f"dtype must be a real floating dtype, got {dtype}")
