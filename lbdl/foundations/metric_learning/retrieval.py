"""How well an embedding finds what belongs together: every point asks, all others
answer in order of distance.

Recall at k as in Jegou, Douze & Schmid 2011 and the metric-learning literature
after it (a hit is one right answer among the first k); average precision as in
Manning, Raghavan & Schuetze 2008, chapter 8.
"""

import torch
from torch import Tensor

from lbdl import require
from lbdl.foundations.metric_learning.distances import require_batch, rescaled


def ranked_relevance(points: Tensor, labels: Tensor) -> Tensor:
    """Whether the 1st, 2nd, ... nearest neighbour of each point is of its kind.

        R_ir = [label of the r-th nearest neighbour of i = label of i],
        i itself left out

    Args:
        points: (B, d) with B >= 2, floating dtype.
        labels: (B,), int64.

    Returns:
        R (B, B - 1), bool.

    Raises:
        TypeError: `points` is not a floating tensor, or `labels` not an int64 one.
        ValueError: shapes do not fit, a point is not finite, or there are fewer
            than two points.
    """
    require_batch(points, labels, "B d")
    require.dim(points, 0, "points", least=2)
    x = rescaled(points.detach())
    d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    order = d.fill_diagonal_(-1).argsort(dim=-1, stable=True)
    others = order[:, 1:]  # itself comes first
    return labels[others] == labels.unsqueeze(-1)


def recall_at(relevance: Tensor, k: int = 1) -> Tensor:
    """Whether a right answer is among the first k.

        max_{r <= k} R_ir

    Args:
        relevance: R (..., n), bool, the best answer first.
        k: from 1 to n.

    Returns:
        Hits (...), float32: 1 or 0. Their mean is the recall at k.

    Raises:
        TypeError: `relevance` is not a bool tensor, or `k` no whole number.
        ValueError: `relevance` has no answer, or `k` is out of range.

    Source: Jegou, Douze & Schmid 2011, IEEE TPAMI 33(1).
    """
    require.boolean(relevance=relevance)
    require.dim(relevance, -1, "relevance")
    require.whole(k=k, least=1, most=relevance.shape[-1])
    return relevance[..., :k].any(-1).float()


def average_precision(relevance: Tensor) -> Tensor:
    """The precision at the rank of each right answer, averaged: 1 exactly where all
    right answers come first.

        AP_i = mean over r with R_ir of (1/r) sum_{s <= r} R_is

    Args:
        relevance: R (..., n), bool, the best answer first, at least one right
            answer in every row.

    Returns:
        AP (...), float32. Its mean over the questions is the MAP.

    Raises:
        TypeError: `relevance` is not a bool tensor.
        ValueError: a row of `relevance` holds no right answer.

    Source: Manning, Raghavan & Schuetze 2008, Introduction to Information
        Retrieval, section 8.4.
    """
    require.boolean(relevance=relevance)
    require.dim(relevance, -1, "relevance")
    found = relevance.any(-1)
    require.values(found, "relevance must hold a right answer in every row")
    right = relevance.float()
    ranks = torch.arange(1, relevance.shape[-1] + 1, device=relevance.device)
    precision = right.cumsum(-1) / ranks
    return (precision * right).sum(-1) / right.sum(-1)
