"""Valid calls of the Johnson-Lindenstrauss topic."""

import torch

from lbdl.geometry.johnson_lindenstrauss import (
    count_sketch,
    dasgupta_gupta_dimension,
    distortion_variance,
    distortions,
    draw_count_sketch,
    draw_hadamard,
    draw_projection,
    draw_sparse_jl,
    embedding_dimension,
    fast_sparse_jl,
    gaussian_matrix,
    hadamard_projection,
    hadamard_rows,
    inner_product_tail,
    inner_product_tail_bound,
    inner_product_tail_chernoff,
    matrix_of,
    necessary_dimension,
    norm_tail,
    norm_tail_bound,
    norm_tail_chernoff,
    products_per_point,
    rademacher_matrix,
    sign_inner_product,
    sign_sketch,
    sparse_jl,
    sparse_matrix,
    subspace_distortion,
    sufficient_dimension,
    union_dimension,
    walsh_hadamard,
)
from tests.calls import Call, generator, normal

X = normal(4, 8)
DRAW = {"n": 4, "d": 8, "generator": generator()}
A = gaussian_matrix(5, 8, generator=generator())
LINEAR = {"x": 1}

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
    Call(
        distortion_variance,
        {"x": X, "n": 4, "kurtosis": 1.5},
        degrees={"x": 0},
    ),
    Call(subspace_distortion, {"u": normal(6, 2), "v": normal(4, 2, seed=1)}),
    Call(sign_sketch, {"x": X, "matrix": A}),
    Call(
        sign_inner_product,
        {"q": X, "sketch": sign_sketch(normal(4, 8, seed=1), A), "matrix": A},
        degrees={"q": 1},
    ),
    Call(gaussian_matrix, DRAW),
    Call(rademacher_matrix, DRAW),
    Call(sparse_matrix, {**DRAW, "s": 3.0}),
    Call(draw_count_sketch, DRAW),
    Call(draw_sparse_jl, {**DRAW, "s": 2}),
    Call(draw_hadamard, {**DRAW, "block": 2}),
    Call(draw_projection, {"kind": "hadamard", **DRAW}),
    Call(
        count_sketch,
        {"x": X, "sketch": draw_count_sketch(4, 8, generator=generator())},
        degrees=LINEAR,
    ),
    Call(
        sparse_jl,
        {"x": X, "sketch": draw_sparse_jl(4, 8, generator=generator())},
        degrees=LINEAR,
    ),
    Call(
        fast_sparse_jl,
        {"x": X, "sketch": draw_sparse_jl(4, 8, generator=generator()), "chunk": 2},
        degrees=LINEAR,
    ),
    Call(
        hadamard_projection,
        {"x": X, "sketch": draw_hadamard(4, 8, generator=generator()), "chunk": 16},
        degrees=LINEAR,
    ),
    Call(hadamard_rows, {"rows": torch.tensor([0, 3, 5]), "size": 8}),
    Call(walsh_hadamard, {"x": X}, degrees=LINEAR),
    Call(matrix_of, {"projection": walsh_hadamard, "d": 8}),
    Call(products_per_point, {"kind": "hadamard", "n": 4, "d": 8}),
]
