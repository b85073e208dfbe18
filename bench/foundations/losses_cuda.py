"""Cross-entropy by its kernels against torch's own, and liger's where it is installed, on a GPU."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.race import Place, Race, main, of
from lbdl.foundations.losses import fast_cross_entropy

SHAPE = (8192, 50257)
Loss = Callable[[Tensor, Tensor], Tensor]


def both_passes(loss: Loss, x: Tensor, target: Tensor) -> Callable[[], Tensor]:
    """A job: the loss, and the gradient of the logits."""
    x = x.clone().requires_grad_()
    return lambda: torch.autograd.grad(loss(x, target), x)[0]


def races(place: Place) -> Iterator[Race]:
    x = torch.randn(place.shape(*SHAPE), device=place.device)
    target = torch.randint(x.shape[1], x.shape[:1], device=place.device)
    liger = of(
        "liger_kernel.transformers",
        lambda package: both_passes(package.LigerCrossEntropyLoss(), x, target),
    )
    for peer, theirs, goal in (
        ("F.cross_entropy", both_passes(F.cross_entropy, x, target), 0.45),
        ("liger-kernel", liger, 1.05),
    ):
        yield Race(
            job=f"cross-entropy, forward and backward, {SHAPE}",
            peer=peer,
            ours=both_passes(fast_cross_entropy, x, target),
            theirs=theirs,
            goal=goal,
            table=x,
            note="the table must be read twice and written once: 1.5 copies",
        )


if __name__ == "__main__":
    main(__spec__, races, packages=["liger-kernel", "triton"])
