"""Valid calls of the HiPPO topic."""

import torch

from lbdl.models.hippo import (
    HiPPOCell,
    LMUCell,
    basis,
    fast_legs_solve,
    gauss_legendre,
    hippo_fourier,
    hippo_fourier_legs,
    hippo_legs,
    hippo_legt,
    hippo_lmu,
    legendre,
    legs_product,
    legs_solve,
    legs_states,
    legs_transitions,
    project,
    project_held,
    reconstruct,
    unroll,
)
from tests.calls import Call, normal, uniform

REAL = {"dtype": torch.float64}
COMPLEX = {"dtype": torch.complex128}
COMPLEX_X = {"x": "complex"}

CALLS = [
    Call(legendre, {"s": uniform(4), "N": 5}),
    Call(basis, {"s": uniform(4), "N": 5, "scale": "lebesgue"}),
    Call(hippo_legt, {"N": 3, "window": 2.0, "scale": "legendre", **REAL}),
    Call(hippo_legs, {"N": 3, "scale": "lebesgue", **REAL}),
    Call(hippo_lmu, {"N": 3, "window": 2.0, **REAL}),
    Call(hippo_fourier, {"N": 2, "window": 2.0, "closure": "mean", **COMPLEX}),
    Call(hippo_fourier_legs, {"N": 2, **COMPLEX}),
    Call(gauss_legendre, {"n": 5, **REAL}),
    Call(
        project,
        {
            "u": torch.sin,
            "t": 3.0,
            "N": 4,
            "window": 2.0,
            "scale": "probability",
            "points": 20,
            **REAL,
        },
    ),
    Call(project_held, {"u": normal(2, 7), "N": 4}, degrees={"u": 1}),
    Call(
        reconstruct,
        {"c": normal(2, 4), "s": uniform(5), "scale": "probability"},
        degrees={"c": 1},
    ),
    Call(legs_product, {"x": normal(2, 5)}, takes=COMPLEX_X, degrees={"x": 1}),
    Call(
        legs_solve,
        {"x": normal(2, 5), "step": 0.3},
        takes=COMPLEX_X,
        degrees={"x": 1},
    ),
    Call(
        fast_legs_solve,
        {"x": normal(2, 40), "step": 0.3},
        takes=COMPLEX_X,
        degrees={"x": 1},
    ),
    Call(
        legs_transitions,
        {"N": 3, "k": torch.tensor([1, 5]), "method": "exact", **REAL},
    ),
    Call(
        legs_states,
        {"u": normal(2, 7), "N": 4, "method": "bilinear"},
        degrees={"u": 1},
    ),
    Call(LMUCell, {"inputs": 2, "hidden": 3, "memory": 4, "window": 5.0}),
    Call(HiPPOCell, {"inputs": 2, "hidden": 3, "memory": 4, "longest": 5}),
    Call(unroll, {"cell": LMUCell(2, 3, 4, 5.0), "x": normal(2, 6, 2)}),
]
