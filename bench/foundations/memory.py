"""Checkpoints and reversible blocks against torch's own."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from bench.race import Race, main
from lbdl.foundations.memory import (
    ReversibleBlock,
    best_tapered_lengths,
    checkpoint_chain,
    equal_lengths,
    reversible_chain,
    reversible_chain_stored,
)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- A deep chain, forward and backward


def chain(depth: int, width: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(
        *(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth))
    )
    for p in layers.parameters():
        p.grad = torch.zeros_like(p)
    return layers


def both_passes(
    f: Callable[[Tensor], Tensor], layers: nn.Module, x: Tensor
) -> Callable[[], Tensor]:
    """A job: forward and backward; the gradient of the first weights comes back."""
    first = next(layers.parameters())

    def job() -> Tensor:
        for p in layers.parameters():
            p.grad.zero_()
        f(x).sum().backward()
        return first.grad.clone()

    return job


def blocks_of(depth: int, width: int) -> nn.ModuleList:
    torch.manual_seed(0)
    half = lambda: nn.Sequential(nn.Linear(width, width), nn.Tanh())
    blocks = nn.ModuleList(ReversibleBlock(half(), half()) for _ in range(depth))
    for p in blocks.parameters():
        p.grad = torch.zeros_like(p)
    return blocks


def races() -> Iterator[Race]:
    layers, x = chain(64, 64), randn(2048, 64)
    theirs = both_passes(
        lambda x: checkpoint_sequential(layers, 8, x, use_reentrant=False),
        layers,
        x,
    )
    equal = partial(checkpoint_chain, layers, lengths=equal_lengths(64, 8))
    yield Race(
        job="checkpointing, 64 layers in 8 stretches, both passes",
        peer="torch.utils.checkpoint",
        ours=both_passes(equal, layers, x),
        theirs=theirs,
        goal=1.1,
        memory_goal=1.01,
    )
    tapered = partial(checkpoint_chain, layers, lengths=best_tapered_lengths(64))
    yield Race(
        job="checkpointing, 64 layers, tapered stretches, both passes",
        peer="torch.utils.checkpoint",
        ours=both_passes(tapered, layers, x),
        theirs=theirs,
        goal=1.1,
        memory_goal=0.82,
    )
    blocks, halves = blocks_of(32, 256), randn(1024, 512).chunk(2, -1)
    yield Race(
        job="32 reversible blocks, both passes",
        peer="the same, stored by autograd",
        ours=both_passes(
            lambda _: sum(reversible_chain(blocks, *halves)), blocks, x
        ),
        theirs=both_passes(
            lambda _: sum(reversible_chain_stored(blocks, *halves)), blocks, x
        ),
        goal=1.6,
        memory_goal=0.25,
    )


if __name__ == "__main__":
    main(__spec__, races())
