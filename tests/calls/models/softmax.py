"""Valid calls of the softmax topic."""

from lbdl.models.softmax import (
    OnlineSoftmax,
    entmax,
    entmax15,
    entmax_jacobian,
    entmax_loss,
    expected_calibration_error,
    fast_entmax,
    fast_entmax15,
    fast_sparsemax,
    fenchel_young_loss,
    fit_temperature,
    gumbel_softmax,
    logsumexp,
    margin_softmax_loss,
    merge,
    nothing_seen,
    one_hot_gap,
    online_softmax,
    perturb_max,
    sample_perturb_max,
    softmax,
    softmax_jacobian,
    sparse_softmax,
    sparse_softmax_loss,
    sparsemax,
    sparsemax_jacobian,
    sparsemax_loss,
    sparsemax_threshold,
    straight_through,
    summarize,
    taylor_softmax,
    tsallis_entropy,
    tsallis_exp,
    universal_surrogate_loss,
)
from tests.calls import Call, generator, labels, normal, uniform

X = normal(3, 5)
P = softmax(X)
TARGET = labels(3, below=5)
SEEN = summarize(X, normal(5, 2, seed=1))
SORTED = X.sort(descending=True).values

CALLS = [
    Call(softmax, {"x": X, "dim": -1, "temperature": 0.5}),
    Call(logsumexp, {"x": X, "dim": -1, "temperature": 0.5}),
    Call(taylor_softmax, {"x": X, "order": 2, "dim": -1}),
    Call(sparse_softmax, {"x": X, "k": 2, "dim": -1}),
    Call(sparsemax, {"x": X, "dim": -1}),
    Call(sparsemax_threshold, {"descending": SORTED, "dim": -1}),
    Call(entmax15, {"x": X, "dim": -1}),
    Call(entmax, {"x": X, "alpha": 1.3, "dim": -1}),
    Call(one_hot_gap, {"alpha": 1.5}),
    Call(tsallis_exp, {"u": -uniform(3, 5), "alpha": 1.5}),
    Call(softmax_jacobian, {"p": P}),
    Call(sparsemax_jacobian, {"p": sparsemax(X)}),
    Call(entmax_jacobian, {"p": entmax15(X), "alpha": 1.5}),
    Call(tsallis_entropy, {"p": P, "alpha": 1.5, "dim": -1}),
    Call(fast_sparsemax, {"x": X, "dim": -1}),
    Call(fast_entmax15, {"x": X, "dim": -1}),
    Call(fast_entmax, {"x": X, "alpha": 1.3, "dim": -1}),
    Call(
        margin_softmax_loss,
        {"cosine": X.tanh(), "target": TARGET, "margin": 0.35, "temperature": 0.05},
    ),
    Call(sparse_softmax_loss, {"x": X, "target": TARGET, "k": 5}),
    Call(sparsemax_loss, {"x": X, "target": TARGET}),
    Call(
        entmax_loss,
        {"x": X, "target": TARGET, "alpha": 1.5},
        takes={"target": "floats"},  # probabilities
    ),
    Call(
        fenchel_young_loss,
        {
            "x": X,
            "target": TARGET,
            "maximizer": sparsemax,
            "entropy": lambda p: tsallis_entropy(p, 2.0),
        },
        takes={"target": "floats"},
    ),
    Call(
        universal_surrogate_loss,
        {"x": X, "target": TARGET, "mapping": softmax},
        takes={"target": "floats"},
    ),
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
