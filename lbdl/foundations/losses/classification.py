"""Losses of classes, all from logits: scores of any size, before any softmax or
sigmoid.

Cross-entropy is the code length of the right answer (Shannon 1948); its gradient in
the logits is prediction minus target. Label smoothing: Szegedy et al. 2016,
arXiv:1512.00567. Focal loss: Lin et al. 2017, arXiv:1708.02002. Hinge:
Cortes & Vapnik 1995; for many classes Weston & Watkins 1999.

Binary losses take targets of 0 and 1, shape of the logits. The others take class
numbers, int64, with the shape of the logits less the dimension of the classes;
there a logit of -inf marks a class that cannot be. A row in which every class is
masked is refused, as by the maps of `lbdl.models.softmax`. NaN, and +inf, in a row
make its loss NaN. What is 0 times infinity on paper is taken for its limit, 0.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

from lbdl import kernels, require
from lbdl.foundations.losses.reduction import REDUCTIONS, reduced

# --- Two classes ------------------------------------------------------------------


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    weight: float | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The code length of yes or no.

        l = -w y log sigma(x) - (1 - y) log sigma(-x),    sigma(x) = 1 / (1 + e^-x)

    Computed (for w = 1) as ([x >= 0] - y) x - log sigma(|x|), two terms of one
    sign, with a log of sigma that never sees sigma itself: exact to the last digits
    on both sides, for both answers.

    Args:
        logits: x, any shape, floating dtype.
        targets: y in [0, 1], same shape, any real dtype.
        weight: w >= 0 of the class 1 (torch's `pos_weight`); 1 when not given.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `logits`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a target outside [0, 1], shapes differ, no element, bad `weight`
            or `reduction`.

    Source: Shannon 1948; Good 1952, "Rational decisions", for the score.
    """
    x, y = as_binary(logits, targets, reduction)
    require.values(in_unit_interval(y), "targets must be in [0, 1] everywhere")
    require.number(weight=1 if weight is None else weight, least=0)
    of_one = y if weight is None else weight * y
    up = x.detach() >= 0
    unlike = torch.where(
        up, 1 - y, -of_one
    )  # what the answer x says, and is not so
    less = logsigmoid(torch.where(up, x, -x))
    if weight is not None:
        less = (of_one + 1 - y) * less
    losses = unlike * x - less
    if may_be_infinite(x):
        losses = losses.masked_fill(certainly_right(x, unlike), 0)
    return reduced(losses, reduction, logits.dtype)


def certainly_right(x: Tensor, unlike: Tensor) -> Tensor:
    """Where an infinite logit says what is so: the loss is 0, and not 0 times
    inf."""
    return x.isinf() & (unlike == 0)


def may_be_infinite(x: Tensor) -> bool:
    """Whether a logit is infinite; where nobody can look, it may be."""
    return not require.visible(x) or bool(x.detach().isinf().any())


def focal(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy that turns away from what is already right.

        l = -alpha_t (1 - p_t)^gamma log p_t,
        p_t = sigma(x) where y = 1, 1 - sigma(x) where y = 0
        alpha_t = alpha where y = 1, 1 - alpha where y = 0

    With s = x or -x, log p_t = log sigma(s) and log(1 - p_t) = log sigma(-s): the
    power is taken of a logarithm, so that value and gradient stay finite for every
    logit and every gamma >= 0.

    Args:
        logits: x, any shape, floating dtype.
        targets: y, 0 or 1, same shape, any real dtype.
        gamma: how fast easy examples fade, >= 0; 0 is cross-entropy.
        alpha: share of the class 1 in [0, 1]; `None` leaves the classes alone.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `logits`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a target that is neither 0 nor 1, shapes differ, no element,
            `gamma` or `alpha` out of range, unknown `reduction`.

    Source: Lin et al. 2017, equation (5), arXiv:1708.02002.
    """
    x, y = as_binary(logits, targets, reduction)
    require_hard(targets=y)
    require.number(gamma=gamma, least=0)
    s = (2 * y - 1) * x
    losses = modulated(logsigmoid(s), logsigmoid(-s), gamma, may_be_infinite(x))
    if alpha is not None:
        require.number(alpha=alpha, least=0, most=1)
        shares = alpha * y + (1 - alpha) * (1 - y)
        losses = shares * losses if 0 < alpha < 1 else weighed(shares, losses)
    return reduced(losses, reduction, logits.dtype)


def modulated(
    log_p: Tensor, log_rest: Tensor, gamma: float, limits: bool
) -> Tensor:
    """-(1 - p)^gamma log p from the logarithms of p and of 1 - p.

    With `limits`, infinite logarithms are provided for: at p = 0 the factor is 1
    and does not move, at p = 1 the loss is 0 and does not move, neither found as 0
    times infinity.
    """
    if gamma == 0:
        return -log_p
    factor = torch.exp(gamma * log_rest)
    if not limits:
        return -factor * log_p
    factor = factor.masked_fill(log_p.isneginf(), 1)
    return (-factor * log_p).masked_fill(log_rest.isneginf(), 0)


def weighed(weights: Tensor, losses: Tensor) -> Tensor:
    """Weights times losses, 0 where the weight is 0, whatever the loss."""
    return (weights * losses).masked_fill(weights == 0, 0)


def hinge(
    logits: Tensor, targets: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Right by a margin, or pay for what is missing.

        l = max(0, margin - s x),    s = 1 where y = 1, -1 where y = 0

    Args:
        logits: x, any shape, floating dtype.
        targets: y, 0 or 1, same shape, any real dtype.
        margin: >= 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `logits`. At the kink the
        gradient is 0.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a target that is neither 0 nor 1, shapes differ, no element, bad
            `margin` or `reduction`.

    Source: Cortes & Vapnik 1995, Machine Learning 20.
    """
    x, y = as_binary(logits, targets, reduction)
    require_hard(targets=y)
    require.number(margin=margin, least=0)
    losses = (margin - (2 * y - 1) * x).relu()
    return reduced(losses, reduction, logits.dtype)


# --- Many classes -----------------------------------------------------------------


def log_softmax(logits: Tensor, dim: int = -1) -> Tensor:
    """Logarithms of the softmax, without the softmax.

        log p_k = x_k - log sum_j exp(x_j) = z_k - log sum_j exp(z_j),
        z = x - max x

    The shift changes nothing in exact arithmetic; in a computer's, no exponential
    overflows and one of them is 1, so that the sum is never 0. -inf marks a class
    that cannot be.

    Args:
        logits: x (..., K, ...), floating dtype.
        dim: the dimension of the K classes.

    Returns:
        log p, shape and dtype of `logits`.

    Raises:
        TypeError: `logits` is not a floating tensor, or `dim` no whole number.
        ValueError: there is no such dimension in `logits`, no element, or a row of
            -inf alone.

    Source: Blanchard, Higham & Higham 2021, IMA Journal of Numerical Analysis
        41(4), for its accuracy.
    """
    require.floating(logits=logits)
    require.dim(logits, dim, "logits")
    require.nonempty(logits=logits)
    return log_probabilities(logits, dim).to(logits.dtype)


def log_probabilities(logits: Tensor, dim: int, name: str = "logits") -> Tensor:
    """`log_softmax` in float32 or better."""
    x = require.widen(logits)
    peak = x.detach().amax(dim, keepdim=True)
    require.unmasked(**{name: peak})
    z = x - peak
    return z - z.exp().sum(dim, keepdim=True).log()


def soft_cross_entropy(
    logits: Tensor, q: Tensor, *, dim: int = -1, reduction: str = "mean"
) -> Tensor:
    """The mean code length when the answer itself is a distribution.

        l = -sum_k q_k log p_k,    p = softmax(x);
        gradient p - q, for sum_k q_k = 1

    Args:
        logits: x (..., K, ...), floating dtype.
        q: probabilities >= 0, shape and dtype of `logits`; what is 0 adds 0.
        dim: the dimension of the K classes.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `logits` without `dim`.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes differ, a negative `q`, no such dimension, no element, a
            row of -inf alone, or unknown `reduction`.

    Source: Shannon 1948; Szegedy et al. 2016, section 7, arXiv:1512.00567.
    """
    require.choice(REDUCTIONS, reduction=reduction)
    require.matching(logits=logits, q=q)
    require.dim(logits, dim, "logits")
    require.nonempty(logits=logits)
    require.within(q=q, least=0)
    losses = weighed(require.widen(q), -log_probabilities(logits, dim)).sum(dim)
    return reduced(losses, reduction, logits.dtype)


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    dim: int = -1,
    smoothing: float = 0.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The code length of the right class, a share of the target spread over all.

        l = -(1 - eps) w_t log p_t - (eps / K) sum_k w_k log p_k,    p = softmax(x)

    Args:
        logits: x (..., K, ...), floating dtype.
        target: class numbers t, int64, shape of `logits` without `dim`.
        dim: the dimension of the K classes.
        smoothing: eps in [0, 1].
        weight: w (K,), floating, >= 0; all one when not given. "mean" then divides
            by the sum of the w_t. What weighs 0 adds 0, a masked class too.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `target`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a class number is not in [0, K), `smoothing`
            is outside [0, 1], no element, a row of -inf alone, unknown `reduction`.

    Source: Szegedy et al. 2016, section 7, arXiv:1512.00567; weights as
        `torch.nn.CrossEntropyLoss`.
    """
    require_classification(logits, target, dim, reduction)
    require.number(smoothing=smoothing, least=0, most=1)
    log_p = log_probabilities(logits, dim).movedim(dim, -1)  # (..., K)
    of_target = None
    if weight is not None:
        require_weight(weight, log_p)
        log_p, of_target = (
            weighed(weight.to(log_p), log_p),
            weight[target].to(log_p),
        )
    losses = smoothed(log_p, target, smoothing)
    return reduced(losses, reduction, logits.dtype, of_target)


def fast_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """`cross_entropy` over the last dimension, its gradient p - q written down
    instead of found.

        l = -(1 - eps) log p_t - (eps / K) sum_k log p_k,
        dl/dx = p - (1 - eps) onehot(t) - eps / K

    Differentiable once. On CUDA a kernel does it, where Triton is installed; it
    does not look back: a row with NaN, +inf, no finite logit, or a class that is
    not there has the loss NaN.

    Args:
        logits: x (..., K), floating dtype.
        target: class numbers t (...), int64.
        smoothing: eps in [0, 1].
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses (...).

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: as `cross_entropy`.

    Source: Szegedy et al. 2016, section 7, arXiv:1512.00567.
    """
    require.floating(logits=logits)
    require.integer(target=target)
    require.number(smoothing=smoothing, least=0, most=1)
    if kernels.serve(logits, target):
        require_table(logits, target, -1, reduction)
        losses = KernelCrossEntropy.apply(logits, target, smoothing)
        return reduced(losses, reduction, logits.dtype)
    require_classification(logits, target, -1, reduction)
    if not require.visible(logits):
        return cross_entropy(
            logits, target, smoothing=smoothing, reduction=reduction
        )
    losses = PredictionMinusTarget.apply(require.widen(logits), target, smoothing)
    if bool(losses.detach().isnan().any()):
        require.unmasked(logits=logits.detach().amax(-1))
    return reduced(losses, reduction, logits.dtype)


class PredictionMinusTarget(torch.autograd.Function):
    """Cross-entropy losses (...) of logits (..., K); saves log p alone."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, smoothing: float
    ) -> Tensor:
        log_p = torch.log_softmax(logits, -1)
        ctx.save_for_backward(log_p, target)
        ctx.smoothing = smoothing
        return smoothed(log_p, target, smoothing)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        log_p, target = ctx.saved_tensors
        eps, index = ctx.smoothing, target.unsqueeze(-1)
        p = log_p.exp()
        if eps > 0:
            p -= eps / p.shape[-1]
        p.scatter_add_(-1, index, p.new_full((1,), eps - 1).expand(index.shape))
        return p.mul_(grad.unsqueeze(-1)), None, None


class KernelCrossEntropy(torch.autograd.Function):
    """Cross-entropy losses (...) of logits (..., K); saves the logits and one
    number a row."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, smoothing: float
    ) -> Tensor:
        from lbdl.foundations.losses.triton import cross_entropy_forward

        rows = logits.reshape(-1, logits.shape[-1])
        losses, lse = cross_entropy_forward(rows, target.flatten(), smoothing)
        ctx.save_for_backward(logits, target, lse)
        ctx.smoothing = smoothing
        return losses.view(target.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        from lbdl.foundations.losses.triton import cross_entropy_backward

        logits, target, lse = ctx.saved_tensors
        rows = logits.reshape(-1, logits.shape[-1])
        gradient = cross_entropy_backward(
            rows, target.flatten(), lse, grad.flatten(), ctx.smoothing
        )
        return gradient.view(logits.shape), None, None


def smoothed_optimum(classes: int, smoothing: float) -> tuple[float, float, float]:
    """What label smoothing asks for: the best probability of the right class, its
    logit's lead, the loss that is left.

        p_t = 1 - eps + eps / K,    lead = log(K (1 - eps) / eps + 1),
        loss = entropy of the smoothed target

    Args:
        classes: K >= 2, a number.
        smoothing: eps in (0, 1], a number.

    Returns:
        p_t, the lead over every other logit, and the smallest loss: three numbers.

    Raises:
        TypeError: `classes` is no whole number, or `smoothing` no number.
        ValueError: an argument is out of range.

    Source: Szegedy et al. 2016, section 7, arXiv:1512.00567: the minimum of
        cross-entropy is at p = q.
    """
    require.whole(classes=classes, least=2)
    require.number(smoothing=smoothing, above=0, most=1)
    right, wrong = 1 - smoothing + smoothing / classes, smoothing / classes
    loss = -right * math.log(right) - (classes - 1) * wrong * math.log(wrong)
    return right, math.log(right / wrong), loss


def multiclass_focal(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    dim: int = -1,
    reduction: str = "mean",
) -> Tensor:
    """Focal loss over a softmax.

        l = -(1 - p_t)^gamma log p_t,    p = softmax(x),
        1 - p_t = sum_{k != t} p_k

    Args:
        logits: x (..., K, ...) with K >= 2, floating dtype.
        target: class numbers t, int64, shape of `logits` without `dim`.
        gamma: how fast easy examples fade, >= 0; 0 is cross-entropy.
        dim: the dimension of the K classes.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `target`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a class number is not in [0, K), `gamma` < 0,
            K < 2, a row of -inf alone, unknown `reduction`.

    Source: Lin et al. 2017, equation (4), arXiv:1708.02002, with the softmax in
        place of the sigmoid.
    """
    require_classification(logits, target, dim, reduction, least=2)
    require.number(gamma=gamma, least=0)
    log_p = log_probabilities(logits, dim).movedim(dim, -1)
    rest = log_of_rest(log_p, target)
    losses = modulated(pick(log_p, target), rest, gamma, limits=True)
    return reduced(losses, reduction, logits.dtype)


def log_of_rest(log_p: Tensor, target: Tensor) -> Tensor:
    """log(1 - p_t) as the logarithm of the sum of all others, without 1 - p_t;
    -inf, and no slope, where all others are masked."""
    others = log_p.scatter(-1, target.unsqueeze(-1), -math.inf)
    alone = others.detach().isneginf().all(-1)
    rest = others.masked_fill(alone.unsqueeze(-1), 0).logsumexp(-1)
    return rest.masked_fill(alone, -math.inf)


def multiclass_hinge(
    logits: Tensor,
    target: Tensor,
    *,
    margin: float = 1.0,
    dim: int = -1,
    reduction: str = "mean",
) -> Tensor:
    """The right class ahead of every other by a margin.

        l = (1/K) sum_{k != t} max(0, margin - x_t + x_k)

    Args:
        logits: x (..., K, ...), floating dtype.
        target: class numbers t, int64, shape of `logits` without `dim`.
        margin: >= 0.
        dim: the dimension of the K classes.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `target`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a class number is not in [0, K),
            `margin` < 0, a row of -inf alone, unknown `reduction`.

    Source: Weston & Watkins 1999, ESANN; the factor 1/K as
        `torch.nn.MultiMarginLoss`.
    """
    require_classification(logits, target, dim, reduction)
    require.number(margin=margin, least=0)
    x, index = require.widen(logits).movedim(dim, -1), target.unsqueeze(-1)
    require.unmasked(logits=x.amax(-1))
    missing = (margin - x.gather(-1, index) + x).relu().scatter(-1, index, 0)
    losses = missing.masked_fill(x.isneginf(), 0).mean(-1)
    return reduced(losses, reduction, logits.dtype)


def zero_one(
    logits: Tensor, target: Tensor, *, dim: int = -1, reduction: str = "mean"
) -> Tensor:
    """The error itself: constant wherever it is differentiable, so no gradient
    comes from it.

        l = 0 where x_t is the largest, 1 elsewhere

    Args:
        logits: x (..., K, ...), floating dtype.
        target: class numbers t, int64, shape of `logits` without `dim`.
        dim: the dimension of the K classes.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, dtype of `logits`; with "none" the losses, shape of `target`. No
        graph.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a class number is not in [0, K), no element,
            a row of -inf alone, unknown `reduction`.

    Source: Bartlett, Jordan & McAuliffe 2006, JASA 101(473), for what may stand in
        its place.
    """
    require_classification(logits, target, dim, reduction)
    peak = logits.detach().amax(dim)
    require.unmasked(logits=peak)
    losses = (logits.detach().argmax(dim) != target).to(logits.dtype)
    return reduced(
        losses.masked_fill(peak.isnan(), math.nan), reduction, logits.dtype
    )


# --- What they ask for ------------------------------------------------------------


def pick(x: Tensor, target: Tensor) -> Tensor:
    """x_t: of (..., K) the entries at class numbers (...)."""
    return x.gather(-1, target.unsqueeze(-1)).squeeze(-1)


def smoothed(log_p: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """-(1 - eps) log p_t - (eps / K) sum_k log p_k; what eps leaves out adds 0."""
    if smoothing == 0:
        return -pick(log_p, target)
    over_all = -smoothing * log_p.mean(-1)
    return (
        over_all
        if smoothing == 1
        else over_all - (1 - smoothing) * pick(log_p, target)
    )


def in_unit_interval(y: Tensor) -> Tensor:
    """Whether every element is from 0 to 1, in one pass."""
    low, high = y.aminmax()
    return (low >= 0) & (high <= 1)


def as_binary(
    logits: Tensor, targets: Tensor, reduction: str
) -> tuple[Tensor, Tensor]:
    """Logits in float32 or better and targets in their dtype, looked at first."""
    require.choice(REDUCTIONS, reduction=reduction)
    require.floating(logits=logits)
    require.real(targets=targets)
    require.same_shape(logits=logits, targets=targets)
    require.nonempty(logits=logits)
    x = require.widen(logits)
    return x, targets.to(x.dtype)


def require_hard(**targets: Tensor) -> None:
    """ValueError where a binary target is neither 0 nor 1."""
    for name, y in targets.items():
        require.values((y == 0) | (y == 1), f"{name} must be 0 or 1 everywhere")


def require_classification(
    logits: Tensor, target: Tensor, dim: int, reduction: str, *, least: int = 1
) -> None:
    """What every loss of many classes asks for."""
    require_table(logits, target, dim, reduction, least=least)
    require.classes(logits.shape[dim], name="target", targets=target)


def require_table(
    logits: Tensor, target: Tensor, dim: int, reduction: str, *, least: int = 1
) -> None:
    """The same without a look at the targets' values."""
    require.choice(REDUCTIONS, reduction=reduction)
    require.floating(logits=logits)
    require.dim(logits, dim, "logits", least=least)
    require.nonempty(logits=logits)
    require.integer(target=target)
    shape = list(logits.shape)
    shape.pop(dim)
    if list(target.shape) != shape:
        raise ValueError(
            f"target must have shape {tuple(shape)}, that of logits without dim "
            f"{dim}, got {tuple(target.shape)}"
        )


def require_weight(weight: Tensor, log_p: Tensor) -> None:
    """One weight >= 0 for every class."""
    require.floating(weight=weight)
    if weight.shape != log_p.shape[-1:]:
        raise ValueError(
            f"weight must have shape ({log_p.shape[-1]},), one a class, got "
            f"{tuple(weight.shape)}"
        )
    require.within(weight=weight, least=0)
