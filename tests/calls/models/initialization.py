"""Valid calls of the initialization topic."""

from torch import nn

from lbdl.models.initialization import (
    MupScaling,
    NTKLinear,
    ScaledResidual,
    fans,
    fixup_,
    fixup_factor,
    he_moment,
    lecun_moment,
    mup_groups,
    mup_scaling,
    mup_start_,
    ntk_linear,
    orthogonal,
    post_norm_shares,
    random_weights,
    stream_moments,
    t5_moments,
    truncated_variance,
    xavier_moment,
)
from tests.calls import Call, generator, normal

IN_PLACE = {"alias": "works in place"}
ANY = {"moment": "anything", "rate": "anything"}


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))


CALLS = [
    Call(truncated_variance, {"cut": 2.0}),
    Call(
        random_weights,
        {
            "shape": (3, 4),
            "moment": 0.5,
            "law": "uniform",
            "generator": generator(),
        },
    ),
    Call(orthogonal, {"shape": (3, 4), "gain": 2.0, "generator": generator()}),
    Call(fans, {"shape": (4, 3, 5)}),
    Call(lecun_moment, {"shape": (4, 3), "gain": 2.0}),
    Call(he_moment, {"shape": (4, 3), "slope": 0.1}),
    Call(xavier_moment, {"shape": (4, 3), "gain": 2.0}),
    Call(t5_moments, {"width": 8, "heads": 2, "head_width": 4, "hidden": 16}),
    Call(
        ntk_linear,
        {
            "x": normal(2, 4),
            "weight": normal(3, 4, seed=1),
            "bias": normal(3, seed=2),
            "gain": 2.0,
        },
        degrees={},
    ),
    Call(
        NTKLinear,
        {
            "inputs": 3,
            "outputs": 2,
            "gain": 2.0,
            "bias": True,
            "generator": generator(),
        },
    ),
    Call(stream_moments, {"depth": 3, "norm": "first", "scale": 0.5}),
    Call(post_norm_shares, {"depth": 3, "scale": 0.5}),
    Call(
        ScaledResidual, {"branch": nn.Linear(3, 3), "scale": 0.5, "learned": True}
    ),
    Call(fixup_factor, {"branches": 4, "layers": 2}),
    Call(
        fixup_,
        {"branches": [[normal(3, 3), normal(3, 3, seed=1)]]},
        skips=IN_PLACE,
    ),
    Call(
        mup_scaling,
        {"shape": (3, 64), "base": (3, 8), "optimizer": "adam"},
    ),
    Call(
        mup_groups,
        {
            "model": network(8),
            "base": network(4),
            "lr": 0.1,
            "optimizer": "sgd",
        },
    ),
    Call(mup_start_, {"model": network(8), "base": network(4)}, skips=IN_PLACE),
    Call(MupScaling, {"moment": 1, "rate": 1}, takes=ANY),
]
