"""Losses of distances: what is alike comes together, what is not moves apart.

Pairs: Hadsell, Chopra & LeCun 2006. Triplets: Weinberger & Saul 2009, Schroff et
al. 2015 (FaceNet, semi-hard negatives, arXiv:1503.03832), Hermans et al. 2017
(batch-hard, arXiv:1703.07737). One positive among many: InfoNCE, van den Oord et
al. 2018, arXiv:1807.03748; NT-Xent, Chen et al. 2020 (SimCLR), arXiv:2002.05709.

A distance has no derivative at 0. Everything here takes 0 there, the smallest
subgradient: two points that coincide do not push each other, and never answer with
NaN.
"""

from typing import Any

import torch
from torch import Tensor

from lbdl import require
from lbdl.foundations.losses.classification import cross_entropy, require_hard
from lbdl.foundations.losses.reduction import (
    REDUCTIONS,
    reduced,
    require_comparable,
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
        second: points (..., d), same dtype.
        same: y (...), 1 or True where the two are of a kind, else 0.
        margin: > 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses (...).

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, `same` is neither 0 nor 1, no element, bad
            `margin` or `reduction`.

    Source: Hadsell, Chopra & LeCun 2006, equation (4), without its factor 1/2.
    """
    require_points(reduction, first=first, second=second)
    require.number(margin=margin, above=0)
    require.real(same=same)
    require.same_shape(distances=first[..., 0], same=same)
    require_hard(same=same)
    apart = (margin - distance(first, second)).relu().square()
    together = (require.widen(first) - require.widen(second)).square().sum(-1)
    losses = torch.where(same.bool(), together, apart)
    return reduced(losses, reduction, first.dtype)


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
        positive: p (..., d), same dtype.
        negative: n (..., d), same dtype.
        margin: >= 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses (...).

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes differ, no element, bad `margin` or `reduction`.

    Source: Schroff, Kalenichenko & Philbin 2015, section 3.1, arXiv:1503.03832,
        with d in place of d^2.
    """
    require_points(reduction, anchor=anchor, positive=positive, negative=negative)
    require.number(margin=margin, least=0)
    ahead = distance(anchor, positive) - distance(anchor, negative)
    return reduced((ahead + margin).relu(), reduction, anchor.dtype)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """||a - b|| over the last dimension, in float32 or better; its gradient at 0 is
    0."""
    return norm(require.widen(a) - require.widen(b)).squeeze(-1)


def norm(x: Tensor) -> Tensor:
    """||x|| over the last dimension, which stays; no square is too large or too
    small."""
    plain = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    if require.visible(x) and is_ordinary(plain):
        return plain
    largest = x.detach().abs().amax(-1, keepdim=True)
    scale = torch.where(largest > 0, largest, 1)
    return scale * torch.linalg.vector_norm(x / scale, dim=-1, keepdim=True)


def is_ordinary(lengths: Tensor) -> bool:
    """Whether no square in these lengths comes near the ends of float32."""
    low, high = lengths.detach().aminmax()
    return bool((low > 1e-15) & (high < 1e18))


def pairwise_distances(points: Tensor) -> Tensor:
    """The distances of all points to all points.

        D_ij = ||x_i - x_j||,    with gradient 0 where it is 0

    Args:
        points: x (..., B, d), floating dtype.

    Returns:
        D (..., B, B).

    Raises:
        TypeError: `points` is not a floating tensor.
        ValueError: `points` have fewer than two dimensions, or no element.
    """
    require.floating(points=points)
    require.shapes(points=(points, "... B d"))
    require.nonempty(points=points)
    return between(points).to(points.dtype)


def between(points: Tensor) -> Tensor:
    """All distances, in float32 or better."""
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
        labels: y (B,), int64.
        margin: >= 0.
        reduction: "mean" and "sum" over the points that have a triplet (0 where
            none has); "none".

    Returns:
        A scalar; with "none" the losses (B,), 0 where a point has no triplet.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, no element, a point that is not finite, bad
            `margin` or `reduction`.

    Source: Hermans, Beyer & Leibe 2017, equation (5), arXiv:1703.07737.
    """
    require_mining(points, labels, margin, reduction, "B d")
    ahead, found = [], []
    for a, d in enumerate(between(points)):
        same = labels == labels[a]
        found.append(bool(same.sum() > 1) and not bool(same.all()))
        ahead.append(d[same].amax() - d[~same].amin() if found[-1] else d[a])
    chosen = torch.tensor(found, device=points.device)
    losses = (torch.stack(ahead) + margin).relu().where(chosen, 0)
    return reduce_found(losses, chosen, reduction, points.dtype)


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
        labels: y (..., B), int64.
        margin: >= 0.
        reduction: "mean" and "sum" over the points that have a triplet (0 where
            none has); "none".

    Returns:
        A scalar; with "none" the losses (..., B), 0 where a point has no triplet.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, no element, a point that is not finite, bad
            `margin` or `reduction`.

    Source: Hermans, Beyer & Leibe 2017, equation (5), arXiv:1703.07737.
    """
    require_mining(points, labels, margin, reduction, "... B d")
    closeness = negated_squared_distances(rescaled(points.detach()))
    same = labels.unsqueeze(-1) == labels.unsqueeze(-2)  # (..., B, B)
    # the least close of its kind, the closest stranger
    positive = closeness.masked_fill(~same, torch.inf).argmin(-1)
    negative = closeness.masked_fill(same, -torch.inf).argmax(-1)
    to_positive = distance(points, rows(points, positive))
    to_negative = distance(points, rows(points, negative))
    losses = (to_positive - to_negative + margin).relu()
    found = (same.sum(-1) > 1) & ~same.all(-1)
    return reduce_found(losses.where(found, 0), found, reduction, points.dtype)


def semi_hard_triplet(
    points: Tensor, labels: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """For each pair of a kind, the nearest stranger that is farther away than the
    positive is.

        l_ap = max(0, d(a, p) - d(a, n*) + margin),
        n* = argmin d(a, n)  s.t.  y_n != y_a, d(a, n) > d(a, p)

    The plain way: pair by pair. A pair that no stranger is beyond has no triplet.
    No `torch.func`: it picks strangers by looking at distances.

    Args:
        points: (B, d), floating dtype.
        labels: y (B,), int64.
        margin: >= 0.
        reduction: "mean" and "sum" over the ordered pairs that have a triplet (0
            where none has); "none".

    Returns:
        A scalar; with "none" the losses (B, B), 0 where a pair has no triplet.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, no element, a point that is not finite, bad
            `margin` or `reduction`.

    Source: Schroff, Kalenichenko & Philbin 2015, equation (4), arXiv:1503.03832,
        with d in place of d^2.
    """
    require_mining(points, labels, margin, reduction, "B d")
    d = between(points)
    losses, found = d * 0, torch.zeros_like(d, dtype=torch.bool)
    for a, p in torch.nonzero(labels.unsqueeze(-1) == labels).tolist():
        beyond = d[a][(labels != labels[a]) & (d[a] > d[a, p])]
        if a != p and len(beyond):
            here = torch.zeros_like(found)
            here[a, p] = True
            losses = losses + here * (d[a, p] - beyond.min() + margin).relu()
            found = found | here
    return reduce_found(losses, found, reduction, points.dtype)


def fast_semi_hard_triplet(
    points: Tensor, labels: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """`semi_hard_triplet`, all pairs at once, over leading dimensions too.

        the strangers of a, sorted by distance; n* is found by bisection

    Args:
        points: (..., B, d), floating dtype.
        labels: y (..., B), int64.
        margin: >= 0.
        reduction: "mean" and "sum" over the ordered pairs that have a triplet (0
            where none has); "none".

    Returns:
        A scalar; with "none" the losses (..., B, B), 0 where a pair has no triplet.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, no element, a point that is not finite, bad
            `margin` or `reduction`.

    Source: Schroff, Kalenichenko & Philbin 2015, equation (4), arXiv:1503.03832,
        with d in place of d^2.
    """
    require_mining(points, labels, margin, reduction, "... B d")
    d = between(points)
    same = labels.unsqueeze(-1) == labels.unsqueeze(-2)  # (..., B, B)
    strangers, order = d.detach().masked_fill(same, torch.inf).sort(-1)
    place = torch.searchsorted(strangers, d.detach().contiguous(), right=True)
    place = place.clamp(max=d.shape[-1] - 1)
    itself = torch.eye(d.shape[-1], device=d.device, dtype=torch.bool)
    found = same & strangers.gather(-1, place).isfinite() & ~itself
    losses = (d - d.gather(-1, order.gather(-1, place)) + margin).relu()
    return reduce_found(losses.where(found, 0), found, reduction, points.dtype)


def negated_squared_distances(points: Tensor) -> Tensor:
    """-||x_i - x_j||^2 up to a constant of each row i: 2 <x_i, x_j> - ||x_j||^2,
    about the centre for accuracy."""
    x = points - points.mean(-2, keepdim=True)
    return (2 * x @ x.mT).sub_(x.square().sum(-1).unsqueeze(-2))


def rescaled(points: Tensor) -> Tensor:
    """Points (..., B, d) over their largest coordinate, in float32 or better: who
    is whose neighbour stays, and no square is too large or too small."""
    x = require.widen(points)
    largest = x.abs().amax((-2, -1), keepdim=True)
    return x / torch.where(largest > 0, largest, 1)


def rows(points: Tensor, index: Tensor) -> Tensor:
    """points (..., B, d) at row numbers (..., B)."""
    return points.gather(-2, index.unsqueeze(-1).expand(points.shape))


def reduce_found(
    losses: Tensor, found: Tensor, reduction: str, dtype: torch.dtype
) -> Tensor:
    """Reduction over what was found; the mean of nothing is 0."""
    if reduction == "mean":
        return (losses.sum() / found.sum().clamp(min=1)).to(dtype)
    return reduced(losses, reduction, dtype)


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
        queries: (..., N, d), floating dtype, no row of zeros.
        keys: (..., N, d); key i belongs to query i, the others are its negatives.
        temperature: T > 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses (..., N).

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes differ, no element, a row of zeros, bad `temperature` or
            `reduction`.

    Source: van den Oord, Li & Vinyals 2018, equation (4), arXiv:1807.03748, with
        cosines.
    """
    require_views(reduction, temperature, queries=queries, keys=keys)
    q, k = directions(queries=queries), directions(keys=keys)
    similarity = q @ k.mT / temperature  # (..., N, N)
    own = torch.arange(k.shape[-2], device=k.device).expand(q.shape[:-1])
    losses = cross_entropy(similarity, own, reduction="none")
    return reduced(losses, reduction, queries.dtype)


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
        first: (..., N, d), floating dtype, no row of zeros.
        second: (..., N, d); row i is the other view of row i of `first`.
        temperature: T > 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses (..., 2 N), first views first.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes differ, no element, a row of zeros, bad `temperature` or
            `reduction`.

    Source: Chen et al. 2020, equation (1), arXiv:2002.05709.
    """
    require_views(reduction, temperature, first=first, second=second)
    views = torch.cat([directions(first=first), directions(second=second)], dim=-2)
    itself = torch.eye(views.shape[-2], device=views.device, dtype=torch.bool)
    similarity = (views @ views.mT / temperature).masked_fill(itself, -torch.inf)
    numbers = torch.arange(views.shape[-2], device=views.device)
    other = numbers.roll(first.shape[-2]).expand(views.shape[:-1])
    losses = cross_entropy(similarity, other, reduction="none")  # (..., 2 N)
    return reduced(losses, reduction, first.dtype)


# --- What they ask for ------------------------------------------------------------


def directions(**points: Tensor) -> Tensor:
    """x / ||x|| over the last dimension, in float32 or better; a row of zeros,
    which has no direction, is refused where it can be seen, and stays zero
    elsewhere."""
    ((name, x),) = points.items()
    x = require.widen(x)
    length = norm(x)
    require.values(length != 0, f"{name} must hold no row of zeros, got one")
    return x / torch.where(length > 0, length, 1)


def require_points(reduction: str, **points: Tensor) -> None:
    """What every loss of distances asks for."""
    require_comparable(reduction, **points)
    patterns: Any = {name: (x, "... d") for name, x in points.items()}
    require.shapes(**patterns)


def require_views(reduction: str, temperature: float, **points: Tensor) -> None:
    """What InfoNCE and NT-Xent ask for."""
    require_points(reduction, **points)
    patterns: Any = {name: (x, "... N d") for name, x in points.items()}
    require.shapes(**patterns)
    require.number(temperature=temperature, above=0)


def require_mining(
    points: Tensor, labels: Tensor, margin: float, reduction: str, pattern: str
) -> None:
    """What every loss that looks for triplets asks for."""
    require.choice(REDUCTIONS, reduction=reduction)
    require.number(margin=margin, least=0)
    require_batch(points, labels, pattern)


def require_batch(points: Tensor, labels: Tensor, pattern: str) -> None:
    """TypeError or ValueError unless points of the pattern have a label each, and a
    place in space."""
    require.floating(points=points)
    require.integer(labels=labels)
    require.shapes(points=(points, pattern))
    require.nonempty(points=points)
    require.finite(points=points)
    if labels.shape != points.shape[:-1]:
        raise ValueError(
            f"labels must have shape {tuple(points.shape[:-1])}, one a point, got "
            f"{tuple(labels.shape)}"
        )
