"""Losses of numbers. Each is the negative log-likelihood of some noise, and each
asks for another summary of y given x.

Squared error asks for the mean (Gauss 1809), absolute error for the median
(Laplace), the pinball loss for a quantile (Koenker & Bassett 1978), and the
Gaussian likelihood for mean and variance at once (Nix & Weigend 1994).
"""

import math

import torch
from torch import Tensor

from lbdl import require
from lbdl.foundations.losses.reduction import reduced, require_comparable


def squared_error(
    prediction: Tensor, target: Tensor, *, reduction: str = "mean"
) -> Tensor:
    """The loss whose best constant is the mean.

        l = (prediction - target)^2

        >>> squared_error(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
        tensor(2.)

    Args:
        prediction: any shape, floating dtype.
        target: same shape and dtype.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `prediction`.

    Raises:
        TypeError: an argument is not a floating tensor, or the dtypes differ.
        ValueError: shapes differ, there is no element, or `reduction` is unknown.

    Source: Gauss 1809, Theoria motus corporum coelestium.
    """
    require_comparable(reduction, prediction=prediction, target=target)
    losses = (require.widen(prediction) - require.widen(target)).square()
    return reduced(losses, reduction, prediction.dtype)


def absolute_error(
    prediction: Tensor, target: Tensor, *, reduction: str = "mean"
) -> Tensor:
    """The loss whose best constant is the median. Its gradient is 0 where
    prediction and target agree.

        l = |prediction - target|

    Args:
        prediction: any shape, floating dtype.
        target: same shape and dtype.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `prediction`.

    Raises:
        TypeError: an argument is not a floating tensor, or the dtypes differ.
        ValueError: shapes differ, there is no element, or `reduction` is unknown.

    Source: Koenker & Bassett 1978, Econometrica 46(1): the quantile 1/2.
    """
    require_comparable(reduction, prediction=prediction, target=target)
    losses = (require.widen(prediction) - require.widen(target)).abs()
    return reduced(losses, reduction, prediction.dtype)


def pinball(
    prediction: Tensor,
    target: Tensor,
    quantile: float | Tensor = 0.5,
    *,
    reduction: str = "mean",
) -> Tensor:
    """The loss whose best constant is a quantile: falling short costs q a unit,
    going too far 1 - q.

        l = max(q (y - f), (q - 1) (y - f)),    f the prediction, y the target

    Args:
        prediction: f, any shape, floating dtype.
        target: y, same shape and dtype.
        quantile: q in (0, 1), a number or a floating tensor that broadcasts to
            `prediction`.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `prediction`.

    Raises:
        TypeError: an argument is not of its kind, or the dtypes differ.
        ValueError: a quantile outside (0, 1), shapes differ, no element, or unknown
            `reduction`.

    Source: Koenker & Bassett 1978, Econometrica 46(1).
    """
    require_comparable(reduction, prediction=prediction, target=target)
    q = parameter("quantile", quantile, prediction, above=0, below=1)
    short = require.widen(target) - require.widen(prediction)
    losses = torch.maximum(q * short, (q - 1) * short)
    return reduced(losses, reduction, prediction.dtype)


def gaussian_nll(
    mean: Tensor,
    target: Tensor,
    variance: float | Tensor = 1.0,
    *,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of Gaussian noise around the prediction: squared
    error, in units of the variance.

        l = (y - m)^2 / (2 v) + log(v) / 2 + log(2 pi) / 2

    It has no lower bound in m and v together: where m = y, it falls like log(v) /
    2.

    Args:
        mean: m, any shape, floating dtype.
        target: y, same shape and dtype.
        variance: v > 0, a number or a floating tensor that broadcasts to `mean`.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `mean`.

    Raises:
        TypeError: an argument is not of its kind, or the dtypes differ.
        ValueError: a variance that is not above 0, shapes differ, no element, or
            unknown `reduction`.

    Source: Nix & Weigend 1994, "Estimating the mean and variance of the target
        probability distribution".
    """
    require_comparable(reduction, mean=mean, target=target)
    v = parameter("variance", variance, mean, above=0)
    m, y = require.widen(mean), require.widen(target)
    losses = ((y - m).square() / v + v.log() + math.log(2 * math.pi)) / 2
    return reduced(losses, reduction, mean.dtype)


def parameter(
    name: str, x: float | Tensor, like: Tensor, **bounds: float
) -> Tensor:
    """A number, or a tensor that broadcasts to `like`, as a tensor beside it."""
    if not isinstance(x, Tensor):
        require.number(**bounds, **{name: x})  # type: ignore[arg-type]
        return torch.tensor(x, dtype=require.widen(like).dtype, device=like.device)
    require.floating(**{name: x})
    require.broadcast_to(like.shape, **{name: x})
    require.within(**bounds, **{name: x})  # type: ignore[arg-type]
    return require.widen(x)
