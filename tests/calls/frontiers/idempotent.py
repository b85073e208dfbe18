"""Valid calls of the topic of GANs and idempotent networks."""

import torch

from lbdl.frontiers.idempotent import (
    dirac_path,
    dirac_penalties,
    dirac_step,
    drift,
    fast_ign_loss,
    gan_value,
    ign_loss,
    ign_loss_by_copy,
    jensen_shannon,
    oblique_projector,
    one_loss,
    optimal_discriminator,
    r1_penalty,
    reverse_gradient,
    soft_clip,
)
from tests.calls import Call, normal, uniform


def f(y):
    """A map of the plane."""
    return torch.tanh(y.flip(-1)) + y / 2


def critic(x):
    """Scores of points of the plane."""
    return torch.tanh(x).square().sum(-1)


P, Q = normal(2, 5), normal(2, 5, seed=1)
X, Z = normal(3, 4, 2), normal(3, 5, 2, seed=1)
WEIGHTS = {"idempotence": 0.5, "tightness": 0.3}
TENSORS = {"idempotence": uniform(3), "tightness": uniform(3, seed=1)}

CALLS = [
    Call(optimal_discriminator, {"log_p": P, "log_q": Q}),
    Call(gan_value, {"real": P, "fake": Q}),
    Call(jensen_shannon, {"log_p": P, "log_q": Q, "weights": uniform(5)}, degrees={"weights": 1}),
    Call(one_loss, {"critic": critic, "real": X, "fake": Z, "weight": 0.5}),
    Call(reverse_gradient, {"x": X, "factor": 0.5}, degrees={"x": 1}),
    Call(reverse_gradient, {"x": X, "factor": uniform(4, 1)}, degrees={"x": 1}),
    Call(r1_penalty, {"critic": critic, "real": X}),
    Call(dirac_step, {"lr": 0.1, "penalty": 0.3, "alternating": True}),
    Call(dirac_penalties, {"lr": 0.1, "alternating": False}),
    Call(
        dirac_path,
        {"start": P[:, :2], "steps": 4, "lr": 0.1, "penalty": 0.3, "alternating": True, "game": "logistic"},
    ),
    Call(drift, {"f": f, "y": X}),
    Call(ign_loss_by_copy, {"f": f, "frozen": f, "x": X, "z": Z, **WEIGHTS, "clip": 1.5}),
    Call(ign_loss, {"f": f, "x": X, "z": Z, **WEIGHTS, "clip": 1.5}),
    Call(ign_loss, {"f": f, "x": X, "z": Z, **TENSORS}),
    Call(fast_ign_loss, {"f": f, "x": X, "z": Z, **WEIGHTS}),
    Call(fast_ign_loss, {"f": f, "x": X, "z": Z, **TENSORS}),
    Call(soft_clip, {"x": P, "bound": Q.abs()}),
    Call(
        oblique_projector,
        {"basis": normal(2, 4, 2), "against": normal(2, 4, 2, seed=1)},
        degrees={"basis": 0, "against": 0},
    ),
]  # fmt: skip
