"""Valid calls of generalisation."""

import torch

from lbdl.foundations.generalization import (
    BiasVariance,
    bias_variance,
    isotropic_risk,
    k_folds,
    mcnemar_test,
    shift,
    wilson_interval,
)
from tests.calls import Call, generator, normal, uniform

ANY = "integers bools floats complex"  # an image of any kind
COUNTS = "integers floats"
HOLDS = "a tuple holds what it is given"

CALLS = [
    Call(k_folds, {"n": 7, "k": 3, "generator": generator()}),
    Call(
        wilson_interval,
        {"hits": torch.tensor([0, 3, 10]), "n": 10, "confidence": 0.9},
        takes={"hits": COUNTS, "n": "lists"},
    ),
    Call(
        mcnemar_test,
        {
            "only_first": torch.tensor([0, 3, 12]),
            "only_second": torch.tensor([0, 9, 2]),
        },
        takes={"only_first": COUNTS, "only_second": COUNTS},
    ),
    Call(
        shift,
        {"images": normal(2, 5, 4), "down": 1, "right": -2},
        {"images": ANY},
        {"nan": "what leaves the page is gone"},
    ),
    Call(
        BiasVariance,
        {"bias_squared": normal(3), "variance": uniform(3)},
        takes={"bias_squared": "anything", "variance": "anything"},
        skips={"alias": HOLDS},
    ),
    Call(bias_variance, {"predictions": normal(6, 4), "truth": normal(4, seed=1)}),
    Call(
        isotropic_risk,
        {
            "used": torch.tensor([0, 3, 9, 10, 30]),
            "n": 10,
            "explained": 1.0,
            "unexplained": 0.3,
        },
        takes={"used": COUNTS},
    ),
    Call(
        isotropic_risk,
        {
            "used": torch.tensor([0, 3, 9, 10, 30]),
            "n": 10,
            "explained": uniform(5).double(),
            "unexplained": 0.3,
        },
        takes={"used": COUNTS},
    ),
]
