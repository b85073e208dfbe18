"""What probabilities are held against: class numbers and distributions, checked, in
the shape and dtype of the scores."""

from torch import Tensor
from torch.nn.functional import one_hot

from lbdl import require
from lbdl.models.softmax.scores import require_scores
from lbdl.require import widen


def inner(weights: Tensor, x: Tensor) -> Tensor:
    """<weights, x> over the last dimension, where a weight of 0 silences even an
    infinite score.
    """
    return (weights * x).where(weights != 0, 0).sum(-1)


def as_distribution(target: Tensor, x: Tensor) -> Tensor:
    """The target as probabilities: class numbers become one-hot rows, probabilities
    stay.
    """
    require_scores(x)
    require.tensor(target=target)
    if not target.is_floating_point():
        return as_onehot(target, x)
    require.same_shape(x=x, target=target)
    return target.to(widen(x).dtype)


def as_onehot(target: Tensor, x: Tensor, name: str = "x") -> Tensor:
    """Class numbers (...) as one-hot rows (..., K) that fit the scores, in the
    dtype in which these are computed.
    """
    require_scores(x, name=name)
    require.classes(x.shape[-1], name="target", targets=target)
    if target.shape != x.shape[:-1]:
        raise ValueError(
            f"target must have shape {tuple(x.shape[:-1])},"
            f" got {tuple(target.shape)}"
        )
    return one_hot(target, x.shape[-1]).to(widen(x).dtype)
