"""The sliced Wasserstein distance of two samples against POT."""

from collections.abc import Iterator

import torch

from bench.race import Race, main
from lbdl.frontiers.score_distillation import (
    fast_sliced_wasserstein,
    random_directions,
    sliced_wasserstein,
)


def races() -> Iterator[Race]:
    try:
        import ot
    except ImportError as missing:
        raise SystemExit(f"this race needs the package POT: {missing}") from None
    torch.manual_seed(0)
    for n, d, dtype, goal in (
        (2000, 2, torch.float64, 0.085),
        (2000, 2, torch.float32, 0.05),
        (20000, 64, torch.float64, 0.1),
    ):
        x, y = torch.randn(n, d, dtype=dtype), 2 * torch.randn(n, d, dtype=dtype)
        u = random_directions(100, d, dtype=dtype)
        a, b, columns = x.numpy(), y.numpy(), u.T.contiguous().numpy()
        wide = x.double(), y.double(), u.double()
        yield Race(
            job=f"100 directions, 2 x ({n}, {d}), {str(dtype).removeprefix('torch.')}",
            peer="ot.sliced_wasserstein_distance, NumPy",
            ours=lambda x=x, y=y, u=u: fast_sliced_wasserstein(x, y, u),
            theirs=lambda a=a, b=b, c=columns: ot.sliced_wasserstein_distance(
                a, b, projections=c
            ),
            reference=lambda wide=wide: sliced_wasserstein(*wide),
            goal=goal,
        )


if __name__ == "__main__":
    main(__spec__, races(), packages=["POT"])
