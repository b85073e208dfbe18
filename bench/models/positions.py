"""RoPE as a multiplication of complex numbers against rotary-embedding-torch, where that is installed."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.race import Race, main
from lbdl.models.positions import fast_rope, rope, rope_turns

SHAPE = (4, 8, 2048, 64)
HALF = (1, 32, 1024, 128)


def rotary_peer(width: int) -> Any | None:
    """The peer's own embedding, or None where it is not installed."""
    try:
        from rotary_embedding_torch import RotaryEmbedding
    except ImportError:
        return None
    return RotaryEmbedding(width)


def both_passes(
    turn: Callable[[Tensor], Tensor],
) -> Callable[[], tuple[Tensor, ...]]:
    """A job in bfloat16: the result, and the gradient of what is turned."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(HALF, generator=draw).bfloat16().requires_grad_()
    grad = torch.ones_like(x)
    return lambda: torch.autograd.grad(turn(x), x, grad)


def races() -> Iterator[Race]:
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    places = torch.arange(SHAPE[-2], dtype=torch.float64)
    turns = rope_turns(places, SHAPE[-1])
    peer = rotary_peer(SHAPE[-1])
    if peer is not None:
        yield Race(
            job=f"RoPE, forward, {SHAPE}",
            peer="rotary-embedding-torch",
            ours=lambda: fast_rope(x, turns),
            theirs=lambda: peer.rotate_queries_or_keys(x),
            reference=lambda: rope(x.double(), places),
            floor=lambda: x.clone(),
            goal=0.10,
        )
    yield Race(
        job=f"RoPE, forward, {SHAPE}",
        peer="one copy of the table",
        ours=lambda: fast_rope(x, turns),
        theirs=lambda: x.clone(),
        goal=1.5,
        note="no way to turn a table can do without reading and writing it",
    )
    yield Race(
        job=f"RoPE, forward, {SHAPE}",
        peer="the plain rope",
        ours=lambda: fast_rope(x, turns),
        theirs=lambda: rope(x, places),
        reference=lambda: rope(x.double(), places),
    )
    places = torch.arange(HALF[-2], dtype=torch.float64)
    half = rope_turns(places, HALF[-1])
    peer = rotary_peer(HALF[-1])
    if peer is not None:
        yield Race(
            job=f"RoPE, forward and backward, bfloat16, {HALF}",
            peer="rotary-embedding-torch",
            ours=both_passes(lambda x: fast_rope(x, half)),
            theirs=both_passes(peer.rotate_queries_or_keys),
        )
    yield Race(
        job=f"RoPE, forward and backward, bfloat16, {HALF}",
        peer="one copy of the table",
        ours=both_passes(lambda x: fast_rope(x, half)),
        theirs=both_passes(lambda x: x.clone()),
        note="the goal of 1.3 is for a kernel on a GPU; here half precision is "
        "widened, turned and narrowed in passes of their own",
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["rotary-embedding-torch"])
