"""The map of trainability: thousands of small networks that differ in two learning rates alone.

One hidden layer, full-batch gradient descent, a rate for the input layer on one axis and a rate for the
output layer on the other. The border between the trainings that converge and those that diverge is a fractal.

Sohl-Dickstein 2024, "The boundary of neural network trainability is fractal", arXiv:2402.06184.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl import kernels
from lbdl.core.progress import progress_bar
from lbdl.lab import Run, experiment

Window = Sequence[
    Sequence[float]
]  # ((low, high), (low, high)): log10 of the input rates, of the output rates

CEILING = 1e6  # a loss above this many times the first one, or none at all, counts as this
LAST = 20  # a training has converged when the mean of its last 20 losses is below the first
ELEMENTS = {
    "cpu": 2**18,
    "cuda": 2**24,
}  # hidden activations at a time: on a CPU they stay in its cache


PROGRAMS = (
    2**18
)  # networks at a time for the kernel: their losses of 500 steps take half a gigabyte


class Task(NamedTuple):
    """What all networks of a map share: the data, and the weights at the start."""

    x: Tensor  # (N, n)
    y: Tensor  # (N,)
    hidden: Tensor  # (n, n), input to hidden
    output: Tensor  # (n,), hidden to output


def random_task(
    width: int,
    seed: int,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Task:
    """Standard normal inputs, targets and weights; as many examples as weights, which can just be fitted.

        f(x) = (1/n) sum_j v_j tanh(sqrt(2/n) (x W)_j),    N = n^2 + n

    Args:
        width: n >= 1, of the input and of the hidden layer.
        seed: of the random numbers, drawn on the CPU in float64: the same for every device and dtype.
        device: where the tensors lie.
        dtype: floating dtype of the tensors.

    Returns:
        x (N, n), y (N,), the hidden weights W (n, n) and the output weights v (n,).

    Raises:
        ValueError: `width` is below 1.

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    if width < 1:
        raise ValueError(f"width must be >= 1, got {width}")
    generator = torch.Generator().manual_seed(seed)
    examples = width**2 + width
    shapes = ((examples, width), (examples,), (width, width), (width,))
    return Task(
        *(
            torch.randn(s, generator=generator, dtype=torch.float64).to(
                device, dtype
            )
            for s in shapes
        )
    )


# --- Training many networks at once -------------------------------------------------------------------------


def network_loss(hidden: Tensor, output: Tensor, task: Task) -> Tensor:
    """The loss of one network.

        L = (1/N) sum_i (f(x_i) - y_i)^2,    f(x) = (1/n) sum_j v_j tanh(sqrt(2/n) (x W)_j)

    Args:
        hidden: W (n, n).
        output: v (n,).
        task: the data.

    Returns:
        The loss, shape ().

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    n = len(output)
    active = torch.tanh(math.sqrt(2 / n) * task.x @ hidden)  # (N, n)
    return (active @ output / n - task.y).square().mean()


def train_networks(task: Task, rates: Tensor, steps: int) -> Tensor:
    """Many trainings at once: one step for one network, mapped over all. The plain way.

        W <- W - a dL/dW,    v <- v - b dL/dv

    Args:
        task: data and initial weights.
        rates: (M, 2), for every network the rate a of the input layer and b of the output layer.
        steps: number of steps T >= 1.

    Returns:
        The losses before each step, (T, M); infinite or NaN where training blew up.

    Raises:
        ValueError: `rates` is no (M, 2), or `steps` is below 1.

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    require_training(rates, steps)

    def step(
        hidden: Tensor, output: Tensor, rate: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients, loss = torch.func.grad_and_value(network_loss, argnums=(0, 1))(
            hidden, output, task
        )
        return (
            hidden - rate[0] * gradients[0],
            output - rate[1] * gradients[1],
            loss,
        )

    hidden, output = (
        task.hidden.expand(len(rates), -1, -1),
        task.output.expand(len(rates), -1),
    )
    losses = []
    for _ in range(steps):
        hidden, output, loss = torch.func.vmap(step)(hidden, output, rates)
        losses.append(loss)
    return torch.stack(losses)


Step = Callable[..., tuple[Tensor, Tensor, Tensor]]


def network_step(
    hidden: Tensor, output: Tensor, rates: Tensor, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of many networks, with the gradient written out: two matrix products serve all of them.

        A = tanh(x W),  r = 2 (A v / n - y) / (n N),  dL/dv = A^T r,  dL/dW = x^T (r (1 - A^2)) v

    The networks stand in the last dimension, so that every sum runs over contiguous memory.

    Args:
        hidden: W (n, n, M).
        output: v (n, M).
        rates: a and b, (2, M).
        x: the inputs times sqrt(2/n), (N, n).
        y: targets (N, 1).

    Returns:
        W and v after the step, and the losses (M,) before it.

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    active = fast_tanh_(
        (x @ hidden.flatten(1)).unflatten(1, output.shape)
    )  # (N, n, M)
    residual = (active * output).sum(1) / len(output) - y  # (N, M)
    slope = 2 / (len(output) * len(y)) * residual
    to_output = (active * slope.unsqueeze(1)).sum(0)  # (n, M)
    back = (1 - active.square()) * slope.unsqueeze(1)  # (N, n, M), v left out
    to_hidden = (x.T @ back.flatten(1)).unflatten(
        1, output.shape
    ) * output  # (n, n, M), with v
    return (
        hidden - rates[0] * to_hidden,
        output - rates[1] * to_output,
        residual.square().mean(0),
    )


def fast_train_networks(
    task: Task, rates: Tensor, steps: int, step: Step = network_step
) -> Tensor:
    """`train_networks` by `network_step`; on CUDA in float32 by a kernel, where Triton is installed.

    Args:
        task: data and initial weights.
        rates: (M, 2), for every network the rate a of the input layer and b of the output layer.
        steps: number of steps T >= 1.
        step: `network_step`, or what `torch.compile` made of it.

    Returns:
        The losses before each step, (T, M); infinite or NaN where training blew up.

    Raises:
        ValueError: `rates` is no (M, 2), or `steps` is below 1.

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    require_training(rates, steps)
    if step is network_step and kernel_serves(rates):
        from lbdl.experiments.foundations.gradient_descent_triton import (
            kernel_train_networks,
        )

        return kernel_train_networks(*task, rates, steps)
    x, y = math.sqrt(2 / len(task.output)) * task.x, task.y.unsqueeze(1)
    hidden = task.hidden.unsqueeze(-1).repeat(1, 1, len(rates))  # (n, n, M)
    output = task.output.unsqueeze(-1).repeat(1, len(rates))  # (n, M)
    own_rates, losses = rates.T.contiguous(), []
    for _ in range(steps):
        hidden, output, loss = step(hidden, output, own_rates, x, y)
        losses.append(loss)
    return torch.stack(losses)


def kernel_serves(x: Tensor) -> bool:
    """Whether the kernel does the trainings: on CUDA, in float32."""
    return x.dtype == torch.float32 and kernels.serve(x)


def fast_tanh_(x: Tensor) -> Tensor:
    """tanh(x) = 2 sigmoid(2x) - 1, in place: on a CPU torch's sigmoid is three times as fast as its tanh."""
    return (
        x.mul_(2).sigmoid_().mul_(2).sub_(1)
        if x.device.type == "cpu"
        else x.tanh_()
    )


def require_training(rates: Tensor, steps: int) -> None:
    if rates.dim() != 2 or rates.shape[1] != 2:
        raise ValueError(f"rates must be (M, 2), got shape {tuple(rates.shape)}")
    if steps < 1:
        raise ValueError(f"steps must be >= 1, got {steps}")


# --- From losses to a map -----------------------------------------------------------------------------------


def convergence_measure(losses: Tensor) -> Tensor:
    """How fast a training converged, or how fast it blew up, in one number.

        -sum_t l_t / l_0     where the mean of the last 20 losses is below l_0: it converged
         sum_t l_0 / l_t     elsewhere: it diverged

    Negative is convergence, and nearer to 0 is faster on both sides. Losses that are not finite, or above
    10^6 l_0, count as 10^6 l_0.

    Args:
        losses: (T, ...), floating dtype, the first one finite and > 0.

    Returns:
        The measures (...).

    Raises:
        ValueError: there is no loss.

    Source: Sohl-Dickstein 2024 and its code, arXiv:2402.06184.
    """
    if losses.dim() == 0 or len(losses) == 0:
        raise ValueError(
            f"losses must be (T, ...) with T >= 1, got shape {tuple(losses.shape)}"
        )
    relative = (
        (losses / losses[0])
        .nan_to_num(nan=CEILING, posinf=CEILING)
        .clamp(max=CEILING)
    )
    converged = relative[-LAST:].mean(0) < 1
    return torch.where(converged, -relative.sum(0), relative.reciprocal().sum(0))


def grid_of_rates(window: Window, resolution: int) -> Tensor:
    """The rates of all networks of a map, on a grid that is even in the logarithm.

        rates[i, j] = (10^u_j, 10^v_i),    u, v evenly spaced over the window

    Args:
        window: ((low, high), (low, high)), log10 of the input and of the output rates.
        resolution: R >= 2, points along each axis.

    Returns:
        The rates (R, R, 2), float64.

    Raises:
        ValueError: `resolution` is below 2, or the window is no two ranges.

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    if resolution < 2 or [len(side) for side in window] != [2, 2]:
        raise ValueError(
            f"need resolution >= 2 and two ranges, got {resolution} and {window}"
        )
    across, up = (
        torch.linspace(low, high, resolution, dtype=torch.float64)
        for low, high in window
    )
    return 10 ** torch.stack(torch.meshgrid(across, up, indexing="xy"), dim=-1)


def trainability_map(
    resolution: int,
    window: Window = ((-1.0, 5.0), (-1.0, 5.0)),
    *,
    width: int = 8,
    steps: int = 200,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: bool | None = False,
) -> Tensor:
    """Which pairs of learning rates train a small network, and how fast.

        map[i, j] = convergence_measure of the training with input rate 10^u_j and output rate 10^v_i

    Args:
        resolution: R >= 2, points along each axis.
        window: ((low, high), (low, high)), log10 of the input and of the output rates.
        width: n, of the network; it has n^2 + n weights and sees as many examples.
        steps: of full-batch gradient descent.
        seed: of the data and of the initial weights.
        device: where to compute.
        dtype: floating dtype of the computation; float64 for windows narrower than about 10^-3.
        progress: show a bar; `None` where somebody can see it.

    Returns:
        The map (R, R) on the CPU, float32: negative where training converged.

    Raises:
        ValueError: an argument is out of range.

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    task = random_task(width, seed, device=device, dtype=dtype)
    rates = grid_of_rates(window, resolution).flatten(0, 1).to(device, dtype)
    pieces = rates.split(networks_at_once(task))
    measured = [
        measure(task, piece, steps)
        for piece in progress_bar(pieces, progress, label="trainings")
    ]
    return torch.cat(measured).view(resolution, resolution)


def measure(
    task: Task, rates: Tensor, steps: int, step: Step = network_step
) -> Tensor:
    return (
        convergence_measure(fast_train_networks(task, rates, steps, step))
        .float()
        .cpu()
    )


def networks_at_once(task: Task) -> int:
    """How many trainings share a launch: what fits the cache, or many more where each is a program."""
    if kernel_serves(task.x):
        return PROGRAMS
    elements = ELEMENTS.get(task.x.device.type, ELEMENTS["cpu"])
    return max(1, elements // task.x.numel())


def shades(measures: Tensor, levels: int = 256) -> Tensor:
    """A map as a picture: every shade used equally often, converged trainings in the lower half.

        shade = half the levels times the rank among the converged (or the diverged) trainings

    Fast convergence is darkest, 0; fast divergence is brightest, levels - 1; the border lies in the middle.

    Args:
        measures: (...), from `convergence_measure`.
        levels: number of shades, even, 2 to 256.

    Returns:
        The shades (...), uint8.

    Raises:
        ValueError: `levels` is odd or out of range.

    Source: the histogram equalisation of Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    if levels % 2 or not 2 <= levels <= 256:
        raise ValueError(f"levels must be even, 2 to 256, got {levels}")
    converged = measures < 0
    picture = torch.empty_like(measures, dtype=torch.uint8)
    picture[converged] = ranks(-measures[converged], levels // 2)
    picture[~converged] = levels - 1 - ranks(measures[~converged], levels // 2)
    return picture


def ranks(x: Tensor, levels: int) -> Tensor:
    """Which of `levels` equally full bins each value falls into, uint8; equal values fall into the same."""
    return (torch.searchsorted(x.sort().values, x) * levels // max(1, len(x))).to(
        torch.uint8
    )


# --- How rough the border is --------------------------------------------------------------------------------


def border(converged: Tensor) -> Tensor:
    """Where a map of two classes changes its class.

        border[i, j] = the four points (i, j), (i+1, j), (i, j+1), (i+1, j+1) are not all of one class

    Args:
        converged: (R, S), bool.

    Returns:
        The border (R - 1, S - 1), bool.

    Raises:
        ValueError: the map is not two-dimensional, or a side is below 2.

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    if converged.dim() != 2 or min(converged.shape) < 2:
        raise ValueError(
            f"converged must be (R, S) with sides >= 2, got shape {tuple(converged.shape)}"
        )
    four = torch.stack(
        [
            converged[:-1, :-1],
            converged[1:, :-1],
            converged[:-1, 1:],
            converged[1:, 1:],
        ]
    )
    return four.any(0) & ~four.all(0)


def box_counts(points: Tensor) -> tuple[Tensor, Tensor]:
    """How many boxes of each size are needed to cover a set of pixels.

        N(s) = number of s x s boxes of a grid that hold a pixel of the set,    s = 1, 2, 4, ...

    Args:
        points: (R, S), bool.

    Returns:
        The sizes s and the counts N(s), int64, both (K,); the largest box is at most a quarter of the side.

    Raises:
        ValueError: `points` is not two-dimensional.

    Source: Falconer 2003, Fractal Geometry, section 3.1.
    """
    if points.dim() != 2:
        raise ValueError(f"points must be (R, S), got shape {tuple(points.shape)}")
    sizes = [
        2**k for k in range(max(1, int(math.log2(max(1, min(points.shape)))) - 1))
    ]
    pixels = points.float()[None, None]
    counts = [
        int(F.max_pool2d(pixels, size, ceil_mode=True).sum()) for size in sizes
    ]
    return torch.tensor(sizes), torch.tensor(counts)


def box_dimension(points: Tensor) -> float:
    """The box-counting dimension of a set of pixels: 1 for a smooth curve, 2 for an area.

        N(s) ~ s^-D,    D = the slope of log N against -log s, by least squares

    Args:
        points: (R, S), bool.

    Returns:
        The dimension; NaN where the set is empty.

    Raises:
        ValueError: `points` is not two-dimensional.

    Source: Falconer 2003, Fractal Geometry, section 3.1.
    """
    sizes, counts = box_counts(points)
    if len(sizes) < 2 or counts[0] == 0:
        return math.nan
    x, y = -sizes.double().log(), counts.double().log()
    return float(
        ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    )


# --- The experiment -----------------------------------------------------------------------------------------

LEVELS = 32  # shades of a recorded picture: enough for the eye, and small to store
WINDOWS = [  # the whole, and three times closer at the border
    [[-1.0, 3.5], [-0.5, 3.0]],
    [[0.9, 1.7], [1.4, 1.8]],
    [[1.45, 1.65], [1.58, 1.68]],
    [[1.51, 1.55], [1.62, 1.64]],
]


@experiment(
    "trainability",
    chapter="foundations/gradient_descent",
    shows="the border between rates that train a network and rates that do not is a fractal",
    small={
        "resolution": 64,
        "width": 8,
        "steps": 200,
        "windows": WINDOWS[:1],
        "stored": 64,
    },
    cpu={
        "resolution": 720,
        "width": 8,
        "steps": 300,
        "windows": WINDOWS,
        "stored": 360,
    },
    full={
        "resolution": 832,
        "width": 16,
        "steps": 500,
        "windows": WINDOWS,
        "stored": 360,
    },
    able=("compile",),
)
def trainability(
    run: Run,
    resolution: int,
    width: int,
    steps: int,
    windows: list[Window],
    stored: int,
    dtype: str = "float32",
) -> dict[str, Tensor]:
    """Maps of trainability for a chain of windows, with the box-counting dimension of each border.

        pictures (W, S, S) uint8, shades of each map, thinned to S <= `stored` points a side;
        sizes (K,), counts (W, K), dimensions (W,), converged (W,): of the full-resolution maps

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        resolution: R, points along each axis of every map.
        width: of the networks.
        steps: of gradient descent.
        windows: W windows, each log10 of the input and of the output rates.
        stored: the most points a side that are kept of a picture.
        dtype: name of the floating dtype of the computation.

    Returns:
        The arrays named above, and `windows` (W, 2, 2).

    Source: Sohl-Dickstein 2024, arXiv:2402.06184.
    """
    task = random_task(
        width, run.seed, device=run.device, dtype=getattr(torch, dtype)
    )
    rates = torch.stack(
        [grid_of_rates(window, resolution) for window in windows]
    ).flatten(0, 2)
    pieces = rates.split(16 * networks_at_once(task))
    maps, step = torch.zeros(len(rates)), run.compiled(network_step)
    for i in run.chunks(len(pieces), maps=maps):
        begin = i * len(pieces[0])
        for piece in (
            pieces[i].to(run.device, task.x.dtype).split(networks_at_once(task))
        ):
            maps[begin : begin + len(piece)] = measure(task, piece, steps, step)
            begin += len(piece)
    return summary(maps.view(-1, resolution, resolution), stored) | {
        "windows": torch.tensor(windows)
    }


def summary(maps: Tensor, stored: int) -> dict[str, Tensor]:
    """What is kept of maps (W, R, R): thinned pictures, box counts, dimensions, the share that converged."""
    stride = -(-maps.shape[-1] // stored)
    borders = [border(m < 0) for m in maps]
    sizes, counts = zip(*(box_counts(b) for b in borders), strict=True)
    return {
        "pictures": torch.stack(
            [shades(m, LEVELS)[::stride, ::stride] for m in maps]
        ),
        "sizes": sizes[0],
        "counts": torch.stack(counts),
        "dimensions": torch.tensor([box_dimension(b) for b in borders]),
        "converged": (maps < 0).float().mean((1, 2)),
    }
