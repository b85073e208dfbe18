"""Softmax as a race with noise: add noise to the scores and ask which one comes
first.

    p_i = P(argmax_j (x_j + e_j) = i) = E_e prod_{j != i} F(x_i - x_j + e),
    F the distribution function of the noise

Gumbel noise gives softmax itself. Normal noise gives another smooth, monotone,
shift-invariant map, which Karpukhin et al. 2022 (arXiv:2205.09615) train with."""

from math import log, pi

import torch
from torch import Tensor

from lbdl import require
from lbdl.models.softmax.maps import softmax
from lbdl.models.softmax.scores import shifted

NOISES = ("gumbel", "normal")
REACH = 9.0  # standard deviations of noise that count: beyond lies 1e-19
FARTHEST = (
    40.0  # scores this far below the best win with a probability below 1e-170
)


def perturb_max(
    x: Tensor, noise: str = "normal", dim: int = -1, nodes: int = 161
) -> Tensor:
    """The probability of each score to be the largest after noise was added to all.

        p_i = integral f(y - x_i) prod_{j != i} F(y - x_j) dy,
        f, F density and distribution function of the noise

    For two scores and normal noise this is Phi((x_1 - x_2) / sqrt(2)). The integral
    is a sum over equally spaced points (trapezoidal rule), which converges faster
    than any power of their distance for so smooth an integrand.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        noise: "gumbel" (the result is softmax) or "normal".
        dim: the dimension, of size n >= 1, that becomes a distribution.
        nodes: how many points, 2 or more; the work and the memory are n * nodes a
            row.

    Returns:
        Probabilities, shape and dtype of `x`; for normal noise right to about 1e-12
        in float64.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: unknown `noise`; `nodes` below 2; bad `dim`; a row with NaN,
            +inf or no finite score.

    Source: Karpukhin et al. 2022, arXiv:2205.09615; Gumbel 1954 for Gumbel noise.
    """
    require.choice(NOISES, noise=noise)
    require.whole(nodes=nodes, least=2)
    if noise == "gumbel":
        return softmax(x, dim)
    z = shifted(x, dim).clamp(min=-FARTHEST).movedim(dim, -1)
    p = normal_win_probability(z, nodes).movedim(-1, dim)
    return p.masked_fill(torch.isneginf(x), 0).to(x.dtype)


def normal_win_probability(z: Tensor, nodes: int) -> Tensor:
    """The integral of `perturb_max` for normal noise, in logarithms."""
    y = torch.linspace(-REACH, REACH, nodes, dtype=z.dtype, device=z.device)
    gap = y - z.unsqueeze(-1)  # (..., n, nodes)
    log_density = -gap.square() / 2 - log(2 * pi) / 2
    log_below = torch.special.log_ndtr(gap)
    others_below = log_below.sum(-2, keepdim=True) - log_below
    return (log_density + others_below).exp().sum(-1) * (2 * REACH / (nodes - 1))


def sample_perturb_max(
    x: Tensor,
    samples: int,
    noise: str = "gumbel",
    dim: int = -1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How often each score is the largest after noise was added to all: the
    estimate of `perturb_max` by trial.

        p_i = (1 / samples) sum_t [ i = argmax_j (x_j + e_tj) ]

    Not differentiable. With Gumbel noise each trial is an exact draw from softmax.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        samples: how many trials, 1 or more; the memory is samples times that of
            `x`.
        noise: "gumbel" or "normal".
        dim: the dimension, of size n >= 1, that becomes a distribution.
        generator: where the noise comes from, on the device of `x`.

    Returns:
        Frequencies, shape and dtype of `x`.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: unknown `noise`; `samples` below 1; bad `dim`; a row with NaN,
            +inf or no finite score.

    Source: Gumbel 1954; Karpukhin et al. 2022, arXiv:2205.09615.
    """
    require.choice(NOISES, noise=noise)
    require.whole(samples=samples, least=1)
    require.generator(generator=generator)
    scores = shifted(x, dim).detach().movedim(dim, -1)
    trials = scores + draw_noise(
        noise, scores.new_empty(samples, *scores.shape), generator
    )  # (samples, ..., n)
    wins = torch.zeros_like(trials).scatter_(-1, trials.argmax(-1, keepdim=True), 1)
    return wins.mean(0).movedim(-1, dim).to(x.dtype)


def gumbel_softmax(
    x: Tensor,
    temperature: float = 1.0,
    hard: bool = False,
    dim: int = -1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A draw from softmax that a gradient can pass: the race of scores with Gumbel
    noise, and softmax in place of its winner.

        y = softmax((x + g) / temperature),    g_i = -log(-log u_i),    u_i ~ U(0,
        1)

    The largest entry is an exact draw from softmax(x), whatever the temperature; y
    nears its one-hot vector as the temperature falls, and its gradient grows
    without bound. The mean of y is softmax(x) in that limit only.

    Args:
        x: scores (..., n, ...), any floating dtype; -inf marks an element that must
            get 0.
        temperature: above 0.
        hard: give the one-hot vector of the winner, with the gradient of y: the
            straight-through estimate, see `straight_through`.
        dim: the dimension, of size n >= 1, that becomes a distribution.
        generator: where the noise comes from, on the device of `x`.

    Returns:
        y, shape and dtype of `x`.

    Raises:
        TypeError: `x` is not a floating tensor, or another argument of the wrong
            kind.
        ValueError: bad `temperature` or `dim`; a row with NaN, +inf or no finite
            score.

    Source: Jang, Gu & Poole 2017, arXiv:1611.01144; Maddison, Mnih & Teh 2017,
        arXiv:1611.00712 (the "concrete" distribution).
    """
    require.generator(generator=generator)
    scores = shifted(x, dim)
    racing = scores + draw_noise("gumbel", torch.empty_like(scores), generator)
    y = softmax(racing, dim, temperature).to(x.dtype)
    if not hard:
        return y
    winner = racing.argmax(dim, keepdim=True)
    return straight_through(torch.zeros_like(y).scatter(dim, winner, 1), y)


def straight_through(value: Tensor, slope: Tensor) -> Tensor:
    """A tensor with the value of one and the gradient of another.

        forward: value,    backward: the gradient goes to `slope`, as if it were the
            value

    For steps that have no gradient: a draw, a rounding. The gradient is an estimate
    with a bias: that of another function. Exact where what follows is linear and
    the slope is that of the mean.

    Args:
        value: any shape, floating.
        slope: the shape and dtype of `value`.

    Returns:
        The numbers of `value`, attached to `slope`.

    Raises:
        TypeError: an argument is not floating, or the dtypes differ.
        ValueError: the shapes differ.

    Source: Bengio, Leonard & Courville 2013, arXiv:1308.3432.
    """
    require.matching(value=value, slope=slope)
    return value.detach() + (slope - slope.detach())


def draw_noise(
    noise: str, empty: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Fill a tensor with noise; a Gumbel variable is minus the logarithm of an
    exponential one.
    """
    if noise == "gumbel":
        return empty.exponential_(generator=generator).log_().neg_()
    return empty.normal_(generator=generator)
