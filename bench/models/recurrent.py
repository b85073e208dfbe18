"""Recurrent layers against torch's own, which are written in C++, both passes: two plain loops in Python, and
an LSTM whose way back is written by hand."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bench.race import Race, main
from lbdl.models.recurrent import GRU, LSTM, RNN

# batch, steps, inputs, hidden units; the goal of both passes for an LSTM
SHAPES = ((32, 64, 32, 64, 2.5), (32, 64, 128, 256, 1.5))
LAYERS = {"RNN": (RNN, nn.RNN), "GRU": (GRU, nn.GRU), "LSTM": (LSTM, nn.LSTM)}


def both_passes(layer: nn.Module, x: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    """A job: all states, then the gradients of inputs and weights."""
    x = x.clone().requires_grad_()
    inputs = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x)[0].sum(), inputs)


def races() -> Iterator[Race]:
    for batch, steps, inputs, hidden, goal in SHAPES:
        x = torch.randn(
            batch, steps, inputs, generator=torch.Generator().manual_seed(0)
        )
        for kind, (own, torchs) in LAYERS.items():
            theirs = torchs(inputs, hidden, batch_first=True)
            ours = own(inputs, hidden).copy_from_torch(theirs)
            yield Race(
                job=f"{kind}, forward and backward, ({batch}, {steps}, {inputs}), {hidden} units",
                peer=f"torch.nn.{kind}",
                ours=both_passes(ours, x),
                theirs=both_passes(theirs, x),
                goal=goal if kind == "LSTM" else None,
            )


if __name__ == "__main__":
    main(__spec__, races())
