"""Wasserstein distances of many Gaussians at once against the formula by eigenvalues, on a GPU."""

from collections.abc import Iterator

from bench.geometry.gaussians_cuda import pair
from bench.race import Place, Race, main
from lbdl.geometry.wasserstein import wasserstein, wasserstein_squared_by_roots


def races(place: Place) -> Iterator[Race]:
    for many, d, goal in ((1000, 32, 0.5), (100, 128, 0.3)):
        p, q = pair(place, many, d)
        yield Race(
            job=f"W2 of {many} pairs, d={d}, float64",
            peer="roots by eigenvalues",
            ours=lambda p=p, q=q: wasserstein(p, q),
            theirs=lambda p=p, q=q: wasserstein_squared_by_roots(p, q).sqrt(),
            goal=goal,
        )


if __name__ == "__main__":
    main(__spec__, races)
