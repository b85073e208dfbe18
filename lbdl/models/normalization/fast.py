"""Layer norm and RMS norm by one kernel a direction, on CUDA where Triton is
installed; elsewhere by the plain functions."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lbdl import kernels
from lbdl.models.normalization.norms import layer_norm, require_affine, rms_norm


def fast_layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """`layer_norm` over the last dimension.

        y = w (x - mean) / sqrt(variance + eps) + b

    By the kernel it is differentiable once.

    Args:
        x: (..., n), floating dtype.
        weight: w (n,), dtype of `x`, or None.
        bias: b (n,), dtype of `x`, or None.
        eps: >= 0.

    Returns:
        y, shape and dtype of `x`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `eps` is no number.
        ValueError: shapes do not fit, or `eps` is negative.

    Source: Ba, Kiros & Hinton 2016, equation 4, arXiv:1607.06450.
    """
    if not kernel_serves(x):
        return layer_norm(x, weight, bias, eps=eps)
    return by_kernel(x, weight, bias, eps, True)


def fast_rms_norm(
    x: Tensor, weight: Tensor | None = None, eps: float = 1e-6
) -> Tensor:
    """`rms_norm`.

        y = w x / sqrt(mean of x^2 + eps)

    By the kernel it is differentiable once.

    Args:
        x: (..., n), floating dtype.
        weight: w (n,), dtype of `x`, or None.
        eps: >= 0.

    Returns:
        y, shape and dtype of `x`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `eps` is no number.
        ValueError: shapes do not fit, or `eps` is negative.

    Source: Zhang & Sennrich 2019, equation 4, arXiv:1910.07467.
    """
    if not kernel_serves(x):
        return rms_norm(x, weight, eps)
    return by_kernel(x, weight, None, eps, False)


def kernel_serves(x: Any) -> bool:
    """Whether a kernel takes it: on CUDA, not in float64, rows fit a program."""
    if not isinstance(x, Tensor) or x.dim() == 0 or not x.is_floating_point():
        return False
    fits = 0 < x.shape[-1] <= kernels.LONGEST_ROW and x.dtype != torch.float64
    return fits and kernels.serve(x)


def by_kernel(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    centered: bool,
) -> Tensor:
    """The norm, with ones and zeros where there is no weight or bias."""
    require_affine(x, weight, bias, x.shape[-1:])
    weight = x.new_ones(x.shape[-1]) if weight is None else weight
    bias = x.new_zeros(x.shape[-1]) if bias is None else bias
    return KernelNorm.apply(x, weight, bias, eps, centered)


class KernelNorm(torch.autograd.Function):
    """The norm of each row (..., n); keeps two numbers a row."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        centered: bool,
    ) -> Tensor:
        from lbdl.models.normalization.triton import norm_forward

        rows = x.reshape(-1, x.shape[-1])
        y, mean, inverse = norm_forward(rows, weight, bias, eps, centered)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.centered = centered
        return y.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from lbdl.models.normalization.triton import norm_backward

        x, weight, mean, inverse = ctx.saved_tensors
        rows, n = x.reshape(-1, x.shape[-1]), x.shape[-1]
        dx, dw, db = norm_backward(
            rows, weight, mean, inverse, grad.reshape(-1, n), ctx.centered
        )
        return dx.view(x.shape), dw, db, None, None
