"""One number out of many losses, and what every loss asks of its arguments."""

import math

import torch
from torch import Tensor

REDUCTIONS = ("none", "mean", "sum")


def reduce(
    losses: Tensor, reduction: str = "mean", weights: Tensor | None = None
) -> Tensor:
    """The losses of a batch as one number.

        mean: sum_n l_n / sum_n w_n      sum: sum_n l_n      none: l

    Args:
        losses: l, any shape, floating dtype, the weights already in them.
        reduction: "mean", "sum" or "none".
        weights: w, shape of `losses`; all one when not given.

    Returns:
        A scalar, or `losses` itself.

    Raises:
        ValueError: `reduction` is none of the three, or there are no losses.

    Source: `torch.nn.CrossEntropyLoss`, for the weighted mean.
    """
    require_reduction(reduction)
    if losses.numel() == 0:
        raise ValueError(
            "losses must hold at least one element, got shape "
            f"{tuple(losses.shape)}"
        )
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if weights is None else losses.sum() / weights.sum()


def require_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}"
        )


def require_floating(**tensors: Tensor) -> None:
    """TypeError unless every argument is a floating tensor, ValueError where one
    holds no element."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(
                f"{name} must be a floating tensor, got "
                f"{getattr(x, 'dtype', type(x).__name__)}"
            )
        if x.numel() == 0:
            raise ValueError(
                f"{name} must hold at least one element, got shape {tuple(x.shape)}"
            )


def require_same_shape(**tensors: Tensor) -> None:
    """ValueError where shapes differ: nothing is broadcast in silence."""
    (first, x), *others = tensors.items()
    for name, y in others:
        if x.shape != y.shape:
            raise ValueError(
                f"{name} must have the shape {tuple(x.shape)} of {first}, got "
                f"shape {tuple(y.shape)}"
            )


def require_dim(x: Tensor, dim: int, name: str, least: int = 1) -> None:
    """ValueError unless `x` has the dimension `dim`, of size `least` or more."""
    if not -x.dim() <= dim < x.dim():
        raise ValueError(
            f"dim must name a dimension of {name} of shape {tuple(x.shape)}, got "
            f"{dim}"
        )
    if x.shape[dim] < least:
        raise ValueError(
            f"{name} must have at least {least} along dim {dim}, got shape "
            f"{tuple(x.shape)}"
        )


def require_number(
    name: str, value: float, least: float, *, above: bool = False
) -> None:
    """ValueError unless `value` is finite and at least `least` (above it, where
    asked)."""
    if not math.isfinite(value) or value < least or (above and value == least):
        raise ValueError(
            f"{name} must be finite and {'>' if above else '>='} {least:g}, got "
            f"{value}"
        )


def require_values(fine: Tensor, message: str) -> None:
    """ValueError unless `fine` is true everywhere. On CUDA this waits for the
    device; `torch.compile` leaves it out."""
    if not torch.compiler.is_compiling() and not bool(fine.all()):
        raise ValueError(message)


def require_hard(targets: Tensor, name: str = "targets") -> None:
    """ValueError where a binary target is neither 0 nor 1."""
    require_values(
        (targets == 0) | (targets == 1), f"{name} must be 0 or 1 everywhere"
    )


def require_classes(target: Tensor, logits: Tensor, dim: int) -> None:
    """TypeError or ValueError unless `target` holds class numbers for `logits`
    along `dim`."""
    if target.dtype != torch.int64:
        raise TypeError(f"target must be int64 class numbers, got {target.dtype}")
    shape = list(logits.shape)
    classes = shape.pop(dim)
    if list(target.shape) != shape:
        raise ValueError(
            f"target must have shape {tuple(shape)}, that of logits without dim "
            f"{dim}, got {tuple(target.shape)}"
        )
    require_values(
        (target >= 0) & (target < classes),
        f"target must hold class numbers from 0 to {classes - 1}",
    )
