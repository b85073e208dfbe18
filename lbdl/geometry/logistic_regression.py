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

from lbdl import require

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
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes or devices do not fit, the covariance of x is singular or
            not finite, or the joint covariance has a negative eigenvalue.

    Source: Anderson 2003, An Introduction to Multivariate Statistical Analysis,
        theorem 2.5.1.
    """
    require.floating(mean=mean, covariance=covariance, x=x)
    require.alike(mean=mean, covariance=covariance, x=x)
    require_joint(mean, covariance, x)
    d, dtype = x.shape[-1], x.dtype
    mean, covariance, x = (require.widen(t) for t in (mean, covariance, x))
    cross = covariance[..., :d, d:]  # (..., d, m)
    weight = solve_covariance(covariance[..., :d, :d], cross)
    shift = ((x - mean[..., :d]).unsqueeze(-2) @ weight).squeeze(-2)  # (..., m)
    left = covariance[..., d:, d:] - cross.mT @ weight
    require_semidefinite(left, covariance[..., d:, d:])
    return (mean[..., d:] + shift).to(dtype), left.to(dtype)


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
        TypeError: `x` or `y` is not a floating tensor, dtypes differ, or
            `shrinkage` is neither a number nor a floating tensor.
        ValueError: shapes or devices do not fit, a value is not finite, `shrinkage`
            is outside [0, 1], or S_xx is singular.

    Source: Anderson 2003, section 2.5; least squares itself, Legendre 1805 and
        Gauss 1809.
    """
    require.fitting(x=(x, "... n d"), y=(y, "... n m"))
    require.finite(x=x, y=y)
    require.number_or_tensor(shrinkage=shrinkage, least=0, most=1)
    rows, targets = x.double(), y.double()
    mean_x, mean_y = rows.mean(-2, keepdim=True), targets.mean(-2, keepdim=True)
    centred, n = rows - mean_x, x.shape[-2]
    covariance = shrink(centred.mT @ centred / n, shrinkage)
    correlation_factor(covariance, torch.finfo(x.dtype).eps ** 2)
    products = centred.mT @ (targets - mean_y) / n
    weight = solve_covariance(covariance, products)  # (..., d, m)
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
        y: class of each row (..., n), int64 in [0, num_classes); every class
            occurs.
        num_classes: K >= 2.

    Returns:
        `ClassMoments`: prior (..., K), mean (..., K, d), covariance (..., d, d),
        float64.

    Raises:
        TypeError: `x` is not a floating or `y` not an int64 tensor, or
            `num_classes` is no whole number.
        ValueError: shapes do not fit, a label is out of range, a class has no
            example, `num_classes` < 2, or `x` is not finite.

    Source: Anderson 2003, An Introduction to Multivariate Statistical Analysis,
        section 6.5.
    """
    member = memberships(x, y, num_classes)  # (..., n, K)
    rows, count = x.double(), member.sum(-2)  # (..., K)
    mean = (member.mT @ rows) / count.unsqueeze(-1)  # (..., K, d)
    require_sums(mean)
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
        y: class of each row (..., n), int64 in [0, num_classes); every class
            occurs.
        num_classes: K >= 2.

    Returns:
        `ClassMoments`: prior (..., K), mean (..., K, d), covariance (..., d, d),
        float64.

    Raises:
        TypeError: `x` is not a floating or `y` not an int64 tensor, or
            `num_classes` is no whole number.
        ValueError: shapes do not fit, a label is out of range, a class has no
            example, `num_classes` < 2, or `x` is not finite.

    Source: as `class_moments`, blocked.
    """
    member, length = memberships(x, y, num_classes), block_length(x)
    count = member.sum(-2)
    blocks = list(zip(x.split(length, -2), member.split(length, -2), strict=True))
    mean = total(own.mT @ rows.double() for rows, own in blocks) / count.unsqueeze(
        -1
    )  # (..., K, d)
    require_sums(mean)
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
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes or devices do not fit.

    Source: the law of total covariance; Rao 1948, JRSS B 10(2).
    """
    named = {"prior": prior, "class_mean": class_mean, "covariance": covariance}
    require_moments(mean=mean, **named)
    require.shapes(mean=(mean, "... d"), class_mean=(class_mean, "... K d"))
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
        TypeError: `covariance` is not a floating tensor, or `strength` neither a
            number nor one.
        ValueError: `covariance` is not square, or `strength` is outside [0, 1].

    Source: Friedman 1989, JASA 84(405); Ledoit & Wolf 2004, section 2.
    """
    require.fitting(covariance=(covariance, "... d d"))
    require.number_or_tensor(strength=strength, least=0, most=1)
    d, dtype = covariance.shape[-1], covariance.dtype
    wide = require.widen(covariance)
    g = torch.as_tensor(strength, dtype=wide.dtype, device=wide.device)[
        ..., None, None
    ]
    eye = torch.eye(d, dtype=wide.dtype, device=wide.device)
    size = wide.diagonal(dim1=-2, dim2=-1).mean(-1)[
        ..., None, None
    ]  # mean eigenvalue
    return ((1 - g) * wide + g * size * eye).to(dtype)


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
        TypeError: `centred` is not a floating tensor.
        ValueError: there is no row or no column.

    Source: Ledoit & Wolf 2004, J. Multivariate Anal. 88(2), section 3.
    """
    require.fitting(centred=(centred, "... n d"))
    rows, n = require.widen(centred), centred.shape[-2]
    rows = rows / require.power_of_two(
        rows, (-2, -1)
    )  # the strength knows no scale
    S = rows.mT @ rows / n
    size, energy = S.diagonal(dim1=-2, dim2=-1).mean(-1), S.square().sum((-2, -1))
    apart = energy - S.shape[-1] * size.square()  # ||S - size I||^2
    by_chance = rows.square().sum(-1).square().sum(-1) / n**2 - energy / n
    round_already = by_chance >= apart
    strength = by_chance / torch.where(round_already, 1, apart)
    return torch.where(round_already, 1, strength).clamp(min=0).to(centred.dtype)


def shrunk_class_moments(
    x: Tensor, y: Tensor, num_classes: int, shrinkage: Strength | Auto = 0.0
) -> ClassMoments:
    """`class_moments` with its covariance shrunk, by a given strength or by the one
    that the data ask for.

        Sigma <- (1 - g) Sigma + g (tr Sigma / d) I

    with g given, or that of `ledoit_wolf` for the rows less their class means.

    Args:
        x: inputs (..., n, d), floating dtype.
        y: class of each row (..., n), int64 in [0, num_classes); every class
            occurs.
        num_classes: K >= 2.
        shrinkage: strength in [0, 1], a number or a tensor (...); or "auto".

    Returns:
        `ClassMoments`: prior (..., K), mean (..., K, d), covariance (..., d, d),
        float64.

    Raises:
        TypeError: as `class_moments`, or `shrinkage` is neither "auto", nor a
            number, nor a floating tensor.
        ValueError: as `class_moments`; `shrinkage` is outside [0, 1] or another
            word than "auto"; or it is 0 although n - K < d, where the covariance is
            singular for certain; or the covariance is singular but for the rounding
            of the data.

    Source: Friedman 1989, JASA 84; Ledoit & Wolf 2004.
    """
    require_enough(x, num_classes, shrinkage)
    moments = fast_class_moments(x, y, num_classes)
    if isinstance(shrinkage, str):
        own_mean = moments.mean.to(require.widen(x[..., :1]).dtype).gather(
            -2, y.long().unsqueeze(-1).expand(x.shape)
        )
        shrinkage = ledoit_wolf(require.widen(x) - own_mean)  # (...)
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
        TypeError: `moments` are no `ClassMoments` of floating tensors of one dtype.
        ValueError: shapes do not fit, a share is not above 0, there are not two
            classes, or the covariance
            is singular or not finite.

    Source: Efron 1975, JASA 70(352), section 1; Fisher 1936.
    """
    prior, mean, covariance = as_moments(moments)
    if prior.shape[-1] != 2:
        raise ValueError(
            f"moments must be of two classes, got {prior.shape[-1]}: see "
            "softmax_from_gaussians"
        )
    apart = (mean[..., 1, :] - mean[..., 0, :]).unsqueeze(-1)
    weight = solve_covariance(covariance, apart).squeeze(-1)
    log_odds = prior[..., 1].log() - prior[..., 0].log()
    bias = log_odds - (weight * mean.mean(-2)).sum(-1)
    return weight.to(moments.mean.dtype), bias.to(moments.mean.dtype)


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
        TypeError: `moments` are no `ClassMoments` of floating tensors of one dtype.
        ValueError: shapes do not fit, a share is not above 0, or the covariance
            is singular or not finite.

    Source: Rao 1948, JRSS B 10(2); Hastie, Tibshirani & Friedman 2009, equation
        (4.10).
    """
    prior, mean, covariance = as_moments(moments)
    origin = prior.unsqueeze(-2) @ mean  # (..., 1, d)
    weight = solve_covariance(covariance, (mean - origin).mT)  # (..., d, K)
    bias = prior.log() - (weight.mT * (mean + origin)).sum(-1) / 2
    return weight.to(moments.mean.dtype), bias.to(moments.mean.dtype)


def closed_form_logistic(
    x: Tensor, y: Tensor, shrinkage: Strength | Auto = 0.0
) -> tuple[Tensor, Tensor]:
    """Logistic regression for two classes without iteration.

        x, y  ->  `shrunk_class_moments`  ->  `logistic_from_gaussians`:
        P(1 | x) = sigmoid(x w + b)

    Args:
        x: inputs (..., n, d), floating dtype.
        y: 0 or 1 for each row (..., n), int64; both occur.
        shrinkage: strength in [0, 1], a number or a tensor (...); or "auto", Ledoit
            and Wolf's.

    Returns:
        Weights (..., d) and biases (...), in the dtype of `x`.

    Raises:
        TypeError: as `shrunk_class_moments`.
        ValueError: as `shrunk_class_moments`, or the covariance is singular.

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
        y: class of each row (..., n), int64 in [0, num_classes); every class
            occurs.
        num_classes: K >= 2.
        shrinkage: strength in [0, 1], a number or a tensor (...); or "auto", Ledoit
            and Wolf's.

    Returns:
        Weights (..., d, K) and biases (..., K), in the dtype of `x`.

    Raises:
        TypeError: as `shrunk_class_moments`.
        ValueError: as `shrunk_class_moments`, or the covariance is singular.

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

    A batch of data sets is solved at once, each feature in a unit in which it is of
    size one. When a plane separates the classes and `penalty` is 0 there is no
    minimum: the weights grow until the gradient is below `tolerance`.

    No `torch.compile`: the data end the loop. No `torch.func`: the data end the
    loop.

    Args:
        x: inputs (..., n, d), floating dtype; half precision is computed in
            float32.
        y: 0 or 1 for each row (..., n), int64.
        penalty: ridge on the weights, >= 0; 1 / (C n) for scikit-learn's C.
        steps: most Newton steps, >= 0.
        tolerance: stop when no part of the gradient, in those units, exceeds
            it, >= 0.

    Returns:
        Weights (..., d) and biases (...), in the dtype of `x`.

    Raises:
        TypeError: `x` is not a floating or `y` not an int64 tensor, `penalty` or
            `tolerance` is no number, or `steps` no whole number.
        ValueError: shapes do not fit, a value of `x` is not finite, a label is not
            0 or 1, a class has no example, or `penalty`, `steps` or `tolerance` is
            out of range.

    Source: Nelder & Wedderburn 1972, JRSS A 135 (iterative weighting); Hastie et
        al. 2009, section 4.4.1.
    """
    require.number(penalty=penalty, least=0)
    require.number(tolerance=tolerance, least=0)
    require.whole(steps=steps, least=0)
    member = memberships(x, y, 2)
    require.finite(x=x)
    rows, size = in_own_units(require.widen(x), penalty)
    target = member[..., 1].to(rows.dtype)
    ridge = F.pad(penalty / size / size, (0, 1))  # the bias goes free
    theta = rows.new_zeros(rows.shape[:-2] + rows.shape[-1:])
    for _ in range(steps):
        gradient, hessian = derivatives(theta, rows, target, ridge)
        if bool((gradient.abs() <= tolerance).all()):
            break
        step = torch.linalg.solve(hessian, gradient)
        theta = downhill(theta, step, rows, target, ridge)
    return (theta[..., :-1] / size).to(x.dtype), theta[..., -1].to(x.dtype)


def in_own_units(x: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Rows whose features are of size one, a one appended for the bias (..., n,
    d + 1), and the units (..., d): powers of two, none far below the root of the
    penalty."""
    least = 2.0 ** math.floor(math.log2(penalty) / 2) if penalty else 0.0
    size = require.power_of_two(x, -2).clamp(min=least)  # (..., 1, d)
    return F.pad(x / size, (0, 1), value=1.0), size.squeeze(-2)


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
        theta: weights, the bias last (..., d + 1), floating dtype.
        rows: inputs with a one appended (..., n, d + 1).
        target: 0 or 1 for each row (..., n), same dtype.
        ridge: strength of the ridge on each weight (..., d + 1), same dtype.

    Returns:
        Gradient (..., d + 1) and Hessian (..., d + 1, d + 1).

    Raises:
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes or devices do not fit.

    Source: Hastie, Tibshirani & Friedman 2009, section 4.4.1, with the sign of a
        loss.
    """
    require.fitting(
        theta=(theta, "... p"),
        rows=(rows, "... n p"),
        target=(target, "... n"),
        ridge=(ridge, "... p"),
    )
    gradient, hessian = derivatives(
        *map(require.widen, (theta, rows, target, ridge))
    )
    return gradient.to(theta.dtype), hessian.to(theta.dtype)


def derivatives(
    theta: Tensor, rows: Tensor, target: Tensor, ridge: Tensor
) -> tuple[Tensor, Tensor]:
    """`logistic_derivatives`, of tensors that were looked at."""
    n = rows.shape[-2]
    p = (rows @ theta.unsqueeze(-1)).squeeze(-1).sigmoid()  # (..., n)
    gradient = (rows.mT @ (p - target).unsqueeze(-1)).squeeze(
        -1
    ) / n + ridge * theta
    weighted = (p * (1 - p)).unsqueeze(-1) * rows
    hessian = rows.mT @ weighted / n + torch.diag_embed(ridge)
    size = hessian.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    info = torch.finfo(rows.dtype)
    lift = 1e3 * info.eps * size + info.tiny
    return gradient, hessian + lift * torch.eye(rows.shape[-1]).to(rows)


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
        gap: D >= 0, the Mahalanobis distance of the means, any shape, floating
            dtype.

    Returns:
        The efficiency in (0, 1], shape and dtype of `gap`.

    Raises:
        TypeError: `gap` is not a floating tensor.
        ValueError: a gap is negative or nan.

    Source: Efron 1975, JASA 70(352), for equal priors; by the trapezoidal rule.
    """
    require.floating(gap=gap)
    require.within(gap=gap, least=0)
    wide = require.widen(gap).clamp(max=1e3)  # beyond, it is 0 in every dtype
    t = torch.linspace(-12, 12, 2401, dtype=wide.dtype, device=wide.device)
    density = torch.exp(-t.square() / 2) / math.sqrt(2 * math.pi)
    integral = torch.trapezoid(density / torch.cosh(wide.unsqueeze(-1) * t / 2), t)
    ratio = (1 + wide.square() / 4) * torch.exp(-wide.square() / 8) * integral
    return ratio.to(gap.dtype)


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
    correlation = covariance / (deviation * deviation.mT)
    factor = torch.linalg.cholesky_ex((correlation + correlation.mT) / 2).L
    unexplained = factor.diagonal(dim1=-2, dim2=-1).square()
    require.values(
        unexplained > covariance.shape[-1] * rounding,
        "covariance must be finite and positive definite, got one that is singular "
        "to working precision: a feature is constant or a combination of others; "
        "drop it or pass shrinkage > 0",
    )
    return factor, deviation


def memberships(x: Tensor, y: Tensor, num_classes: int) -> Tensor:
    """Which row belongs to which class: ones and zeros (..., n, K), float64."""
    require.fitting(x=(x, "... n d"))
    require.whole(num_classes=num_classes, least=2)
    require.classes(num_classes, name="y", targets=y)
    require.shapes(x=(x, "... n d"), y=(y, "... n"))
    if y.shape != x.shape[:-1]:
        raise ValueError(
            f"y must be (..., n) beside x {tuple(x.shape)}, "
            f"got shape {tuple(y.shape)}"
        )
    member = F.one_hot(y, num_classes).double()
    require.values(
        member.sum(-2) > 0,
        f"y must hold every one of the {num_classes} classes, got a class without "
        "examples",
    )
    return member


def require_sums(mean: Tensor) -> None:
    """Means show a value that is not finite, and a sum that is too large."""
    require.values(
        mean.isfinite(),
        "x must be finite, got inf, nan, or numbers whose sum overflows",
    )


def require_enough(x: Tensor, num_classes: int, shrinkage: Strength | str) -> None:
    """A strength in [0, 1], not 0 where the covariance is singular for certain."""
    if isinstance(shrinkage, str):
        if shrinkage != "auto":
            raise ValueError(
                f"shrinkage must be a number in [0, 1] or 'auto', got {shrinkage!r}"
            )
        return
    require.number_or_tensor(shrinkage=shrinkage, least=0, most=1)
    require.fitting(x=(x, "... n d"))
    require.whole(num_classes=num_classes, least=2)
    n, d = x.shape[-2:]
    if n - num_classes < d:
        require.values(
            torch.as_tensor(shrinkage) > 0,
            f"shrinkage must be > 0 when n - K < d, got {shrinkage} with n = {n}, "
            f"K = {num_classes}, d = {d}: the covariance is singular",
        )


def require_joint(mean: Tensor, covariance: Tensor, x: Tensor) -> None:
    """x (..., d) is the first part of what has this mean and covariance."""
    require.fitting(covariance=(covariance, "... d d"))
    require.shapes(mean=(mean, "... s"), covariance=(covariance, "... s s"))
    require.shapes(x=(x, "... d"))
    if x.shape[-1] >= mean.shape[-1]:
        raise ValueError(
            f"x must be shorter than mean {tuple(mean.shape)}: (..., d) beside "
            f"(..., d + m), got shape {tuple(x.shape)}"
        )
    require.broadcast(x=x.shape[:-1], mean=mean.shape[:-1])


def require_moments(**tensors: Tensor) -> None:
    """Shares (..., K), class means (..., K, d), a covariance (..., d, d) and what
    else is there, of one dtype and device."""
    require.floating(**tensors)
    require.alike(**tensors)
    means = "class_mean" if "class_mean" in tensors else "mean"
    patterns = {"prior": "... K", means: "... K d", "covariance": "... d d"}
    require.shapes(
        least=1, **{name: (tensors[name], p) for name, p in patterns.items()}
    )


def as_moments(moments: ClassMoments) -> tuple[Tensor, Tensor, Tensor]:
    """The three moments, looked at, in float32 or more."""
    require.instance(ClassMoments, moments=moments)
    require_moments(**moments._asdict())
    require.within(prior=moments.prior, above=0)
    prior, mean, covariance = map(require.widen, moments)
    return prior, mean, covariance


def require_semidefinite(left: Tensor, whole: Tensor) -> None:
    """A conditional covariance has no eigenvalue below zero, up to half of the
    digits of what it is left of."""
    if require.visible(left):
        rounding = math.sqrt(torch.finfo(left.dtype).eps) * whole.abs().amax(
            (-2, -1)
        )
        require.values(
            torch.linalg.eigvalsh(left)[..., 0] >= -rounding,
            "covariance must be positive semi-definite, got a negative eigenvalue",
        )
