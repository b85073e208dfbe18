"""The convolution of neural networks, first as its formula says it, then as a few
matrix products.

Written as four loops, as im2col (all windows as the columns of one matrix,
Chellapilla, Puri & Simard 2006), transposed (its adjoint), and causal, for a signal
that arrives sample by sample.

LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition";
Dumoulin & Visin 2016, arXiv:1603.07285.
"""

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl import require
from lbdl.models.convolution.geometry import (
    Pair,
    by_groups,
    divides,
    padded,
    pair,
    plus_bias,
    require_filters,
    sizes,
    transposed_size,
)

# Numbers laid out at once: 1.25 MB in float32, about what a core's own cache holds.
BLOCK = 5 * 2**16

__all__ = [
    "causal_conv1d",
    "causal_conv1d_step",
    "conv2d",
    "conv_transpose2d",
    "fast_conv2d",
    "fast_conv_transpose2d",
]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """A filter laid over every place of an image: at each, one weighted sum of what
    lies below it.

        y_k(i, j) = b_k + sum_c sum_a sum_b  w_kc(a, b) x_c(i S + a D - P, j S + b D
        - P)

    Four loops, over the places (i, j) and over the cells (a, b) of the filter; the
    sum over the channels c is a dense layer. What lies outside of the image counts
    as 0. This is `torch.nn.functional.conv2d`.

    Args:
        x: images (..., C, H, W), floating dtype.
        weight: filters w (K, C / G, F, F), dtype of `x`.
        bias: b (K,), or None.
        stride, padding, dilation: S, P, D, one number or (of rows, of columns).
        groups: G, which divides C and K: the k-th part of the filters reads the
            k-th part of the channels.

    Returns:
        y (..., K, H', W'), H' and W' by `output_size`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a size is not a whole
            number.
        ValueError: shapes do not fit, a size is out of range, or the filter is
            larger than the padded image.

    Source: LeCun et al. 1989, Neural Computation 1, section 3.
    """
    require_filters(x, weight, bias, groups)
    if groups > 1:
        parts = by_groups(x, weight, groups)
        each = [conv2d(z, w, None, stride, padding, dilation) for z, w in parts]
        return plus_bias(torch.cat(each, -3), bias)
    rows, cols = sizes(x, weight.shape[2:], stride, padding, dilation)
    (S, T), (D, E) = pair("stride", stride), pair("dilation", dilation)
    x = padded(x, pair("padding", padding, least=0))
    places = []
    for i in range(rows):
        for j in range(cols):
            y = x.new_zeros(())
            for a in range(weight.shape[2]):
                for b in range(weight.shape[3]):
                    below = x[..., i * S + a * D, j * T + b * E]  # (..., C)
                    y = y + below @ weight[:, :, a, b].mT  # (..., K)
            places.append(y)
    return plus_bias(torch.stack(places, -1).unflatten(-1, (rows, cols)), bias)


def fast_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """`conv2d` as one matrix product for each row of the filter, images in blocks
    that fit a processor's cache.

        Y = sum over the rows a of  W_a X_a,    W_a (K, C F),    X_a (C F, H' W')

    X_a holds what lies below row a of the filter, at every place. It is X_0, which
    starts a D rows further down the image, so that one matrix is laid out, F / S
    times the image, and read F times.

    Args:
        x: images (..., C, H, W), floating dtype.
        weight, bias, stride, padding, dilation, groups: as of `conv2d`.

    Returns:
        y (..., K, H', W'), the same numbers.

    Raises:
        TypeError, ValueError: as `conv2d`.

    Source: Chellapilla, Puri & Simard 2006, section 3, row by row.

    >>> fast_conv2d(torch.ones(1, 4, 4), torch.ones(2, 1, 3, 3)).shape
    torch.Size([2, 2, 2])
    """
    require_filters(x, weight, bias, groups)
    size = sizes(x, weight.shape[2:], stride, padding, dilation)
    steps = pair("stride", stride), pair("dilation", dilation)
    images = padded(x, pair("padding", padding, least=0))
    images = images.reshape(prod(x.shape[:-3]), *images.shape[-3:])
    laid_out = images.shape[1] * weight.shape[3] * images.shape[2] * size[1]
    rows = weight.unflatten(0, (groups, -1)).movedim(-2, 0).flatten(3)
    blocks = images.split(max(1, BLOCK // max(1, laid_out)))
    y = [by_filter_rows(block, rows, *steps, size) for block in blocks]
    whole = y[0] if len(y) == 1 else torch.cat(y)  # (B, K, H' W')
    return plus_bias(whole.view(*x.shape[:-3], len(weight), *size), bias)


def by_filter_rows(
    x: Tensor,
    rows: Tensor,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    size: tuple[int, int],
) -> Tensor:
    """The convolution of padded images (B, C, H, W), one product for each row of
    the filters (F, G, K / G, C F / G), as (B, K, H' W')."""
    (F_, G, _, n), (S, T), (D, E) = rows.shape, stride, dilation
    span = E * (n * G // x.shape[1] - 1) + 1  # from the first cell to the last
    across = x.unfold(3, span, T)[..., ::E].movedim(4, 2)  # (B, C, F, H, W')
    across = across.reshape(len(x) * G, n, x.shape[2], size[1])
    reach = (size[0] - 1) * S + 1
    below = [across[:, :, a * D : a * D + reach : S].flatten(2) for a in range(F_)]
    each = [row.expand(len(x), -1, -1, -1).flatten(0, 1) for row in rows]
    y = each[0] @ below[0]  # (B G, K / G, H' W')
    for a in range(1, F_):
        y.baddbmm_(each[a], below[a])
    return y.view(len(x), rows.shape[2] * G, prod(size))


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    extra: Pair = 0,
) -> Tensor:
    """The transpose of a convolution: every input stamps the filter, weighted, onto
    the output, where stamps add up.

        y_c(i S + a D - P, j S + b D - P)  +=  w_kc(a, b) x_k(i, j)

    As matrices: if `conv2d` is y = A x, this is A^T, which also is how a gradient
    goes back through it. It enlarges an image, and undoes nothing. This is
    `torch.nn.functional.conv_transpose2d`.

    Args:
        x: images (..., K, H, W), floating dtype.
        weight: filters w (K, C / G, F, F), those of the convolution that is
            transposed.
        bias: (C,), or None.
        stride, padding, dilation: S, P, D, one number or (of rows, of columns).
        groups: G, which divides K and C.
        extra: rows and columns added at the far ends: which of the sizes that the
            convolution maps to (H, W).

    Returns:
        y (..., C, H', W'), H' and W' by `transposed_size`.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a size is not a whole
            number.
        ValueError: shapes do not fit, or a size is out of range.

    Source: Dumoulin & Visin 2016, chapter 4, arXiv:1603.07285.
    """
    grow = transposing(x, weight, bias, stride, padding, dilation, groups, extra)
    if groups > 1:
        parts = by_groups(x, weight, groups)
        y = [
            conv_transpose2d(z, w, None, stride, padding, dilation, 1, extra)
            for z, w in parts
        ]
        return plus_bias(torch.cat(y, -3), bias)
    canvas = x.new_zeros(())
    for i in range(x.shape[-2]):
        for j in range(x.shape[-1]):
            stamp = torch.einsum("...k,kcab->...cab", x[..., i, j], weight)
            canvas = canvas + grow.placed(spread(stamp, grow.dilation), i, j)
    return plus_bias(canvas, bias)


def fast_conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    extra: Pair = 0,
) -> Tensor:
    """`conv_transpose2d` as a convolution: of the image spread out by S, with the
    filter turned by 180 degrees.

        y_c(u, v) = sum_k sum_a sum_b  w_kc(F-1-a, F-1-b) z_k(u + a D, v + b D),
        z = x with S - 1 zeros between

    Args:
        x: images (..., K, H, W), floating dtype.
        weight, bias, stride, padding, dilation, groups, extra: as of
            `conv_transpose2d`.

    Returns:
        y (..., C, H', W'), the same numbers.

    Raises:
        TypeError, ValueError: as `conv_transpose2d`.

    Source: Dumoulin & Visin 2016, chapter 4, arXiv:1603.07285.
    """
    grow = transposing(x, weight, bias, stride, padding, dilation, groups, extra)
    turned = weight.flip(-1, -2).unflatten(0, (groups, -1)).transpose(1, 2)
    around = F.pad(spread(x, grow.stride), grow.margins(weight.shape[2:]))
    filters = turned.flatten(0, 1)  # (C, K / G, F, F)
    return fast_conv2d(around, filters, bias, dilation=dilation, groups=groups)


class Transposing(NamedTuple):
    """The sizes of a transposed convolution: each a pair, of rows and of
    columns."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    extra: tuple[int, int]
    size: tuple[int, int]

    def placed(self, stamp: Tensor, i: int, j: int) -> Tensor:
        """A stamp (..., C, a, b) on the empty output, where input (i, j) puts it;
        what is over the edge is cut."""
        borders = []
        for axis, k in ((1, j), (0, i)):
            before = k * self.stride[axis] - self.padding[axis]
            after = self.size[axis] - before - stamp.shape[axis - 2]
            borders += [before, after]
        return F.pad(stamp, borders)

    def margins(self, kernel: tuple[int, ...]) -> list[int]:
        """Zeros around the spread image (negative: rows cut off), so that a
        convolution gives the output's size."""
        borders = []
        for axis in (1, 0):
            edge = self.dilation[axis] * (kernel[axis] - 1) - self.padding[axis]
            borders += [edge, edge + self.extra[axis]]
        return borders


def transposing(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    extra: Pair,
) -> Transposing:
    """The sizes of a transposed convolution, after refusing what does not fit."""
    require_stamps(x, weight, bias, groups)
    four = (
        pair("stride", stride),
        pair("padding", padding, least=0),
        pair("dilation", dilation),
        pair("extra", extra, least=0),
    )
    rows, cols = (
        transposed_size(
            x.shape[i - 2], weight.shape[i + 2], *(each[i] for each in four)
        )
        for i in (0, 1)
    )
    return Transposing(*four, size=(rows, cols))


def require_stamps(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int
) -> None:
    """Refuse images (..., K, H, W), filters (K, C / G, F, F) and a bias (C,) that
    do not fit together."""
    tensors = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    require.floating(**tensors)
    require.alike(**tensors)
    found = require.shapes(x=(x, "... K H W"), weight=(weight, "K c a b"))
    divides(groups, channels=found["K"])
    if bias is not None and bias.shape != (found["c"] * groups,):
        raise ValueError(
            f"bias must be ({found['c'] * groups},), got shape {tuple(bias.shape)}"
        )


def spread(x: Tensor, factor: tuple[int, int]) -> Tensor:
    """An image with zeros between its rows and columns:   (..., H, W) -> (..., (H -
    1) S + 1, (W - 1) T + 1)."""
    S, T = factor
    # (..., H, S, W, T)
    x = F.pad(x[..., :, None, :, None], (0, T - 1, 0, 0, 0, S - 1))
    x = x.flatten(-2).flatten(-3, -2)  # (..., H S, W T)
    return x[..., : x.shape[-2] - S + 1, : x.shape[-1] - T + 1]


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """A convolution over time that looks back only: all padding stands before the
    first sample.

        y_k(t) = b_k + sum_c sum_a  w_kc(a) x_c(t - (F - 1 - a) D)

    Args:
        x: signals (..., C, T), floating dtype.
        weight: filters w (K, C / G, F), dtype of `x`; the last cell, a = F - 1,
            lies on the present.
        bias: b (K,), or None.
        dilation: D.
        groups: G.

    Returns:
        y (..., K, T); y(t) depends on x(t) and what came before.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a size is not a whole
            number.
        ValueError: shapes do not fit, or a size is out of range.

    Source: van den Oord et al. 2016, WaveNet, section 2.1, arXiv:1609.03499.
    """
    past = memory(x, weight, dilation, "... C T")
    x = F.pad(x, (past, 0)).unsqueeze(-2)  # (..., C, 1, past + T)
    y = fast_conv2d(x, weight.unsqueeze(-2), bias, 1, 0, (1, dilation), groups)
    return y.squeeze(-2)


def causal_conv1d_step(
    x: Tensor,
    buffer: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    dilation: int = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor]:
    """One step of `causal_conv1d` on a signal that arrives sample by sample: a
    buffer holds the past it needs.

    The buffer starts as zeros. A step costs the same however long the signal
    already is.

    Args:
        x: the samples of this moment (..., C), floating dtype.
        buffer: the last D (F - 1) samples, oldest first, (..., C, D (F - 1)), dtype
            and leading dimensions of `x`.
        weight: filters (K, C / G, F), dtype of `x`.
        bias: (K,), or None.
        dilation, groups: D and G, as of `causal_conv1d`.

    Returns:
        y (..., K) of this moment, and the new buffer; the old one is left as it is.

    Raises:
        TypeError: a tensor is not floating, dtypes differ, or a size is not a whole
            number.
        ValueError: shapes do not fit, or a size is out of range.

    Source: van den Oord et al. 2016, arXiv:1609.03499; Paine et al. 2016, Fast
    WaveNet, arXiv:1611.09482.
    """
    past = memory(x, weight, dilation, "... C")
    require.floating(buffer=buffer)
    require.alike(x=x, buffer=buffer)
    if buffer.shape != (*x.shape, past):
        raise ValueError(
            f"buffer must be {(*x.shape, past)}, got shape {tuple(buffer.shape)}"
        )
    line = torch.cat([buffer, x.unsqueeze(-1)], -1)  # (..., C, past + 1)
    y = causal_conv1d(line, weight, bias, dilation, groups)[..., -1]
    return y, line[..., 1:]


def memory(x: Tensor, weight: Tensor, dilation: int, pattern: str) -> int:
    """D (F - 1), how far a causal filter looks back, after refusing what is no
    signal or no filter."""
    require.floating(x=x, weight=weight)
    require.shapes(x=(x, pattern), weight=(weight, "K c F"))
    require.whole(dilation=dilation, least=1)
    return dilation * (weight.shape[-1] - 1)
