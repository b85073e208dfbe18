"""Valid calls of the Johnson-Lindenstrauss topic."""

from lbdl.geometry.johnson_lindenstrauss import (
    dasgupta_gupta_dimension,
    distortions,
    embedding_dimension,
    gaussian_matrix,
    necessary_dimension,
    rademacher_matrix,
    sufficient_dimension,
    union_dimension,
)
from tests.calls import Call, generator, normal

X = normal(4, 8)
DRAW = {"n": 4, "d": 8, "generator": generator()}

CALLS = [
    Call(sufficient_dimension, {"points": 20, "eps": 0.5, "constant": 16.0}),
    Call(dasgupta_gupta_dimension, {"points": 20, "eps": 0.5}),
    Call(union_dimension, {"points": 20, "eps": 0.5, "failure": 0.1}),
    Call(necessary_dimension, {"points": 20, "eps": 0.5}),
    Call(embedding_dimension, {"words": 512}, takes={"words": "floats"}),
    Call(distortions, {"x": X, "y": normal(4, 3)}),
    Call(gaussian_matrix, DRAW),
    Call(rademacher_matrix, DRAW),
]
