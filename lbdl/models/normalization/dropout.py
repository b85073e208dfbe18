"""Dropout: a random share of the units is switched off in training, and what stays
makes up for it.

Srivastava et al. 2014, JMLR 15; Klambauer et al. 2017, arXiv:1706.02515 (alpha
dropout).
"""

from math import sqrt

import torch
from torch import Generator, Tensor

from lbdl import require
from lbdl.models.normalization.activations import SELU_ALPHA, SELU_SCALE

__all__ = [
    "alpha_dropout",
    "alpha_dropout_affine",
    "dropout",
    "dropout_moments",
]


def dropout(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """Every element is 0 with probability p, and what stays is enlarged; outside of
    training nothing happens.

        y = m x / (1 - p),    m ~ Bernoulli(1 - p),    so that  E y = x

    Args:
        x: any shape, floating dtype.
        p: the share that is dropped, in [0, 1].
        training: false gives `x` itself.
        generator: draws m, on the device of `x`; torch's own when not given.

    Returns:
        Shape and dtype of `x`.

    Raises:
        TypeError: `x` is not floating, or something else is of the wrong kind.
        ValueError: `p` is not in [0, 1].

    Source: Srivastava et al. 2014, section 10 (scaled in training, as is usual
    now).
    """
    require_dropout(x, p, training, generator)
    if not training:
        return x.clone()
    kept = keep(x, p, generator)
    return x * (kept / (1 - p) if p < 1 else kept)


def dropout_moments(
    mean: Tensor, variance: Tensor, p: float
) -> tuple[Tensor, Tensor]:
    """Mean and variance behind dropout, for an element with given ones before it.

        mu,    (sigma^2 + p mu^2) / (1 - p)

    Args:
        mean: mu (...), floating dtype.
        variance: sigma^2 (...), >= 0, dtype of `mean`.
        p: the share that is dropped, in [0, 1).

    Returns:
        Both (...).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `p` is no number.
        ValueError: `variance` is negative, or `p` is not in [0, 1).

    Source: Srivastava et al. 2014, section 9.
    """
    require.floating(mean=mean, variance=variance)
    require.alike(mean=mean, variance=variance)
    require.broadcast(mean=mean.shape, variance=variance.shape)
    require.within(variance=variance, least=0)
    require.number(p=p, least=0, below=1)
    return mean.clone(), (variance + p * mean.square()) / (1 - p)


def alpha_dropout(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """Dropout for SELU networks: what is dropped gets the value of SELU at minus
    infinity, and mean 0 and variance 1 stay.

        y = a (m x + (1 - m) alpha') + b,    alpha' = -lambda alpha = -1.7581

    Args:
        x: any shape, floating dtype; the moments hold where it has mean 0 and
            variance 1.
        p: the share that is dropped, in [0, 1).
        training: false gives `x` itself.
        generator: draws m, on the device of `x`; torch's own when not given.

    Returns:
        Shape and dtype of `x`.

    Raises:
        TypeError: `x` is not floating, or something else is of the wrong kind.
        ValueError: `p` is not in [0, 1).

    Source: Klambauer et al. 2017, section "New dropout technique",
    arXiv:1706.02515.
    """
    require_dropout(x, p, training, generator)
    a, b = alpha_dropout_affine(p)
    if not training:
        return x.clone()
    kept = keep(x, p, generator)
    return a * (kept * x - (1 - kept) * SELU_SCALE * SELU_ALPHA) + b


def alpha_dropout_affine(p: float) -> tuple[float, float]:
    """The factor a and the shift b of alpha dropout, which bring mean 0 and
    variance 1 back.

        a = (q + alpha'^2 q (1 - q))^(-1/2),    b = -a (1 - q) alpha',    q = 1 - p

    Args:
        p: the share that is dropped, in [0, 1).

    Returns:
        a and b, numbers.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1).

    Source: Klambauer et al. 2017, arXiv:1706.02515.
    """
    require.number(p=p, least=0, below=1)
    low, q = -SELU_SCALE * SELU_ALPHA, 1 - p
    a = 1 / sqrt(q + low**2 * q * p)
    return a, -a * p * low


def keep(x: Tensor, p: float, generator: Generator | None) -> Tensor:
    """1 with probability 1 - p, else 0, for every element of x."""
    return torch.empty_like(x).bernoulli_(1 - p, generator=generator)


def require_dropout(
    x: Tensor, p: float, training: bool, generator: Generator | None
) -> None:
    """Refuse what cannot be dropped."""
    require.floating(x=x)
    require.number(p=p, least=0, most=1)
    require.instance(bool, training=training)
    require.generator(generator=generator)
