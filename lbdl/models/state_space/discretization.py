"""From a differential equation to a recurrence, for an input that is held between
samples.

    x' = A x + B u      ->      x_{k+1} = A_bar x_k + B_bar u_k

Forward Euler, backward Euler and the bilinear (trapezoidal, Tustin) rule are one
formula, `generalized_bilinear`; `zero_order_hold` is exact for the held input. The
step may be a tensor, and may be learned.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl import require
from lbdl.models.state_space.systems import require_system, solve

__all__ = [
    "Method",
    "METHODS",
    "discretize",
    "generalized_bilinear",
    "zero_order_hold",
]

Method = Literal["forward", "backward", "bilinear", "exact"]
METHODS = ("forward", "backward", "bilinear", "exact")
# of the end of the step
WEIGHTS = {
    "forward": 0.0,
    "backward": 1.0,
    "bilinear": 0.5,
}


def discretize(
    A: Tensor, B: Tensor, step: float | Tensor, method: Method = "bilinear"
) -> tuple[Tensor, Tensor]:
    """The recurrence x_{k+1} = A_bar x_k + B_bar u_k that follows x' = A x + B u by
    steps in time.

        forward    x_{k+1} = (I + step A) x_k + step B u_k
        backward   x_{k+1} = (I - step A)^{-1} (x_k + step B u_k)
        bilinear   x_{k+1} = (I - step/2 A)^{-1} ((I + step/2 A) x_k + step B u_k)
        exact      x_{k+1} = e^{step A} x_k + A^{-1} (e^{step A} - I) B u_k

    >>> A, B = torch.tensor([[-1.0]]), torch.tensor([1.0])
    >>> discretize(A, B, 0.5, "backward")
    (tensor([[0.6667]]), tensor([0.3333]))

    Args:
        A: (..., N, N), floating or complex dtype, N >= 1.
        B: (..., N), same dtype.
        step: > 0, a number or a floating tensor (...) that broadcasts with the
            leading dimensions.
        method: "forward", "backward", "bilinear" or "exact".

    Returns:
        A_bar (..., N, N) and B_bar (..., N).

    Raises:
        TypeError: `A` or `B` is not a floating (or complex) tensor, dtypes differ,
            or `step` is neither number nor floating tensor.
        ValueError: shapes do not fit, `step` <= 0, the method is unknown, or the
            implicit equation has no solution.

    Source: Gu et al. 2020, "HiPPO", section 2.4, arXiv:2008.07669.
    """
    require.choice(METHODS, method=method)
    if method == "exact":
        return zero_order_hold(A, B, step)
    return generalized_bilinear(A, B, step, WEIGHTS[method])


def generalized_bilinear(
    A: Tensor, B: Tensor, step: float | Tensor, weight: float = 0.5
) -> tuple[Tensor, Tensor]:
    """One step by the slope at a weighted mean of its two ends.

        x_{k+1} = x_k + step (A ((1 - weight) x_k + weight x_{k+1}) + B u_k)

    Args:
        A: (..., N, N), floating or complex dtype, N >= 1.
        B: (..., N), same dtype.
        step: > 0, a number or a floating tensor (...) that broadcasts with the
            leading dimensions.
        weight: of the end of the step, in [0, 1]: 0 is forward Euler, 1 backward
            Euler, 1/2 the bilinear rule.

    Returns:
        A_bar (..., N, N) and B_bar (..., N).

    Raises:
        TypeError: `A` or `B` is not a floating (or complex) tensor, dtypes differ,
            or `step` or `weight` is no number.
        ValueError: shapes do not fit, `step` <= 0, `weight` outside [0, 1], or the
            implicit equation has no solution.

    Source: Zhang, Chen & Chen 2009, "Digital redesign via the generalized bilinear
    transformation".
    """
    require_step(A, B, step)
    require.number(weight=weight, least=0, most=1)
    A, B = stepped(A, B, step)
    identity = torch.eye(A.shape[-1]).to(A)
    moved = solve(
        identity - weight * A,
        beside(identity + (1 - weight) * A, B),
        "1 / (weight step) must not be an eigenvalue of A",
    )
    return moved[..., :-1], moved[..., -1]


def zero_order_hold(
    A: Tensor, B: Tensor, step: float | Tensor
) -> tuple[Tensor, Tensor]:
    """The exact step for an input that is constant during it, by one matrix
    exponential.

        exp(step [[A, B], [0, 0]]) = [[A_bar, B_bar], [0, 1]],

        A_bar = e^{step A}
        B_bar = integral of e^{s A} B, s from 0 to step = A^{-1} (e^{step A} - I) B

    The first form needs no inverse, so A may be singular.

    Args:
        A: (..., N, N), floating or complex dtype, N >= 1.
        B: (..., N), same dtype.
        step: > 0, a number or a floating tensor (...) that broadcasts with the
            leading dimensions.

    Returns:
        A_bar (..., N, N) and B_bar (..., N).

    Raises:
        TypeError: `A` or `B` is not a floating (or complex) tensor, dtypes differ,
            or `step` is neither number nor floating tensor.
        ValueError: shapes do not fit, or `step` <= 0.

    Source: Van Loan 1978, "Computing integrals involving the matrix exponential".
    """
    require_step(A, B, step)
    generator = F.pad(beside(*stepped(A, B, step)), (0, 0, 0, 1))
    flow = torch.matrix_exp(generator)  # (..., N + 1, N + 1)
    return flow[..., :-1, :-1], flow[..., :-1, -1]


def stepped(A: Tensor, B: Tensor, step: float | Tensor) -> tuple[Tensor, Tensor]:
    """step A and step B, in single precision at least."""
    A, B = require.widen(A), require.widen(B)
    if not isinstance(step, Tensor):
        return step * A, step * B
    return step[..., None, None].to(A.dtype) * A, step[..., None].to(B.dtype) * B


def beside(A: Tensor, B: Tensor) -> Tensor:
    """The block [A, B], (..., N, N + 1)."""
    batch = torch.broadcast_shapes(A.shape[:-2], B.shape[:-1])
    column = B.unsqueeze(-1)
    return torch.cat([x.expand(*batch, *x.shape[-2:]) for x in (A, column)], -1)


def require_step(A: Tensor, B: Tensor, step: float | Tensor) -> None:
    """Refuse what is no system with a step."""
    require_system(A, B)
    require.number_or_tensor(step=step, above=0)
    if isinstance(step, Tensor):
        require.broadcast(A=A.shape[:-2], B=B.shape[:-1], step=step.shape)
