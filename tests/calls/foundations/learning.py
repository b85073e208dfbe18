"""Valid calls of learning from examples."""

import torch
from torch import nn

from lbdl.foundations.learning import (
    chebyshev_basis,
    distinct_rows,
    early_stopped_path,
    effective_parameters,
    empirical_risk,
    error_rate,
    fast_leave_one_out,
    fast_ridge_path,
    fill_,
    gaussian_basis,
    hat_matrix,
    kernel_log_density,
    least_squares,
    leave_one_out,
    monomial_basis,
    random_relu_units,
    relu_basis,
    ridge,
    ridge_dual,
    ridge_normal,
    ridge_path,
    row_spread,
    should_stop,
    stopping_time,
)
from tests.calls import Call, generator, labels, normal, uniform

X, CENTRES = normal(4, 2), normal(3, 2, seed=1)
F, Y = normal(5, 3), normal(5, 2, seed=1)
PROBLEM = {"features": F, "y": Y}
STRENGTHS = torch.tensor([0.1, 2.0])
ANY = "integers bools floats complex"  # what an example is, model and loss know
COUNTS = "integers floats"

CALLS = [
    Call(monomial_basis, {"x": normal(4), "count": 3}),
    Call(chebyshev_basis, {"x": normal(4), "count": 4}),
    Call(gaussian_basis, {"x": X, "centres": CENTRES, "width": 0.7}),
    Call(gaussian_basis, {"x": X, "centres": CENTRES, "width": uniform(3) + 1}),
    Call(
        relu_basis,
        {"x": X, "directions": normal(2, 3), "thresholds": normal(3)},
    ),
    Call(
        random_relu_units,
        {
            "d": 2,
            "count": 3,
            "generator": generator(),
            "dtype": torch.float32,
        },
    ),
    Call(kernel_log_density, {"x": X, "examples": CENTRES, "width": 0.7}),
    Call(
        empirical_risk,
        {
            "loss": lambda p, y: (p - y).square(),
            "model": lambda x: x.sum(-1),
            "x": X,
            "y": normal(4),
        },
        takes={"x": ANY, "y": ANY},
    ),
    Call(
        error_rate,
        {"scores": normal(2, 5, 3), "classes": labels(5, below=3)},
        degrees={"scores": 0},
    ),
    Call(least_squares, PROBLEM, degrees={"y": 1, "features": -1}),
    Call(ridge_normal, {**PROBLEM, "strength": 0.5}, degrees={"y": 1}),
    Call(ridge, {**PROBLEM, "strength": 0.5}, degrees={"y": 1}),
    Call(ridge_dual, {**PROBLEM, "strength": 0.5}, degrees={"y": 1}),
    Call(ridge_path, {**PROBLEM, "strengths": STRENGTHS}, degrees={"y": 1}),
    Call(fast_ridge_path, {**PROBLEM, "strengths": STRENGTHS}, degrees={"y": 1}),
    Call(
        early_stopped_path,
        {**PROBLEM, "lr": 0.05, "steps": torch.tensor([0, 3, 10])},
        takes={"steps": COUNTS},
        degrees={"y": 1},
    ),
    Call(hat_matrix, {"features": F, "strength": 0.5}),
    Call(effective_parameters, {"features": F, "strengths": STRENGTHS}),
    Call(leave_one_out, {**PROBLEM, "strengths": STRENGTHS}, degrees={"y": 1}),
    Call(fast_leave_one_out, {**PROBLEM, "strengths": STRENGTHS}, degrees={"y": 1}),
    Call(should_stop, {"losses": [3.0, 2.0, 2.5, 2.5], "patience": 2}),
    Call(
        stopping_time,
        {"losses": uniform(3, 7), "patience": 2},
        skips={"nan": "epochs are counted; a NaN ends a training, as it says"},
        degrees={"losses": 0},
    ),
    Call(fill_, {"model": nn.Linear(2, 3), "value": 0.5}),
    Call(row_spread, {"rows": normal(4, 3)}, degrees={"rows": 1}),
    Call(distinct_rows, {"rows": normal(4, 3), "tolerance": 0.1}),
]
