"""Valid calls of the Johnson-Lindenstrauss topic."""

import torch

from lbdl.geometry.johnson_lindenstrauss import (
    dasgupta_gupta_dimension,
    distortions,
    embedding_dimension,
    gaussian_matrix,
    inner_product_tail,
    inner_product_tail_bound,
    inner_product_tail_chernoff,
    necessary_dimension,
    norm_tail,
    norm_tail_bound,
    norm_tail_chernoff,
    rademacher_matrix,
    sufficient_dimension,
    union_dimension,
)
from tests.calls import Call, generator, normal

X = normal(4, 8)
DRAW = {"n": 4, "d": 8, "generator": generator()}

CALLS = [
    *(
        Call(f, {"n": 20.0, "eps": torch.tensor([0.2, 0.5])})
        for f in (
            norm_tail,
            norm_tail_bound,
            norm_tail_chernoff,
            inner_product_tail,
            inner_product_tail_bound,
            inner_product_tail_chernoff,
        )
    ),
    Call(sufficient_dimension, {"points": 20, "eps": 0.5, "constant": 16.0}),
    Call(dasgupta_gupta_dimension, {"points": 20, "eps": 0.5}),
    Call(union_dimension, {"points": 20, "eps": 0.5, "failure": 0.1}),
    Call(necessary_dimension, {"points": 20, "eps": 0.5}),
    Call(embedding_dimension, {"words": 512}, takes={"words": "floats"}),
    Call(distortions, {"x": X, "y": normal(4, 3)}),
    Call(gaussian_matrix, DRAW),
    Call(rademacher_matrix, DRAW),
]
