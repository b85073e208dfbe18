"""A small experiment for the tests of the laboratory."""

import math

import torch

from lbdl.lab import Experiment, experiment


def declare(name="sums", small=None, full=None, **more) -> Experiment:
    """An experiment that adds random numbers, with the given parameters."""

    @experiment(
        name,
        chapter="lab/test",
        shows="sums",
        small=small or {"n": 3},
        full=full or {"n": 30},
        **more,
    )
    def sums(run, n, sizes=(2,)):
        total = torch.zeros(sizes, device=run.device)
        for chunk in run.chunks(n, total=total):
            total += torch.rand(
                sizes, generator=run.generator(f"chunk {chunk}")
            ).to(run.device) + torch.rand(())
        return {
            "total": total,
            "mean": total.mean().item(),
            "n": n,
            "label": "sums",
            "nan": math.nan,
        }

    return sums
