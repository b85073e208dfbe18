"""The rates of a whole training: one call on a tensor of steps against stepping torch's scheduler."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from bench.race import Race, main
from lbdl.foundations.schedules import cosine_restarts, triangular

STEPS = 5000


def stepped(
    make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], lr: float
) -> Tensor:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return torch.tensor(rates, dtype=torch.float64)


def races() -> Iterator[Race]:
    steps = torch.arange(STEPS)
    yield Race(
        job=f"{STEPS} rates, cosine with restarts",
        peer="CosineAnnealingWarmRestarts",
        ours=lambda: cosine_restarts(steps, 0.1, cycle=50),
        theirs=lambda: stepped(
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 50), 0.1
        ),
        goal=0.05,
        note="the peer steps an optimizer as well, which it must",
    )
    yield Race(
        job=f"{STEPS} rates, triangular",
        peer="CyclicLR",
        ours=lambda: triangular(steps, 0.1, half_cycle=25, lr_min=0.01),
        theirs=lambda: stepped(
            lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 25, cycle_momentum=False),
            0.01,
        ),
        goal=0.05,
        note="the peer steps an optimizer as well, which it must",
    )


if __name__ == "__main__":
    main(__spec__, races())
