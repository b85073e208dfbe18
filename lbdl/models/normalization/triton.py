"""Layer norm and RMS norm as GPU kernels: a row is read once and kept in registers
until its result is written.

Backward, a program takes every so-manieth row and sums up the gradients of weight
and bias on its way; what the programs found is added at the end. `fast_layer_norm`
and `fast_rms_norm` pick these kernels on CUDA; the oracles are `layer_norm` and
`rms_norm`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lbdl.kernels import block_of, warps_of

__all__ = ["norm_backward", "norm_forward"]

PROGRAMS = 512  # that share the rows of a backward pass


def norm_forward(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, centered: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """y = w (x - mean) / sqrt(mean of (x - mean)^2 + eps) + b; without the mean for
    RMS norm.

    Args:
        x: rows (R, n), any floating dtype but float64, n <= 65536.
        weight: w (n,).
        bias: b (n,).
        eps: >= 0.
        centered: whether the mean is taken off.

    Returns:
        y (R, n), dtype of `x`; the means and the inverse deviations (R,), float32.
    """
    R, n = x.shape
    x = x.contiguous()
    y, block = torch.empty_like(x), block_of(n)
    mean = torch.zeros(R, dtype=torch.float32, device=x.device)
    inverse = torch.empty_like(mean)
    if R:
        forward[(R,)](
            x, weight.contiguous(), bias.contiguous(), y, mean, inverse, n,
            EPS=eps, CENTERED=centered, BLOCK=block, num_warps=warps_of(block),
        )  # fmt: skip
    return y, mean, inverse


def norm_backward(
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    inverse: Tensor,
    grad: Tensor,
    centered: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias.

        z = (x - mean) / s,   h = w g,   dx = (h - mean(h) - z mean(h z)) / s,
        dw = sum of g z,   db = sum of g      (without mean(h) for RMS norm)

    Args:
        x: rows (R, n), as in `norm_forward`.
        weight: w (n,).
        mean: (R,), of `norm_forward`.
        inverse: 1 / s (R,), of `norm_forward`.
        grad: g (R, n).
        centered: as in `norm_forward`.

    Returns:
        dx (R, n), dw (n,) and db (n,), in the dtypes of x and weight.
    """
    R, n = x.shape
    x, grad = x.contiguous(), grad.contiguous()
    dx, block, programs = torch.empty_like(x), block_of(n), min(R, PROGRAMS)
    parts = torch.zeros(
        2, max(1, programs), n, dtype=torch.float32, device=x.device
    )
    if R:
        backward[(programs,)](
            x, weight.contiguous(), mean, inverse, grad, dx, parts[0], parts[1],
            R, n, programs,
            CENTERED=centered, BLOCK=block, num_warps=warps_of(block),
        )  # fmt: skip
    dw, db = parts.sum(1).to(weight.dtype)
    return dx, dw, db


@triton.jit
def forward(
    x_ptr, w_ptr, b_ptr, y_ptr, mean_ptr, inverse_ptr, n,
    EPS: tl.constexpr, CENTERED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row a program, its mean taken off before it is squared."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    there = columns < n
    x = tl.load(x_ptr + row * n + columns, mask=there, other=0.0).to(tl.float32)
    if CENTERED:
        mean = tl.sum(x, 0) / n
        x = tl.where(there, x - mean, 0.0)
        tl.store(mean_ptr + row, mean)
    inverse = 1 / tl.sqrt(tl.sum(x * x, 0) / n + EPS)
    tl.store(inverse_ptr + row, inverse)
    w = tl.load(w_ptr + columns, mask=there, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + columns, mask=there, other=0.0).to(tl.float32)
    y = (w * (x * inverse) + b).to(y_ptr.dtype.element_ty)
    tl.store(y_ptr + row * n + columns, y, mask=there)


@triton.jit
def backward(
    x_ptr, w_ptr, mean_ptr, inverse_ptr, g_ptr, dx_ptr, dw_ptr, db_ptr,
    rows, n, programs,
    CENTERED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Every so-manieth row; dw and db grow along the way."""
    first = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    there = columns < n
    w = tl.load(w_ptr + columns, mask=there, other=0.0).to(tl.float32)
    dw = tl.zeros((BLOCK,), tl.float32)
    db = tl.zeros((BLOCK,), tl.float32)
    for row in range(first, rows, programs):
        place = row * n + columns
        x = tl.load(x_ptr + place, mask=there, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + place, mask=there, other=0.0).to(tl.float32)
        inverse = tl.load(inverse_ptr + row)
        z = tl.where(there, (x - tl.load(mean_ptr + row)) * inverse, 0.0)
        h = w * g
        dx = h - z * (tl.sum(h * z, 0) / n)
        if CENTERED:
            dx -= tl.sum(h, 0) / n
        dx = (dx * inverse).to(dx_ptr.dtype.element_ty)
        tl.store(dx_ptr + place, dx, mask=there)
        dw += g * z
        db += g
    tl.store(dw_ptr + first * n + columns, dw, mask=there)
    tl.store(db_ptr + first * n + columns, db, mask=there)
