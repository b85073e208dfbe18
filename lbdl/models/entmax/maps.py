"""From scores to probabilities with exact zeros, or without an exponential: the
maps that take the place of softmax.

A map here takes scores x in R^n to the probability simplex. Sparsemax (Martins &
Astudillo 2016, arXiv:1602.02068) and entmax (Peters, Niculae & Martins 2019,
arXiv:1905.05702) have exact zeros; sparse softmax (Sun et al. 2021,
arXiv:2112.12433) keeps the k largest; Taylor softmax (de Brebisson & Vincent 2016,
arXiv:1511.05042) replaces the exponential by a polynomial. These are the plain
ways, written to be read; `fast.py` has the fast ones.

Common to all, as to softmax: -inf marks a masked element, which gets exactly 0;
float16 and bfloat16 are computed in float32; a row with NaN, +inf or no finite
score, wholly masked for instance, is refused. (The row's maximum tells. Where
values cannot be looked at, inside `torch.compile` and the transforms of
`torch.func`, such a row comes back as NaN.)"""

from collections.abc import Callable
from math import factorial, log2
from typing import Any

import torch
from torch import Tensor

from lbdl import require
from lbdl.models.softmax import softmax
from lbdl.models.softmax.maps import zero_sum_jacobian
from lbdl.models.softmax.scores import require_scores, row_peak, shifted
from lbdl.require import widen


def taylor_softmax(x: Tensor, order: int = 2, dim: int = -1) -> Tensor:
    """Softmax with the exponential replaced by its Taylor polynomial.

        p_i = f(x_i) / sum_j f(x_j),   f(x) = sum_{m=0}^{order} x^m / m!

    An even order makes f positive everywhere (order 2: at least 1/2). Unlike
    softmax the map is neither monotone nor invariant to a shift of the scores: [-3,
    -1, 0] goes to [0.625, 0.125, 0.25]. In float32, keep to small orders: for very
    negative scores the terms of f cancel.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        order: the even degree of the polynomial, 2 or more.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: `order` is odd or below 2; bad `dim`; a row with NaN, +inf or no
            finite score.

    Source: de Brebisson & Vincent 2016, arXiv:1511.05042.
    """
    require_even(order)
    row_peak(x, dim)
    masked = torch.isneginf(x)
    finite = widen(x).masked_fill(masked, 0)
    weights = scaled_exponential_series(finite, order, dim).masked_fill(masked, 0)
    return (weights / weights.sum(dim, keepdim=True)).to(x.dtype)


def scaled_exponential_series(x: Tensor, order: int, dim: int) -> Tensor:
    """sum_m x^m / m! up to `order`, by Horner's rule, over max(1, max|x|)^order, so
    that nothing overflows.
    """
    scale = x.detach().abs().amax(dim, keepdim=True).clamp(min=1)
    unit = x / scale
    total = torch.full_like(x, 1 / factorial(order))
    for m in reversed(range(order)):
        total = total * unit + scale ** (m - order) / factorial(m)
    return total


def sparse_softmax(x: Tensor, k: int, dim: int = -1) -> Tensor:
    """Softmax over the k largest scores, zero elsewhere.

        p_i = exp(x_i) / sum_{j in top k} exp(x_j)  for i in the top k,   else 0

    Where scores tie at the k-th place, `torch.topk` says which of them are in.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        k: how many scores to keep, 1 <= k <= n.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`, at most k of them above 0 in a row.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: `k` is not in [1, n]; bad `dim`; a row with NaN, +inf or no
            finite score.

    Source: Sun et al. 2021, arXiv:2112.12433.
    """
    require_scores(x, dim)
    require.whole(k=k, least=1, most=x.shape[dim])
    top, where = x.topk(k, dim=dim)
    return torch.zeros_like(x).scatter(dim, where, softmax(top, dim))


def sparsemax(x: Tensor, dim: int = -1) -> Tensor:
    """Euclidean projection of scores onto the probability simplex.

        sparsemax(x) = argmin ||p - x||^2  s.t.  p >= 0, sum(p) = 1
                     = relu(x - tau)

    with the one threshold tau for which the result sums to one.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`; exact zeros outside the support.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: bad `dim`; a row with NaN, +inf or no finite score.

    Source: Martins & Astudillo 2016, Algorithm 1, arXiv:1602.02068.
    """
    z = shifted(x, dim)
    descending = z.sort(dim=dim, descending=True).values
    return (z - sparsemax_threshold(descending, dim)).relu().to(x.dtype)


def sparsemax_threshold(descending: Tensor, dim: int = -1) -> Tensor:
    """The threshold of sparsemax, from sorted scores.

        tau_k = (x_1 + ... + x_k - 1) / k   for the largest k with x_k > tau_k

    Args:
        descending: scores (..., n, ...), sorted from large to small along `dim`.
        dim: the dimension of size n.

    Returns:
        tau (..., 1, ...).

    Raises:
        TypeError: `descending` is not a floating tensor, or `dim` no whole number.
        ValueError: bad `dim`; a row with NaN, +inf or no finite score.

    Source: Martins & Astudillo 2016, Proposition 1, arXiv:1602.02068.
    """
    row_peak(descending, dim, "descending")
    candidates = (descending.cumsum(dim) - 1) / ranks(descending, dim)
    support_size = (descending > candidates).sum(dim, keepdim=True).clamp(min=1)
    return candidates.gather(dim, support_size - 1)


def entmax15(x: Tensor, dim: int = -1) -> Tensor:
    """Entmax with alpha = 1.5, exactly, by sorting: halfway between softmax and
    sparsemax.

        entmax15(x) = relu(x / 2 - tau)^2

    with the one threshold tau for which the result sums to one.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`; exact zeros outside the support.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: bad `dim`; a row with NaN, +inf or no finite score.

    Source: Peters, Niculae & Martins 2019, Algorithm 2, arXiv:1905.05702.
    """
    # max(z) = 0, so tau >= -1: what lies below gets 0 all the same
    z = (shifted(x, dim) / 2).clamp(min=-1)
    descending = z.sort(dim=dim, descending=True).values
    return (z - entmax15_threshold(descending, dim)).relu().square().to(x.dtype)


def entmax15_threshold(descending: Tensor, dim: int = -1) -> Tensor:
    """The threshold of 1.5-entmax, from sorted scores: the smaller root of sum_{i
    <= k} (z_i - tau)^2 = 1.

        tau_k = mean_k - sqrt(1 / k - variance_k)   for the k of the support,
        mean and variance over z_1 ... z_k

    Args:
        descending: half the scores (..., n, ...), sorted from large to small along
            `dim`, finite.
        dim: the dimension of size n.

    Returns:
        tau (..., 1, ...).

    Source: Peters, Niculae & Martins 2019, Algorithm 2, arXiv:1905.05702.
    """
    size = entmax15_support_size(descending.detach(), dim).to(descending.dtype)
    support = ranks(descending, dim) <= size
    mean = (descending * support).sum(dim, keepdim=True) / size
    variance = ((descending - mean).square() * support).sum(
        dim, keepdim=True
    ) / size
    return mean - (1 / size - variance).sqrt()


def entmax15_support_size(descending: Tensor, dim: int = -1) -> Tensor:
    """How many scores 1.5-entmax keeps: the number of k with tau_k < z_k.

    Where 1/k - variance_k is negative, no root exists and k is too large. The relu
    then leaves tau_k = mean_k >= z_k, which is not counted: no prefix of a
    descending row has a mean below its last element.

    Args:
        descending: half the scores (..., n, ...), sorted from large to small along
            `dim`, finite.
        dim: the dimension of size n.

    Returns:
        The number of nonzero probabilities (..., 1, ...), int64.

    Source: Peters, Niculae & Martins 2019, Algorithm 2, arXiv:1905.05702.
    """
    k = ranks(descending, dim)
    mean = descending.cumsum(dim) / k
    variance = descending.square().cumsum(dim) / k - mean.square()
    tau = mean - (1 / k - variance).relu().sqrt()
    return (tau < descending).sum(dim, keepdim=True)


def entmax(x: Tensor, alpha: float = 1.5, dim: int = -1) -> Tensor:
    """The distribution that best trades score against Tsallis entropy, for any
    alpha >= 1.

        entmax(x) = argmax <p, x> + H_alpha(p)  s.t.  p >= 0, sum(p) = 1
                  = relu((alpha-1) x - tau)^(1/(alpha-1))

    alpha = 1 is softmax, alpha = 2 sparsemax. The threshold tau is not looked for
    itself: up to alpha = 2 the largest probability is, above it the smallest one,
    each by halving a bracket. The derivative has a closed form, so that autograd
    need not look inside. Differentiable as often as one likes.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        alpha: 1 or more; from 1 on, the larger, the sparser.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`; exact zeros outside the support where
        alpha > 1. Above alpha = 2 a probability near 0 moves very fast with its
        score: a slope that no float32 can hold counts as about 1e29.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: `alpha` is below 1; bad `dim`; a row with NaN, +inf or no finite
            score.

    Source: Peters, Niculae & Martins 2019, section 3 and Algorithm 1,
        arXiv:1905.05702.

    >>> entmax(torch.tensor([1.0, 0.5, -2.0]), alpha=2)
    tensor([0.7500, 0.2500, 0.0000])
    """
    require.number(alpha=alpha, least=1)
    z = shifted(x, dim).movedim(dim, -1)
    solve = solve_by_largest if alpha <= 2 else solve_by_smallest
    return SolvedEntmax.apply(z, alpha, solve).movedim(-1, dim).to(x.dtype)


class SolvedEntmax(torch.autograd.Function):
    """Entmax over the last dimension, solved in any way: the derivative needs the
    result alone.
    """

    @staticmethod
    def forward(
        x: Tensor, alpha: float, solve: Callable[[Tensor, float], Tensor]
    ) -> Tensor:
        """Probabilities (..., n) of scores (..., n)."""
        return solve(x, alpha)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the result."""
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)
        ctx.alpha = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """J^T g = J g, itself differentiable."""
        return SolvedEntmax.jvp(ctx, grad), None, None

    @staticmethod
    def jvp(ctx: Any, direction: Tensor, *_: None) -> Tensor:
        """J v for a direction v of the scores."""
        (p,) = ctx.saved_tensors
        slopes = entmax_slope(widen(p), ctx.alpha)
        return jacobian_product(slopes, widen(direction)).to(p.dtype)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], x: Tensor, alpha: float, solve: Any
    ) -> tuple[Tensor, int]:
        """One more leading dimension is one more batch."""
        return SolvedEntmax.apply(x.movedim(in_dims[0], 0), alpha, solve), 0


def jacobian_product(slopes: Tensor, v: Tensor) -> Tensor:
    """The Jacobian of entmax times a vector: s * (v - <s, v> / sum(s)), s from
    `entmax_slope`.

    Adding a constant to v changes nothing. So the entry of v where s is largest is
    made 0, and nothing cancels there."""
    v = v - v.gather(-1, slopes.argmax(-1, keepdim=True))
    weighted = slopes * v
    mean = weighted.sum(-1, keepdim=True) / slopes.sum(-1, keepdim=True)
    return torch.addcmul(weighted, slopes, mean, value=-1)


def solve_by_largest(z: Tensor, alpha: float) -> Tensor:
    """Entmax over the last dimension for 1 <= alpha <= 2, through the largest
    probability, and one Newton step.
    """
    peak = bisect_peak(z, alpha)
    p = entmax_with_peak(z, peak, alpha)
    slope = entmax_slope(p, alpha).sum(-1, keepdim=True) * peak ** (alpha - 2)
    excess = (p.sum(-1, keepdim=True) - 1) / slope  # slope = d sum(p) / dP
    return entmax_with_peak(z, peak - excess, alpha)


def bisect_peak(z: Tensor, alpha: float) -> Tensor:
    """The largest probability P in [1/n, 1], by bisection: the total grows with it.
    Returns the end from above.
    """
    high = torch.ones_like(z[..., :1])
    low = high / z.shape[-1]
    for _ in range(halvings(z)):
        middle = (low + high) / 2
        too_much = entmax_with_peak(z, middle, alpha).sum(-1, keepdim=True) > 1
        low = torch.where(too_much, low, middle)
        high = torch.where(too_much, middle, high)
    return high


def halvings(z: Tensor) -> int:
    """How often a bracket is halved until nothing is left of it in this dtype."""
    return int(-log2(torch.finfo(z.dtype).eps)) + 4


def entmax_with_peak(z: Tensor, peak: Tensor, alpha: float) -> Tensor:
    """The probabilities of entmax if the largest is P: p_i = P * exp_alpha(z_i /
    P^(alpha-1)).

    This is relu((alpha-1) z_i + P^(alpha-1))^(1/(alpha-1)), in a form that stays
    exact for alpha near 1."""
    return peak * tsallis_exp(z / peak ** (alpha - 1), alpha)


def solve_by_smallest(z: Tensor, alpha: float) -> Tensor:
    """Entmax over the last dimension for alpha > 2, through the smallest
    probability q of the support.

        p_i = (q^b + b (z_i - z_least))^(1/b),   b = alpha - 1

    Here no small number is the difference of larger ones, which the root would make
    large again."""
    least = least_of_support(z, alpha)
    lead = (alpha - 1) * (z - least)
    high = 1 / (z >= least).sum(-1, keepdim=True).to(z.dtype)
    low = torch.zeros_like(high)
    for _ in range(halvings(z)):
        middle = (low + high) / 2
        total = raised(middle, lead, alpha - 1).sum(-1, keepdim=True)
        low = torch.where(total > 1, low, middle)
        high = torch.where(total > 1, middle, high)
    return raised((low + high) / 2, lead, alpha - 1)


def raised(q: Tensor, lead: Tensor, power: float) -> Tensor:
    """(q^b + lead)^(1/b) where the lead is not negative, else 0; by logarithms,
    since q^b may be no number.
    """
    logs = torch.logaddexp(q.log() * power, lead.log()) / power
    return torch.where(lead < 0, 0, logs.exp())


def least_of_support(z: Tensor, alpha: float) -> Tensor:
    """The smallest score (..., 1) with a positive probability: with q = 0 the
    scores above it do not yet sum to 1.
    """
    descending = z.sort(-1, descending=True).values
    first = torch.zeros_like(z[..., :1], dtype=torch.int64)
    last = first + z.shape[-1]
    for _ in range(z.shape[-1].bit_length()):
        middle = (first + last) // 2
        above = (z - descending.gather(-1, middle)).relu() * (alpha - 1)
        inside = above.pow(1 / (alpha - 1)).sum(-1, keepdim=True) < 1
        first = torch.where(inside, middle, first)
        last = torch.where(inside, last, middle)
    return descending.gather(-1, first)


def one_hot_gap(alpha: float) -> float:
    """By how much the largest score must lead for entmax to give it everything: 1 /
    (alpha-1).

    Args:
        alpha: 1 or more.

    Returns:
        The gap; infinite for alpha = 1, because softmax has no zeros.

    Raises:
        TypeError: `alpha` is not a number.
        ValueError: `alpha` is below 1.

    Source: Blondel, Martins & Niculae 2020, arXiv:1901.02324: the separation margin
        of the loss."""
    require.number(alpha=alpha, least=1)
    return 1 / (alpha - 1) if alpha > 1 else float("inf")


def tsallis_exp(u: Tensor, alpha: float) -> Tensor:
    """The exponential that is cut off at zero: exp_alpha(u) = relu(1 + (alpha-1)
    u)^(1/(alpha-1)), exp_1 = exp.

    Args:
        u: any shape, floating dtype.
        alpha: 1 or more.

    Returns:
        exp_alpha(u), shape and dtype of `u`.

    Raises:
        TypeError: `u` is not a floating tensor, or `alpha` not a number.
        ValueError: `alpha` is below 1.

    Source: Tsallis 1988, "Possible generalization of Boltzmann-Gibbs statistics".
    """
    require.floating(u=u)
    require.number(alpha=alpha, least=1)
    wide, beta = widen(u), alpha - 1
    if beta == 0:
        return u.exp()
    cut = 1 + beta * wide <= 0  # false for NaN, which stays NaN
    inside = (beta * wide).masked_fill(cut, 0)
    return (inside.log1p() / beta).exp().masked_fill(cut, 0).to(u.dtype)


def entmax_slope(p: Tensor, alpha: float) -> Tensor:
    """How fast a probability of entmax grows with its score while the threshold
    stays put.

    s_i = p_i^(2-alpha) on the support, 0 elsewhere; no larger than what leaves the
    sum of a row finite"""
    most = torch.finfo(p.dtype).max / 2**32
    slopes = p.masked_fill(p == 0, 1).pow(2 - alpha).clamp(max=most)
    return slopes.masked_fill(p == 0, 0)


def sparsemax_jacobian(p: Tensor) -> Tensor:
    """The Jacobian of sparsemax, from its result: J = diag(m) - m m^T / |m|, m_i =
    1 on the support, else 0.

    Args:
        p: probabilities (..., n), any floating dtype; the result of `sparsemax`,
            not the scores.

    Returns:
        J_ij = dp_i / dx_j, (..., n, n).

    Raises:
        TypeError: `p` is not a floating tensor.
        ValueError: `p` is not a distribution over its last dimension.

    Source: Martins & Astudillo 2016, section 2.5, arXiv:1602.02068.
    """
    return entmax_jacobian(p, alpha=2.0)


def entmax_jacobian(p: Tensor, alpha: float = 1.5) -> Tensor:
    """The Jacobian of entmax, from its result.

        J = diag(s) - s s^T / sum(s)
        s_i = p_i^(2-alpha) on the support,   0 elsewhere

    Args:
        p: probabilities (..., n), any floating dtype; the result of `entmax`, not
            the scores.
        alpha: the alpha that made `p`, 1 or more.

    Returns:
        J_ij = dp_i / dx_j, (..., n, n), symmetric.

    Raises:
        TypeError: `p` is not a floating tensor.
        ValueError: `alpha` is below 1; `p` is not a distribution over its last
            dimension.

    Source: Peters, Niculae & Martins 2019, Proposition 1, arXiv:1905.05702.
    """
    require.number(alpha=alpha, least=1)
    require.distribution(p=p)
    return zero_sum_jacobian(entmax_slope(widen(p), alpha)).to(p.dtype)


def tsallis_entropy(p: Tensor, alpha: float = 1.5, dim: int = -1) -> Tensor:
    """The Tsallis entropy, which entmax trades against the score.

        H_alpha(p) = sum_i (p_i - p_i^alpha) / (alpha (alpha-1))
        H_1(p) = -sum_i p_i log p_i

    alpha = 1 is Shannon's entropy, alpha = 2 half the Gini index.

    Args:
        p: probabilities (..., n, ...), any floating dtype.
        alpha: 1 or more.
        dim: the dimension of size n.

    Returns:
        The entropy, shape of `p` without `dim`: 0 at a vertex, largest at 1/n.

    Raises:
        TypeError: `p` is not a floating tensor.
        ValueError: `alpha` is below 1; bad `dim`.

    Source: Peters, Niculae & Martins 2019, section 3, arXiv:1905.05702; Tsallis
        1988."""
    require.number(alpha=alpha, least=1)
    require_scores(p, dim, "p")
    wide = widen(p)
    if alpha == 1:
        return torch.special.entr(wide).sum(dim).to(p.dtype)
    lost = (wide - wide.pow(alpha)).sum(dim)
    return (lost / (alpha * (alpha - 1))).to(p.dtype)


def ranks(x: Tensor, dim: int) -> Tensor:
    """1, 2, ..., n along `dim`, shaped so that it broadcasts against `x`."""
    k = torch.arange(1, x.shape[dim] + 1, dtype=x.dtype, device=x.device)
    return k.view(-1, *[1] * (x.dim() - 1 - dim % x.dim()))


def require_even(order: int) -> None:
    """Refuse a degree for which the polynomial has a zero."""
    require.whole(order=order, least=2)
    if order % 2:
        raise ValueError(f"order must be even, got {order}")
