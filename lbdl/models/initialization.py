"""First weights: how large they are, what is drawn, and how both must change when a
network gets deeper or wider.

A rule names a second moment E w^2 for a weight of a given shape (out, in, ...), a
law draws numbers of that second moment. `gain` is a factor of the second moment, as
in `lbdl.models.normalization.preserving_gain`; torch's gains are its root.

LeCun et al. 1998, "Efficient BackProp"; Glorot & Bengio 2010; He et al. 2015,
arXiv:1502.01852; Saxe et al. 2014, arXiv:1312.6120; Jacot et al. 2018,
arXiv:1806.07572; Raffel et al. 2020, arXiv:1910.10683; Zhang et al. 2019,
arXiv:1901.09321; Bachlechner et al. 2021, arXiv:2003.04887; Yang et al. 2022,
arXiv:2203.03466.
"""

from collections.abc import Callable, Mapping, Sequence
from math import erf, exp, pi, prod, sqrt
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl import require

__all__ = [
    "LAWS",
    "MupScaling",
    "NTKLinear",
    "ScaledResidual",
    "fans",
    "fixup_",
    "fixup_factor",
    "he_moment",
    "lecun_moment",
    "mup_groups",
    "mup_scaling",
    "mup_start_",
    "ntk_linear",
    "orthogonal",
    "post_norm_shares",
    "random_weights",
    "stream_moments",
    "t5_moments",
    "truncated_variance",
    "xavier_moment",
]

Shape = Sequence[int]


# --- What is drawn ----------------------------------------------------------------


def truncated_variance(cut: float = 2.0) -> float:
    """The variance of a standard normal number, given that it lies in [-c, c].

        1 - 2 c phi(c) / (2 Phi(c) - 1)

    Args:
        cut: c > 0.

    Returns:
        A number in (0, 1]; 0.7737 for c = 2.

    Raises:
        TypeError: `cut` is no number.
        ValueError: `cut` is not finite and > 0.

    Source: Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions
    1, section 10.1.

    >>> round(truncated_variance(2.0), 7)
    0.7737413
    """
    require.number(cut=cut, above=0)
    if cut < 0.01:  # the first terms of the series: the difference would cancel
        return cut**2 / 3 - 2 * cut**4 / 45
    return 1 - 2 * cut * exp(-(cut**2) / 2) / sqrt(2 * pi) / erf(cut / sqrt(2))


def normal(shape: Shape, generator: Generator | None) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(tuple(shape), generator=generator)


def uniform(shape: Shape, generator: Generator | None) -> Tensor:
    """Uniform numbers from -sqrt 3 to sqrt 3: second moment 1."""
    return sqrt(3) * (2 * torch.rand(tuple(shape), generator=generator) - 1)


def truncated(shape: Shape, generator: Generator | None) -> Tensor:
    """Normal numbers, cut at two deviations and then stretched to second moment
    1."""
    share = (
        2 * torch.rand(tuple(shape), generator=generator, dtype=torch.float64) - 1
    )
    z = sqrt(2) * torch.erfinv(share * erf(sqrt(2)))  # the inverse of its law
    return (z / sqrt(truncated_variance())).to(torch.get_default_dtype())


LAWS: dict[str, Callable[[Shape, Generator | None], Tensor]] = {
    "normal": normal,
    "uniform": uniform,
    "truncated": truncated,
}


def random_weights(
    shape: Shape,
    moment: float,
    law: str = "normal",
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Independent numbers with mean 0 and a given second moment.

        w = sqrt(moment) z,    E z = 0,  E z^2 = 1

    Args:
        shape: sizes >= 1, as (out, in) of a dense layer.
        moment: E w^2 >= 0.
        law: a key of `LAWS`: of z. "truncated" is normal within two of its own
            deviations, stretched to second moment 1.
        generator: on the CPU; torch's own when not given.

    Returns:
        The weights (out, in, ...), of the given shape, in torch's default dtype, on
        the CPU.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a size is below 1, `moment` not finite and >= 0, or `law`
            another name.
    """
    require_shape(shape, 1)
    require.number(moment=moment, least=0)
    require.choice(tuple(LAWS), law=law)
    require.generator(generator=generator)
    return sqrt(moment) * LAWS[law](shape, generator)


def orthogonal(
    shape: Shape, gain: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """A random matrix with orthonormal rows, or columns, whichever are fewer.

        W = sqrt(gain) Q sign(diag R),    G = Q R,  G normal

    The signs make every such matrix equally likely. Square and with gain 1 it keeps
    every length; its elements have second moment gain / max(out, in).

    Args:
        shape: (out, in, ...), sizes >= 1; what follows `in` counts as inputs.
        gain: the square of what lengths are multiplied by, >= 0.
        generator: on the CPU; torch's own when not given.

    Returns:
        The weights (out, in, ...), in torch's default dtype, on the CPU.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: there are fewer than two sizes, one is below 1, or `gain` is not
            finite and >= 0.

    Source: Saxe, McClelland & Ganguli 2014, section 3, arXiv:1312.6120; Mezzadri
    2007, arXiv:math-ph/0609050, for the signs.
    """
    require_shape(shape, 2)
    require.number(gain=gain, least=0)
    require.generator(generator=generator)
    out, inputs = shape[0], prod(shape[1:])
    tall = (max(out, inputs), min(out, inputs))
    q, r = torch.linalg.qr(torch.randn(tall, generator=generator))
    q = q * r.diagonal().sgn()
    return sqrt(gain) * (q if out >= inputs else q.mT).reshape(tuple(shape))


# --- How large --------------------------------------------------------------------


def fans(shape: Shape) -> tuple[int, int]:
    """How many inputs a sum of a layer has, and in how many sums an input stands.

        (out, in, k_1, ..., k_d)  ->  in k_1 ... k_d,  out k_1 ... k_d

    Args:
        shape: of a weight, as torch keeps it: two sizes >= 1 or more.

    Returns:
        Fan-in and fan-out.

    Raises:
        TypeError: `shape` is no list of whole numbers.
        ValueError: there are fewer than two sizes, or one is below 1.

    Source: Glorot & Bengio 2010, section 4.2.1; He et al. 2015, section 2.2,
    arXiv:1502.01852.

    >>> fans((64, 3, 5, 5))
    (75, 1600)
    """
    require_shape(shape, 2)
    places = prod(shape[2:])
    return shape[1] * places, shape[0] * places


def lecun_moment(shape: Shape, gain: float = 1.0) -> float:
    """The second moment of weights that keeps the signal:   gain / fan_in.

    Args:
        shape: of the weight (out, in, ...).
        gain: 1 / E f(z)^2 for inputs f(z), >= 0; 1 for a linear layer.

    Returns:
        E w^2.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: there are fewer than two sizes, one is below 1, or `gain` is not
            finite and >= 0.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.6.
    """
    require.number(gain=gain, least=0)
    return gain / fans(shape)[0]


def he_moment(shape: Shape, slope: float = 0.0) -> float:
    """The second moment of weights behind a ReLU:   2 / ((1 + slope^2) fan_in).

    Args:
        shape: of the weight (out, in, ...).
        slope: of the ReLU below 0.

    Returns:
        E w^2.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: there are fewer than two sizes, one is below 1, or `slope` is
            not finite.

    Source: He et al. 2015, equation 15, arXiv:1502.01852.
    """
    require.number(slope=slope)
    return lecun_moment(shape, 2 / (1 + slope**2))


def xavier_moment(shape: Shape, gain: float = 1.0) -> float:
    """A compromise between signal and gradient:   2 gain / (fan_in + fan_out).

    Args:
        shape: of the weight (out, in, ...).
        gain: >= 0; 1 for a linear layer.

    Returns:
        E w^2.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: there are fewer than two sizes, one is below 1, or `gain` is not
            finite and >= 0.

    Source: Glorot & Bengio 2010, equation 16 (with a uniform law).
    """
    require.number(gain=gain, least=0)
    return 2 * gain / sum(fans(shape))


def t5_moments(
    width: int, heads: int, head_width: int, hidden: int
) -> dict[str, float]:
    """Second moments of the first weights of T5, whose scores are not divided by
    the root of the head's width.

        query 1 / (d d_k),  key and value 1 / d,  out 1 / (h d_k),
        up 1 / d,  down 1 / d_ff

    The root that is missing in the scores sits in the queries.

    Args:
        width: d >= 1.
        heads: h >= 1.
        head_width: d_k >= 1.
        hidden: d_ff >= 1, units of the small network.

    Returns:
        E w^2 by the name of the layer.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1.

    Source: the released code of Raffel et al. 2020, arXiv:1910.10683.
    """
    sizes = {"width": width, "heads": heads, "head_width": head_width}
    require.whole(**sizes, hidden=hidden, least=1)
    moments = {"query": 1 / (width * head_width), "key": 1 / width}
    moments |= {"value": 1 / width, "out": 1 / (heads * head_width)}
    return moments | {"up": 1 / width, "down": 1 / hidden}


def ntk_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, gain: float = 1.0
) -> Tensor:
    """A dense layer that divides by the root of its inputs itself.

        y = sqrt(gain / n) x W^T + b,    W ~ N(0, 1)

    Args:
        x: (..., n), floating dtype.
        weight: W (m, n), dtype of `x`.
        bias: b (m,), dtype of `x`, or None.
        gain: >= 0, as in `lecun_moment`.

    Returns:
        y (..., m), dtype of `x`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or `gain` is no number.
        ValueError: shapes do not fit, or `gain` is not finite and >= 0.

    Source: Jacot, Gabriel & Hongler 2018, section 2, arXiv:1806.07572.
    """
    require.floating(x=x, weight=weight)
    require.alike(x=x, weight=weight)
    require.number(gain=gain, least=0)
    sizes = require.shapes(x=(x, "... n"), weight=(weight, "m n"))
    if bias is not None:
        require.floating(bias=bias)
        require.alike(x=x, bias=bias)
        if bias.shape != weight.shape[:1]:
            raise ValueError(
                f"bias must be ({sizes['m']},), got shape {tuple(bias.shape)}"
            )
    return F.linear(sqrt(gain / sizes["n"]) * x, weight, bias)


class NTKLinear(nn.Module):
    """`ntk_linear` with weights of its own, drawn from N(0, 1); the bias starts at
    0.

        y = sqrt(gain / n) x W^T + b

    Args:
        inputs: n >= 1.
        outputs: m >= 1.
        gain: >= 0.
        bias: whether there is one.
        generator: draws the weights, on the CPU; torch's own when not given.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a size is below 1, or `gain` is not finite and >= 0.

    Source: Jacot, Gabriel & Hongler 2018, section 2, arXiv:1806.07572.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        gain: float = 1.0,
        bias: bool = True,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        require.whole(inputs=inputs, outputs=outputs, least=1)
        require.number(gain=gain, least=0)
        require.instance(bool, bias=bias)
        weight = random_weights((outputs, inputs), 1.0, generator=generator)
        self.gain, self.weight = gain, nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to (..., m)."""
        return ntk_linear(x, self.weight, self.bias, self.gain)


# --- Depth: what is added, layer by layer -----------------------------------------

PLACES = ("none", "first", "last")


def stream_moments(depth: int, norm: str = "none", scale: float = 1.0) -> Tensor:
    """The second moment of a residual stream before the first and after each of D
    branches, at the start of training.

        norm "none":   x + s F(x)          (1 + s^2)^l
        norm "first":  x + s F(norm x)     1 + s^2 l
        norm "last":   norm(x + s F(x))    1

    F keeps the second moment of what it is given, and is not correlated with x, as
    a branch of random weights with mean 0.

    Args:
        depth: D >= 0.
        norm: where a norm stands, "none", "first" or "last".
        scale: s.

    Returns:
        (D + 1,), float64.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `depth` is negative, `norm` another name, or `scale` not finite.

    Source: De & Smith 2020, section 2, arXiv:2002.10444.

    >>> stream_moments(4, "first").tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0]
    """
    require.whole(depth=depth, least=0)
    require.choice(PLACES, norm=norm)
    require.number(scale=scale)
    layers = torch.arange(depth + 1, dtype=torch.float64)
    if norm == "first":
        return 1 + scale**2 * layers
    return (1 + scale**2) ** layers if norm == "none" else torch.ones_like(layers)


def post_norm_shares(depth: int, scale: float = 1.0) -> Tensor:
    """With which weights the input and each branch stand in the result of D layers
    that end in a norm, at the start of training.

        x_D = c^D x_0 + s sum_j c^(D - j + 1) F_j,    c = 1 / sqrt(1 + s^2)

    Args:
        depth: D >= 0.
        scale: s.

    Returns:
        The weights (D + 1,), of x_0 first, float64; their squares sum to 1.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `depth` is negative, or `scale` not finite.

    Source: Xiong et al. 2020, section 3.3, arXiv:2002.04745, for the network;
    the sum is that of its first state.
    """
    require.whole(depth=depth, least=0)
    require.number(scale=scale)
    c = (1 + scale**2) ** -0.5
    left = torch.arange(depth, -1, -1, dtype=torch.float64)
    branches = scale * c ** (left[:-1])
    return torch.cat([c ** left[:1], branches])


class ScaledResidual(nn.Module):
    """A branch that is added with a factor of its own.

        x + alpha F(x)

    alpha = 0 at the start makes the layer the identity (ReZero, SkipInit). A fixed
    alpha, such as 1 / sqrt(number of branches), keeps the stream from growing.

    Args:
        branch: F, a module that keeps the shape.
        scale: alpha at the start.
        learned: whether alpha is trained.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `scale` is not finite.

    Source: Bachlechner et al. 2021, arXiv:2003.04887; De & Smith 2020,
    arXiv:2002.10444.
    """

    def __init__(
        self, branch: nn.Module, scale: float = 0.0, learned: bool = True
    ) -> None:
        super().__init__()
        require.instance(nn.Module, branch=branch)
        require.number(scale=scale)
        require.instance(bool, learned=learned)
        self.branch = branch
        alpha = torch.tensor(float(scale))
        self.alpha = nn.Parameter(alpha, requires_grad=learned)

    def forward(self, x: Tensor) -> Tensor:
        """(...) to the same shape."""
        return x + self.alpha * self.branch(x)


def fixup_factor(branches: int, layers: int) -> float:
    """By what the first weights of a branch are multiplied, all but the last
    layer's.

        L^(-1 / (2 m - 2))

    Then a step of the optimizer changes what the network computes by about as much
    however many branches there are.

    Args:
        branches: L >= 1.
        layers: m >= 2, of each branch.

    Returns:
        The factor, in (0, 1].

    Raises:
        TypeError: a number is no whole number.
        ValueError: `branches` is below 1, or `layers` below 2.

    Source: Zhang, Dauphin & Ma 2019, section 3, arXiv:1901.09321.
    """
    require.whole(branches=branches, least=1)
    require.whole(layers=layers, least=2)
    return float(branches ** (-1 / (2 * layers - 2)))


@torch.no_grad()
def fixup_(branches: Sequence[Sequence[Tensor]]) -> Sequence[Sequence[Tensor]]:
    """Makes weights that a rule has drawn those of Fixup, in place: the last layer
    of each branch 0, the others smaller.

        W_i <- L^(-1 / (2 m - 2)) W_i  for i < m,    W_m <- 0

    Args:
        branches: L lists of the weights W_1, ..., W_m of a branch, each (out, in,
            ...), floating dtype.

    Returns:
        The same lists of weights, (out, in, ...) each.

    Raises:
        TypeError: `branches` is no list of lists of floating tensors.
        ValueError: there is no branch, or one of fewer than two weights.

    Source: Zhang, Dauphin & Ma 2019, section 3, arXiv:1901.09321.
    """
    require.sequence(branches=branches)
    if len(branches) == 0:
        raise ValueError("branches must hold at least one list of weights")
    for weights in branches:
        require.floatings(branches=weights)
        if len(weights) < 2:
            raise ValueError(
                f"branches must have two weights or more each, got {len(weights)}"
            )
    for *first, last in branches:
        for weight in first:
            weight.mul_(fixup_factor(len(branches), len(first) + 1))
        last.zero_()
    return branches


# --- Width: maximal update parametrisation ----------------------------------------


class MupScaling(NamedTuple):
    """Factors that a weight gets when its layer has other widths than a base.

    Args:
        moment: of the second moment of the first weights.
        rate: of the learning rate.
    """

    moment: float
    rate: float


def mup_scaling(shape: Shape, base: Shape, optimizer: str = "adam") -> MupScaling:
    """How second moment and learning rate of a weight change with the width, so
    that a rate that is best for a base width stays so.

        r_in, r_out: fan-in and fan-out over those of the base.
        second moment   1 / r_in, and 1 / r_in^2 where the inputs alone grow
        rate            SGD  r_out / r_in,    Adam  1 / r_in

    A vector (bias, gain of a norm) counts as a layer with one input.

    Args:
        shape: of the weight (out, in, ...), or (out,).
        base: its shape at the base width, of as many sizes.
        optimizer: "sgd" or "adam"; as Adam counts what divides each gradient by its
            size.

    Returns:
        (moment, rate): factors of what the base has; 1 where nothing grows.

    Raises:
        TypeError: a shape is no list of whole numbers.
        ValueError: a size is below 1, there are not as many sizes, or `optimizer`
            is another name.

    Source: Yang et al. 2022, table 3, arXiv:2203.03466; r_out / r_in for SGD as in
    Yang, Simon & Bernstein 2023, arXiv:2310.17813.

    >>> mup_scaling((10, 1024), (10, 64), "adam")
    MupScaling(moment=0.00390625, rate=0.0625)
    """
    require_shape(shape, 1)
    require_shape(base, 1, "base")
    require.choice(("sgd", "adam"), optimizer=optimizer)
    if len(shape) != len(base):
        raise ValueError(
            f"base must have as many sizes as shape, got {tuple(base)} and "
            f"{tuple(shape)}"
        )
    wide, narrow = (fans((*s, 1) if len(s) == 1 else s) for s in (shape, base))
    grown, spread = (a / b for a, b in zip(wide, narrow, strict=True))
    moment = grown**-2 if spread == 1 else 1 / grown
    return MupScaling(moment, (spread if optimizer == "sgd" else 1) / grown)


def mup_groups(
    model: nn.Module, base: nn.Module, lr: float, optimizer: str = "adam"
) -> list[dict[str, Any]]:
    """Parameters with their rates, ready for an optimizer of torch.

        rate of w = lr * mup_scaling(shape of w, shape at the base).rate

    Tables of `nn.Embedding` count as weights of a first layer, also where a readout
    shares them.

    Args:
        model: whose parameters are to be trained.
        base: the same model at the base width; only its shapes count.
        lr: the rate of the base, >= 0.
        optimizer: "sgd" or "adam".

    Returns:
        A list of {"params": [...], "lr": ...}, one for each rate.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: the models have other parameters, `lr` is not finite and >= 0,
            or `optimizer` is another name.

    Source: Yang et al. 2022, table 3, arXiv:2203.03466.
    """
    require.number(lr=lr, least=0)
    groups: dict[float, list[nn.Parameter]] = {}
    for weight, shape, small in pairs(model, base):
        rate = lr * mup_scaling(shape, small, optimizer).rate
        groups.setdefault(rate, []).append(weight)
    return [{"params": weights, "lr": rate} for rate, weights in groups.items()]


@torch.no_grad()
def mup_start_(model: nn.Module, base: nn.Module) -> nn.Module:
    """Makes weights that were drawn with second moments proportional to 1 / fan_in
    those of muP, in place: readouts get smaller by the root of the width.

        W <- W sqrt(r_in E w^2),    E w^2 = mup_scaling(...).moment

    Biases stay: they ought to start at 0.

    Args:
        model: fresh from LeCun's or He's rule, or torch's own.
        base: the same model at the base width; only its shapes count.

    Returns:
        The same model.

    Raises:
        TypeError: an argument is no module.
        ValueError: the models have other parameters.

    Source: Yang et al. 2022, table 3, arXiv:2203.03466.
    """
    for weight, shape, small in pairs(model, base):
        if len(shape) > 1:
            grown = fans(shape)[0] / fans(small)[0]
            weight.mul_(sqrt(grown * mup_scaling(shape, small).moment))
    return model


def pairs(
    model: nn.Module, base: nn.Module
) -> list[tuple[nn.Parameter, Shape, Shape]]:
    """Each parameter, its shape (out, in, ...), and that of its namesake in the
    base."""
    require.instance(nn.Module, model=model, base=base)
    small: Mapping[str, nn.Parameter] = dict(base.named_parameters())
    if [name for name, _ in model.named_parameters()] != list(small):
        raise ValueError("base must have the parameters of model, in other widths")
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    found: list[tuple[nn.Parameter, Shape, Shape]] = []
    for name, weight in model.named_parameters():
        turn = -1 if id(weight) in tables else 1
        found.append((weight, weight.shape[::turn], small[name].shape[::turn]))
    return found


# --- Refusals ---------------------------------------------------------------------


def require_shape(shape: Shape, sizes: int, name: str = "shape") -> None:
    """A list of whole numbers >= 1, at least so many."""
    require.sequence(**{name: shape})
    if len(shape) < sizes:
        raise ValueError(
            f"{name} must have {sizes} sizes or more, got {tuple(shape)}"
        )
    for size in shape:
        require.whole(**{name: size}, least=1)
