"""One number out of many losses."""

import torch
from torch import Tensor

from lbdl import require

REDUCTIONS = ("none", "mean", "sum")


def require_comparable(reduction: str, **given: Tensor) -> None:
    """What every loss asks for that compares tensors of one shape."""
    require.choice(REDUCTIONS, reduction=reduction)
    require.matching(**given)
    require.nonempty(**given)


def reduce(
    losses: Tensor, reduction: str = "mean", weights: Tensor | None = None
) -> Tensor:
    """The losses of a batch as one number.

        mean: sum_n l_n / sum_n w_n      sum: sum_n l_n      none: l

    Args:
        losses: l, any shape, floating dtype, the weights already in them.
        reduction: "mean", "sum" or "none".
        weights: w >= 0, shape and dtype of `losses`; all one when not given.

    Returns:
        A scalar; with "none" a copy of the losses.

    Raises:
        TypeError: an argument is not a floating tensor, or their dtypes differ.
        ValueError: `reduction` is none of the three, shapes differ, a weight is
            negative, or `losses` hold no element.

    Source: `torch.nn.CrossEntropyLoss`, for the weighted mean.
    """
    require.choice(REDUCTIONS, reduction=reduction)
    require.floating(losses=losses)
    require.nonempty(losses=losses)
    if weights is not None:
        require.floating(weights=weights)
        require.alike(losses=losses, weights=weights)
        require.same_shape(losses=losses, weights=weights)
        require.within(weights=weights, least=0)
    return reduced(losses.clone(), reduction, losses.dtype, weights)


def reduced(
    losses: Tensor,
    reduction: str,
    dtype: torch.dtype,
    weights: Tensor | None = None,
) -> Tensor:
    """`reduce` for losses that are known to be fine; half precision is widened
    first."""
    losses = require.widen(losses)
    if reduction == "sum":
        losses = losses.sum()
    elif reduction == "mean":
        by = losses.numel() if weights is None else require.widen(weights).sum()
        losses = losses.sum() / by
    return losses.to(dtype)
