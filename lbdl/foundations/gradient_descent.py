"""Gradient descent and its family: how a gradient becomes a step.

Every rule here has one form, `rule(w, gradient, state, lr=...) -> (w, state)`: the
weights, the gradient there, what the rule remembers (`None` at the start), and back
come the new weights and the new memory. Rules act element by element, so one call
moves one point, a batch of points or a weight matrix, and `lr` may be a tensor that
broadcasts against `w`.

Cauchy 1847 (descent), Polyak 1964 (heavy ball), Nesterov 1983, Tieleman & Hinton
2012 (RMSProp), Kingma & Ba 2015 (Adam, arXiv:1412.6980), Loshchilov & Hutter 2019
(AdamW, arXiv:1711.05101). The theory on quadratics follows Polyak 1987. At the end
the same gradient is taken with respect to the input: Goodfellow et al. 2015,
arXiv:1412.6572.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl import require
from lbdl.geometry.rotations import MUON, newton_schulz

__all__ = [
    "gradient_descent",
    "heavy_ball",
    "nesterov",
    "nesterov_lookahead",
    "rmsprop",
    "adam",
    "adamw",
    "with_l2",
    "steepest_direction",
    "steepest_descent",
    "muon",
    "schedule_free",
    "adam_",
    "newton",
    "damped_newton",
    "saddle_free_newton",
    "trust_region_newton",
    "trajectory",
    "newton_trajectory",
    "minimize",
    "gradient_of",
    "gradient_and_hessian",
    "stability_limit",
    "best_rate",
    "best_heavy_ball",
    "best_nesterov",
    "steps_to",
    "iteration_matrix",
    "spectral_radius",
    "quadratic_bowl",
    "rosenbrock",
    "saddle",
    "fgsm",
    "worst_logistic_loss",
    "dual_order",
    "lipschitz_bound",
]

Rate = float | Tensor
State = (
    Any  # None at the start, then a tensor or a plain tuple, which torch can save
)
Rule = Callable[..., tuple[Tensor, State]]
Objective = Callable[[Tensor], Tensor]


# --- First-order rules ------------------------------------------------------------


def gradient_descent(
    w: Tensor, gradient: Tensor, state: State = None, *, lr: Rate
) -> tuple[Tensor, State]:
    """One step against the gradient.

        w <- w - lr g   =   argmin_u  f(w) + <g, u - w> + ||u - w||^2 / (2 lr)

    >>> gradient_descent(torch.tensor([1.0]), torch.tensor([2.0]), lr=0.1)
    (tensor([0.8000]), None)

    Args:
        w: weights, any shape, floating dtype.
        gradient: the gradient at `w`, same shape.
        state: unused; every rule takes one.
        lr: learning rate, a number >= 0 or a tensor that broadcasts against `w`.

    Returns:
        The new weights, shape of `w`, and `None`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `lr` is no number.
        ValueError: shapes differ, or `lr` is negative or not finite.

    Source: Cauchy 1847; the proximal form, Nesterov, Introductory Lectures on
        Convex Optimization, 2004, section 1.3.1.
    """
    require_step(w, gradient, lr)
    return w - lr * gradient, None


def heavy_ball(
    w: Tensor, gradient: Tensor, state: State = None, *, lr: Rate, beta: Rate = 0.9
) -> tuple[Tensor, State]:
    """Gradient descent with momentum: a ball with inertia.

        v <- beta v + g,    w <- w - lr v

    `torch.optim.SGD` keeps this v. Polyak's v is the displacement, v <- beta v - lr
    g, w <- w + v: the same path as long as `lr` is constant. When `lr` changes,
    this form applies the new rate to the whole memory, Polyak's only to the new
    gradient.

    Args:
        w: weights, any shape, floating dtype.
        gradient: the gradient at `w`, same shape.
        state: the velocity v, shape of `w`, or `None` for a ball at rest.
        lr: learning rate, a number >= 0 or a tensor that broadcasts against `w`.
        beta: momentum in [0, 1), a number or a tensor that broadcasts against `w`.

    Returns:
        The new weights and the new velocity, both with the shape of `w`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a setting is no
            number.
        ValueError: shapes differ, `lr` is negative or not finite, or a setting is
            out of its range.

    Source: Polyak 1964, USSR Comput. Math. Math. Phys. 4(5).
    """
    require_step(w, gradient, lr, beta=beta)
    require_memory(w, state=state)
    velocity = gradient.clone() if state is None else beta * state + gradient
    return w - lr * velocity, velocity


def nesterov(
    w: Tensor, gradient: Tensor, state: State = None, *, lr: Rate, beta: Rate = 0.9
) -> tuple[Tensor, State]:
    """Nesterov momentum, written for the gradient at the present point.

        v <- beta v + g,    w <- w - lr (g + beta v)

    As long as `lr` and `beta` are constant it is `nesterov_lookahead` seen from the
    look-ahead point: this w is that w - lr beta v. When they change, that one looks
    ahead by the new values, and this one has gone by the old.

    Args:
        w: weights, any shape, floating dtype.
        gradient: the gradient at `w`, same shape.
        state: the velocity v, shape of `w`, or `None` at the start.
        lr: learning rate, a number >= 0 or a tensor that broadcasts against `w`.
        beta: momentum in [0, 1), a number or a tensor that broadcasts against `w`.

    Returns:
        The new weights and the new velocity, both with the shape of `w`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a setting is no
            number.
        ValueError: shapes differ, `lr` is negative or not finite, or a setting is
            out of its range.

    Source: Sutskever et al. 2013, equations (3)-(4), and Bengio et al. 2012,
        arXiv:1212.0901, section 3.5.
    """
    require_step(w, gradient, lr, beta=beta)
    require_memory(w, state=state)
    velocity = gradient.clone() if state is None else beta * state + gradient
    return w - lr * (gradient + beta * velocity), velocity


def nesterov_lookahead(
    w: Tensor,
    gradient_at: Objective,
    state: State = None,
    *,
    lr: Rate,
    beta: Rate = 0.9,
) -> tuple[Tensor, State]:
    """Nesterov momentum as it was thought of: the gradient where the ball is about
    to be.

        v <- beta v + grad f(w - lr beta v),    w <- w - lr v

    Args:
        w: weights, any shape, floating dtype.
        gradient_at: the function w -> gradient of f at w, shape preserved.
        state: the velocity v, shape of `w`, or `None` at the start.
        lr: learning rate, a number >= 0 or a tensor that broadcasts against `w`.
        beta: momentum in [0, 1), a number or a tensor that broadcasts against `w`.

    Returns:
        The new weights and the new velocity, both with the shape of `w`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a setting is no
            number.
        ValueError: shapes differ, `lr` is negative or not finite, or `beta` is
            outside [0, 1).

    Source: Nesterov 1983, Soviet Math. Dokl. 27(2); in this notation Sutskever et
        al. 2013, equations (3)-(4).
    """
    require_step(w, w, lr, beta=beta)
    require.function(gradient_at=gradient_at)
    require_memory(w, state=state)
    velocity = torch.zeros_like(w) if state is None else state
    gradient = gradient_at(w - lr * beta * velocity)
    require_step(w, gradient, lr)
    velocity = beta * velocity + gradient
    return w - lr * velocity, velocity


def rmsprop(
    w: Tensor,
    gradient: Tensor,
    state: State = None,
    *,
    lr: Rate,
    beta: Rate = 0.99,
    eps: float = 1e-8,
) -> tuple[Tensor, State]:
    """Steps of a size that forgets the size of the gradient.

        v <- beta v + (1 - beta) g^2,    w <- w - lr g / (sqrt(v) + eps)

    Adam without the first moment and without bias correction.

    Args:
        w: weights, any shape, floating dtype.
        gradient: the gradient at `w`, same shape.
        state: the running mean v of squared gradients, shape of `w`, or `None` at
            the start; float32 for half precision, where a square soon is 0.
        lr: learning rate, a number >= 0 or a tensor that broadcasts against `w`.
        beta: memory of v, in [0, 1).
        eps: added to the root, >= 0; with 0 a gradient that was always 0 gives NaN.

    Returns:
        The new weights and the new v, both with the shape of `w`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a setting is no
            number.
        ValueError: shapes differ, `lr` is negative or not finite, or a setting is
            out of its range.

    Source: Tieleman & Hinton 2012, Neural Networks for Machine Learning, lecture
        6.5.
    """
    require_step(w, gradient, lr, beta=beta)
    require.number_or_tensor(eps=eps, least=0)
    require_memory(w, state=state)
    g = require.widen(gradient)
    v = (1 - beta) * g**2 + (0 if state is None else beta * state)
    return (w - lr * g / (v.sqrt() + eps)).to(w.dtype), v


def adam(
    w: Tensor,
    gradient: Tensor,
    state: State = None,
    *,
    lr: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Tensor, State]:
    """Momentum divided by the root mean square of the gradient, both corrected for
    their start at zero.

        m <- beta1 m + (1 - beta1) g            v <- beta2 v + (1 - beta2) g^2
        w <- w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    >>> w, state = adam(torch.zeros(2), torch.tensor([1e-3, -1e3]), lr=0.1)
    >>> w
    tensor([-0.1000,  0.1000])

    v is the uncentred second moment, not a variance. Where |g| is far above eps,
    the first step is lr sign(g).

    Args:
        w: weights, any shape, floating dtype.
        gradient: the gradient at `w`, same shape.
        state: (m, v, t), two tensors of the shape of `w`, float32 for half
            precision, and the number of steps done; `None` at the start.
        lr: learning rate, a number >= 0 or a tensor that broadcasts against `w`.
        betas: memories of m and v, each in [0, 1).
        eps: added to the root, >= 0; with 0 a gradient that was always 0 gives NaN.

    Returns:
        The new weights, shape of `w`, and the new (m, v, t).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a setting is no
            number.
        ValueError: shapes differ, `lr` is negative or not finite, or a setting is
            out of its range.

    Source: Kingma & Ba 2015, Algorithm 1, arXiv:1412.6980.
    """
    beta1, beta2 = require_adam(betas, eps)
    require_step(w, gradient, lr)
    m, v, t = (None, None, 0) if state is None else require_moments(w, state)
    g = require.widen(gradient)
    m = (1 - beta1) * g + (0 if m is None else beta1 * m)
    v = (1 - beta2) * g**2 + (0 if v is None else beta2 * v)
    t = t + 1
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return (w - lr * m_hat / (v_hat.sqrt() + eps)).to(w.dtype), (m, v, t)


def adamw(
    w: Tensor,
    gradient: Tensor,
    state: State = None,
    *,
    lr: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    decay: float = 1e-2,
) -> tuple[Tensor, State]:
    """Adam with the weights shrunk beside it, not through the gradient.

        w <- (1 - lr decay) w,
        then the step of `adam` with the gradient of the loss alone

    This is PyTorch's form. The paper's Algorithm 2 multiplies the decay by the
    schedule alone, not by the rate: there the rate and the decay can be tuned one
    by one.

    Args:
        w: weights, any shape, floating dtype.
        gradient: the gradient of the loss at `w`, same shape.
        state: (m, v, t) as for `adam`, tensors with the shape of `w`, or `None` at
            the start.
        lr: learning rate, a number >= 0 or a tensor that broadcasts against `w`.
        betas: as for `adam`.
        eps: as for `adam`.
        decay: weight decay >= 0.

    Returns:
        The new weights, shape of `w`, and the new (m, v, t).

    Raises:
        TypeError: as `adam`, or `decay` is no number.
        ValueError: as `adam`, or `decay` is negative.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
    """
    require_step(w, gradient, lr)
    require.number_or_tensor(decay=decay, least=0)
    shrunk = (1 - lr * decay) * require.widen(w)
    moved, state = adam(
        shrunk, gradient.to(shrunk.dtype), state, lr=lr, betas=betas, eps=eps
    )
    return moved.to(w.dtype), state


def with_l2(rule: Rule, decay: float) -> Rule:
    """The rule for the penalised loss f(w) + decay ||w||^2 / 2.

        g <- g + decay w,    then the rule

    It is what torch calls `weight_decay` in SGD, RMSprop and Adam. For gradient
    descent this is the same as shrinking w by 1 - lr decay; for Adam it is not, see
    `adamw`.

    Args:
        rule: any rule of this module; it acts on weights of any shape.
        decay: strength of the penalty, >= 0.

    Returns:
        A rule with the same call and the same shapes; it can be pickled where
        `rule` can.

    Raises:
        TypeError: `rule` is no function, or `decay` no number.
        ValueError: `decay` is negative.

    Source: Loshchilov & Hutter 2019, section 2, arXiv:1711.05101.
    """
    require.function(rule=rule)
    require.number_or_tensor(decay=decay, least=0)
    return update_wrapper(partial(penalised, rule, decay), rule)


def penalised(
    rule: Rule,
    decay: float,
    w: Tensor,
    gradient: Tensor,
    state: State = None,
    **options: Any,
) -> tuple[Tensor, State]:
    """The step of a rule on the gradient of the penalised loss."""
    require_step(w, gradient, 0.0)
    return rule(w, gradient + decay * w, state, **options)


# --- Steepest in which norm? ------------------------------------------------------


def steepest_direction(gradient: Tensor, norm: str = "euclidean") -> Tensor:
    """The step of length one along which the loss rises most, to first order.

        argmax_{||u|| <= 1} <g, u>

        euclidean  ||u||_2 over the last dimension            g / ||g||_2
        largest    the largest |u_i|                          sign(g)
        spectral   the largest singular value of a matrix u   U V^T,  g = U S V^T

    The maximum itself is the dual norm of g: its Euclidean length, the sum of its
    absolute values, the sum of its singular values.

    No `torch.compile`: the singular values are computed outside of the graph.

    Args:
        gradient: g (..., d), or matrices (..., n, d) for "spectral", floating
            dtype.
        norm: "euclidean", "largest" or "spectral".

    Returns:
        The directions, shape and dtype of `gradient`; 0 where it is 0.

    Raises:
        TypeError: `gradient` is not floating.
        ValueError: its shape does not fit, a value is not finite, or the norm is
            unknown.

    Source: Bernstein & Newhouse 2024, arXiv:2409.20325.
    """
    require.floating(gradient=gradient)
    require.choice(("euclidean", "largest", "spectral"), norm=norm)
    pattern = "... n d" if norm == "spectral" else "... d"
    require.shapes(gradient=(gradient, pattern))
    require.finite(gradient=gradient)
    if norm == "largest":
        return gradient.sign()
    g = require.widen(gradient)
    g = g / require.power_of_two(g, (-2, -1) if norm == "spectral" else -1)
    return (F.normalize(g, dim=-1) if norm == "euclidean" else polar(g)).to(
        gradient.dtype
    )


def polar(g: Tensor) -> Tensor:
    """U V^T of matrices, directions with singular value 0 left out."""
    u, s, vh = torch.linalg.svd(g, full_matrices=False)
    least = max(g.shape[-2:]) * torch.finfo(s.dtype).eps * s[..., :1]
    return (u * (s > least).unsqueeze(-2)) @ vh


def steepest_descent(
    w: Tensor,
    gradient: Tensor,
    state: State = None,
    *,
    lr: Rate,
    norm: str = "euclidean",
) -> tuple[Tensor, State]:
    """One step of a given length, in the norm in which it is measured.

        w <- w - lr u    =    argmin_{||v - w|| <= lr}  f(w) + <g, v - w>

    with u the `steepest_direction`. "largest" is sign descent, what Adam does
    without memory; "spectral" is what `muon` does without memory.

    No `torch.compile`: the singular values are computed outside of the graph.

    Args:
        w: weights (..., d), or matrices (..., n, d) for "spectral", floating dtype.
        gradient: the gradient at `w`, same shape.
        state: unused; every rule takes one.
        lr: length of the step, a number >= 0 or a tensor that broadcasts to `w`.
        norm: "euclidean", "largest" or "spectral".

    Returns:
        The new weights, shape of `w`, and `None`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `lr` is no number.
        ValueError: shapes differ or do not fit, `lr` is negative or not finite, the
            gradient is not finite, or the norm is unknown.

    Source: Bernstein & Newhouse 2024, arXiv:2409.20325.
    """
    require_step(w, gradient, lr)
    return w - lr * steepest_direction(gradient, norm), None


def muon(
    w: Tensor,
    gradient: Tensor,
    state: State = None,
    *,
    lr: Rate = 1e-3,
    beta: float = 0.95,
    decay: float = 0.1,
    steps: int = 5,
    dtype: torch.dtype | None = torch.bfloat16,
) -> tuple[Tensor, State]:
    """Momentum, orthogonalised: steepest descent in the spectral norm, with memory.

        m <- beta m + (1 - beta) g,    u = beta m + (1 - beta) g    (Nesterov)
        w <- (1 - lr decay) w - lr sqrt(max(1, n / d)) NS(u)

    NS, a few steps of Newton and Schulz, brings the singular values of u near to 1.
    For the matrices of hidden layers; vectors and embeddings are left to `adamw`.

    Args:
        w: matrices (..., n, d), floating dtype, n outputs and d inputs.
        gradient: the gradient at `w`, same shape.
        state: the running mean m, shape of `w`, or `None` at the start.
        lr: learning rate, a number >= 0 or a tensor that broadcasts to `w`.
        beta: memory of m, in [0, 1).
        decay: decoupled weight decay >= 0.
        steps: of Newton and Schulz, >= 0.
        dtype: that these are computed in, floating; `None` for that of `w`.

    Returns:
        The new weights and the new m, both with the shape of `w`.

    Raises:
        TypeError: a tensor or `dtype` is not floating, dtypes differ, `steps` is no
            whole number, or another setting no number.
        ValueError: shapes differ or are no matrices, or a setting is out of its
            range.

    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; torch.optim.Muon.
    """
    require_step(w, gradient, lr, beta=beta)
    require.shapes(w=(w, "... n d"))
    require_memory(w, state=state)
    require.number(decay=decay, least=0)
    m = (1 - beta) * gradient + (0 if state is None else beta * state)
    u = beta * m + (1 - beta) * gradient
    step = newton_schulz(u, steps, MUON, dtype=dtype)
    scale = math.sqrt(max(1, w.shape[-2] / w.shape[-1]))
    return (1 - lr * decay) * w - lr * scale * step, m


def schedule_free(
    w: Tensor,
    gradient: Tensor,
    state: State = None,
    *,
    lr: Rate,
    beta: Rate = 0.9,
) -> tuple[Tensor, State]:
    """Descent at a constant rate whose average is the answer, at every step.

        z <- z - lr g(y),    x <- x + (z - x) / t,    y = (1 - beta) z + beta x

    The weights w are y, where gradients are taken; x, the mean of all z, is what to
    use: it needs no schedule, and no length of the training. With beta = 0 it is
    gradient descent with Polyak's average.

    Args:
        w: weights y, any shape, floating dtype.
        gradient: the gradient at `w`, same shape.
        state: (z, x, t), two tensors of the shape of `w`, float32 for half
            precision, and the number of steps done; `None` at the start.
        lr: learning rate, a number >= 0 or a tensor that broadcasts to `w`.
        beta: in [0, 1), how much nearer to the average gradients are taken.

    Returns:
        The new y, shape of `w`, and the new (z, x, t).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a setting is no
            number.
        ValueError: shapes differ, or a setting is out of its range.

    Source: Defazio et al. 2024, "The Road Less Scheduled", arXiv:2405.15682.
    """
    require_step(w, gradient, lr, beta=beta)
    start = (require.widen(w), require.widen(w), 0)
    z, x, t = start if state is None else require_moments(w, state)
    z, t = z - lr * gradient, t + 1
    x = x + (z - x) / t
    return ((1 - beta) * z + beta * x).to(w.dtype), (z, x, t)


# --- Adam in place: the fast way over many tensors --------------------------------


@torch.no_grad()
def adam_(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    state: State = None,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    decay: float = 0.0,
) -> State:
    """`adamw` on a whole list of tensors, in place; with `decay=0` it is `adam`.

        w <- (1 - lr decay) w
            - (lr / (1 - beta1^t)) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

    Six passes over the memory instead of a dozen, and one scratch tensor that all
    weights of a shape share. Not differentiable: the weights are overwritten.

    Args:
        weights: tensors of any shapes, floating dtype, changed in place.
        gradients: one for each weight, same shape.
        state: (ms, vs, t), two lists of tensors with the shapes of the weights,
            float32 for half precision, changed in place, and the number of steps
            done; `None` at the start.
        lr: learning rate >= 0.
        betas: memories of m and v, each in [0, 1).
        eps: added to the root, >= 0; with 0 a gradient that was always 0 gives NaN.
        decay: decoupled weight decay >= 0.

    Returns:
        The new (ms, vs, t), t a number.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a setting is no
            number.
        ValueError: lengths or shapes differ, or a setting is out of its range.

    Source: Kingma & Ba 2015, the rearrangement in section 2, arXiv:1412.6980.
    """
    beta1, beta2 = require_adam(betas, eps)
    require.sequence(weights=weights, gradients=gradients)
    if len(weights) == 0 or len(weights) != len(gradients):
        raise ValueError(
            "gradients must match weights, at least one tensor, "
            f"got {len(gradients)} for {len(weights)}"
        )
    require.number(lr=lr, least=0)  # it is read on the CPU
    for w, gradient in zip(weights, gradients, strict=True):
        require_step(w, gradient, lr)
    require.number(decay=decay, least=0)
    if state is None:  # zeros are made at the start alone
        state = (zeros_like(weights), zeros_like(weights), 0)
    require.sequence(state=state)
    ms, vs, t = state
    root, scratch = math.sqrt(1 - beta2 ** (t + 1)), torch.empty(0)
    for w, gradient, m, v in zip(weights, gradients, ms, vs, strict=True):
        g = require.widen(gradient)
        if decay:
            w.mul_(1 - lr * decay)
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        scratch = torch.sqrt(v, out=room_for(v, scratch)).add_(eps * root)
        w.addcdiv_(m, scratch, value=-lr * root / (1 - beta1 ** (t + 1)))
    return ms, vs, t + 1


def zeros_like(weights: Sequence[Tensor]) -> list[Tensor]:
    """A zero for every weight, in float32 or wider."""
    return [torch.zeros_like(require.widen(w)) for w in weights]


def room_for(w: Tensor, scratch: Tensor) -> Tensor:
    """The scratch tensor where it fits, else a new one."""
    fits = (
        scratch.shape == w.shape
        and scratch.dtype == w.dtype
        and scratch.device == w.device
    )
    return scratch if fits else torch.empty_like(w)


# --- Second-order rules -----------------------------------------------------------


def newton(w: Tensor, gradient: Tensor, hessian: Tensor) -> Tensor:
    """Jump to the stationary point of the local quadratic, be it a minimum, a
    saddle or a maximum.

        w <- w - H^-1 g

    Args:
        w: points (..., d), floating dtype.
        gradient: (..., d).
        hessian: (..., d, d), symmetric and invertible.

    Returns:
        The new points (..., d).

    Raises:
        TypeError: a tensor is not floating, or dtypes differ.
        ValueError: shapes do not fit.
        RuntimeError: a Hessian is singular (`torch.linalg.LinAlgError`).

    Source: Nocedal & Wright 2006, Numerical Optimization, equation (2.15).
    """
    return damped_newton(w, gradient, hessian, damping=0.0)


def damped_newton(
    w: Tensor, gradient: Tensor, hessian: Tensor, *, damping: float = 1.0
) -> Tensor:
    """Newton's step on a Hessian lifted by a multiple of the identity.

        w <- w - (H + damping I)^-1 g

    damping = 0 is Newton; large damping is gradient descent with rate 1 / damping.
    The step is sure to point downhill only when the damping lifts every curvature
    above 0.

    Args:
        w: points (..., d), floating dtype.
        gradient: (..., d).
        hessian: (..., d, d), symmetric.
        damping: number >= 0.

    Returns:
        The new points (..., d).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `damping` is no
            number.
        ValueError: shapes do not fit, or `damping` is negative.
        RuntimeError: H + damping I is singular (`torch.linalg.LinAlgError`).

    Source: Levenberg 1944; Nocedal & Wright 2006, Numerical Optimization, section
        3.4.
    """
    require_hessian(w, gradient, hessian)
    require.number(damping=damping, least=0)
    h = require.widen(hessian)
    lifted = h + damping * torch.eye(h.shape[-1], dtype=h.dtype, device=h.device)
    step = torch.linalg.solve(lifted, gradient.to(h.dtype))
    return (w - step).to(w.dtype)


def saddle_free_newton(
    w: Tensor, gradient: Tensor, hessian: Tensor, *, damping: float = 0.0
) -> Tensor:
    """Newton's step with the absolute values of the curvatures: saddles repel.

        w <- w - (|H| + damping I)^-1 g,    |H| = Q |Lambda| Q^T

    Args:
        w: points (..., d), floating dtype.
        gradient: (..., d).
        hessian: (..., d, d), symmetric.
        damping: number >= 0; it keeps the step finite where a curvature is 0.

    Returns:
        The new points (..., d).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `damping` is no
            number.
        ValueError: shapes do not fit, or `damping` is negative.

    Source: Dauphin et al. 2014, Algorithm 1, arXiv:1406.2572.
    """
    require_hessian(w, gradient, hessian)
    require.number(damping=damping, least=0)
    curvature, directions, slope = along_axes(gradient, hessian)
    step = slope / (curvature.abs() + damping)
    return (w - (directions @ step.unsqueeze(-1)).squeeze(-1)).to(w.dtype)


def along_axes(gradient: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Curvatures (..., d), their directions (..., d, d), and the gradient along
    these (..., d)."""
    require.finite(gradient=gradient, hessian=hessian)
    h = require.widen(hessian)
    curvature, directions = torch.linalg.eigh((h + h.mT) / 2)
    slope = directions.mT @ require.widen(gradient).unsqueeze(-1)
    return curvature, directions, slope.squeeze(-1)


def trust_region_newton(
    w: Tensor, gradient: Tensor, hessian: Tensor, *, radius: float = 1.0
) -> Tensor:
    """The best point of the local quadratic within a ball, solved exactly.

        w <- w + argmin_{||p|| <= radius}  <g, p> + <p, H p> / 2

    The answer is p = -(H + mu I)^-1 g with the least mu >= 0 that makes H + mu I
    positive semidefinite and p fit the ball. Where g has no part along the lowest
    curvature (the "hard case": exactly on the ridge of a saddle), the way to the
    rim is made up along that direction, so the saddle is left all the same. Not
    differentiable at the hard case.

    Args:
        w: points (..., d), floating dtype.
        gradient: (..., d).
        hessian: (..., d, d), symmetric.
        radius: of the ball, > 0.

    Returns:
        The new points (..., d).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `radius` is no
            number.
        ValueError: shapes do not fit, or `radius` is not positive or not finite.

    Source: Moré & Sorensen 1983; Nocedal & Wright 2006, Numerical Optimization,
        section 4.3, theorem 4.1.
    """
    require_hessian(w, gradient, hessian)
    require.number(radius=radius, above=0)
    curvature, directions, slope = along_axes(gradient, hessian)
    step = ball_step(curvature, slope, radius)
    return (w + (directions @ step.unsqueeze(-1)).squeeze(-1)).to(w.dtype)


def ball_step(curvature: Tensor, slope: Tensor, radius: float) -> Tensor:
    """The step in the eigenbasis: -slope / (curvature + mu), made up to the rim in
    the hard case."""
    # curvature + mu = above + shift
    above, lowest = (curvature - curvature[..., :1], curvature[..., :1])
    step = -slope / positive(
        above + shift_to_fit(above, slope, radius, lowest.clamp(min=0))
    )
    length = step.norm(dim=-1, keepdim=True)
    hard = (lowest < 0) & (length < (1 - 1e-4) * radius)
    missing = torch.where(hard, (radius**2 - length**2).clamp(min=0).sqrt(), 0)
    return torch.cat(
        [
            step[..., :1] + torch.where(slope[..., :1] > 0, -missing, missing),
            step[..., 1:],
        ],
        -1,
    )


def shift_to_fit(
    above: Tensor, slope: Tensor, radius: float, low: Tensor
) -> Tensor:
    """The least shift >= low, (..., 1), for which slope / (above + shift) fits the
    radius, by bisection."""

    def fits(shift: Tensor) -> Tensor:
        return (slope / positive(above + shift)).norm(
            dim=-1, keepdim=True
        ) <= radius

    high = torch.where(
        fits(low), low, low + slope.norm(dim=-1, keepdim=True) / radius
    )
    for _ in range(80):  # each halves the interval
        middle = (low + high) / 2
        low, high = (
            torch.where(fits(middle), low, middle),
            torch.where(fits(middle), middle, high),
        )
    return high


def positive(x: Tensor) -> Tensor:
    """At least the smallest positive number, so that nothing is divided by 0."""
    return x.clamp(min=torch.finfo(x.dtype).tiny)


# --- Paths ------------------------------------------------------------------------


def trajectory(
    rule: Rule, f: Objective, w0: Tensor, steps: int, **options: Any
) -> Tensor:
    """The path of a rule over an objective.

        w_0,   (w_{t+1}, state) = rule(w_t, grad f(w_t), state)

    A batch of independent descents costs one call: give `w0` leading dimensions,
    and `lr` or `beta` a shape that broadcasts against it.

    No `torch.func`: the path is detached, its gradients are autograd's.

    Args:
        rule: a first-order rule of this module.
        f: objective, points (..., d) -> values (...), differentiable, each value of
            its own point alone.
        w0: starting points (..., d), floating dtype.
        steps: number of steps >= 0.
        options: passed to the rule: `lr`, `beta`, ...

    Returns:
        The path (steps + 1, ..., d), starting with `w0`, detached.

    Raises:
        TypeError: `w0` is not floating, `steps` is no whole number, or `rule` or
            `f` no function.
        ValueError: `steps` is negative, or the rule refuses, as it does rates that
            do not broadcast to the shape of `w0`.
    """
    require.function(rule=rule, f=f)
    require.floating(w0=w0)
    require.whole(steps=steps, least=0)
    path, state = [w0.detach()], None
    for _ in range(steps):
        w, state = rule(path[-1], gradient_of(f, path[-1]), state, **options)
        path.append(w.detach())
    return torch.stack(path)


def newton_trajectory(
    rule: Callable[..., Tensor],
    f: Objective,
    w0: Tensor,
    steps: int,
    **options: Any,
) -> Tensor:
    """The path of a second-order rule over an objective.

        w_0,   w_{t+1} = rule(w_t, grad f(w_t), Hessian f(w_t))

    Args:
        rule: `newton`, `damped_newton`, `saddle_free_newton` or
            `trust_region_newton`.
        f: objective, one point (d,) -> one value (), twice differentiable; it is
            mapped over the batch.
        w0: starting points (..., d), floating dtype.
        steps: number of steps >= 0.
        options: passed to the rule: `damping`, `radius`.

    Returns:
        The path (steps + 1, ..., d), starting with `w0`.

    Raises:
        TypeError: `w0` is not floating, `steps` is no whole number, or `rule` or
            `f` no function.
        ValueError: `steps` is negative, there is no point, or the rule refuses.
    """
    require.function(rule=rule, f=f)
    require.floating(w0=w0)
    require.whole(steps=steps, least=0)
    require.nonempty(w0=w0)
    path = [w0.detach()]
    for _ in range(steps):
        path.append(rule(path[-1], *gradient_and_hessian(f, path[-1]), **options))
    return torch.stack(path)


def minimize(
    rule: Rule,
    f: Objective,
    w0: Tensor,
    *,
    tolerance: float = 1e-6,
    max_steps: int = 10_000,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Follow a rule until the gradient is small, and keep the best point seen: the
    last one need not be it.

        stop when ||grad f(w)|| <= tolerance;
        the result is argmin f over the points visited

    No `torch.func`: when to stop is read from the values.

    Args:
        rule: a first-order rule of this module.
        f: objective, one point (d,) -> one value (), differentiable.
        w0: starting point (d,), floating dtype.
        tolerance: on the norm of the gradient, >= 0.
        max_steps: the most steps to take, >= 0.
        options: passed to the rule.

    Returns:
        The best point (d,) and the values of f at all points visited, shape
        (steps + 1,).

    Raises:
        TypeError: `w0` is not floating, `max_steps` is no whole number, or `rule`
            or `f` no function.
        ValueError: `max_steps` or `tolerance` is negative, or the rule refuses.
    """
    require.function(rule=rule, f=f)
    require.floating(w0=w0)
    require.whole(max_steps=max_steps, least=0)
    require.number(tolerance=tolerance, least=0)
    w, state, values = w0.detach().clone(), None, [float(f(w0))]
    best, lowest = w, values[0]
    for _ in range(max_steps):
        gradient = gradient_of(f, w)
        if gradient.norm() <= tolerance:
            break
        w, state = rule(w, gradient, state, **options)
        values.append(float(f(w)))
        if values[-1] < lowest:
            best, lowest = w, values[-1]
    return best, w0.new_tensor(values)


def gradient_of(f: Objective, w: Tensor) -> Tensor:
    """The gradient of f at every point of a batch.

        grad f(w),    f applied to each point by itself

    No `torch.func`: it is autograd's gradient, detached; `torch.func.grad` is the
    one that composes.

    Args:
        f: points (..., d) -> values (...), differentiable.
        w: points (..., d), floating dtype.

    Returns:
        The gradients (..., d).

    Raises:
        TypeError: `w` is not floating, or `f` no function.
        RuntimeError: f does not depend differentiably on its argument.
    """
    require.function(f=f)
    require.floating(w=w)
    with torch.enable_grad():
        w = w.detach().requires_grad_()
        return torch.autograd.grad(f(w).sum(), w)[0]


def gradient_and_hessian(f: Objective, w: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of f at every point of a batch.

        grad f(w),   Hessian f(w)

    Args:
        f: one point (d,) -> one value (), twice differentiable.
        w: points (..., d), floating dtype.

    Returns:
        Gradients (..., d) and Hessians (..., d, d): the Jacobian of the gradient,
        `jacrev` over `grad`.

    Raises:
        TypeError: `w` is not floating, or `f` no function.
        ValueError: there is no point, or no coordinate.

    """
    require.function(f=f)
    require.floating(w=w)
    require.shapes(w=(w, "... d"))
    require.nonempty(w=w)
    points = w.reshape(-1, w.shape[-1])
    gradients = torch.func.vmap(torch.func.grad(f))(points)
    hessians = torch.func.vmap(torch.func.jacrev(torch.func.grad(f)))(points)
    return gradients.reshape(w.shape), hessians.reshape(*w.shape, w.shape[-1])


# --- Theory on a quadratic --------------------------------------------------------


def stability_limit(
    curvature: Rate, beta: Rate = 0.0, *, lookahead: bool = False
) -> Rate:
    """The learning rate at which descent on a quadratic stops converging.

        lr < 2 (1 + beta) / L   (heavy ball; beta = 0 is gradient descent)
        lr < 2 (1 + beta) / ((1 + 2 beta) L)   (Nesterov)

    Args:
        curvature: L > 0, the largest eigenvalue of the Hessian; a number or a
            tensor of any shape.
        beta: momentum in [0, 1), a number or a tensor.
        lookahead: whether the momentum is Nesterov's.

    Returns:
        The limit, shape of the arguments broadcast.

    Raises:
        TypeError: an argument is neither a number nor a floating tensor.
        ValueError: `curvature` is not positive, or `beta` is outside [0, 1).

    Source: Polyak 1987, Introduction to Optimization, section 3.2; Nesterov's by
        Jury's criterion on `iteration_matrix`.
    """
    require.number_or_tensor(curvature=curvature, above=0)
    require.number_or_tensor(beta=beta, least=0, below=1)
    return 2 * (1 + beta) / ((1 + 2 * beta if lookahead else 1) * curvature)


def best_rate(smallest: float, largest: float) -> tuple[float, float]:
    """The best constant rate of gradient descent on a quadratic, and how fast the
    error then shrinks.

        lr = 2 / (L + m),   error per step = (kappa - 1) / (kappa + 1),
        kappa = L / m

    Args:
        smallest: m > 0, the smallest eigenvalue of the Hessian, shape ().
        largest: L >= m, the largest, shape ().

    Returns:
        The learning rate and the factor by which the error shrinks each step.

    Raises:
        TypeError: an argument is no number.
        ValueError: not 0 < m <= L, or L is infinite.

    Source: Polyak 1987, Introduction to Optimization, section 1.4.
    """
    require_spectrum(smallest, largest)
    return 2 / (largest + smallest), (largest - smallest) / (largest + smallest)


def best_heavy_ball(smallest: float, largest: float) -> tuple[float, float, float]:
    """The best constants of the heavy ball on a quadratic, and how fast the error
    then shrinks.

        lr = 4 / (sqrt L + sqrt m)^2,
        beta = ((sqrt kappa - 1) / (sqrt kappa + 1))^2,
        error per step = sqrt beta

    Args:
        smallest: m > 0, the smallest eigenvalue of the Hessian, shape ().
        largest: L >= m, the largest, shape ().

    Returns:
        The learning rate, the momentum, and the asymptotic factor of the error per
        step.

    Raises:
        TypeError: an argument is no number.
        ValueError: not 0 < m <= L, or L is infinite.

    Source: Polyak 1987, Introduction to Optimization, section 3.2.
    """
    require_spectrum(smallest, largest)
    low, high = math.sqrt(smallest), math.sqrt(largest)
    root = (high - low) / (high + low)
    return 4 / (high + low) ** 2, root**2, root


def best_nesterov(smallest: float, largest: float) -> tuple[float, float, float]:
    """Constants for Nesterov's momentum that are safe wherever the curvature stays
    in a range, and how fast the error then shrinks on a quadratic.

        lr = 1 / L,   beta = (sqrt kappa - 1) / (sqrt kappa + 1),
        error per step = 1 - 1 / sqrt kappa

    Args:
        smallest: m > 0, the smallest eigenvalue of the Hessian, shape ().
        largest: L >= m, the largest, shape ().

    Returns:
        The learning rate, the momentum, and the asymptotic factor of the error per
        step.

    Raises:
        TypeError: an argument is no number.
        ValueError: not 0 < m <= L, or L is infinite.

    Source: Nesterov 2004, Introductory Lectures on Convex Optimization, section
        2.2; Lessard et al. 2016, arXiv:1408.3595, table 1.
    """
    require_spectrum(smallest, largest)
    root = math.sqrt(largest / smallest)
    return 1 / largest, (root - 1) / (root + 1), 1 - 1 / root


def steps_to(error: float, rate: float) -> float:
    """How many steps shrink an error that is multiplied by a factor each step.

        rate^t = error   =>   t = log(error) / log(rate)

    Args:
        error: what is to be left of it, in (0, 1), shape ().
        rate: the factor per step, in (0, 1), shape ().

    Returns:
        The number of steps, not rounded.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is outside (0, 1).
    """
    require.number(error=error, rate=rate, above=0, below=1)
    return math.log(error) / math.log(rate)


def iteration_matrix(
    curvature: Tensor, lr: Rate, beta: Rate = 0.0, *, lookahead: bool = False
) -> Tensor:
    """One step of momentum on f(w) = h w^2 / 2, as a matrix on (w, v).

        heavy ball   [1 - lr h,  -lr beta]
                     [    h,        beta ]

        Nesterov     [1 - lr h (1 + beta),  -lr beta^2]
                     [        h,               beta   ]

    Args:
        curvature: h (...), eigenvalues of the Hessian, floating dtype.
        lr: learning rate, a number or a tensor that broadcasts against `curvature`.
        beta: momentum, a number or a tensor that broadcasts against `curvature`.
        lookahead: whether the momentum is Nesterov's.

    Returns:
        The matrices (..., 2, 2).

    Raises:
        TypeError: `curvature` is not a floating tensor, or `lr` or `beta` is
            neither a number nor one.
        ValueError: `lr` or `beta` is not finite.

    Source: Polyak 1987, Introduction to Optimization, section 3.2; Lessard et al.
        2016, arXiv:1408.3595.
    """
    require.floating(curvature=curvature)
    require.number_or_tensor(lr=lr, beta=beta)
    # how far it looks
    pull, ahead = (lr * curvature, beta if lookahead else 0 * beta)
    entries = (1 - pull * (1 + ahead), -lr * beta * (beta if lookahead else 1))
    rows = torch.broadcast_tensors(
        *(
            torch.as_tensor(x, dtype=curvature.dtype, device=curvature.device)
            for x in (*entries, curvature, beta)
        )
    )
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))


def spectral_radius(matrix: Tensor) -> Tensor:
    """The largest absolute value of an eigenvalue: the asymptotic factor of the
    error per step.

        rho(M) = max |lambda_i(M)| = lim ||M^t||^(1/t)

    Args:
        matrix: (..., n, n), floating dtype.

    Returns:
        The radii (...).

    Raises:
        TypeError: `matrix` is not a floating tensor.
        ValueError: the last two dimensions differ, or are 0, or a value is not
            finite.

    Source: Gelfand 1941; Polyak 1987, Introduction to Optimization.
    """
    require.square(matrix=matrix)
    radii = torch.linalg.eigvals(require.widen(matrix)).abs().amax(-1)
    return radii.to(matrix.dtype)


# --- Landscapes to try the rules on -----------------------------------------------


def quadratic_bowl(curvature: Tensor) -> Objective:
    """The bowl whose axes are the coordinates.

        f(w) = sum_i h_i w_i^2 / 2

    Args:
        curvature: h (d,) or (..., d), floating dtype.

    Returns:
        The function points (..., d) -> values (...).

    Raises:
        TypeError: `curvature` is not a floating tensor.

    Source: Polyak 1987, Introduction to Optimization, section 1.4.
    """
    require.floating(curvature=curvature)
    h = curvature.clone()
    return lambda w: (h * w**2).sum(-1) / 2


def rosenbrock(w: Tensor) -> Tensor:
    """A curved valley: easy to reach, slow to follow. Minimum 0 at (1, 1).

        f(x, y) = (1 - x)^2 + 100 (y - x^2)^2

    Args:
        w: points (..., 2), floating dtype.

    Returns:
        Values (...).

    Raises:
        TypeError: `w` is not a floating tensor.
        ValueError: the last dimension is not 2.

    Source: Rosenbrock 1960, The Computer Journal 3(3).
    """
    x, y = coordinates(w)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def saddle(w: Tensor) -> Tensor:
    """The simplest landscape with a stationary point that is no minimum.

        f(x, y) = x^2 - y^2

    Args:
        w: points (..., 2), floating dtype.

    Returns:
        Values (...).

    Raises:
        TypeError: `w` is not a floating tensor.
        ValueError: the last dimension is not 2.

    Source: Dauphin et al. 2014, arXiv:1406.2572, on saddle points.
    """
    x, y = coordinates(w)
    return x**2 - y**2


# --- The same gradient, with respect to the input ---------------------------------


def fgsm(x: Tensor, gradient: Tensor, eps: Rate) -> Tensor:
    """The fast gradient sign method: the worst step within a box, to first order.

        x + eps sign(grad_x loss)
            =   argmax_{||u - x||_inf <= eps}  <grad_x loss, u - x>

    The loss grows by eps ||grad_x loss||_1 + O(eps^2): a local penalty on the
    gradient, no bound on it elsewhere.

    Args:
        x: inputs, any shape, floating dtype.
        gradient: the gradient of the loss with respect to `x`, same shape.
        eps: half the width of the box, >= 0, a number or a tensor that broadcasts
            against `x`.

    Returns:
        The attacked inputs, shape and dtype of `x`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `eps` is neither a
            number nor a floating tensor.
        ValueError: shapes differ, or `eps` is negative.

    Source: Goodfellow et al. 2015, section 4, arXiv:1412.6572.
    """
    require.matching(x=x, gradient=gradient)
    require.number_or_tensor(eps=eps, least=0)
    signs = torch.where(
        gradient.isnan(), gradient, gradient.sign()
    )  # sign(nan) is 0
    return x + eps * signs


def worst_logistic_loss(
    w: Tensor, x: Tensor, y: Tensor, eps: float, *, p: float = math.inf
) -> Tensor:
    """The loss of a linear logistic classifier under the worst attack of size eps:
    exact, in closed form.

        max_{||d||_p <= eps} softplus(-y <w, x + d>)
            = softplus(-y <w, x> + eps ||w||_q),    1/p + 1/q = 1

    Args:
        w: weights (..., d), floating dtype.
        x: inputs (..., d), dtype of `w`.
        y: labels (...), each -1 or +1, dtype of `w`.
        eps: size of the attack, >= 0.
        p: norm that measures the attack, >= 1; infinity is the box of `fgsm`.

    Returns:
        The worst losses (...).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `eps` or `p` is no
            number.
        ValueError: shapes do not fit, `eps` is negative, or `p` < 1.

    Source: Goodfellow et al. 2015, section 5, arXiv:1412.6572 (p = infinity);
        Hoelder's inequality otherwise.
    """
    require.fitting(w=(w, "... d"), x=(x, "... d"), y=(y, "..."))
    require.number_or_tensor(eps=eps, least=0)
    return F.softplus(
        -y * (w * x).sum(-1)
        + eps * torch.linalg.vector_norm(w, dual_order(p), dim=-1)
    )


def dual_order(p: float) -> float:
    """The exponent q of the dual norm.

        1/p + 1/q = 1,   so that  max_{||d||_p <= 1} <w, d> = ||w||_q

    Args:
        p: exponent in [1, infinity], shape ().

    Returns:
        q in [1, infinity].

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is below 1.

    Source: Hoelder's inequality; Hardy, Littlewood & Polya 1934, Inequalities,
        theorem 13.
    """
    require.number(p=p, least=1, infinite=True)
    if math.isinf(p):
        return 1.0
    return math.inf if p == 1 else p / (p - 1)


def lipschitz_bound(weights: Sequence[Tensor]) -> Tensor:
    """An upper bound on how much a network can stretch the distance of two inputs,
    anywhere.

        ||f(x) - f(x')||_2 <= prod_l ||W_l||_2  ||x - x'||_2

    for activations that are 1-Lipschitz (ReLU, tanh; the sigmoid is 1/4-Lipschitz).
    The bound is met by linear networks whose singular directions line up, and is
    loose elsewhere.

    Args:
        weights: at least one matrix (..., out, in), floating dtype, batch
            dimensions equal.

    Returns:
        The bounds (...).

    Raises:
        TypeError: `weights` is no list, an entry is not a floating tensor, or
            dtypes differ.
        ValueError: the list is empty, or an entry is no matrix or not finite.

    Source: Szegedy et al. 2014, section 4.3, arXiv:1312.6199.
    """
    require.sequence(weights=weights)
    if len(weights) == 0:
        raise ValueError("weights must hold at least one matrix, got none")
    named = {f"weights[{i}]": w for i, w in enumerate(weights)}
    require.floating(**named)
    require.alike(**named)
    require.finite(**named)
    for name, w in named.items():
        require.shapes(**{name: (w, "... n m")})  # type: ignore[arg-type]
    norms = [torch.linalg.matrix_norm(require.widen(w), 2) for w in weights]
    return torch.stack(norms).prod(0).to(weights[0].dtype)


# --- Checks -----------------------------------------------------------------------


def require_step(w: Tensor, gradient: Tensor, lr: Rate, **betas: Rate) -> None:
    """What every rule asks of weights, gradient, rate and momenta."""
    require.matching(w=w, gradient=gradient)
    require.number_or_tensor(lr=lr, least=0)
    require.number_or_tensor(least=0, below=1, **betas)  # type: ignore[arg-type]
    rates = {"lr": lr, **betas}
    tensors = {name: x for name, x in rates.items() if isinstance(x, Tensor)}
    require.broadcast_to(w.shape, **tensors)


def require_memory(w: Tensor, **memories: Tensor | None) -> None:
    """What a rule remembers of a weight has its shape."""
    for name, memory in memories.items():
        if memory is not None:
            require.floating(**{name: memory})
            require.same_shape(w=w, **{name: memory})


def require_moments(w: Tensor, state: State) -> tuple[Tensor, Tensor, int]:
    """What Adam remembers of a weight: two moments of its shape, and a number."""
    if not isinstance(state, list | tuple) or len(state) != 3:
        raise TypeError(f"state must be (m, v, t), got {require.kind(state)}")
    m, v, t = state
    require_memory(w, **{"m of state": m, "v of state": v})
    return m, v, t


def require_adam(betas: tuple[float, float], eps: float) -> tuple[float, float]:
    """The two memories of Adam, each in [0, 1)."""
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise TypeError(f"betas must be a pair of numbers, got {betas!r}")
    beta1, beta2 = betas
    require.number_or_tensor(beta1=beta1, beta2=beta2, least=0, below=1)
    require.number_or_tensor(eps=eps, least=0)
    return beta1, beta2


def require_hessian(w: Tensor, gradient: Tensor, hessian: Tensor) -> None:
    """A Hessian for every point, alike and of fitting shapes."""
    require.matching(w=w, gradient=gradient)
    require.fitting(w=(w, "... d"), hessian=(hessian, "... d d"))
    if hessian.shape[:-1] != w.shape:
        raise ValueError(
            f"hessian must be {(*w.shape, w.shape[-1])}, got {tuple(hessian.shape)}"
        )


def require_spectrum(smallest: float, largest: float) -> None:
    """Two curvatures, the smaller first."""
    require.number(smallest=smallest, largest=largest, above=0)
    if smallest > largest:
        raise ValueError(f"largest must be >= smallest = {smallest}, got {largest}")


def coordinates(w: Tensor) -> tuple[Tensor, Tensor]:
    """The two coordinates of points (..., 2)."""
    require.floating(w=w)
    require.shapes(w=(w, "... 2"))
    return w[..., 0], w[..., 1]
