"""Learning-rate schedules: pure functions from the step to the rate.

Every schedule takes the step first, a number or a tensor of steps, and returns the
rate there: a float for a number, a tensor for a tensor. Steps count from 0, as
torch's schedulers count them. With the default peak of 1 a schedule is a factor,
ready for `torch.optim.lr_scheduler.LambdaLR`.

Goyal et al. 2017, arXiv:1706.02677 (warm-up); Loshchilov & Hutter 2017,
arXiv:1608.03983 (cosine with warm restarts); Huang et al. 2017, arXiv:1704.00109
(snapshot ensembles); Smith 2017, arXiv:1506.01186 (triangular cycles); Vaswani et
al. 2017, arXiv:1706.03762, section 5.3 (inverse square root).
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "constant",
    "linear_warmup",
    "cosine_restarts",
    "triangular",
    "inverse_sqrt",
    "trapezoid",
    "with_warmup",
    "snapshot_steps",
    "ensemble_probabilities",
]

Step = int | float | Tensor
Schedule = Callable[[Step], Any]


def elementwise(schedule: Callable[..., Tensor]) -> Callable[..., Any]:
    """Lets a schedule written for a float64 tensor of steps >= 0 take a number as
    well."""

    @wraps(schedule)
    def on_any_step(step: Step, *args: Any, **options: Any) -> Any:
        if isinstance(step, Tensor):
            steps = step
        else:
            require.number(step=step, least=0)
            steps = torch.tensor(float(step), dtype=torch.float64)
        if steps.is_complex() or steps.dtype == torch.bool:
            raise TypeError(f"step must hold numbers, got {steps.dtype}")
        require.finite(step=steps)
        require.within(step=steps, least=0)
        rates = schedule(steps.double(), *args, **options)
        return rates if isinstance(step, Tensor) else float(rates)

    return on_any_step


@elementwise
def constant(step: Tensor, lr: float = 1.0) -> Tensor:
    """The same rate at every step.

        lr_t = lr

    Args:
        step: t >= 0, a number or a tensor of any shape.
        lr: the rate, >= 0.

    Returns:
        A float for a number, float64 of the shape of `step` for a tensor.

    Raises:
        TypeError: `step` is neither a number nor a tensor of numbers, or `lr` is no
            number.
        ValueError: `step` is negative or not finite, or `lr` is negative.
    """
    require.number(lr=lr, least=0)
    return torch.full_like(step, lr)


@elementwise
def linear_warmup(
    step: Tensor, lr: float = 1.0, *, warmup: int, start: float = 0.0
) -> Tensor:
    """A straight line up to the peak, and flat after it.

        lr_t = lr (start + (1 - start) min(t / warmup, 1))

    Args:
        step: t >= 0, a number or a tensor of any shape.
        lr: the peak.
        warmup: number of steps to the peak, >= 1.
        start: the factor at step 0, >= 0.

    Returns:
        A float for a number, float64 of the shape of `step` for a tensor.

    Raises:
        TypeError: `step` is neither a number nor a tensor of numbers, or a setting
            is of a wrong kind.
        ValueError: `warmup` is below 1, `step` is negative or not finite, or
            another number is out of its range.

    Source: Goyal et al. 2017, section 2.2, arXiv:1706.02677.
    """
    require.whole(warmup=warmup, least=1)
    require.number(lr=lr, start=start, least=0)
    return lr * (start + (1 - start) * (step / warmup).clamp(max=1))


@elementwise
def cosine_restarts(
    step: Tensor,
    lr: float = 1.0,
    *,
    cycle: int,
    lr_min: float = 0.0,
    growth: int = 1,
) -> Tensor:
    """Half a cosine down from the peak, again and again; each cycle `growth` times
    as long as the one before.

        lr_t = lr_min + (lr - lr_min) (1 + cos(pi p / c)) / 2,
        p = steps into the cycle, c = its length

    The bottom itself is never reached: the last step of a cycle has p = c - 1.

    >>> [round(cosine_restarts(t, cycle=4), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 1.0, 0.854]

    Args:
        step: t >= 0, a number or a tensor of any shape.
        lr: the peak, at the first step of every cycle.
        cycle: length of the first cycle, >= 1.
        lr_min: the rate that the cosine falls towards.
        growth: factor from one length to the next, an integer >= 1.

    Returns:
        A float for a number, float64 of the shape of `step` for a tensor.

    Raises:
        TypeError: `step` is neither a number nor a tensor of numbers, or a setting
            is of a wrong kind.
        ValueError: `cycle` or `growth` is below 1, `step` is negative or not
            finite, or another number is out of its range.

    Source: Loshchilov & Hutter 2017, equation (5), arXiv:1608.03983.
    """
    require.whole(cycle=cycle, growth=growth, least=1)
    require.number(lr=lr, lr_min=lr_min, least=0)
    position, length = cycle_position(step, cycle, growth)
    return lr_min + (lr - lr_min) * (1 + torch.cos(math.pi * position / length)) / 2


def cycle_position(
    step: Tensor, cycle: int, growth: int
) -> tuple[Tensor, Tensor | int]:
    """Steps into the present cycle, and its length; cycle k starts at cycle
    (growth^k - 1) / (growth - 1)."""
    if growth == 1:
        return step % cycle, cycle
    cycles = torch.log(step / cycle * (growth - 1) + 1) / math.log(growth)
    # a start of a cycle must not be rounded into the one before
    k = (cycles + 1e-9).floor()
    return step - cycle * (growth**k - 1) / (growth - 1), cycle * growth**k


@elementwise
def triangular(
    step: Tensor,
    lr: float = 1.0,
    *,
    half_cycle: int,
    lr_min: float = 0.0,
    shrink: float = 1.0,
) -> Tensor:
    """Up and down in straight lines; the peaks of each cycle `shrink` times as high
    as of the one before.

        lr_t = lr_min + (lr - lr_min) shrink^k max(0, 1 - |t / h - 2k - 1|),
        k = floor(t / 2h)

    Args:
        step: t >= 0, a number or a tensor of any shape.
        lr: the first peak.
        half_cycle: h, steps from the bottom to the peak, >= 1.
        lr_min: the bottom, where each cycle begins.
        shrink: >= 0; 1 for Smith's "triangular", 1/2 for "triangular2".

    Returns:
        A float for a number, float64 of the shape of `step` for a tensor.

    Raises:
        TypeError: `step` is neither a number nor a tensor of numbers, or a setting
            is of a wrong kind.
        ValueError: `half_cycle` is below 1, `step` is negative or not finite, or
            another number is out of its range.

    Source: Smith 2017, section 3.1, arXiv:1506.01186.
    """
    require.whole(half_cycle=half_cycle, least=1)
    require.number(lr=lr, lr_min=lr_min, shrink=shrink, least=0)
    k = (step / (2 * half_cycle)).floor()
    height = (1 - (step / half_cycle - 2 * k - 1).abs()).clamp(min=0)
    return lr_min + (lr - lr_min) * shrink**k * height


@elementwise
def inverse_sqrt(step: Tensor, lr: float = 1.0, *, warmup: int = 1) -> Tensor:
    """A linear warm-up, then a fall with the square root of time.

        lr_t = lr min(n / warmup, sqrt(warmup / n)),    n = t + 1

    The schedule of the Transformer: there the peak is lr = (d warmup)^(-1/2).

    Args:
        step: t >= 0, a number or a tensor of any shape.
        lr: the peak, at the step warmup - 1.
        warmup: number of steps of the warm-up, >= 1; with 1 there is none, and
            lr_t = lr / sqrt(t + 1).

    Returns:
        A float for a number, float64 of the shape of `step` for a tensor.

    Raises:
        TypeError: `step` is neither a number nor a tensor of numbers, or a setting
            is of a wrong kind.
        ValueError: `warmup` is below 1, `step` is negative or not finite, or
            another number is out of its range.

    Source: Vaswani et al. 2017, equation (3), arXiv:1706.03762.
    """
    require.whole(warmup=warmup, least=1)
    require.number(lr=lr, least=0)
    count = step + 1
    return lr * torch.minimum(count / warmup, (warmup / count).sqrt())


@elementwise
def trapezoid(
    step: Tensor, lr: float = 1.0, *, steps: int, decay: int, warmup: int = 0
) -> Tensor:
    """Warm up, stay, decay ("WSD"): a ramp, a plateau, and a straight line to 0.

        lr_t = lr min(t / warmup, 1, (steps - t) / decay),    never below 0

    The plateau can be prolonged at any time: its length is decided only when the
    fall begins.

    Args:
        step: t >= 0, a number or a tensor of any shape.
        lr: the plateau, >= 0.
        steps: length of the training, >= 1; the rate is 0 from there on.
        decay: number of steps of the fall, >= 1.
        warmup: number of steps of the ramp, >= 0; with 0 there is none.

    Returns:
        A float for a number, float64 of the shape of `step` for a tensor.

    Raises:
        TypeError: `step` is neither a number nor a tensor of numbers, or a setting
            is of a wrong kind.
        ValueError: a length is too small, `step` is negative or not finite, or `lr`
            is negative.

    Source: Hu et al. 2024, section 4, arXiv:2404.06395; Hagele et al. 2024,
        arXiv:2405.18392.
    """
    require.whole(steps=steps, decay=decay, least=1)
    require.whole(warmup=warmup, least=0)
    require.number(lr=lr, least=0)
    fall = ((steps - step) / decay).clamp(0, 1)
    return lr * (torch.minimum(fall, step / warmup) if warmup else fall)


def with_warmup(schedule: Schedule, warmup: int, *, start: float = 0.0) -> Schedule:
    """Any schedule after a linear warm-up to its first value.

        lr_t = schedule(0) (start + (1 - start) t / warmup)    for t < warmup,
        lr_t = schedule(t - warmup)    after

    Args:
        schedule: a function of the step, for instance
            `functools.partial(cosine_restarts, cycle=50)`; steps of any shape.
        warmup: number of steps to warm up, >= 1.
        start: the factor at step 0.

    Returns:
        A function of the step, a number or a tensor of any shape.

    Raises:
        TypeError: `schedule` is no function, `warmup` no whole number, or `start`
            no number.
        ValueError: `warmup` is below 1, or `start` is negative.

    Source: Goyal et al. 2017, section 2.2, arXiv:1706.02677.
    """
    require.function(schedule=schedule)
    require.whole(warmup=warmup, least=1)
    require.number(start=start, least=0)

    def warmed(step: Step) -> Any:
        after = (
            (step - warmup).clamp(min=0)
            if isinstance(step, Tensor)
            else max(step - warmup, 0)
        )
        return schedule(after) * linear_warmup(step, warmup=warmup, start=start)

    return warmed


def snapshot_steps(steps: int, cycle: int) -> Tensor:
    """The steps after which to keep the weights: the last of each whole cycle,
    where the rate is lowest.

        cycle - 1,  2 cycle - 1,  ...  < steps

    Args:
        steps: length of the training, >= 0.
        cycle: length of a cycle of `cosine_restarts`, >= 1.

    Returns:
        The steps (steps // cycle,), int64.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: `steps` is negative, or `cycle` is below 1.

    Source: Huang et al. 2017, section 3, arXiv:1704.00109.
    """
    require.whole(steps=steps, least=0)
    require.whole(cycle=cycle, least=1)
    return torch.arange(1, steps // cycle + 1) * cycle - 1


def ensemble_probabilities(
    logits: Tensor, *, models: int = 0, classes: int = -1
) -> Tensor:
    """What an ensemble predicts: the mean of its members' probabilities.

        p(y | x) = (1/M) sum_m softmax(z_m(x))_y

    By Jensen its cross-entropy is at most the mean of the members'.

    Args:
        logits: (M, ..., K) of M models and K classes, floating dtype.
        models: the dimension of the models.
        classes: the dimension of the classes.

    Returns:
        Probabilities, the shape of `logits` without the dimension of the models.

    Raises:
        TypeError: `logits` is not floating, or a dimension is no whole number.
        ValueError: there is no model or no class, or the two dimensions are one.

    Source: Huang et al. 2017, section 3, arXiv:1704.00109.
    """
    require.floating(logits=logits)
    require.dim(logits, models, "logits", argument="models")
    require.dim(logits, classes, "logits", argument="classes")
    if models % logits.dim() == classes % logits.dim():
        raise ValueError(
            f"models and classes must be two dimensions, got {models} and {classes}"
        )
    members = require.widen(logits).softmax(classes)
    return members.mean(models).to(logits.dtype)
