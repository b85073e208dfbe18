"""The map of trainability by its kernel against the step that torch compiles, and the step as it is, on a GPU."""

from collections.abc import Iterator

import torch

from bench.race import Place, Race, main, of
from lbdl.experiments.foundations.gradient_descent import (
    fast_train_networks,
    grid_of_rates,
    network_step,
    random_task,
)

WIDTH, SIDE, STEPS = 16, 512, 500


def races(place: Place) -> Iterator[Race]:
    side, steps = place.shape(SIDE, STEPS)
    task = random_task(WIDTH, 0, device=place.device)
    rates = grid_of_rates(((-1.0, 3.0), (-1.0, 3.0)), side).flatten(0, 1).float()
    rates = rates.to(place.device)
    as_it_is = lambda *arguments: network_step(*arguments)
    compiled = of("triton", lambda _: torch.compile(network_step))
    compiled = compiled if place.device == "cuda" else None  # a minute on a CPU
    for peer, step in (
        ("its own step", as_it_is),
        ("its own step, compiled", compiled),
    ):
        yield Race(
            job=f"{SIDE}^2 trainings, width {WIDTH}, {STEPS} steps",
            peer=peer,
            ours=lambda: fast_train_networks(task, rates, steps),
            theirs=step
            and (lambda step=step: fast_train_networks(task, rates, steps, step)),
            note=f"{SIDE**2 * STEPS:.2g} network steps",
        )


if __name__ == "__main__":
    main(__spec__, races, packages=["triton"])
