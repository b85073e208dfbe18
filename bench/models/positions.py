"""RoPE as a multiplication of complex numbers against rotary-embedding-torch, where that is installed."""

from collections.abc import Iterator
from typing import Any

import torch

from bench.race import Race, main
from lbdl.models.positions import fast_rope, rope, rope_turns

SHAPE = (4, 8, 2048, 64)


def rotary_peer() -> Any | None:
    """The peer's own embedding, or None where it is not installed."""
    try:
        from rotary_embedding_torch import RotaryEmbedding
    except ImportError:
        return None
    return RotaryEmbedding(SHAPE[-1])


def races() -> Iterator[Race]:
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    places = torch.arange(SHAPE[-2], dtype=torch.float64)
    turns = rope_turns(places, SHAPE[-1])
    peer = rotary_peer()
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


if __name__ == "__main__":
    main(__spec__, races(), packages=["rotary-embedding-torch"])
