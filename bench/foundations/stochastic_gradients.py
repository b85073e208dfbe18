"""Gradients of single examples: all at once against one by one."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.race import Race, main
from lbdl.foundations.stochastic_gradients import (
    fast_per_example_gradients,
    per_example_gradients,
)

EXAMPLES, INPUTS, CLASSES = 1097, 64, 10  # the training digits


def loss(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(x @ w, y)


def one_backward_an_example(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    w = w.clone().requires_grad_()
    return torch.stack(
        [
            torch.autograd.grad(loss(w, a, b), w)[0]
            for a, b in zip(x, y, strict=True)
        ]
    )


def races() -> Iterator[Race]:
    g = torch.Generator().manual_seed(0)
    w, x = (
        torch.randn(INPUTS, CLASSES, generator=g),
        torch.rand(EXAMPLES, INPUTS, generator=g),
    )
    y = torch.randint(CLASSES, (EXAMPLES,), generator=g)
    job = f"{EXAMPLES} gradients of a linear classifier, {INPUTS} x {CLASSES}"
    loops = {
        "torch.autograd.grad, a loop": lambda: one_backward_an_example(w, x, y),
        "our plain way": lambda: per_example_gradients(loss, w, x, y),
    }
    for peer, theirs in loops.items():
        yield Race(
            job=job,
            peer=peer,
            ours=lambda: fast_per_example_gradients(loss, w, x, y),
            theirs=theirs,
            goal=0.1,
            reference=lambda: one_backward_an_example(w.double(), x.double(), y),
        )


if __name__ == "__main__":
    main(__spec__, races())
