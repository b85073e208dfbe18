"""Valid calls of memory."""

import torch
from torch import nn

from lbdl.foundations.memory import (
    Frame,
    LiveMemory,
    ReversibleBlock,
    best_tapered_lengths,
    checkpoint,
    checkpoint_chain,
    checkpoint_revolve,
    equal_lengths,
    live_memory,
    next_scale,
    peak_bytes,
    peak_states,
    reversible_chain,
    reversible_chain_inverse,
    reversible_chain_stored,
    revolve_cost,
    revolve_split,
    saved_bytes,
    tapered_lengths,
    unscale,
)
from tests.calls import Call, normal

X, Y = normal(3, 4), normal(3, 4, seed=1)
B = normal(2, seed=3)
LAYERS = [torch.tanh, torch.sin, torch.exp]
BLOCKS = [ReversibleBlock(nn.Tanh(), nn.Sigmoid())]
ANY_TENSOR = {"x": "integers bools complex"}  # class numbers, say


def curve(x):
    return (x * x).exp().sum(-1)


def job():
    return torch.ones(3)


def anything(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "anything none")


CALLS = [
    Call(
        LiveMemory,
        {"peak": 3, "kept": 2, "timeline": [1, 3, 2]},
        takes=anything("peak", "kept", "timeline"),
    ),
    Call(Frame, {"f": curve, "inputs": [X]}),
    Call(unscale, {"gradients": [X, B], "scale": 1024.0}),
    Call(
        next_scale,
        {
            "scale": 1024.0,
            "good": 3,
            "finite": True,
            "growth": 2.0,
            "backoff": 0.5,
            "interval": 2000,
        },
        takes={"finite": "none"},
    ),
    Call(live_memory, {"job": job}),
    Call(saved_bytes, {"job": job}),
    Call(peak_bytes, {"job": job, "device": "cpu"}),
    Call(checkpoint, {"f": curve, "inputs": [X]}, takes=anything("inputs")),
    Call(
        checkpoint_chain,
        {"layers": LAYERS, "x": X, "lengths": [2, 1]},
        takes=ANY_TENSOR,
    ),
    Call(
        checkpoint_revolve, {"layers": LAYERS, "x": X, "slots": 2}, takes=ANY_TENSOR
    ),
    Call(equal_lengths, {"layers": 7, "count": 3}),
    Call(tapered_lengths, {"layers": 7, "count": 3}),
    Call(best_tapered_lengths, {"layers": 7}),
    Call(peak_states, {"lengths": [4, 2, 1]}),
    Call(revolve_cost, {"layers": 7, "slots": 2}),
    Call(revolve_split, {"layers": 7, "slots": 2}),
    Call(ReversibleBlock, {"f": nn.Tanh(), "g": nn.Sigmoid()}),
    Call(reversible_chain, {"blocks": BLOCKS, "x1": X, "x2": Y}),
    Call(reversible_chain_stored, {"blocks": BLOCKS, "x1": X, "x2": Y}),
    Call(reversible_chain_inverse, {"blocks": BLOCKS, "y1": X, "y2": Y}),
]
