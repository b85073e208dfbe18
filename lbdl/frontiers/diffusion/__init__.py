"""Diffusion: noise is added to data, and a denoiser leads the way back.

`schedules.py` has the tables of noise, `mixture.py` a density about which
everything is known at every time, `samplers.py` the ways from noise to data and
guidance, `network.py` a denoiser that is learnt.

Sohl-Dickstein et al. 2015, arXiv:1503.03585; Ho, Jain & Abbeel 2020,
arXiv:2006.11239; Song et al. 2021, arXiv:2011.13456; Karras et al. 2022,
arXiv:2206.00364.
"""

from lbdl.frontiers.diffusion.mixture import (
    Mixture,
    log_density,
    noised,
    posterior,
    posterior_mean,
    responsibilities,
    sample,
    score,
)
from lbdl.frontiers.diffusion.network import (
    Denoiser,
    denoising_loss,
    edm_coefficients,
    lognormal_sigmas,
)
from lbdl.frontiers.diffusion.samplers import (
    ddim_coefficients,
    ddim_step,
    ddpm_posterior,
    fast_sample_ddim,
    guided,
    sample_ddim,
    sample_ode,
    sample_sde,
)
from lbdl.frontiers.diffusion.schedules import (
    alphas_bar,
    clean_from_eps,
    cosine_betas,
    diffuse,
    eps_from_clean,
    karras_sigmas,
    linear_betas,
    spaced_steps,
)

__all__ = [
    "Denoiser",
    "Mixture",
    "alphas_bar",
    "clean_from_eps",
    "cosine_betas",
    "ddim_coefficients",
    "ddim_step",
    "ddpm_posterior",
    "denoising_loss",
    "diffuse",
    "edm_coefficients",
    "eps_from_clean",
    "fast_sample_ddim",
    "guided",
    "karras_sigmas",
    "linear_betas",
    "log_density",
    "lognormal_sigmas",
    "noised",
    "posterior",
    "posterior_mean",
    "responsibilities",
    "sample",
    "sample_ddim",
    "sample_ode",
    "sample_sde",
    "score",
    "spaced_steps",
]
