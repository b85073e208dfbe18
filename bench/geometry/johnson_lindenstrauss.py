"""Distortions against SciPy, the matrix of the proofs against scikit-learn."""

from collections.abc import Iterator

import torch
from scipy.spatial.distance import pdist
from sklearn.random_projection import GaussianRandomProjection

from bench.race import Race, main
from lbdl.geometry.johnson_lindenstrauss import distortions, gaussian_matrix


def races() -> Iterator[Race]:
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 1024, generator=chance, dtype=torch.float64)
    y = x @ gaussian_matrix(128, 1024, generator=chance, dtype=torch.float64).mT
    yield Race(
        job="distortions of 1000 points, 1024 -> 128, float64",
        peer="scipy.spatial.distance.pdist",
        goal=1.0,
        ours=lambda: distortions(x, y),
        theirs=lambda: (pdist(y.numpy()) / pdist(x.numpy())) ** 2 - 1,
    )
    wide = torch.randn(2000, 4096, generator=chance)
    yield Race(
        job="Gaussian matrix, drawn and applied, 2000 x 4096 -> 512",
        peer="GaussianRandomProjection",
        goal=0.7,
        ours=lambda: wide @ gaussian_matrix(512, 4096, generator=chance).mT,
        theirs=lambda: GaussianRandomProjection(512, random_state=0).fit_transform(
            wide.numpy()
        ),
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["scipy", "scikit-learn"])
