"""Training in half precision without losing small gradients: scale the loss up,
take the gradients, scale them down again in float32.

The smallest number of float16 is 6e-8; what is smaller in a backward pass becomes
0. A gradient is linear in the loss, so a power of two in front of the loss saves
it, and costs nothing but exponents. Too large a factor overflows; that is seen, the
step is skipped and the factor halved. bfloat16, with the exponents of float32,
needs none.

Micikevicius et al. 2018, arXiv:1710.03740; the rule is that of
`torch.amp.GradScaler`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lbdl import require

__all__ = ["next_scale", "unscale"]


def unscale(
    gradients: Sequence[Tensor], scale: float
) -> tuple[list[Tensor], Tensor]:
    """The gradients of a loss from those of the scaled loss, in float32 or better.

        (1 / S) grad (S l) = grad l

    Args:
        gradients: one or more tensors of any shapes, floating dtype.
        scale: S > 0, best a power of two: then only exponents change.

    Returns:
        The gradients, in their shapes, and whether all of them are finite, a bool
        scalar. Where they are not, skip the step.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `scale` is not > 0, or there are no `gradients`.

    Source: Micikevicius et al. 2018, section 3.2, arXiv:1710.03740.
    """
    require.floatings(gradients=gradients)
    require.number(scale=scale, above=0)
    plain = [require.widen(g) / scale for g in gradients]
    finite = torch.stack([g.isfinite().all().to(plain[0].device) for g in plain])
    return plain, finite.all()


def next_scale(
    scale: float,
    good: int,
    finite: bool,
    *,
    growth: float = 2.0,
    backoff: float = 0.5,
    interval: int = 2000,
) -> tuple[float, int]:
    """The scale of the next step: smaller after an overflow, larger after many
    steps without one.

        S <- S backoff   after a step whose gradients were not finite
        S <- S growth    after `interval` steps in a row whose gradients were

    Args:
        scale: S > 0 of this step.
        good: how many steps in a row had finite gradients before this one, >= 0.
        finite: whether this one had, `True` or `False`.
        growth: > 1.
        backoff: in (0, 1).
        interval: >= 1, a number of steps.

    Returns:
        The next S, and the number of good steps in a row before it.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: an argument is out of range.

    Source: Micikevicius et al. 2018, section 3.2, arXiv:1710.03740;
        `torch.amp.GradScaler`.
    """
    require.number(scale=scale, above=0)
    require.whole(good=good, least=0)
    require.instance(bool, finite=finite)
    require.number(growth=growth, above=1)
    require.number(backoff=backoff, above=0, below=1)
    require.whole(interval=interval, least=1)
    if not finite:
        return scale * backoff, 0
    if good + 1 == interval:
        return scale * growth, 0
    return scale, good + 1
