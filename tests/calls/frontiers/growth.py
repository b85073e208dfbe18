"""Valid calls of the growth topic."""

import torch

from lbdl.frontiers.growth import (
    deepen,
    part_twins,
    repeat,
    twin_spread,
    uneven_split,
    widen,
    widen_linear,
    widen_norm,
    zero_sum_noise,
)
from lbdl.models.transformer import GPT
from tests.calls import Call, generator, normal, uniform

MODEL = GPT(5, 6, 8, heads=2, tied=True)

CALLS = [
    Call(
        repeat,
        {"x": normal(3, 4), "k": 2, "dim": 0, "group": 1},
        takes={"x": "integers bools complex"},
        degrees={"x": 1},
    ),
    Call(
        widen_linear,
        {"weight": normal(3, 4), "bias": normal(3), "k": 2, "read": 0.5, "write": 1 + uniform(3)},
        takes={"bias": "none"},
    ),
    Call(widen_norm, {"norm": torch.nn.LayerNorm(4), "k": 2, "read": 0.5, "write": 2.0}),
    Call(widen, {"model": MODEL, "k": 2, "size": 0.5}),
    Call(twin_spread, {"x": normal(3, 4), "k": 2, "dim": -1}, degrees={"x": 0}),
    Call(uneven_split, {"weight": normal(3, 4), "k": 2, "u": 0.3}, degrees={"weight": 1}),
    Call(
        zero_sum_noise,
        {"weight": normal(3, 4), "k": 2, "generator": generator()},
        skips={"nan": "shape, dtype and device are read, no number"},
    ),
    Call(
        part_twins,
        {"model": widen(MODEL, 2), "k": 2, "amount": 0.3, "how": "plain", "generator": generator()},
    ),
    Call(deepen, {"model": MODEL, "at": 1, "generator": generator()}),
]  # fmt: skip
