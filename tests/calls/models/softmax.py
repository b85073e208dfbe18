"""Valid calls of the softmax topic."""

from lbdl.models.softmax import (
    OnlineSoftmax,
    expected_calibration_error,
    fit_temperature,
    gumbel_softmax,
    logsumexp,
    merge,
    nothing_seen,
    online_softmax,
    perturb_max,
    sample_perturb_max,
    softmax,
    softmax_jacobian,
    straight_through,
    summarize,
)
from tests.calls import Call, generator, labels, normal

X = normal(3, 5)
P = softmax(X)
TARGET = labels(3, below=5)
SEEN = summarize(X, normal(5, 2, seed=1))

CALLS = [
    Call(softmax, {"x": X, "dim": -1, "temperature": 0.5}),
    Call(logsumexp, {"x": X, "dim": -1, "temperature": 0.5}),
    Call(softmax_jacobian, {"p": P}),
    Call(perturb_max, {"x": X, "noise": "normal", "dim": -1, "nodes": 161}),
    Call(
        sample_perturb_max,
        {
            "x": X,
            "samples": 8,
            "noise": "gumbel",
            "dim": -1,
            "generator": generator(),
        },
    ),
    Call(
        OnlineSoftmax, SEEN._asdict(), takes=dict.fromkeys(SEEN._fields, "anything")
    ),
    Call(summarize, {"scores": X, "values": normal(5, 2, seed=1)}),
    Call(merge, {"first": SEEN, "second": summarize(X + 1, normal(5, 2, seed=2))}),
    Call(nothing_seen, {"like": SEEN}),
    Call(online_softmax, {"scores": X, "values": normal(5, 2, seed=1), "block": 2}),
    Call(
        fit_temperature,
        {
            "x": normal(40, 3),
            "target": normal(40, 3).mul(2).add(normal(40, 3, seed=1)).argmax(-1),
        },
    ),
    Call(expected_calibration_error, {"p": P, "target": TARGET, "bins": 4}),
    Call(
        gumbel_softmax,
        {
            "x": X,
            "temperature": 0.7,
            "hard": True,
            "dim": -1,
            "generator": generator(),
        },
        takes={"hard": "none"},
    ),
    Call(straight_through, {"value": X, "slope": P}),
]
