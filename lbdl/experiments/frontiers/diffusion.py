"""The heavy experiment on diffusion: when does a denoiser learn the digits by heart?

Networks are trained on few and on many digits. The best denoiser of the training
images alone is known, for they are a mixture of atoms, and it gives nothing but
copies: how near does each network come to it, and how many of its samples are copies?

Karras et al. 2022, arXiv:2206.00364, for the training.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl.core import data
from lbdl.frontiers.diffusion import (
    Denoiser,
    Mixture,
    edm_coefficients,
    karras_sigmas,
    lognormal_sigmas,
    posterior_mean,
    sample_ode,
)
from lbdl.lab import Run, Steps, experiment

__all__ = ["LEVELS", "learned_by_heart"]

LEVELS = (0.3, 0.6, 1.2)  # where denoisers are judged
HALF = 0.5  # a copy: nearer than this share of the distance to the second nearest
WARMUP = 20  # steps in which the rate rises


class Weighted(nn.Module):
    """A denoiser that reads points and levels in one tensor, and whose guesses are
    divided by c_out, so that their plain squared error is EDM's loss."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, rows: Tensor) -> Tensor:
        x, sigma = rows[:, :-1], rows[:, -1]
        out = edm_coefficients(sigma[:, None], self.denoiser.sigma_data)[1]
        guess: Tensor = self.denoiser(x, sigma)
        return guess / out


def batches(
    run: Run, images: Tensor, sigma_data: float, steps: int, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Noisy images with their levels, and what `Weighted` should give for them."""
    draw = run.generator(f"batches/{len(images)}/{steps}")
    for _ in range(steps):
        rows = torch.randint(len(images), (size,), generator=draw)
        sigma = lognormal_sigmas(size, generator=draw)[:, None]
        x0, z = images[rows], torch.randn(size, images.shape[1], generator=draw)
        out = edm_coefficients(sigma, sigma_data)[1]
        noisy = torch.cat([x0 + sigma * z, sigma], 1)
        yield noisy.to(run.device), (x0 / out).to(run.device)


def rate_factor(t: int, steps: int) -> float:
    """The share of the highest rate: it rises for a moment, and falls along a
    line."""
    return min((t + 1) / WARMUP, 1.0) * (1 - t / steps)


@torch.no_grad()
def errors(guess: Any, images: Tensor, noise: Tensor) -> Tensor:
    """The squared error a pixel of a denoiser, one for each of `LEVELS`."""
    noisy = [images + sigma * noise for sigma in LEVELS]
    guesses = [guess(x, sigma) for x, sigma in zip(noisy, LEVELS, strict=True)]
    return torch.stack([(g - images).square().mean() for g in guesses]).cpu()


def copies(x: Tensor, images: Tensor) -> Tensor:
    """The share of points to which one training image is less than half as far as
    all others."""
    first, second = torch.cdist(x, images).topk(2, largest=False).values.unbind(1)
    return (first < HALF * second).float().mean().cpu()


def at_one_level(net: Denoiser) -> Any:
    """A denoiser whose level is one number for all points."""
    return lambda x, sigma: net(x, x.new_full((len(x),), sigma))


def best_denoiser(images: Tensor) -> Any:
    """The mean of the images that a noisy point can stem from: of atoms."""
    n = len(images)
    atoms = Mixture(
        images.new_full((n,), 1 / n), images.clone(), images.new_zeros(n)
    )
    return lambda x, sigma: posterior_mean(atoms, x, 1.0, sigma)


def trained(
    run: Run, images: Tensor, sigma_data: float, size: dict[str, Any]
) -> Denoiser:
    """A denoiser of some images."""
    stream = run.generator("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream.initial_seed())
        net = Denoiser(
            images.shape[1], size["width"], size["depth"], 0, sigma_data
        ).to(run.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=size["rate"])
    steps = size["steps"]
    found = batches(run, images, sigma_data, steps, size["batch"])
    take_step = Steps(Weighted(net), F.mse_loss, optimizer)
    take_step.follow(found, partial(rate_factor, steps=steps))
    return net


@experiment(
    "learned_by_heart",
    chapter="frontiers/diffusion",
    shows="denoisers of few and of many digits: errors on seen and unseen images, and how many samples are copies",
    small={
        "counts": [16, 64],
        "size": {"width": 16, "depth": 1, "batch": 16, "steps": 30, "rate": 3e-3},
        "draws": 32,
    },
    cpu={
        "counts": [16, 64, 256, 1024],
        "size": {
            "width": 128,
            "depth": 2,
            "batch": 64,
            "steps": 1500,
            "rate": 3e-3,
        },
        "draws": 200,
    },
    full={
        "counts": [16, 64, 256, 1024],
        "size": {
            "width": 512,
            "depth": 4,
            "batch": 256,
            "steps": 4000,
            "rate": 1e-3,
        },
        "draws": 1000,
    },
)
def learned_by_heart(
    run: Run, counts: list[int], size: dict[str, Any], draws: int
) -> dict[str, Tensor]:
    """Errors and copies for each number of training images.

        seen, unseen (counts, levels): squared error a pixel of the network
        best_seen, best_unseen: the same of the best denoiser of the training images
        copied (counts,): the share of copies among samples
        copied_unseen (counts,): the same among images that nobody trained on

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        counts: how many training images.
        size: of the network (width, depth) and of the training (batch, steps, rate).
        draws: samples of each network.

    Returns:
        The arrays named above.

    Source: Karras et al. 2022, arXiv:2206.00364, for the training.
    """
    digits = data.digits()
    images, unseen = 2 * digits.train.x - 1, (2 * digits.test.x - 1).to(run.device)
    sigma_data = float(images.std())
    names = ("seen", "unseen", "best_seen", "best_unseen")
    table = {n: torch.zeros(len(counts), len(LEVELS)) for n in names}
    shares = {n: torch.zeros(len(counts)) for n in ("copied", "copied_unseen")}
    sigmas = torch.cat([karras_sigmas(24, 0.02, 80.0), torch.zeros(1)])
    for i in run.chunks(len(counts), **table, **shares):
        few, draw = images[: counts[i]], run.generator(f"noise/{counts[i]}")
        net = trained(run, few, sigma_data, size)
        few = few.to(run.device)
        best = best_denoiser(few)
        for name, x in (("seen", few), ("unseen", unseen)):
            noise = torch.randn(x.shape, generator=draw).to(run.device)
            table[name][i] = errors(at_one_level(net), x, noise)
            table[f"best_{name}"][i] = errors(best, x, noise)
        start = 80 * torch.randn(draws, few.shape[1], generator=draw)
        with torch.no_grad():
            drawn = sample_ode(at_one_level(net), start.to(run.device), sigmas)
        shares["copied"][i] = copies(drawn, few)
        shares["copied_unseen"][i] = copies(unseen, few)
    return {**table, **shares}
