"""Causal attention by its kernel against torch's, in bfloat16, on a GPU; one query against a long cache."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.race import Place, Race, main
from lbdl.models.attention import fast_attention, grouped_attention

Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return fast_attention(q, k, v, causal=True)


def theirs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def both_passes(way: Way, *tensors: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    """A job: the result, then the gradients of queries, keys and values."""
    inputs = [x.clone().requires_grad_() for x in tensors]
    grad = torch.ones_like(tensors[0])
    return lambda: torch.autograd.grad(way(*inputs), inputs, grad)


def draw(place: Place, *sizes: int) -> Tensor:
    return torch.randn(place.shape(*sizes), device=place.device).bfloat16()


def forward(way: Way, *tensors: Tensor) -> Callable[[], Tensor]:
    """A job: the result."""
    return lambda: way(*tensors)


def races(place: Place) -> Iterator[Race]:
    passes = (("forward", forward, 1.3), ("forward and backward", both_passes, 1.6))
    for places in (4096, 16384):
        given = [draw(place, 4, 16, places, 128) for _ in range(3)]
        for name, job, goal in passes:
            yield Race(
                job=f"causal attention, {name}, bfloat16, (4, 16, {places}, 128)",
                peer="F.scaled_dot_product_attention",
                ours=job(ours, *given),
                theirs=job(theirs, *given),
                goal=goal,
                memory_goal=2.0,
            )
    yield one_query(place)


def one_query(place: Place) -> Race:
    """A step of decoding: what must be read is the cache."""
    q = draw(place, 1, 32, 1, 128)
    keys, values = (draw(place, 1, 8, 32768, 128) for _ in range(2))
    many = q.shape[1] // keys.shape[1]
    repeated = [x.repeat_interleave(many, 1) for x in (keys, values)]
    return Race(
        job="one query, 32 heads that share 8 of keys, 32768 places, bfloat16",
        peer="F.scaled_dot_product_attention, all heads",
        ours=lambda: grouped_attention(q, keys, values),
        theirs=lambda: F.scaled_dot_product_attention(q, *repeated),
        table=keys,
        floor_goal=1.5,
        note="the floor copies the keys: as many bytes as reading keys and values",
    )


if __name__ == "__main__":
    main(__spec__, races, packages=["triton"])
