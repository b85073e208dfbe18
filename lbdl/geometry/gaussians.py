"""Multivariate normal distributions, and what tells two of them apart.

Density, entropy, Kullback-Leibler divergence, Bhattacharyya and Hellinger distance,
bounds on the Bayes error, the Fisher information with the natural gradient, and the
Laplace approximation. What it costs to move one Gaussian to another stands in
`lbdl.geometry.wasserstein`.

Kullback & Leibler 1951; Bhattacharyya 1943; Kailath 1967 (bounds on the Bayes
error); Amari 1998 (the natural gradient); MacKay 2003 (Laplace's method).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.linalg import solve_triangular

from lbdl import require

__all__ = [
    "Gaussian",
    "covariance_of",
    "cholesky_of",
    "log_det",
    "trace",
    "mahalanobis_squared",
    "log_density",
    "entropy",
    "sample",
    "from_samples",
    "safe_root",
    "kl_divergence_by_formula",
    "kl_divergence",
    "kl_to_standard_normal",
    "stretch_cost",
    "bhattacharyya_distance",
    "bhattacharyya_coefficient",
    "hellinger_squared",
    "hellinger",
    "bayes_error_bounds",
    "score",
    "fisher_squared",
    "natural_gradient",
    "laplace_approximation",
    "laplace_log_integral",
]

# --- A Gaussian -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A multivariate normal distribution, or a batch of them.

        p(x) = exp(-(x - mu)^T Sigma^-1 (x - mu) / 2) / sqrt((2 pi)^d det Sigma)

    Sigma is given in one of three ways. A covariance may be singular where a
    function says so; a Cholesky factor and the variances of a diagonal covariance
    spare the factorisation. Values are checked here, but not under `torch.compile`,
    where a singular matrix is found only when it is factorised
    (`torch.linalg.LinAlgError`).

    Args:
        mean: mu (..., d), floating dtype, d >= 1.
        covariance: Sigma (..., d, d), symmetric.
        cholesky: L (..., d, d), lower triangular with a positive diagonal,
            Sigma = L L^T.
        variance: (..., d), >= 0, the diagonal of a diagonal Sigma.

    Raises:
        TypeError: a field is not a floating tensor.
        ValueError: not exactly one of the three is given; shapes, dtypes or devices
            do not fit; an entry is not finite; or the matrix is not what its name
            says.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, equation (2.43).
    """

    mean: Tensor
    covariance: Tensor | None = None
    cholesky: Tensor | None = None
    variance: Tensor | None = None

    def __post_init__(self) -> None:
        name, spread = require_one_spread(self)
        pattern = "... d" if name == "variance" else "... d d"
        patterned = {"mean": (self.mean, "... d"), name: (spread, pattern)}
        require.fitting(least=1, **patterned)
        require_values(self.mean, name, spread)


def covariance_of(p: Gaussian) -> Tensor:
    """The covariance, from whichever way the Gaussian was given.

        Sigma = Sigma,    L L^T    or    diag(variance)

    Args:
        p: Gaussian, mean (..., d).

    Returns:
        Sigma (..., d, d).

    Raises:
        TypeError: `p` is not a Gaussian.
    """
    require.instance(Gaussian, p=p)
    if p.covariance is not None:
        return p.covariance
    if p.variance is not None:
        return torch.diag_embed(p.variance)
    factor = cholesky_of(p)
    return factor @ factor.mT


def cholesky_of(p: Gaussian) -> Tensor:
    """The Cholesky factor, from whichever way the Gaussian was given.

        L lower triangular with a positive diagonal,    L L^T = Sigma

    Args:
        p: Gaussian, mean (..., d).

    Returns:
        L (..., d, d).

    Raises:
        TypeError: `p` is not a Gaussian.
        ValueError: Sigma is singular or has a negative eigenvalue.

    Source: Golub & Van Loan 2013, Matrix Computations, section 4.2.
    """
    require.instance(Gaussian, p=p)
    if p.cholesky is not None:
        return p.cholesky.tril()  # no gradient for the zeros above the diagonal
    if p.variance is not None:
        return torch.diag_embed(require_positive(p.variance).sqrt())
    assert p.covariance is not None
    wide = require.widen(p.covariance)
    if not require.visible(wide):
        return torch.linalg.cholesky(wide).to(p.mean.dtype)
    factor, info = torch.linalg.cholesky_ex(wide)
    require_factor(factor, info)
    return factor.to(p.mean.dtype)


def log_det(p: Gaussian) -> Tensor:
    """The logarithm of the determinant, as a sum: the product itself would
    underflow in many dimensions.

        log det Sigma = 2 sum_i log L_ii

    Args:
        p: Gaussian, mean (..., d).

    Returns:
        (...).

    Raises:
        TypeError: `p` is not a Gaussian.
        ValueError: Sigma is singular.

    Source: Golub & Van Loan 2013, Matrix Computations, section 4.2.
    """
    require.instance(Gaussian, p=p)
    wide = widened(p)
    if wide.variance is not None:
        return require_positive(wide.variance).log().sum(-1).to(p.mean.dtype)
    pivots = cholesky_of(wide).diagonal(dim1=-2, dim2=-1)
    return (2 * pivots.log().sum(-1)).to(p.mean.dtype)


def trace(p: Gaussian) -> Tensor:
    """The total variance: the mean squared distance of a draw from the mean.

        Tr Sigma = E||x - mu||^2

    Args:
        p: Gaussian, mean (..., d).

    Returns:
        (...).

    Raises:
        TypeError: `p` is not a Gaussian.
    """
    require.instance(Gaussian, p=p)
    if p.variance is not None:
        return p.variance.sum(-1)
    return covariance_of(p).diagonal(dim1=-2, dim2=-1).sum(-1)


def mahalanobis_squared(p: Gaussian, x: Tensor) -> Tensor:
    """Squared distance from the mean, measured in standard deviations.

        (x - mu)^T Sigma^-1 (x - mu) = ||L^-1 (x - mu)||^2

    Args:
        p: Gaussian, mean (..., d).
        x: points (..., d), batch dimensions broadcast against those of `p`.

    Returns:
        (...), >= 0.

    Raises:
        TypeError: `p` is not a Gaussian, `x` not a floating tensor, or dtypes
            differ.
        ValueError: shapes or dtypes do not fit, or Sigma is singular.

    Source: Mahalanobis 1936, Proc. National Institute of Sciences of India 2(1).
    """
    require_points(p, x)
    p, wide = widened(p), require.widen(x)
    if p.variance is not None:
        return (
            ((wide - p.mean).square() / require_positive(p.variance))
            .sum(-1)
            .to(x.dtype)
        )
    return whitened(cholesky_of(p), wide - p.mean).square().sum(-1).to(x.dtype)


def log_density(p: Gaussian, x: Tensor) -> Tensor:
    """The logarithm of the density at x.

        log p(x) = -(d log 2 pi + log det Sigma + (x - mu)^T Sigma^-1 (x - mu)) / 2

    Args:
        p: Gaussian, mean (..., d).
        x: points (..., d), batch dimensions broadcast against those of `p`.

    Returns:
        (...), dtype of `x`.

    Raises:
        TypeError: `p` is not a Gaussian, `x` not a floating tensor, or dtypes
            differ.
        ValueError: shapes or dtypes do not fit, or Sigma is singular.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, equation (2.43).
    """
    require_points(p, x)
    p, wide = widened(p), require.widen(x)
    return (
        -(
            x.shape[-1] * math.log(2 * math.pi)
            + log_det(p)
            + mahalanobis_squared(p, wide)
        )
        / 2
    ).to(x.dtype)


def entropy(p: Gaussian) -> Tensor:
    """Differential entropy in nats: the largest of all densities with this
    covariance.

        h(p) = -E[log p(x)] = (d (1 + log 2 pi) + log det Sigma) / 2

    Args:
        p: Gaussian, mean (..., d).

    Returns:
        (...), dtype of the mean.

    Raises:
        TypeError: `p` is not a Gaussian.
        ValueError: Sigma is singular.

    Source: Cover & Thomas 2006, Elements of Information Theory, theorems 8.4.1 and
        8.6.5.
    """
    require.instance(Gaussian, p=p)
    return (
        (p.mean.shape[-1] * (1 + math.log(2 * math.pi)) + log_det(widened(p))) / 2
    ).to(p.mean.dtype)


def sample(p: Gaussian, n: int, generator: Generator | None = None) -> Tensor:
    """Draws n points: noise z, stretched and moved.

        x = mu + L z,    z ~ N(0, I)

    Differentiable with respect to mu and Sigma (the reparametrisation trick).

    Args:
        p: Gaussian, mean (..., d); its device is the generator's.
        n: number of points, >= 1.
        generator: the source of the noise.

    Returns:
        (..., n, d).

    Raises:
        TypeError: `p` is not a Gaussian, `n` no whole number, or `generator` no
            generator.
        ValueError: `n` is not a whole number >= 1, or Sigma is singular.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, section 11.1.1.
    """
    require.instance(Gaussian, p=p)
    require.whole(n=n, least=1)
    require.generator(generator=generator)
    wide = widened(p)
    factor = cholesky_of(wide)
    batch, d = (
        torch.broadcast_shapes(p.mean.shape[:-1], factor.shape[:-2]),
        p.mean.shape[-1],
    )
    noise = torch.randn(
        *batch, n, d, generator=generator, dtype=factor.dtype, device=factor.device
    )
    return (wide.mean[..., None, :] + noise @ factor.mT).to(p.mean.dtype)


def from_samples(x: Tensor, correction: int = 1) -> Gaussian:
    """The Gaussian with the mean and the covariance of a sample.

        mu = sum_i x_i / n,
        Sigma = sum_i (x_i - mu)(x_i - mu)^T / (n - correction)

    With n <= d points Sigma is singular.

    Args:
        x: points (..., n, d), floating dtype.
        correction: 1 for the unbiased covariance, 0 for maximum likelihood.

    Returns:
        Gaussian, mean (..., d), covariance (..., d, d).

    Raises:
        TypeError: `x` is not a floating tensor, or `correction` no whole number.
        ValueError: there are not more than `correction` points, or one is not
            finite, or their products are not.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, equations
        (2.121)-(2.125).
    """
    require.whole(correction=correction, least=0)
    require_samples(correction, x=x)
    wide = require.widen(x)
    mean = wide.mean(-2)
    centred = wide - mean[..., None, :]
    return Gaussian(
        mean.to(x.dtype),
        (centred.mT @ centred / (x.shape[-2] - correction)).to(x.dtype),
    )


# --- Preparing a pair -------------------------------------------------------------


def of_a_pair(distance: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Checks that two Gaussians fit; half precision is computed in float32 and
    rounded at the end."""

    @functools.wraps(distance)
    def checked(p: Gaussian, q: Gaussian, *rest: Any, **options: Any) -> Tensor:
        require_pair(p, q)
        return distance(widened(p), widened(q), *rest, **options).to(p.mean.dtype)

    return checked


def widened(p: Gaussian) -> Gaussian:
    """The Gaussian in float32 or more."""
    if p.mean.dtype.itemsize >= 4:
        return p
    name, spread = spread_of(p)
    return unchecked(require.widen(p.mean), **{name: require.widen(spread)})


def whitened(factor: Tensor, x: Tensor) -> Tensor:
    """L^-1 x for vectors x (..., d) and a lower triangular L (..., d, d)."""
    return solve_triangular(factor, x[..., None], upper=False)[..., 0]


def safe_root(x: Tensor) -> Tensor:
    """A root that can be differentiated at zero: the bare one has an infinite slope
    there.

        sqrt(x) for x > 0,    0 with slope 0 for x <= 0

    Args:
        x: any shape, floating dtype.

    Returns:
        The root, shape and dtype of `x`, >= 0; nan stays nan.

    Raises:
        TypeError: `x` is not a floating tensor.

    Source: the subgradient 0 of the norm at the origin, Rockafellar 1970, Convex
        Analysis, section 23.

    >>> safe_root(torch.tensor([4.0, 0.0, -1e-9]))
    tensor([2., 0., 0.])
    """
    require.floating(x=x)
    nothing = x <= 0
    return torch.where(nothing, 0, torch.where(nothing, 1, x).sqrt())


# --- Kullback-Leibler -------------------------------------------------------------


@of_a_pair
def kl_divergence_by_formula(p: Gaussian, q: Gaussian) -> Tensor:
    """The Kullback-Leibler divergence, as the formula stands: the plain way.

        KL(p | q) = (D^T Sigma_q^-1 D - log det(Sigma_q^-1 Sigma_p)
            + Tr(Sigma_q^-1 Sigma_p) - d) / 2,   D = mu_p - mu_q

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast.

    Returns:
        (...).

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: p and q do not fit.
        RuntimeError: Sigma_q is singular (`torch.linalg.LinAlgError`).

    Source: Kullback 1959, Information Theory and Statistics, chapter 9.
    """
    quotient = torch.linalg.solve(covariance_of(q), covariance_of(p))
    difference = (p.mean - q.mean)[..., None]
    moved = (difference * torch.linalg.solve(covariance_of(q), difference)).sum(
        (-2, -1)
    )
    stretched = (
        quotient.diagonal(dim1=-2, dim2=-1).sum(-1)
        - torch.linalg.slogdet(quotient).logabsdet
    )
    return (moved + stretched - p.mean.shape[-1]) / 2


@of_a_pair
def kl_divergence(p: Gaussian, q: Gaussian) -> Tensor:
    """The Kullback-Leibler divergence KL(p | q) = E_p[log p(x) - log q(x)], from
    Cholesky factors.

        KL = (||R||_F^2 - d - 2 sum_i log R_ii + ||L_q^-1 (mu_p - mu_q)||^2) / 2,
        R = L_q^-1 L_p

    R is lower triangular, so the sum splits into terms that are never negative:
    R_ii^2 - 1 - 2 log R_ii, R_ij^2, and the last. Nothing large cancels when p and
    q are close. Two diagonal Gaussians cost O(d).

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast.

    Returns:
        (...), >= 0, in nats.

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: p and q do not fit, or a covariance is singular.

    Source: Kullback & Leibler 1951, Ann. Math. Statist. 22(1).
    """
    if p.variance is not None and q.variance is not None:
        width = require_positive(q.variance).sqrt()
        ratio, below = require_positive(p.variance).sqrt() / width, 0
        moved = ((p.mean - q.mean) / width).square()
    else:
        factor = cholesky_of(q)
        quotient = solve_triangular(factor, cholesky_of(p), upper=False)
        ratio = quotient.diagonal(dim1=-2, dim2=-1)
        below = (
            quotient.diagonal_scatter(torch.zeros_like(ratio), dim1=-2, dim2=-1)
            .square()
            .sum((-2, -1))
        )
        moved = whitened(factor, p.mean - q.mean).square()
    return (stretch_cost(ratio).sum(-1) + below + moved.sum(-1)) / 2


def stretch_cost(a: Tensor) -> Tensor:
    """What a wrong width costs: twice the divergence of N(0, a^2) from N(0, 1),
    without cancellation near a = 1.

        a^2 - 1 - 2 log a  =  u^2 + 2 (u - log a),    u = a - 1

    Args:
        a: ratios of standard deviations > 0, any shape, floating dtype.

    Returns:
        The cost, shape of `a`: zero at 1, positive elsewhere.

    Raises:
        TypeError: `a` is not a floating tensor.

    Source: Kullback 1959, Information Theory and Statistics, chapter 9.
    """
    require.floating(a=a)
    wide = require.widen(a)
    u = wide - 1  # without error near 1
    # inf, not inf - inf, at a = inf
    log = wide.clamp(max=torch.finfo(wide.dtype).max).log()
    return (u**2 + 2 * (u - log)).to(a.dtype)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The divergence of a diagonal Gaussian from the standard normal distribution:
    the price that a variational autoencoder pays for its code.

        KL(N(mu, diag e^v) | N(0, I)) = sum_i (mu_i^2 + e^v_i - 1 - v_i) / 2

    Args:
        mean: mu (..., d), floating dtype.
        log_variance: v (..., d), same dtype.

    Returns:
        (...), >= 0 up to rounding, in nats, dtype of `mean`.

    Raises:
        TypeError: an argument is not a floating tensor, or dtypes differ.
        ValueError: shapes or devices differ, or d is 0.

    Source: Kingma & Welling 2014, appendix B, arXiv:1312.6114.

    >>> kl_to_standard_normal(torch.tensor([1.0, 0.0]), torch.zeros(2))
    tensor(0.5000)
    """
    require.fitting(mean=(mean, "... d"), log_variance=(log_variance, "... d"))
    require.same_shape(mean=mean, log_variance=log_variance)
    mu, v = require.widen(mean), require.widen(log_variance)
    return ((mu.square() + v.expm1() - v).sum(-1) / 2).to(mean.dtype)


# --- Bhattacharyya and Hellinger --------------------------------------------------


@of_a_pair
def bhattacharyya_distance(p: Gaussian, q: Gaussian) -> Tensor:
    """How little two densities overlap.

        BD(p, q) = -log integral sqrt(p(x) q(x)) dx
                 = log(det S / sqrt(det Sigma_p det Sigma_q)) / 2 + D^T S^-1 D / 8

    with S = (Sigma_p + Sigma_q) / 2 and D = mu_p - mu_q.

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast.

    Returns:
        (...), >= 0, symmetric in p and q.

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: p and q do not fit, or a covariance is singular.

    Source: Bhattacharyya 1943, Bull. Calcutta Math. Soc. 35; Kailath 1967, IEEE
        Trans. Commun. Technol. 15(1).
    """
    difference = p.mean - q.mean
    if p.variance is not None and q.variance is not None:
        ratio = (
            require_positive(p.variance).sqrt()
            / require_positive(q.variance).sqrt()
        )
        # log((r + 1/r) / 2) / 2
        spread = torch.log1p(((ratio - 1) / ratio.sqrt()) ** 2 / 2) / 2
        return (spread + difference**2 / (p.variance + q.variance) / 4).sum(-1)
    middle = Gaussian(difference, (covariance_of(p) + covariance_of(q)) / 2)
    factor = cholesky_of(middle)
    spread = (
        factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        - (log_det(p) + log_det(q)) / 4
    )
    return spread.clamp(min=0) + whitened(factor, difference).square().sum(-1) / 8


def bhattacharyya_coefficient(p: Gaussian, q: Gaussian) -> Tensor:
    """The overlap itself.

        BC(p, q) = integral sqrt(p(x) q(x)) dx = exp(-BD(p, q))

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast.

    Returns:
        (...), from 0 (no overlap) to 1 (p = q).

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: p and q do not fit, or a covariance is singular.

    Source: Bhattacharyya 1943, Bull. Calcutta Math. Soc. 35.
    """
    return torch.exp(-bhattacharyya_distance(p, q))


def hellinger_squared(p: Gaussian, q: Gaussian) -> Tensor:
    """The squared Hellinger distance.

        H^2(p, q) = integral (sqrt(p(x)) - sqrt(q(x)))^2 dx / 2 = 1 - exp(-BD(p, q))

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast.

    Returns:
        (...), from 0 to 1.

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: p and q do not fit, or a covariance is singular.

    Source: Hellinger 1909; Kailath 1967, IEEE Trans. Commun. Technol. 15(1).
    """
    return -torch.expm1(-bhattacharyya_distance(p, q))


def hellinger(p: Gaussian, q: Gaussian) -> Tensor:
    """The Hellinger distance, a metric.

        H(p, q) = sqrt(1 - exp(-BD(p, q)))

    Where p = q the gradient is 0, one of the slopes at the tip of the cone.

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast.

    Returns:
        (...), from 0 to 1.

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: p and q do not fit, or a covariance is singular.

    Source: Hellinger 1909.
    """
    return safe_root(hellinger_squared(p, q))


def bayes_error_bounds(
    p: Gaussian, q: Gaussian, prior: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Bounds on the error of the best classifier of two Gaussian classes.

        (1 - sqrt(1 - 4 a BC^2)) / 2  <=  integral min(prior p, (1 - prior) q) dx
            <=  sqrt(a) BC

    with a = prior (1 - prior).

    Args:
        p, q: the classes, Gaussians, means (..., d), batch dimensions broadcast.
        prior: probability of the class `p`, in (0, 1).

    Returns:
        The lower and the upper bound, (...) each.

    Raises:
        TypeError: p or q is not a Gaussian, dtypes differ, or `prior` is no number.
        ValueError: p and q do not fit, a covariance is singular, or `prior` is not
            in (0, 1).

    Source: Kailath 1967, IEEE Trans. Commun. Technol. 15(1); Devroye,
        Györfi & Lugosi 1996, chapter 3.
    """
    require.number(prior=prior, above=0, below=1)
    product = prior * (1 - prior)
    overlap = bhattacharyya_coefficient(p, q)
    # (1 - sqrt(1 - h)) / 2 = h / 2 / (1 + sqrt(1 - h)), without cancellation
    hidden = 4 * product * overlap**2
    return hidden / 2 / (1 + safe_root(1 - hidden)), math.sqrt(product) * overlap


# --- The geometry of the parameters -----------------------------------------------


def score(p: Gaussian, x: Tensor) -> tuple[Tensor, Tensor]:
    """How the log-density at x grows with each parameter: its gradient.

        d log p(x) / d mu = Sigma^-1 (x - mu) =: v
        d log p(x) / d Sigma = (v v^T - Sigma^-1) / 2

    Its mean under p is 0, its covariance is the Fisher information.

    Args:
        p: Gaussian, mean (..., d), positive definite.
        x: points (..., d), batch dimensions broadcast against those of `p`.

    Returns:
        The gradients by the mean (..., d) and by the covariance (..., d, d).

    Raises:
        TypeError: `p` is no Gaussian, `x` not floating, or dtypes differ.
        ValueError: shapes do not fit, or Sigma is singular.

    Source: Amari 2016, Information Geometry and Its Applications, section 1.2.
    """
    require_points(p, x)
    wide, factor = widened(p), cholesky_of(widened(p))
    gap = (require.widen(x) - wide.mean)[..., None]
    v = torch.cholesky_solve(gap, factor)  # (..., d, 1)
    by_covariance = (v @ v.mT - torch.cholesky_inverse(factor)) / 2
    return v[..., 0].to(x.dtype), by_covariance.to(x.dtype)


def fisher_squared(p: Gaussian, mean: Tensor, covariance: Tensor) -> Tensor:
    """The squared length of a small change of the parameters, as the Fisher
    information measures it: by how much the distribution changes.

        F(m, C) = m^T Sigma^-1 m + Tr(Sigma^-1 C Sigma^-1 C) / 2

    To second order it is twice the divergence that the change makes:
    KL(p | N(mu + t m, Sigma + t C)) = t^2 F(m, C) / 2 + O(t^3).

    Args:
        p: Gaussian, mean (..., d), positive definite.
        mean: m, the change of the mean (..., d), dtype of `p`.
        covariance: C, the change of the covariance (..., d, d), symmetric.

    Returns:
        (...), >= 0.

    Raises:
        TypeError: `p` is no Gaussian, a tensor is not floating, or dtypes differ.
        ValueError: shapes do not fit, C is not symmetric or not finite, or Sigma is
            singular.

    Source: Skovgaard 1984, Scandinavian Journal of Statistics 11(4); Rao 1945.
    """
    require_change(p, mean, covariance)
    factor = cholesky_of(widened(p))
    left = solve_triangular(factor, require.widen(covariance), upper=False)
    relative = solve_triangular(factor, left.mT, upper=False)  # L^-1 C L^-T
    moved = whitened(factor, require.widen(mean)).square().sum(-1)
    return (moved + relative.square().sum((-2, -1)) / 2).to(mean.dtype)


def natural_gradient(
    p: Gaussian, mean: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor]:
    """The direction of steepest ascent where the length of a step is how far the
    distribution moves: the gradient, divided by the Fisher information.

        g, G  ->  Sigma g,   2 Sigma G Sigma

    It does not depend on how the distribution is written down, to first order.

    Args:
        p: Gaussian, mean (..., d).
        mean: g, the gradient by the mean (..., d), dtype of `p`.
        covariance: G, the gradient by the covariance (..., d, d), symmetric.

    Returns:
        The natural gradients by the mean (..., d) and by the covariance (..., d,
        d).

    Raises:
        TypeError: `p` is no Gaussian, a tensor is not floating, or dtypes differ.
        ValueError: shapes do not fit, or G is not symmetric or not finite.

    Source: Amari 1998, Neural Computation 10(2).
    """
    require_change(p, mean, covariance)
    sigma = covariance_of(widened(p))
    by_mean = (sigma @ require.widen(mean)[..., None])[..., 0]
    by_covariance = 2 * sigma @ require.widen(covariance) @ sigma
    return by_mean.to(mean.dtype), symmetric(by_covariance).to(mean.dtype)


# --- Laplace ----------------------------------------------------------------------


def laplace_approximation(
    log_f: Callable[[Tensor], Tensor], start: Tensor, steps: int = 30
) -> Gaussian:
    """The Gaussian that has the mode of a density and the curvature of its
    logarithm there.

        mu = argmax log f,    Sigma = (-Hessian of log f at mu)^-1

    It is the second-order expansion of log f, not of f, and it knows one mode only.
    Newton's method finds the mode; f need not be normalised.

    No `torch.compile`: the compiler does not trace the derivatives of `log_f`.

    Args:
        log_f: maps a point (d,) to a scalar, twice differentiable near the mode.
        start: points (..., d) near the mode, floating dtype; half precision is
            computed in float32.
        steps: iterations of Newton's method, >= 1.

    Returns:
        Gaussian, mean (..., d), covariance (..., d, d).

    Raises:
        TypeError: `start` is not a floating tensor, `log_f` no function, or `steps`
            no whole number.
        ValueError: `start` is no vector or not finite, `steps` < 1, or Newton's
            method does not end at a maximum where log f is smooth and curved
            downwards.

    Source: Laplace 1774; MacKay 2003, Information Theory, Inference, and Learning
        Algorithms, chapter 27.
    """
    require.function(log_f=log_f)
    require.whole(steps=steps, least=1)
    require.floating(start=start)
    require.shapes(start=(start, "... d"))
    require.finite(start=start)
    slope, curvature = (
        torch.func.vmap(torch.func.grad(log_f)),
        torch.func.vmap(torch.func.hessian(log_f)),
    )
    x = (
        require.widen(start).flatten(0, -2)
        if start.dim() > 1
        else require.widen(start)[None]
    )
    for _ in range(steps):
        last = curvature(x)
        x = x - torch.linalg.lstsq(last, slope(x)[..., None]).solution[..., 0]
    precision = -symmetric(curvature(x))
    require_mode(precision, -symmetric(last))
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    return Gaussian(
        x.reshape(start.shape).to(start.dtype),
        symmetric(covariance)
        .reshape(*start.shape, start.shape[-1])
        .to(start.dtype),
    )


def laplace_log_integral(log_f: Callable[[Tensor], Tensor], p: Gaussian) -> Tensor:
    """The integral of f as if f were the Gaussian that touches it at its mode.

        log integral f(x) dx  ~  log f(mu) + (d log 2 pi + log det Sigma) / 2

    Args:
        log_f: maps a point (d,) to a scalar.
        p: the Laplace approximation of f, mean (..., d).

    Returns:
        (...).

    Raises:
        TypeError: `log_f` is not a function, or `p` not a Gaussian.
        ValueError: Sigma is singular.

    Source: MacKay 2003, Information Theory, Inference, and Learning Algorithms,
        chapter 27.
    """
    require.function(log_f=log_f)
    require.instance(Gaussian, p=p)
    d = p.mean.shape[-1]
    heights = torch.func.vmap(log_f)(p.mean.reshape(-1, d)).reshape(
        p.mean.shape[:-1]
    )
    return heights + (d * math.log(2 * math.pi) + log_det(p)) / 2


# --- Small helpers and checks -----------------------------------------------------

SPREADS = ("covariance", "cholesky", "variance")


def symmetric(a: Tensor) -> Tensor:
    """The symmetric part of a matrix (..., d, d): removes what rounding made
    unequal."""
    return (a + a.mT) / 2


def covariance_shape(p: Gaussian) -> tuple[int, ...]:
    """Shape of Sigma (..., d, d) without computing it."""
    if p.variance is not None:
        return (*p.variance.shape, p.variance.shape[-1])
    return tuple(next(x.shape for x in (p.covariance, p.cholesky) if x is not None))


def largest(a: Tensor) -> Tensor:
    """The largest absolute entry of each matrix (..., d, d), (...)."""
    return a.detach().abs().amax((-2, -1))


def tolerance(a: Tensor) -> Tensor:
    """How far from exact a matrix (..., d, d) may be in its dtype: half of its
    digits, (...)."""
    return math.sqrt(torch.finfo(a.dtype).eps) * largest(a)


def spread_of(p: Gaussian) -> tuple[str, Tensor]:
    """In which of the three ways Sigma is given, and the tensor."""
    return next(
        (name, x) for name in SPREADS if (x := getattr(p, name)) is not None
    )


def unchecked(mean: Tensor, **spread: Tensor) -> Gaussian:
    """A Gaussian whose values come from one that was looked at."""
    p = object.__new__(Gaussian)
    fields: dict[str, Tensor | None] = {"mean": mean, **dict.fromkeys(SPREADS)}
    for name, x in {**fields, **spread}.items():
        object.__setattr__(p, name, x)
    return p


def require_one_spread(p: Gaussian) -> tuple[str, Tensor]:
    """The one way in which Sigma is given."""
    given = {name: x for name in SPREADS if (x := getattr(p, name)) is not None}
    if len(given) != 1:
        raise ValueError(
            f"a Gaussian needs exactly one of {', '.join(SPREADS)} beside its "
            f"mean, got {list(given) or 'none'}"
        )
    require.floating(mean=p.mean, **given)
    return next(iter(given.items()))


def require_values(mean: Tensor, name: str, spread: Tensor) -> None:
    """Entries that are finite, and a matrix that is what its name says."""
    require.finite(**{"mean": mean, name: spread})
    if name == "variance":
        require.within(variance=spread, least=0)
    elif name == "covariance":
        require_symmetric(covariance=spread)
    elif require.visible(spread):
        pivots = spread.diagonal(dim1=-2, dim2=-1)
        if spread.triu(1).any() or not (pivots > 0).all():
            raise ValueError(
                "cholesky must be lower triangular with a positive diagonal, "
                "got another matrix"
            )


def require_symmetric(**matrices: Tensor) -> None:
    """Finite floating matrices (..., d, d), each its own transpose up to half of
    the digits."""
    require.fitting(
        least=1, **{name: (a, "... d d") for name, a in matrices.items()}
    )
    require.finite(**matrices)
    for name, a in matrices.items():
        if require.visible(a) and not is_symmetric(a.detach()):
            raise ValueError(
                f"{name} must be symmetric, got a matrix that differs from its "
                "transpose"
            )


def is_symmetric(a: Tensor) -> bool:
    """Whether each matrix (..., d, d) is its own transpose, up to half of the
    digits."""
    return torch.equal(a, a.mT) or not bool(
        ((a - a.mT).amax((-2, -1)) > tolerance(a)).any()
    )


def require_pair(p: Gaussian, q: Gaussian) -> None:
    """Two Gaussians of one dimension, dtype and device whose batches broadcast."""
    require.instance(Gaussian, p=p, q=q)
    if p.mean.shape[-1] != q.mean.shape[-1]:
        raise ValueError(
            f"p and q must have one dimension d, got {p.mean.shape[-1]} and "
            f"{q.mean.shape[-1]}"
        )
    require.alike(p=p.mean, q=q.mean)
    require.broadcast(
        p=covariance_shape(p)[:-2],
        q=covariance_shape(q)[:-2],
        p_mean=p.mean.shape[:-1],
        q_mean=q.mean.shape[:-1],
    )


def require_points(p: Gaussian, x: Tensor, name: str = "x") -> None:
    """Points (..., d) for a Gaussian of d dimensions."""
    require.instance(Gaussian, p=p)
    require.floating(**{name: x})
    require.alike(**{"p": p.mean, name: x})
    d = p.mean.shape[-1]
    if x.shape[-1:] != (d,):
        raise ValueError(f"{name} must be (..., {d}), got shape {tuple(x.shape)}")
    batch = {"mean of p": p.mean.shape[:-1], "covariance": covariance_shape(p)[:-2]}
    require.broadcast(**{name: x.shape[:-1], **batch})


def require_change(p: Gaussian, mean: Tensor, covariance: Tensor) -> None:
    """A vector (..., d) and a symmetric matrix (..., d, d) beside a Gaussian."""
    require_points(p, mean, "mean")
    require_symmetric(covariance=covariance)
    require.fitting(mean=(mean, "... d"), covariance=(covariance, "... d d"))
    require.broadcast(
        p=covariance_shape(p)[:-2], covariance=tuple(covariance.shape[:-2])
    )


def require_samples(fewest: int, **samples: Tensor) -> None:
    """More than `fewest` finite points (..., n, d) each, of one dtype and one d."""
    patterns = zip(samples.items(), ("n", "m"), strict=False)
    require.fitting(
        least=1, **{name: (x, f"... {n} d") for (name, x), n in patterns}
    )
    require.finite(**samples)
    for name, x in samples.items():
        if x.shape[-2] <= fewest:
            raise ValueError(
                f"{name} must be (..., n, d) with n > {fewest}, "
                f"got shape {tuple(x.shape)}"
            )


def require_positive(variance: Tensor) -> Tensor:
    """The variances, none of which is zero."""
    require.values(
        variance > 0,
        "variance must be > 0 here, got a zero: the distribution has no density",
    )
    return variance


def require_factor(factor: Tensor, info: Tensor) -> None:
    """Whether Cholesky's factorisation came to its end."""
    if info.any():
        raise ValueError(
            "covariance must be positive definite here, got one that is singular "
            f"or has a negative eigenvalue in {factor.dtype}: add a small multiple "
            "of the identity, or shrink it towards its diagonal"
        )


def require_mode(precision: Tensor, last: Tensor) -> None:
    """At a smooth maximum log f is curved downwards, and the curvature has
    settled."""
    if not require.visible(precision):
        return
    curved = torch.linalg.cholesky_ex(precision).info == 0
    rough = 1e-2 * precision.abs().amax((-2, -1), keepdim=True)
    if not (curved.all() and ((precision - last).abs() <= rough).all()):
        raise ValueError(
            "log_f must have a maximum near start where it is smooth and curved "
            "downwards, found none"
        )
