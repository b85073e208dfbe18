"""From noise to data: one formula for DDPM and DDIM, the flow and the stochastic
equation of EDM, and guidance.

Ho, Jain & Abbeel 2020, arXiv:2006.11239; Song, Meng & Ermon 2021, arXiv:2010.02502;
Song et al. 2021, arXiv:2011.13456; Karras et al. 2022, arXiv:2206.00364; Ho &
Salimans 2022, arXiv:2207.12598.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Generator, Tensor

from lbdl import require

__all__ = [
    "ddim_coefficients",
    "ddim_step",
    "ddpm_posterior",
    "fast_sample_ddim",
    "guided",
    "sample_ddim",
    "sample_ode",
    "sample_sde",
]

METHODS = ("euler", "heun")


# --- Steps of a table -------------------------------------------------------------


def ddpm_posterior(
    x: Tensor, x0: Tensor, alpha_bar: float, alpha_bar_next: float
) -> tuple[Tensor, float]:
    """The law of a point with less noise, when data and noisy point are known.

        q(x_s | x_t, x_0) = N(mean, variance I),   s < t,   r = abar_t / abar_s
        mean = (sqrt(abar_s) (1 - r) x_0 + sqrt(r) (1 - abar_s) x_t) / (1 - abar_t)
        variance = (1 - abar_s) (1 - r) / (1 - abar_t)

    For s = t - 1, r is alpha_t and 1 - r is beta_t.

    Args:
        x: x_t (..., d), floating dtype.
        x0: x_0, shape and dtype of `x`.
        alpha_bar: abar_t, in (0, 1).
        alpha_bar_next: abar_s, in (abar_t, 1].

    Returns:
        The mean, shape and dtype of `x`, and the variance, a number.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes differ, or a number is out of range.

    Source: Ho, Jain & Abbeel 2020, equations (6) and (7), arXiv:2006.11239.
    """
    require.matching(x=x, x0=x0)
    require_levels(alpha_bar, alpha_bar_next)
    r, noise = alpha_bar / alpha_bar_next, 1 - alpha_bar
    of_x0 = math.sqrt(alpha_bar_next) * (1 - r) / noise
    of_x = math.sqrt(r) * (1 - alpha_bar_next) / noise
    mean = of_x0 * require.widen(x0) + of_x * require.widen(x)
    return mean.to(x.dtype), (1 - alpha_bar_next) * (1 - r) / noise


def ddim_step(
    x: Tensor,
    eps: Tensor,
    alpha_bar: float,
    alpha_bar_next: float,
    eta: float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    """One step from x_t to x_s: DDIM for eta = 0, DDPM for eta = 1.

        x_0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)
        x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s - sigma^2) eps + sigma z
        sigma^2 = eta^2 (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s)

    Args:
        x: x_t (..., d), floating dtype.
        eps: the noise in it, as predicted; shape and dtype of `x`.
        alpha_bar: abar_t, in (0, 1).
        alpha_bar_next: abar_s, in (abar_t, 1].
        eta: in [0, 1].
        noise: z, shape and dtype of `x`; without it, the mean.

    Returns:
        x_s, shape and dtype of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes differ, or a number is out of range.

    Source: Song, Meng & Ermon 2021, equations (12) and (16), arXiv:2010.02502.
    """
    require.matching(x=x, eps=eps)
    require_levels(alpha_bar, alpha_bar_next, eta)
    wide, guess = require.widen(x), require.widen(eps)
    x0 = (wide - math.sqrt(1 - alpha_bar) * guess) / math.sqrt(alpha_bar)
    sigma = step_noise(alpha_bar, alpha_bar_next, eta)
    rest = math.sqrt(1 - alpha_bar_next - sigma**2)
    mean = math.sqrt(alpha_bar_next) * x0 + rest * guess
    if noise is None:
        return mean.to(x.dtype)
    require.matching(x=x, noise=noise)
    return (mean + sigma * require.widen(noise)).to(x.dtype)


def sample_ddim(
    predict: Callable[[Tensor, float], Tensor],
    x: Tensor,
    path: Tensor,
    eta: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """From noise to data along a path of levels, with `ddim_step`.

        path = abar at times T = t_0 > t_1 > ... > t_n;   x_(t_i) -> x_(t_(i+1))

    Args:
        predict: of x (..., d) and abar, the noise in x, shape and dtype of x.
        x: where to start, (..., d), floating dtype: noise.
        path: (n + 1,), floating dtype, rising, in (0, 1]; n >= 1.
        eta: in [0, 1].
        generator: of the device of `x`, for eta > 0; by default torch's.

    Returns:
        The end of the path, shape and dtype of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Song, Meng & Ermon 2021, section 4, arXiv:2010.02502.
    """
    levels = require_path(predict, x, path, eta, generator)
    for now, then in pairwise(levels):
        z = torch.empty_like(x).normal_(generator=generator) if eta else None
        x = ddim_step(x, predict(x, now), now, then, eta, z)
    return x


def ddim_coefficients(path: Tensor, eta: float = 0.0) -> Tensor:
    """The step of `ddim_step` as a sum of three: what multiplies x, eps and z.

        x_s = c_x x_t + c_eps eps + c_z z
        c_x = sqrt(abar_s / abar_t),   c_z = sigma
        c_eps = sqrt(1 - abar_s - sigma^2) - c_x sqrt(1 - abar_t)

    Args:
        path: abar along the way, (n + 1,), floating dtype, rising, in (0, 1].
        eta: in [0, 1].

    Returns:
        (n, 3), dtype of `path`, float32 for half precision.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: the shape is another, or a value is out of range.

    Source: Song, Meng & Ermon 2021, equation (12), arXiv:2010.02502.
    """
    require_rising(path)
    require.number(eta=eta, least=0, most=1)
    now, then = require.widen(path)[:-1], require.widen(path)[1:]
    sigma2 = eta**2 * (1 - then) / (1 - now) * (1 - now / then)
    of_x = (then / now).sqrt()
    rest = (1 - then - sigma2).clamp(min=0).sqrt()
    of_eps = rest - of_x * (1 - now).sqrt()
    return torch.stack([of_x, of_eps, sigma2.sqrt()], -1)


def fast_sample_ddim(
    predict: Callable[[Tensor, float], Tensor],
    x: Tensor,
    path: Tensor,
    eta: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """`sample_ddim` with the coefficients of all steps computed beforehand: one
    product and one sum a step.

        x_(t_(i+1)) = c_x x_(t_i) + c_eps predict(x_(t_i)) + c_z z

    Args:
        predict: of x (..., d) and abar, the noise in x, shape and dtype of x.
        x: where to start, (..., d), floating dtype: noise. It stays as it is.
        path: (n + 1,), floating dtype, rising, in (0, 1]; n >= 1.
        eta: in [0, 1].
        generator: of the device of `x`, for eta > 0; by default torch's.

    Returns:
        The end of the path, shape and dtype of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Song, Meng & Ermon 2021, section 4, arXiv:2010.02502.
    """
    levels = require_path(predict, x, path, eta, generator)
    coefficients = ddim_coefficients(path, eta).tolist()
    for now, (of_x, of_eps, of_z) in zip(levels, coefficients, strict=False):
        x = (x * of_x).add_(predict(x, now), alpha=of_eps)
        if eta:
            x.add_(torch.empty_like(x).normal_(generator=generator), alpha=of_z)
    return x


def step_noise(alpha_bar: float, alpha_bar_next: float, eta: float) -> float:
    """The standard deviation of the fresh noise of a step."""
    ratio = (1 - alpha_bar_next) / (1 - alpha_bar)
    return eta * math.sqrt(ratio * (1 - alpha_bar / alpha_bar_next))


# --- Steps of the noise level -----------------------------------------------------


def sample_ode(
    denoise: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigmas: Tensor,
    method: str = "heun",
) -> Tensor:
    """Along the flow that carries noise to data, with no randomness on the way.

        dx / dsigma = (x - D(x, sigma)) / sigma = -sigma grad log p_sigma(x)

    A step of Euler's method follows the slope at its beginning; Heun's takes the
    mean of that and of the slope where Euler's would end. To sigma = 0, where the
    slope is 0 / 0, every step is Euler's.

    No `torch.func`: the noise levels are read as numbers.

    Args:
        denoise: D: of x (..., d) and sigma, the mean of the data, shape and dtype
            of x.
        x: where to start, (..., d), floating dtype: data + sigmas[0] times noise.
        sigmas: (n + 1,), floating dtype, falling, > 0 but for the last; n >= 1.
        method: "euler" or "heun".

    Returns:
        The end of the way, shape and dtype of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, a value is out of range, or `method` is
            another word.

    Source: Karras et al. 2022, algorithm 1, arXiv:2206.00364.
    """
    levels = require_way(denoise, x, sigmas)
    require.choice(METHODS, method=method)
    for now, then in pairwise(levels):
        slope = (x - denoise(x, now)) / now
        ahead = x + (then - now) * slope
        if method == "heun" and then > 0:
            slope = (slope + (ahead - denoise(ahead, then)) / then) / 2
        x = x + (then - now) * slope
    return x


def sample_sde(
    denoise: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigmas: Tensor,
    noise: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Backwards along the stochastic equation whose law at sigma is p_sigma.

        x' = x + (sigma^2 - sigma'^2) s(x) + sqrt(sigma^2 - sigma'^2) z
        s(x) = (D(x, sigma) - x) / sigma^2,   the score

    Args:
        denoise: D: of x (..., d) and sigma, the mean of the data, shape and dtype
            of x.
        x: where to start, (..., d), floating dtype: data + sigmas[0] times noise.
        sigmas: (n + 1,), floating dtype, falling, > 0 but for the last; n >= 1.
        noise: z of all steps, (n, ..., d), dtype of `x`; by default drawn.
        generator: of the device of `x`; by default torch's.

    Returns:
        The end of the way, shape and dtype of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Song et al. 2021, algorithm 2 without the corrector, arXiv:2011.13456.
    """
    levels = require_way(denoise, x, sigmas)
    require.generator(generator=generator)
    n = len(levels) - 1
    if noise is None:
        noise = torch.empty(n, *x.shape, dtype=x.dtype, device=x.device)
        noise.normal_(generator=generator)
    require.floating(noise=noise)
    require.alike(x=x, noise=noise)
    if noise.shape != (n, *x.shape):
        raise ValueError(
            f"noise must have shape {(n, *x.shape)}, got shape {tuple(noise.shape)}"
        )
    for now, then, z in zip(levels, levels[1:], noise, strict=False):
        fresh = now * now - then * then
        uphill = (denoise(x, now) - x) / (now * now)
        x = x + fresh * uphill + math.sqrt(fresh) * z
    return x


def guided(with_label: Tensor, without: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: away from what holds for everything, towards what
    holds for a label.

        without + scale (with_label - without)

    Works alike for scores, for predicted noise and for predicted data.

    Args:
        with_label: prediction given the label, (..., d), floating dtype.
        without: prediction for no label, shape and dtype of `with_label`.
        scale: 0 forgets the label, 1 obeys it, more exaggerates it. (Ho & Salimans
            write w for scale - 1.)

    Returns:
        Shape and dtype of `with_label`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes differ, or `scale` is not finite.

    Source: Ho & Salimans 2022, equation (6), arXiv:2207.12598.
    """
    require.matching(with_label=with_label, without=without)
    require.number(scale=scale)
    base = require.widen(without)
    towards = base + scale * (require.widen(with_label) - base)
    return towards.to(without.dtype)


# --- What is asked of arguments ---------------------------------------------------


def require_levels(now: float, then: float, eta: float = 0.0) -> None:
    """Two levels of a step with less noise at its end."""
    require.number(alpha_bar=now, above=0, below=1)
    require.number(alpha_bar_next=then, above=now, most=1)
    require.number(eta=eta, least=0, most=1)


def require_rising(path: Tensor) -> None:
    """Levels alpha_bar on the way to the data."""
    require.fitting(path=(path, "n"))
    require.dim(path, 0, "path", least=2)
    require.within(path=path, above=0, most=1)
    require.values(path[1:] > path[:-1], "path must rise at every step")


def require_path(
    predict: object, x: Tensor, path: Tensor, eta: float, generator: object
) -> list[float]:
    """The levels of a path as numbers."""
    require.function(predict=predict)
    require.floating(x=x)
    require.finite(x=x)
    require_rising(path)
    require.number(eta=eta, least=0, most=1)
    require.generator(generator=generator)  # type: ignore[arg-type]
    return path.double().tolist()


def require_way(denoise: object, x: Tensor, sigmas: Tensor) -> list[float]:
    """Falling noise levels as numbers."""
    require.function(denoise=denoise)
    require.floating(x=x)
    require.finite(x=x)
    require.fitting(sigmas=(sigmas, "n"))
    require.dim(sigmas, 0, "sigmas", least=2)
    require.within(sigmas=sigmas, least=0)
    require.finite(sigmas=sigmas)
    require.values(sigmas[1:] < sigmas[:-1], "sigmas must fall at every step")
    return sigmas.double().tolist()
