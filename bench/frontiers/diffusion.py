"""DDIM's bookkeeping, and a known density, against diffusers and torch's own mixture.

The network would dominate: here it costs nothing, so that what is timed is the sampler."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch import distributions as td

from bench.race import Race, main
from lbdl.frontiers.diffusion import (
    Mixture,
    alphas_bar,
    fast_sample_ddim,
    linear_betas,
    score,
    spaced_steps,
)


def races() -> Iterator[Race]:
    try:
        from diffusers import DDIMScheduler
    except ImportError as missing:
        raise SystemExit(
            f"this race needs the package diffusers: {missing}"
        ) from None
    torch.manual_seed(0)
    x = torch.randn(4, 3, 32, 32)
    guess = torch.randn(4, 3, 32, 32)
    path = alphas_bar(linear_betas(1000))[spaced_steps(1000, 50)]
    peer = DDIMScheduler(1000, clip_sample=False, timestep_spacing="trailing")
    peer.set_timesteps(50)

    def theirs() -> Tensor:
        y = x
        for t in peer.timesteps:
            y = peer.step(guess, t, y).prev_sample
        return y

    yield Race(
        job="DDIM, 50 steps of (4, 3, 32, 32), the network free",
        peer="diffusers.DDIMScheduler",
        ours=lambda: fast_sample_ddim(lambda y, level: guess, x, path),
        theirs=theirs,
        reference=lambda: fast_sample_ddim(
            lambda y, level: guess.double(), x.double(), path
        ),
        goal=0.1,
    )
    p = Mixture(
        torch.full((64,), 1 / 64), torch.randn(64, 16), torch.rand(64) + 0.1
    )
    points = torch.randn(1000, 16)
    yield Race(
        job="score of 64 clouds at (1000, 16)",
        peer="torch.distributions and autograd",
        ours=lambda: score(p, points),
        theirs=by_autograd(p, points),
        goal=0.6,
    )


def by_autograd(p: Mixture, points: Tensor) -> Callable[[], Tensor]:
    """The score as the derivative of the log-density of torch's mixture."""
    spread = p.variances.sqrt()[:, None].expand_as(p.means)
    parts = td.Independent(td.Normal(p.means, spread), 1)
    mixture = td.MixtureSameFamily(
        td.Categorical(p.weights), parts, validate_args=False
    )

    def slope() -> Tensor:
        x = points.clone().requires_grad_()
        return torch.autograd.grad(mixture.log_prob(x).sum(), x)[0]

    return slope


if __name__ == "__main__":
    main(__spec__, races(), packages=["diffusers"])
