"""Valid calls of the positions topic."""

import torch

from lbdl.models.positions import (
    ALiBi,
    LearnedPositions,
    Rotary,
    T5Bias,
    alibi_bias,
    alibi_slopes,
    fast_rope,
    frequencies,
    rope,
    rope_2d,
    rope_turns,
    sinusoidal,
    t5_bucket,
    xpos,
    xpos_scales,
)
from tests.calls import Call, normal, uniform

X, PLACES = normal(2, 3, 8), torch.tensor([0.0, 1.0, 5.5])

CALLS = [
    Call(frequencies, {"width": 8, "base": 100.0}),
    Call(sinusoidal, {"positions": PLACES, "width": 8, "base": 100.0}),
    Call(rope, {"x": X, "positions": PLACES, "base": 100.0}, degrees={"x": 1}),
    Call(
        rope_turns,
        {"positions": PLACES, "width": 8, "base": 100.0, "double": False},
    ),
    Call(
        fast_rope,
        {"x": X, "turns": rope_turns(PLACES, 8)},
        takes={"turns": "complex"},
        degrees={"x": 1},
    ),
    Call(
        rope_2d,
        {"x": X, "places": 3 * uniform(3, 2), "base": 100.0},
        degrees={"x": 1},
    ),
    Call(
        xpos,
        {
            "q": X,
            "k": normal(2, 3, 8, seed=1),
            "positions": PLACES,
            "base": 100.0,
            "gamma": 0.4,
            "scale_base": 8.0,
        },
    ),
    Call(
        xpos_scales,
        {"positions": PLACES, "width": 8, "gamma": 0.4, "scale_base": 8.0},
    ),
    Call(
        t5_bucket,
        {
            "distance": torch.tensor([-3, 0, 40]),
            "buckets": 16,
            "farthest": 64,
            "bidirectional": True,
        },
    ),
    Call(alibi_slopes, {"heads": 6}),
    Call(alibi_bias, {"heads": 2, "n": 3, "m": 5}),
    Call(ALiBi, {"heads": 2}),
    Call(LearnedPositions, {"length": 5, "width": 4}),
    Call(Rotary, {"width": 8, "base": 100.0}),
    Call(
        T5Bias, {"heads": 2, "buckets": 16, "farthest": 64, "bidirectional": True}
    ),
]
