"""What every map here asks of its scores before it works on them."""

from torch import Tensor

from lbdl import require


def require_scores(x: Tensor, dim: int = -1, name: str = "x") -> None:
    """Refuse what cannot become a distribution, by shape and dtype alone (no pass
    over the values).
    """
    require.floating(**{name: x})
    require.dim(x, dim, name)


def row_peak(x: Tensor, dim: int = -1, name: str = "x") -> Tensor:
    """The largest score of each row, checked, and out of autograd's sight: no map
    here moves when a row is shifted.
    """
    require_scores(x, dim, name)
    peak = x.detach().amax(dim, keepdim=True)
    require.peaks(**{name: peak})
    return peak


def shifted(x: Tensor, dim: int = -1, name: str = "x") -> Tensor:
    """Scores minus their row's maximum: at most 0, exactly 0 somewhere, in float32
    or better.
    """
    peak = row_peak(x, dim, name)
    return require.widen(x) - peak
