"""Attention as GPU kernels: scores live in registers, a block at a time, and are
never written.

Forward, a program takes some queries of one head and walks over the keys (online
softmax). Backward, one kernel walks over the queries for some keys (gradients of
keys and values), one over the keys for some queries; each computes its weights once
more from the log-sum-exp. `fast_attention` picks them on CUDA; the oracle is
`attention`, the method that of `blocks.py`.

Dao 2023, "FlashAttention-2", arXiv:2307.08691.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lbdl.kernels import block_of

__all__ = ["attention_backward", "attention_forward"]

LEAST = 16  # the smallest side of a matrix product in Triton
ROWS, COLUMNS = 64, 64  # queries and keys at a time


def attention_forward(
    q: Tensor, k: Tensor, v: Tensor, causal: bool
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(d)) v, and the log-sum-exp of every query's scores.

    Args:
        q: queries (..., n, d), float32 or half precision.
        k: keys (..., m, d), dtype and leading dimensions of `q`.
        v: values (..., m, d), dtype and leading dimensions of `q`.
        causal: the last query stands at the last key, and nobody sees the future.

    Returns:
        The result (..., n, d), dtype of `q`, and the log-sum-exps (..., n),
            float32.
    """
    q, k, v = (x.contiguous() for x in (q, k, v))
    (n, d), m = q.shape[-2:], k.shape[-2]
    result = torch.empty_like(q)
    lse = torch.empty(q.shape[:-1], dtype=torch.float32, device=q.device)
    if lse.numel():
        forward[(triton.cdiv(n, ROWS), lse[..., 0].numel())](
            q, k, v, result, lse, n, m, d**-0.5, **sizes_of(d, causal, q.dtype)
        )
    return result, lse


def attention_backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    result: Tensor,
    lse: Tensor,
    grad: Tensor,
    causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, from what `attention_forward` took and gave.

    Args:
        q: (..., n, d), as in `attention_forward`.
        k: (..., m, d).
        v: (..., m, d).
        result: (..., n, d).
        lse: (..., n), float32.
        grad: of the result, (..., n, d).
        causal: as in `attention_forward`.

    Returns:
        The three gradients, shapes and dtypes of q, k, v.
    """
    q, k, v, grad = (x.contiguous() for x in (q, k, v, grad))
    (n, d), m = q.shape[-2:], k.shape[-2]
    inner = (grad.float() * result.float()).sum(-1)  # (..., n)
    grads = dq, dk, dv = [torch.empty_like(x) for x in (q, k, v)]
    heads, how = lse[..., 0].numel(), sizes_of(d, causal, q.dtype)
    if lse.numel():
        backward_queries[(triton.cdiv(n, ROWS), heads)](
            q, k, v, grad, lse, inner, dq, n, m, d**-0.5, **how
        )
    if k.numel():
        backward_keys[(triton.cdiv(m, COLUMNS), heads)](
            q, k, v, grad, lse, inner, dk, dv, n, m, d**-0.5, **how
        )
    return tuple(grads)  # type: ignore[return-value]


def sizes_of(d: int, causal: bool, dtype: torch.dtype) -> dict[str, object]:
    """What the kernels are compiled for: full float32 for float32 tensors."""
    precision = "ieee" if dtype == torch.float32 else "tf32"
    return {
        "D": d, "SIDE": max(LEAST, block_of(d)), "ROWS": ROWS, "COLUMNS": COLUMNS,
        "CAUSAL": causal, "PRECISION": precision, "num_warps": 4 if d <= 64 else 8,
    }  # fmt: skip


@triton.jit
def load_rows(ptr, rows, n, D: tl.constexpr, SIDE: tl.constexpr):
    """Rows of a table (n, D), filled up with zeros to (ROWS, SIDE)."""
    side = tl.arange(0, SIDE)
    there = (rows < n)[:, None] & (side < D)[None, :]
    return tl.load(ptr + rows[:, None] * D + side[None, :], mask=there, other=0.0)


@triton.jit
def store_rows(ptr, rows, n, x, D: tl.constexpr, SIDE: tl.constexpr):
    side = tl.arange(0, SIDE)
    there = (rows < n)[:, None] & (side < D)[None, :]
    x = x.to(ptr.dtype.element_ty)
    tl.store(ptr + rows[:, None] * D + side[None, :], x, mask=there)


@triton.jit
def scores_of(
    q, k, rows, columns, n, m, scale, CAUSAL: tl.constexpr, PRECISION: tl.constexpr
):
    """q k^T / sqrt(d), -inf where there is no key, or one that lies ahead."""
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
    seen = (columns < m)[None, :]
    if CAUSAL:
        seen = seen & (columns[None, :] <= rows[:, None] + (m - n))
    return tl.where(seen, s, -float("inf"))


@triton.jit
def forward(
    q_ptr, k_ptr, v_ptr, o_ptr, lse_ptr, n, m, scale,
    D: tl.constexpr, SIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CAUSAL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """m' = max(m, s), l' = e^(m-m') l + sum e^(s-m'), a' = e^(m-m') a + e^(s-m') v,
    and a / l in the end."""
    head = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) * ROWS
    rows = first + tl.arange(0, ROWS)
    q = load_rows(q_ptr + head * n * D, rows, n, D, SIDE)
    k_ptr += head * m * D
    v_ptr += head * m * D
    peak = tl.full((ROWS,), -float("inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    weighted = tl.zeros((ROWS, SIDE), tl.float32)
    last = m
    if CAUSAL:
        last = tl.minimum(m, first + ROWS + m - n)
    for j in range(0, last, COLUMNS):
        columns = j + tl.arange(0, COLUMNS)
        k = load_rows(k_ptr, columns, m, D, SIDE)
        v = load_rows(v_ptr, columns, m, D, SIDE)
        s = scores_of(q, k, rows, columns, n, m, scale, CAUSAL, PRECISION)
        higher = tl.maximum(peak, tl.max(s, 1))
        base = tl.where(higher == -float("inf"), 0.0, higher)
        e = tl.exp(s - base[:, None])
        shrink = tl.exp(peak - base)
        total = total * shrink + tl.sum(e, 1)
        found = tl.dot(e.to(v.dtype), v, input_precision=PRECISION)
        weighted = weighted * shrink[:, None] + found
        peak = higher
    store_rows(o_ptr + head * n * D, rows, n, weighted / total[:, None], D, SIDE)
    tl.store(lse_ptr + head * n + rows, peak + tl.log(total), mask=rows < n)


@triton.jit
def backward_queries(
    q_ptr, k_ptr, v_ptr, g_ptr, lse_ptr, inner_ptr, dq_ptr, n, m, scale,
    D: tl.constexpr, SIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CAUSAL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """p = e^(s - lse), ds = p (g v^T - <g, result>), dq = sum of ds k / sqrt(d)."""
    head = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) * ROWS
    rows = first + tl.arange(0, ROWS)
    q = load_rows(q_ptr + head * n * D, rows, n, D, SIDE)
    g = load_rows(g_ptr + head * n * D, rows, n, D, SIDE)
    lse = tl.load(lse_ptr + head * n + rows, mask=rows < n, other=0.0)
    inner = tl.load(inner_ptr + head * n + rows, mask=rows < n, other=0.0)
    k_ptr += head * m * D
    v_ptr += head * m * D
    dq = tl.zeros((ROWS, SIDE), tl.float32)
    last = m
    if CAUSAL:
        last = tl.minimum(m, first + ROWS + m - n)
    for j in range(0, last, COLUMNS):
        columns = j + tl.arange(0, COLUMNS)
        k = load_rows(k_ptr, columns, m, D, SIDE)
        v = load_rows(v_ptr, columns, m, D, SIDE)
        s = scores_of(q, k, rows, columns, n, m, scale, CAUSAL, PRECISION)
        p = tl.exp(s - lse[:, None])
        ds = p * (
            tl.dot(g, tl.trans(v), input_precision=PRECISION) - inner[:, None]
        )
        dq += tl.dot(ds.to(k.dtype), k, input_precision=PRECISION)
    store_rows(dq_ptr + head * n * D, rows, n, dq * scale, D, SIDE)


@triton.jit
def backward_keys(
    q_ptr, k_ptr, v_ptr, g_ptr, lse_ptr, inner_ptr, dk_ptr, dv_ptr, n, m, scale,
    D: tl.constexpr, SIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CAUSAL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dv = sum over queries of p^T g, dk = sum over queries of ds^T q / sqrt(d)."""
    head = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    k = load_rows(k_ptr + head * m * D, columns, m, D, SIDE)
    v = load_rows(v_ptr + head * m * D, columns, m, D, SIDE)
    q_ptr += head * n * D
    g_ptr += head * n * D
    dk = tl.zeros((COLUMNS, SIDE), tl.float32)
    dv = tl.zeros((COLUMNS, SIDE), tl.float32)
    start = 0
    if (
        CAUSAL
    ):  # the first query that sees a key of this block, at a block's beginning
        start = tl.maximum(0, tl.program_id(0) * COLUMNS - (m - n)) // ROWS * ROWS
    for i in range(start, n, ROWS):
        rows = i + tl.arange(0, ROWS)
        q = load_rows(q_ptr, rows, n, D, SIDE)
        g = load_rows(g_ptr, rows, n, D, SIDE)
        lse = tl.load(lse_ptr + head * n + rows, mask=rows < n, other=0.0)
        inner = tl.load(inner_ptr + head * n + rows, mask=rows < n, other=0.0)
        s = scores_of(q, k, rows, columns, n, m, scale, CAUSAL, PRECISION)
        p = tl.where((rows < n)[:, None], tl.exp(s - lse[:, None]), 0.0)
        dv += tl.dot(tl.trans(p.to(g.dtype)), g, input_precision=PRECISION)
        ds = p * (
            tl.dot(g, tl.trans(v), input_precision=PRECISION) - inner[:, None]
        )
        dk += tl.dot(tl.trans(ds.to(q.dtype)), q, input_precision=PRECISION)
    store_rows(dk_ptr + head * m * D, columns, m, dk * scale, D, SIDE)
    store_rows(dv_ptr + head * m * D, columns, m, dv, D, SIDE)
