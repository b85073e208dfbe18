"""How much noise at which time: the tables of DDPM and the noise levels of EDM.

Ho, Jain & Abbeel 2020, arXiv:2006.11239; Nichol & Dhariwal 2021, arXiv:2102.09672;
Karras et al. 2022, arXiv:2206.00364.
"""

import math

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "alphas_bar",
    "clean_from_eps",
    "cosine_betas",
    "diffuse",
    "eps_from_clean",
    "karras_sigmas",
    "linear_betas",
    "spaced_steps",
]

# Tables are float64: what counts is 1 - alpha_bar, small next to 1.


def linear_betas(T: int, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Variances of the noise of T steps, growing along a line.

        beta_t = first + (last - first) (t - 1) / (T - 1),   t = 1, ..., T

    Args:
        T: steps, a number >= 1.
        first: beta_1, in (0, 1).
        last: beta_T, in (0, 1).

    Returns:
        (T,), float64; entry t - 1 is beta_t.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Source: Ho, Jain & Abbeel 2020, section 4, arXiv:2006.11239.
    """
    require.whole(T=T, least=1)
    require.number(first=first, last=last, above=0, below=1)
    return torch.linspace(first, last, T, dtype=torch.float64)


def cosine_betas(T: int, offset: float = 0.008, highest: float = 0.999) -> Tensor:
    """Variances of T steps for which alpha_bar falls along a squared cosine.

        alpha_bar_t = f(t) / f(0),   f(t) = cos^2(pi/2 (t/T + offset)/(1 + offset))
        beta_t = min(1 - alpha_bar_t / alpha_bar_(t-1), highest)

    Args:
        T: steps, a number >= 1.
        offset: keeps the first steps from being too small, > 0.
        highest: the largest variance, in (0, 1).

    Returns:
        (T,), float64; entry t - 1 is beta_t.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Source: Nichol & Dhariwal 2021, equation (17), arXiv:2102.09672.
    """
    require.whole(T=T, least=1)
    require.number(offset=offset, above=0)
    require.number(highest=highest, above=0, below=1)
    t = torch.arange(T + 1, dtype=torch.float64) / T
    f = (math.pi / 2 * (t + offset) / (1 + offset)).cos().square()
    return (1 - f[1:] / f[:-1]).clamp(max=highest)


def alphas_bar(betas: Tensor) -> Tensor:
    """The share of the data's variance that is left after each step.

        alpha_bar_0 = 1,   alpha_bar_t = (1 - beta_1) ... (1 - beta_t)

    Args:
        betas: (T,), floating dtype, in (0, 1).

    Returns:
        (T + 1,), dtype of `betas`; entry t is alpha_bar_t, and entry 0 is the data.

    Raises:
        TypeError: `betas` is not floating.
        ValueError: its shape is another, or a value is out of range.

    Source: Ho, Jain & Abbeel 2020, equation (4), arXiv:2006.11239.
    """
    require.fitting(betas=(betas, "T"))
    require.within(betas=betas, above=0, below=1)
    wide = require.widen(betas)
    left = torch.cat([torch.ones_like(wide[:1]), 1 - wide])
    return left.cumprod(0).to(betas.dtype)


def spaced_steps(T: int, n: int) -> Tensor:
    """The times of a sampler of n steps: from T down to 0, as even as whole numbers
    can be.

    Its steps go from each of them to the next, whatever the distance.

    >>> spaced_steps(10, 4)
    tensor([10,  8,  5,  2,  0])

    Args:
        T: steps of the table, a number >= 1.
        n: steps of the sampler, a number from 1 to T.

    Returns:
        (n + 1,), int64, from T to 0.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is out of range.
    """
    require.whole(T=T, n=n, least=1)
    require.whole(n=n, most=T)
    return torch.linspace(T, 0, n + 1, dtype=torch.float64).round().long()


def karras_sigmas(
    n: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0
) -> Tensor:
    """Noise levels that are even after the root of order rho.

        sigma_i = (high^(1/rho) + i/(n - 1) (low^(1/rho) - high^(1/rho)))^rho

    Args:
        n: how many levels, a number >= 2.
        low: the last of them, > 0.
        high: the first of them, > 0.
        rho: > 0; 1 gives equal distances, a large number nearly equal ratios.

    Returns:
        (n,), float64, from `high` to `low`. Who wants the data appends a 0.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range, or `low` is not below `high`.

    Source: Karras et al. 2022, equation (5), arXiv:2206.00364.
    """
    require.whole(n=n, least=2)
    require.number(low=low, high=high, rho=rho, above=0)
    if low >= high:
        raise ValueError(f"low must be below high = {high}, got {low}")
    i = torch.linspace(0, 1, n, dtype=torch.float64)
    ratio = (low / high) ** (1 / rho)
    sigmas = high * (1 + i * (ratio - 1)) ** rho
    sigmas[-1] = low
    return sigmas


# --- One noisy point --------------------------------------------------------------


def diffuse(x0: Tensor, eps: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """Data with noise, at any time at once.

        x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps

    Args:
        x0: x_0 (..., d), floating dtype.
        eps: noise, shape and dtype of `x0`.
        alpha_bar: in [0, 1], a number, or a tensor (...) with one for each point.

    Returns:
        x_t, shape and dtype of `x0`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Ho, Jain & Abbeel 2020, equation (4), arXiv:2006.11239.
    """
    a, b = signal_and_noise(alpha_bar, x0=x0, eps=eps)
    return (a * require.widen(x0) + b * require.widen(eps)).to(x0.dtype)


def clean_from_eps(x: Tensor, eps: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """The data that a guess of the noise stands for.

        x_0 = (x_t - sqrt(1 - alpha_bar) eps) / sqrt(alpha_bar)

    Args:
        x: x_t (..., d), floating dtype.
        eps: the guess, shape and dtype of `x`.
        alpha_bar: in (0, 1], a number, or a tensor (...) with one for each point.

    Returns:
        x_0, shape and dtype of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Ho, Jain & Abbeel 2020, equation (15), arXiv:2006.11239.
    """
    require.number_or_tensor(alpha_bar=alpha_bar, above=0, most=1)
    a, b = signal_and_noise(alpha_bar, x=x, eps=eps)
    return ((require.widen(x) - b * require.widen(eps)) / a).to(x.dtype)


def eps_from_clean(x: Tensor, x0: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """The noise that a guess of the data stands for.

        eps = (x_t - sqrt(alpha_bar) x_0) / sqrt(1 - alpha_bar)

    Args:
        x: x_t (..., d), floating dtype.
        x0: the guess, shape and dtype of `x`.
        alpha_bar: in [0, 1), a number, or a tensor (...) with one for each point.

    Returns:
        eps, shape and dtype of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Ho, Jain & Abbeel 2020, equation (4), arXiv:2006.11239.
    """
    require.number_or_tensor(alpha_bar=alpha_bar, least=0, below=1)
    a, b = signal_and_noise(alpha_bar, x=x, x0=x0)
    return ((require.widen(x) - a * require.widen(x0)) / b).to(x.dtype)


def signal_and_noise(
    alpha_bar: float | Tensor, **points: Tensor
) -> tuple[float | Tensor, float | Tensor]:
    """The roots of alpha_bar and 1 - alpha_bar, shaped to multiply the points."""
    require.number_or_tensor(alpha_bar=alpha_bar, least=0, most=1)
    require.matching(**points)
    x = next(iter(points.values()))
    require.shapes(least=1, **{name: (p, "... d") for name, p in points.items()})
    if not isinstance(alpha_bar, Tensor):
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    require.broadcast_to(x.shape[:-1], alpha_bar=alpha_bar)
    level = require.widen(alpha_bar)[..., None]
    dtype = require.widen(x).dtype
    return level.sqrt().to(dtype), (1 - level).sqrt().to(dtype)
