"""From scores to probabilities: softmax, and the maps that take its place.

A map here takes scores x in R^n to the probability simplex. Softmax is smooth and
never zero; sparsemax (Martins & Astudillo 2016, arXiv:1602.02068) and entmax
(Peters, Niculae & Martins 2019, arXiv:1905.05702) have exact zeros; sparse softmax
(Sun et al. 2021, arXiv:2112.12433) keeps the k largest; Taylor softmax (de
Brebisson & Vincent 2016, arXiv:1511.05042) replaces the exponential by a
polynomial. These are the plain ways, written to be read; `fast.py` has the fast
ones.

Common to all: -inf marks a masked element, which gets exactly 0; float16 and
bfloat16 are computed in float32; a row with NaN, +inf or no finite score raises
ValueError (looked up in the row's maximum; not inside `torch.compile`).
"""

from math import factorial, log2

import torch
from torch import Tensor

from lbdl.models.softmax.scores import require_scores, row_peak, shifted, widen


def softmax(x: Tensor, dim: int = -1, temperature: float = 1.0) -> Tensor:
    """Probabilities in proportion to the exponentials of the scores.

        p_i = exp(x_i / temperature) / sum_j exp(x_j / temperature)

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        dim: the dimension, of size n >= 1, that becomes a distribution.
        temperature: above 0; towards 0 the maximum takes all, towards infinity all
            get 1/n.

    Returns:
        Probabilities, shape and dtype of `x`.

    Raises:
        TypeError: `x` is not a floating-point tensor.
        ValueError: bad `dim` or `temperature`; a row with NaN, +inf or no finite
            score.

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification
        network outputs".
    """
    require_positive(temperature, "temperature")
    weights = (shifted(x, dim) / temperature).exp()
    return (weights / weights.sum(dim, keepdim=True)).to(x.dtype)


def logsumexp(x: Tensor, dim: int = -1, temperature: float = 1.0) -> Tensor:
    """A smooth maximum: it lies between max(x) and max(x) + temperature * log(n),
    and its gradient is softmax.

        temperature * log sum_i exp(x_i / temperature)

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks a masked element.
        dim: the dimension, of size n >= 1, to reduce.
        temperature: above 0; towards 0 the result becomes the maximum.

    Returns:
        The smooth maximum, shape of `x` without `dim`.

    Raises:
        TypeError: `x` is not a floating-point tensor.
        ValueError: bad `dim` or `temperature`; a row with NaN, +inf or no finite
            score.

    Source: Boyd & Vandenberghe 2004, "Convex Optimization", section 3.1.5.
    """
    require_positive(temperature, "temperature")
    peak = widen(row_peak(x, dim))
    excess = temperature * ((widen(x) - peak) / temperature).exp().sum(dim).log()
    return (peak.squeeze(dim) + excess).to(x.dtype)


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
        TypeError: `x` is not a floating-point tensor.
        ValueError: `order` is odd or below 2; bad `dim`; a row with NaN, +inf or no
            finite score.

    Source: de Brebisson & Vincent 2016, arXiv:1511.05042.
    """
    if order < 2 or order % 2:
        raise ValueError(f"order must be an even number of 2 or more, got {order}")
    row_peak(x, dim)
    masked = torch.isneginf(x)
    finite = widen(x).masked_fill(masked, 0)
    weights = scaled_exponential_series(finite, order, dim).masked_fill(masked, 0)
    return (weights / weights.sum(dim, keepdim=True)).to(x.dtype)


def scaled_exponential_series(x: Tensor, order: int, dim: int) -> Tensor:
    """sum_m x^m / m! up to `order`, by Horner's rule, over s^order with s = max(1,
    max|x|), so that nothing overflows.

    Args:
        x: finite scores (..., n, ...), float32 or float64.
        order: the degree.
        dim: the dimension over which the scale s is shared.

    Returns:
        The scaled polynomial, shape of `x`.

    Source: de Brebisson & Vincent 2016, arXiv:1511.05042; the scaling cancels in
        the quotient.
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
        TypeError: `x` is not a floating-point tensor.
        ValueError: `k` is not in [1, n]; bad `dim`; a row with NaN, +inf or no
            finite score.

    Source: Sun et al. 2021, arXiv:2112.12433.
    """
    require_top(x, k, dim)
    top, where = x.topk(k, dim=dim)
    return torch.zeros_like(x).scatter(dim, where, softmax(top, dim))


def sparsemax(x: Tensor, dim: int = -1) -> Tensor:
    """Euclidean projection of scores onto the probability simplex.

        sparsemax(x) = argmin ||p - x||^2  s.t.  p >= 0, sum(p) = 1
            =   relu(x - tau)

    with the one threshold tau for which the result sums to one.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`; exact zeros outside the support.

    Raises:
        TypeError: `x` is not a floating-point tensor.
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

    Source: Martins & Astudillo 2016, Proposition 1, arXiv:1602.02068.
    """
    candidates = (descending.cumsum(dim) - 1) / ranks(descending, dim)
    support_size = (descending > candidates).sum(dim, keepdim=True)
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
        TypeError: `x` is not a floating-point tensor.
        ValueError: bad `dim`; a row with NaN, +inf or no finite score.

    Source: Peters, Niculae & Martins 2019, Algorithm 2, arXiv:1905.05702.
    """
    # max(z) = 0, so tau >= -1: what lies below gets 0 all the same
    z = (shifted(x, dim) / 2).clamp(min=-1)
    descending = z.sort(dim=dim, descending=True).values
    return (z - entmax15_threshold(descending, dim)).relu().square().to(x.dtype)


def entmax15_threshold(descending: Tensor, dim: int = -1) -> Tensor:
    """The threshold of 1.5-entmax, from sorted scores: the smaller root of
    sum_{i <= k} (z_i - tau)^2 = 1.

        tau_k = mean_k - sqrt(1 / k - variance_k)
        for the k of the support, mean and variance over z_1 ... z_k

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
            =   relu((alpha-1) x - tau)^(1/(alpha-1))

    alpha = 1 is softmax, alpha = 2 sparsemax. The threshold tau is found through
    the largest probability P, since tau = (alpha-1) max(x) - P^(alpha-1): halve the
    bracket 1/n <= P <= 1 until nothing is left of it. One Newton step at the root
    then lets autograd see how P depends on the scores (the implicit function
    theorem; first derivatives only).

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        alpha: 1 or more; from 1 on, the larger, the sparser.
        dim: the dimension, of size n >= 1, that becomes a distribution.

    Returns:
        Probabilities, shape and dtype of `x`; exact zeros outside the support where
        alpha > 1. Above alpha = 2 a probability near 0 moves infinitely fast with
        its score, and is right only to the root of the rounding.

    Raises:
        TypeError: `x` is not a floating-point tensor.
        ValueError: `alpha` is below 1; bad `dim`; a row with NaN, +inf or no finite
            score.

    Source: Peters, Niculae & Martins 2019, section 3 and Algorithm 1,
        arXiv:1905.05702.
    """
    # finite, and far enough down to get 0
    z = shifted(x, dim).clamp(min=-2 * one_hot_gap(alpha))
    peak = bisect_peak(z.detach(), alpha, dim)
    p = entmax_with_peak(z, peak, alpha)
    slope = entmax_slope(p.detach(), alpha).sum(dim, keepdim=True) * peak ** (
        alpha - 2
    )  # d sum(p) / dP
    peak = peak - (p.sum(dim, keepdim=True) - 1) / slope
    return entmax_with_peak(z, peak, alpha).to(x.dtype)


def one_hot_gap(alpha: float) -> float:
    """By how much the largest score must lead for entmax to give it everything:
    1 / (alpha-1).

    Args:
        alpha: 1 or more.

    Returns:
        The gap; infinite for alpha = 1, because softmax has no zeros.

    Raises:
        ValueError: `alpha` is below 1.

    Source: Blondel, Martins & Niculae 2020, arXiv:1901.02324: the separation margin
        of the loss.
    """
    require_alpha(alpha)
    return 1 / (alpha - 1) if alpha > 1 else float("inf")


def bisect_peak(z: Tensor, alpha: float, dim: int = -1) -> Tensor:
    """The largest probability of entmax, by bisection: the total probability grows
    with it.

    The end that comes from above is returned: there the total is not below 1, so
    that no member of the support is missed, however small.

    Args:
        z: scores minus their row's maximum (..., n, ...), float32 or float64.
        alpha: 1 or more.
        dim: the dimension of size n.

    Returns:
        P in [1/n, 1], (..., 1, ...), as exact as the dtype holds it.

    Source: Peters, Niculae & Martins 2019, Algorithm 1, arXiv:1905.05702, with P in
        place of the threshold.
    """
    high = torch.ones_like(z.narrow(dim, 0, 1))
    low = high / z.shape[dim]
    for _ in range(int(-log2(torch.finfo(z.dtype).eps)) + 4):
        middle = (low + high) / 2
        too_much = entmax_with_peak(z, middle, alpha).sum(dim, keepdim=True) > 1
        low, high = (
            torch.where(too_much, low, middle),
            torch.where(too_much, middle, high),
        )
    return high


def entmax_with_peak(z: Tensor, peak: Tensor, alpha: float) -> Tensor:
    """The probabilities of entmax if the largest is P:
    p_i = P * exp_alpha(z_i / P^(alpha-1)).

    This is relu((alpha-1) z_i + P^(alpha-1))^(1/(alpha-1)), in a form that stays
    exact for alpha near 1.

    Args:
        z: scores minus their row's maximum (..., n, ...), float32 or float64.
        peak: P (..., 1, ...).
        alpha: 1 or more.

    Returns:
        Nonnegative numbers, shape of `z`; they sum to 1 for the right P.

    Source: Peters, Niculae & Martins 2019, equation 13, arXiv:1905.05702,
        rewritten.
    """
    smallest = torch.finfo(z.dtype).tiny
    return peak * tsallis_exp(z / (peak ** (alpha - 1)).clamp(min=smallest), alpha)


def tsallis_exp(u: Tensor, alpha: float) -> Tensor:
    """The exponential that is cut off at zero:   exp_alpha(u) = relu(1 + (alpha-1)
    u)^(1/(alpha-1)),   exp_1 = exp.

    Args:
        u: any shape, floating dtype.
        alpha: 1 or more.

    Returns:
        exp_alpha(u), shape and dtype of `u`.

    Source: Tsallis 1988, "Possible generalization of Boltzmann-Gibbs statistics".
    """
    beta = alpha - 1
    if beta == 0:
        return u.exp()
    inside = 1 + beta * u > 0
    return ((beta * u).where(inside, 0).log1p() / beta).exp().where(inside, 0)


def entmax_slope(p: Tensor, alpha: float) -> Tensor:
    """How fast a probability of entmax grows with its score while the threshold
    stays put.

        s_i = p_i^(2-alpha) on the support,   0 elsewhere

    Args:
        p: probabilities, any shape, floating dtype.
        alpha: 1 or more.

    Returns:
        s, shape and dtype of `p`.

    Source: Peters, Niculae & Martins 2019, Proposition 1, arXiv:1905.05702.
    """
    return p.where(p > 0, 1).pow(2 - alpha).where(p > 0, 0)


def softmax_jacobian(p: Tensor) -> Tensor:
    """The Jacobian of softmax, from its result:   J = diag(p) - p p^T.

    Half the sum of |J_ij| is 1 - sum_i p_i^2. At temperature t, divide J by t.

    Args:
        p: probabilities (..., n), any floating dtype; the result of `softmax`, not
            the scores.

    Returns:
        J_ij = dp_i / dx_j, (..., n, n).

    Raises:
        TypeError: `p` is not a floating-point tensor.
        ValueError: `p` is not a distribution over its last dimension.

    Source: Martins & Astudillo 2016, section 2.5, arXiv:1602.02068.
    """
    return entmax_jacobian(p, alpha=1.0)


def sparsemax_jacobian(p: Tensor) -> Tensor:
    """The Jacobian of sparsemax, from its result:   J = diag(m) - m m^T / |m|,
    m_i = 1 on the support, else 0.

    Args:
        p: probabilities (..., n), any floating dtype; the result of `sparsemax`,
            not the scores.

    Returns:
        J_ij = dp_i / dx_j, (..., n, n).

    Raises:
        TypeError: `p` is not a floating-point tensor.
        ValueError: `p` is not a distribution over its last dimension.

    Source: Martins & Astudillo 2016, section 2.5, arXiv:1602.02068.
    """
    return entmax_jacobian(p, alpha=2.0)


def entmax_jacobian(p: Tensor, alpha: float = 1.5) -> Tensor:
    """The Jacobian of entmax, from its result.

        J = diag(s) - s s^T / sum(s),   s_i = p_i^(2-alpha) on the support,
        0 elsewhere

    Args:
        p: probabilities (..., n), any floating dtype; the result of `entmax`, not
            the scores.
        alpha: the alpha that made `p`, 1 or more.

    Returns:
        J_ij = dp_i / dx_j, (..., n, n), symmetric.

    Raises:
        TypeError: `p` is not a floating-point tensor.
        ValueError: `alpha` is below 1; `p` is not a distribution over its last
            dimension.

    Source: Peters, Niculae & Martins 2019, Proposition 1, arXiv:1905.05702.
    """
    require_alpha(alpha)
    require_distribution(p)
    s = entmax_slope(widen(p), alpha)
    outer = s.unsqueeze(-1) * s.unsqueeze(-2)  # (..., n, n)
    return (s.diag_embed() - outer / s.sum(-1)[..., None, None]).to(p.dtype)


def tsallis_entropy(p: Tensor, alpha: float = 1.5, dim: int = -1) -> Tensor:
    """The Tsallis entropy, which entmax trades against the score.

        H_alpha(p) = sum_i (p_i - p_i^alpha) / (alpha (alpha-1)),
        H_1(p) = -sum_i p_i log p_i

    alpha = 1 is Shannon's entropy, alpha = 2 half the Gini index.

    Args:
        p: probabilities (..., n, ...), any floating dtype.
        alpha: 1 or more.
        dim: the dimension of size n.

    Returns:
        The entropy, shape of `p` without `dim`: 0 at a vertex, largest at 1/n.

    Raises:
        TypeError: `p` is not a floating-point tensor.
        ValueError: `alpha` is below 1; bad `dim`.

    Source: Peters, Niculae & Martins 2019, section 3, arXiv:1905.05702; Tsallis
        1988.
    """
    require_alpha(alpha)
    require_scores(p, dim, "p")
    if alpha == 1:
        return torch.special.entr(p).sum(dim)
    return (p - p.pow(alpha)).sum(dim) / (alpha * (alpha - 1))


def ranks(x: Tensor, dim: int) -> Tensor:
    """1, 2, ..., n along `dim`, shaped so that it broadcasts against `x`.

    Args:
        x: (..., n, ...), floating dtype.
        dim: the dimension of size n.

    Returns:
        (n, 1, ..., 1) with as many ones as dimensions follow `dim`, dtype and
        device of `x`.

    Source: house rule.
    """
    k = torch.arange(1, x.shape[dim] + 1, dtype=x.dtype, device=x.device)
    return k.view(-1, *[1] * (x.dim() - 1 - dim % x.dim()))


def require_positive(value: float, name: str) -> None:
    """Refuse a number that is not above 0 and finite.

    Args:
        value: the number.
        name: what the caller calls it.

    Raises:
        ValueError: it is not.

    Source: house rule.
    """
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}")


def require_alpha(alpha: float) -> None:
    """Refuse an alpha below 1, where no map of this family is defined.

    Args:
        alpha: the number.

    Raises:
        ValueError: it is below 1, infinite or NaN.

    Source: house rule.
    """
    if not 1 <= alpha < float("inf"):
        raise ValueError(f"alpha must be 1 or more and finite, got {alpha}")


def require_top(x: Tensor, k: int, dim: int) -> None:
    """Refuse a k that does not count scores.

    Args:
        x: scores (..., n, ...), floating dtype.
        k: how many of them to keep.
        dim: the dimension of size n.

    Raises:
        TypeError, ValueError: see `require_scores`; `k` is not in [1, n].

    Source: house rule.
    """
    require_scores(x, dim)
    if not 1 <= k <= x.shape[dim]:
        raise ValueError(
            f"k must be in [1, {x.shape[dim]}] for x of shape {tuple(x.shape)}, "
            f"got {k}"
        )


def require_distribution(p: Tensor) -> None:
    """Refuse what is not a distribution over the last dimension (not looked at
    inside `torch.compile`).

    Args:
        p: (..., n), any floating dtype.

    Raises:
        TypeError, ValueError: see `require_scores`; a negative element, or a sum
            that is not 1.

    Source: house rule.
    """
    require_scores(p, -1, "p")
    if torch.compiler.is_compiling():
        return
    slack = 100 * torch.finfo(p.dtype).eps
    totals = widen(p.detach()).sum(-1)
    if (p < 0).any() or not bool(((totals - 1).abs() <= slack).all()):
        raise ValueError(
            "p must be probabilities that sum to 1 over the last dimension: pass "
            "the result, not the scores"
        )
