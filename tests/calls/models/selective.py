"""Valid calls of selective state spaces."""

from lbdl.models.selective import (
    SelectiveSSM,
    decay_mask,
    fast_linear_scan,
    fast_selective_scan,
    linear_scan,
    selective_attention,
    selective_scan,
)
from tests.calls import Call, normal, uniform

SELECTION = {
    "u": normal(2, 7, 3),
    "delta": uniform(2, 7, 3),
    "A": -uniform(3, 4),
    "B": normal(2, 7, 4),
    "C": normal(2, 7, 4, seed=1),
    "D": normal(3),
}
SCAN = {"a": uniform(2, 7, 3), "b": normal(2, 7, 3), "start": normal(2, 3)}
STEPS = {"least_step": 1e-3, "most_step": 0.1}

CALLS = [
    Call(linear_scan, SCAN),
    Call(fast_linear_scan, SCAN),
    Call(selective_scan, SELECTION),
    Call(fast_selective_scan, SELECTION),
    Call(decay_mask, {"log_decay": -uniform(2, 7)}),
    Call(
        selective_attention,
        {
            "values": normal(2, 7, 3),
            "log_decay": -uniform(2, 7),
            "keys": normal(2, 7, 4),
            "queries": normal(2, 7, 4, seed=1),
        },
        degrees={"values": 1},
    ),
    Call(SelectiveSSM, {"width": 3, "states": 4, "rank": 1, **STEPS}),
]
