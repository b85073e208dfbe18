"""What a layer with a sliding window does to sizes: outputs, parameters, receptive
fields; and the windows themselves.

Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning",
arXiv:1603.07285.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from lbdl import require

__all__ = [
    "ReceptiveField",
    "output_size",
    "parameter_count",
    "receptive_field",
    "transposed_size",
    "windows",
]

Pair = int | tuple[int, ...]


def output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """How many places a window has on a line.

        floor((W + 2P - D (F - 1) - 1) / S) + 1

    Args:
        size: W, elements of the line, a whole number >= 1.
        kernel: F, elements of the window, >= 1.
        stride: S, by how far the window moves, >= 1.
        padding: P, elements added at either end, >= 0.
        dilation: D, distance of neighbours in the window, >= 1.

    Returns:
        The number of places, >= 1.

    Raises:
        TypeError: an argument is not a whole number.
        ValueError: one is out of range, or the window is longer than the padded
            line.

    Source: Dumoulin & Visin 2016, relationship 15, arXiv:1603.07285.

    >>> output_size(8, kernel=3, stride=2)
    3
    """
    require.whole(
        size=size, kernel=kernel, stride=stride, dilation=dilation, least=1
    )
    require.whole(padding=padding, least=0)
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        raise ValueError(
            f"kernel must fit into the padded size, {size + 2 * padding}, "
            f"got one that spans {dilation * (kernel - 1) + 1}"
        )
    return room // stride + 1


def transposed_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    extra: int = 0,
) -> int:
    """The length that a transposed convolution makes: without `extra` the least
    that `output_size` maps back to `size`.

        (T - 1) S - 2P + D (F - 1) + 1 + extra

    Args:
        size: T, elements of the input, a whole number >= 1.
        kernel, stride, padding, dilation: F, S, P, D of the convolution that is
            transposed.
        extra: elements more than the least, from 0 to max(S, D) - 1. The
            convolution maps S lengths to T: those with extra below S.

    Returns:
        The length, >= 1.

    Raises:
        TypeError: an argument is not a whole number.
        ValueError: one is out of range, or nothing is left between the paddings.

    Source: Dumoulin & Visin 2016, relationship 14, arXiv:1603.07285.
    """
    require.whole(
        size=size, kernel=kernel, stride=stride, dilation=dilation, least=1
    )
    require.whole(padding=padding, least=0)
    require.whole(extra=extra, least=0, most=max(stride, dilation) - 1)
    length = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + extra
    if length < 1:
        raise ValueError(f"padding must leave at least one element, got {padding}")
    return length


def parameter_count(
    channels_in: int,
    channels_out: int,
    kernel: Pair,
    groups: int = 1,
    bias: bool = True,
) -> int:
    """The numbers that a convolution learns; the size of the image does not occur.

        (F^2 C / G + 1) K

    Args:
        channels_in: C, a whole number >= 1, a multiple of G.
        channels_out: K, >= 1, a multiple of G.
        kernel: F, or its two sides.
        groups: G, >= 1.
        bias: whether each filter has one, the 1 in the formula.

    Returns:
        The number.

    Raises:
        TypeError: a size is not a whole number, or `bias` is not a bool.
        ValueError: a size is out of range, or G does not divide C and K.

    >>> parameter_count(3, 64, 3)
    1792
    """
    require.whole(channels_in=channels_in, channels_out=channels_out, least=1)
    rows, cols = pair("kernel", kernel)
    divides(groups, channels_in=channels_in, channels_out=channels_out)
    require.instance(bool, bias=bias)
    return (rows * cols * channels_in // groups + bias) * channels_out


class ReceptiveField(NamedTuple):
    """What one output of a stack of layers sees of a line.

    Args:
        size: r, inputs from the first to the last that it depends on.
        jump: j, by how many inputs the views of neighbouring outputs differ.
        start: the first input that output 0 sees; negative where that is padding.

    Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional
    neural networks", Distill.
    """

    size: int
    jump: int
    start: int


def receptive_field(layers: Sequence[tuple[int, ...]]) -> ReceptiveField:
    """What an output sees through a stack of convolutions and poolings, along one
    direction.

        r <- r + D (F - 1) j,    start <- start - P j,    j <- j S,    from r = 1,
        start = 0, j = 1

    Args:
        layers: (F, S), (F, S, P) or (F, S, P, D) of each layer, whole numbers,
            input first.

    Returns:
        `ReceptiveField`. Without layers an output is its input: size 1, jump 1,
        start 0.

    Raises:
        TypeError: `layers` is no list of tuples, or a size is not a whole number.
        ValueError: a layer has not two to four of them, or one is out of range.

    Source: Araujo, Norris & Sim 2019, Distill, doi:10.23915/distill.00021.

    >>> receptive_field([(3, 1), (3, 2), (5, 1)]).size
    13
    """
    if not isinstance(layers, list | tuple):
        raise TypeError(f"layers must be a list, got {require.kind(layers)}")
    size, jump, start = 1, 1, 0
    for layer in layers:
        kernel, stride, padding, dilation = layer_sizes(layer)
        size += dilation * (kernel - 1) * jump
        start -= padding * jump
        jump *= stride
    return ReceptiveField(size, jump, start)


def layer_sizes(layer: tuple[int, ...]) -> tuple[int, int, int, int]:
    """F, S, P, D of a layer, the two last 0 and 1 where they are not given."""
    if not isinstance(layer, tuple):
        raise TypeError(f"layers must hold tuples, got {require.kind(layer)}")
    if not 2 <= len(layer) <= 4:
        raise ValueError(
            f"layers must hold (F, S), (F, S, P) or (F, S, P, D), got {layer}"
        )
    kernel, stride, padding, dilation = (*layer, *(0, 1)[len(layer) - 2 :])
    require.whole(kernel=kernel, stride=stride, dilation=dilation, least=1)
    require.whole(padding=padding, least=0)
    return kernel, stride, padding, dilation


def windows(
    x: Tensor,
    kernel: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    value: float = 0.0,
) -> Tensor:
    """Every window of an image, without a copy: the same memory, read with other
    strides.

        windows(x)[..., c, i, j, a, b] = x[..., c, i S + a D, j S + b D]

    Args:
        x: images (..., C, H, W), any dtype.
        kernel, stride, padding, dilation: F, S, P, D, one number or (of rows, of
            columns).
        value: what stands in the padding.

    Returns:
        A view of the (padded) images (..., C, H', W', F, F), H' and W' by
        `output_size`.

    Raises:
        TypeError: `x` is not a tensor, a size is not a whole number, or `value` no
            number.
        ValueError: `x` has fewer than three dimensions, a size is out of range,
            `value` is NaN, or no window fits.
    """
    require.tensor(x=x)
    require.number(value=value, infinite=True)
    require.shapes(x=(x, "... C H W"))
    kernel, stride, dilation = (
        pair("kernel", kernel),
        pair("stride", stride),
        pair("dilation", dilation),
    )
    sizes(x, kernel, stride, padding, dilation)
    x = padded(x, pair("padding", padding, least=0), value)
    row = x.dim() - 2
    for i in (0, 1):
        span = dilation[i] * (kernel[i] - 1) + 1
        x = x.unfold(row + i, span, stride[i])[..., :: dilation[i]]
    return x


def sizes(
    x: Tensor, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> tuple[int, int]:
    """H' and W', the places of the window on an image (..., H, W)."""
    four = (
        pair("kernel", kernel),
        pair("stride", stride),
        pair("padding", padding, least=0),
        pair("dilation", dilation),
    )
    rows, cols = (
        output_size(x.shape[i - 2], *(size[i] for size in four)) for i in (0, 1)
    )
    return rows, cols


def padded(x: Tensor, padding: tuple[int, int], value: float = 0.0) -> Tensor:
    """An image (..., H, W) with P rows and columns of one value around it."""
    rows, cols = padding
    return F.pad(x, (cols, cols, rows, rows), value=value) if rows or cols else x


def pair(name: str, size: Pair, least: int = 1) -> tuple[int, int]:
    """A size for rows and one for columns, from one for both or from two."""
    two = size if isinstance(size, tuple) else (size, size)
    if len(two) != 2:
        raise ValueError(f"{name} must be one number or two, got {size}")
    for each in two:
        require.whole(least=least, **{name: each})
    return two[0], two[1]


def divides(groups: int, **channels: int) -> None:
    """ValueError unless the number of groups divides the numbers of channels."""
    require.whole(groups=groups, least=1)
    for name, count in channels.items():
        if count % groups:
            raise ValueError(
                f"groups must divide {name}, {count}, got {groups} groups"
            )


def require_filters(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int
) -> None:
    """Refuse images (..., C, H, W), filters (K, C / G, F, F) and a bias (K,) that
    do not fit together."""
    tensors = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    require.floating(**tensors)
    require.alike(**tensors)
    found = require.shapes(x=(x, "... C H W"), weight=(weight, "K c a b"))
    divides(groups, channels_in=found["C"], channels_out=found["K"])
    if found["c"] * groups != found["C"]:
        raise ValueError(
            f"weight must be (K, {found['C'] // groups}, F, F) for {found['C']} "
            f"channels in {groups} groups, got shape {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"bias must be ({found['K']},), got shape {tuple(bias.shape)}"
        )


def plus_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """Images (..., K, H, W) with one number added to each channel."""
    return y if bias is None else y + bias[:, None, None]


def by_groups(
    x: Tensor, weight: Tensor, groups: int
) -> Iterable[tuple[Tensor, Tensor]]:
    """The channels of each group, with the filters that read them."""
    return zip(x.chunk(groups, -3), weight.chunk(groups), strict=True)
