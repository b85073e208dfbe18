"""Entmax as one GPU kernel a direction: a program takes a row, and keeps it in
registers until it is done.

Forward reads the scores once and writes the probabilities once; backward reads
probabilities and gradient and writes one table. `fast_entmax` picks these kernels
on CUDA; the oracle is `entmax` of `maps.py`, the method that of `fast.py`: Newton's
method on the m-norm for alpha <= 2, bisection of the largest probability above.

A kernel does not look back at the host: a row with NaN, +inf, or no finite score
becomes NaN instead of an error.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from lbdl.kernels import block_of, compute_dtype, warps_of

__all__ = ["entmax_backward", "entmax_forward"]

MAX_STEPS = 64  # of Newton's method: total excess times slope falls fourfold a step


def entmax_forward(x: Tensor, alpha: float) -> Tensor:
    """Entmax of each row of scores, alpha > 1.

    Args:
        x: scores (rows, n), any floating dtype, 1 <= n <= 65536; -inf marks an
            element that must get 0.
        alpha: above 1.

    Returns:
        Probabilities (rows, n), dtype of `x`; NaN in a row that has no answer.

    Source: Peters, Niculae & Martins 2019, arXiv:1905.05702, with Newton's method
        in place of Algorithm 1.
    """
    rows, n = x.shape
    x = x if x.stride(-1) == 1 else x.contiguous()
    p = torch.empty((rows, n), dtype=x.dtype, device=x.device)
    block = block_of(n)
    launch = forward_newton if alpha <= 2 else forward_bisect
    if rows:
        launch[(rows,)](
            x, p, n, x.stride(0), p.stride(0),
            ALPHA=alpha, M=1 / (alpha - 1), NEAR=near(x.dtype, alpha),
            HALVINGS=halvings(x.dtype),
            STEPS=MAX_STEPS, BLOCK=block, DTYPE=compute_dtype(x.dtype),
            num_warps=warps_of(block),
        )  # fmt: skip
    return p


def entmax_backward(p: Tensor, grad: Tensor, alpha: float) -> Tensor:
    """The gradient with respect to the scores:   s (g - <s, g> / sum(s)),
    s = p^(2-alpha) on the support.

    Args:
        p: probabilities (rows, n), any floating dtype, 1 <= n <= 65536.
        grad: g (rows, n).
        alpha: the alpha that made `p`, above 1.

    Returns:
        (rows, n), dtype of `p`.

    Source: Peters, Niculae & Martins 2019, section 3, arXiv:1905.05702.
    """
    rows, n = p.shape
    p, grad = (t if t.stride(-1) == 1 else t.contiguous() for t in (p, grad))
    dx = torch.empty((rows, n), dtype=p.dtype, device=p.device)
    block = block_of(n)
    if rows:
        backward[(rows,)](
            p, grad, dx, n, p.stride(0), grad.stride(0), dx.stride(0),
            ALPHA=alpha, BLOCK=block, DTYPE=compute_dtype(p.dtype),
            num_warps=warps_of(block),
        )  # fmt: skip
    return dx


def near(dtype: torch.dtype, alpha: float) -> float:
    """A relative step of r after which what is left of its error, squared, is below
    rounding."""
    eps = torch.finfo(
        torch.float64 if dtype == torch.float64 else torch.float32
    ).eps
    return (alpha - 1) * eps ** (1 / 2 if alpha <= 1.5 else 2 / 3)


def halvings(dtype: torch.dtype) -> int:
    """How often a bracket from 1/n to 1 is halved until nothing is left of it."""
    eps = torch.finfo(
        torch.float64 if dtype == torch.float64 else torch.float32
    ).eps
    return int(-math.log2(eps)) + 4


@triton.jit
def scores_below_top(x_ptr, n, stride, BLOCK: tl.constexpr, DTYPE: tl.constexpr):
    """The row's scores minus their maximum; NaN everywhere in a row that holds one,
    or +inf, or nothing but -inf."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    x = tl.load(
        x_ptr + row * stride + columns, mask=columns < n, other=-float("inf")
    )
    x = x.to(DTYPE)
    is_bad = tl.max((x != x).to(tl.int32), 0) > 0
    top = tl.where(is_bad, float("nan"), tl.max(x, 0))
    return tl.where(columns < n, x - top, -float("inf"))


@triton.jit
def store_row(p_ptr, p, n, stride, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    tl.store(
        p_ptr + row * stride + columns,
        p.to(p_ptr.dtype.element_ty),
        mask=columns < n,
    )


@triton.jit
def powers(z, r, ALPHA: tl.constexpr, M: tl.constexpr):
    """t^(m-1) and t^m for t = relu(z + r): products where m is 1 or 2, else by
    logarithms that stay exact near 1."""
    t = tl.maximum(z + r, 0.0)
    if ALPHA == 2.0:
        lower = (t > 0).to(t.dtype)
        full = t
    elif ALPHA == 1.5:
        lower = t
        full = t * t
    else:
        inside = t > 0
        ratio = tl.where(inside, 1 + z / r, 1.0)
        # log(1 + u) exactly: u log(w) / (w - 1) with w = 1 + u rounded (Kahan)
        off = tl.where(ratio == 1.0, 1.0, ratio - 1)
        u = tl.where(inside, z / r, 0.0)
        log = tl.where(ratio == 1.0, u, tl.log(ratio) * (u / off)) + tl.log(r)
        lower = tl.where(inside, tl.exp((M - 1) * log), 0.0)
        full = tl.where(inside, tl.exp(M * log), 0.0)
    return lower, full


@triton.jit
def forward_newton(
    x_ptr, p_ptr, n, x_stride, p_stride,
    ALPHA: tl.constexpr, M: tl.constexpr, NEAR: tl.constexpr,
    HALVINGS: tl.constexpr,
    STEPS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """1 < alpha <= 2:   r <- r - (S - S^(2-alpha)) / D,   from r = 1 down, S = sum
    t^m, D = sum t^(m-1)."""
    z = scores_below_top(x_ptr, n, x_stride, BLOCK, DTYPE) * (ALPHA - 1)
    r = tl.sum(tl.zeros((BLOCK,), DTYPE), 0) + 1.0
    steps = 0
    going = 1
    while going > 0:
        lower, full = powers(z, r, ALPHA, M)
        total = tl.sum(full, 0)
        rest = tl.exp((2 - ALPHA) * tl.log(total))
        step = (total - rest) / tl.sum(lower, 0)
        r -= step
        steps += 1
        going = ((step > NEAR * r) & (steps < STEPS)).to(tl.int32)
    lower, full = powers(z, r, ALPHA, M)
    excess = (tl.sum(full, 0) - 1) / tl.sum(lower, 0)  # goes off where it came in
    p = tl.where(z != z, z, tl.maximum(full - excess * lower, 0.0))
    store_row(p_ptr, p, n, p_stride, BLOCK)


@triton.jit
def with_peak(z, peak, ALPHA: tl.constexpr, M: tl.constexpr):
    """P exp_alpha(z / P^(alpha-1)): the probabilities if the largest is P.

    By logarithms, since P^(alpha-1) may vanish.
    """
    # 0 where z is
    lead = tl.exp(tl.log(-(ALPHA - 1) * z) - (ALPHA - 1) * tl.log(peak))
    inside = lead < 1
    p = peak * tl.exp(M * tl.log(tl.where(inside, 1 - lead, 1.0)))
    return tl.where(inside, p, 0.0)


@triton.jit
def forward_bisect(
    x_ptr, p_ptr, n, x_stride, p_stride,
    ALPHA: tl.constexpr, M: tl.constexpr, NEAR: tl.constexpr,
    HALVINGS: tl.constexpr,
    STEPS: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """alpha > 2, where the total is not convex in r: halve the bracket
    1/n <= P <= 1 of the largest probability."""
    z = scores_below_top(x_ptr, n, x_stride, BLOCK, DTYPE)
    high = tl.sum(tl.zeros((BLOCK,), DTYPE), 0) + 1.0
    low = high / n
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_much = tl.sum(with_peak(z, middle, ALPHA, M), 0) > 1
        low = tl.where(too_much, low, middle)
        high = tl.where(too_much, middle, high)
    p = with_peak(z, high, ALPHA, M)
    p = tl.where(z != z, z, p / tl.sum(p, 0))
    store_row(p_ptr, p, n, p_stride, BLOCK)


@triton.jit
def backward(
    p_ptr, g_ptr, dx_ptr, n, p_stride, g_stride, dx_stride,
    ALPHA: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """s (g - <s, g> / sum(s)): off the support nothing moves, and no gradient is
    read."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    p = tl.load(p_ptr + row * p_stride + columns, mask=columns < n, other=0.0).to(
        DTYPE
    )
    inside = p > 0
    g = tl.load(g_ptr + row * g_stride + columns, mask=inside, other=0.0).to(DTYPE)
    if ALPHA == 2.0:
        s = inside.to(DTYPE)
    elif ALPHA == 1.5:
        s = tl.sqrt(p)
    else:
        s = tl.where(
            inside, tl.exp((2 - ALPHA) * tl.log(tl.where(inside, p, 1.0))), 0.0
        )
    mean = tl.sum(s * g, 0) / tl.sum(s, 0)
    dx = tl.where(p != p, p, s * (g - mean))
    store_row(dx_ptr, dx, n, dx_stride, BLOCK)
