"""Penalties on the weights: a loss that knows nothing of the data.

L2 is the negative log of a Gaussian prior (Hoerl & Kennard 1970, ridge), L1 that of
a Laplace prior (Tibshirani 1996, lasso). Decoupled weight decay is no penalty: see
`adamw` in `lbdl.foundations.gradient_descent`.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from lbdl.foundations.losses.reduction import require_floating, require_number


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
        TypeError: a weight is not floating.
        ValueError: there are no weights, or `strength` < 0.

    Source: Hoerl & Kennard 1970, Technometrics 12(1).
    """
    return (
        strength
        / 2
        * torch.stack([w.square().sum() for w in as_list(weights, strength)]).sum()
    )


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
        TypeError: a weight is not floating.
        ValueError: there are no weights, or `strength` < 0.

    Source: Tibshirani 1996, JRSS B 58(1).
    """
    return (
        strength
        * torch.stack([w.abs().sum() for w in as_list(weights, strength)]).sum()
    )


def soft_threshold(w: Tensor, threshold: float) -> Tensor:
    """Where the L1 penalty leaves a weight that the data want at w.

        argmin_u (u - w)^2 / 2 + threshold |u|   =   sign(w) max(0, |w| - threshold)

    Args:
        w: any shape, floating dtype.
        threshold: >= 0.

    Returns:
        The minimisers, shape of `w`; exact zeros where |w| <= threshold.

    Raises:
        TypeError: `w` is not floating.
        ValueError: `threshold` < 0, or there is no element.

    Source: Donoho & Johnstone 1994, Biometrika 81(3); Tibshirani 1996, section 2.2.
    """
    require_floating(w=w)
    require_number("threshold", threshold, 0)
    return w.sign() * (w.abs() - threshold).relu()


def as_list(weights: Tensor | Iterable[Tensor], strength: float) -> list[Tensor]:
    """The weights as a list, looked at."""
    require_number("strength", strength, 0)
    found = [weights] if isinstance(weights, Tensor) else list(weights)
    if not found:
        raise ValueError("weights must be at least one tensor, got none")
    require_floating(**{f"weights[{i}]": w for i, w in enumerate(found)})
    return found
