"""The heavy experiments on recurrent networks: how far back each layer learns to look, and
what one more token costs.

Layers learn to add the two marked numbers of a list, which gets longer: an RNN, a GRU, an
LSTM, and an LSTM whose forget gates start open for as long as the list is. And one step of
an LSTM against one step of a transformer's layer, behind a text that gets longer.

Hochreiter & Schmidhuber 1997, experiment 4; Le, Jaitly & Hinton 2015, arXiv:1504.00941.
"""

import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor, nn

from lbdl.lab import Run, Steps, experiment
from lbdl.models.attention import KeyValueCache, MultiHeadAttention
from lbdl.models.recurrent import (
    GRU,
    LSTM,
    RNN,
    Recurrent,
    adding_problem,
    forget_bias,
)

__all__ = ["KINDS", "LastState", "memory_against_lag", "token_against_context"]

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
    cpu={"lengths": [10, 20, 40, 80], "hidden": 32, "steps": 600, "batch": 32, "lr": 0.01, "seeds": 3},
    full={"lengths": [50, 150], "hidden": 128, "steps": 300, "batch": 256, "lr": 0.005, "seeds": 1},
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


@experiment(
    "token_against_context",
    chapter="models/recurrent",
    shows="time and memory of one more token of an LSTM and of a transformer, against the text so far",
    small={"lengths": [16, 64], "width": 32, "heads": 2, "repeats": 0},
    cpu={"lengths": [64, 256, 1024, 4096, 16384, 65536], "width": 256, "heads": 4, "repeats": 15},
    full={"lengths": [256, 1024, 4096, 16384, 65536, 262144], "width": 1024, "heads": 16, "repeats": 30},
)  # fmt: skip
def token_against_context(
    run: Run, lengths: list[int], width: int, heads: int, repeats: int
) -> dict[str, Tensor]:
    """What one more token takes behind a text of a given length: an LSTM, and attention with
    a network of four times the width behind it, as in a transformer.

        kept (2, N): bytes that the layer must keep of the text; seconds (2, N): of one
        step without gradients, the least of `repeats`; LSTM first

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        lengths: N of them, tokens so far.
        width: of the vectors, and of the LSTM's state.
        heads: of the attention.
        repeats: how often each time is taken; 0 takes none, and gives the same result every
            time.

    Returns:
        The arrays named above (`seconds` only where times were taken), and `lengths`.

    Source: Vaswani et al. 2017, table 1, arXiv:1706.03762, for one token.
    """
    found = torch.full((2, 2, len(lengths)), math.inf)
    for i in run.chunks(len(lengths), found=found):
        draw = run.generator(f"token {i}")
        x = torch.randn(1, 1, width, generator=draw).to(run.device)
        makers = (lstm_token(x), transformer_token(x, lengths[i], heads))
        for kind, (kept, step) in enumerate(makers):
            found[0, kind, i] = kept
            for _ in range(repeats):
                taken = seconds_of(step, run.device)
                found[1, kind, i] = min(taken, float(found[1, kind, i]))
    times = {"seconds": found[1]} if repeats else {}
    return {"kept": found[0], "lengths": torch.tensor(lengths)} | times


Token = tuple[int, Callable[[], object]]


def lstm_token(x: Tensor) -> Token:
    """Bytes of an LSTM's state, and one step from it."""
    layer = LSTM(x.shape[-1], x.shape[-1]).to(x.device)
    with torch.no_grad():
        _, state = layer(x)
    return sum(part.nbytes for part in state), lambda: layer(x, state)


def transformer_token(x: Tensor, length: int, heads: int) -> Token:
    """Bytes of keys and values of so many tokens, and one step behind them."""
    width = x.shape[-1]
    look = MultiHeadAttention(width, heads).to(x.device)
    sizes = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
    think = nn.Sequential(*sizes).to(x.device)
    cache = KeyValueCache(1, heads, length + 1, width // heads, device=x.device)
    cache.buffer.normal_()

    def step() -> Tensor:
        cache.length = length
        h = x + look(x, cache=cache)
        return h + think(h)

    return cache.bytes * length // (length + 1), step


@torch.no_grad()
def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of one step, with all that it started on the device."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    step()
    wait()
    return time.perf_counter() - began
