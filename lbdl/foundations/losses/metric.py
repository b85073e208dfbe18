"""Losses of distances: what is alike comes together, what is not moves apart.

Pairs: Hadsell, Chopra & LeCun 2006. Triplets: Weinberger & Saul 2009, Schroff et
al. 2015 (FaceNet, semi-hard negatives, arXiv:1503.03832), Hermans et al. 2017
(batch-hard, arXiv:1703.07737). One positive among many: InfoNCE, van den Oord et
al. 2018, arXiv:1807.03748; NT-Xent, Chen et al. 2020 (SimCLR), arXiv:2002.05709.

A distance has no derivative at 0. Everything here takes 0 there, the smallest
subgradient: two points that coincide do not push each other, and never answer with
NaN.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lbdl.foundations.losses.classification import cross_entropy
from lbdl.foundations.losses.reduction import (
    reduce,
    require_dim,
    require_floating,
    require_hard,
    require_number,
    require_reduction,
    require_same_shape,
)

# --- Pairs and triplets -----------------------------------------------------------


def pair_contrastive(
    first: Tensor,
    second: Tensor,
    same: Tensor,
    *,
    margin: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Pull pairs of a kind together; push other pairs apart until they are a margin
    away.

        l = y d^2 + (1 - y) max(0, margin - d)^2,    d = ||first - second||

    Args:
        first: points (..., d), floating dtype.
        second: points (..., d).
        same: y (...), 1 or True where the two are of a kind, else 0.
        margin: > 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses (...).

    Raises:
        TypeError: an argument is not floating.
        ValueError: shapes do not fit, `same` is neither 0 nor 1, no element, bad
            `margin` or `reduction`.

    Source: Hadsell, Chopra & LeCun 2006, equation (4), without its factor 1/2.
    """
    require_points(reduction, first=first, second=second)
    require_number("margin", margin, 0, above=True)
    require_same_shape(distances=first[..., 0], same=same)
    require_hard(same, "same")
    apart = (margin - distance(first, second)).relu().square()
    return reduce(
        torch.where(same.bool(), (first - second).square().sum(-1), apart),
        reduction,
    )


def triplet(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """The anchor nearer to its own kind than to a stranger, by a margin.

        l = max(0, d(a, p) - d(a, n) + margin),    d the Euclidean distance

    `torch.nn.functional.triplet_margin_loss` with `eps=0`: it adds 1e-6 to every
    coordinate of every difference.

    Args:
        anchor: a (..., d), floating dtype.
        positive: p (..., d).
        negative: n (..., d).
        margin: >= 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses (...).

    Raises:
        TypeError: an argument is not floating.
        ValueError: shapes differ, no element, bad `margin` or `reduction`.

    Source: Schroff, Kalenichenko & Philbin 2015, section 3.1, arXiv:1503.03832,
        with d in place of d^2.
    """
    require_points(reduction, anchor=anchor, positive=positive, negative=negative)
    require_number("margin", margin, 0)
    return reduce(
        (distance(anchor, positive) - distance(anchor, negative) + margin).relu(),
        reduction,
    )


def distance(a: Tensor, b: Tensor) -> Tensor:
    """||a - b|| over the last dimension; its gradient at 0 is 0."""
    return torch.linalg.vector_norm(a - b, dim=-1)


def pairwise_distances(points: Tensor) -> Tensor:
    """The distances of all points to all points.

        D_ij = ||x_i - x_j||,    with gradient 0 where it is 0

    Args:
        points: x (..., B, d), floating dtype.

    Returns:
        D (..., B, B).

    Raises:
        TypeError: `points` is not floating.
        ValueError: it has fewer than two dimensions, or no element.

    Source: definition.
    """
    require_floating(points=points)
    require_dim(points, -2, "points")
    return distance(points.unsqueeze(-2), points.unsqueeze(-3))


# --- Which triplets of a batch ----------------------------------------------------


def batch_hard_triplet(
    points: Tensor, labels: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """For each point, the farthest of its kind against the nearest stranger.

        l_a = max(0, max_{p: y_p = y_a} d(a, p)
            - min_{n: y_n != y_a} d(a, n) + margin)

    The plain way: point by point. Points without a second of their kind, or without
    a stranger, have no triplet.

    Args:
        points: (B, d), floating dtype.
        labels: y (B,), whole numbers.
        margin: >= 0.
        reduction: "mean" and "sum" over the points that have a triplet (0 where
            none has); "none".

    Returns:
        A scalar; with "none" the losses (B,), 0 where a point has no triplet.

    Raises:
        TypeError: `points` is not floating.
        ValueError: shapes do not fit, no element, bad `margin` or `reduction`.

    Source: Hermans, Beyer & Leibe 2017, equation (5), arXiv:1703.07737.
    """
    require_batch(points, labels, margin, reduction)
    losses, found = [], []
    for a, d in enumerate(pairwise_distances(points)):
        same = labels == labels[a]
        found.append(bool(same.sum() > 1) and not bool(same.all()))
        losses.append(
            (d[same].max() - d[~same].min() + margin).relu()
            if found[-1]
            else d.sum() * 0
        )
    return reduce_found(
        torch.stack(losses), torch.tensor(found, device=points.device), reduction
    )


def fast_batch_hard_triplet(
    points: Tensor, labels: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """`batch_hard_triplet`, all points at once, over leading dimensions too.

        l_a = max(0, d(a, p(a)) - d(a, n(a)) + margin)

    p(a) and n(a) are chosen from the Gram matrix, out of autograd's sight; then
    only 2 B distances are measured and differentiated, not B^2. Where two
    candidates are equally far up to rounding, either may be taken.

    Args:
        points: (..., B, d), floating dtype.
        labels: y (..., B), whole numbers.
        margin: >= 0.
        reduction: "mean" and "sum" over the points that have a triplet (0 where
            none has); "none".

    Returns:
        A scalar; with "none" the losses (..., B), 0 where a point has no triplet.

    Raises:
        TypeError: `points` is not floating.
        ValueError: shapes do not fit, no element, bad `margin` or `reduction`.

    Source: Hermans, Beyer & Leibe 2017, equation (5), arXiv:1703.07737.
    """
    require_batch(points, labels, margin, reduction)
    closeness = negated_squared_distances(points.detach())
    same = labels.unsqueeze(-1) == labels.unsqueeze(-2)  # (..., B, B)
    # the least close of its kind
    positive = closeness.masked_fill(~same, torch.inf).argmin(-1)
    negative = closeness.masked_fill_(same, -torch.inf).argmax(-1)
    losses = triplet(
        points,
        rows(points, positive),
        rows(points, negative),
        margin=margin,
        reduction="none",
    )
    found = (same.sum(-1) > 1) & ~same.all(-1)
    return reduce_found(losses.where(found, 0), found, reduction)


def semi_hard_triplet(
    points: Tensor, labels: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """For each pair of a kind, the nearest stranger that is farther away than the
    positive is.

        l_ap = max(0, d(a, p) - d(a, n*) + margin),
        n* = argmin d(a, n)  s.t.  y_n != y_a, d(a, n) > d(a, p)

    The plain way: pair by pair. A pair that no stranger is beyond has no triplet.

    Args:
        points: (B, d), floating dtype.
        labels: y (B,), whole numbers.
        margin: >= 0.
        reduction: "mean" and "sum" over the ordered pairs that have a triplet (0
            where none has); "none".

    Returns:
        A scalar; with "none" the losses (B, B), 0 where a pair has no triplet.

    Raises:
        TypeError: `points` is not floating.
        ValueError: shapes do not fit, no element, bad `margin` or `reduction`.

    Source: Schroff, Kalenichenko & Philbin 2015, equation (4), arXiv:1503.03832,
        with d in place of d^2.
    """
    require_batch(points, labels, margin, reduction)
    d = pairwise_distances(points)
    losses, found = d * 0, torch.zeros_like(d, dtype=torch.bool)
    for a, p in torch.nonzero(labels.unsqueeze(-1) == labels).tolist():
        beyond = d[a][(labels != labels[a]) & (d[a] > d[a, p])]
        if a != p and len(beyond):
            here = torch.zeros_like(found)
            here[a, p] = True
            losses, found = (
                losses + here * (d[a, p] - beyond.min() + margin).relu(),
                found | here,
            )
    return reduce_found(losses, found, reduction)


def fast_semi_hard_triplet(
    points: Tensor, labels: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """`semi_hard_triplet`, all pairs at once, over leading dimensions too.

        the strangers of a, sorted by distance; n* is found by bisection

    Args:
        points: (..., B, d), floating dtype.
        labels: y (..., B), whole numbers.
        margin: >= 0.
        reduction: "mean" and "sum" over the ordered pairs that have a triplet (0
            where none has); "none".

    Returns:
        A scalar; with "none" the losses (..., B, B), 0 where a pair has no triplet.

    Raises:
        TypeError: `points` is not floating.
        ValueError: shapes do not fit, no element, bad `margin` or `reduction`.

    Source: Schroff, Kalenichenko & Philbin 2015, equation (4), arXiv:1503.03832,
        with d in place of d^2.
    """
    require_batch(points, labels, margin, reduction)
    d = pairwise_distances(points)
    same = labels.unsqueeze(-1) == labels.unsqueeze(-2)  # (..., B, B)
    strangers, order = d.detach().masked_fill(same, torch.inf).sort(-1)
    place = torch.searchsorted(
        strangers, d.detach().contiguous(), right=True
    ).clamp(max=d.shape[-1] - 1)
    found = (
        same
        & strangers.gather(-1, place).isfinite()
        & ~torch.eye(d.shape[-1], device=d.device).bool()
    )
    losses = (d - d.gather(-1, order.gather(-1, place)) + margin).relu()
    return reduce_found(losses.where(found, 0), found, reduction)


def negated_squared_distances(points: Tensor) -> Tensor:
    """-||x_i - x_j||^2 up to a constant of each row i: 2 <x_i, x_j> - ||x_j||^2,
    about the centre for accuracy."""
    x = points - points.mean(-2, keepdim=True)
    return (2 * x @ x.mT).sub_(x.square().sum(-1).unsqueeze(-2))


def rows(points: Tensor, index: Tensor) -> Tensor:
    """points (..., B, d) at row numbers (..., B)."""
    return points.gather(-2, index.unsqueeze(-1).expand(points.shape))


def reduce_found(losses: Tensor, found: Tensor, reduction: str) -> Tensor:
    """Reduction over what was found; the mean of nothing is 0."""
    if reduction == "mean":
        return losses.sum() / found.sum().clamp(min=1)
    return reduce(losses, reduction)


# --- One positive among many ------------------------------------------------------


def info_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    temperature: float = 0.1,
    reduction: str = "mean",
) -> Tensor:
    """Name the key that belongs to each query: cross-entropy over similarities.

        l_i = -log( e^(s_ii / T) / sum_j e^(s_ij / T) ),
        s_ij = cos(query_i, key_j)

    Args:
        queries: (..., N, d), floating dtype, no row 0.
        keys: (..., N, d); key i belongs to query i, the others are its negatives.
        temperature: T > 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses (..., N).

    Raises:
        TypeError: an argument is not floating.
        ValueError: shapes differ, no element, bad `temperature` or `reduction`.

    Source: van den Oord, Li & Vinyals 2018, equation (4), arXiv:1807.03748, with
        cosines.
    """
    require_points(reduction, queries=queries, keys=keys)
    require_dim(queries, -2, "queries")
    require_number("temperature", temperature, 0, above=True)
    # (..., N, N)
    similarity = normalize(queries, dim=-1) @ normalize(keys, dim=-1).mT
    own = torch.arange(keys.shape[-2], device=keys.device).expand(
        queries.shape[:-1]
    )
    return cross_entropy(similarity / temperature, own, reduction=reduction)


def nt_xent(
    first: Tensor,
    second: Tensor,
    *,
    temperature: float = 0.5,
    reduction: str = "mean",
) -> Tensor:
    """InfoNCE among two views of N things: each view looks for the other among 2
    N - 1.

        l_i = -log( e^(s_{i, i'} / T) / sum_{j != i} e^(s_ij / T) ),
        i' the other view of i, s the cosine

    Args:
        first: (..., N, d), floating dtype, no row 0.
        second: (..., N, d); row i is the other view of row i of `first`.
        temperature: T > 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses (..., 2 N), first views first.

    Raises:
        TypeError: an argument is not floating.
        ValueError: shapes differ, no element, bad `temperature` or `reduction`.

    Source: Chen et al. 2020, equation (1), arXiv:2002.05709.
    """
    require_points(reduction, first=first, second=second)
    require_dim(first, -2, "first")
    require_number("temperature", temperature, 0, above=True)
    views = normalize(torch.cat([first, second], dim=-2), dim=-1)  # (..., 2 N, d)
    itself = torch.eye(views.shape[-2], device=views.device, dtype=torch.bool)
    similarity = (views @ views.mT / temperature).masked_fill(itself, -torch.inf)
    other = (
        torch.arange(views.shape[-2], device=views.device)
        .roll(first.shape[-2])
        .expand(views.shape[:-1])
    )
    return cross_entropy(similarity, other, reduction=reduction)


# --- What they ask for ------------------------------------------------------------


def require_points(reduction: str, **points: Tensor) -> None:
    require_reduction(reduction)
    require_floating(**points)
    require_same_shape(**points)
    name, first = next(iter(points.items()))
    require_dim(first, -1, name)


def require_batch(
    points: Tensor, labels: Tensor, margin: float, reduction: str
) -> None:
    require_reduction(reduction)
    require_floating(points=points)
    require_dim(points, -2, "points")
    require_number("margin", margin, 0)
    if labels.shape != points.shape[:-1]:
        raise ValueError(
            f"labels must have shape {tuple(points.shape[:-1])}, one a point, got "
            f"{tuple(labels.shape)}"
        )
