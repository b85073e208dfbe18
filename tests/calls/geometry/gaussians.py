"""Valid calls of the Gaussians topic."""

import torch

from lbdl.geometry.gaussians import (
    Gaussian,
    bayes_error_bounds,
    bhattacharyya_coefficient,
    bhattacharyya_distance,
    cholesky_of,
    covariance_of,
    entropy,
    fisher_squared,
    from_samples,
    hellinger,
    hellinger_squared,
    kl_divergence,
    kl_divergence_by_formula,
    kl_to_standard_normal,
    laplace_approximation,
    laplace_log_integral,
    log_density,
    log_det,
    mahalanobis_squared,
    natural_gradient,
    safe_root,
    sample,
    score,
    stretch_cost,
    trace,
)
from tests.calls import Call, generator, normal, uniform


def spread(*batch: int, d: int = 3, seed: int = 0) -> torch.Tensor:
    root = normal(*batch, d, 3 * d, seed=seed)
    return root @ root.mT / (3 * d) + 0.1 * torch.eye(d)


P = Gaussian(normal(3), spread())
Q = Gaussian(normal(3, seed=1), spread(seed=1))
PAIR = {"p": P, "q": Q}
X, CHANGE = normal(5, 3), spread(seed=2)
HOLDS = {"alias": "a Gaussian holds its tensors, as torch.distributions does"}


def log_f(x: torch.Tensor) -> torch.Tensor:
    return -(x.square() + x.cosh()).sum()


CALLS = [
    Call(Gaussian, {"mean": P.mean, "covariance": P.covariance}, skips=HOLDS),
    Call(covariance_of, {"p": P}, skips=HOLDS),
    *(Call(f, {"p": P}) for f in (cholesky_of, log_det, trace, entropy)),
    *(
        Call(f, {"p": P, "x": X}, skips=HOLDS)
        for f in (mahalanobis_squared, log_density, score)
    ),
    Call(sample, {"p": P, "n": 4, "generator": generator()}),
    Call(from_samples, {"x": normal(6, 3), "correction": 1}),
    Call(safe_root, {"x": uniform(4)}, degrees={"x": 0.5}),
    Call(stretch_cost, {"a": uniform(4) + 0.5}),
    *(
        Call(f, PAIR)
        for f in (
            kl_divergence,
            kl_divergence_by_formula,
            bhattacharyya_distance,
            bhattacharyya_coefficient,
            hellinger,
            hellinger_squared,
        )
    ),
    Call(bayes_error_bounds, {**PAIR, "prior": 0.3}),
    Call(
        kl_to_standard_normal,
        {"mean": normal(4, 3), "log_variance": normal(4, 3, seed=1)},
    ),
    Call(fisher_squared, {"p": P, "mean": normal(3), "covariance": CHANGE}),
    Call(natural_gradient, {"p": P, "mean": normal(3), "covariance": CHANGE}),
    Call(
        laplace_approximation,
        {"log_f": log_f, "start": normal(2, 3), "steps": 20},
    ),
    Call(laplace_log_integral, {"log_f": log_f, "p": P}),
]
