"""One step of Adam over a hundred tensors against torch.optim; the map of trainability by hand against vmap."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.race import Race, main
from lbdl.experiments.foundations.gradient_descent import (
    fast_train_networks,
    grid_of_rates,
    random_task,
    train_networks,
)
from lbdl.foundations.gradient_descent import adam_

TENSORS, LENGTH = 100, 100_000


def tensors(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(LENGTH, generator=generator) for _ in range(TENSORS)]


def our_step() -> Callable[[], object]:
    weights, gradients = tensors(0), tensors(1)
    state = adam_(weights, gradients)

    def step() -> None:
        nonlocal state
        state = adam_(weights, gradients, state)

    return step


def step_of_torch(**options: bool) -> Callable[[], object]:
    weights = [w.requires_grad_() for w in tensors(0)]
    for w, gradient in zip(weights, tensors(1), strict=True):
        w.grad = gradient
    return torch.optim.Adam(weights, **options).step


def races() -> Iterator[Race]:
    job = f"Adam step, {TENSORS} tensors of {LENGTH}"
    yield Race(
        job=job,
        peer="torch.optim.Adam",
        ours=our_step(),
        theirs=step_of_torch(),
        goal=0.9,
    )
    yield Race(
        job=job,
        peer="torch.optim.Adam(fused=True)",
        ours=our_step(),
        theirs=step_of_torch(fused=True),
        goal=2.6,
    )
    task, rates = (
        random_task(8, 0),
        grid_of_rates(((-1, 1), (-1, 1)), 16).flatten(0, 1).float(),
    )
    yield Race(
        job="256 trainings, width 8, 20 steps",
        peer="torch.func.vmap(grad)",
        ours=lambda: fast_train_networks(task, rates, 20),
        theirs=lambda: train_networks(task, rates, 20),
        goal=0.25,
        note="tanh by way of the sigmoid: rounding of the same size, not the same digits",
    )


if __name__ == "__main__":
    main(__spec__, races())
