"""What every map here asks of its scores before it works on them."""

import torch
from torch import Tensor


def require_scores(x: Tensor, dim: int = -1, name: str = "x") -> None:
    """Refuse what cannot become a distribution, by shape and dtype alone (no pass
    over the values).

    Args:
        x: scores (..., n, ...), any floating dtype.
        dim: the dimension, of size n >= 1, that becomes a distribution.
        name: what the caller calls the tensor.

    Raises:
        TypeError: `x` is not a floating-point tensor.
        ValueError: `x` has no dimension; `dim` is out of range or of size 0.

    Source: house rule.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(
            f"{name} must be a floating-point tensor, got "
            f"{getattr(x, 'dtype', type(x).__name__)}"
        )
    if x.dim() == 0:
        raise ValueError(
            f"{name} must have at least one dimension, got a single number"
        )
    if not -x.dim() <= dim < x.dim():
        raise ValueError(
            f"dim must be in [{-x.dim()}, {x.dim() - 1}] for {name} of shape "
            f"{tuple(x.shape)}, got {dim}"
        )
    if x.shape[dim] == 0:
        raise ValueError(
            f"{name} must have at least one score along dim {dim}, got shape "
            f"{tuple(x.shape)}"
        )


def require_peak(peak: Tensor, name: str = "x") -> None:
    """Refuse rows whose largest score is not a number one can subtract.

    The maximum of a row is NaN where the row holds a NaN, inf where it holds an
    inf, and -inf where every element is masked: looking at the maxima, which the
    caller has anyway, tells all three. On CUDA the look waits for the device.
    Inside `torch.compile` it is left out, because an exception that depends on
    values would break the graph.

    Args:
        peak: the rows' maxima, any shape, floating dtype.
        name: what the caller calls the scores.

    Raises:
        ValueError: a row holds NaN or +inf, or no finite score.

    Source: house rule.
    """
    if torch.compiler.is_compiling() or bool(torch.isfinite(peak).all()):
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

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks a masked element.
        dim: the dimension of size n.
        name: what the caller calls the scores.

    Returns:
        max over `dim`, which stays with size 1: (..., 1, ...).

    Raises:
        TypeError, ValueError: see `require_scores` and `require_peak`.

    Source: house rule.
    """
    require_scores(x, dim, name)
    peak = x.detach().amax(dim, keepdim=True)
    require_peak(peak, name)
    return peak


def widen(x: Tensor) -> Tensor:
    """Scores in the dtype to compute in: float16 and bfloat16 become float32, the
    others stay.

    Args:
        x: any shape, any floating dtype.

    Returns:
        The same values, in float32 or float64.

    Source: house rule.
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def shifted(x: Tensor, dim: int = -1) -> Tensor:
    """Scores minus their row's maximum: at most 0, exactly 0 somewhere, in float32
    or better.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks a masked element.
        dim: the dimension of size n.

    Returns:
        x - max(x), shape of `x`.

    Raises:
        TypeError, ValueError: see `row_peak`.

    Source: house rule.
    """
    return widen(x) - row_peak(x, dim)
