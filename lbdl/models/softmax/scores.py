"""What every map here asks of its scores before it works on them."""

import torch
from torch import Tensor

from lbdl import require


def require_scores(x: Tensor, dim: int = -1, name: str = "x") -> None:
    """Refuse what cannot become a distribution, by shape and dtype alone (no pass
    over the values).
    """
    require.floating(**{name: x})
    require.dim(x, dim, name)


def require_peak(peak: Tensor, name: str = "x") -> None:
    """Refuse rows whose largest score is not a number one can subtract.

    The maximum of a row is NaN where the row holds a NaN, inf where it holds an
    inf, and -inf where every element is masked: looking at the maxima, which the
    caller has anyway, tells all three."""
    if not require.visible(peak) or bool(torch.isfinite(peak).all()):
        return
    if torch.isnan(peak).any():
        raise ValueError(f"{name} must hold no NaN")
    if torch.isposinf(peak).any():
        raise ValueError(f"{name} must be below +inf")
    raise ValueError(
        f"{name} must have a finite score in every row, got a row of -inf alone"
    )


def row_peak(x: Tensor, dim: int = -1, name: str = "x") -> Tensor:
    """The largest score of each row, checked, and out of autograd's sight: no map
    here moves when a row is shifted.
    """
    require_scores(x, dim, name)
    peak = x.detach().amax(dim, keepdim=True)
    require_peak(peak, name)
    return peak


def shifted(x: Tensor, dim: int = -1, name: str = "x") -> Tensor:
    """Scores minus their row's maximum: at most 0, exactly 0 somewhere, in float32
    or better.
    """
    peak = row_peak(x, dim, name)
    return require.widen(x) - peak
