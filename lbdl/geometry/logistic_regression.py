"""Logistic regression in closed form: when the classes are Gaussian, the moments of
the data are the answer.

If x given class k is normal with mean mu_k and a covariance that all classes share,
Bayes' rule gives class probabilities that are a softmax of an affine function of x,
and its weights are known from the moments alone: no iteration. The classifier is
Fisher's linear discriminant (Fisher 1936, Annals of Eugenics 7; Rao 1948, JRSS B
10). What it gains over maximum likelihood when the assumption holds: Efron 1975,
JASA 70. Shrinkage for singular covariances: Ledoit & Wolf 2004, J. Multivariate
Anal. 88. Weights multiply from the right, as in `x @ weight + bias`.

Labels and covariances are looked at before they are used (a class without examples,
a singular matrix), so `torch.compile` breaks its graph there, and CUDA waits.
"""

import functools
import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "ClassMoments",
    "conditional_gaussian",
    "linear_regression",
    "class_moments",
    "fast_class_moments",
    "within_covariance",
    "shrink",
    "ledoit_wolf",
    "shrunk_class_moments",
    "logistic_from_gaussians",
    "softmax_from_gaussians",
    "closed_form_logistic",
    "closed_form_softmax",
    "maximum_likelihood_logistic",
    "logistic_derivatives",
    "efron_efficiency",
]

Strength = float | Tensor
Auto = Literal["auto"]


class ClassMoments(NamedTuple):
    """All that the closed form takes from the data: what shares, what means, what
    spread around them.

        p_k,   mu_k,   Sigma = sum_k p_k Cov[x | k]

    Args:
        prior: share of each class (..., K).
        mean: mean of each class (..., K, d).
        covariance: covariance within the classes, divisor n (..., d, d).

    Source: Anderson 2003, An Introduction to Multivariate Statistical Analysis,
        section 6.5.
    """

    prior: Tensor
    mean: Tensor
    covariance: Tensor


# --- Linear regression is a Gaussian's conditional mean ---------------------------


def conditional_gaussian(
    mean: Tensor, covariance: Tensor, x: Tensor
) -> tuple[Tensor, Tensor]:
    """What is left to know of y once x is seen, when (x, y) is jointly normal.

        E[y | x] = mu_y + S_yx S_xx^-1 (x - mu_x),
        Cov[y | x] = S_yy - S_yx S_xx^-1 S_xy

    Args:
        mean: of the joint vector, x first, (..., d + m), floating dtype.
        covariance: of the joint vector (..., d + m, d + m), the block of x positive
            definite.
        x: what was seen (..., d).

    Returns:
        The conditional mean (..., m), affine in x, and the conditional covariance
        (..., m, m), which x does not change.

    Raises:
        ValueError: shapes do not fit, or the covariance of x is singular or not
            finite.

    Source: Anderson 2003, An Introduction to Multivariate Statistical Analysis,
        theorem 2.5.1.
    """
    d = x.shape[-1]
    require_joint(mean, covariance, d)
    cross = covariance[..., :d, d:]  # (..., d, m)
    weight = solve_covariance(covariance[..., :d, :d], cross)
    shift = ((x - mean[..., :d]).unsqueeze(-2) @ weight).squeeze(-2)  # (..., m)
    return mean[..., d:] + shift, covariance[..., d:, d:] - cross.mT @ weight


def linear_regression(
    x: Tensor, y: Tensor, shrinkage: Strength = 0.0
) -> tuple[Tensor, Tensor]:
    """Least squares: the conditional mean of the normal distribution that has the
    moments of the data.

        W, b = argmin sum_i ||x_i W + b - y_i||^2  =  S_xx^-1 S_xy,   mu_y - mu_x W

    Args:
        x: inputs (..., n, d), floating dtype.
        y: targets (..., n, m), same dtype.
        shrinkage: strength in [0, 1] of `shrink` on S_xx, a number or a tensor
            (...).

    Returns:
        Weights (..., d, m) and biases (..., m), in the dtype of `x`.

    Raises:
        ValueError: shapes do not fit, or S_xx is singular or not finite.
        TypeError: `x` is not floating.

    Source: Anderson 2003, section 2.5; least squares itself, Legendre 1805 and
        Gauss 1809.
    """
    require_rows(x)
    if y.dim() != x.dim() or y.shape[:-1] != x.shape[:-1]:
        raise ValueError(
            f"y must be (..., n, m) beside x {tuple(x.shape)}, got shape "
            f"{tuple(y.shape)}"
        )
    rows, targets = x.double(), y.double()
    mean_x, mean_y = rows.mean(-2, keepdim=True), targets.mean(-2, keepdim=True)
    centred, n = rows - mean_x, x.shape[-2]
    covariance = shrink(centred.mT @ centred / n, shrinkage)
    correlation_factor(covariance, torch.finfo(x.dtype).eps ** 2)
    # (..., d, m)
    weight = solve_covariance(covariance, centred.mT @ (targets - mean_y) / n)
    return weight.to(x.dtype), (mean_y - mean_x @ weight).squeeze(-2).to(x.dtype)


# --- The moments of the classes ---------------------------------------------------


def class_moments(x: Tensor, y: Tensor, num_classes: int) -> ClassMoments:
    """Shares, means and the covariance within the classes.

        p_k = n_k / n,   mu_k = mean of class k,
        Sigma = (1/n) sum_i (x_i - mu_{y_i}) (x_i - mu_{y_i})^T

    They maximise the joint likelihood prod_i p(x_i, y_i). They come in float64
    whatever `x` is: they are small, and a covariance is often close to singular.

    Args:
        x: inputs (..., n, d), floating dtype.
        y: class of each row (..., n), integers in [0, num_classes); every class
            occurs.
        num_classes: K >= 2.

    Returns:
        `ClassMoments`: prior (..., K), mean (..., K, d), covariance (..., d, d),
        float64.

    Raises:
        ValueError: shapes do not fit, a label is out of range, a class has no
            example, or `x` is not finite.
        TypeError: `x` is not floating, or `y` is not integer.

    Source: Anderson 2003, An Introduction to Multivariate Statistical Analysis,
        section 6.5.
    """
    member = memberships(x, y, num_classes)  # (..., n, K)
    rows, count = x.double(), member.sum(-2)  # (..., K)
    mean = (member.mT @ rows) / count.unsqueeze(-1)  # (..., K, d)
    require_finite(mean)
    residual = rows - member @ mean  # each row less the mean of its class
    return ClassMoments(
        count / x.shape[-2], mean, residual.mT @ residual / x.shape[-2]
    )


def fast_class_moments(x: Tensor, y: Tensor, num_classes: int) -> ClassMoments:
    """`class_moments` in blocks of rows that stay in the cache: no copy of the data
    is written to memory.

        p_k = n_k / n,   mu_k = mean of class k
        Sigma = (1/n) sum_blocks R^T R,
        R = the block's rows less their class means

    Args:
        x: inputs (..., n, d), floating dtype; a block at a time becomes float64.
        y: class of each row (..., n), integers in [0, num_classes); every class
            occurs.
        num_classes: K >= 2.

    Returns:
        `ClassMoments`: prior (..., K), mean (..., K, d), covariance (..., d, d),
        float64.

    Raises:
        ValueError: shapes do not fit, a label is out of range, a class has no
            example, or `x` is not finite.
        TypeError: `x` is not floating, or `y` is not integer.

    Source: as `class_moments`, blocked.
    """
    member, length = memberships(x, y, num_classes), block_length(x)
    count = member.sum(-2)
    blocks = list(zip(x.split(length, -2), member.split(length, -2), strict=True))
    mean = total(own.mT @ rows.double() for rows, own in blocks) / count.unsqueeze(
        -1
    )  # (..., K, d)
    require_finite(mean)
    residuals = (rows.double() - own @ mean for rows, own in blocks)
    return ClassMoments(
        count / x.shape[-2], mean, total(r.mT @ r for r in residuals) / x.shape[-2]
    )


BLOCK = 1 << 16  # numbers in a block of rows: half a megabyte of float64


def block_length(x: Tensor) -> int:
    """Rows in a block: few enough to stay in the cache, and no fewer than columns,
    so that products outweigh sums."""
    return max(x.shape[-1], BLOCK * x.shape[-2] // x.numel())


def total(terms: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    return functools.reduce(torch.add, terms)


def within_covariance(
    mean: Tensor, covariance: Tensor, prior: Tensor, class_mean: Tensor
) -> Tensor:
    """The covariance within the classes from the covariance of all data: total less
    between.

        Sigma = S + m m^T - sum_k p_k mu_k mu_k^T
            =  S - sum_k p_k (mu_k - m) (mu_k - m)^T

    The second form is computed; the first loses its digits when the data lie far
    from the origin. Where classes lie far apart, both lose digits that
    `class_moments` keeps.

    Args:
        mean: m, mean of all data (..., d), floating dtype.
        covariance: S, covariance of all data, divisor n (..., d, d).
        prior: p_k (..., K), summing to one.
        class_mean: mu_k (..., K, d), whose average is `mean`.

    Returns:
        Sigma (..., d, d).

    Raises:
        ValueError: shapes do not fit.

    Source: the law of total covariance; Rao 1948, JRSS B 10(2).
    """
    require_moments(prior, class_mean, covariance)
    apart = class_mean - mean.unsqueeze(-2)  # (..., K, d)
    return covariance - apart.mT @ (prior.unsqueeze(-1) * apart)


# --- Shrinkage --------------------------------------------------------------------


def shrink(covariance: Tensor, strength: Strength) -> Tensor:
    """Pull a covariance towards a round one of the same size: the way out when it
    is singular.

        (1 - g) Sigma + g (tr Sigma / d) I

    The eigenvectors stay, the eigenvalues move towards their mean, the trace is
    kept. The round target means that features should come on comparable scales:
    standardise first.

    Args:
        covariance: (..., d, d), symmetric, floating dtype.
        strength: g in [0, 1], a number or a tensor (...).

    Returns:
        The shrunk covariance, the shapes broadcast: (..., d, d).

    Raises:
        ValueError: `covariance` is not square, or `strength` is outside [0, 1].

    Source: Friedman 1989, JASA 84(405); Ledoit & Wolf 2004, section 2.
    """
    require_square(covariance)
    g = torch.as_tensor(strength, dtype=covariance.dtype, device=covariance.device)[
        ..., None, None
    ]
    if not bool(((g >= 0) & (g <= 1)).all()):
        raise ValueError(f"strength must be in [0, 1], got {strength}")
    eye = torch.eye(
        covariance.shape[-1], dtype=covariance.dtype, device=covariance.device
    )
    # the mean eigenvalue
    size = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    return (1 - g) * covariance + g * size * eye


def ledoit_wolf(centred: Tensor) -> Tensor:
    """How strongly to shrink: the strength that brings the covariance nearest to
    the true one, estimated from the rows.

        g = min(1, b / ||S - (tr S / d) I||^2),   S = X^T X / n,
        b = (1/n^2) sum_i ||x_i x_i^T - S||^2

    b is how far S errs by chance; the denominator is how far it lies from round. No
    d x d matrix is formed for a row: sum_i ||x_i x_i^T - S||^2 = sum_i
    ||x_i||^4 - n ||S||^2.

    Args:
        centred: rows with mean zero (..., n, d), floating dtype.

    Returns:
        The strength g in [0, 1], shape (...); 1 where S is round already.

    Raises:
        ValueError: there is no row or no column.
        TypeError: `centred` is not floating.

    Source: Ledoit & Wolf 2004, J. Multivariate Anal. 88(2), section 3.
    """
    require_rows(centred)
    rows, n = working(centred), centred.shape[-2]
    S = rows.mT @ rows / n
    size = S.diagonal(dim1=-2, dim2=-1).mean(-1)
    # ||S - size I||^2
    apart = S.square().sum((-2, -1)) - S.shape[-1] * size.square()
    by_chance = (
        rows.square().sum(-1).square().sum(-1) / n**2 - S.square().sum((-2, -1)) / n
    )
    shown = by_chance < apart
    return (
        torch.where(shown, by_chance / torch.where(shown, apart, 1), 1)
        .clamp(min=0)
        .to(centred.dtype)
    )


def shrunk_class_moments(
    x: Tensor, y: Tensor, num_classes: int, shrinkage: Strength | Auto = 0.0
) -> ClassMoments:
    """`class_moments` with its covariance shrunk, by a given strength or by the one
    that the data ask for.

        Sigma <- (1 - g) Sigma + g (tr Sigma / d) I

    with g given, or that of `ledoit_wolf` for the rows less their class means.

    Args:
        x: inputs (..., n, d), floating dtype.
        y: class of each row (..., n), integers in [0, num_classes); every class
            occurs.
        num_classes: K >= 2.
        shrinkage: strength in [0, 1], a number or a tensor (...); or "auto".

    Returns:
        `ClassMoments`: prior (..., K), mean (..., K, d), covariance (..., d, d),
        float64.

    Raises:
        ValueError: as `class_moments`; `shrinkage` is outside [0, 1] or another
            word than "auto"; or it is 0 although n - K < d, where the covariance is
            singular for certain; or the covariance is singular but for the rounding
            of the data.
        TypeError: `x` is not floating, or `y` is not integer.

    Source: Friedman 1989, JASA 84; Ledoit & Wolf 2004.
    """
    require_enough(x, num_classes, shrinkage)
    moments = fast_class_moments(x, y, num_classes)
    if isinstance(shrinkage, str):
        own_mean = moments.mean.to(working(x[..., :1]).dtype).gather(
            -2, y.long().unsqueeze(-1).expand(x.shape)
        )
        shrinkage = ledoit_wolf(working(x) - own_mean)  # (...)
    covariance = shrink(moments.covariance, shrinkage)
    # what is left below is rounding of the data
    correlation_factor(covariance, torch.finfo(x.dtype).eps ** 2)
    return moments._replace(covariance=covariance)


# --- The closed form --------------------------------------------------------------


def logistic_from_gaussians(moments: ClassMoments) -> tuple[Tensor, Tensor]:
    """Two normal classes of one covariance: Bayes' rule is a logistic regression
    with these weights.

        P(1 | x) = sigmoid(x w + b),   w = Sigma^-1 (mu_1 - mu_0)
        b = log(p_1 / p_0) + (mu_0^T Sigma^-1 mu_0 - mu_1^T Sigma^-1 mu_1) / 2
          = log(p_1 / p_0) - w^T (mu_0 + mu_1) / 2

    Args:
        moments: prior (..., 2), mean (..., 2, d), covariance (..., d, d), float32
            or float64.

    Returns:
        Weights (..., d) and biases (...).

    Raises:
        ValueError: shapes do not fit, there are not two classes, or the covariance
            is singular or not finite.

    Source: Efron 1975, JASA 70(352), section 1; Fisher 1936.
    """
    prior, mean, covariance = moments
    require_moments(prior, mean, covariance)
    if prior.shape[-1] != 2:
        raise ValueError(
            f"moments must be of two classes, got {prior.shape[-1]}: see "
            "softmax_from_gaussians"
        )
    weight = solve_covariance(
        covariance, (mean[..., 1, :] - mean[..., 0, :]).unsqueeze(-1)
    ).squeeze(-1)
    log_odds = prior[..., 1].log() - prior[..., 0].log()
    return weight, log_odds - (weight * mean.mean(-2)).sum(-1)


def softmax_from_gaussians(moments: ClassMoments) -> tuple[Tensor, Tensor]:
    """Normal classes of one covariance: Bayes' rule is a softmax regression with
    these weights.

        P(k | x) = softmax(x W + b)_k,   w_k = Sigma^-1 (mu_k - c),
        b_k = log p_k - w_k^T (mu_k + c) / 2

    Any origin c gives the same probabilities; the textbook has c = 0. Here
    c = sum_k p_k mu_k, the mean of the data, which keeps rounding errors small and
    makes the weights average to zero: sum_k p_k w_k = 0.

    Args:
        moments: prior (..., K), mean (..., K, d), covariance (..., d, d), float32
            or float64.

    Returns:
        Weights (..., d, K) and biases (..., K).

    Raises:
        ValueError: shapes do not fit, or the covariance is singular or not finite.

    Source: Rao 1948, JRSS B 10(2); Hastie, Tibshirani & Friedman 2009, equation
        (4.10).
    """
    prior, mean, covariance = moments
    require_moments(prior, mean, covariance)
    origin = prior.unsqueeze(-2) @ mean  # (..., 1, d)
    weight = solve_covariance(covariance, (mean - origin).mT)  # (..., d, K)
    return weight, prior.log() - (weight.mT * (mean + origin)).sum(-1) / 2


def closed_form_logistic(
    x: Tensor, y: Tensor, shrinkage: Strength | Auto = 0.0
) -> tuple[Tensor, Tensor]:
    """Logistic regression for two classes without iteration.

        x, y  ->  `shrunk_class_moments`  ->  `logistic_from_gaussians`:
        P(1 | x) = sigmoid(x w + b)

    Args:
        x: inputs (..., n, d), floating dtype.
        y: 0 or 1 for each row (..., n), integer; both occur.
        shrinkage: strength in [0, 1], a number or a tensor (...); or "auto", Ledoit
            and Wolf's.

    Returns:
        Weights (..., d) and biases (...), in the dtype of `x`.

    Raises:
        ValueError: as `shrunk_class_moments`, or the covariance is singular.
        TypeError: `x` is not floating, or `y` is not integer.

    Source: Efron 1975, JASA 70, section 1.
    """
    weight, bias = logistic_from_gaussians(shrunk_class_moments(x, y, 2, shrinkage))
    return weight.to(x.dtype), bias.to(x.dtype)


def closed_form_softmax(
    x: Tensor, y: Tensor, num_classes: int, shrinkage: Strength | Auto = 0.0
) -> tuple[Tensor, Tensor]:
    """Softmax regression for K classes without iteration: linear discriminant
    analysis.

        x, y  ->  `shrunk_class_moments`  ->  `softmax_from_gaussians`:
        P(k | x) = softmax(x W + b)_k

    Args:
        x: inputs (..., n, d), floating dtype.
        y: class of each row (..., n), integers in [0, num_classes); every class
            occurs.
        num_classes: K >= 2.
        shrinkage: strength in [0, 1], a number or a tensor (...); or "auto", Ledoit
            and Wolf's.

    Returns:
        Weights (..., d, K) and biases (..., K), in the dtype of `x`.

    Raises:
        ValueError: as `shrunk_class_moments`, or the covariance is singular.
        TypeError: `x` is not floating, or `y` is not integer.

    Source: Rao 1948, JRSS B 10(2); Hastie, Tibshirani & Friedman 2009, section 4.3.
    """
    weight, bias = softmax_from_gaussians(
        shrunk_class_moments(x, y, num_classes, shrinkage)
    )
    return weight.to(x.dtype), bias.to(x.dtype)


# --- Maximum likelihood, for comparison -------------------------------------------


def maximum_likelihood_logistic(
    x: Tensor,
    y: Tensor,
    penalty: float = 0.0,
    *,
    steps: int = 100,
    tolerance: float = 1e-6,
) -> tuple[Tensor, Tensor]:
    """Logistic regression as it is usually meant, by Newton's method with step
    halving.

        w, b = argmin  (1/n) sum_i [softplus(z_i) - y_i z_i] + penalty ||w||^2 / 2,
        z = x w + b

    A batch of data sets is solved at once. When a plane separates the classes and
    `penalty` is 0 there is no minimum: the weights grow until the gradient is below
    `tolerance`. Not for `torch.compile`: the data end the loop.

    Args:
        x: inputs (..., n, d), floating dtype; half precision is computed in
            float32.
        y: 0 or 1 for each row (..., n), integer.
        penalty: ridge on the weights, >= 0; 1 / (C n) for scikit-learn's C.
        steps: most Newton steps, >= 0.
        tolerance: stop when no part of the gradient exceeds it.

    Returns:
        Weights (..., d) and biases (...), in the dtype of `x`.

    Raises:
        ValueError: shapes do not fit, a label is not 0 or 1, a class has no
            example, or `penalty` is negative.
        TypeError: `x` is not floating, or `y` is not integer.

    Source: Nelder & Wedderburn 1972, JRSS A 135 (iterative weighting); Hastie et
        al. 2009, section 4.4.1.
    """
    target = memberships(x, y, 2)[..., 1].to(working(x[..., :1]).dtype)
    if not (penalty >= 0 and math.isfinite(penalty)):
        raise ValueError(f"penalty must be finite and >= 0, got {penalty}")
    # (..., n, d + 1): the bias is the weight of a one
    rows = F.pad(working(x), (0, 1), value=1.0)
    # the bias goes free
    ridge = F.pad(rows.new_full((x.shape[-1],), float(penalty)), (0, 1))
    theta = rows.new_zeros(*x.shape[:-2], x.shape[-1] + 1)
    for _ in range(steps):
        gradient, hessian = logistic_derivatives(theta, rows, target, ridge)
        if not bool((gradient.abs() > tolerance).any()):
            break
        theta = downhill(
            theta, torch.linalg.solve(hessian, gradient), rows, target, ridge
        )
    return theta[..., :-1].to(x.dtype), theta[..., -1].to(x.dtype)


def logistic_loss(
    theta: Tensor, rows: Tensor, target: Tensor, ridge: Tensor
) -> Tensor:
    """Mean negative log-likelihood plus ridge, one number for each data set
    (...)."""
    z = (rows @ theta.unsqueeze(-1)).squeeze(-1)  # (..., n)
    return (F.softplus(z) - target * z).mean(-1) + (ridge * theta.square()).sum(
        -1
    ) / 2


def logistic_derivatives(
    theta: Tensor, rows: Tensor, target: Tensor, ridge: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of the mean negative log-likelihood plus ridge.

        (1/n) sum_i (p_i - y_i) x_i + ridge theta,
        (1/n) sum_i p_i (1 - p_i) x_i x_i^T + diag(ridge)

    The Hessian is lifted by a rounding error of its size: a Newton step is finite
    even where the data fix no direction.

    Args:
        theta: weights, the bias last (..., d + 1), float32 or float64.
        rows: inputs with a one appended (..., n, d + 1).
        target: 0 or 1 for each row (..., n), same dtype.
        ridge: strength of the ridge on each weight (d + 1,).

    Returns:
        Gradient (..., d + 1) and Hessian (..., d + 1, d + 1).

    Source: Hastie, Tibshirani & Friedman 2009, section 4.4.1, with the sign of a
        loss.
    """
    # (..., n)
    n, p = rows.shape[-2], (rows @ theta.unsqueeze(-1)).squeeze(-1).sigmoid()
    gradient = (rows.mT @ (p - target).unsqueeze(-1)).squeeze(
        -1
    ) / n + ridge * theta
    hessian = rows.mT @ ((p * (1 - p)).unsqueeze(-1) * rows) / n + ridge.diag()
    size = hessian.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    least = 1e3 * torch.finfo(rows.dtype).eps
    return gradient, hessian + (
        least * size + torch.finfo(rows.dtype).tiny
    ) * torch.eye(rows.shape[-1]).to(rows)


def downhill(
    theta: Tensor, step: Tensor, rows: Tensor, target: Tensor, ridge: Tensor
) -> Tensor:
    """theta - t step, with t halved, for each data set, until its loss no longer
    rises."""
    start, t = (
        logistic_loss(theta, rows, target, ridge),
        torch.ones_like(theta[..., :1]),
    )
    for _ in range(30):
        rises = (
            logistic_loss(theta - t * step, rows, target, ridge)
            > start + 1e-6 * start.abs()
        )
        if not bool(rises.any()):
            break
        t = torch.where(rises.unsqueeze(-1), t / 2, t)
    return theta - t * step


def efron_efficiency(gap: Tensor) -> Tensor:
    """How little maximum likelihood makes of the data when the classes are normal
    indeed: the ratio of excess errors.

        Eff = lim  (excess error of the closed form) / (that of maximum likelihood)
            = (1 + D^2 / 4) exp(-D^2 / 8)  integral phi(t) / cosh(D t / 2) dt

    for two equally frequent classes whose means lie D standard deviations apart, in
    any dimension: the closed form does with n Eff examples what likelihood does
    with n.

    Args:
        gap: D >= 0, the Mahalanobis distance of the means, any shape, float32 or
            float64.

    Returns:
        The efficiency in (0, 1], shape and dtype of `gap`.

    Raises:
        ValueError: a gap is negative.
        TypeError: `gap` is not floating.

    Source: Efron 1975, JASA 70(352), for equal priors; by the trapezoidal rule.
    """
    if not gap.is_floating_point():
        raise TypeError(f"gap must be floating, got {gap.dtype}")
    if bool((gap < 0).any()):
        raise ValueError("gap must be >= 0, got a negative one")
    t = torch.linspace(-12, 12, 2401, dtype=gap.dtype, device=gap.device)
    density = torch.exp(-t.square() / 2) / math.sqrt(2 * math.pi)
    integral = torch.trapezoid(density / torch.cosh(gap.unsqueeze(-1) * t / 2), t)
    return (1 + gap.square() / 4) * torch.exp(-gap.square() / 8) * integral


# --- Solving, and refusing --------------------------------------------------------


def solve_covariance(covariance: Tensor, right: Tensor) -> Tensor:
    """Sigma^-1 right, by Cholesky's factor of the correlation matrix.

        Sigma = D R D,  R = L L^T;    Sigma^-1 = D^-1 R^-1 D^-1

    Args:
        covariance: (..., d, d), symmetric positive definite, float32 or float64.
        right: (..., d, m).

    Returns:
        The solution (..., d, m).

    Raises:
        ValueError: the covariance is singular to working precision, or not finite.

    Source: Golub & Van Loan 2013, Matrix Computations, section 4.2.
    """
    factor, deviation = correlation_factor(
        covariance, 4 * torch.finfo(covariance.dtype).eps
    )
    return torch.cholesky_solve(right / deviation, factor) / deviation


def correlation_factor(
    covariance: Tensor, rounding: float
) -> tuple[Tensor, Tensor]:
    """L (..., d, d) and the standard deviations (..., d, 1), if no feature is a
    combination of others.

    The squared pivots of L are the share of each feature's variance that the
    features before it do not explain: where one is no more than d `rounding`, the
    matrix is refused.
    """
    deviation = covariance.diagonal(dim1=-2, dim2=-1).sqrt().unsqueeze(-1)
    factor = torch.linalg.cholesky_ex(covariance / (deviation * deviation.mT)).L
    unexplained = factor.diagonal(dim1=-2, dim2=-1).square()
    if not bool((unexplained > covariance.shape[-1] * rounding).all()):
        raise ValueError(
            "covariance must be finite and positive definite, got one that is "
            "singular to working precision: "
            "a feature is constant or a combination of others; drop it or pass "
            "shrinkage > 0"
        )
    return factor, deviation


def working(x: Tensor) -> Tensor:
    """`x`, in float32 where it came in half precision."""
    return x.float() if x.dtype.itemsize < 4 else x


def memberships(x: Tensor, y: Tensor, num_classes: int) -> Tensor:
    """Which row belongs to which class: ones and zeros (..., n, K), float64."""
    require_rows(x)
    require_labels(x, y, num_classes)
    member = F.one_hot(y.long(), num_classes).double()
    if not bool((member.sum(-2) > 0).all()):
        raise ValueError(
            f"y must hold every one of the {num_classes} classes, got a class "
            "without examples"
        )
    return member


def require_rows(x: Tensor) -> None:
    if not x.is_floating_point():
        raise TypeError(f"x must be floating, got {x.dtype}")
    if x.dim() < 2 or x.shape[-1] == 0 or x.shape[-2] == 0:
        raise ValueError(
            f"x must be (..., n, d) with n, d >= 1, got shape {tuple(x.shape)}"
        )


def require_labels(x: Tensor, y: Tensor, num_classes: int) -> None:
    if y.is_floating_point() or y.is_complex():
        raise TypeError(f"y must be integer, got {y.dtype}")
    if y.shape != x.shape[:-1]:
        raise ValueError(
            f"y must be (..., n) beside x {tuple(x.shape)}, got shape "
            f"{tuple(y.shape)}"
        )
    if num_classes < 2:
        raise ValueError(f"num_classes must be >= 2, got {num_classes}")
    if y.numel() and (int(y.min()) < 0 or int(y.max()) >= num_classes):
        raise ValueError(
            f"y must lie in [0, {num_classes}), got labels from {int(y.min())} to "
            f"{int(y.max())}"
        )


def require_finite(mean: Tensor) -> None:
    if not bool(mean.isfinite().all()):
        raise ValueError(
            "x must be finite, got inf, nan, or numbers whose sum overflows"
        )


def require_enough(x: Tensor, num_classes: int, shrinkage: Strength | str) -> None:
    if isinstance(shrinkage, str):
        if shrinkage != "auto":
            raise ValueError(
                f"shrinkage must be a number in [0, 1] or 'auto', got {shrinkage!r}"
            )
        return
    none = bool((torch.as_tensor(shrinkage) == 0).any())
    if none and x.dim() >= 2 and x.shape[-2] - num_classes < x.shape[-1]:
        raise ValueError(
            f"shrinkage must be > 0 when n - K < d, got {shrinkage} with n = "
            f"{x.shape[-2]}, K = {num_classes}, "
            f"d = {x.shape[-1]}: the covariance is singular"
        )


def require_square(covariance: Tensor) -> None:
    if (
        covariance.dim() < 2
        or covariance.shape[-1] != covariance.shape[-2]
        or covariance.shape[-1] == 0
    ):
        raise ValueError(
            "covariance must be (..., d, d) with d >= 1, got shape "
            f"{tuple(covariance.shape)}"
        )


def require_joint(mean: Tensor, covariance: Tensor, d: int) -> None:
    require_square(covariance)
    if mean.shape[-1] != covariance.shape[-1] or not 1 <= d < mean.shape[-1]:
        raise ValueError(
            "mean (..., d + m), covariance (..., d + m, d + m) and x (..., d) "
            f"must fit, got {tuple(mean.shape)}, "
            f"{tuple(covariance.shape)} and d = {d}"
        )


def require_moments(prior: Tensor, mean: Tensor, covariance: Tensor) -> None:
    require_square(covariance)
    if (
        mean.dim() < 2
        or mean.shape[-1] != covariance.shape[-1]
        or prior.shape[-1:] != mean.shape[-2:-1]
    ):
        raise ValueError(
            "prior (..., K), mean (..., K, d) and covariance (..., d, d) must "
            f"fit, got {tuple(prior.shape)}, "
            f"{tuple(mean.shape)} and {tuple(covariance.shape)}"
        )
