"""Penalties on the weights: a loss that knows nothing of the data.

L2 is the negative log of a Gaussian prior (Hoerl & Kennard 1970, ridge), L1 that of
a Laplace prior (Tibshirani 1996, lasso). Decoupled weight decay is no penalty: see
`adamw` in `lbdl.foundations.gradient_descent`.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lbdl import require


def l2_penalty(weights: Tensor | Iterable[Tensor], strength: float = 1.0) -> Tensor:
    """Half the squared length: every weight is pulled towards 0 in proportion to
    its size.

        (strength / 2) sum_i w_i^2

    Args:
        weights: one tensor or several, any shapes, floating dtype.
        strength: lambda >= 0.

    Returns:
        A scalar.

    Raises:
        TypeError: `weights` are no floating tensors, or `strength` is no number.
        ValueError: there are no weights, or `strength` < 0.

    Source: Hoerl & Kennard 1970, Technometrics 12(1).
    """
    return total(torch.square, weights, strength) / 2


def l1_penalty(weights: Tensor | Iterable[Tensor], strength: float = 1.0) -> Tensor:
    """The sum of sizes: every weight is pulled towards 0 with the same force, and
    stays there.

        strength sum_i |w_i|

    Args:
        weights: one tensor or several, any shapes, floating dtype.
        strength: lambda >= 0.

    Returns:
        A scalar.

    Raises:
        TypeError: `weights` are no floating tensors, or `strength` is no number.
        ValueError: there are no weights, or `strength` < 0.

    Source: Tibshirani 1996, JRSS B 58(1).
    """
    return total(torch.abs, weights, strength)


def soft_threshold(w: Tensor, threshold: float) -> Tensor:
    """Where the L1 penalty leaves a weight that the data want at w.

        argmin_u (u - w)^2 / 2 + threshold |u|   =   sign(w) max(0, |w| - threshold)

        >>> soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0)
        tensor([-2.,  0.,  1.])

    Args:
        w: any shape, floating dtype.
        threshold: >= 0.

    Returns:
        The minimisers, shape of `w`; exact zeros where |w| <= threshold.

    Raises:
        TypeError: `w` is not a floating tensor, or `threshold` no number.
        ValueError: `threshold` < 0.

    Source: Donoho & Johnstone 1994, Biometrika 81(3); Tibshirani 1996, section 2.2.
    """
    require.floating(w=w)
    require.number(threshold=threshold, least=0)
    return w.sign() * (w.abs() - threshold).relu()


def total(
    size: Callable[[Tensor], Tensor],
    weights: Tensor | Iterable[Tensor],
    strength: float,
) -> Tensor:
    """Strength times the sum of the sizes of all weights, half precision
    widened."""
    require.number(strength=strength, least=0)
    found = listed(weights)
    sums = [size(require.widen(w)).sum() for w in found]
    return (strength * torch.stack(sums).sum()).to(found[0].dtype)


def listed(weights: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The weights as a list of floating tensors."""
    if not isinstance(weights, Iterable):
        raise TypeError(f"weights must be tensors, got {require.kind(weights)}")
    found = [weights] if isinstance(weights, Tensor) else list(weights)
    if not found:
        raise ValueError("weights must be at least one tensor, got none")
    require.floating(**{f"weights[{i}]": w for i, w in enumerate(found)})
    return found
