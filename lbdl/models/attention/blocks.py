"""Attention piece by piece: the table of n x m scores never stands in memory as a
whole.

Forward, a block of queries meets one block of keys after the other, and keeps three
things a row: the largest score so far, the total of the exponentials, and the sum
of the values weighted by them (the online softmax). Backward, each block of scores
is computed once more from queries, keys, and the log-sum-exp of every row, which is
all that was saved.

Dao et al. 2022, arXiv:2205.14135; the online softmax: Milakov & Gimelshein 2018,
arXiv:1805.02867.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lbdl import kernels, require
from lbdl.models.softmax import merge, summarize

ROWS = 128  # queries at a time of the fast way on a CPU


def block_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    rows: int = 64,
    columns: int | None = 64,
) -> Tensor:
    """Exactly `attention`, in memory that grows like n instead of n m.

        m' = max(m, max_j s_j),   l' = e^(m-m') l + sum_j e^(s_j-m'),
        a' = e^(m-m') a + sum_j e^(s_j-m') v_j,   result = a / l

    Differentiable once.

    Args:
        q: queries (..., n, d), floating dtype.
        k: keys (..., m, d), dtype and leading dimensions of `q`.
        v: values (..., m, e), dtype and leading dimensions of `q`.
        causal: as in `attention`; needs n <= m.
        rows: queries at a time, >= 1.
        columns: keys at a time, >= 1; None takes all of them at once.

    Returns:
        (..., n, e), dtype of `q`.

    Raises:
        TypeError: q, k, v are not floating tensors of one dtype, or a block size no
            whole number.
        ValueError: shapes do not fit, a block size is below 1, or `q` or `k` is not
            finite (not looked at by the kernel).

    No `torch.func`: the backward pass is written down, once; `attention` has all.

    Source: Dao et al. 2022, Algorithms 1 and 4, arXiv:2205.14135.
    """
    sizes = require.fitting(q=(q, "... n d"), k=(k, "... m d"), v=(v, "... m e"))
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        raise ValueError(
            f"k, v must have the leading dimensions of q, {tuple(q.shape[:-2])}, "
            f"got {tuple(k.shape[:-2])} and {tuple(v.shape[:-2])}"
        )
    columns = sizes["m"] if columns is None else columns
    require.whole(rows=rows, columns=columns, least=1)
    if causal and sizes["n"] > sizes["m"]:
        raise ValueError(f"q must have no more places than k, got {sizes['n']}")
    if not kernel_serves(q, k, v):
        require.finite(q=q, k=k)
    return BlockAttention.apply(q, k, v, causal, rows, columns)


def fast_attention(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False
) -> Tensor:
    """`attention` by blocks: on CUDA a kernel, where Triton is installed, else some
    queries at a time against all the keys that they may see.

    Differentiable once.

    Args:
        q: queries (..., n, d), floating dtype.
        k: keys (..., m, d), dtype and leading dimensions of `q`.
        v: values (..., m, e), dtype and leading dimensions of `q`.
        causal: as in `attention`; needs n <= m.

    Returns:
        (..., n, e), dtype of `q`.

    Raises:
        TypeError: q, k, v are not floating tensors of one dtype.
        ValueError: shapes do not fit, or `q` or `k` is not finite (not looked at by
            the kernel).

    No `torch.func`: the backward pass is written down, once; `attention` has all.

    Source: Dao et al. 2022, arXiv:2205.14135.
    """
    return block_attention(q, k, v, causal=causal, rows=ROWS, columns=None)


class BlockAttention(torch.autograd.Function):
    """Attention of q (..., n, d), k (..., m, d), v (..., m, e), one block at a
    time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        causal: bool,
        rows: int,
        columns: int,
    ) -> Tensor:
        ctx.blocks = causal, rows, columns
        if kernel_serves(q, k, v):
            from lbdl.models.attention.triton import attention_forward

            result, lse = attention_forward(q, k, v, causal)
        else:
            result, lse = forward_in_blocks(q, k, v, *ctx.blocks)
        ctx.save_for_backward(q, k, v, result, lse)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, result, lse = ctx.saved_tensors
        if kernel_serves(q, k, v):
            from lbdl.models.attention.triton import attention_backward

            grads = attention_backward(q, k, v, result, lse, grad, ctx.blocks[0])
        else:
            grads = backward_in_blocks(q, k, v, result, lse, grad, *ctx.blocks)
        return *grads, None, None, None


def kernel_serves(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether the kernel does the work: on CUDA, not in float64, heads of one size
    up to 256.
    """
    sizes = q.shape[-1], v.shape[-1]
    fits = sizes[0] == sizes[1] and sizes[0] <= 256
    return fits and q.dtype != torch.float64 and kernels.serve(q, k, v)


def forward_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, rows: int, columns: int
) -> tuple[Tensor, Tensor]:
    """The result (..., n, e), and the log-sum-exp of every query's scores (...,
    n).
    """
    n, m = q.shape[-2], k.shape[-2]
    result = q.new_empty((*q.shape[:-1], v.shape[-1]))
    lse = require.widen(q[..., 0]).new_empty(q.shape[:-1])
    for i in range(0, n, rows):
        block = slice(i, min(i + rows, n))
        # keys that somebody here sees
        last = min(m, block.stop + m - n) if causal else m
        found, total = one_row_of_blocks(
            q[..., block, :], k, v, i + m - n, last, causal, columns
        )
        result[..., block, :], lse[..., block] = found.to(q.dtype), total
    return result, lse


def one_row_of_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    first: int,
    last: int,
    causal: bool,
    columns: int,
) -> tuple[Tensor, Tensor]:
    """Some queries, the first at place `first`, against the keys before `last`:
    what is known of the scores so far is merged with the next block."""
    q, seen = require.widen(q), None
    for j in range(0, last, columns):
        block = slice(j, min(j + columns, last))
        s = scores_of(q, k[..., block, :], first, j, causal)
        new = summarize(s, require.widen(v[..., block, :]))
        seen = new if seen is None else merge(seen, new)
    assert seen is not None  # there is a key
    return seen.mean(), seen.logsumexp()


def scores_of(q: Tensor, k: Tensor, first: int, j: int, causal: bool) -> Tensor:
    """Scores of queries from place `first` on against keys from place j on; -inf
    where a key lies ahead.
    """
    s = (q * q.shape[-1] ** -0.5) @ require.widen(k).mT
    rows, columns = s.shape[-2:]
    if not causal or j + columns - 1 <= first:
        return s
    ahead = torch.ones(rows, columns, dtype=torch.bool, device=s.device).triu(
        1 + first - j
    )
    return s.masked_fill_(ahead, -math.inf)


def backward_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, result: Tensor, lse: Tensor, grad: Tensor,
    causal: bool, rows: int, columns: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of q, k, v: every block of weights is computed once more from
    the log-sum-exp.

    p = e^(s - lse),  dv = p^T g,  ds = p (g v^T - <g, result>),  dq = ds k /
    sqrt(d),  dk = ds^T q / sqrt(d)
    """
    n, m, scale = q.shape[-2], k.shape[-2], q.shape[-1] ** -0.5
    dq, dk, dv = (torch.zeros_like(require.widen(x)) for x in (q, k, v))
    grad, q_wide = require.widen(grad), require.widen(q)
    inner = (grad * require.widen(result)).sum(-1, keepdim=True)
    for i in range(0, n, rows):
        a = slice(i, min(i + rows, n))
        last = min(m, a.stop + m - n) if causal else m
        g, own_q = grad[..., a, :], q_wide[..., a, :]
        for j in range(0, last, columns):
            b = slice(j, min(j + columns, last))
            own_k, own_v = require.widen(k[..., b, :]), require.widen(v[..., b, :])
            s = scores_of(own_q, own_k, i + m - n, j, causal)
            p = (s - lse[..., a, None]).exp_()
            dv[..., b, :] += p.mT @ g
            ds = p.mul_(g @ own_v.mT - inner[..., a, :]).mul_(scale)
            dq[..., a, :] += ds @ own_k
            dk[..., b, :] += ds.mT @ own_q
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)
