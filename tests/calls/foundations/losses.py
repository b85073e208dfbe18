"""Valid calls of the losses."""

import torch

from lbdl.foundations.losses import (
    absolute_error,
    binary_cross_entropy,
    bradley_terry,
    cross_entropy,
    distillation,
    dpo,
    fast_cross_entropy,
    focal,
    gaussian_nll,
    hinge,
    l1_penalty,
    l2_penalty,
    log_softmax,
    multiclass_focal,
    multiclass_hinge,
    pinball,
    reduce,
    smoothed_optimum,
    soft_cross_entropy,
    soft_threshold,
    squared_error,
    zero_one,
)
from tests.calls import Call, labels, normal, uniform

X, Y, Z = normal(3, 5), normal(3, 5, seed=1), normal(3, 5, seed=2)
TARGET = labels(3, below=5)
BITS = (Y > 0).float()
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0])
ANY_REAL = {"targets": "integers bools"}
BINARY = {"logits": X, "targets": BITS, "reduction": "none"}
CLASSES = {"logits": X, "target": TARGET, "dim": -1, "reduction": "none"}
PAIR = {"prediction": X, "target": Y, "reduction": "none"}

CALLS = [
    Call(reduce, {"losses": X, "reduction": "none", "weights": uniform(3, 5)}),
    Call(reduce, {"losses": X, "reduction": "mean", "weights": uniform(3, 5)}),
    Call(squared_error, PAIR),
    Call(absolute_error, PAIR),
    Call(pinball, {**PAIR, "quantile": 0.9}),
    Call(pinball, {**PAIR, "quantile": 0.1 + 0.8 * uniform(5)}),
    Call(
        gaussian_nll, {"mean": X, "target": Y, "variance": 2.0, "reduction": "none"}
    ),
    Call(
        gaussian_nll,
        {"mean": X, "target": Y, "variance": Z.exp(), "reduction": "mean"},
    ),
    Call(binary_cross_entropy, {**BINARY, "weight": 3.0}, takes=ANY_REAL),
    Call(
        focal,
        {**BINARY, "gamma": 2.0, "alpha": 0.25},
        takes={**ANY_REAL, "alpha": "none"},
    ),
    Call(hinge, {**BINARY, "margin": 0.5}, takes=ANY_REAL),
    Call(log_softmax, {"logits": X, "dim": 0}),
    Call(
        soft_cross_entropy,
        {"logits": X, "q": Y.softmax(-1), "dim": -1, "reduction": "none"},
    ),
    Call(cross_entropy, {**CLASSES, "smoothing": 0.1, "weight": WEIGHT}),
    Call(
        fast_cross_entropy,
        {"logits": X, "target": TARGET, "smoothing": 0.1, "reduction": "none"},
    ),
    Call(bradley_terry, {"chosen": X, "rejected": Y, "reduction": "none"}),
    Call(
        dpo,
        {
            "chosen": X,
            "rejected": Y,
            "reference_chosen": Z,
            "reference_rejected": normal(3, 5, seed=3),
            "beta": 0.5,
            "reduction": "none",
        },
    ),
    Call(
        distillation,
        {
            "student": X,
            "teacher": Y,
            "temperature": 2.0,
            "dim": -1,
            "reduction": "none",
        },
    ),
    Call(smoothed_optimum, {"classes": 4, "smoothing": 0.1}),
    Call(multiclass_focal, {**CLASSES, "gamma": 2.0}),
    Call(multiclass_hinge, {**CLASSES, "margin": 0.5}),
    Call(zero_one, CLASSES),
    Call(l2_penalty, {"weights": [X, Y], "strength": 0.1}),
    Call(l1_penalty, {"weights": [X, Y], "strength": 0.1}, degrees={"weights": 1}),
    Call(soft_threshold, {"w": X, "threshold": 0.5}),
]
