"""Attention by blocks against torch's fused kernel; queries in groups against all heads with repeated keys."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.race import Race, main
from lbdl.models.attention import attention, fast_attention, grouped_attention

Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return fast_attention(q, k, v, causal=True)


def theirs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention(q, k, v, causal=True)


def both_passes(way: Way, *tensors: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    """A job: the result, then the gradients of queries, keys and values."""
    inputs = [x.clone().requires_grad_() for x in tensors]
    grad = torch.ones_like(tensors[0])
    return lambda: torch.autograd.grad(way(*inputs), inputs, grad)


def races() -> Iterator[Race]:
    q, k, v = (draw(1, 8, 4096, 64, seed=s) for s in range(3))
    yield Race(
        job="causal attention, forward, 8 heads of 64, 4096 places",
        peer="F.scaled_dot_product_attention",
        ours=lambda: ours(q, k, v),
        theirs=lambda: theirs(q, k, v),
        reference=lambda: theirs(q.double(), k.double(), v.double()),
        goal=1.4,
        memory_goal=2.0,
    )
    q, k, v = (x[:, :, :2048].contiguous() for x in (q, k, v))
    yield Race(
        job="causal attention, forward and backward, 8 heads of 64, 2048 places",
        peer="F.scaled_dot_product_attention",
        ours=both_passes(ours, q, k, v),
        theirs=both_passes(theirs, q, k, v),
        goal=1.5,
    )
    yield Race(
        job="causal attention, forward, 8 heads of 64, 2048 places",
        peer="the whole table of scores",
        ours=lambda: ours(q, k, v),
        theirs=lambda: plain(q, k, v),
    )
    one, keys, values = (
        draw(1, 8, 1, 64),
        draw(1, 2, 4096, 64, seed=1),
        draw(1, 2, 4096, 64, seed=2),
    )
    all_keys, all_values = (x.repeat_interleave(4, 1) for x in (keys, values))
    yield Race(
        job="one query, 8 heads that share 2 of keys, 4096 places",
        peer="F.scaled_dot_product_attention, all 8 heads",
        ours=lambda: grouped_attention(one, keys, values),
        theirs=lambda: F.scaled_dot_product_attention(one, all_keys, all_values),
        goal=0.25,
    )


if __name__ == "__main__":
    main(__spec__, races())
