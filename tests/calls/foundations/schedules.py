"""Valid calls of learning-rate schedules."""

import torch

from lbdl.foundations.schedules import (
    constant,
    cosine_restarts,
    ensemble_probabilities,
    inverse_sqrt,
    linear_warmup,
    snapshot_steps,
    trapezoid,
    triangular,
    with_warmup,
)
from tests.calls import Call, normal

STEP = {"step": torch.arange(0.5, 15, 3, dtype=torch.float64), "lr": 0.1}
COUNTS = {"step": "integers"}

CALLS = [
    Call(constant, STEP, COUNTS),
    Call(linear_warmup, {**STEP, "warmup": 7, "start": 0.1}, COUNTS),
    Call(
        cosine_restarts, {**STEP, "cycle": 4, "lr_min": 0.01, "growth": 2}, COUNTS
    ),
    Call(
        triangular, {**STEP, "half_cycle": 4, "lr_min": 0.01, "shrink": 0.5}, COUNTS
    ),
    Call(inverse_sqrt, {**STEP, "warmup": 4}, COUNTS),
    Call(trapezoid, {**STEP, "steps": 15, "decay": 5, "warmup": 4}, COUNTS),
    Call(with_warmup, {"schedule": constant, "warmup": 4, "start": 0.1}),
    Call(snapshot_steps, {"steps": 20, "cycle": 6}),
    Call(
        ensemble_probabilities,
        {"logits": normal(3, 4, 5), "models": 0, "classes": -1},
    ),
]
