"""Pooling: one number for each window, its largest or its mean, channel by channel.
Nothing is learnt.

Scherer, Müller & Behnke 2010, "Evaluation of pooling operations in convolutional
architectures for object recognition".
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lbdl import require
from lbdl.models.convolution.geometry import Pair, padded, pair, sizes, windows

__all__ = [
    "adaptive_average_pool2d",
    "adaptive_max_pool2d",
    "average_pool2d",
    "fast_average_pool2d",
    "fast_max_pool2d",
    "max_pool2d",
]

Pool = Callable[[Tensor], Tensor]


def max_pool2d(
    x: Tensor, kernel: Pair, stride: Pair | None = None, padding: Pair = 0
) -> Tensor:
    """The largest value in each window.

        y_c(i, j) = max over 0 <= a, b < F of  x_c(i S + a - P, j S + b - P)

    What lies outside of the image counts as minus infinity. Of several largest
    values the first, row by row, gets the gradient. This is
    `torch.nn.functional.max_pool2d`.

    Args:
        x: images (..., C, H, W), floating dtype.
        kernel: F, one number or (of rows, of columns).
        stride: S; as large as the window when not given, so that windows do not
            overlap.
        padding: P, at most half of F.

    Returns:
        y (..., C, H', W'), H' and W' by `output_size`; NaN where a window holds a
        NaN.

    Raises:
        TypeError: `x` is not floating, or a size is not a whole number.
        ValueError: `x` has fewer than three dimensions, a size is out of range, or
            no window fits.

    Source: Scherer, Müller & Behnke 2010, section 3.
    """
    x = pool_input(x, kernel, padding, value=-math.inf)
    return slide(
        x, kernel, stride, lambda window: window.flatten(-2).max(-1).values
    )


def fast_max_pool2d(
    x: Tensor, kernel: Pair, stride: Pair | None = None, padding: Pair = 0
) -> Tensor:
    """`max_pool2d` on all windows at once: F^2 shifted images, the larger of two at
    a time.

    Args:
        x: images (..., C, H, W), floating dtype.
        kernel, stride, padding: as of `max_pool2d`.

    Returns:
        y (..., C, H', W'), the same numbers and gradients.

    Raises:
        TypeError, ValueError: as `max_pool2d`.
    """
    x = pool_input(x, kernel, padding, value=-math.inf)
    views = windows(x, kernel, kernel if stride is None else stride)
    first, *others = unbind_cells(views)
    for other in others:
        first = torch.where((other > first) | other.isnan(), other, first)
    return first


def average_pool2d(
    x: Tensor, kernel: Pair, stride: Pair | None = None, padding: Pair = 0
) -> Tensor:
    """The mean of each window: a convolution of each channel by itself with the
    filter that is 1 / F^2 everywhere.

        y_c(i, j) = 1 / F^2  sum_a sum_b  x_c(i S + a - P, j S + b - P)

    The padding counts as zeros, in the sum and in F^2. This is
    `torch.nn.functional.avg_pool2d`.

    Args:
        x: images (..., C, H, W), floating dtype.
        kernel, stride, padding: as of `max_pool2d`.

    Returns:
        y (..., C, H', W').

    Raises:
        TypeError, ValueError: as `max_pool2d`.
    """
    x = pool_input(x, kernel, padding, value=0.0)
    return slide(x, kernel, stride, lambda window: window.mean((-2, -1)))


def fast_average_pool2d(
    x: Tensor, kernel: Pair, stride: Pair | None = None, padding: Pair = 0
) -> Tensor:
    """`average_pool2d` on all windows at once: first the means of rows, then those
    of columns.

    Args:
        x: images (..., C, H, W), floating dtype.
        kernel, stride, padding: as of `max_pool2d`.

    Returns:
        y (..., C, H', W'), the same numbers.

    Raises:
        TypeError, ValueError: as `max_pool2d`.
    """
    x = pool_input(x, kernel, padding, value=0.0)
    sizes(x, kernel, kernel if stride is None else stride, 0, 1)
    F, S = (
        pair("kernel", kernel),
        pair("stride", kernel if stride is None else stride),
    )
    for axis in (0, 1):
        x = x.unfold(axis - 2, F[axis], S[axis]).mean(-1)
    return x


def adaptive_max_pool2d(x: Tensor, size: Pair) -> Tensor:
    """`max_pool2d` with as many windows as are asked for; they share the image as
    evenly as whole pixels allow.

        window i of O begins at floor(i H / O) and ends before ceil((i + 1) H / O)

    Args:
        x: images (..., C, H, W), floating dtype.
        size: O, one number or (of rows, of columns).

    Returns:
        y (..., C, O, O).

    Raises:
        TypeError: `x` is not floating, or a size is not a whole number.
        ValueError: `x` has fewer than three dimensions, or a size is out of range.

    Source: the function of this name in torch.
    """
    return adaptive(x, size, lambda window: window.flatten(-2).max(-1).values)


def adaptive_average_pool2d(x: Tensor, size: Pair) -> Tensor:
    """The means of as many windows as are asked for; of one alone, *global* average
    pooling.

        window i of O begins at floor(i H / O) and ends before ceil((i + 1) H / O)

    Args:
        x: images (..., C, H, W), floating dtype.
        size: O, one number or (of rows, of columns).

    Returns:
        y (..., C, O, O).

    Raises:
        TypeError, ValueError: as `adaptive_max_pool2d`.

    Source: Lin, Chen & Yan 2014, Network in Network, section 3.2, arXiv:1312.4400,
    for O = 1.
    """
    return adaptive(x, size, lambda window: window.mean((-2, -1)))


def adaptive(x: Tensor, size: Pair, pool: Pool) -> Tensor:
    """`pool` on each of the windows that share an image (..., H, W)."""
    require.floating(x=x)
    require.shapes(x=(x, "... C H W"))
    rows, cols = pair("size", size)
    y = [
        pool(
            x[
                ...,
                slice(*share(i, rows, x.shape[-2])),
                slice(*share(j, cols, x.shape[-1])),
            ]
        )
        for i in range(rows)
        for j in range(cols)
    ]
    return torch.stack(y, -1).unflatten(-1, (rows, cols))


def share(i: int, parts: int, length: int) -> tuple[int, int]:
    """Begin and end of part i, of so many, of a line."""
    return i * length // parts, -(-(i + 1) * length // parts)


def slide(x: Tensor, kernel: Pair, stride: Pair | None, pool: Pool) -> Tensor:
    """`pool` on each window of a padded image (..., H, W): two loops."""
    stride = kernel if stride is None else stride
    (F, G), (S, T) = pair("kernel", kernel), pair("stride", stride)
    rows, cols = sizes(x, kernel, stride, 0, 1)
    y = [
        pool(x[..., i * S : i * S + F, j * T : j * T + G])
        for i in range(rows)
        for j in range(cols)
    ]
    return torch.stack(y, -1).unflatten(-1, (rows, cols))


def pool_input(x: Tensor, kernel: Pair, padding: Pair, value: float) -> Tensor:
    """The padded image, after refusing what cannot be pooled: a window must not lie
    in the padding alone."""
    require.floating(x=x)
    require.shapes(x=(x, "... C H W"))
    border = pair("padding", padding, least=0)
    for name, P, F in zip(
        ("rows", "columns"), border, pair("kernel", kernel), strict=True
    ):
        if 2 * P > F:
            raise ValueError(
                f"padding must be at most half of the kernel, {F} {name}, got {P}"
            )
    return padded(x, border, value)


def unbind_cells(views: Tensor) -> list[Tensor]:
    """The F^2 images (..., C, H', W') that the cells of the windows (..., C, H',
    W', F, F) see, row by row."""
    return [cell for row in views.unbind(-2) for cell in row.unbind(-1)]
