"""Valid calls of the diffusion topic."""

import torch

from lbdl.frontiers.diffusion import (
    Denoiser,
    Mixture,
    alphas_bar,
    clean_from_eps,
    cosine_betas,
    ddim_coefficients,
    ddim_step,
    ddpm_posterior,
    denoising_loss,
    diffuse,
    edm_coefficients,
    eps_from_clean,
    fast_sample_ddim,
    guided,
    karras_sigmas,
    linear_betas,
    log_density,
    lognormal_sigmas,
    noised,
    posterior,
    posterior_mean,
    responsibilities,
    sample,
    sample_ddim,
    sample_ode,
    sample_sde,
    score,
    spaced_steps,
)
from tests.calls import Call, generator, normal, uniform

FIELDS = {
    "weights": torch.tensor([0.5, 0.25, 0.25]),
    "means": normal(3, 2),
    "variances": 0.5 + uniform(3),
}
P, X = Mixture(**FIELDS), normal(4, 2)
PATH = torch.tensor([0.1, 0.4, 0.7, 1.0])
WAY = torch.tensor([4.0, 1.0, 0.5])
LEVEL = 0.2 + 0.5 * uniform(4)
MOVED = {"alias": "weights that are moved by 1 are no mixture"}


def shrink(x, level):
    """A guess of data or noise: half of the point."""
    return x / 2


CALLS = [
    Call(linear_betas, {"T": 10, "first": 0.01, "last": 0.2}),
    Call(cosine_betas, {"T": 10, "offset": 0.008, "highest": 0.999}),
    Call(alphas_bar, {"betas": 0.1 + 0.5 * uniform(5)}),
    Call(spaced_steps, {"T": 10, "n": 4}),
    Call(karras_sigmas, {"n": 5, "low": 0.1, "high": 5.0, "rho": 7.0}),
    Call(diffuse, {"x0": X, "eps": normal(4, 2, seed=1), "alpha_bar": LEVEL}),
    Call(clean_from_eps, {"x": X, "eps": normal(4, 2, seed=1), "alpha_bar": LEVEL}),
    Call(eps_from_clean, {"x": X, "x0": normal(4, 2, seed=1), "alpha_bar": LEVEL}),
    Call(Mixture, FIELDS, skips=MOVED),
    Call(noised, {"p": P, "a": 0.8, "b": 0.6}, skips=MOVED),
    Call(log_density, {"p": P, "x": X}, skips=MOVED),
    Call(responsibilities, {"p": P, "x": X}, skips=MOVED),
    Call(score, {"p": P, "x": X}, skips=MOVED),
    Call(posterior_mean, {"p": P, "x": X, "a": 0.8, "b": 0.6}, skips=MOVED),
    Call(posterior, {"p": P, "x": X, "a": 0.8, "b": 0.6}, skips=MOVED),
    Call(sample, {"p": P, "n": 5, "generator": generator()}, skips=MOVED),
    Call(
        ddpm_posterior,
        {"x": X, "x0": normal(4, 2, seed=1), "alpha_bar": 0.3, "alpha_bar_next": 0.6},
    ),
    Call(
        ddim_step,
        {
            "x": X,
            "eps": normal(4, 2, seed=1),
            "alpha_bar": 0.3,
            "alpha_bar_next": 0.6,
            "eta": 0.5,
            "noise": normal(4, 2, seed=2),
        },
    ),
    *(
        Call(
            sampler,
            {"predict": shrink, "x": X, "path": PATH, "eta": 0.5, "generator": generator()},
        )
        for sampler in (sample_ddim, fast_sample_ddim)
    ),
    Call(ddim_coefficients, {"path": PATH[:-1].clone(), "eta": 0.5}),
    Call(sample_ode, {"denoise": shrink, "x": X, "sigmas": WAY, "method": "heun"}),
    Call(
        sample_sde,
        {"denoise": shrink, "x": X, "sigmas": WAY, "noise": normal(2, 4, 2), "generator": generator()},
    ),
    Call(guided, {"with_label": X, "without": normal(4, 2, seed=1), "scale": 2.0}),
    Call(edm_coefficients, {"sigma": LEVEL, "sigma_data": 0.5}),
    Call(lognormal_sigmas, {"n": 5, "mean": -1.2, "std": 1.2, "generator": generator()}),
    Call(
        denoising_loss,
        {
            "denoise": lambda x, sigma: x / 2,
            "x0": X,
            "noise": normal(4, 2, seed=1),
            "sigma": LEVEL,
            "sigma_data": 0.5,
        },
    ),
    Call(Denoiser, {"d": 3, "width": 4, "depth": 1, "labels": 2, "sigma_data": 0.5}),
]  # fmt: skip
