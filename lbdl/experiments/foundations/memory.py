"""Peak memory and time of a forward and a backward pass against depth, for five ways to keep the states.

One network, a chain of reversible blocks, so that every way computes the same gradients: all states kept,
stretches of sqrt(D) blocks, tapered stretches, the best schedule for log2(D) states, and nothing kept at all.

Chen et al. 2016, arXiv:1604.06174; Griewank & Walther 2000, Algorithm 799; Gomez et al. 2017, arXiv:1707.04585.
"""

import math
import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from lbdl.foundations.memory import (
    ReversibleBlock,
    best_tapered_lengths,
    checkpoint_chain,
    checkpoint_revolve,
    peak_bytes,
    reversible_chain,
    reversible_chain_stored,
)
from lbdl.lab import Run, experiment, synchronize

Way = Callable[[list[ReversibleBlock], Tensor], Tensor]


class Half(nn.Module):
    """tanh(x W + b), where W starts as an orthogonal matrix times a half."""

    def __init__(self, width: int, generator: Generator) -> None:
        super().__init__()
        normal = torch.randn(width, width, generator=generator)
        self.weight = nn.Parameter(torch.linalg.qr(normal).Q / 2)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight + self.bias)


def blocks_of(
    depth: int, width: int, generator: Generator, device: torch.device
) -> list[ReversibleBlock]:
    """`depth` blocks on `device`, with room for their gradients made beforehand, which is not measured.

    Args:
        depth: number of blocks.
        width: of each half.
        generator: draws the weights, on the CPU.
        device: where the blocks go.

    Returns:
        The blocks; their weights (width, width) carry gradients of zero.
    """
    made = [
        ReversibleBlock(Half(width, generator), Half(width, generator)).to(device)
        for _ in range(depth)
    ]
    for p in (p for block in made for p in block.parameters()):
        p.grad = torch.zeros_like(p)
    return made


def stacked(block: ReversibleBlock) -> Callable[[Tensor], Tensor]:
    """The block on both halves in one tensor (2, B, n)."""
    return lambda x: torch.stack(block(*x.unbind()))


def stored(blocks: list[ReversibleBlock], x: Tensor) -> Tensor:
    return torch.stack(reversible_chain_stored(blocks, *x.unbind()))


def equal(blocks: list[ReversibleBlock], x: Tensor) -> Tensor:
    return checkpoint_chain([stacked(block) for block in blocks], x)


def tapered(blocks: list[ReversibleBlock], x: Tensor) -> Tensor:
    return checkpoint_chain(
        [stacked(block) for block in blocks], x, best_tapered_lengths(len(blocks))
    )


def revolve(blocks: list[ReversibleBlock], x: Tensor) -> Tensor:
    return checkpoint_revolve(
        [stacked(block) for block in blocks], x, 1 + int(math.log2(len(blocks)))
    )


def reversible(blocks: list[ReversibleBlock], x: Tensor) -> Tensor:
    return torch.stack(reversible_chain(blocks, *x.unbind()))


WAYS: dict[str, Way] = {
    "all kept": stored,
    "√D stretches": equal,
    "tapered stretches": tapered,
    "1 + log₂D states": revolve,
    "reversible": reversible,
}


@experiment(
    "memory_against_depth",
    chapter="foundations/memory",
    shows="peak memory and time of a training step against depth, with and without states kept",
    small={"depths": [4, 8, 16, 32], "width": 16, "batch": 1024, "repeats": 0},
    cpu={
        "depths": [4, 8, 16, 32, 64, 128, 256],
        "width": 32,
        "batch": 2048,
        "repeats": 7,
    },
    full={
        "depths": [4, 8, 16, 32, 64, 128, 256, 512, 1024],
        "width": 256,
        "batch": 8192,
        "repeats": 1,
    },
)
def memory_against_depth(
    run: Run, depths: list[int], width: int, batch: int, repeats: int
) -> dict[str, Tensor]:
    """Peak memory and time of both passes, for each way and depth.

        peaks (5, N) bytes beyond weights, their gradients and the input: on CUDA those of torch's allocator,
        elsewhere those of all tensors alive; seconds (5, N), the least of `repeats`; both NaN where memory
        was not enough; errors (5, N) of a gradient, relative to the first way that had room

    Args:
        run: gives the device, the randomness and the chunks that survive an interruption.
        depths: N numbers of blocks.
        width: n of each half.
        batch: B, rows of the input (2, B, n).
        repeats: how often each time is taken; 0 takes none, and gives the same result every time.

    Returns:
        The arrays named above (`seconds` only where times were taken), `depths` (N,), and `state` (), the
        bytes of one state, which is as large as the input.

    Source: Chen et al. 2016, arXiv:1604.06174; Gomez et al. 2017, arXiv:1707.04585.
    """
    x = torch.randn(2, batch, width, generator=run.generator("input")).to(
        run.device
    )
    found = torch.full((3, len(WAYS), len(depths)), math.nan, dtype=torch.float64)
    for i in run.chunks(len(depths), found=found):
        blocks = blocks_of(
            depths[i], width, run.generator(f"blocks {depths[i]}"), run.device
        )
        gradients, peaks = zip(
            *(measured(way, blocks, x) for way in WAYS.values()), strict=True
        )
        reference = next(
            (gradient for gradient in gradients if gradient is not None), None
        )
        able = [gradient is not None for gradient in gradients]
        found[0, :, i] = torch.tensor(peaks)
        found[1, :, i] = fastest(able, blocks, x, repeats)
        found[2, :, i] = torch.tensor(
            [difference(gradient, reference) for gradient in gradients]
        )
    times = {"seconds": found[1]} if repeats else {}
    sizes = {"depths": torch.tensor(depths), "state": torch.tensor(x.nbytes)}
    return {"peaks": found[0], "errors": found[2]} | sizes | times


def measured(
    way: Way, blocks: list[ReversibleBlock], x: Tensor
) -> tuple[Tensor | None, float]:
    """The gradient of the first weights, and the peak; nothing where memory runs out."""
    try:
        gradient = both_passes(way, blocks, x)
        return gradient, float(
            peak_bytes(lambda: both_passes(way, blocks, x), x.device)
        )
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None, math.nan


def fastest(
    able: list[bool], blocks: list[ReversibleBlock], x: Tensor, repeats: int
) -> Tensor:
    """Least seconds of each way (5,), taking turns, so that a slow moment of the machine hits all."""
    seconds = torch.full((len(WAYS),), math.inf)
    for _ in range(repeats):
        turn = [
            timed(way, blocks, x) if a else math.nan
            for way, a in zip(WAYS.values(), able, strict=True)
        ]
        seconds = torch.minimum(seconds, torch.tensor(turn))
    return seconds


def difference(gradient: Tensor | None, reference: Tensor | None) -> float:
    """||gradient - reference|| / ||reference||, where there are both."""
    if gradient is None or reference is None:
        return math.nan
    return float((gradient - reference).norm() / reference.norm())


def both_passes(way: Way, blocks: list[ReversibleBlock], x: Tensor) -> Tensor:
    """The gradient of the mean square of the output with respect to the first weights (n, n)."""
    for p in (p for block in blocks for p in block.parameters()):
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad.zero_()
    way(blocks, x).square().mean().backward()
    return next(blocks[0].parameters()).grad.clone()  # type: ignore[union-attr]


def timed(way: Way, blocks: list[ReversibleBlock], x: Tensor) -> float:
    synchronize(x.device)
    began = time.perf_counter()
    both_passes(way, blocks, x)
    synchronize(x.device)
    return time.perf_counter() - began
