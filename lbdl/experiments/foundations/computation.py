"""The heavy experiment on computation: ten operations of the book on one machine,
their time predicted from two measured rates, and taken.

Williams, Waterman & Patterson 2009, Communications of the ACM 52(4).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl.foundations.computation import (
    Cost,
    Machine,
    convolution_cost,
    elementwise_cost,
    embedding_cost,
    matmul_cost,
    measure_machine,
    normalization_cost,
    predicted_seconds,
    seconds_of,
    softmax_cost,
    tally,
)
from lbdl.lab import Run, experiment
from lbdl.models.attention import attention, block_traffic
from lbdl.models.convolution import output_size

__all__ = [
    "OPERATIONS", "Operation", "attention_cost", "operation", "softmax_in_steps",
    "time_of_ten_operations",
]  # fmt: skip

ROW = 1024  # elements of a row, where rows are normalised
GELU_FLOPS = 5  # 0.5 x (1 + erf(x / sqrt 2)), the error function as one


class Operation(NamedTuple):
    """Something to be done, and what it takes at least.

    Args:
        job: a function without arguments that does it.
        cost: operations and bytes, each operand read once.
    """

    job: Callable[[], Any]
    cost: Cost


def attention_cost(n: int, head_width: int, heads: int, rows: int | None) -> Cost:
    """Scores and weighted means of attention in float32: 4 n^2 d operations a head,
    and the bytes of `block_traffic`."""
    products = 2 * matmul_cost(n, head_width, n).flops
    return Cost(heads * products, heads * block_traffic(n, head_width, rows, 4))


def softmax_in_steps(x: Tensor) -> Tensor:
    """Softmax of each row (..., n) as five operations, each of which reads and
    writes."""
    difference = x - x.amax(-1, keepdim=True)
    numerator = difference.exp()
    return numerator / numerator.sum(-1, keepdim=True)


def maps(x: Tensor, draw: Callable[..., Tensor]) -> dict[str, Operation]:
    """What does little with each element of a table x (rows, n)."""
    y, room, (rows, n) = draw(*x.shape), torch.empty_like(x), x.shape
    weight, bias, count = draw(n), draw(n), x.numel()
    places = torch.arange(rows, device=x.device).flip(0)
    return {
        "copy": Operation(lambda: room.copy_(x), elementwise_cost(count, flops=0)),
        "addition": Operation(
            lambda: torch.add(x, y, out=room), elementwise_cost(count, inputs=2)
        ),
        "GELU": Operation(
            lambda: torch.ops.aten.gelu.out(x, out=room),
            elementwise_cost(count, flops=GELU_FLOPS),
        ),
        "softmax": Operation(
            lambda: torch.softmax(x, -1, out=room), softmax_cost(rows, n)
        ),
        "layer norm": Operation(
            lambda: F.layer_norm(x, (n,), weight, bias),
            normalization_cost(rows, n),
        ),
        "embedding": Operation(
            lambda: torch.index_select(x, 0, places, out=room),
            embedding_cost(rows, n),
        ),
        "matrix times vector": Operation(
            lambda: x @ weight, matmul_cost(rows, n, 1)
        ),
    }


def products(width: int, draw: Callable[..., Tensor]) -> dict[str, Operation]:
    """What does much with each element: products of matrices of a width, and what
    is made of them."""
    A, B = draw(width, width), draw(width, width)
    size, channels = max(8, width // 32), max(8, width // 16)
    images = draw(8, channels, size, size)
    kernels = draw(channels, channels, 3, 3)
    out = output_size(size, 3, padding=1)
    q = draw(8, width, 64)
    return {
        "attention": Operation(
            lambda: attention(q, q, q), attention_cost(width, 64, 8, None)
        ),
        "convolution": Operation(
            lambda: F.conv2d(images, kernels, padding=1),
            convolution_cost(8, (size, out), (channels, channels), 3),
        ),
        "matrix product": Operation(
            lambda: A @ B, matmul_cost(width, width, width)
        ),
    }


OPERATIONS = [
    "copy", "addition", "GELU", "softmax", "layer norm", "embedding",
    "matrix times vector", "attention", "convolution", "matrix product",
]  # fmt: skip
MAPS = OPERATIONS[:7]


def operation(
    name: str, elements: int, width: int, draw: Callable[..., Tensor]
) -> Operation:
    """One of `OPERATIONS`, its operands drawn."""
    if name in MAPS:
        return maps(draw(max(1, elements // ROW), min(ROW, elements)), draw)[name]
    return products(width, draw)[name]


class Clock:
    """Takes times on the machine of a run."""

    def __init__(self, run: Run, seconds: float) -> None:
        self.run, self.seconds = run, seconds
        self.draws = run.generator("operands")

    def draw(self, *shape: int) -> Tensor:
        """Normal numbers, on the device."""
        return torch.randn(shape, generator=self.draws).to(self.run.device)

    def __call__(self, job: Callable[[], Any]) -> float:
        """Seconds that a job takes; 0 where no times are taken."""
        if not self.seconds:
            return 0.0
        return seconds_of(job, self.seconds, self.run.device)


SIZES = [4**i for i in range(15)]


@experiment(
    "time_of_ten_operations",
    chapter="foundations/computation",
    shows="ten operations of the book: the time predicted from two rates of the machine, and the time taken",
    small={
        "elements": 2**14,
        "width": 32,
        "weights": 64,
        "batches": [1, 4, 16],
        "seconds": 0.0,
    },
    cpu={
        "elements": 2**25,
        "width": 1024,
        "weights": 4096,
        "batches": [1, 2, 4, 8, 16, 32, 64, 128, 256],
        "seconds": 1.0,
    },
    full={
        "elements": 2**26,
        "width": 4096,
        "weights": 8192,
        "batches": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048],
        "seconds": 0.05,
    },
)
def time_of_ten_operations(
    run: Run,
    elements: int,
    width: int,
    weights: int,
    batches: list[int],
    seconds: float,
) -> dict[str, Tensor]:
    """Seconds of all `OPERATIONS`, of additions of many sizes, of products with
    batches of many sizes, of softmax in five steps and in one.

        costs (10, 2): operations and bytes, by formula; launches (10,), counted
        seconds, predicted (10,)
        batch_costs (N, 2), batch_seconds (N,): of (B, w) @ (w, w)
        size_seconds (M,): of additions of `sizes` (M,) elements
        steps (2,): seconds of softmax in five steps, and in one
        machine (3,): operations and bytes a second, seconds of a launch
        lower (1,): operations a second of a product in bfloat16

    Args:
        run: gives the device, the randomness and the chunks that survive an
            interruption.
        elements: of the table that maps read.
        width: of the matrices.
        weights: w, of the matrix that batches are multiplied by.
        batches: N numbers.
        seconds: spent on each time; the least of the turns counts; 0 takes none, and
            gives the same result every time.

    Returns:
        The arrays named above (without those of times where none were taken), and
        `threads`, how many the processor used.

    Source: Williams, Waterman & Patterson 2009.
    """
    clock, machine = Clock(run, seconds), torch.zeros(3, dtype=torch.float64)
    sizes = [size for size in SIZES if size <= elements]
    parts = [*OPERATIONS, *batches, *sizes, "steps", "machine"]
    taken = torch.zeros(len(parts) + 1, dtype=torch.float64)
    counts = torch.zeros(len(OPERATIONS), 3, dtype=torch.float64)
    for i in run.chunks(len(parts), taken=taken, counts=counts, machine=machine):
        if i < len(OPERATIONS):
            job, cost = operation(OPERATIONS[i], elements, width, clock.draw)
            launches = tally(job).launches
            counts[i] = torch.tensor([cost.flops, cost.bytes, launches])
            taken[i] = clock(job)
        elif i < len(OPERATIONS) + len(batches):
            taken[i] = clock(of_batch(batches[i - len(OPERATIONS)], weights, clock))
        elif parts[i] == "steps":
            taken[i], taken[-1] = times_of_softmax(elements, clock)
        elif parts[i] == "machine" and seconds:
            found, taken[i] = rates(clock, elements, width)
            machine[:] = torch.tensor(found)
        elif parts[i] != "machine":
            taken[i] = clock(
                of_size(sizes[i - len(OPERATIONS) - len(batches)], clock)
            )
    return results(taken, counts, machine, weights, batches, sizes)


def of_batch(batch: int, weights: int, clock: Clock) -> Callable[[], Tensor]:
    """A product of a batch with a matrix of weights."""
    x, W = clock.draw(batch, weights), clock.draw(weights, weights)
    return lambda: x @ W


def of_size(size: int, clock: Clock) -> Callable[[], Tensor]:
    """An addition of so many elements, into memory that is there."""
    x, room = clock.draw(size), clock.draw(size)
    return lambda: torch.add(x, 1.0, out=room)


def times_of_softmax(elements: int, clock: Clock) -> tuple[float, float]:
    """Seconds in five steps and in one."""
    x = clock.draw(max(1, elements // ROW), min(ROW, elements))
    return clock(lambda: softmax_in_steps(x)), clock(lambda: x.softmax(-1))


def rates(
    clock: Clock, elements: int, width: int
) -> tuple[tuple[float, float, float], float]:
    """Of the machine: operations and bytes a second, seconds of a launch; and
    operations a second in bfloat16."""
    device, seconds = clock.run.device, 3 * clock.seconds

    def measured(dtype: torch.dtype) -> Machine:
        return measure_machine(
            seconds, device, dtype, size=width, elements=elements
        )

    found, lower = measured(torch.float32), measured(torch.bfloat16)
    return (found.peak, found.bandwidth, found.launch), lower.peak


def results(
    taken: Tensor,
    counts: Tensor,
    machine: Tensor,
    weights: int,
    batches: list[int],
    sizes: list[int],
) -> dict[str, Tensor]:
    """The arrays by their names; with the rates of a machine, times too."""
    products = [matmul_cost(B, weights, weights) for B in batches]
    found = {
        "costs": counts[:, :2],
        "launches": counts[:, 2],
        "batches": torch.tensor(batches),
        "batch_costs": torch.tensor(
            [[cost.flops, cost.bytes] for cost in products], dtype=torch.float64
        ),
        "sizes": torch.tensor(sizes),
        "threads": torch.tensor(torch.get_num_threads()),
    }
    if not bool(machine.any()):
        return found
    ten, many = len(OPERATIONS), len(OPERATIONS) + len(batches)
    return {
        **found,
        "seconds": taken[:ten],
        "predicted": predictions(counts, Machine(*machine.tolist())),
        "batch_seconds": taken[ten:many],
        "size_seconds": taken[many : many + len(sizes)],
        "steps": taken[[-3, -1]],
        "machine": machine,
        "lower": taken[-2:-1],
    }


def predictions(counts: Tensor, machine: Machine) -> Tensor:
    """Seconds predicted from operations, bytes and launches."""
    seconds = [
        predicted_seconds(Cost(int(flops), int(moved)), machine, int(launches))
        for flops, moved, launches in counts.tolist()
    ]
    return torch.tensor(seconds, dtype=torch.float64)
