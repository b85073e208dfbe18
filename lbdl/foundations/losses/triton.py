"""Cross-entropy as two GPU kernels that read nothing but the logits.

Forward reads the logits once and writes one loss and one log-sum-exp a row;
backward reads the logits once more and writes the gradient, which is the prediction
minus the target. No table of probabilities is ever stored. `fast_cross_entropy`
picks these kernels on CUDA; the oracle is `cross_entropy`.

A kernel does not look back at the host: a row with NaN, +inf, or no finite logit
has the loss NaN instead of an error.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lbdl.kernels import block_of, compute_dtype, warps_of

__all__ = ["cross_entropy_backward", "cross_entropy_forward"]

PIECE = 8192  # logits of a row that a program holds at a time


def cross_entropy_forward(
    logits: Tensor, target: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The losses of rows of logits, and their log-sum-exp.

        l = lse(x) - (1 - eps) x_t - (eps / K) sum_k x_k

    Args:
        logits: x (rows, K), any floating dtype.
        target: class numbers t (rows,), int64.
        smoothing: eps in [0, 1].

    Returns:
        l and lse(x), both (rows,): float64 for float64, else float32.
    """
    rows, K = logits.shape
    logits = logits if logits.stride(-1) == 1 else logits.contiguous()
    losses = torch.empty(rows, dtype=wide(logits.dtype), device=logits.device)
    lse, block = torch.empty_like(losses), min(PIECE, block_of(K))
    if rows:
        forward[(rows,)](
            logits, target.contiguous(), losses, lse, logits.stride(0), K,
            EPS=smoothing, BLOCK=block, DTYPE=compute_dtype(logits.dtype),
            num_warps=warps_of(block),
        )  # fmt: skip
    return losses, lse


def cross_entropy_backward(
    logits: Tensor,
    target: Tensor,
    lse: Tensor,
    grad: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """The gradient with respect to the logits:   g (softmax(x) - (1 - eps)
    onehot(t) - eps / K).

    Args:
        logits: x (rows, K), any floating dtype.
        target: class numbers t (rows,), int64.
        lse: of every row (rows,), as `cross_entropy_forward` gave it.
        grad: g (rows,), of the losses.
        smoothing: eps in [0, 1].

    Returns:
        (rows, K), dtype of `logits`.
    """
    rows, K = logits.shape
    logits = logits if logits.stride(-1) == 1 else logits.contiguous()
    dx = torch.empty((rows, K), dtype=logits.dtype, device=logits.device)
    block = min(PIECE, block_of(K))
    if rows:
        backward[(rows, triton.cdiv(K, block))](
            logits, target.contiguous(), lse, grad.contiguous(), dx,
            logits.stride(0), K,
            EPS=smoothing, BLOCK=block, DTYPE=compute_dtype(logits.dtype),
            num_warps=warps_of(block),
        )  # fmt: skip
    return dx


def wide(dtype: torch.dtype) -> torch.dtype:
    """What losses are kept in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@triton.jit
def forward(
    x_ptr,
    t_ptr,
    loss_ptr,
    lse_ptr,
    stride,
    K: tl.constexpr,
    EPS: tl.constexpr,
    BLOCK: tl.constexpr,
    DTYPE: tl.constexpr,
):
    """One row a program: a running maximum m, the sum s of exp(x - m), and the sum
    of x, piece by piece."""
    row = tl.program_id(0).to(tl.int64)
    zero = tl.sum(tl.zeros((BLOCK,), DTYPE), 0)
    m, s, total = zero - float("inf"), zero, zero
    for start in range(0, K, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        x = tl.load(
            x_ptr + row * stride + columns, mask=columns < K, other=-float("inf")
        )
        x = x.to(DTYPE)
        higher = tl.maximum(m, tl.max(x, 0))
        base = tl.where(higher == -float("inf"), 0.0, higher)
        s = s * tl.exp(m - base) + tl.sum(tl.exp(x - base), 0)
        if EPS > 0:
            total += tl.sum(tl.where(columns < K, x, 0.0), 0)
        m = higher
    lse = tl.where(m == -float("inf"), 0.0, m) + tl.log(s)
    t = tl.load(t_ptr + row)
    x_t = tl.load(
        x_ptr + row * stride + t, mask=(t >= 0) & (t < K), other=float("nan")
    )
    x_t = x_t.to(DTYPE)
    loss = lse - x_t
    if EPS > 0:
        loss = lse - (1 - EPS) * x_t - EPS / K * total
    tl.store(loss_ptr + row, loss)
    tl.store(lse_ptr + row, lse)


@triton.jit
def backward(
    x_ptr,
    t_ptr,
    lse_ptr,
    g_ptr,
    dx_ptr,
    stride,
    K: tl.constexpr,
    EPS: tl.constexpr,
    BLOCK: tl.constexpr,
    DTYPE: tl.constexpr,
):
    """One piece of one row a program: the prediction minus the target."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(
        x_ptr + row * stride + columns, mask=columns < K, other=-float("inf")
    )
    p = tl.exp(x.to(DTYPE) - tl.load(lse_ptr + row))
    q = (columns == tl.load(t_ptr + row)).to(DTYPE) * (1 - EPS) + EPS / K
    dx = (p - q) * tl.load(g_ptr + row).to(DTYPE)
    tl.store(
        dx_ptr + row * K + columns, dx.to(dx_ptr.dtype.element_ty), mask=columns < K
    )
