"""Skip connections: a layer that adds to what came in. Networks with and without
them, and the loss around them.

He et al. 2016a, arXiv:1512.03385, and 2016b, arXiv:1603.05027 (the norm and the
ReLU stand before the weights); Li et al. 2018, "Visualizing the loss landscape of
neural nets", arXiv:1712.09913.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor, nn

from lbdl import require
from lbdl.models.convolution import Conv2d, adaptive_average_pool2d
from lbdl.models.convolution.geometry import Pair, pair
from lbdl.models.convolution.networks import linear
from lbdl.models.normalization.activations import relu
from lbdl.models.normalization.modules import BatchNorm, LayerNorm, RMSNorm

__all__ = [
    "NORMS",
    "DeepNetwork",
    "ResidualNetwork",
    "filter_normalized",
    "loss_surface",
]

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "batch": BatchNorm,
    "layer": LayerNorm,
    "rms": RMSNorm,
}
Parameters = Mapping[str, Tensor]


class DeepNetwork(nn.Module):
    """Many dense layers of one width, each with or without a skip connection around
    it.

        h <- W relu(norm(h)) + b    or    h <- h + s (W relu(norm(h)) + b)

    Weights have second moment 2 / width (He et al.), biases are 0.

    Args:
        inputs: features of an example, >= 1.
        width: of every layer, >= 1.
        classes: number of scores, >= 1.
        depth: D, number of such layers, >= 0; a layer before them and one behind
            make the widths fit.
        skip: whether each layer adds to its input.
        norm: what stands first in each layer, a key of `NORMS`.
        scale: s, the factor of the branch where there is a skip connection.
        generator: draws the weights, on the CPU; torch's own when not given.

    Raises:
        TypeError: something is of the wrong kind.
        ValueError: a number is out of range, or the norm is unknown.

    Source: He et al. 2016b, section 4, arXiv:1603.05027, with one matrix a branch.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        classes: int,
        depth: int,
        skip: bool = True,
        norm: str = "none",
        scale: float = 1.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        require.whole(inputs=inputs, width=width, classes=classes, least=1)
        require.whole(depth=depth, least=0)
        require.instance(bool, skip=skip)
        require.choice(tuple(NORMS), norm=norm)
        require.number(scale=scale)
        self.skip, self.scale = skip, scale
        self.stem = linear(inputs, width, generator)
        self.layers = nn.ModuleList(
            [linear(width, width, generator) for _ in range(depth)]
        )
        self.norms = nn.ModuleList([NORMS[norm](width) for _ in range(depth + 1)])
        self.readout = linear(width, classes, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Features (..., inputs) to scores (..., classes)."""
        return self.readout(relu(self.norms[-1](self.states(x)[-1])))

    def states(self, x: Tensor) -> list[Tensor]:
        """The signal h before the first and behind each of the layers, (..., width)
        each."""
        states = [self.stem(x)]
        for norm, layer in zip(self.norms, self.layers, strict=False):
            branch = layer(relu(norm(states[-1])))
            states.append(states[-1] + self.scale * branch if self.skip else branch)
        return states


class ResidualNetwork(nn.Module):
    """A small residual network for images: a convolution, blocks of two, the mean
    over all places, scores.

        h <- h + conv(relu(norm(conv(relu(norm(h))))))

    Args:
        channels: of an image, >= 1.
        width: filters of every convolution, >= 1.
        classes: number of scores, >= 1.
        blocks: >= 0.
        kernel: F, odd, one number or (of rows, of columns).
        skip: false leaves out the h that is added.
        generator: draws the weights, on the CPU; torch's own when not given.

    Raises:
        TypeError: something is of the wrong kind.
        ValueError: a number is out of range, or the kernel is even.

    Source: He et al. 2016b, figure 1b, arXiv:1603.05027.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        classes: int,
        blocks: int,
        kernel: Pair = 3,
        skip: bool = True,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        require.whole(channels=channels, width=width, classes=classes, least=1)
        require.whole(blocks=blocks, least=0)
        require.instance(bool, skip=skip)
        self.skip = skip
        self.stem = same_size(channels, width, kernel, generator)
        self.blocks = nn.ModuleList(
            [branch(width, kernel, generator) for _ in range(blocks)]
        )
        self.norm = BatchNorm(width)
        self.readout = linear(width, classes, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to scores (B, classes)."""
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h) if self.skip else block(h)
        means = adaptive_average_pool2d(relu(self.norm(h)), 1)  # (B, width, 1, 1)
        return self.readout(means.flatten(1))


def branch(width: int, kernel: Pair, generator: Generator | None) -> nn.Sequential:
    """Norm, ReLU, convolution, twice."""
    parts: list[nn.Module] = []
    for _ in range(2):
        convolution = same_size(width, width, kernel, generator)
        parts += [BatchNorm(width), nn.ReLU(), convolution]
    return nn.Sequential(*parts)


def same_size(
    channels: int,
    width: int,
    kernel: Pair,
    generator: Generator | None,
) -> Conv2d:
    """A convolution that keeps the size of the image."""
    rows, cols = pair("kernel", kernel)
    if rows % 2 == 0 or cols % 2 == 0:
        raise ValueError(f"kernel must be odd, got {kernel}")
    padding = (rows // 2, cols // 2)
    return Conv2d(channels, width, kernel, padding=padding, generator=generator)


def filter_normalized(
    parameters: Parameters, generator: Generator | None = None
) -> dict[str, Tensor]:
    """A random direction in the space of weights, in which every filter moves by as
    much as it is long.

        d_i <- d_i ||w_i|| / ||d_i||  for each filter i: a row of a matrix, a filter
        of a convolution

    So a network and the same one with larger weights before and smaller ones behind
    a ReLU give the same picture. Biases and the weights of norms stay where they
    are.

    Args:
        parameters: tensors by name, any shapes, floating dtype.
        generator: draws the direction, on the CPU; torch's own when not given.

    Returns:
        The direction: tensors of the same names, shapes and dtypes.

    Raises:
        TypeError: `parameters` is no dict of floating tensors, or `generator` no
            generator.

    Source: Li et al. 2018, section 4, arXiv:1712.09913.
    """
    require.instance(Mapping, parameters=parameters)
    require.generator(generator=generator)
    direction = {}
    for name, w in parameters.items():
        require.floating(parameters=w)
        d = torch.randn(w.shape, generator=generator).to(w)
        direction[name] = d * row_norms(w) / row_norms(d) if w.dim() > 1 else 0 * d
    return direction


def row_norms(w: Tensor) -> Tensor:
    """The length of each filter w_i, shaped so that it broadcasts against w."""
    return w.flatten(1).norm(dim=1).view(-1, *[1] * (w.dim() - 1))


def loss_surface(
    loss: Callable[[dict[str, Tensor]], Tensor],
    parameters: Parameters,
    first: Parameters,
    second: Parameters,
    along: Tensor,
) -> Tensor:
    """The loss on a plane through the weights of a network.

        L(w + a d_1 + b d_2)

    Args:
        loss: of the parameters, a scalar.
        parameters: w, tensors by name; detached, so that no graph is kept.
        first, second: the directions d_1 and d_2, tensors of the same names and
            shapes.
        along: the values (n,) that a and b take, floating dtype.

    Returns:
        The losses (n, n): row i has a = along[i].

    Raises:
        TypeError: something is of the wrong kind.
        ValueError: the names or shapes of a direction are not those of the
            parameters, or `along` is not (n,).

    Source: Li et al. 2018, equation 1, arXiv:1712.09913.
    """
    require.function(loss=loss)
    require.instance(Mapping, parameters=parameters, first=first, second=second)
    require.floating(along=along)
    require.shapes(along=(along, "n"))
    require_direction(parameters, first=first, second=second)
    return torch.stack(
        [
            torch.stack(
                [loss(moved(parameters, (a, first), (b, second))) for b in along]
            )
            for a in along
        ]
    )


def moved(
    parameters: Parameters, *steps: tuple[Tensor, Parameters]
) -> dict[str, Tensor]:
    """w + a d_1 + b d_2, name by name."""
    return {
        name: w + sum(factor.to(w) * direction[name] for factor, direction in steps)
        for name, w in parameters.items()
    }


def require_direction(parameters: Parameters, **directions: Parameters) -> None:
    """Refuse directions whose names or shapes are not those of the parameters."""
    for argument, direction in directions.items():
        if set(direction) != set(parameters):
            raise ValueError(f"{argument} must have the names of parameters")
        for name, w in parameters.items():
            require.floating(**{"parameters": w, argument: direction[name]})
            require.same_shape(**{"parameters": w, argument: direction[name]})
