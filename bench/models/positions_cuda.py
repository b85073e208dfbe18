"""RoPE against rotary-embedding-torch, where that is installed, and one copy of the table, on a GPU."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.race import Place, Race, main, of
from lbdl.models.positions import fast_rope, rope_turns

SHAPE = (4, 32, 4096, 128)


def both_passes(
    turn: Callable[[Tensor], Tensor], x: Tensor
) -> Callable[[], Tensor]:
    """A job: the result, and the gradient of what is turned."""
    x, grad = x.clone().requires_grad_(), torch.ones_like(x)
    return lambda: torch.autograd.grad(turn(x), x, grad)[0]


def races(place: Place) -> Iterator[Race]:
    x = torch.randn(place.shape(*SHAPE), device=place.device).bfloat16()
    places = torch.arange(x.shape[-2], dtype=torch.float64, device=place.device)
    turns = rope_turns(places, x.shape[-1])
    peers = of(
        "rotary_embedding_torch",
        lambda package: both_passes(
            package.RotaryEmbedding(x.shape[-1])
            .to(place.device)
            .rotate_queries_or_keys,
            x,
        ),
    )
    yield Race(
        job=f"RoPE, forward and backward, bfloat16, {SHAPE}",
        peer="rotary-embedding-torch",
        ours=both_passes(lambda x: fast_rope(x, turns), x),
        theirs=peers,
        table=x,
        note="no kernel yet: a goal of 1.3 copies waits for one",
    )


if __name__ == "__main__":
    main(__spec__, races, packages=["rotary-embedding-torch"])
