"""A linear system as a convolution, and its kernel without running it.

From rest, x_{k+1} = A_bar x_k + B_bar u_k and y_k = C x_{k+1} give

    y_k = sum_{j <= k} K_j u_{k-j},    K_j = C A_bar^j B_bar

The generating function of the kernel, K(z) = sum_k K_k z^k, needs no powers of
A_bar but one solve for each z; its values at the L-th roots of unity are the
Fourier transform of the kernel.

Source: Gu, Goel & Ré 2022, "Efficiently modeling long sequences with structured
state spaces", arXiv:2111.00396.
"""

import torch
from torch import Tensor

from lbdl import require
from lbdl.models.state_space.systems import (
    apply,
    complexified,
    require_system,
    solve,
)

__all__ = [
    "ssm_kernel",
    "causal_convolution",
    "fast_causal_convolution",
    "truncated",
    "unit_roots",
    "generating_function",
    "kernel_by_roots",
]


def ssm_kernel(A_bar: Tensor, B_bar: Tensor, C: Tensor, L: int) -> Tensor:
    """The answer of the recurrence to the input 1, 0, 0, ..., one power after
    another.

        K_k = C A_bar^k B_bar,    k = 0 ... L - 1

    >>> A_bar, one = torch.tensor([[0.5]]), torch.tensor([1.0])
    >>> ssm_kernel(A_bar, one, one, 3)
    tensor([1.0000, 0.5000, 0.2500])

    Args:
        A_bar: (..., N, N), floating or complex dtype, N >= 1.
        B_bar: (..., N), same dtype.
        C: (..., N), same dtype.
        L: how many, >= 1.

    Returns:
        K (..., L), float32 for half precision.

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, dtypes differ,
            or `L` is not a whole number.
        ValueError: shapes do not fit, or `L` < 1.
    """
    require_system(A_bar, B_bar, names=("A_bar", "B_bar"), C=C)
    require.whole(L=L, least=1)
    A_bar, x, C = (require.widen(each) for each in (A_bar, B_bar, C))
    values = []
    for _ in range(L):
        values.append((C * x).sum(-1))
        x = apply(A_bar, x)
    return torch.stack(torch.broadcast_tensors(*values), -1)


def causal_convolution(u: Tensor, K: Tensor) -> Tensor:
    """The past of the input, weighted by its age: one product with a Toeplitz
    matrix.

        y_k = sum_{j <= k} K_j u_{k-j}

    Args:
        u: inputs (..., L), floating dtype, L >= 1.
        K: kernels (..., L), same dtype; leading dimensions broadcast.

    Returns:
        y (..., L), dtype of `u`.

    Raises:
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes do not fit, or a tensor is empty.
    """
    L = require_signals(u, K)
    age = torch.arange(L, device=u.device)[:, None] - torch.arange(
        L, device=u.device
    )
    weights = require.widen(K)[..., age.clamp(min=0)] * (age >= 0)  # (..., L, L)
    return apply(weights, require.widen(u)).to(u.dtype)


def fast_causal_convolution(u: Tensor, K: Tensor) -> Tensor:
    """`causal_convolution` by the fast Fourier transform, in O(L log L).

        y = first L of  F^{-1}(F u * F K),    both padded with L zeros

    The transform convolves around a circle; the zeros keep the end of the input
    from coming around to its start.

    Args:
        u: inputs (..., L), floating dtype, L >= 1.
        K: kernels (..., L), same dtype; leading dimensions broadcast.

    Returns:
        y (..., L), dtype of `u`.

    Raises:
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes do not fit, or a tensor is empty.
    """
    L = require_signals(u, K)
    turned = [torch.fft.rfft(require.widen(x), n=2 * L) for x in (u, K)]
    return torch.fft.irfft(turned[0] * turned[1], n=2 * L)[..., :L].to(u.dtype)


# --- The generating function ------------------------------------------------------


def truncated(A_bar: Tensor, C: Tensor, L: int) -> Tensor:
    """The C whose endless kernel's generating function is, at the L-th roots of
    unity, that of the first L values of the kernel of `C`.

        C_L = C (I - A_bar^L)

    Args:
        A_bar: (..., N, N), floating or complex dtype, N >= 1.
        C: (..., N), same dtype.
        L: how many values, >= 1.

    Returns:
        C_L (..., N), float32 for half precision.

    Raises:
        TypeError: an argument is not a floating (or complex) tensor, dtypes differ,
            or `L` is not a whole number.
        ValueError: shapes do not fit, or `L` < 1.

    Source: Gu, Goel & Ré 2022, lemma C.2, arXiv:2111.00396.
    """
    require_system(A_bar, C, names=("A_bar", "C"))
    require.whole(L=L, least=1)
    power = torch.linalg.matrix_power(require.widen(A_bar), L)
    return require.widen(C) - apply(power.mT, require.widen(C))


def unit_roots(L: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    """The L-th roots of unity that a real signal of length L needs, clockwise.

        z_l = e^{-2 pi i l / L},    l = 0 ... floor(L / 2)

    Args:
        L: >= 1.
        dtype: a complex dtype.

    Returns:
        z (L // 2 + 1,).

    Raises:
        TypeError: `L` is not a whole number, or `dtype` not a complex dtype.
        ValueError: `L` < 1.
    """
    require.whole(L=L, least=1)
    require.instance(torch.dtype, dtype=dtype)
    if not dtype.is_complex:
        raise TypeError(f"dtype must be a complex dtype, got {dtype}")
    angle = torch.arange(L // 2 + 1, dtype=torch.float64) * (-2 * torch.pi / L)
    return torch.polar(torch.ones_like(angle), angle).to(dtype)


def generating_function(
    A: Tensor, B: Tensor, C: Tensor, step: float, z: Tensor
) -> Tensor:
    """K(z) = sum_k K_k z^k of the kernel by bilinear steps, without discretising.

        K(z) = step C ((1 - z) I - (1 + z) step/2 A)^{-1} B

    Often written with the factor 2 / (1 + z) outside, which is infinite at z = -1;
    in this form that point is like any other.

    Args:
        A: (..., N, N), floating or complex dtype, N >= 1.
        B: (..., N), same dtype.
        C: (..., N), same dtype.
        step: > 0.
        z: points (l,), complex dtype.

    Returns:
        K(z), (..., l), complex.

    Raises:
        TypeError: `A`, `B` or `C` is not a floating (or complex) tensor, dtypes
            differ, `step` is no number, or `z` not complex.
        ValueError: shapes do not fit, `step` <= 0, or the series does not converge
            to a value at some z, a pole.

    Source: Gu, Goel & Ré 2022, lemma C.3, arXiv:2111.00396.
    """
    require_system(A, B, C=C)
    require.number(step=step, above=0)
    require_points(z)
    A, B, C = (complexified(x) for x in (A, B, C))
    z = z.to(A.dtype)[:, None, None]
    eye = torch.eye(A.shape[-1]).to(A)
    matrix = (1 - z) * eye - (1 + z) * (step / 2) * A.unsqueeze(
        -3
    )  # (..., l, N, N)
    x = solve(matrix, B[..., None, :, None], "z must not be a pole of the system")
    return step * torch.einsum("...n,...ln->...l", C, x.squeeze(-1))


def kernel_by_roots(values: Tensor, L: int) -> Tensor:
    """The kernel whose generating function has these values at the roots of unity.

        K_k = 1/L sum_l K(z_l) z_l^{-k},    K real

    Args:
        values: K(z) at `unit_roots(L)`, (..., L // 2 + 1), complex dtype.
        L: length of the kernel, >= 1.

    Returns:
        K (..., L), real.

    Raises:
        TypeError: `values` is not a complex tensor, or `L` not a whole number.
        ValueError: `L` < 1, or `values` has not L // 2 + 1 elements.
    """
    require.whole(L=L, least=1)
    require_points(values, "values")
    if values.shape[-1] != L // 2 + 1:
        raise ValueError(
            f"values must be (..., L // 2 + 1) with L = {L}, "
            f"got shape {tuple(values.shape)}"
        )
    return torch.fft.irfft(values, n=L)


def require_signals(u: Tensor, K: Tensor) -> int:
    """Refuse what is no signal with a kernel of its length; gives L."""
    require.floating(u=u, K=K)
    require.alike(u=u, K=K)
    require.nonempty(u=u, K=K)
    return require.shapes(u=(u, "... L"), K=(K, "... L"))["L"]


def require_points(z: Tensor, name: str = "z") -> None:
    """Refuse what is no row of complex points."""
    require.tensor(**{name: z})
    if not z.is_complex():
        raise TypeError(f"{name} must be a complex tensor, got {require.kind(z)}")
    if z.dim() == 0 or z.shape[-1] == 0:
        raise ValueError(
            f"{name} must hold at least one point, got shape {tuple(z.shape)}"
        )
