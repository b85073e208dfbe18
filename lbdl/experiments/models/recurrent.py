"""The heavy experiment on recurrent networks: how far back each layer learns to look.

Layers learn to add the two marked numbers of a list, which gets longer: an RNN, a GRU, an
LSTM, and an LSTM whose forget gates start open for as long as the list is.

Hochreiter & Schmidhuber 1997, experiment 4; Le, Jaitly & Hinton 2015, arXiv:1504.00941.
"""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn

from lbdl.lab import Run, Steps, experiment
from lbdl.models.recurrent import (
    GRU,
    LSTM,
    RNN,
    Recurrent,
    adding_problem,
    forget_bias,
)

__all__ = ["KINDS", "LastState", "memory_against_lag"]

KINDS = ("RNN", "GRU", "LSTM", "LSTM, open")


def layer_of(kind: str, hidden: int, length: int) -> Recurrent:
    """A layer for pairs of number and mark; "open" forgets half in `length` steps."""
    if kind == "LSTM, open":
        return LSTM(2, hidden, forget=forget_bias(length))
    return {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}[kind](2, hidden)


class LastState(nn.Module):
    """A number out of what a layer shows after the last step."""

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(layer.hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, 2) to (B, 1)."""
        shown, _ = self.layer(x)
        return self.readout(shown[:, -1])


def examples(
    steps: int, batch: int, length: int, draw: Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """New examples for each step."""
    for _ in range(steps):
        x, y = adding_problem(batch, length, draw)
        yield x.to(device), y.to(device)


@experiment(
    "memory_against_lag",
    chapter="models/recurrent",
    shows="a plain recurrent network learns to add over short lags, layers with gates over longer ones",
    small={"lengths": [6], "hidden": 8, "steps": 20, "batch": 16, "lr": 0.01, "seeds": 1},
    cpu={"lengths": [10, 20, 40], "hidden": 32, "steps": 500, "batch": 32, "lr": 0.01, "seeds": 3},
    full={"lengths": [50, 100, 200], "hidden": 128, "steps": 400, "batch": 256, "lr": 0.005, "seeds": 1},
    able=("processes",),
)  # fmt: skip
def memory_against_lag(
    run: Run,
    lengths: list[int],
    hidden: int,
    steps: int,
    batch: int,
    lr: float,
    seeds: int,
) -> dict[str, Tensor]:
    """The error of each layer on the adding problem, against the length of the list.

        errors (kinds, lengths, seeds): mean squared error on 512 new lists, in the order
        of KINDS; who always says 1 has 1/6

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        lengths: of the lists.
        hidden: units of each layer.
        steps: of Adam, each on new lists.
        batch: lists a step.
        lr: learning rate; gradients are clipped to norm 1.
        seeds: trainings of each kind and length.

    Returns:
        The array named above, and `lengths`.

    Source: Hochreiter & Schmidhuber 1997.
    """
    errors = torch.zeros(len(KINDS), len(lengths), seeds)
    for cell in run.chunks(errors.numel(), errors=errors):
        kind, where, seed = torch.unravel_index(torch.tensor(cell), errors.shape)
        errors.view(-1)[cell] = error_of(
            run, KINDS[kind], lengths[where], int(seed), hidden, steps, batch, lr
        )
    return {"errors": errors, "lengths": torch.tensor(lengths)}


def error_of(
    run: Run,
    kind: str,
    length: int,
    seed: int,
    hidden: int,
    steps: int,
    batch: int,
    lr: float,
) -> float:
    """The error of one training on new lists."""
    name = f"{length}/{seed}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.generator(f"weights/{kind}/{name}").initial_seed())
        model = LastState(layer_of(kind, hidden, length)).to(run.device)
    optimizer = Clipped(model.parameters(), lr=lr)
    take_step = Steps(model, nn.functional.mse_loss, optimizer)
    draw = run.generator(f"lists/{name}")
    take_step.follow(examples(steps, batch, length, draw, run.device))
    x, y = adding_problem(512, length, run.generator(f"test/{name}"))
    with torch.no_grad():
        return float((model(x.to(run.device)) - y.to(run.device)).square().mean())


class Clipped(torch.optim.Adam):
    """Adam on a gradient whose norm is at most 1."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        super().step(closure)
