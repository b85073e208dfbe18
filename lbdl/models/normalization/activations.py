"""Functions between layers, element by element, and what they do to numbers that
are normally distributed.

Nair & Hinton 2010 (ReLU); Hendrycks & Gimpel 2016, arXiv:1606.08415 (GELU);
Klambauer et al. 2017, arXiv:1706.02515 (SELU); Elfwing, Uchibe & Doya 2018,
arXiv:1702.03118 (SiLU).
"""

from collections.abc import Callable
from math import pi, sqrt

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "SELU_ALPHA",
    "SELU_SCALE",
    "elu",
    "gaussian_moments",
    "gelu",
    "leaky_relu",
    "preserving_gain",
    "relu",
    "second_moments",
    "selu",
    "silu",
    "softplus",
]

Elementwise = Callable[[Tensor], Tensor]

# The one pair for which E selu(z) = 0 and E selu(z)^2 = 1 for a standard normal z.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def relu(x: Tensor) -> Tensor:
    """The rectified linear unit:   max(x, 0); its slope at 0 is taken to be 0.

    Args:
        x: any shape, floating dtype.

    Returns:
        Shape and dtype of `x`.

    Raises:
        TypeError: `x` is not floating.

    Source: Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann
    machines".
    """
    require.floating(x=x)
    return x.where(~(x <= 0), 0.0)


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """A ReLU that lets something through below 0:   x for x > 0, else slope x.

    Args:
        x: any shape, floating dtype.
        slope: of the part below 0.

    Returns:
        Shape and dtype of `x`.

    Raises:
        TypeError: `x` is not floating, or `slope` is no number.
        ValueError: `slope` is not finite.

    Source: Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network
    acoustic models".
    """
    require.floating(x=x)
    require.number(slope=slope)
    return torch.where(x > 0, x, slope * x)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """The exponential linear unit:   x for x > 0, else alpha (e^x - 1).

    Args:
        x: any shape, floating dtype.
        alpha: the value that is reached, with a minus, at minus infinity.

    Returns:
        Shape and dtype of `x`.

    Raises:
        TypeError: `x` is not floating, or `alpha` is no number.
        ValueError: `alpha` is not finite.

    Source: Clevert, Unterthiner & Hochreiter 2016, arXiv:1511.07289.
    """
    require.floating(x=x)
    require.number(alpha=alpha)
    return torch.where(x > 0, x, alpha * x.clamp(max=0).expm1())


def selu(x: Tensor) -> Tensor:
    """The scaled ELU, which gives standard normal numbers mean 0 and variance 1:
    lambda elu(x, alpha).

    Args:
        x: any shape, floating dtype.

    Returns:
        Shape and dtype of `x`.

    Raises:
        TypeError: `x` is not floating.

    Source: Klambauer et al. 2017, equation 2, arXiv:1706.02515.
    """
    return SELU_SCALE * elu(x, SELU_ALPHA)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """The Gaussian error linear unit:   x Phi(x), with the normal distribution
    function Phi.

        Phi(x) = (1 + erf(x / sqrt 2)) / 2
               = sigmoid(sqrt(8 / pi) (x + 0.044715 x^3))  to about 5e-4

    Args:
        x: any shape, floating dtype.
        approximate: take the second form.

    Returns:
        Shape and dtype of `x`; 0 at minus infinity.

    Raises:
        TypeError: `x` is not floating, or `approximate` is no bool.

    Source: Hendrycks & Gimpel 2016, section 2, arXiv:1606.08415.
    """
    require.floating(x=x)
    require.instance(bool, approximate=approximate)
    z = finite_below(require.widen(x))
    if approximate:
        inner = z.clamp(-40, 40)  # the share is 0 or 1 there, and no cube overflows
        share = (sqrt(8 / pi) * (inner + 0.044715 * inner**3)).sigmoid()
    else:
        share = torch.special.ndtr(z)
    return (z * share).to(x.dtype)


def silu(x: Tensor) -> Tensor:
    """The sigmoid-weighted linear unit, also called swish:   x / (1 + e^-x).

    Args:
        x: any shape, floating dtype.

    Returns:
        Shape and dtype of `x`; 0 at minus infinity.

    Raises:
        TypeError: `x` is not floating.

    Source: Elfwing, Uchibe & Doya 2018, equation 3, arXiv:1702.03118.
    """
    require.floating(x=x)
    z = finite_below(require.widen(x))
    return (z * z.sigmoid()).to(x.dtype)


def softplus(x: Tensor) -> Tensor:
    """A smooth ReLU:   log(1 + e^x), without overflow.

    Args:
        x: any shape, floating dtype.

    Returns:
        Shape and dtype of `x`.

    Raises:
        TypeError: `x` is not floating.

    Source: Dugas et al. 2001, "Incorporating second-order functional knowledge for
    better option pricing".
    """
    require.floating(x=x)
    above = x + (-x.clamp(min=0)).exp().log1p()
    return torch.where(x > 0, above, x.clamp(max=0).exp().log1p())


def finite_below(x: Tensor) -> Tensor:
    """Minus infinity becomes the least finite number, so that a factor 0 makes it
    0."""
    return x.clamp(min=torch.finfo(x.dtype).min)


def gaussian_moments(
    f: Elementwise, mean: float | Tensor = 0.0, variance: float | Tensor = 1.0
) -> tuple[Tensor, Tensor]:
    """What a function does to normal numbers:   E f(z) and E f(z)^2 for z ~ N(mean,
    variance).

    An integral by Simpson's rule, 12 standard deviations to either side, split at z
    = 0, where many activations have a kink. Differentiable in `mean` and
    `variance`.

    Args:
        f: a function of tensors, element by element.
        mean: (...), a number or a floating tensor.
        variance: (...), > 0, likewise.

    Returns:
        Both moments (...), computed in float64, in the dtype of the tensors given.

    Raises:
        TypeError: `f` cannot be called, or an argument is no number and no floating
            tensor.
        ValueError: `mean` is not finite, `variance` is not finite and > 0, or they
            do not broadcast.
    """
    require.function(f=f)
    require.number_or_tensor(mean=mean)
    require.number_or_tensor(variance=variance, above=0)
    centre, square = (
        torch.as_tensor(m, dtype=torch.float64) for m in (mean, variance)
    )
    require.broadcast(mean=centre.shape, variance=square.shape)
    zero = 0 * (centre + square)  # of the shape and the device of both together
    centre, deviation = (zero + m for m in (centre, square.sqrt()))
    centre, deviation = centre.unsqueeze(-1), deviation.unsqueeze(-1)
    kink = (-centre / deviation).clamp(-12, 12)
    edge = torch.full_like(kink, 12)
    below = simpson(f, centre, deviation, -edge, kink)
    above = simpson(f, centre, deviation, kink, edge)
    first, second = (below + above).to(answer_dtype(mean, variance))
    return first, second


def answer_dtype(*numbers: float | Tensor) -> torch.dtype:
    """The widest dtype of the tensors, float64 where there are only numbers."""
    tensors = [x for x in numbers if isinstance(x, Tensor)]
    if not tensors:
        return torch.float64
    return max((x.dtype for x in tensors), key=lambda dtype: dtype.itemsize)


def simpson(
    f: Elementwise, mean: Tensor, deviation: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """The shares of E f and E f^2 (2, ...) that come from low <= (z - mean) /
    deviation <= high."""
    t = torch.linspace(0, 1, 1201, dtype=mean.dtype, device=mean.device)
    weight = torch.ones_like(t)
    weight[1:-1:2], weight[2:-1:2] = 4, 2
    u = low + (high - low) * t
    density = (-u.square() / 2).exp() / sqrt(2 * pi)
    y = f(mean + deviation * u)
    share = density * weight * (high - low) / (3 * 1200)
    return torch.stack([(y * share).sum(-1), (y.square() * share).sum(-1)])


def preserving_gain(f: Elementwise) -> float:
    """The gain g of the weights that keeps the sums of a layer at second moment 1.

        g = 1 / E f(z)^2,    z ~ N(0, 1)

    Weights of second moment g / n, for n inputs f(z), make sums of second moment g
    E f(z)^2.

    Args:
        f: a function of tensors, element by element, not 0 everywhere.

    Returns:
        g > 0.

    Raises:
        TypeError: `f` cannot be called.
        ValueError: `f` is 0 everywhere.

    Source: He et al. 2015, section 2.2, arXiv:1502.01852.

    >>> round(preserving_gain(relu), 6)
    2.0
    """
    _, second = gaussian_moments(f)
    if not second > 0:
        raise ValueError("f must not be 0 everywhere")
    return float(1 / second)


def second_moments(
    f: Elementwise, depth: int, gain: float = 1.0, v: float | Tensor = 1.0
) -> Tensor:
    """The second moment of the sums in a wide random network, layer by layer.

        v_(l+1) = g E f(z)^2,    z ~ N(0, v_l)

    Args:
        f: the activation.
        depth: number of layers, >= 0.
        gain: g > 0: the weights have second moment g / n, for n inputs.
        v: v_0 > 0 (...), a number or a floating tensor.

    Returns:
        v_0, ..., v_D, (D + 1, ...), computed in float64, dtype of `v`.

    Raises:
        TypeError: `f` cannot be called, `depth` is no whole number, or a number is
            none.
        ValueError: `depth` is negative, or `gain` or `v` is not finite and > 0.

    Source: Poole et al. 2016, equation 3, arXiv:1606.05340.
    """
    require.function(f=f)
    require.whole(depth=depth, least=0)
    require.number(gain=gain, above=0)
    require.number_or_tensor(v=v, above=0)
    moments = [torch.as_tensor(v, dtype=torch.float64)]
    for _ in range(depth):
        moments.append(gain * gaussian_moments(f, 0.0, moments[-1])[1])
    return torch.stack(moments).to(answer_dtype(v))
