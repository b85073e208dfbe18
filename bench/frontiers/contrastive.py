"""The gradient of a large batch, chunk by chunk: against GradCache's class, and against the batch as a whole.

GradCache 0.0.1 from PyPI (`pip install --no-deps gradcache`) looks for itself under another name, `grad_cache`,
and is given it here. Where it is not installed, only the other race is run.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.race import Race, main
from lbdl.frontiers.contrastive import accumulate, clip_loss, fast_clip_loss

PEER = "gradcache"
SCALE = 1 / 0.07


class Tower(nn.Sequential):
    """Six layers, 64 numbers to 64 numbers by way of 512, and the unit sphere."""

    def __init__(self) -> None:
        sizes = [64, 512, 512, 512, 512, 512, 64]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        super().__init__(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(super().forward(x), dim=-1)


def usual_loss(a: Tensor, b: Tensor) -> Tensor:
    """CLIP's loss as it is written in torch."""
    logits = SCALE * a @ b.T
    own = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def own_loss(a: Tensor, b: Tensor) -> Tensor:
    return fast_clip_loss(a, b, scale=SCALE)


def grad_cache() -> Any:
    """GradCache's class, under the name that it looks for itself by."""
    import gradcache

    sys.modules.setdefault("grad_cache", gradcache)
    from grad_cache.grad_cache import GradCache

    return GradCache


def towers() -> list[nn.Module]:
    torch.manual_seed(0)
    return [Tower(), Tower()]


def views(N: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(N, 64, generator=draw) for _ in range(2)]


def gradient(
    step: Callable[[], Any], models: list[nn.Module]
) -> tuple[Tensor, ...]:
    """All gradients after a step."""
    for model in models:
        model.zero_grad()
    step()
    return tuple(p.grad for model in models for p in model.parameters())


def job(step: Callable[..., Any], N: int, dtype: torch.dtype) -> Callable[[], Any]:
    """A job: towers of its own, and their gradients."""
    models = [copy.deepcopy(tower).to(dtype) for tower in towers()]
    inputs = [x.to(dtype) for x in views(N)]
    return lambda: gradient(lambda: step(models, inputs), models)


def ours(N: int, chunk: int) -> Callable[[], Any]:
    return job(lambda m, x: accumulate(own_loss, m, x, chunk), N, torch.float32)


def whole(N: int, dtype: torch.dtype, loss: Any = usual_loss) -> Callable[[], Any]:
    """The batch at once."""
    return job(
        lambda m, x: loss(*(f(v) for f, v in zip(m, x, strict=True))).backward(),
        N,
        dtype,
    )


def theirs(N: int, chunk: int) -> Callable[[], Any]:
    """GradCache's class with CLIP's loss."""
    GradCache = grad_cache()
    return job(
        lambda m, x: GradCache(models=m, chunk_sizes=chunk, loss_fn=usual_loss)(*x),
        N,
        torch.float32,
    )


def plain_clip(a: Tensor, b: Tensor) -> Tensor:
    return clip_loss(a, b, scale=SCALE)


def races() -> Iterator[Race]:
    if find_spec(PEER):
        yield Race(
            job="two towers, N = 4096, chunk 256",
            peer="GradCache",
            ours=ours(4096, 256),
            theirs=theirs(4096, 256),
            reference=whole(4096, torch.float64, plain_clip),
            goal=0.76,
            memory_goal=0.55,
        )
    yield Race(
        job="two towers, N = 1024, chunk 64",
        peer="the batch at once",
        ours=ours(1024, 64),
        theirs=whole(1024, torch.float32),
        goal=1.4,
        memory_goal=0.5,
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=filter(find_spec, [PEER]))
