"""Valid calls of gradient descent and its family."""

import torch

from lbdl.foundations.gradient_descent import (
    adam,
    adam_,
    adamw,
    best_heavy_ball,
    best_nesterov,
    best_rate,
    damped_newton,
    dual_order,
    fgsm,
    gradient_and_hessian,
    gradient_descent,
    gradient_of,
    heavy_ball,
    iteration_matrix,
    lipschitz_bound,
    minimize,
    muon,
    nesterov,
    nesterov_lookahead,
    newton,
    newton_trajectory,
    quadratic_bowl,
    rmsprop,
    rosenbrock,
    saddle,
    saddle_free_newton,
    schedule_free,
    spectral_radius,
    stability_limit,
    steepest_descent,
    steepest_direction,
    steps_to,
    trajectory,
    trust_region_newton,
    with_l2,
    worst_logistic_loss,
)
from tests.calls import Call, normal, uniform


def bowl(w):
    """A round bowl."""
    return w.square().sum(-1)


W, GRADIENT, MEMORY = normal(3, 2), normal(3, 2, seed=1), normal(3, 2, seed=2)
HALF = normal(3, 2, 2, seed=3)
HESSIAN = HALF @ HALF.mT + torch.eye(2)
STEP = {"w": W, "gradient": GRADIENT}
MOMENTUM = {**STEP, "state": MEMORY, "lr": 0.1, "beta": 0.9}
MOMENTS = (MEMORY, MEMORY.square(), 3)
ADAM = {**STEP, "state": MOMENTS, "lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3}
NEWTON = {**STEP, "hessian": HESSIAN}
FUNCTION = {"nan": "a function comes back"}
SIGNS = torch.tensor([1.0, -1.0, 1.0])

CALLS = [
    Call(gradient_descent, {**STEP, "lr": 0.1}),
    Call(gradient_descent, {**STEP, "lr": uniform(3, 1)}),
    Call(heavy_ball, MOMENTUM),
    Call(heavy_ball, {**MOMENTUM, "state": None}),
    Call(nesterov, MOMENTUM),
    Call(nesterov, {**MOMENTUM, "state": None}),
    Call(
        nesterov_lookahead,
        {
            "w": W,
            "gradient_at": lambda w: 3 * w,
            "state": MEMORY,
            "lr": 0.1,
            "beta": 0.9,
        },
    ),
    Call(rmsprop, {**MOMENTUM, "state": MEMORY.square(), "eps": 1e-3}),
    Call(adam, ADAM),
    Call(adam, {**ADAM, "state": None}),
    Call(adamw, {**ADAM, "decay": 0.1}),
    Call(with_l2, {"rule": adam, "decay": 0.1}, skips=FUNCTION),
    *[
        Call(
            steepest_direction,
            {"gradient": HALF, "norm": norm},
            degrees={"gradient": 0},
        )
        for norm in ("euclidean", "largest", "spectral")
    ],
    Call(steepest_descent, {**STEP, "lr": 0.1, "norm": "euclidean"}),
    Call(
        muon,
        {
            **STEP,
            "state": MEMORY,
            "lr": 0.1,
            "beta": 0.9,
            "decay": 0.1,
            "steps": 5,
            "dtype": torch.float32,
        },
        takes={"dtype": "none"},
    ),
    Call(
        schedule_free,
        {**STEP, "state": (MEMORY, W, 3), "lr": 0.1, "beta": 0.9},
        skips={"nan": "y follows from z and x, which the state holds"},
    ),
    Call(schedule_free, {**STEP, "state": None, "lr": 0.1, "beta": 0.9}),
    Call(
        adam_,
        {
            "weights": [W],
            "gradients": [GRADIENT],
            "state": ([MEMORY], [MEMORY.square()], 3),
            "lr": 0.1,
            "betas": (0.9, 0.99),
            "eps": 1e-3,
            "decay": 0.1,
        },
        skips={"alias": "weights and state are changed in place, as it says"},
    ),
    Call(newton, NEWTON),
    Call(damped_newton, {**NEWTON, "damping": 0.5}),
    Call(saddle_free_newton, {**NEWTON, "damping": 0.5}),
    Call(trust_region_newton, {**NEWTON, "radius": 0.5}),
    Call(
        trajectory,
        {"rule": adam, "f": bowl, "w0": W, "steps": 3, "lr": 0.1},
    ),
    Call(
        newton_trajectory,
        {"rule": damped_newton, "f": bowl, "w0": W, "steps": 3, "damping": 4.0},
    ),
    Call(
        minimize,
        {
            "rule": gradient_descent,
            "f": bowl,
            "w0": W[0],
            "tolerance": 1e-6,
            "max_steps": 3,
            "lr": 0.1,
        },
    ),
    Call(gradient_of, {"f": bowl, "w": W}),
    Call(gradient_and_hessian, {"f": bowl, "w": W}),
    Call(
        stability_limit,
        {"curvature": uniform(3) + 1, "beta": 0.9, "lookahead": False},
        degrees={"curvature": -1},
    ),
    Call(best_rate, {"smallest": 1.0, "largest": 4.0}),
    Call(best_heavy_ball, {"smallest": 1.0, "largest": 4.0}),
    Call(best_nesterov, {"smallest": 1.0, "largest": 4.0}),
    Call(steps_to, {"error": 1e-3, "rate": 0.9}),
    Call(
        iteration_matrix,
        {"curvature": uniform(3), "lr": 0.1, "beta": 0.9, "lookahead": True},
    ),
    Call(spectral_radius, {"matrix": HALF}, degrees={"matrix": 1}),
    Call(quadratic_bowl, {"curvature": uniform(2)}, skips=FUNCTION),
    Call(rosenbrock, {"w": W}),
    Call(saddle, {"w": W}, degrees={"w": 2}),
    Call(fgsm, {"x": W, "gradient": GRADIENT, "eps": 0.1}, degrees={"gradient": 0}),
    Call(
        worst_logistic_loss,
        {"w": W, "x": GRADIENT, "y": SIGNS, "eps": 0.1, "p": 3.0},
        takes={"p": "infinite"},
    ),
    Call(dual_order, {"p": 3.0}, takes={"p": "infinite"}),
    Call(lipschitz_bound, {"weights": [HALF, HESSIAN]}, degrees={"weights": 2}),
]
