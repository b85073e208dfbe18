"""From scores to probabilities: softmax, the smooth maximum whose gradient it is,
and its Jacobian, written to be read.

Common to both: -inf marks a masked element, which gets exactly 0; float16 and
bfloat16 are computed in float32; a row with NaN, +inf or no finite score, wholly
masked for instance, is refused. (The row's maximum tells. Where values cannot be
looked at, inside `torch.compile` and the transforms of `torch.func`, such a row
comes back as NaN.) The maps that take its place stand in `lbdl.models.entmax`."""

from torch import Tensor

from lbdl import require
from lbdl.models.softmax.scores import row_peak, shifted
from lbdl.require import widen


def softmax(x: Tensor, dim: int = -1, temperature: float = 1.0) -> Tensor:
    """Probabilities in proportion to the exponentials of the scores.

        p_i = exp(x_i / temperature) / sum_j exp(x_j / temperature)

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        dim: the dimension, of size n >= 1, that becomes a distribution.
        temperature: above 0; towards 0 the maximum takes all, towards infinity all
            get 1/n.

    Returns:
        Probabilities, shape and dtype of `x`.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: bad `dim` or `temperature`; a row with NaN, +inf or no finite
            score.

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification
        network outputs"."""
    require.number(temperature=temperature, above=0)
    weights = (shifted(x, dim) / temperature).exp()
    return (weights / weights.sum(dim, keepdim=True)).to(x.dtype)


def logsumexp(x: Tensor, dim: int = -1, temperature: float = 1.0) -> Tensor:
    """A smooth maximum: it lies between max(x) and max(x) + temperature * log(n),
    and its gradient is softmax.

        temperature * log sum_i exp(x_i / temperature)

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks a masked element.
        dim: the dimension, of size n >= 1, to reduce.
        temperature: above 0; towards 0 the result becomes the maximum.

    Returns:
        The smooth maximum, shape of `x` without `dim`.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: bad `dim` or `temperature`; a row with NaN, +inf or no finite
            score.

    Source: Boyd & Vandenberghe 2004, "Convex Optimization", section 3.1.5.
    """
    require.number(temperature=temperature, above=0)
    peak = widen(row_peak(x, dim))
    excess = temperature * ((widen(x) - peak) / temperature).exp().sum(dim).log()
    return (peak.squeeze(dim) + excess).to(x.dtype)


def softmax_jacobian(p: Tensor) -> Tensor:
    """The Jacobian of softmax, from its result:   J = diag(p) - p p^T.

    Half the sum of |J_ij| is 1 - sum_i p_i^2. At temperature t, divide J by t.

    Args:
        p: probabilities (..., n), any floating dtype; the result of `softmax`, not
            the scores.

    Returns:
        J_ij = dp_i / dx_j, (..., n, n).

    Raises:
        TypeError: `p` is not a floating tensor.
        ValueError: `p` is not a distribution over its last dimension.

    Source: Martins & Astudillo 2016, section 2.5, arXiv:1602.02068.
    """
    require.distribution(p=p)
    return zero_sum_jacobian(widen(p)).to(p.dtype)


def zero_sum_jacobian(s: Tensor) -> Tensor:
    """diag(s) - s s^T / sum(s), s (..., n): each entry grows with its own score at
    the rate s_i, and all give that back in proportion to s, so that rows sum to 0.
    """
    between = s.unsqueeze(-1) * (s / s.sum(-1, keepdim=True)).unsqueeze(-2)
    between = between - between.diagonal(dim1=-2, dim2=-1).diag_embed()
    return between.sum(-1).diag_embed() - between  # rows sum to 0
