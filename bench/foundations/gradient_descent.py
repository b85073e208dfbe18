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
from lbdl.foundations.gradient_descent import adam_, muon

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


MATRICES, ROWS, COLUMNS = 24, 256, 128


def matrices(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(MATRICES, ROWS, COLUMNS, generator=generator)


def our_muon() -> Callable[[], object]:
    """All matrices of one shape are one stack: one call moves them."""
    weights, gradients = matrices(0), matrices(1)
    _, state = muon(weights, gradients)
    return lambda: muon(weights, gradients, state)


def muon_of_torch() -> Callable[[], object]:
    weights = [w.clone().requires_grad_() for w in matrices(0)]
    for w, gradient in zip(weights, matrices(1), strict=True):
        w.grad = gradient
    return torch.optim.Muon(weights).step


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
    yield Race(
        job=f"Muon step, {MATRICES} matrices {ROWS} x {COLUMNS}",
        peer="torch.optim.Muon",
        ours=our_muon(),
        theirs=muon_of_torch(),
        goal=1.0,
        note="both in bfloat16, ours as one stack",
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
