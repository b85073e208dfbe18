"""The heavy experiments on deep networks: what skip connections and norms buy at
which depth, with dense layers and with convolutions, and the loss around two
networks that differ in their skip connections alone.

He et al. 2016, arXiv:1512.03385 and arXiv:1603.05027; De & Smith 2020,
arXiv:2002.10444; Li et al. 2018, arXiv:1712.09913.
"""

from collections.abc import Callable
from itertools import islice
from math import prod, sqrt

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lbdl.core import data
from lbdl.core.data import Dataset, Splits
from lbdl.core.training import forever
from lbdl.lab import Run, Steps, experiment
from lbdl.models.convolution import fast_conv2d
from lbdl.models.normalization import (
    DeepNetwork,
    filter_normalized,
    loss_surface,
    relu,
    standardize,
)

__all__ = [
    "ConvTowers",
    "Towers",
    "convolution_depths",
    "depth_grid",
    "surface_pair",
]

# What stands before the ReLU of each layer, for signals (R, B, n).
BEFORE: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda h: h,
    "batch": lambda h: standardize(h, -2),
    "layer": lambda h: standardize(h, -1),
}


class Towers(nn.Module):
    """R deep networks side by side; each is plain or residual, no weight is shared.

        h <- keep_r h + share_r (relu(norm(h)) W_r + b_r)

    Batch norm takes the statistics of the batch at hand, also where the network is
    judged; no norm has weights.

    Args:
        generators: R of them, on the CPU; each draws one network.
        inputs: features of an example.
        width: n of every layer.
        depth: D, number of layers.
        skips: R flags: whether the network is residual (keep 1, share 1 / sqrt(D))
            or plain (keep 0, share 1).
        norm: a key of `BEFORE`.
        classes: number of scores.

    Source: He et al. 2016b, arXiv:1603.05027.
    """

    keep: Tensor
    share: Tensor

    def __init__(
        self,
        generators: list[Generator],
        inputs: int,
        width: int,
        depth: int,
        skips: list[bool],
        norm: str,
        classes: int = 10,
    ) -> None:
        super().__init__()
        shapes = [(inputs, width), *[(width, width)] * depth, (width, classes)]
        self.weights = nn.ParameterList(
            torch.stack(
                [torch.randn(s, generator=g) * sqrt(2 / s[0]) for g in generators]
            )
            for s in shapes
        )
        self.biases = nn.ParameterList(
            torch.zeros(len(generators), 1, s[1]) for s in shapes
        )
        residual = torch.tensor(skips).view(-1, 1, 1)
        self.register_buffer("keep", residual.float())
        share = torch.where(residual, 1 / sqrt(max(1, depth)), 1.0)
        self.register_buffer("share", share)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, inputs) to scores (R, B, classes)."""
        first, *middle, last = zip(self.weights, self.biases, strict=True)
        norm = BEFORE[self.norm]
        h = dense_side_by_side(x.expand(len(self.keep), *x.shape), *first)
        for layer in middle:
            h = self.keep * h + self.share * dense_side_by_side(
                relu(norm(h)), *layer
            )
        return dense_side_by_side(relu(norm(h)), *last)


def dense_side_by_side(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """h W + b for each of R networks: (R, B, n), (R, n, k), (R, 1, k) to (R, B,
    k)."""
    return torch.baddbmm(bias, h, weight)


@experiment(
    "depth_grid",
    chapter="models/normalization",
    shows="how deep a network can be trained, with skip connections and norms and without",
    small={
        "depths": [2, 16], "runs": 1, "rates": [0.003], "steps": 60,
        "width": 24, "batch": 64,
    },
    cpu={
        "depths": [2, 5, 10, 20, 30, 50], "runs": 3,
        "rates": [0.0003, 0.001, 0.003], "steps": 200, "width": 32, "batch": 64,
    },
    full={
        "depths": [2, 10, 30, 100], "runs": 5,
        "rates": [0.0001, 0.0003, 0.001, 0.003], "steps": 160, "width": 128,
        "batch": 256,
    },
    able=("compile",),
)  # fmt: skip
def depth_grid(
    run: Run,
    depths: list[int],
    runs: int,
    rates: list[float],
    steps: int,
    width: int,
    batch: int,
) -> dict[str, Tensor]:
    """Accuracy on digits after a fixed number of steps of Adam, for depth x norm x
    skip x rate.

        validation, test (D, 3, 2, L, R): accuracies; loss (D, 3, 2, L, R): training
        loss, mean of the last tenth

    in the order of `depths`, of `BEFORE`, plain before residual, of `rates`.

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        depths: D of them.
        runs: R networks of each kind, each with a start of its own.
        rates: L learning rates.
        steps: of Adam.
        width: of every layer.
        batch: examples a step.

    Returns:
        The arrays named above, and `depths` (D,) and `rates` (L,).

    Source: He et al. 2016, arXiv:1512.03385, section 4.2, in small.
    """
    splits = data.digits().to(run.device)
    jobs = [(i, j) for i in range(len(depths)) for j in range(len(BEFORE))]
    found = torch.zeros(3, len(depths), len(BEFORE), 2, len(rates), runs)
    for job in run.chunks(len(jobs), found=found):
        i, j = jobs[job]
        kinds = [
            (s, rate, r) for s in (0, 1) for rate in rates for r in range(runs)
        ]
        starts = [
            run.generator(f"start {r} at depth {depths[i]}") for *_, r in kinds
        ]
        skips = [bool(s) for s, *_ in kinds]
        norm = list(BEFORE)[j]
        towers = Towers(starts, 64, width, depths[i], skips, norm).to(run.device)
        speed = torch.tensor([rate for _, rate, _ in kinds], device=run.device)
        order = run.generator(f"order at depth {depths[i]}")
        judged = trained_and_judged(run, towers, splits, speed, steps, batch, order)
        found[:, i, j] = judged.view(3, 2, len(rates), runs)
    return by_name(found, depths, rates)


def trained_and_judged(
    run: Run,
    towers: nn.Module,
    splits: Splits,
    rates: Tensor,
    steps: int,
    batch: int,
    order: Generator,
) -> Tensor:
    """Accuracy on validation and test, and training loss in the last tenth, of each
    network (3, R), on the CPU."""
    losses = fit(run, towers, splits.train, rates, steps, batch, order)
    judged = [accuracy(towers, splits.validation), accuracy(towers, splits.test)]
    last = losses[-max(1, steps // 10) :].mean(0)
    return torch.stack([*judged, last]).cpu()


def by_name(
    found: Tensor, depths: list[int], rates: list[float]
) -> dict[str, Tensor]:
    """What was found (3, ...), as the arrays of a result."""
    return {
        **dict(zip(("validation", "test", "loss"), found, strict=True)),
        "depths": torch.tensor(depths),
        "rates": torch.tensor(rates),
    }


class ConvTowers(nn.Module):
    """R networks of convolutions side by side, each plain or residual: those of
    `ResidualNetwork`, as groups of the channels.

        h <- keep_r h + conv(relu(norm(conv(relu(norm(h))))))

    Batch norm takes the statistics of the batch at hand, also where the network is
    judged, and has no weights; convolutions have no biases.

    Args:
        generators: R of them, on the CPU; each draws one network.
        image: (C, H, W), the shape of one image; a curve is an image of one row.
        width: filters of every convolution.
        blocks: of two convolutions each.
        skips: R flags: whether the network is residual (keep 1) or plain (keep 0).
        kernel: the two sides of every filter, odd.
        classes: number of scores.

    Source: He et al. 2016a, section 4.2, arXiv:1512.03385, and 2016b, figure 1b,
    arXiv:1603.05027.
    """

    keep: Tensor

    def __init__(
        self,
        generators: list[Generator],
        image: tuple[int, int, int],
        width: int,
        blocks: int,
        skips: list[bool],
        kernel: tuple[int, int],
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.image, self.kernel = image, kernel
        cells = prod(kernel)
        shapes = [(width, image[0] * cells), *[(width, width * cells)] * 2 * blocks]
        shapes.append((classes, width))
        self.weights = nn.ParameterList(
            torch.stack(
                [torch.randn(s, generator=g) * sqrt(2 / s[1]) for g in generators]
            )
            for s in shapes
        )
        self.bias = nn.Parameter(torch.zeros(len(generators), 1, classes))
        keep = torch.tensor(skips).float().repeat_interleave(width)
        self.register_buffer("keep", keep.view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C H W) to scores (R, B, classes)."""
        stem, *middle, readout = self.weights
        towers = len(readout)
        h = self.convolved(x.view(-1, *self.image), stem, 1)  # (B, R width, H, W)
        for first, second in zip(middle[::2], middle[1::2], strict=True):
            z = self.convolved(normed(h), first, towers)
            h = self.keep * h + self.convolved(normed(z), second, towers)
        means = normed(h).mean((-2, -1)).unflatten(1, (towers, -1))  # (B, R, width)
        return torch.baddbmm(self.bias, means.movedim(1, 0), readout.mT)

    def convolved(self, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        """A convolution that keeps the size; weight (R, width, C F^2)."""
        filters = weight.flatten(0, 1).unflatten(1, (-1, *self.kernel))
        around = self.kernel[0] // 2, self.kernel[1] // 2
        return fast_conv2d(x, filters, None, 1, around, 1, groups)


def normed(h: Tensor) -> Tensor:
    """ReLU behind a batch norm of every channel, (B, channels, H, W)."""
    return relu(standardize(h, (0, 2, 3)))


# Shape of an image and of a filter.
PICTURES: dict[str, tuple[tuple[int, int, int], tuple[int, int]]] = {
    "digits": ((1, 8, 8), (3, 3)),
    "mnist1d": ((1, 1, 40), (1, 5)),
}


@experiment(
    "convolution_depths",
    chapter="models/normalization",
    shows="how deep a convolutional network can be trained, plain and residual",
    small={
        "depths": [4, 12], "runs": 1, "rates": [0.003], "steps": 20, "width": 4,
        "batch": 32,
    },
    cpu={
        "depths": [10, 20, 50], "runs": 3, "rates": [0.003, 0.01],
        "steps": 150, "width": 6, "batch": 32,
    },
    full={
        "depths": [10, 20, 50], "runs": 4, "rates": [0.001, 0.003, 0.01],
        "steps": 160, "width": 16, "batch": 128,
    },
    able=("compile",),
)  # fmt: skip
def convolution_depths(
    run: Run,
    depths: list[int],
    runs: int,
    rates: list[float],
    steps: int,
    width: int,
    batch: int,
) -> dict[str, Tensor]:
    """Accuracy after a fixed number of steps of Adam, for data x depth x skip x
    rate; batch norm everywhere.

        validation, test (2, D, 2, L, R): accuracies; loss (2, D, 2, L, R): training
        loss, mean of the last tenth

    digits before mnist1d, in the order of `depths`, plain before residual, in the
    order of `rates`.

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        depths: D even numbers of layers with weights: a convolution, blocks of two,
            and a dense layer.
        runs: R networks of each kind, each with a start of its own.
        rates: L learning rates.
        steps: of Adam.
        width: filters of every convolution.
        batch: examples a step.

    Returns:
        The arrays named above, and `depths` (D,) and `rates` (L,).

    Source: He et al. 2016a, section 4.2, arXiv:1512.03385, in small.
    """
    jobs = [(i, j) for i in range(len(PICTURES)) for j in range(len(depths))]
    found = torch.zeros(3, len(PICTURES), len(depths), 2, len(rates), runs)
    for job in run.chunks(len(jobs), found=found):
        i, j = jobs[job]
        name, (image, kernel) = list(PICTURES.items())[i]
        splits = {"digits": data.digits, "mnist1d": data.mnist1d}[name]()
        splits = splits.to(run.device)
        where = f"{name} at depth {depths[j]}"
        kinds = [
            (s, rate, r) for s in (0, 1) for rate in rates for r in range(runs)
        ]
        starts = [run.generator(f"start {r}, {where}") for *_, r in kinds]
        skips = [bool(s) for s, *_ in kinds]
        blocks = depths[j] // 2 - 1
        towers = ConvTowers(starts, image, width, blocks, skips, kernel)
        speed = torch.tensor([rate for _, rate, _ in kinds], device=run.device)
        order = run.generator(f"order, {where}")
        towers = towers.to(run.device)
        judged = trained_and_judged(run, towers, splits, speed, steps, batch, order)
        found[:, i, j] = judged.view(3, 2, len(rates), runs)
    return by_name(found, depths, rates)


def fit(
    run: Run,
    towers: nn.Module,
    examples: Dataset,
    rates: Tensor,
    steps: int,
    batch: int,
    order: Generator,
) -> Tensor:
    """Trains all networks, each at its own rate; the losses (steps, R)."""
    optimizer = OwnRates(list(towers.parameters()), rates)
    gradients = run.compiled(lambda x, y: towers_gradients(towers, x, y))
    losses: list[Tensor] = []
    for x, y in islice(forever(examples, batch, order, drop_last=True), steps):
        loss, g = gradients(x, y)
        optimizer.step(g)
        losses.append(loss)
    return torch.stack(losses)


def towers_gradients(
    towers: nn.Module, x: Tensor, y: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The loss of each network (R,), and the gradients of their sum: each network's
    own."""
    scores = towers(x)  # (R, B, K)
    targets = y.expand(scores.shape[:2])
    losses = F.cross_entropy(scores.movedim(-1, 1), targets, reduction="none").mean(
        1
    )
    g = torch.autograd.grad(losses.sum(), list(towers.parameters()))
    return losses.detach(), g


class OwnRates:
    """Adam with a rate for each of R networks, the first dimension of every
    weight."""

    def __init__(self, weights: list[Tensor], rates: Tensor) -> None:
        self.weights, self.rates, self.t = weights, rates, 0
        self.m = [torch.zeros_like(w) for w in weights]
        self.v = [torch.zeros_like(w) for w in weights]

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """m <- .9 m + .1 g, v <- .999 v + .001 g^2, w <- w - rate m^ / (sqrt(v^) +
        1e-8)."""
        self.t += 1
        torch._foreach_lerp_(self.m, gradients, 0.1)
        torch._foreach_mul_(self.v, 0.999)
        torch._foreach_addcmul_(self.v, gradients, gradients, 0.001)
        below = torch._foreach_sqrt(self.v)
        torch._foreach_div_(below, sqrt(1 - 0.999**self.t))
        torch._foreach_add_(below, 1e-8)
        steps = torch._foreach_div(self.m, below)
        rate = -self.rates.view(-1, 1, 1) / (1 - 0.9**self.t)
        torch._foreach_mul_(steps, [rate] * len(steps))
        torch._foreach_add_(self.weights, steps)


@torch.no_grad()
def accuracy(towers: nn.Module, examples: Dataset) -> Tensor:
    """The share of right answers of each network (R,)."""
    return (towers(examples.x).argmax(-1) == examples.y).float().mean(1)


@experiment(
    "surface_pair",
    chapter="models/normalization",
    shows="the loss on a plane through a trained network, plain and residual",
    small={"depth": 6, "width": 16, "steps": 60, "points": 5, "reach": 1.0},
    cpu={"depth": 20, "width": 32, "steps": 800, "points": 51, "reach": 1.0},
    full={"depth": 50, "width": 64, "steps": 1200, "points": 61, "reach": 1.0},
)
def surface_pair(
    run: Run, depth: int, width: int, steps: int, points: int, reach: float
) -> dict[str, Tensor]:
    """The loss around two trained networks of the same start: one plain, one
    residual.

        losses (2, N, N): L(w + a d_1 + b d_2) with a along rows, plain before
        residual; d_1, d_2 filter-normalised

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        depth: number of layers, without norms; residual branches are scaled by 1 /
            sqrt(depth).
        width: of every layer.
        steps: of Adam at rate 0.001, batches of 64.
        points: N, along either direction.
        reach: a and b go from minus this to this.

    Returns:
        The arrays named above, `along` (N,), and `trained` (2,), the loss where a =
        b = 0.

    Source: Li et al. 2018, section 4, arXiv:1712.09913.
    """
    examples = data.digits().train.to(run.device)
    along = torch.linspace(-reach, reach, points).to(run.device)
    found = torch.zeros(2, points, points)
    trained = torch.zeros(2)
    for kind in run.chunks(2, found=found, trained=trained):
        start, order = run.generator("start"), run.generator("order")
        share = 1 / sqrt(depth)
        net = DeepNetwork(64, width, 10, depth, bool(kind), "none", share, start)
        loss = loss_of(train(net.to(run.device), examples, steps, order), examples)
        w = {name: p.detach() for name, p in net.named_parameters()}
        first, second = (
            filter_normalized(w, run.generator(f"direction {d}")) for d in "12"
        )
        with torch.no_grad():
            found[kind] = loss_surface(loss, w, first, second, along).cpu()
            trained[kind] = loss(w).cpu()
    return {"losses": found, "trained": trained, "along": along.cpu()}


def train(
    net: DeepNetwork, examples: Dataset, steps: int, order: Generator
) -> DeepNetwork:
    """The network after so many steps of Adam."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    batches = islice(forever(examples, 64, order), steps)
    Steps(net, F.cross_entropy, optimizer).follow(batches)
    return net


def loss_of(
    net: DeepNetwork, examples: Dataset
) -> Callable[[dict[str, Tensor]], Tensor]:
    """The loss on all examples as a function of the weights."""
    return lambda w: F.cross_entropy(
        functional_call(net, w, (examples.x,)), examples.y
    )
