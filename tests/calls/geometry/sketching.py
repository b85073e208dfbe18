"""Valid calls of the sketching topic."""

import torch

from lbdl.geometry.johnson_lindenstrauss import gaussian_matrix
from lbdl.geometry.sketching import (
    count_sketch,
    distortion_variance,
    draw_count_sketch,
    draw_hadamard,
    draw_projection,
    draw_sparse_jl,
    fast_sparse_jl,
    hadamard_projection,
    hadamard_rows,
    matrix_of,
    products_per_point,
    sign_inner_product,
    sign_sketch,
    sparse_jl,
    sparse_matrix,
    subspace_distortion,
    walsh_hadamard,
)
from tests.calls import Call, generator, normal

X = normal(4, 8)
DRAW = {"n": 4, "d": 8, "generator": generator()}
A = gaussian_matrix(5, 8, generator=generator())
LINEAR = {"x": 1}

CALLS = [
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
