"""Valid calls of the Wasserstein topic."""

import torch

from lbdl.geometry.gaussians import Gaussian
from lbdl.geometry.wasserstein import (
    barycenter,
    frechet_distance,
    geodesic,
    kernel_distance,
    matrix_sqrt,
    optimal_map,
    sylvester,
    transport,
    wasserstein,
    wasserstein_squared,
    wasserstein_squared_by_alignment,
    wasserstein_squared_by_roots,
)
from tests.calls import Call, normal
from tests.calls.geometry.gaussians import PAIR, X, spread

SAMPLES = {"x": normal(6, 3), "y": normal(5, 3, seed=1)}

CALLS = [
    Call(matrix_sqrt, {"a": spread()}, degrees={"a": 0.5}),
    Call(sylvester, {"x": spread(), "g": normal(3, 3)}, degrees={"x": -1, "g": 1}),
    *(
        Call(f, PAIR)
        for f in (
            wasserstein,
            wasserstein_squared,
            wasserstein_squared_by_roots,
            wasserstein_squared_by_alignment,
            optimal_map,
        )
    ),
    Call(frechet_distance, SAMPLES),
    Call(kernel_distance, {**SAMPLES, "degree": 3}),
    Call(transport, {**PAIR, "x": X}),
    Call(geodesic, {**PAIR, "t": 0.3}),
    Call(
        barycenter,
        {
            "gaussians": Gaussian(normal(2, 3), spread(2)),
            "weights": torch.tensor([0.25, 0.75]),
            "steps": 3,
        },
    ),
]
