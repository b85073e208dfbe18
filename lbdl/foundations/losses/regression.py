"""Losses of numbers. Each is the negative log-likelihood of some noise, and each
asks for another summary of y given x.

Squared error asks for the mean (Gauss 1809), absolute error for the median
(Laplace), the pinball loss for a quantile (Koenker & Bassett 1978), and the
Gaussian likelihood for mean and variance at once (Nix & Weigend 1994).
"""

import math

import torch
from torch import Tensor

from lbdl.foundations.losses.reduction import (
    reduce,
    require_floating,
    require_reduction,
    require_same_shape,
    require_values,
)


def squared_error(
    prediction: Tensor, target: Tensor, *, reduction: str = "mean"
) -> Tensor:
    """The loss whose best constant is the mean.

        l = (prediction - target)^2

    Args:
        prediction: any shape, floating dtype.
        target: same shape.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `prediction`.

    Raises:
        TypeError: an argument is not a floating tensor.
        ValueError: shapes differ, there is no element, or `reduction` is unknown.

    Source: Gauss 1809, Theoria motus corporum coelestium.
    """
    require_pair(prediction, target, reduction)
    return reduce((prediction - target).square(), reduction)


def absolute_error(
    prediction: Tensor, target: Tensor, *, reduction: str = "mean"
) -> Tensor:
    """The loss whose best constant is the median. Its gradient is 0 where
    prediction and target agree.

        l = |prediction - target|

    Args:
        prediction: any shape, floating dtype.
        target: same shape.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `prediction`.

    Raises:
        TypeError: an argument is not a floating tensor.
        ValueError: shapes differ, there is no element, or `reduction` is unknown.

    Source: Koenker & Bassett 1978, Econometrica 46(1): the quantile 1/2.
    """
    require_pair(prediction, target, reduction)
    return reduce((prediction - target).abs(), reduction)


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
        target: y, same shape.
        quantile: q in (0, 1), a number or a tensor that broadcasts against
            `prediction`.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `prediction`.

    Raises:
        TypeError: prediction or target is not a floating tensor.
        ValueError: a quantile outside (0, 1), shapes differ, no element, or unknown
            `reduction`.

    Source: Koenker & Bassett 1978, Econometrica 46(1).
    """
    require_pair(prediction, target, reduction)
    require_inside(quantile, prediction)
    short = target - prediction
    return reduce(
        torch.maximum(quantile * short, (quantile - 1) * short), reduction
    )


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

    Args:
        mean: m, any shape, floating dtype.
        target: y, same shape.
        variance: v > 0, a number or a tensor that broadcasts against `mean`.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar; with "none" the losses, shape of `mean`.

    Raises:
        TypeError: mean or target is not a floating tensor.
        ValueError: a variance that is not above 0, shapes differ, no element, or
            unknown `reduction`.

    Source: Nix & Weigend 1994, "Estimating the mean and variance of the target
        probability distribution".
    """
    require_pair(mean, target, reduction, first="mean")
    variance = torch.as_tensor(variance, dtype=mean.dtype, device=mean.device)
    require_broadcast("variance", variance, mean)
    require_values(variance > 0, "variance must be > 0 everywhere")
    return reduce(
        (
            (target - mean).square() / variance
            + variance.log()
            + math.log(2 * math.pi)
        )
        / 2,
        reduction,
    )


def require_pair(
    prediction: Tensor, target: Tensor, reduction: str, first: str = "prediction"
) -> None:
    require_reduction(reduction)
    require_floating(**{first: prediction, "target": target})
    require_same_shape(**{first: prediction, "target": target})


def require_inside(quantile: float | Tensor, prediction: Tensor) -> None:
    if isinstance(quantile, Tensor):
        require_broadcast("quantile", quantile, prediction)
        require_values(
            (quantile > 0) & (quantile < 1), "quantile must be in (0, 1) everywhere"
        )
    elif not 0 < quantile < 1:
        raise ValueError(f"quantile must be in (0, 1), got {quantile}")


def require_broadcast(name: str, x: Tensor, like: Tensor) -> None:
    try:
        fits = torch.broadcast_shapes(x.shape, like.shape) == like.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} must broadcast to shape {tuple(like.shape)}, got shape "
            f"{tuple(x.shape)}"
        )
