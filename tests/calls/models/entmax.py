"""Valid calls of the entmax topic."""

from lbdl.models.entmax import (
    entmax,
    entmax15,
    entmax_jacobian,
    entmax_loss,
    fast_entmax,
    fast_entmax15,
    fast_sparsemax,
    fenchel_young_loss,
    margin_softmax_loss,
    one_hot_gap,
    sparse_softmax,
    sparse_softmax_loss,
    sparsemax,
    sparsemax_jacobian,
    sparsemax_loss,
    sparsemax_threshold,
    taylor_softmax,
    tsallis_entropy,
    tsallis_exp,
    universal_surrogate_loss,
)
from lbdl.models.softmax import softmax
from tests.calls import Call, labels, normal, uniform

X = normal(3, 5)
P = softmax(X)
TARGET = labels(3, below=5)
SORTED = X.sort(descending=True).values

CALLS = [
    Call(taylor_softmax, {"x": X, "order": 2, "dim": -1}),
    Call(sparse_softmax, {"x": X, "k": 2, "dim": -1}),
    Call(sparsemax, {"x": X, "dim": -1}),
    Call(sparsemax_threshold, {"descending": SORTED, "dim": -1}),
    Call(entmax15, {"x": X, "dim": -1}),
    Call(entmax, {"x": X, "alpha": 1.3, "dim": -1}),
    Call(one_hot_gap, {"alpha": 1.5}),
    Call(tsallis_exp, {"u": -uniform(3, 5), "alpha": 1.5}),
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
]
