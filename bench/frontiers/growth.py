"""Widening a model against making a new one of that size: no package does the former."""

from collections.abc import Iterator

import torch

from bench.race import Race, main
from lbdl.frontiers.growth import widen
from lbdl.models.transformer import GPT


def races() -> Iterator[Race]:
    torch.manual_seed(0)
    small = GPT(512, 128, 256, layers=4, heads=8, tied=True)
    yield Race(
        job="from width 256 to 512, 4 layers",
        peer="a new model of that size",
        ours=lambda: widen(small, 2),
        theirs=lambda: GPT(512, 128, 512, layers=4, heads=8, tied=True),
        goal=1.0,
    )


if __name__ == "__main__":
    main(__spec__, races())
