"""Valid calls of the contrastive topic."""

import torch

from lbdl.frontiers.contrastive import (
    accumulate,
    accumulate_naively,
    clip_gradients,
    clip_loss,
    fast_clip_loss,
    log_sums,
    pair_gradients,
    pair_loss,
    sigmoid_pairs,
    surrogate,
)
from tests.calls import Call, normal

SCALE = torch.tensor(1.5)
TARGETS = torch.tensor(
    [[0.0, 0.25, 0.75, 0.0], [0.0, 0.0, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0]]
)
MASK = torch.eye(3, 4, dtype=torch.bool)
STEP = {
    "loss": lambda a, b: clip_loss(a, b, scale=2.0),
    "encoders": [torch.nn.Linear(4, 2), torch.nn.Linear(3, 2)],
    "inputs": [normal(5, 4), normal(5, 3)],
    "chunk": 2,
}

CALLS = [
    *(
        Call(
            function,
            {"first": normal(3, 2), "second": normal(4, 2), "targets": TARGETS, "scale": SCALE, "mask": MASK},
            takes={"scale": "lists floats", "mask": "none"},
            skips={"half": "probabilities of the test do not sum to one when rounded"},
        )
        for function in (pair_loss, pair_gradients)
    ),
    Call(clip_loss, {"first": normal(3, 2), "second": normal(3, 2), "scale": SCALE}, takes={"scale": "lists"}),
    Call(
        fast_clip_loss,
        {"first": normal(3, 2), "second": normal(3, 2), "scale": SCALE, "block": 2},
        takes={"scale": "lists"},
    ),
    Call(
        log_sums,
        {"first": normal(3, 2), "second": normal(4, 2), "scale": SCALE, "block": 2},
        takes={"scale": "lists"},
    ),
    Call(
        clip_gradients,
        {"first": normal(3, 2), "second": normal(3, 2), "rows": 1 + normal(3), "columns": 2 + normal(3)}
        | {"scale": SCALE, "block": 2},
        takes={"scale": "lists"},
    ),
    Call(
        sigmoid_pairs,
        {"first": normal(3, 2), "second": normal(4, 2), "same": TARGETS > 0, "scale": SCALE, "bias": -SCALE},
        takes={"scale": "lists", "bias": "lists"},
    ),
    Call(surrogate, {"embeddings": normal(3, 2), "pulls": normal(3, 2, seed=1)}, degrees={"embeddings": 1, "pulls": 1}),
    Call(accumulate, STEP),
    Call(accumulate_naively, STEP),
]  # fmt: skip
