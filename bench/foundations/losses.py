"""Losses against torch's own."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.race import Race, main
from lbdl.foundations.losses import (
    binary_cross_entropy,
    cross_entropy,
    distillation,
    fast_cross_entropy,
    focal,
)

Loss = Callable[..., Tensor]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def forward_and_backward(
    loss: Loss, *points: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    """A job: the loss, and its gradient in every argument."""
    points = tuple(x.clone().requires_grad_() for x in points)

    def job() -> tuple[Tensor, ...]:
        value = loss(*points)
        return value.detach(), *torch.autograd.grad(value, points)

    return job


def against(
    job: str,
    peer: str,
    ours: Loss,
    theirs: Loss,
    *points: Tensor,
    goal: float | None,
    note: str = "",
) -> Race:
    """Forward and backward of both; the truth is theirs in float64."""
    return Race(
        job=job,
        peer=peer,
        ours=forward_and_backward(ours, *points),
        theirs=forward_and_backward(theirs, *points),
        reference=forward_and_backward(theirs, *(x.double() for x in points)),
        goal=goal,
        note=note,
    )


def races() -> Iterator[Race]:
    yield from races_of_classes()
    yield from races_of_bits()
    yield race_of_distillation()


def race_of_distillation() -> Race:
    """Against the line that is usually written for it."""
    teacher, T = randn(4096, 1000, seed=1), 4.0
    by_torch = lambda x: (
        T**2
        * F.kl_div(
            torch.log_softmax(x / T, -1),
            torch.log_softmax(teacher.to(x) / T, -1),
            log_target=True,
            reduction="batchmean",
        )
    )
    return against(
        "distillation, (4096, 1000)",
        "F.kl_div of log-softmaxes",
        lambda x: distillation(x, teacher, temperature=T),
        by_torch,
        randn(4096, 1000),
        goal=2.0,
        note="ours asks for finite rows and lets impossible classes be",
    )


def races_of_classes() -> Iterator[Race]:
    for shape in ((4096, 1000), (512, 32000)):
        x, t = randn(*shape), torch.arange(shape[0]) % shape[1]
        for eps in (0.0, 0.1):
            torchs = lambda x, t=t, eps=eps: F.cross_entropy(
                x, t, label_smoothing=eps
            )
            for loss, goal in ((fast_cross_entropy, 0.9), (cross_entropy, None)):
                if loss is cross_entropy and shape[1] > 1000:
                    continue
                name = f"{loss.__name__}, smoothing {eps:g}, {shape}"
                ours = lambda x, t=t, eps=eps, loss=loss: loss(x, t, smoothing=eps)
                yield against(name, "F.cross_entropy", ours, torchs, x, goal=goal)


def races_of_bits() -> Iterator[Race]:
    x, y = randn(4096, 1000), (randn(4096, 1000, seed=1) > 0).float()
    yield against(
        "binary_cross_entropy, (4096, 1000)",
        "F.binary_cross_entropy_with_logits",
        lambda x: binary_cross_entropy(x, y),
        lambda x: F.binary_cross_entropy_with_logits(x, y),
        x,
        goal=1.7,
        note="ours looks at the targets, and is written out; torch's is one fused call",
    )
    yield against(
        "focal, (4096, 1000)",
        "torchvision's formula",
        lambda x: focal(x, y),
        lambda x: published_focal(x, y),
        x,
        goal=1.4,
        note="one logarithm more, so that every gamma is safe at every logit",
    )


def published_focal(
    inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2
) -> Tensor:
    """`torchvision.ops.sigmoid_focal_loss`, its formula, averaged."""
    targets = targets.to(inputs.dtype)
    p = torch.sigmoid(inputs)
    ce_loss = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    loss = ce_loss * ((1 - p_t) ** gamma)
    return ((alpha * targets + (1 - alpha) * (1 - targets)) * loss).mean()


if __name__ == "__main__":
    main(__spec__, races())
