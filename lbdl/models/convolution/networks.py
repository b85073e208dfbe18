"""Convolutional networks: the layer that holds its filters, and a small network of
the kind that first read digits.

LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document
recognition", section II.
"""

from math import prod, sqrt

import torch
from torch import Generator, Tensor, nn

from lbdl import require
from lbdl.models.convolution.geometry import Pair, divides, output_size, pair
from lbdl.models.convolution.layers import fast_conv2d
from lbdl.models.convolution.pooling import fast_max_pool2d

__all__ = ["Conv2d", "LeNet"]


class Conv2d(nn.Module):
    """`fast_conv2d` with filters of its own; names and shapes are those of
    `torch.nn.Conv2d`.

        w ~ N(0, 2 / (C F^2 / G)),    b = 0

    so that, behind a ReLU, the outputs are as large as the inputs (He et al. 2015).

    Args:
        channels_in: C, >= 1.
        channels_out: K, >= 1, the number of filters.
        kernel: F, one number or (of rows, of columns).
        stride, padding, dilation: S, P, D, likewise.
        groups: G, which divides C and K.
        bias: whether each filter has one.
        generator: draws the filters, on the CPU; torch's own when not given.

    Raises:
        TypeError: a size is not a whole number, or something is of the wrong kind.
        ValueError: a size is out of range, or G does not divide C and K.

    Source: He et al. 2015, section 2.2, arXiv:1502.01852.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        require.whole(channels_in=channels_in, channels_out=channels_out, least=1)
        divides(groups, channels_in=channels_in, channels_out=channels_out)
        require.instance(bool, bias=bias)
        self.stride, self.dilation = (
            pair("stride", stride),
            pair("dilation", dilation),
        )
        self.padding, self.groups = pair("padding", padding, least=0), groups
        shape = (channels_out, channels_in // groups, *pair("kernel", kernel))
        self.weight = nn.Parameter(he_normal(shape, generator))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., C, H, W) to (..., K, H', W')."""
        sizes = (self.stride, self.padding, self.dilation, self.groups)
        return fast_conv2d(x, self.weight, self.bias, *sizes)


class LeNet(nn.Module):
    """Convolution, ReLU, max pooling, twice; then a hidden dense layer, then
    scores.

    The convolutions keep the size of the image, the poolings halve it.

    Args:
        image: (C, H, W), the shape of one image; a curve is an image of one row.
        classes: number of scores, >= 1.
        kernel: F, odd, one number or (of rows, of columns).
        widths: filters of the first and of the second convolution, each >= 1.
        hidden: units of the dense layer, >= 1.
        generator: draws the weights, on the CPU; torch's own when not given.

    Raises:
        TypeError: a size is not a whole number, or something is of the wrong kind.
        ValueError: a size is out of range, or the filter's is even.

    Source: LeCun et al. 1998, section II, with max pooling and ReLU.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        classes: int,
        kernel: Pair = 3,
        widths: tuple[int, int] = (16, 32),
        hidden: int = 64,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        rows, cols = pair("kernel", kernel)
        if rows % 2 == 0 or cols % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        require.whole(classes=classes, hidden=hidden, least=1)
        require_image(image)
        require.instance(tuple, widths=widths)
        channels, *size = image
        self.pool = tuple(min(2, side) for side in size)  # one row cannot be halved
        around = (rows // 2, cols // 2)
        first, second = widths
        self.convolutions = nn.ModuleList(
            [
                Conv2d(
                    channels, first, kernel, padding=around, generator=generator
                ),
                Conv2d(first, second, kernel, padding=around, generator=generator),
            ]
        )
        for _ in widths:
            size = [output_size(side, min(2, side), min(2, side)) for side in size]
        self.features = second * prod(size)
        self.hidden = linear(self.features, hidden, generator)
        self.readout = linear(hidden, classes, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Images (..., C, H, W) to scores (..., classes)."""
        for convolution in self.convolutions:
            x = fast_max_pool2d(convolution(x).relu(), self.pool)
        return self.readout(self.hidden(x.flatten(-3)).relu())


def require_image(image: tuple[int, int, int]) -> None:
    """Refuse what is not the shape (C, H, W) of an image."""
    require.instance(tuple, image=image)
    if len(image) != 3:
        raise ValueError(f"image must be (C, H, W), got {image}")
    require.whole(least=1, image=min(image))


def linear(wide: int, out: int, generator: Generator | None) -> nn.Linear:
    """A dense layer whose weights are drawn as those of `Conv2d`."""
    layer = nn.Linear(wide, out)
    with torch.no_grad():
        layer.weight.copy_(he_normal((out, wide), generator))
        layer.bias.zero_()
    return layer


def he_normal(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """Normal weights of variance 2 / (inputs of one output)."""
    require.generator(generator=generator)
    return torch.randn(shape, generator=generator) * sqrt(2 / prod(shape[1:]))
