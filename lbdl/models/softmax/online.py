"""Softmax in one pass: a weighted mean whose weights are a softmax, of scores that
come block by block.

Plain softmax reads its scores three times: for the maximum, for the sum, for the
quotients. If only a weighted mean of values is wanted, as in attention, one pass
will do. What was read so far is summed up in three things: the largest score m, the
sum of exponentials l and the sum of weighted values a, both taken relative to m.
When a larger score comes, the old sums are scaled down by e^(m_old - m_new).
Nothing of the size of the scores is kept, and blocks may be merged in any grouping:
the answer is exact.

Milakov & Gimelshein 2018, arXiv:1805.02867 (the running sum); Rabe & Staats 2021,
arXiv:2112.05682, and Dao et al. 2022, arXiv:2205.14135 (the weighted values; the
core of FlashAttention).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "OnlineSoftmax",
    "merge",
    "nothing_seen",
    "online_softmax",
    "summarize",
]


class OnlineSoftmax(NamedTuple):
    """What is to be known of the scores x and values v that were read so far.

        m = max_j x_j,    l = sum_j e^(x_j - m),    a = sum_j e^(x_j - m) v_j

    Where nothing was seen, or nothing but -inf: m = -inf, l = 0, a = 0.

    Args:
        peak: m (..., T), float32 or float64.
        total: l (..., T).
        weighted: a (..., T, d).
    """

    peak: Tensor
    total: Tensor
    weighted: Tensor

    def mean(self) -> Tensor:
        """The mean of the values, a / l (..., T, d): ValueError in a row where
        nothing was seen, NaN where that cannot be looked at."""
        require.peaks(scores=self.peak)
        return self.weighted / self.total.unsqueeze(-1)

    def logsumexp(self) -> Tensor:
        """log sum_j e^(x_j) (...,  T) = m + log l; -inf where nothing was seen."""
        return self.peak + self.total.log()


def summarize(scores: Tensor, values: Tensor) -> OnlineSoftmax:
    """What is to be known of one block of scores and values.

        m = max_j x_j,    l = sum_j e^(x_j - m),    a = sum_j e^(x_j - m) v_j

    Args:
        scores: x (..., T, n), any floating dtype; -inf marks what must get no
            weight.
        values: v (..., n, d), dtype of the scores.

    Returns:
        The three sums, for shapes (..., T), (..., T) and (..., T, d), float32 or
        float64.

    Raises:
        TypeError: `scores` or `values` is not floating, or their dtypes differ.
        ValueError: shapes do not fit, or devices differ; a score is NaN or +inf.

    Source: Dao et al. 2022, section 3.1, arXiv:2205.14135.
    """
    require.fitting(scores=(scores, "... T n"), values=(values, "... n d"))
    scores, values = require.widen(scores), require.widen(values)
    peak = scores.detach().amax(-1)
    # a block of -inf alone may stand beside others
    require.values(peak < torch.inf, "scores must hold no NaN, and be below +inf")
    weights = (scores - finite(peak).unsqueeze(-1)).exp()  # (..., T, n)
    return OnlineSoftmax(peak, weights.sum(-1), weights @ values)


def merge(first: OnlineSoftmax, second: OnlineSoftmax) -> OnlineSoftmax:
    """What is to be known of two blocks together: each is brought to the larger
    peak.

        m = max(m_1, m_2),   l = e^(m_1 - m) l_1 + e^(m_2 - m) l_2,   a likewise

    Associative and commutative, up to rounding, with `nothing_seen` as its neutral
    element: blocks may be merged in any order, by any number of workers.

    Args:
        first: sums (..., T), (..., T) and (..., T, d).
        second: the same shapes.

    Returns:
        The sums of both, the same shapes.

    Raises:
        TypeError: an argument is no `OnlineSoftmax`.
        ValueError: `first` and `second` have different shapes.

    Source: Milakov & Gimelshein 2018, section 3.1, arXiv:1805.02867.
    """
    require.instance(OnlineSoftmax, first=first, second=second)
    require.same_shape(first=first.weighted, second=second.weighted)
    peak = torch.maximum(first.peak, second.peak)
    one, two = ((each.peak - finite(peak)).exp() for each in (first, second))
    return OnlineSoftmax(
        peak,
        one * first.total + two * second.total,
        one.unsqueeze(-1) * first.weighted + two.unsqueeze(-1) * second.weighted,
    )


def nothing_seen(like: OnlineSoftmax) -> OnlineSoftmax:
    """The sums before the first score: merged with any others, it leaves these as
    they are.

    Args:
        like: sums (..., T), (..., T) and (..., T, d), for shapes, dtype and device.

    Returns:
        -inf (..., T), 0 (..., T) and 0 (..., T, d).

    Raises:
        TypeError: `like` is no `OnlineSoftmax`.
    """
    require.instance(OnlineSoftmax, like=like)
    peak, total, weighted = map(torch.zeros_like, like)
    return OnlineSoftmax(peak - torch.inf, total, weighted)


def online_softmax(scores: Tensor, values: Tensor, block: int = 128) -> Tensor:
    """A mean of values whose weights are the softmax of scores, in one pass over
    blocks.

        out = softmax(scores) @ values

    Differentiable. `merge` and `summarize` are its parts, for scores that are
    computed on the way.

    Args:
        scores: (..., T, n), n >= 1, any floating dtype; -inf marks what must get no
            weight.
        values: (..., n, d), dtype of the scores.
        block: how many scores of a row are read at a time, 1 or more.

    Returns:
        Means (..., T, d), dtype of the values.

    Raises:
        TypeError: `scores` or `values` is not floating, their dtypes differ, or
            `block` is no whole number.
        ValueError: shapes do not fit, or devices differ; `block` is below 1; a row
            of scores holds NaN, +inf or no finite score.

    Source: Dao et al. 2022, section 3.1, arXiv:2205.14135.

    >>> online_softmax(torch.zeros(1, 2), torch.tensor([[1.0], [5.0]]))
    tensor([[3.]])
    """
    require.fitting(scores=(scores, "... T n"), values=(values, "... n d"))
    require.whole(block=block, least=1)
    parts = zip(scores.split(block, -1), values.split(block, -2), strict=True)
    seen = summarize(*next(parts))
    for part in parts:
        seen = merge(seen, summarize(*part))
    return seen.mean().to(values.dtype)


def finite(peak: Tensor) -> Tensor:
    """A peak that can be subtracted: 0 where all scores are -inf, so that these
    give 0 and not NaN."""
    return peak.masked_fill(peak.isneginf(), 0)
