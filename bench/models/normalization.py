"""The norms and activations of the chapter, written as their formulas, against torch's fused kernels."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.race import Race, main
from lbdl.models.normalization import (
    batch_norm,
    dropout,
    gelu,
    layer_norm,
    rms_norm,
    standardize_backward,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def both_passes(
    f: Callable[..., Tensor], *inputs: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    """A job: the outputs, then the gradients of all inputs."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    g = torch.ones_like(f(*leaves))
    return lambda: torch.autograd.grad(f(*leaves), leaves, g)


def races() -> Iterator[Race]:
    x, w, b = draw(4096, 512), draw(512, seed=1), draw(512, seed=2)
    tokens = "(4096, 512)"
    yield from pair(
        f"layer norm, {{}}, {tokens}",
        "F.layer_norm",
        layer_norm,
        lambda x, w, b: F.layer_norm(x, (512,), w, b),
        (x, w, b),
    )
    yield from pair(
        f"RMS norm, {{}}, {tokens}",
        "F.rms_norm",
        rms_norm,
        lambda x, w: F.rms_norm(x, (512,), w, 1e-6),
        (x, w),
    )
    images, w, b = draw(32, 64, 32, 32), draw(64, seed=1), draw(64, seed=2)
    yield from pair(
        "batch norm, {}, (32, 64, 32, 32)",
        "F.batch_norm",
        batch_norm,
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        (images, w, b),
    )
    yield Race(
        job=f"gradient of a norm in closed form, {tokens}",
        peer="autograd of F.layer_norm",
        ours=lambda: standardize_backward(x, x),
        theirs=both_passes(lambda x: F.layer_norm(x, (512,)), x),
    )
    yield Race(
        job=f"GELU, forward, {tokens}",
        peer="F.gelu",
        ours=lambda: gelu(x),
        theirs=lambda: F.gelu(x),
        reference=lambda: F.gelu(x.double()),
    )
    yield Race(
        job=f"dropout, forward, {tokens}",
        peer="F.dropout",
        ours=lambda: dropout(x, 0.1),
        theirs=lambda: F.dropout(x, 0.1),
    )


def pair(
    job: str,
    peer: str,
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
) -> Iterator[Race]:
    """Forward, then both passes."""
    yield Race(
        job=job.format("forward"),
        peer=peer,
        ours=lambda: ours(*inputs),
        theirs=lambda: theirs(*inputs),
        note="a formula of five passes against one fused kernel: measured, no goal",
    )
    yield Race(
        job=job.format("forward+backward"),
        peer=peer,
        ours=both_passes(ours, *inputs),
        theirs=both_passes(theirs, *inputs),
    )


if __name__ == "__main__":
    main(__spec__, races())
