"""How fast a machine can be: two numbers, the rate at which it computes and the
rate at which it moves bytes, and what follows from them.

An operation cannot take less time than its arithmetic does, nor less than its bytes
do. That floor is the roofline model; with the time of a launch it predicts seconds.

Williams, Waterman & Patterson 2009, Communications of the ACM 52(4).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lbdl import require
from lbdl.foundations.computation.counts import Cost, matmul_cost

__all__ = [
    "Machine",
    "measure_machine",
    "predicted_seconds",
    "ridge_batch",
    "roofline",
    "seconds_of",
]

Job = Callable[[], Any]


@dataclass(frozen=True)
class Machine:
    """What a machine can do.

    Args:
        peak: operations a second, > 0.
        bandwidth: bytes a second between memory and processor, > 0.
        launch: seconds until an operation that was asked for begins, >= 0.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Source: Williams, Waterman & Patterson 2009.
    """

    peak: float
    bandwidth: float
    launch: float = 0.0

    def __post_init__(self) -> None:
        require.number(peak=self.peak, bandwidth=self.bandwidth, above=0)
        require.number(launch=self.launch, least=0)

    @property
    def ridge(self) -> float:
        """The intensity at which bytes and arithmetic take equally long."""
        return self.peak / self.bandwidth


def roofline(intensity: Tensor, machine: Machine) -> Tensor:
    """The most operations a second that an intensity allows.

        R(I) = min(peak, bandwidth I)

    Args:
        intensity: operations a byte (...), floating dtype, >= 0.
        machine: peak and bandwidth.

    Returns:
        (...), dtype of `intensity`; float32 for half precision, which cannot hold
        such rates.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: an intensity is negative or NaN.

    Source: Williams, Waterman & Patterson 2009.
    """
    require.floating(intensity=intensity)
    require.instance(Machine, machine=machine)
    require.within(intensity=intensity, least=0)
    rate = machine.bandwidth * require.widen(intensity)
    return rate.clamp(max=machine.peak)


def predicted_seconds(cost: Cost, machine: Machine, launches: int = 1) -> float:
    """The time that a computation cannot fall below.

        launches t + max(flops / peak, bytes / bandwidth)

    Args:
        cost: operations and bytes.
        machine: their rates, and t.
        launches: how many operations are asked for, a number >= 0.

    Returns:
        The number of seconds.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `launches` is negative.
    """
    require.instance(Cost, cost=cost)
    require.instance(Machine, machine=machine)
    require.whole(launches=launches, least=0)
    work = max(cost.flops / machine.peak, cost.bytes / machine.bandwidth)
    return launches * machine.launch + work


def ridge_batch(machine: Machine, k: int, n: int, itemsize: int = 4) -> float:
    """The batch B at which a product (B, k) @ (k, n) reaches the ridge.

        B = r s k n / (2 k n - r s (k + n))  ~  r s / 2   for large k, n

    with the ridge r. Below it the time is that of reading the weights: a larger
    batch costs nothing.

    Args:
        machine: whose ridge.
        k: columns of the batch, a number >= 1.
        n: columns of the weights, a number >= 1.
        itemsize: s, bytes of an element, a number >= 1.

    Returns:
        The number, not rounded; infinite where no batch reaches the ridge.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is below 1.
    """
    require.instance(Machine, machine=machine)
    require.whole(k=k, n=n, itemsize=itemsize, least=1)
    rs = machine.ridge * itemsize
    left = 2 * k * n - rs * (k + n)
    return rs * k * n / left if left > 0 else math.inf


def seconds_of(
    job: Job, seconds: float = 0.1, device: torch.device | None = None
) -> float:
    """How long a job takes: the least of several turns, since whatever else a
    machine does can only add.

    On CUDA by events, so that the host does not count; elsewhere by the clock, or,
    where torch uses one thread, by the work of the process, so that other load does
    not count. A first turn, which does not count, warms up.

    Args:
        job: a function without arguments.
        seconds: about how long to go on, > 0; there are at least three turns.
        device: where the job runs; by default the CPU.

    Returns:
        The number of seconds.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `seconds` is not > 0.
    """
    require.function(job=job)
    require.number(seconds=seconds, above=0)
    device = torch.device("cpu") if device is None else device
    require.instance(torch.device, device=device)
    job()
    turn = turn_by_events if device.type == "cuda" else turn_by_clock
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        taken.append(turn(job))
    return min(taken)


def turn_by_clock(job: Job) -> float:
    """Seconds of one turn: of work, where one thread does it all."""
    alone = torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    began = clock()
    job()
    return clock() - began


def turn_by_events(job: Job) -> float:
    """Seconds of one turn on a GPU, between two marks in its queue."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    job()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / 1e3


def measure_machine(
    seconds: float = 1.0,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    *,
    size: int = 1024,
    elements: int = 2**24,
) -> Machine:
    """The rates of the machine at hand, each from the job that has little else to
    do.

        peak from a product of matrices, bandwidth from a copy, the launch from an
        addition of two numbers

    Args:
        seconds: about how long to measure, > 0.
        device: by default the CPU.
        dtype: of the matrices, floating.
        size: of the matrices, a number >= 1; on a GPU take 8192.
        elements: of the copy, float32, a number >= 1; more than a cache holds.

    Returns:
        `Machine`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: McCalpin 1995, the STREAM benchmark, for the copy.
    """
    require.number(seconds=seconds, above=0)
    device = torch.device("cpu") if device is None else device
    require.instance(torch.device, device=device)
    require.instance(torch.dtype, dtype=dtype)
    require.dtype(dtype=dtype)
    require.whole(size=size, elements=elements, least=1)
    matrix = torch.ones((size, size), device=device).to(dtype)
    table = torch.ones(elements, device=device)
    room, one = torch.empty_like(table), torch.ones((), device=device)

    def timed(job: Job) -> float:
        return seconds_of(job, seconds / 3, device)

    flops = matmul_cost(size, size, size).flops
    return Machine(
        peak=flops / timed(lambda: matrix @ matrix),
        bandwidth=2 * 4 * elements / timed(lambda: room.copy_(table)),
        launch=timed(lambda: one + one),
    )
