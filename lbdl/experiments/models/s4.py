"""The heavy experiment on S4: what a layer costs against the length, beside attention
and the selective scan."""

import math
import time
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl.lab import Run, experiment, synchronize
from lbdl.models.attention import fast_attention
from lbdl.models.s4 import fast_causal_convolution, fast_s4d_kernel, s4d_poles
from lbdl.models.selective import fast_selective_scan

__all__ = ["COSTS", "multiplications", "sequence_throughput"]


def attend(width: int, states: int, u: Tensor) -> Tensor:
    """Causal attention with one head, queries, keys and values all u."""
    return fast_attention(u, u, u, causal=True)


def scan(width: int, states: int, u: Tensor) -> Tensor:
    """A selective scan, whose steps and rows are parts of u."""
    A = -torch.arange(1.0, states + 1, device=u.device).repeat(width, 1)
    B, C = u[..., :states], u[..., -states:]
    return fast_selective_scan(u, F.softplus(u - 3), A, B, C)


def convolve(width: int, states: int, u: Tensor) -> Tensor:
    """A diagonal state space for each channel, its kernel made anew."""
    poles = s4d_poles(2 * states, dtype=torch.complex64).to(u.device)
    step = torch.logspace(-3, -1, width, device=u.device)
    poles = poles.expand(width, -1)
    K = fast_s4d_kernel(poles, torch.ones_like(poles), step, u.shape[1])
    return fast_causal_convolution(u.mT, K).mT


LAYERS = {"attention": attend, "scan": scan, "convolution": convolve}
COSTS = tuple(LAYERS)


def multiplications(kind: str, L: int, width: int, states: int) -> float:
    """Real multiplications of one layer forward, on a sequence of L vectors.

        attention     L (L + 1) width: both products, over the pairs that are seen
        scan          L width (3 states + 1), exponentials not counted
        convolution   three transforms of length 2L by 2 n log2 n each, 4 L products
                      in between, 4 c^2 states for the kernel, c = sqrt(L); all for
                      each channel

    Args:
        kind: one of `COSTS`.
        L: length.
        width: channels.
        states: numbers of state of a channel.

    Returns:
        Their number.
    """
    if kind == "attention":
        return float(L * (L + 1) * width)
    if kind == "scan":
        return float(L * width * (3 * states + 1))
    transforms = 3 * 2 * (2 * L) * math.log2(2 * L)
    return width * (transforms + 4 * L + 2 * states * L)


@experiment(
    "sequence_throughput",
    chapter="models/s4",
    shows="time and multiplications of attention, scan and convolution against the length",
    small={"lengths": [32, 64], "width": 8, "states": 4, "repeats": 0},
    cpu={"lengths": [256, 1024, 4096, 16384], "width": 64, "states": 16, "repeats": 3},
    full={"lengths": [1024, 4096, 16384, 65536, 262144], "width": 64, "states": 16, "repeats": 3},
)  # fmt: skip
def sequence_throughput(
    run: Run, lengths: list[int], width: int, states: int, repeats: int
) -> dict[str, Tensor]:
    """Seconds of a training step (forward and backward) of three layers, one sequence
    at a time.

        multiplications (3, N): forward, by formula; seconds (3, N): medians, of work
        on a CPU, by the clock elsewhere

    in the order of `COSTS`.

    Args:
        run: gives the device, the randomness and the chunks that survive an
            interruption.
        lengths: N of them.
        width: channels.
        states: numbers of state of each channel of the scan; pairs of the convolution.
        repeats: how often each time is taken, taking turns; 0 takes none, and gives
            the same result every time.

    Returns:
        The arrays named above (`seconds` only where times were taken), and `lengths`.
    """
    seconds = torch.zeros(len(COSTS), len(lengths), dtype=torch.float64)
    for i in run.chunks(len(lengths), seconds=seconds):
        draw = run.generator(f"input {lengths[i]}")
        u = torch.randn(1, lengths[i], width, generator=draw).to(run.device)
        seconds[:, i] = torch.tensor(step_times(u, states, repeats))
    counts = [
        [multiplications(k, L, width, states) for L in lengths] for k in COSTS
    ]
    found = {"seconds": seconds} if repeats else {}
    return {
        "multiplications": torch.tensor(counts, dtype=torch.float64),
        "lengths": torch.tensor(lengths),
        **found,
    }


def step_times(u: Tensor, states: int, repeats: int) -> list[float]:
    """The median seconds of each layer, after a first run that does not count."""
    taken: list[list[float]] = [[] for _ in COSTS]
    for turn in range(repeats + 1):
        for layer, times in zip(LAYERS.values(), taken, strict=True):
            u = u.detach().requires_grad_()
            began = clock(u.device)
            layer(u.shape[-1], states, u).sum().backward()
            times += [clock(u.device) - began] if turn or not repeats else []
    return [median(times) for times in taken]


def clock(device: torch.device) -> float:
    """Seconds: of work on a CPU, so that other load does not count; else by the
    clock, when the device has done all."""
    if device.type == "cpu":
        return time.process_time()
    synchronize(device)
    return time.perf_counter()
