"""Valid calls of stochastic gradients."""

import torch

from lbdl.foundations.stochastic_gradients import (
    average_regret,
    best_noisy_step,
    constant_rate_bound,
    decaying_rate_bound,
    draw_batch,
    exponential_mean,
    fast_per_example_gradients,
    gradient_variance,
    minibatch_variance,
    noise_scale_from_norms,
    noisy_quadratic,
    per_example_gradients,
    project_ball,
    projected_sgd,
    regret_bound,
    running_mean,
    scaled_rate,
    simple_noise_scale,
    stationary_variance,
)
from tests.calls import Call, generator, normal, uniform


def loss(w, x, y):
    """Half the squared error of a linear model."""
    return (x @ w - y).square() / 2


W, X, Y = normal(2), normal(5, 2, seed=1), normal(5, seed=2)
EXAMPLES = {"loss": loss, "w": W, "x": X, "y": Y}
ANY = "integers bools floats complex"  # what an example is, the loss knows
OF_ANY_KIND = {"x": ANY, "y": ANY}
THE_LOSS_KNOWS = {"empty": "what shape an example has, the loss knows"}
HALF = normal(3, 2, 2, seed=3)
POSITIVE = HALF @ HALF.mT + torch.eye(2)
FALLING = torch.tensor([0.5, 0.4, 0.4, 0.1, 0.05])

CALLS = [
    Call(per_example_gradients, EXAMPLES, OF_ANY_KIND, THE_LOSS_KNOWS),
    Call(fast_per_example_gradients, EXAMPLES, OF_ANY_KIND, THE_LOSS_KNOWS),
    Call(draw_batch, {"size": 7, "batch_size": 3, "generator": generator()}),
    Call(gradient_variance, {"gradients": X}, degrees={"gradients": 2}),
    Call(
        minibatch_variance,
        {"variance": uniform(3), "batch_size": 4.0, "size": 20.0},
        takes={"size": "infinite"},
        degrees={"variance": 1},
    ),
    Call(
        noisy_quadratic,
        {
            "w0": normal(3),
            "steps": 4,
            "lr": 0.1,
            "batch_size": 2.0,
            "curvature": 3.0,
            "noise": 0.5,
            "generator": generator(),
        },
    ),
    Call(
        stationary_variance,
        {"lr": 0.1, "curvature": 2.0, "variance": uniform(3), "batch_size": 4.0},
        degrees={"variance": 1},
    ),
    Call(
        stationary_variance,
        {"lr": uniform(3), "curvature": 2.0, "variance": 0.1, "batch_size": 4.0},
    ),
    Call(
        scaled_rate,
        {"lr": 0.1, "batch_size": 8.0, "new_batch_size": 32.0, "rule": "linear"},
    ),
    Call(simple_noise_scale, {"gradients": X}, degrees={"gradients": 0}),
    Call(
        noise_scale_from_norms,
        {
            "small_norm": uniform(3) + 1,
            "large_norm": uniform(3),
            "small_batch": 2,
            "large_batch": 8,
        },
    ),
    Call(
        best_noisy_step,
        {
            "gradient": normal(3, 2),
            "hessian": POSITIVE,
            "covariance": POSITIVE.flip(0),
            "batch_size": 4.0,
        },
        takes={"batch_size": "infinite"},
        degrees={"hessian": -1},
    ),
    Call(
        project_ball,
        {"w": normal(3, 2), "radius": 0.5, "center": W},
        takes={"radius": "infinite"},
    ),
    Call(
        projected_sgd,
        {"loss": loss, "w0": W, "x": X, "y": Y, "rates": FALLING, "radius": 0.5},
        takes={**OF_ANY_KIND, "radius": "infinite"},
        skips=THE_LOSS_KNOWS,
    ),
    Call(
        average_regret,
        {"losses": uniform(2, 5), "best_losses": uniform(2, 5, seed=1)},
    ),
    Call(regret_bound, {"rates": FALLING, "diameter": 2.0, "gradient_bound": 1.0}),
    Call(
        constant_rate_bound,
        {"steps": uniform(3) + 5, "diameter": 2.0, "gradient_bound": 1.0},
    ),
    Call(
        decaying_rate_bound,
        {
            "steps": uniform(3) + 5,
            "diameter": 2.0,
            "gradient_bound": 1.0,
            "alpha": 0.5,
        },
    ),
    Call(exponential_mean, {"x": X, "beta": 0.9, "dim": 0}, degrees={"x": 1}),
    Call(running_mean, {"x": X, "dim": 0}, degrees={"x": 1}),
]
