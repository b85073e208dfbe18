"""Many Gaussians at once against `torch.distributions`, on a GPU."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.distributions import kl_divergence as torch_kl

from bench.race import Place, Race, main
from lbdl.geometry.gaussians import Gaussian, kl_divergence


def pair(place: Place, many: int, d: int) -> tuple[Gaussian, Gaussian]:
    """Two batches of Gaussians whose covariances are those of 2 d points."""
    many, d = place.shape(many, d)
    stream = torch.Generator().manual_seed(0)
    more = {"generator": stream, "dtype": torch.float64}
    roots = torch.randn(2, many, d, 2 * d, **more).to(place.device)
    means = torch.randn(2, many, d, **more).to(place.device)
    covariances = roots @ roots.mT / (2 * d)
    return tuple(map(Gaussian, means, covariances))  # type: ignore[return-value]


def of_torch(p: Gaussian, q: Gaussian) -> Tensor:
    """The divergence of torch.distributions, constructors included, nothing checked."""
    made = [
        MultivariateNormal(r.mean, r.covariance, validate_args=False)
        for r in (p, q)
    ]
    return torch_kl(*made)


def races(place: Place) -> Iterator[Race]:
    p, q = pair(place, 1000, 32)
    yield Race(
        job="KL of 1000 pairs, d=32, float64, constructors included",
        peer="torch.distributions, validation off",
        ours=lambda: kl_divergence(
            *(Gaussian(r.mean, r.covariance) for r in (p, q))
        ),
        theirs=lambda: of_torch(p, q),
        goal=1.0,
        note="ours checks that its input is finite and symmetric",
    )


if __name__ == "__main__":
    main(__spec__, races)
