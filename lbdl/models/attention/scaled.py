"""Scaled dot-product attention, and who may look at whom.

Every query asks all keys, and takes the mean of their values, weighted by how well
the keys fit.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lbdl import require

Map = Callable[[Tensor], Tensor]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    bias: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    mapping: Map | None = None,
) -> Tensor:
    """Means of values, weighted by how well keys fit queries. The plain way.

        attention(q, k, v) = softmax(q k^T / sqrt(d)) v

    A query that may look at nothing gets 0. Half precision is computed in float32.

    >>> q, k, v = torch.randn(3, 2, 5, 8)  # two heads, five places
    >>> attention(q, k, v, causal=True).shape
    torch.Size([2, 5, 8])

    Args:
        q: queries (..., n, d), floating dtype.
        k: keys (..., m, d), dtype of `q`.
        v: values (..., m, e), dtype of `q`.
        mask: bool, broadcasts to (..., n, m); true where query i may look at key j.
        bias: added to the scores, floating, broadcasts to (..., n, m).
        causal: query i sees the keys up to its own place; the last query stands at
            the last key, so that n < m are the newest places of a longer text.
        scale: in place of 1 / sqrt(d); finite.
        mapping: from scores (..., n, m) to weights, over the last dimension, with 0
            where a score is -inf; by default softmax.

    Returns:
        (..., n, e), dtype of `q`.

    Raises:
        TypeError: q, k, v are not floating tensors of one dtype, the mask is not
            bool, or `scale` no number.
        ValueError: shapes do not fit, or `scale` is not finite.

    Source: Vaswani et al. 2017, equation 1, arXiv:1706.03762.
    """
    require.fitting(q=(q, "... n d"), k=(k, "... m d"), v=(v, "... m e"))
    scores = attention_scores(q, k, scale)
    if bias is not None:
        require.floating(bias=bias)
        require.broadcast_to(scores.shape, bias=bias)
        scores = scores + bias
    mask = allowed(mask, scores.shape, causal, q.device)
    weights = attention_weights(scores, mask, mapping)
    return (weights @ require.widen(v)).to(q.dtype)


def attention_scores(q: Tensor, k: Tensor, scale: float | None = None) -> Tensor:
    """How well keys fit queries, before they compete.

        s_ij = q_i . k_j / sqrt(d)

    If the entries of q and k are independent with variance 1, so is that of s;
    without the root it is d, and softmax saturates.

    Args:
        q: queries (..., n, d), floating dtype.
        k: keys (..., m, d), dtype of `q`.
        scale: in place of 1 / sqrt(d); finite.

    Returns:
        (..., n, m), float32 for half precision, else dtype of `q`.

    Raises:
        TypeError: q, k are not floating tensors of one dtype, or `scale` no number.
        ValueError: shapes do not fit, or `scale` is not finite.

    Source: Vaswani et al. 2017, section 3.2.1, arXiv:1706.03762.
    """
    sizes = require.fitting(q=(q, "... n d"), k=(k, "... m d"))
    if scale is not None:
        require.number(scale=scale)
    scale = sizes["d"] ** -0.5 if scale is None else scale
    return (require.widen(q) * scale) @ require.widen(k).mT


def attention_weights(
    scores: Tensor, mask: Tensor | None = None, mapping: Map | None = None
) -> Tensor:
    """Scores as weights that sum to 1 over the keys a query may look at; 0
    everywhere for a query that may look at none.

        w_ij = exp(s_ij) / sum_{j' allowed} exp(s_ij')   where allowed, else 0

    Masked scores become -inf. Multiplying them by 0 instead would leave exp(0) = 1.

    Args:
        scores: s (..., n, m), floating dtype.
        mask: bool, broadcasts to (..., n, m); true where allowed.
        mapping: from scores to weights, over the last dimension; by default
            softmax.

    Returns:
        w (..., n, m), dtype of `scores`.

    Raises:
        TypeError: `scores` is not floating, the mask not bool, or `mapping` no
            function.
        ValueError: there is no key, or the mask does not broadcast to the scores.
    """
    require.floating(scores=scores)
    require.shapes(scores=(scores, "... n m"))
    mapping = softmax_over_keys if mapping is None else mapping
    require.function(mapping=mapping)
    if mask is None:
        return mapping(scores)
    require.boolean(mask=mask)
    require.broadcast_to(scores.shape, mask=mask)
    some = mask.any(-1, keepdim=True)
    # a row without a key keeps its scores, and loses its weights afterwards: no NaN
    # on the way
    return mapping(scores.masked_fill(~mask & some, -math.inf)) * some


def softmax_over_keys(scores: Tensor) -> Tensor:
    """softmax over the last dimension."""
    return scores.softmax(-1)


def allowed(
    mask: Tensor | None, shape: torch.Size, causal: bool, device: torch.device
) -> Tensor | None:
    """A mask for scores of a shape (..., n, m), with the causal order where that is
    asked for; None where all is allowed."""
    if mask is not None:
        require.boolean(mask=mask)
        require.broadcast_to(shape, mask=mask)
    if not causal:
        return mask
    order = causal_mask(*shape[-2:], device=device)
    return order if mask is None else order & mask


def causal_mask(
    n: int, m: int | None = None, *, device: torch.device | str | None = None
) -> Tensor:
    """Who may look at whom where nobody sees the future.

        mask_ij = (j <= i + m - n)

    Args:
        n: queries, the last n of m places, 1 <= n <= m.
        m: keys; by default n.
        device: where the mask lies.

    Returns:
        bool (n, m).

    Raises:
        TypeError: n or m is no whole number.
        ValueError: n is below 1, or above m.
    """
    m = n if m is None else m
    require.whole(m=m, least=1)
    require.whole(n=n, least=1, most=m)
    return torch.ones(n, m, dtype=torch.bool, device=device).tril(m - n)


def padding_mask(lengths: Tensor, m: int) -> Tensor:
    """Who may be looked at where texts of different lengths are filled up to m
    places.

        mask_bj = (j < length_b)

    Args:
        lengths: of the texts (B,), int64, from 0 to m.
        m: places, >= 1.

    Returns:
        bool (B, 1, 1, m): for scores (B, heads, n, m).

    Raises:
        TypeError: `lengths` is not int64, or m no whole number.
        ValueError: m is below 1, or a length is out of range.
    """
    require.integer(lengths=lengths)
    require.shapes(lengths=(lengths, "B"))
    require.whole(m=m, least=1)
    require.within(lengths=lengths, least=0, most=m)
    places = torch.arange(m, device=lengths.device)
    return (places < lengths[:, None])[:, None, None]  # (B, 1, 1, m)
