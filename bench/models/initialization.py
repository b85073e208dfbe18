"""Drawing first weights, against torch.nn.init."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.race import Race, main
from lbdl.models.initialization import orthogonal, random_weights


def races() -> Iterator[Race]:
    shape = (1024, 1024)
    fresh = lambda: torch.empty(shape)
    yield Race(
        job=f"normal weights, {shape}",
        peer="nn.init.normal_",
        ours=lambda: random_weights(shape, 0.01),
        theirs=lambda: nn.init.normal_(fresh(), std=0.1),
        goal=1.3,
    )
    yield Race(
        job=f"uniform weights, {shape}",
        peer="nn.init.uniform_",
        ours=lambda: random_weights(shape, 0.01, "uniform"),
        theirs=lambda: nn.init.uniform_(fresh(), -(0.03**0.5), 0.03**0.5),
        note="two passes more over the numbers: measured, no goal",
    )
    yield Race(
        job=f"truncated normal weights, {shape}",
        peer="nn.init.trunc_normal_",
        ours=lambda: random_weights(shape, 0.01, "truncated"),
        theirs=lambda: cut(fresh()),
        note="computed in float64, the peer in float32: measured, no goal",
    )
    yield Race(
        job=f"orthogonal weights, {shape}",
        peer="nn.init.orthogonal_",
        ours=lambda: orthogonal(shape),
        theirs=lambda: nn.init.orthogonal_(fresh()),
        goal=1.1,
    )


def cut(w: Tensor) -> Tensor:
    """Two deviations of its own."""
    return nn.init.trunc_normal_(w, std=0.1, a=-0.2, b=0.2)


if __name__ == "__main__":
    main(__spec__, races())
