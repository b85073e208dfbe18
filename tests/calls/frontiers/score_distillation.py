"""Valid calls of the score distillation topic."""

import torch

from lbdl.frontiers.diffusion import Mixture
from lbdl.frontiers.score_distillation import (
    atoms,
    distillation_loss,
    exact_loss,
    exact_noise,
    fast_sliced_wasserstein,
    game_value,
    gauss_hermite,
    random_directions,
    sid_loss,
    sliced_wasserstein,
    three_forms,
)
from tests.calls import Call, generator, normal, uniform

P = Mixture(torch.tensor([0.5, 0.5]), normal(2, 2), 0.5 + uniform(2))
LINE = Mixture(torch.tensor([0.5, 0.5]), normal(2, 1), 0.5 + uniform(2))
MOVED = {"alias": "weights that are moved by 1 are no mixture"}
GUESSES = {"teacher": normal(4, 2), "student": normal(4, 2, seed=1)}
SAMPLES = {
    "x": normal(5, 2),
    "y": normal(5, 2, seed=1),
    "directions": random_directions(3, 2, generator()),
}

CALLS = [
    Call(three_forms, {**GUESSES, "noise": normal(4, 2, seed=2)}),
    Call(sid_loss, {**GUESSES, "target": normal(4, 2, seed=2), "alpha": 1.2}),
    Call(game_value, {**GUESSES, "target": normal(4, 2, seed=2)}),
    Call(atoms, {"points": normal(4, 2)}),
    Call(exact_noise, {"p": P, "x": normal(4, 2), "a": 0.8, "b": 0.6}, skips=MOVED),
    Call(gauss_hermite, {"order": 5}),
    Call(
        exact_loss,
        {
            "p": LINE,
            "points": normal(3, 1),
            "a": 0.8,
            "b": 0.6,
            "alpha": 1.0,
            "error": 0.1,
            "frozen": True,
            "order": 4,
        },
        skips=MOVED,
    ),
    Call(
        distillation_loss,
        {
            "teacher": lambda x, sigma: x / 2,
            "student": lambda x, sigma: x / 3,
            "x0": normal(4, 2),
            "noise": normal(4, 2, seed=1),
            "sigma": 0.2 + uniform(4),
            "alpha": 1.0,
        },
    ),
    Call(
        random_directions,
        {"n": 3, "d": 2, "generator": generator(), "dtype": torch.float32},
    ),
    Call(sliced_wasserstein, SAMPLES, degrees={}),
    Call(fast_sliced_wasserstein, SAMPLES),
]
