"""A density about which everything is known: a mixture of round Gaussians.

With noise it is such a mixture again, so that density, score and posterior are
known at every time. Components of variance 0 are atoms: a data set is a mixture
too.

Robbins 1956 and Efron 2011 (Tweedie's formula); Vincent 2011 (denoising and
scores).
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lbdl import require

__all__ = [
    "Mixture",
    "log_density",
    "noised",
    "posterior",
    "posterior_mean",
    "responsibilities",
    "sample",
    "score",
]


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of round Gaussians, or a batch of them.

        p(x) = sum_k w_k N(x; m_k, v_k I)

    Args:
        weights: w (..., K), floating dtype, >= 0, sum 1.
        means: m (..., K, d).
        variances: v (..., K), >= 0; a component of variance 0 is an atom.

    Raises:
        TypeError: a field is no floating tensor, or dtypes differ.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, section 2.3.9.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor

    def __post_init__(self) -> None:
        require.fitting(
            weights=(self.weights, "... K"),
            means=(self.means, "... K d"),
            variances=(self.variances, "... K"),
        )
        require.distribution(weights=self.weights)
        require.finite(means=self.means, variances=self.variances)
        require.within(variances=self.variances, least=0)


def noised(p: Mixture, a: float, b: float) -> Mixture:
    """The law of a x_0 + b eps, for x_0 of a mixture and eps ~ N(0, I).

        p_ab(x) = sum_k w_k N(x; a m_k, (a^2 v_k + b^2) I)

    Args:
        p: Mixture, means (..., K, d).
        a: what the data is multiplied by, > 0.
        b: standard deviation of the noise, >= 0.

    Returns:
        Mixture with means (..., K, d).

    Raises:
        TypeError: `p` is not a Mixture, or a number is none.
        ValueError: a number is out of range.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, equation (2.115).
    """
    require_noise(p, a, b)
    return Mixture(p.weights.clone(), a * p.means, a * a * p.variances + b * b)


def log_density(p: Mixture, x: Tensor) -> Tensor:
    """The logarithm of the density.

        log p(x) = log sum_k w_k N(x; m_k, v_k I)

    Args:
        p: Mixture, means (..., K, d), all variances > 0.
        x: points (..., d), dtype of `p`; leading dimensions broadcast.

    Returns:
        (...), dtype of `x`. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a value is not finite, or a variance is 0.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, section 2.3.9.
    """
    require_points(p, x)
    return (
        component_logs(p.weights, p.means, p.variances, x).logsumexp(-1).to(x.dtype)
    )


def responsibilities(p: Mixture, x: Tensor) -> Tensor:
    """How likely each component is to have drawn a point.

        r_k(x) = w_k N(x; m_k, v_k I) / p(x)

    Args:
        p: Mixture, means (..., K, d), all variances > 0.
        x: points (..., d), dtype of `p`; leading dimensions broadcast.

    Returns:
        (..., K), dtype of `x`, sum 1. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a value is not finite, or a variance is 0.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, equation (2.192).
    """
    require_points(p, x)
    return (
        component_logs(p.weights, p.means, p.variances, x).softmax(-1).to(x.dtype)
    )


def score(p: Mixture, x: Tensor) -> Tensor:
    """The gradient of the log-density by the point: the way uphill.

        grad log p(x) = sum_k r_k(x) (m_k - x) / v_k

    Args:
        p: Mixture, means (..., K, d), all variances > 0.
        x: points (..., d), dtype of `p`; leading dimensions broadcast.

    Returns:
        (..., d), dtype of `x`. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a value is not finite, or a variance is 0.

    Source: Hyvarinen 2005, Journal of Machine Learning Research 6 (the score by the
        point); the sum is the derivative of a logarithm of a sum.
    """
    require_points(p, x)
    pull = component_logs(p.weights, p.means, p.variances, x).softmax(
        -1
    ) / require.widen(p.variances)
    means = require.widen(p.means)
    towards = (pull[..., None, :] @ means).squeeze(-2)
    return (towards - pull.sum(-1, keepdim=True) * require.widen(x)).to(x.dtype)


def posterior_mean(p: Mixture, x: Tensor, a: float, b: float) -> Tensor:
    """The mean of the data, when a noisy point is seen: the best denoiser.

        E[x_0 | x] = sum_k r_k(x) (m_k + g_k (x - a m_k)),
        g_k = a v_k / (a^2 v_k + b^2)

    with the responsibilities r_k of the noised mixture. By conditioning in each
    component; the score is not used.

    Args:
        p: Mixture of the data, means (..., K, d).
        x: noisy points a x_0 + b eps, (..., d), dtype of `p`.
        a: > 0.
        b: >= 0, and > 0 where a component is an atom.

    Returns:
        (..., d), dtype of `x`. Half precision is computed in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, equation (2.116).
    """
    require_noise(p, a, b)
    require_points(p, x, b)
    m, v = require.widen(p.means), require.widen(p.variances)
    u = a * a * v + b * b
    r = component_logs(p.weights, a * m, u, x).softmax(-1)
    gain = a * v / u
    means = ((r * (1 - a * gain))[..., None, :] @ m).squeeze(-2)
    moved = (r * gain).sum(-1, keepdim=True) * require.widen(x)
    return (means + moved).to(x.dtype)


def posterior(p: Mixture, x: Tensor, a: float, b: float) -> Mixture:
    """The law of the data, when a noisy point is seen: a mixture again.

        weights r_k(x),  means m_k + g_k (x - a m_k),  variances v_k b^2 / u_k,
        u_k = a^2 v_k + b^2,   g_k = a v_k / u_k

    Args:
        p: Mixture of the data, weights (K,), means (K, d).
        x: noisy points a x_0 + b eps, (..., d), dtype of `p`.
        a: > 0.
        b: >= 0, and > 0 where a component is an atom.

    Returns:
        Mixture with means (..., K, d), one for each point.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, equation (2.116).
    """
    require_noise(p, a, b)
    wide = noised(p, a, b)
    r = responsibilities(wide, x)
    gain = (a * p.variances / wide.variances)[..., None]
    means = p.means + gain * (x[..., None, :] - a * p.means)
    left = p.variances * b**2 / wide.variances
    return Mixture(r, means, left.expand_as(r).clone())


def sample(p: Mixture, n: int, generator: Generator | None = None) -> Tensor:
    """Draws n points: a component, then noise around its mean.

        x = m_k + sqrt(v_k) z,   k ~ w,   z ~ N(0, I)

    Args:
        p: Mixture, weights (K,), means (K, d).
        n: number of points, >= 1.
        generator: of the device of `p`; by default torch's.

    Returns:
        (n, d), dtype of `p`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `n` is out of range, or `p` is a batch.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, section 2.3.9.
    """
    require.instance(Mixture, p=p)
    require.whole(n=n, least=1)
    require.generator(generator=generator)
    if p.weights.dim() != 1 or p.means.dim() != 2 or p.variances.dim() != 1:
        raise ValueError("p must be one mixture, got a batch of them")
    weights, means = require.widen(p.weights), require.widen(p.means)
    k = weights.multinomial(n, replacement=True, generator=generator)
    z = torch.empty_like(means[k]).normal_(generator=generator)
    spread = require.widen(p.variances)[k].sqrt()[:, None]
    return (means[k] + spread * z).to(p.means.dtype)


def component_logs(w: Tensor, m: Tensor, v: Tensor, x: Tensor) -> Tensor:
    """log w_k + log N(x; m_k, v_k I), (..., K), in float32 or wider."""
    v, d = require.widen(v), x.shape[-1]
    apart = require.widen(x)[..., None, :] - require.widen(m)
    squares = apart.square().sum(-1) / v
    norms = d * (v.log() + math.log(2 * math.pi))
    return require.widen(w).log() - (squares + norms) / 2


def require_points(p: Mixture, x: Tensor, b: float = 0.0) -> None:
    """A mixture that has a density with noise of size b, and points of its kind."""
    require.instance(Mixture, p=p)
    require.floating(x=x)
    require.alike(x=x, p=p.means)
    require.shapes(x=(x, "... d"), p=(p.means[..., 0, :], "... d"))
    require.finite(x=x)
    if b == 0:
        require.values(
            p.variances > 0, "p must have variances > 0: an atom has no density"
        )


def require_noise(p: Mixture, a: float, b: float) -> None:
    """A mixture, a factor and the size of a noise."""
    require.instance(Mixture, p=p)
    require.number(a=a, above=0)
    require.number(b=b, least=0)
