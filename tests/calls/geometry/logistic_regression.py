"""Valid calls of the topic of logistic regression."""

import torch

from lbdl.geometry.logistic_regression import (
    ClassMoments,
    class_moments,
    closed_form_logistic,
    closed_form_softmax,
    conditional_gaussian,
    efron_efficiency,
    fast_class_moments,
    ledoit_wolf,
    linear_regression,
    logistic_derivatives,
    logistic_from_gaussians,
    maximum_likelihood_logistic,
    shrink,
    shrunk_class_moments,
    softmax_from_gaussians,
    within_covariance,
)
from tests.calls import Call, normal, uniform

X, Y, Z = normal(12, 2), torch.arange(12) % 2, torch.arange(12) % 3
ROOT = normal(3, 9)
COVARIANCE = ROOT @ ROOT.mT / 9 + 0.1 * torch.eye(3)
MEANS = normal(2, 3)
HALVES = torch.tensor([0.5, 0.5])
MOMENTS = ClassMoments(HALVES, MEANS, COVARIANCE)
HOLDS = {"alias": "a tuple holds its tensors"}
BOTH = {"x": X, "y": Y}
# in float64, as the moments: forward and reverse mode then answer in one dtype
THREE = {"x": X.double(), "y": Z, "num_classes": 3}

CALLS = [
    Call(
        ClassMoments,
        MOMENTS._asdict(),
        takes=dict.fromkeys(MOMENTS._fields, "anything"),
        skips=HOLDS,
    ),
    Call(
        conditional_gaussian,
        {"mean": normal(3), "covariance": COVARIANCE, "x": normal(4, 2)},
    ),
    Call(linear_regression, {"x": X, "y": normal(12, 3), "shrinkage": 0.1}),
    Call(class_moments, THREE),
    Call(fast_class_moments, THREE),
    Call(
        within_covariance,
        {
            "mean": MEANS.mean(0),
            "covariance": COVARIANCE,
            "prior": HALVES,
            "class_mean": MEANS,
        },
    ),
    Call(
        shrink,
        {"covariance": COVARIANCE, "strength": 0.3},
        degrees={"covariance": 1},
    ),
    Call(ledoit_wolf, {"centred": X - X.mean(0)}, degrees={"centred": 0}),
    Call(shrunk_class_moments, {**THREE, "shrinkage": 0.1}),
    Call(logistic_from_gaussians, {"moments": MOMENTS}),
    Call(softmax_from_gaussians, {"moments": MOMENTS}),
    Call(closed_form_logistic, {**BOTH, "shrinkage": 0.1}),
    Call(closed_form_softmax, {**THREE, "shrinkage": 0.1}),
    Call(
        maximum_likelihood_logistic,
        {**BOTH, "penalty": 0.1, "steps": 20, "tolerance": 1e-6},
    ),
    Call(
        logistic_derivatives,
        {
            "theta": normal(3),
            "rows": normal(5, 3),
            "target": uniform(5).round(),
            "ridge": uniform(3),
        },
    ),
    Call(efron_efficiency, {"gap": uniform(4)}),
]
