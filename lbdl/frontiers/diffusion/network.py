"""A denoiser that is learnt: EDM's preconditioning, its loss, and a small network.

Karras et al. 2022, arXiv:2206.00364.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl import require

__all__ = [
    "Denoiser",
    "denoising_loss",
    "edm_coefficients",
    "lognormal_sigmas",
]


def edm_coefficients(
    sigma: Tensor, sigma_data: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What stands around a network F, so that it reads and writes numbers of
    size 1 at every noise level.

        D(x, sigma) = c_skip x + c_out F(c_in x, sigma),   h^2 = sigma^2 + s^2
        c_skip = s^2 / h^2,   c_out = sigma s / h,   c_in = 1 / h

    Args:
        sigma: noise levels (...), floating dtype, >= 0.
        sigma_data: s, standard deviation of the data, > 0.

    Returns:
        c_skip, c_out and c_in, each (...), dtype of `sigma`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a value is out of range.

    Source: Karras et al. 2022, table 1 and appendix B.6, arXiv:2206.00364.
    """
    require.floating(sigma=sigma)
    require.within(sigma=sigma, least=0)
    require.number(sigma_data=sigma_data, above=0)
    wide = require.widen(sigma)
    length = torch.hypot(wide, torch.full_like(wide, sigma_data))
    skip, read = (sigma_data / length).square(), 1 / length
    out = wide * (sigma_data / length)
    return skip.to(sigma.dtype), out.to(sigma.dtype), read.to(sigma.dtype)


def lognormal_sigmas(
    n: int, mean: float = -1.2, std: float = 1.2, generator: Generator | None = None
) -> Tensor:
    """Noise levels to train at, most of them in the middle, where there is
    something to learn.

        log sigma ~ N(mean, std^2)

    Args:
        n: how many, a number >= 1.
        mean: of the logarithm.
        std: of the logarithm, > 0.
        generator: by default torch's.

    Returns:
        (n,), float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: Karras et al. 2022, section 5, arXiv:2206.00364.
    """
    require.whole(n=n, least=1)
    require.number(mean=mean)
    require.number(std=std, above=0)
    require.generator(generator=generator)
    device = "cpu" if generator is None else generator.device
    z = torch.empty(n, dtype=torch.float32, device=device)
    return (mean + std * z.normal_(generator=generator)).exp()


def denoising_loss(
    denoise: Callable[[Tensor, Tensor], Tensor],
    x0: Tensor,
    noise: Tensor,
    sigma: Tensor,
    sigma_data: float,
) -> Tensor:
    """How far a denoiser is from the data, weighted so that every level counts
    alike at the start.

        mean of w(sigma) |D(x_0 + sigma z, sigma) - x_0|^2 / d
        w = (sigma^2 + s^2) / (sigma s)^2 = 1 / c_out^2

    Args:
        denoise: D: of x (n, d) and sigma (n,), a guess of the data (n, d).
        x0: data (n, d), floating dtype.
        noise: z, shape and dtype of `x0`.
        sigma: noise levels (n,), > 0, dtype of `x0`.
        sigma_data: s, standard deviation of the data, > 0.

    Returns:
        A scalar, dtype of `x0`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: shapes do not fit, or a value is out of range.

    Source: Karras et al. 2022, equation (8), arXiv:2206.00364.
    """
    require.function(denoise=denoise)
    require.fitting(x0=(x0, "n d"), noise=(noise, "n d"), sigma=(sigma, "n"))
    require.within(sigma=sigma, above=0)
    require.number(sigma_data=sigma_data, above=0)
    level, clean = require.widen(sigma), require.widen(x0)
    noisy = clean + level[:, None] * require.widen(noise)
    guess = require.widen(denoise(noisy.to(x0.dtype), sigma))
    out = edm_coefficients(level, sigma_data)[1]
    return ((guess - clean) / out[:, None]).square().mean().to(x0.dtype)


class Denoiser(nn.Module):
    """A residual network with EDM's preconditioning, that knows noise level and
    label.

        h = W c_in x + E(sigma) + e_label,   h <- h + B silu(A norm(h) + E(sigma))
        D = c_skip x + c_out V norm(h)

    with E(sigma) made of sines and cosines of log(sigma) / 4. Label `labels` stands
    for no label.

    Args:
        d: size of a point, a number >= 1.
        width: of the hidden vectors, an even number >= 2.
        depth: residual blocks, a number >= 1.
        labels: how many, a number >= 0.
        sigma_data: standard deviation of the data, > 0.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: Karras et al. 2022, section 5, arXiv:2206.00364, for what stands around
        it.
    """

    def __init__(
        self, d: int, width: int, depth: int, labels: int, sigma_data: float
    ) -> None:
        super().__init__()
        require.whole(d=d, depth=depth, least=1)
        require.whole(width=width, least=2)
        require.whole(labels=labels, least=0)
        require.number(sigma_data=sigma_data, above=0)
        if width % 2:
            raise ValueError(f"width must be even, got {width}")
        self.sigma_data, self.labels = sigma_data, labels
        self.read = nn.Linear(d, width)
        self.names = nn.Embedding(labels + 1, width)
        self.level = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(DenoiserBlock(width) for _ in range(depth))
        self.norm, self.write = nn.LayerNorm(width), nn.Linear(width, d)
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def forward(
        self, x: Tensor, sigma: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """The guess of the data.

        Args:
            x: noisy points (n, d).
            sigma: their noise levels (n,), > 0.
            label: (n,), int64, from 0 to `labels`; by default none for all.

        Returns:
            (n, d).
        """
        if label is None:
            label = x.new_full((len(x),), self.labels, dtype=torch.int64)
        skip, out, read = edm_coefficients(sigma[:, None], self.sigma_data)
        level = self.level(waves(sigma.log() / 4, self.read.out_features))
        h = self.read(read * x) + self.names(label)
        for block in self.blocks:
            h = block(h, level)
        return skip * x + out * self.write(self.norm(h))


class DenoiserBlock(nn.Module):
    """h + B silu(A norm(h) + E): a step of the network, told the noise level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, width)
        self.level, self.down = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        inner: Tensor = F.silu(self.up(self.norm(h)) + self.level(level))
        return h + self.down(inner)


def waves(u: Tensor, width: int) -> Tensor:
    """Cosines and sines of u (n,) at `width` / 2 frequencies from 1 to 10."""
    rates = torch.logspace(0, 1, width // 2, dtype=u.dtype, device=u.device)
    angles = math.tau / 8 * u[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], -1)
