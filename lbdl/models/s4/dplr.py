"""Normal plus low rank: LegS in coordinates in which it is nearly diagonal.

LegS cannot be diagonalised in practice: its eigenvectors are nearly parallel. But
A + P P^T with P_n = sqrt(n + 1/2) is -1/2 I plus a skew-symmetric matrix, which has
orthonormal eigenvectors. In their coordinates

    A = diag(poles) - P P^*

and (z - A)^{-1} is that of the diagonal, corrected by rank one (Woodbury).

Source: Gu, Goel & Ré 2022, theorem 1 and algorithm 1, arXiv:2111.00396.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lbdl import require
from lbdl.models.hippo import hippo_legs
from lbdl.models.s4.kernels import kernel_by_roots, unit_roots

__all__ = [
    "DPLR",
    "legs_dplr",
    "woodbury_inverse",
    "cauchy_sums",
    "fast_cauchy_sums",
    "dplr_kernel",
    "fast_dplr_kernel",
]

CHUNK = 64  # points whose Cauchy matrix exists at a time


class DPLR(NamedTuple):
    """A = V (diag(poles) - P P^*) V^* and B = V B_here, with V unitary.

    Args:
        poles: (N,), complex, real part -1/2.
        P: (N,), complex.
        B: (N,), complex: B in the new coordinates.
        V: (N, N), complex, unitary: its columns are the new coordinate vectors.
    """

    poles: Tensor
    P: Tensor
    B: Tensor
    V: Tensor


def legs_dplr(N: int, *, dtype: torch.dtype = torch.complex128) -> DPLR:
    """LegS as a diagonal less rank one, by an eigendecomposition that is safe.

        A + P P^T = -1/2 I + skew-symmetric,    P_n = sqrt(n + 1/2)

    Args:
        N: number of coefficients, >= 1.
        dtype: a complex dtype.

    Returns:
        poles, P, B and V, in ascending order of the imaginary parts of the poles.

    Raises:
        TypeError: `N` is not a whole number, or `dtype` not a complex dtype.
        ValueError: `N` < 1.

    Source: Gu, Goel & Ré 2022, appendix C.1, arXiv:2111.00396.
    """
    require.instance(torch.dtype, dtype=dtype)
    if not dtype.is_complex:
        raise TypeError(f"dtype must be a complex dtype, got {dtype}")
    A, B = hippo_legs(N)
    P = B / 2**0.5
    skew = A + torch.outer(P, P) + 0.5 * torch.eye(N, dtype=A.dtype)
    frequencies, V = torch.linalg.eigh(-1j * skew)
    poles = torch.complex(torch.full_like(frequencies, -0.5), frequencies)
    turned = [V.mH @ x.to(V.dtype) for x in (P, B)]
    return DPLR(*(x.to(dtype) for x in (poles, *turned, V)))


def woodbury_inverse(D_inverse: Tensor, U: Tensor, W: Tensor) -> Tensor:
    """The inverse of a matrix that was changed by low rank, from the inverse
    before.

        (D - U W^*)^{-1} = D^{-1} + D^{-1} U (I - W^* D^{-1} U)^{-1} W^* D^{-1}

    Args:
        D_inverse: D^{-1}, (..., N, N), floating or complex dtype, N >= 1.
        U: (..., N, r), same dtype.
        W: (..., N, r), same dtype.

    Returns:
        (..., N, N).

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, or dtypes
            differ.
        ValueError: shapes do not fit, or the changed matrix, D_inverse with U and
            W, has no inverse.

    Source: Woodbury 1950, "Inverting modified matrices".
    """
    require.inexact(D_inverse=D_inverse, U=U, W=W)
    require.alike(D_inverse=D_inverse, U=U, W=W)
    sizes = {"D_inverse": (D_inverse, "... N N"), "U": (U, "... N r")}
    require.shapes(**sizes, W=(W, "... N r"))  # type: ignore[arg-type]
    D_inverse, U, W = map(require.widen, (D_inverse, U, W))
    small = torch.eye(U.shape[-1]).to(U) - W.mH @ D_inverse @ U
    middle, info = torch.linalg.solve_ex(small, W.mH @ D_inverse)
    require.values(info == 0, "D_inverse, U and W must leave an inverse")
    return D_inverse + D_inverse @ U @ middle


# --- Cauchy sums ------------------------------------------------------------------


def cauchy_sums(weights: Tensor, poles: Tensor, z: Tensor) -> Tensor:
    """Sums over the same poles at many points, all at once.

        s_jl = sum_n weights_jn / ((1 - z_l) - (1 + z_l) poles_n)

    Times 1 + z this is a Cauchy sum, of weights_n / ((1 - z)/(1 + z) - poles_n); in
    this form the point z = -1 is like any other.

    Args:
        weights: (..., J, N), complex dtype, J >= 1, N >= 1.
        poles: (..., N), same dtype; leading dimensions broadcast.
        z: points (l,), same dtype.

    Returns:
        s (..., J, l).

    Raises:
        TypeError: an argument is not a complex tensor, or dtypes differ.
        ValueError: shapes do not fit.
    """
    require_poles(weights, poles, z)
    return weights @ cauchy_matrix(poles, z)


def cauchy_matrix(poles: Tensor, z: Tensor) -> Tensor:
    """1 / ((1 - z_l) - (1 + z_l) poles_n), shape (..., N, l)."""
    return 1 / ((1 - z) - (1 + z) * poles.unsqueeze(-1))


def fast_cauchy_sums(weights: Tensor, poles: Tensor, z: Tensor) -> Tensor:
    """`cauchy_sums` in O(N + l) memory: 64 points at a time, forth and back.

    No `torch.func`: the way back is written by hand, once. No `torch.compile`: it
    loops over pieces of the points.

    Args:
        weights: (..., J, N), complex dtype, J >= 1, N >= 1.
        poles: (..., N), same dtype; leading dimensions broadcast.
        z: points (l,), same dtype; gets no gradient.

    Returns:
        s (..., J, l).

    Raises:
        TypeError: an argument is not a complex tensor, or dtypes differ.
        ValueError: shapes do not fit.
    """
    require_poles(weights, poles, z)
    batch = torch.broadcast_shapes(weights.shape[:-2], poles.shape[:-1])
    wide = weights.expand(*batch, *weights.shape[-2:])
    return CauchySums.apply(wide, poles.expand(*batch, poles.shape[-1]), z)


class CauchySums(torch.autograd.Function):
    """Cauchy sums whose matrix is made again on the way back, a piece at a time."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, poles: Tensor, z: Tensor) -> Tensor:
        ctx.save_for_backward(weights, poles, z)
        pieces = [weights @ cauchy_matrix(poles, p) for p in z.split(CHUNK)]
        return torch.cat(pieces, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, poles, z = ctx.saved_tensors
        to_weights, to_poles = torch.zeros_like(weights), torch.zeros_like(poles)
        for p, g in zip(z.split(CHUNK), grad.split(CHUNK, -1), strict=True):
            matrix = cauchy_matrix(poles, p)
            to_weights += g @ matrix.mH
            slope = (1 + p) * matrix.square()
            to_poles += (weights.conj() * (g @ slope.mH)).sum(-2)
        return to_weights, to_poles, None


def dplr_kernel(
    poles: Tensor, P: Tensor, B: Tensor, C: Tensor, step: Tensor, L: int
) -> Tensor:
    """The kernel of bilinear steps of A = diag(poles) - P P^*, by four Cauchy sums.

        K(z) = step (k_CB - (1 + z) k_CP k_PB / (1 + (1 + z) k_PP)),
        k_xy(z) = sum_n x_n y_n / ((1 - z) - (1 + z) step/2 poles_n)

    at the roots of unity, then one inverse Fourier transform. Here P in k_CP and
    k_PB is scaled by sqrt(step / 2), and its first factor conjugated. `C` is the
    `truncated` one, as a row: y = C x.

    Args:
        poles: (..., N), complex dtype, N >= 1.
        P: (..., N), same dtype.
        B: (..., N), same dtype.
        C: (..., N), same dtype.
        step: (...), > 0, the real dtype of `poles`.
        L: length of the kernel, >= 1.

    Returns:
        K (..., L), real: the real part of the kernel's transform's inverse.

    Raises:
        TypeError: an argument is not of the dtype named, or `L` no whole number.
        ValueError: shapes do not fit, a step <= 0, or `L` < 1.

    Source: Gu, Goel & Ré 2022, algorithm 1, arXiv:2111.00396.
    """
    return by_sums(cauchy_sums, poles, P, B, C, step, L)


def fast_dplr_kernel(
    poles: Tensor, P: Tensor, B: Tensor, C: Tensor, step: Tensor, L: int
) -> Tensor:
    """`dplr_kernel` in O(N + L) memory a kernel, by `fast_cauchy_sums`.

    No `torch.func`: its sums have a way back of their own. No `torch.compile`: they
    loop over pieces of the points.

    Args:
        poles: (..., N), complex dtype, N >= 1.
        P: (..., N), same dtype.
        B: (..., N), same dtype.
        C: (..., N), same dtype.
        step: (...), > 0, the real dtype of `poles`.
        L: length of the kernel, >= 1.

    Returns:
        K (..., L), real.

    Raises:
        TypeError: an argument is not of the dtype named, or `L` no whole number.
        ValueError: shapes do not fit, a step <= 0, or `L` < 1.

    Source: Gu, Goel & Ré 2022, algorithm 1, arXiv:2111.00396.
    """
    return by_sums(fast_cauchy_sums, poles, P, B, C, step, L)


def by_sums(
    sums: Any, poles: Tensor, P: Tensor, B: Tensor, C: Tensor, step: Tensor, L: int
) -> Tensor:
    """The kernel, by one way or the other to compute Cauchy sums."""
    require_dplr(poles, P, B, C, step)
    z = unit_roots(L, poles.dtype).to(poles.device)
    half = (step / 2).unsqueeze(-1)
    scaled = half.sqrt() * P
    pairs = [C * B, C * scaled, scaled.conj() * B, scaled.conj() * scaled]
    weights = torch.stack(torch.broadcast_tensors(*pairs), -2)  # (..., 4, N)
    k = sums(weights, half * poles, z).unbind(-2)
    correction = (1 + z) * k[1] * k[2] / (1 + (1 + z) * k[3])
    return kernel_by_roots(step.unsqueeze(-1) * (k[0] - correction), L)


def require_poles(weights: Tensor, poles: Tensor, z: Tensor) -> None:
    """Refuse what are no weights at poles, and no points."""
    for name, x in {"weights": weights, "poles": poles, "z": z}.items():
        require.tensor(**{name: x})
        if not x.is_complex() or x.dtype.itemsize < 8:
            raise TypeError(
                f"{name} must be a complex tensor, got {require.kind(x)}"
            )
    require.alike(weights=weights, poles=poles, z=z)
    require.shapes(weights=(weights, "... J N"), poles=(poles, "... N"), z=(z, "l"))


def require_dplr(
    poles: Tensor, P: Tensor, B: Tensor, C: Tensor, step: Tensor
) -> None:
    """Refuse what is no diagonal-plus-low-rank system with steps."""
    for name, x in {"poles": poles, "P": P, "B": B, "C": C}.items():
        require.tensor(**{name: x})
        if not x.is_complex() or x.dtype.itemsize < 8:
            raise TypeError(
                f"{name} must be a complex tensor, got {require.kind(x)}"
            )
    require.alike(poles=poles, P=P, B=B, C=C)
    require.floating(step=step)
    require.within(step=step, above=0)
    shapes: Any = {"poles": (poles, "... N"), "P": (P, "... N"), "B": (B, "... N")}
    require.shapes(**shapes, C=(C, "... N"))
    require.broadcast(poles=poles.shape[:-1], C=C.shape[:-1], step=step.shape)
    if step.dtype != poles.real.dtype:
        raise TypeError(
            f"step must have the real dtype of poles, {poles.real.dtype}, "
            f"got {step.dtype}"
        )
