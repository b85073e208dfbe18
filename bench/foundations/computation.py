"""Counting, rounding and adding up, against torch's counter, ml_dtypes and `math.fsum`."""

import math
from collections.abc import Iterator
from importlib.util import find_spec

import torch

from bench.race import Race, main
from lbdl.foundations.computation import FORMATS, round_to, sum_kahan, tally
from lbdl.models.transformer import GPT


def races() -> Iterator[Race]:
    yield of_counters()
    yield of_sums()
    if find_spec("ml_dtypes"):
        yield of_rounding()
    else:
        print("ml_dtypes is not installed: its race is left out")


def of_counters() -> Race:
    """A training step, counted: torch counts operations, ours bytes and launches too."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    model, tokens = GPT(512, 64, 64, layers=4, heads=4), torch.arange(64)[None]

    def step() -> None:
        model(tokens).sum().backward()

    def theirs() -> torch.Tensor:
        with FlopCounterMode(display=False) as counter:
            step()
        return torch.tensor(float(counter.get_total_flops()))

    return Race(
        job="operations of a GPT's step, counted",
        peer="torch.utils.flop_counter",
        ours=lambda: torch.tensor(float(tally(step).flops)),
        theirs=theirs,
        reference=lambda: theirs().double(),
        goal=1.0,
        note="ours counts bytes and launches too",
    )


def of_sums() -> Race:
    """Sums of rows as exact as float32 can hold."""
    x = torch.randn(4096, 1024, generator=torch.Generator().manual_seed(0))

    def theirs() -> torch.Tensor:
        return torch.tensor([math.fsum(row) for row in x.tolist()])

    return Race(
        job="sums of rows, float32, (4096, 1024)",
        peer="math.fsum",
        ours=lambda: sum_kahan(x),
        theirs=theirs,
        reference=lambda: torch.tensor(
            [math.fsum(row) for row in x.tolist()], dtype=torch.float64
        ),
        goal=0.5,
    )


def of_rounding() -> Race:
    """Numbers of float32, rounded to a format and back: ours to any format at all."""
    import ml_dtypes

    x = torch.randn(2**20, generator=torch.Generator().manual_seed(0))
    native = ml_dtypes.float8_e5m2
    return Race(
        job="2^20 numbers to 8 bits and back",
        peer="ml_dtypes.float8_e5m2",
        ours=lambda: round_to(x, FORMATS["float8"]),
        theirs=lambda: x.numpy().astype(native).astype("float32"),
        reference=lambda: x.to(torch.float8_e5m2).double(),
        note="ours takes any numbers of bits, in torch operations; theirs is compiled for one",
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["ml_dtypes"])
