"""How well an embedding finds what belongs together: every point asks, all others
answer in order of distance.

Recall at k as in Jegou, Douze & Schmid 2011 and the metric-learning literature
after it (a hit is one right answer among the first k); average precision as in
Manning, Raghavan & Schuetze 2008, chapter 8.
"""

import torch
from torch import Tensor

from lbdl.foundations.losses.reduction import (
    require_dim,
    require_floating,
    require_values,
)


def ranked_relevance(points: Tensor, labels: Tensor) -> Tensor:
    """Whether the 1st, 2nd, ... nearest neighbour of each point is of its kind.

        R_ir = [label of the r-th nearest neighbour of i = label of i],
        i itself left out

    Args:
        points: (B, d) with B >= 2, floating dtype.
        labels: (B,), whole numbers.

    Returns:
        R (B, B - 1), bool.

    Raises:
        TypeError: `points` is not floating.
        ValueError: shapes do not fit, or there are fewer than two points.

    Source: definition.
    """
    require_floating(points=points)
    if points.dim() != 2 or len(points) < 2 or labels.shape != points.shape[:1]:
        shapes = tuple(points.shape), tuple(labels.shape)
        raise ValueError(
            "points and labels must be (B, d) and (B,) with B >= 2, got shapes "
            f"{shapes}"
        )
    d = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    # itself first, and out
    order = d.fill_diagonal_(-1).argsort(dim=-1, stable=True)[:, 1:]
    return labels[order] == labels.unsqueeze(-1)


def recall_at(relevance: Tensor, k: int = 1) -> Tensor:
    """Whether a right answer is among the first k.

        max_{r <= k} R_ir

    Args:
        relevance: R (..., n), bool, the best answer first.
        k: from 1 to n.

    Returns:
        Hits (...), float32: 1 or 0. Their mean is the recall at k.

    Raises:
        ValueError: `k` is out of range.

    Source: Jegou, Douze & Schmid 2011, IEEE TPAMI 33(1).
    """
    require_dim(relevance, -1, "relevance")
    if not 1 <= k <= relevance.shape[-1]:
        raise ValueError(f"k must be from 1 to {relevance.shape[-1]}, got {k}")
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
        ValueError: a row holds no right answer.

    Source: Manning, Raghavan & Schuetze 2008, Introduction to Information
        Retrieval, section 8.4.
    """
    require_dim(relevance, -1, "relevance")
    require_values(
        relevance.any(-1), "relevance must hold a right answer in every row"
    )
    right = relevance.float()
    precision = right.cumsum(-1) / torch.arange(
        1, relevance.shape[-1] + 1, device=relevance.device
    )
    return (precision * right).sum(-1) / right.sum(-1)
