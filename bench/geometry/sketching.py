"""Random projections against `sklearn.random_projection`: 10 000 points from 4096 dimensions to 512."""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.base import TransformerMixin
from sklearn.random_projection import (
    GaussianRandomProjection,
    SparseRandomProjection,
)

from bench.race import Race, main
from lbdl.geometry.johnson_lindenstrauss import distortions
from lbdl.geometry.sketching_sklearn import RandomProjection

SIZE = "10000 x 4096 -> 512"


def races() -> Iterator[Race]:
    x = torch.randn(
        10_000, 4096, generator=torch.Generator().manual_seed(0)
    ).numpy()
    gaussian = GaussianRandomProjection(512, random_state=0).fit(x)
    for kind, goal in (
        ("hadamard", 0.20),
        ("count_sketch", None),
        ("sparse_jl", 0.5),
    ):
        ours = RandomProjection(512, kind=kind, random_state=0).fit(x)
        yield Race(
            job=f"{kind} transform, {SIZE}",
            peer="GaussianRandomProjection",
            goal=goal,
            ours=lambda ours=ours: ours.transform(x),
            theirs=lambda: gaussian.transform(x),
            note=same_distortion(ours, gaussian, x),
        )
    ours = RandomProjection(512, kind="hadamard", random_state=0)
    yield Race(
        job=f"hadamard fit and transform, {SIZE}",
        peer="GaussianRandomProjection",
        goal=0.20,
        ours=lambda: ours.fit_transform(x),
        theirs=lambda: GaussianRandomProjection(512, random_state=0).fit_transform(
            x
        ),
    )
    few = x[:1000]
    ours = RandomProjection(512, kind="achlioptas", random_state=0).fit(few)
    achlioptas = SparseRandomProjection(512, density=1 / 3, random_state=0).fit(few)
    yield Race(
        job="Achlioptas transform, 1000 x 4096 -> 512",
        peer="SparseRandomProjection(density=1/3)",
        goal=1.0,
        ours=lambda: ours.transform(few),
        theirs=lambda: achlioptas.transform(few),
        note=same_distortion(ours, achlioptas, few),
    )


def same_distortion(
    ours: TransformerMixin, theirs: TransformerMixin, x: np.ndarray
) -> str:
    """Root mean square distortion of the 19 900 distances of 200 points, on both sides."""
    points = torch.tensor(x[:200])
    images = (torch.tensor(model.transform(x[:200])) for model in (ours, theirs))
    rms = [
        float(distortions(points, image).square().mean().sqrt()) for image in images
    ]
    return f"rms distortion {rms[0]:.4f} against {rms[1]:.4f}"


if __name__ == "__main__":
    main(__spec__, races(), packages=["scikit-learn"])
