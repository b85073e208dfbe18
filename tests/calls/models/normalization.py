"""Valid calls of the normalization topic."""

import torch

from lbdl.models.normalization import (
    BatchNorm,
    DeepNetwork,
    GroupNorm,
    LayerNorm,
    ResidualNetwork,
    RMSNorm,
    alpha_dropout,
    alpha_dropout_affine,
    batch_norm,
    batch_statistics,
    dropout,
    dropout_moments,
    elu,
    fast_layer_norm,
    fast_rms_norm,
    filter_normalized,
    gaussian_moments,
    gelu,
    group_norm,
    instance_norm,
    layer_norm,
    leaky_relu,
    loss_surface,
    pooled_statistics,
    preserving_gain,
    relu,
    rms_norm,
    second_moments,
    selu,
    silu,
    softplus,
    standardize,
    standardize_backward,
)
from tests.calls import Call, generator, normal, uniform

X = normal(3, 4, 5)
LINE = normal(64)  # a whole number of vector registers: each lane is computed alike
CHANNELS = {"weight": normal(4, seed=1), "bias": normal(4, seed=2)}
FEATURES = {"weight": normal(5, seed=1), "bias": normal(5, seed=2)}
COINS = {"p": 0.3, "training": True, "generator": generator()}
PARAMETERS = {"weight": normal(2, 3), "bias": normal(2, seed=1)}
DIRECTIONS = [
    {"weight": normal(2, 3, seed=s), "bias": normal(2, seed=s)} for s in (2, 3)
]


def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
    """Some function of parameters."""
    return sum(p.square().sum() for p in parameters.values())


CALLS = [
    Call(relu, {"x": LINE}, degrees={"x": 1}),
    Call(leaky_relu, {"x": X, "slope": 0.1}, degrees={"x": 1}),
    Call(elu, {"x": X, "alpha": 1.2}),
    Call(selu, {"x": X}),
    Call(gelu, {"x": X, "approximate": False}),
    Call(silu, {"x": LINE}),
    Call(softplus, {"x": X}),
    Call(
        gaussian_moments,
        {"f": relu, "mean": normal(3), "variance": 0.5 + uniform(3)},
        takes={"mean": "floats", "variance": "floats"},
    ),
    Call(preserving_gain, {"f": relu}),
    Call(
        second_moments,
        {"f": relu, "depth": 3, "gain": 2.0, "v": 0.5 + uniform(3)},
        takes={"v": "floats"},
    ),
    Call(dropout, {"x": X} | COINS),
    Call(alpha_dropout, {"x": X} | COINS),
    Call(alpha_dropout_affine, {"p": 0.3}),
    Call(dropout_moments, {"mean": normal(3), "variance": uniform(3), "p": 0.3}),
    Call(standardize, {"x": X, "dims": -1, "eps": 0.01}),
    Call(
        standardize_backward,
        {"g": normal(3, 4, 5, seed=1), "x": X, "dims": -1, "eps": 0.01},
    ),
    Call(layer_norm, {"x": X, "axes": 1, "eps": 0.01} | FEATURES),
    Call(rms_norm, {"x": X, "weight": normal(5), "eps": 0.01}),
    Call(fast_layer_norm, {"x": X, "eps": 0.01} | FEATURES),
    Call(fast_rms_norm, {"x": X, "weight": normal(5), "eps": 0.01}),
    Call(group_norm, {"x": X, "groups": 2, "eps": 0.01} | CHANNELS),
    Call(instance_norm, {"x": X, "eps": 0.01} | CHANNELS),
    Call(
        batch_norm,
        {"x": X, "statistics": (normal(4), uniform(4)), "eps": 0.01} | CHANNELS,
    ),
    Call(batch_statistics, {"x": X}),
    Call(
        pooled_statistics,
        {
            "counts": 1 + uniform(3),
            "means": normal(3, 2),
            "variances": uniform(3, 2),
        },
    ),
    Call(BatchNorm, {"channels": 4, "momentum": 0.1, "eps": 0.01}),
    Call(LayerNorm, {"width": 4, "eps": 0.01}),
    Call(RMSNorm, {"width": 4, "eps": 0.01}),
    Call(GroupNorm, {"groups": 2, "channels": 4, "eps": 0.01}),
    Call(
        DeepNetwork,
        {
            "inputs": 3,
            "width": 4,
            "classes": 2,
            "depth": 2,
            "skip": True,
            "norm": "batch",
            "scale": 0.5,
            "generator": generator(),
        },
    ),
    Call(
        ResidualNetwork,
        {
            "channels": 1,
            "width": 4,
            "classes": 2,
            "blocks": 1,
            "kernel": 3,
            "skip": True,
            "generator": generator(),
        },
    ),
    Call(filter_normalized, {"parameters": PARAMETERS, "generator": generator()}),
    Call(
        loss_surface,
        {
            "loss": loss,
            "parameters": PARAMETERS,
            "first": DIRECTIONS[0],
            "second": DIRECTIONS[1],
            "along": normal(3),
        },
    ),
]
