"""Stochastic gradients: what a mini-batch costs in noise, and why noisy descent
works all the same.

A random mini-batch gives an unbiased gradient with a variance of s^2 / B. From this
follow the spread in which SGD ends up, the rules that tie the learning rate to the
batch size (Goyal et al. 2017, arXiv:1706.02677; Krizhevsky 2014, arXiv:1404.5997)
and the batch size past which more samples stop to help (McCandlish et al. 2018,
arXiv:1812.06162). The regret of projected gradient descent on any sequence of
convex losses is bounded: Zinkevich, ICML 2003.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "per_example_gradients",
    "fast_per_example_gradients",
    "draw_batch",
    "gradient_variance",
    "minibatch_variance",
    "noisy_quadratic",
    "stationary_variance",
    "scaled_rate",
    "simple_noise_scale",
    "noise_scale_from_norms",
    "best_noisy_step",
    "project_ball",
    "projected_sgd",
    "average_regret",
    "regret_bound",
    "constant_rate_bound",
    "decaying_rate_bound",
    "running_mean",
    "exponential_mean",
]

Rate = float | Tensor
# (w, x of one example, y of one example) -> ()
ExampleLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


# --- The mini-batch gradient and its variance -------------------------------------


def per_example_gradients(
    loss: ExampleLoss, w: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """The gradient of every example's loss, one example at a time.

        g_n = grad_w loss(w, x_n, y_n)

    >>> w, x, y = torch.zeros(2), torch.eye(2), torch.tensor([1.0, -1.0])
    >>> per_example_gradients(lambda w, x, y: (x @ w - y) ** 2, w, x, y)
    tensor([[-2., -0.],
            [ 0.,  2.]])

    Args:
        loss: (w, one x, one y) -> scalar, differentiable in w.
        w: weights, any shape, floating dtype.
        x: inputs (N, ...).
        y: targets (N, ...).

    Returns:
        The gradients (N, *w.shape); their mean over N is the full gradient.

    Raises:
        TypeError: `loss` is no function, `w` is not floating, or `x` or `y` is no
            tensor.
        ValueError: `x` and `y` differ in length, or are empty.

    Source: Goodfellow 2015, arXiv:1510.01799, for why one wants them.
    """
    require_examples(loss, w, x=x, y=y)
    return torch.stack(
        [torch.func.grad(loss)(w, a, b) for a, b in zip(x, y, strict=True)]
    )


def fast_per_example_gradients(
    loss: ExampleLoss, w: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """`per_example_gradients`, all examples at once.

        g_n = grad_w loss(w, x_n, y_n)

    Args:
        loss: (w, one x, one y) -> scalar, differentiable in w, and fit for
            `torch.func.vmap`.
        w: weights, any shape, floating dtype.
        x: inputs (N, ...).
        y: targets (N, ...).

    Returns:
        The gradients (N, *w.shape).

    Raises:
        TypeError: `loss` is no function, `w` is not floating, or `x` or `y` is no
            tensor.
        ValueError: `x` and `y` differ in length, or are empty.
    """
    require_examples(loss, w, x=x, y=y)
    return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(w, x, y)


def draw_batch(
    size: int, batch_size: int, generator: torch.Generator | None = None
) -> Tensor:
    """The indices of a random mini-batch, without replacement.

        every subset of `batch_size` out of `size` is equally likely, so the mean
            over the batch is unbiased

    Args:
        size: number of examples N >= 1.
        batch_size: B in [1, N].
        generator: source of randomness; the batch lies on its device.

    Returns:
        Indices (batch_size,), int64, all different.

    Raises:
        TypeError: a size is no whole number, or `generator` no generator.
        ValueError: `size` is below 1, or `batch_size` is outside [1, size].

    Source: Cochran 1977, Sampling Techniques, chapter 2.
    """
    require.whole(size=size, least=1)
    require.whole(batch_size=batch_size, least=1, most=size)
    require.generator(generator=generator)
    device = generator.device if generator is not None else "cpu"
    return torch.randperm(size, generator=generator, device=device)[:batch_size]


def gradient_variance(gradients: Tensor) -> Tensor:
    """How much the gradients of single examples scatter: the trace of their
    covariance.

        s^2 = (1/N) sum_n ||g_n - g||^2,    g the mean gradient

    Args:
        gradients: per-example gradients (N, ...), floating dtype, N >= 1.

    Returns:
        s^2, shape ().

    Raises:
        TypeError: `gradients` is not floating.
        ValueError: there is no example.

    Source: Cochran 1977, Sampling Techniques, chapter 2 (with the divisor N).
    """
    require.floating(gradients=gradients)
    require.dim(gradients, 0, "gradients")
    g = (
        require.widen(gradients).flatten(1)
        if gradients.dim() > 1
        else gradients[:, None]
    )
    return (g - g.mean(0)).square().sum(-1).mean().to(gradients.dtype)


def minibatch_variance(
    variance: Rate, batch_size: Rate, size: float = math.inf
) -> Rate:
    """The variance of a mini-batch gradient.

        s^2 / B  (N - B) / (N - 1)    drawn without replacement from N examples
        s^2 / B                       drawn with replacement, or N infinite

    Args:
        variance: s^2 >= 0 of single examples (divisor N), a number or a floating
            tensor of any shape.
        batch_size: B, a number or a floating tensor that broadcasts against
            `variance`.
        size: N >= 2, or infinity.

    Returns:
        The variance, shape of the arguments broadcast.

    Raises:
        TypeError: an argument is neither a number nor a floating tensor.
        ValueError: `variance` is negative, `size` is below 2, or `batch_size` is
            outside [1, N].

    Source: Cochran 1977, Sampling Techniques, theorem 2.2.
    """
    require.number_or_tensor(variance=variance, least=0)
    require.number(size=size, least=2, infinite=True)
    require.number_or_tensor(batch_size=batch_size, least=1, most=size)
    left_out = 1.0 if math.isinf(size) else (size - batch_size) / (size - 1)
    return variance / batch_size * left_out


# --- SGD on a noisy quadratic -----------------------------------------------------


def noisy_quadratic(
    w0: Tensor,
    steps: int,
    *,
    lr: Rate,
    batch_size: Rate = 1,
    curvature: Rate = 1.0,
    noise: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """SGD on f(w) = h w^2 / 2, where the mini-batch gradient is the true one plus
    Gaussian noise.

        w <- w - lr (h w + s xi / sqrt(B)),    xi ~ N(0, 1)

    Args:
        w0: starting points, one for each independent run, any shape, floating
            dtype.
        steps: number of steps >= 0.
        lr: learning rate, a number or a tensor that broadcasts against `w0`.
        batch_size: B >= 1, likewise.
        curvature: h > 0, likewise.
        noise: s >= 0, the standard deviation of a single example's gradient.
        generator: source of randomness, on the device of `w0`.

    Returns:
        The paths (steps + 1, *w0.shape).

    Raises:
        TypeError: `w0` is not floating, `steps` is no whole number, another
            argument is of a wrong kind.
        ValueError: a number is out of its range, or rates broadcast `w0` to a
            larger shape.

    Source: Zhang et al. 2019, arXiv:1907.04164.
    """
    require.floating(w0=w0)
    require.whole(steps=steps, least=0)
    require.number_or_tensor(lr=lr, noise=noise, least=0)
    require.number_or_tensor(batch_size=batch_size, least=1)
    require.number_or_tensor(curvature=curvature, above=0)
    require.generator(generator=generator)
    path, spread = [w0], noise / batch_size**0.5
    for _ in range(steps):
        xi = torch.randn(
            w0.shape, generator=generator, dtype=w0.dtype, device=w0.device
        )
        path.append(path[-1] - lr * (curvature * path[-1] + spread * xi))
    require.same_shape(rates=path[-1], w0=w0)
    return torch.stack(path)


def stationary_variance(
    lr: Rate, curvature: Rate, variance: Rate, batch_size: Rate
) -> Rate:
    """Where the noise and the pull of the bowl balance: the variance of w under SGD
    on a quadratic.

        Var[w] = lr s^2 / (B h (2 - lr h))    for lr h < 2, else infinite

    Args:
        lr: learning rate >= 0, a number or a floating tensor; all arguments
            broadcast.
        curvature: h > 0.
        variance: s^2 >= 0, the variance of a single example's gradient.
        batch_size: B >= 1.

    Returns:
        The variance, shape of the arguments broadcast: the fixed point of V <- (1 -
        lr h)^2 V + lr^2 s^2 / B.

    Raises:
        TypeError: an argument is neither a number nor a floating tensor.
        ValueError: an argument is out of its range.

    Source: Mandt et al. 2017, arXiv:1704.04289.
    """
    require.number_or_tensor(lr=lr, variance=variance, least=0)
    require.number_or_tensor(curvature=curvature, above=0)
    require.number_or_tensor(batch_size=batch_size, least=1)
    kick, pull = lr * variance / (batch_size * curvature), 2 - lr * curvature
    if not isinstance(kick, Tensor):
        return kick / pull if pull > 0 else math.inf
    return torch.where(torch.as_tensor(pull <= 0), math.inf, kick / pull)


def scaled_rate(
    lr: float, batch_size: float, new_batch_size: float, *, rule: str = "linear"
) -> float:
    """The learning rate to use when the batch size changes.

        linear   lr B' / B         keeps the stationary variance of SGD, while
                                   lr h is small
        sqrt     lr sqrt(B' / B)   keeps the variance of one update, lr^2 s^2 / B;
                                   the rule for Adam

    Args:
        lr: learning rate >= 0 that works at `batch_size`, shape ().
        batch_size: B > 0.
        new_batch_size: B' > 0.
        rule: "linear" or "sqrt".

    Returns:
        The new learning rate.

    Raises:
        TypeError: `lr` or a batch size is no number.
        ValueError: `lr` is negative, a batch size is not positive, or the rule is
            unknown.

    Source: linear: Goyal et al. 2017, section 2.1, arXiv:1706.02677; sqrt:
        Krizhevsky 2014, page 5, arXiv:1404.5997, and for Adam Malladi et al. 2022,
        arXiv:2205.10287, who move beta1, beta2 and eps with it.
    """
    require.number(lr=lr, least=0)
    require.number(batch_size=batch_size, new_batch_size=new_batch_size, above=0)
    require.choice(("linear", "sqrt"), rule=rule)
    power = 1.0 if rule == "linear" else 0.5
    return lr * (new_batch_size / batch_size) ** power


# --- The critical batch size ------------------------------------------------------


def simple_noise_scale(gradients: Tensor) -> Tensor:
    """The batch size at which the noise of the gradient is as large as the
    gradient.

        B_simple = tr(Sigma) / ||g||^2

    Args:
        gradients: per-example gradients (N, ...), floating dtype, N >= 1.

    Returns:
        B_simple, shape (); infinite where the mean gradient is 0, NaN where all
        are.

    Raises:
        TypeError: `gradients` is not floating.
        ValueError: there is no example.

    Source: McCandlish et al. 2018, equation (2.9), arXiv:1812.06162.
    """
    require.floating(gradients=gradients)
    require.dim(gradients, 0, "gradients")
    require.nonempty(gradients=gradients)
    g = require.widen(gradients)
    g = g / require.power_of_two(g, tuple(range(g.dim())))  # squares stay in range
    ratio = gradient_variance(g) / g.mean(0).square().sum()
    return ratio.to(gradients.dtype)


def noise_scale_from_norms(
    small_norm: Tensor, large_norm: Tensor, small_batch: int, large_batch: int
) -> tuple[Tensor, Tensor]:
    """Gradient and noise from the norms of mini-batch gradients at two batch sizes.

        E||g_B||^2 = ||g||^2 + tr(Sigma) / B    at two B, solved for both unknowns

    Each estimate is unbiased; the ratio of their means over many steps estimates
    B_simple.

    Args:
        small_norm: ||g_b||^2 (...), squared norms at the small batch size, floating
            dtype.
        large_norm: ||g_B||^2 (...), at the large one.
        small_batch: b >= 1.
        large_batch: B > b.

    Returns:
        Estimates of ||g||^2 and of tr(Sigma), both (...).

    Raises:
        TypeError: a norm is not floating, dtypes differ, or a batch size is no
            whole number.
        ValueError: shapes differ, or not 1 <= b < B.

    Source: McCandlish et al. 2018, appendix A.1, equation (A.2), arXiv:1812.06162.
    """
    require.matching(small_norm=small_norm, large_norm=large_norm)
    require.whole(small_batch=small_batch, least=1)
    require.whole(large_batch=large_batch, least=small_batch + 1)
    share = large_batch / (large_batch - small_batch)
    signal = share * large_norm + (1 - share) * small_norm
    return signal, small_batch * share * (small_norm - large_norm)


def best_noisy_step(
    gradient: Tensor,
    hessian: Tensor,
    covariance: Tensor,
    batch_size: Rate = math.inf,
) -> tuple[Tensor, Tensor]:
    """The learning rate that lowers a quadratic most in expectation, and by how
    much.

        lr = lr_max / (1 + B_noise / B),   gain = gain_max / (1 + B_noise / B),
        B_noise = tr(H Sigma) / <g, H g>

    with lr_max = ||g||^2 / <g, H g> and gain_max = ||g||^4 / (2 <g, H g>). Doubling
    the batch pays while B is well below B_noise, and no more above it.

    Args:
        gradient: g (..., d), floating dtype.
        hessian: H (..., d, d), positive along g.
        covariance: Sigma (..., d, d), of single examples' gradients.
        batch_size: B, a number or a tensor that broadcasts against (...).

    Returns:
        The best learning rate and the expected decrease of the loss, both (...).

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `batch_size` is
            neither a number nor a floating tensor.
        ValueError: shapes do not fit, or `batch_size` is not positive.

    Source: McCandlish et al. 2018, equations (2.5)-(2.8), arXiv:1812.06162.
    """
    require.fitting(
        gradient=(gradient, "... d"),
        hessian=(hessian, "... d d"),
        covariance=(covariance, "... d d"),
    )
    require_batch_size(batch_size)
    g = require.widen(gradient)
    h, covariance = hessian.to(g.dtype), covariance.to(g.dtype)
    squared = g.square().sum(-1)
    bend = torch.einsum("...i,...ij,...j->...", g, h, g)
    noise = torch.einsum("...ij,...ji->...", h, covariance) / bend  # B_noise
    rate = squared / bend / (1 + noise / batch_size)
    return rate.to(gradient.dtype), (rate * squared / 2).to(gradient.dtype)


# --- Projected SGD and its regret -------------------------------------------------


def project_ball(w: Tensor, radius: float, center: Tensor | float = 0.0) -> Tensor:
    """The nearest point of a ball.

        Pi(w) = c + (w - c) min(1, r / ||w - c||)

    Args:
        w: points (..., d), floating dtype.
        radius: r >= 0.
        center: c (d,) or (..., d), or a number.

    Returns:
        The projections (..., d).

    Raises:
        TypeError: `w` is not floating, dtypes differ, `radius` is no number, or
            `center` neither number nor tensor.
        ValueError: shapes do not fit, or `radius` is negative.

    Source: Boyd & Vandenberghe 2004, Convex Optimization, section 8.1.
    """
    require.fitting(w=(w, "... d"))
    require.number(radius=radius, least=0, infinite=True)
    require_center(w, center)
    offset = w - center
    size = require.power_of_two(
        offset, -1
    )  # squares of offset / size stay in range
    length = torch.linalg.vector_norm(offset / size, dim=-1, keepdim=True)
    inside = length <= radius / size
    rim = offset / size * (radius / length.clamp(min=1))
    return torch.where(inside, w, center + rim)


def projected_sgd(
    loss: ExampleLoss,
    w0: Tensor,
    x: Tensor,
    y: Tensor,
    rates: Tensor,
    *,
    radius: float = math.inf,
) -> tuple[Tensor, Tensor]:
    """One pass of SGD over a stream of examples, pulled back into a ball after
    every step.

        w_{t+1} = Pi(w_t - lr_t grad loss(w_t, x_t, y_t))

    Args:
        loss: (w, one x, one y) -> scalar, convex in w for the regret bound to hold.
        w0: start (d,), floating dtype, inside the ball; or a batch of runs (...,
            d), each kept in a ball of its own. Then `loss` sums the losses of the
            runs, so that each has its own gradient.
        x: inputs (T, ...), in the order in which they come.
        y: targets (T, ...).
        rates: learning rates (T,); for a batch also (T, ..., 1), a rate for each
            run.
        radius: of the ball around 0; infinity for no projection.

    Returns:
        The weights w_1 ... w_T at which each loss was paid, (T, d) or (T, ..., d),
        and the losses paid, (T,), summed over a batch.

    Raises:
        TypeError: `loss` is no function, `w0` or `rates` is not floating, `x` or
            `y` is no tensor, `radius` no number.
        ValueError: lengths differ, or are 0, `radius` is negative, or a rate is
            negative or not finite.

    Source: Zinkevich 2003, Algorithm 1 ("greedy projection").
    """
    require.floating(w0=w0, rates=rates)
    require_examples(loss, w0, x=x, y=y, rates=rates)
    require.finite(rates=rates)
    require.within(rates=rates, least=0)
    require.number(radius=radius, least=0, infinite=True)
    w, path, losses = w0.detach(), [], []
    for a, b, lr in zip(x, y, rates, strict=True):
        gradient, value = torch.func.grad_and_value(loss)(w, a, b)
        path.append(w)
        losses.append(value)
        w = project_ball(w - lr * gradient, radius)
    return torch.stack(path), torch.stack(losses)


def average_regret(losses: Tensor, best_losses: Tensor) -> Tensor:
    """How much more was paid so far, on average, than by the best fixed weights.

        R_t / t = (1/t) sum_{i <= t} (l_i - l*_i)

    Args:
        losses: paid along the path, (..., T), floating dtype.
        best_losses: of the fixed weights one compares with, on the same examples,
            (..., T).

    Returns:
        The average regret after each step, (..., T).

    Raises:
        TypeError: a tensor is not floating, or dtypes differ.
        ValueError: the shapes differ, or there is no step.

    Source: Zinkevich 2003, section 2, divided by the number of steps.
    """
    require.matching(losses=losses, best_losses=best_losses)
    return running_mean(losses - best_losses, dim=-1)


def regret_bound(rates: Tensor, diameter: float, gradient_bound: float) -> Tensor:
    """The bound on the average regret after every step, for any non-increasing
    rates.

        R_T / T <= D^2 / (2 T lr_T) + G^2 / (2 T) sum_{t <= T} lr_t

    Args:
        rates: learning rates (T,), floating dtype, > 0, non-increasing.
        diameter: D > 0, of the set that w is projected into.
        gradient_bound: G > 0, on the norm of every gradient.

    Returns:
        The bounds (T,).

    Raises:
        TypeError: `rates` is not floating, or `diameter` or `gradient_bound` is no
            number.
        ValueError: `rates` increase somewhere, a number is not positive, or there
            is no step.

    Source: Zinkevich 2003, the proof of theorem 1.
    """
    require.floating(rates=rates)
    require.shapes(rates=(rates, "T"))
    require.within(rates=rates, above=0)
    require.values(rates.diff() <= 0, "rates must be non-increasing")
    require.number(diameter=diameter, gradient_bound=gradient_bound, above=0)
    t = torch.arange(1, len(rates) + 1, dtype=rates.dtype, device=rates.device)
    return diameter**2 / (2 * t * rates) + gradient_bound**2 / (
        2 * t
    ) * rates.cumsum(0)


def constant_rate_bound(
    steps: Rate, diameter: float, gradient_bound: float
) -> Rate:
    """The bound for the best constant rate, when the number of steps is known
    beforehand.

        lr = D / (G sqrt T)   =>   R_T / T <= D G / sqrt T

    Args:
        steps: T >= 1, a number or a tensor of any shape.
        diameter: D > 0.
        gradient_bound: G > 0.

    Returns:
        The bound, shape of `steps`.

    Raises:
        TypeError: an argument is no number (`steps`: nor a floating tensor).
        ValueError: an argument is out of its range.

    Source: Zinkevich 2003, theorem 1, with a constant rate.
    """
    require.number_or_tensor(steps=steps, least=1)
    require.number(diameter=diameter, gradient_bound=gradient_bound, above=0)
    return diameter * gradient_bound / steps**0.5


def decaying_rate_bound(
    steps: Rate, diameter: float, gradient_bound: float, alpha: float | None = None
) -> Rate:
    """The bound for rates that fall with the square root of time: no need to know
    the number of steps.

        lr_t = alpha / sqrt t
        =>   R_T / T <= D^2 / (2 alpha sqrt T) + alpha G^2 / sqrt T

    It is least, sqrt(2) D G / sqrt T, at alpha = D / (sqrt(2) G).

    Args:
        steps: T >= 1, a number or a tensor of any shape.
        diameter: D > 0.
        gradient_bound: G > 0.
        alpha: > 0; `None` for the best.

    Returns:
        The bound, shape of `steps`.

    Raises:
        TypeError: an argument is no number (`steps`: nor a floating tensor).
        ValueError: an argument is out of its range.

    Source: Zinkevich 2003, theorem 1, with sum_{t <= T} 1/sqrt(t) <= 2 sqrt(T) - 1.
    """
    require.number_or_tensor(steps=steps, least=1)
    require.number(diameter=diameter, gradient_bound=gradient_bound, above=0)
    if alpha is not None:
        require.number(alpha=alpha, above=0)
    alpha = diameter / (math.sqrt(2) * gradient_bound) if alpha is None else alpha
    return (diameter**2 / (2 * alpha) + alpha * gradient_bound**2) / steps**0.5


def running_mean(x: Tensor, dim: int = 0) -> Tensor:
    """The mean of everything so far: for a path of SGD, the averaged iterate.

        m_t = (1/t) sum_{i <= t} x_i

    Args:
        x: values (..., T, ...), floating dtype.
        dim: the dimension of time.

    Returns:
        Running means, shape of `x`.

    Raises:
        TypeError: `x` is not floating, or `dim` no whole number.
        ValueError: `dim` is out of range, or there is no step.

    Source: Polyak & Juditsky 1992; for the averaged iterate's bound, Jensen's
        inequality on Zinkevich's.
    """
    require.floating(x=x)
    require.dim(x, dim)
    total = require.widen(x).cumsum(dim)
    shape = [1] * x.dim()
    shape[dim] = x.shape[dim]
    count = torch.arange(1, x.shape[dim] + 1, device=x.device).view(shape)
    return (total / count).to(x.dtype)


def exponential_mean(x: Tensor, beta: float, dim: int = 0) -> Tensor:
    """A mean that forgets: the EMA of a path of weights.

        m_1 = x_1,    m_t = beta m_{t-1} + (1 - beta) x_t

    It looks back over about 1 / (1 - beta) steps.

    Args:
        x: values (..., T, ...), floating dtype.
        beta: in [0, 1).
        dim: the dimension of time.

    Returns:
        The means after each step, shape of `x`.

    Raises:
        TypeError: `x` is not floating, `beta` no number, or `dim` no whole number.
        ValueError: `beta` is outside [0, 1), `dim` is out of range, or there is no
            step.
    """
    require.floating(x=x)
    require.dim(x, dim)
    require.number(beta=beta, least=0, below=1)
    means: list[Tensor] = []
    for now in require.widen(x).unbind(dim):
        before = means[-1] if means else now
        means.append(beta * before + (1 - beta) * now)
    return torch.stack(means, dim).to(x.dtype)


# --- Checks -----------------------------------------------------------------------


def require_examples(loss: ExampleLoss, w: Tensor, **examples: Tensor) -> None:
    """A loss, floating weights, and examples that share a first dimension."""
    require.function(loss=loss)
    require.floating(w=w)
    require.tensor(**examples)
    for name, x in examples.items():
        require.dim(x, 0, name)
    if len({len(x) for x in examples.values()}) > 1:
        told = ", ".join(f"{name} {len(x)}" for name, x in examples.items())
        raise ValueError(f"examples must share their number, got {told}")


def require_batch_size(batch_size: Rate) -> None:
    """A size of a batch, which may be infinite."""
    if isinstance(batch_size, Tensor):
        require.floating(batch_size=batch_size)
        require.within(batch_size=batch_size, above=0)
    else:
        require.number(batch_size=batch_size, above=0, infinite=True)


def require_center(w: Tensor, center: Tensor | float) -> None:
    """The centre of a ball: a number, or a point like `w`."""
    if isinstance(center, Tensor):
        require.fitting(w=(w, "... d"), center=(center, "... d"))
    else:
        require.number(center=center)
