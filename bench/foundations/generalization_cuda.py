"""A training of many small networks, its steps captured in a CUDA graph against the same steps one kernel at a time."""

from collections.abc import Callable, Iterator

import torch

from bench.race import Place, Race, main
from lbdl.experiments.foundations.generalization import Networks, squared_error
from lbdl.lab.steps import Steps

TOGETHER, EXAMPLES, INPUTS, STEPS = 20, 3500, 40, 20


def training(place: Place, width: int, capture: bool) -> Callable[[], torch.Tensor]:
    """A job: so many steps of Adam on networks of one width."""
    together, examples = place.shape(TOGETHER, EXAMPLES)
    draws = [torch.Generator().manual_seed(i) for i in range(together)]
    model = Networks(draws, INPUTS, width).to(place.device)
    x = torch.randn(examples, INPUTS, device=place.device)
    y = torch.randint(10, (examples, together), device=place.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    steps = Steps(model, squared_error, optimizer, capture=capture)

    def job() -> torch.Tensor:
        for _ in range(STEPS):
            loss = steps(x, y)
        return loss

    return job


def races(place: Place) -> Iterator[Race]:
    for width in (8, 120, 700):
        yield Race(
            job=f"{STEPS} steps of {TOGETHER} networks of width {width}",
            peer="the same, kernel by kernel",
            ours=training(place, width, True),
            theirs=training(place, width, False),
            goal=0.1 if width == 8 else None,
        )


if __name__ == "__main__":
    main(__spec__, races)
