"""The heavy experiment on contrastive learning: digits, each in two views, and a batch taken whole or in chunks.

An encoder learns by CLIP's loss, with a temperature that learns too, to find the other view of
each image in the batch. The batch is taken whole, or in chunks with its exact gradient, or in
chunks as if each were a batch.

Chen et al. 2020, arXiv:2002.05709; Gao et al. 2021, arXiv:2101.06983.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl.core import data
from lbdl.core.training import follow, forever
from lbdl.frontiers.contrastive import (
    accumulate,
    accumulate_naively,
    clip_loss,
)
from lbdl.lab import Run, experiment

__all__ = ["chunks_of_digits", "moved", "ways"]

WAYS = {"naive": accumulate_naively, "exact": accumulate}


def moved(x: Tensor, generator: Generator) -> Tensor:
    """A view of each image: moved by up to one pixel each way, with a little noise.

    Args:
        x: images (n, 64) of 8 x 8 pixels, floating dtype, on the CPU.
        generator: draws moves and noise, on the CPU.

    Returns:
        Images (n, 64), dtype of `x`.
    """
    padded = F.pad(x.view(-1, 8, 8), (1, 1, 1, 1))
    places = padded.unfold(1, 8, 1).unfold(2, 8, 1)  # (n, 3, 3, 8, 8)
    down, right = torch.randint(3, (2, len(x)), generator=generator)
    images = places[torch.arange(len(x)), down, right].flatten(1)
    return images + 0.1 * torch.randn(
        images.shape, generator=generator, dtype=x.dtype
    )


class Encoder(nn.Module):
    """Images (..., 64) as points on the unit sphere, and the logarithm of the scale
    of their cosines, 10 at first."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        layers = [nn.Linear(64, width), nn.ReLU(), nn.Linear(width, dim)]
        self.layers = nn.Sequential(*layers)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., 64) -> points (..., dim)."""
        return F.normalize(self.layers(x), dim=-1)

    def loss(self, a: Tensor, b: Tensor) -> Tensor:
        """CLIP's loss of embeddings."""
        return clip_loss(a, b, scale=self.log_scale.exp())


def ways(size: dict[str, Any]) -> list[tuple[str, int]]:
    """How the batch is taken, and the rows of a chunk; the last is the batch as a
    whole.

    Args:
        size: as declared: `naive`, `exact` and `batch`.

    Returns:
        Pairs of "naive" or "exact" and a number of rows.
    """
    return [
        *(("naive", chunk) for chunk in size["naive"]),
        *(("exact", chunk) for chunk in size["exact"]),
        ("exact", size["batch"]),
    ]


class Training:
    """One way under one seed: an encoder, and how it does on held-out digits along
    the way."""

    def __init__(self, run: Run, way: int, seed: int, size: dict[str, Any]) -> None:
        self.size, self.device = size, run.device
        self.how, self.chunk = ways(size)[way]
        self.digits, self.draw = data.digits(), run.generator(f"views/{seed}")
        fixed, x = run.generator("held-out views"), self.digits.validation.x
        self.held_out = [moved(x, fixed).to(run.device) for _ in range(2)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.generator(f"weights/{seed}").initial_seed())
            model = Encoder(size["width"], size["dim"])
        self.model = model.to(run.device)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=size["rate"])

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Two views of minibatches, the same for every way."""
        batches = forever(
            self.digits.train, self.size["batch"], self.draw, drop_last=True
        )
        for _, (x, _) in zip(range(count), batches, strict=False):
            one, other = moved(x, self.draw), moved(x, self.draw)
            yield one.to(self.device), other.to(self.device)

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One step; the loss, as this way sees it."""
        self.optimizer.zero_grad()
        towers = [self.model, self.model]
        value = WAYS[self.how](self.model.loss, towers, [x, y], self.chunk)
        self.optimizer.step()
        return value

    @torch.no_grad()
    def examine(self) -> list[float]:
        """The loss of held-out pairs among all of them, the share of these whose
        other view is nearest of all, the share of test digits whose nearest training
        example is the same digit, and the scale."""
        f, (train, test) = self.model, (self.digits.train, self.digits.test)
        a, b = (f(x) for x in self.held_out)
        found = (a @ b.mT).argmax(-1).cpu() == torch.arange(len(a))
        known, asked = (f(part.x.to(self.device)) for part in (train, test))
        alike = train.y[(asked @ known.mT).argmax(-1).cpu()] == test.y
        told = f.loss(a, b), found.float().mean(), alike.float().mean()
        return [*(float(x) for x in told), float(f.log_scale.exp())]

    def follow(self) -> Tensor:
        """Train; what is seen at even distances, (points, 4)."""
        size, seen = self.size, []
        schedule = partial(rate_factor, steps=size["steps"])
        each = size["steps"] // size["points"]
        for point in range(size["points"]):
            batches = self.batches(each)
            for _ in follow(
                self.step, batches, self.optimizer, schedule, point * each
            ):
                pass
            seen.append(self.examine())
        return torch.tensor(seen)


def rate_factor(t: int, steps: int) -> float:
    """Of the highest rate: down along half a cosine."""
    return (1 + math.cos(math.pi * t / steps)) / 2


SIZE = {"width": 128, "dim": 32, "rate": 5e-3, "batch": 512, "points": 5}


@experiment(
    "chunks_of_digits",
    chapter="frontiers/contrastive",
    shows="views of digits told apart, after training with a batch taken whole or in chunks",
    small={
        "size": {
            **SIZE,
            "width": 32,
            "batch": 64,
            "naive": [8],
            "exact": [8],
            "steps": 20,
            "points": 2,
        },
        "seeds": 1,
    },
    cpu={
        "size": {**SIZE, "naive": [16, 64], "exact": [64], "steps": 200},
        "seeds": 3,
    },
    full={
        "size": {
            **SIZE,
            "width": 2048,
            "dim": 256,
            "batch": 1024,
            "naive": [64, 256],
            "exact": [64],
            "steps": 200,
        },
        "seeds": 2,
    },
)
def chunks_of_digits(
    run: Run, size: dict[str, Any], seeds: int
) -> dict[str, Tensor]:
    """How well views of held-out digits are told apart, for each of `ways`.

        seen (ways, seeds, points, 4): at even distances of training, the loss of
        held-out pairs among all of them, the share whose other view is nearest of
        all, the share of test digits whose nearest training example is the same
        digit, and the scale that was learnt

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        size: of the encoder (width, dim), of batches (batch) and chunks (naive,
            exact), the highest rate (rate), steps, and how often it is looked at
            (points).
        seeds: trainings of each way.

    Returns:
        The array named above.

    Source: Chen et al. 2020, arXiv:2002.05709, for two views; Radford et al. 2021,
        arXiv:2103.00020, for loss and scale.
    """
    count = len(ways(size))
    seen = torch.full((count, seeds, size["points"], 4), math.nan)
    for cell in run.chunks(count * seeds, seen=seen):
        way, seed = divmod(cell, seeds)
        seen[way, seed] = Training(run, way, seed, size).follow()
    return {"seen": seen}
