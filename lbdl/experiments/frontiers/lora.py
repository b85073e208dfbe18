"""The heavy experiment on LoRA: which two rates are best, as the network grows wider.

A network of width n has one hidden matrix that is frozen and adapted, all else is
frozen. It is trained at every pair of rates of a grid, one for A and one for B.

Hayou, Ghosh & Yu 2024, arXiv:2402.12354, for the question.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lbdl.foundations.gradient_descent import adam
from lbdl.lab import Run, experiment

__all__ = ["highest_rates", "rates_against_width"]

INPUTS = 8
EPS = 1e-12  # of Adam, below every gradient here, so that their size plays no part


class Task:
    """A frozen network, and what it has to learn; numbers of the seed, for each
    width."""

    def __init__(self, run: Run, width: int, rows: int, seed: int) -> None:
        normal = normals(run, f"task/{seed}")
        x, direction = normal(rows, INPUTS), normal(INPUTS)
        self.y = torch.tanh(2 * (x @ direction) / INPUTS**0.5)
        normal = normals(run, f"network/{seed}/{width}")
        read = normal(INPUTS, width) * (2 / INPUTS) ** 0.5
        self.h = torch.relu(x @ read)  # (rows, n), entries of size 1
        self.z = self.h @ normal(width, width) / width**0.5
        self.out = normal(width) / width**0.5
        self.before = torch.relu(self.z) @ self.out

    def losses(self, A: Tensor, B: Tensor) -> Tensor:
        """The error of each adapter (K, r, n), (K, n, r), over that of none."""
        low = self.h @ A.mT  # (K, rows, r)
        change = torch.relu(torch.baddbmm(self.z, low, B.mT)) @ self.out
        error = change - self.before - self.y
        return error.square().mean(-1) / self.y.square().mean()


def normals(run: Run, name: str) -> Callable[..., Tensor]:
    """Draws normal tensors of any shape, the same numbers on every device."""
    draw = run.generator(name)
    return lambda *shape: torch.randn(shape, generator=draw).to(run.device)


def train(
    task: Task, A: Tensor, B: Tensor, rates: tuple[Tensor, Tensor], steps: int
) -> Tensor:
    """Adam on every adapter at once, each at its own two rates; the last losses."""
    factors, states = [A, B], [None, None]
    for _ in range(steps):
        leaves = [p.detach().requires_grad_() for p in factors]
        gradients = torch.autograd.grad(task.losses(*leaves).sum(), leaves)
        for i, rate in enumerate(rates):
            factors[i], states[i] = adam(
                leaves[i].detach(),
                gradients[i],
                states[i],
                lr=rate[:, None, None],
                betas=(0.9, 0.99),
                eps=EPS,
            )
    with torch.no_grad():
        return task.losses(*factors)


def grid(run: Run, logs: list[float]) -> tuple[Tensor, Tensor]:
    """All pairs of rates 2^log, for A and for B, as two lists."""
    rates = 2.0 ** torch.tensor(logs, device=run.device)
    of_A, of_B = torch.meshgrid(rates, rates, indexing="ij")
    return of_A.flatten(), of_B.flatten()


def cells(widths: list[int], seeds: int) -> Iterator[tuple[int, int, int]]:
    """Number of the width, width and seed, one after the other."""
    for i, width in enumerate(widths):
        for seed in range(seeds):
            yield i, width, seed


def highest_rates(
    losses: Tensor, logs: list[float], below: float = 0.1
) -> tuple[Tensor, Tensor]:
    """To base 2, the highest rate of A that still learns, for every rate of B, and
    the highest of B, for every rate of A; -inf where none does.

    Learnt is what ends with a loss (geometric mean over seeds) under `below`. Takes
    losses (..., seeds, rates of A, rates of B).
    """
    learnt = losses.log().mean(-3).exp() < below
    rates = torch.tensor(logs)
    of_A = torch.where(learnt, rates[:, None], -torch.inf).amax(-2)
    of_B = torch.where(learnt, rates, -torch.inf).amax(-1)
    return of_A, of_B


@experiment(
    "rates_against_width",
    chapter="frontiers/lora",
    shows="the loss of an adapted network at every pair of rates of the two factors, as its width grows",
    small={
        "widths": [32, 128, 512],
        "logs": [-14.0, -12.0, -10.0, -8.0, -6.0, -4.0, -2.0, 0.0],
        "rank": 4,
        "rows": 48,
        "steps": 50,
        "seeds": 2,
    },
    cpu={
        "widths": [64, 128, 256, 512, 1024],
        "logs": [float(e) for e in range(-14, 1)],
        "rank": 4,
        "rows": 48,
        "steps": 60,
        "seeds": 3,
    },
    full={
        "widths": [64, 128, 256, 512, 1024, 2048, 4096],
        "logs": [float(e) for e in range(-16, 1)],
        "rank": 4,
        "rows": 96,
        "steps": 60,
        "seeds": 4,
    },
)
def rates_against_width(
    run: Run,
    widths: list[int],
    logs: list[float],
    rank: int,
    rows: int,
    steps: int,
    seeds: int,
) -> dict[str, Tensor]:
    """The loss after a training of `steps` steps of Adam.

        losses (widths, seeds, rates of A, rates of B): mean squared error over that
        without an adapter, no more than 10

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        widths: n of the networks.
        logs: of the rates, to base 2; the same for A and B.
        rank: of the adapter.
        rows: examples.
        steps: of Adam, each with all examples, at constant rates.
        seeds: networks and tasks for each width.

    Returns:
        The array named above.

    Source: Hayou, Ghosh & Yu 2024, arXiv:2402.12354.
    """
    side = len(logs)
    losses = torch.full((len(widths), seeds, side, side), torch.nan)
    of_A, of_B = grid(run, logs)
    work = list(cells(widths, seeds))
    for cell in run.chunks(len(work), losses=losses):
        i, width, seed = work[cell]
        task = Task(run, width, rows, seed)
        start = normals(run, f"adapter/{seed}/{width}")(rank, width) / width**0.5
        parts = []
        for some_A, some_B in zip(of_A.split(64), of_B.split(64), strict=True):
            A = start.expand(len(some_A), -1, -1)
            B = torch.zeros(len(some_A), width, rank, device=run.device)
            parts.append(train(task, A, B, (some_A, some_B), steps))
        found = torch.cat(parts).nan_to_num(10.0, 10.0).clamp(max=10.0)
        losses[i, seed] = found.view(side, side).cpu()
    return {"losses": losses}
