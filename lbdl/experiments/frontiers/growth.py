"""The heavy experiment on growth: a small language model grown and trained on, against the large one from scratch.

All trainings cost the same number of floating-point operations. A plan says how much
of the budget the small model gets before it is grown, and whether its twins are parted.
The large model from scratch is trained at three rates.

Chen, Goodfellow & Shlens 2016, arXiv:1511.05641; Wang et al. 2024, arXiv:2310.07999.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lbdl.core import data
from lbdl.foundations.autoregression import random_windows
from lbdl.frontiers.growth import part_twins, widen
from lbdl.lab import Run, Steps, experiment
from lbdl.models.transformer import GPT, transformer_flops

__all__ = ["PLANS", "grow_or_scratch"]

# Name, share of the budget for the small model, whether twins are parted, and the rate
# of the large model as a multiple of the declared one.
PLANS: list[tuple[str, float, bool, float]] = [
    ("scratch, rate 2/3", 0.0, False, 2 / 3),
    ("scratch", 0.0, False, 1.0),
    ("scratch, rate 3/2", 0.0, False, 3 / 2),
    ("grown after 1/4", 0.25, True, 1 / 2),
    ("grown after 1/2", 0.5, True, 1 / 2),
    ("grown after 3/4", 0.75, True, 1 / 2),
    ("grown after 1/2, twins", 0.5, False, 1 / 2),
    ("small", 1.0, False, 1.0),
]
WARMUP = 20  # steps in which the learning rate rises, in each phase
AMOUNT = 0.5  # of the noise that parts twins, relative to the weights


def characters(text: str) -> tuple[Tensor, int]:
    """The characters of a text as numbers, and how many different ones there are."""
    table = sorted(set(text))
    codes = {c: i for i, c in enumerate(table)}
    return torch.tensor([codes[c] for c in text]), len(table)


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats a token, without a look at the targets, which would make the host wait."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def rate_factor(t: int, start: float, each: float) -> float:
    """Of the highest rate, t steps after a phase began at the share `start` of the
    budget: it rises for a moment, and falls along half a cosine to the end of the
    budget, of which each step takes the share `each`."""
    spent = start + t * each
    return min((t + 1) / WARMUP, 1.0) * (1 + math.cos(math.pi * spent)) / 2


def pieces(text: Tensor, length: int, count: int) -> tuple[Tensor, Tensor]:
    """Pieces of a text at even distances, and what follows each of their tokens."""
    starts = torch.linspace(0, len(text) - length - 1, count).long()
    rows = text[starts[:, None] + torch.arange(length + 1)]
    return rows[:, :-1], rows[:, 1:]


class Training:
    """One plan under one seed: a model, what is spent of its budget, and its loss
    along the way."""

    def __init__(
        self, run: Run, text: Tensor, kinds: int, seed: int, size: dict[str, Any]
    ) -> None:
        cut = 9 * len(text) // 10
        self.train_text = text[:cut].to(run.device)
        held_out = pieces(text[cut:], size["context"], 64)
        self.held_out = [part.to(run.device) for part in held_out]
        self.run, self.kinds, self.seed, self.size = run, kinds, seed, size
        self.spent, self.curve = 0.0, torch.full((size["points"],), math.nan)

    def new(self, width: int) -> GPT:
        """A model with weights of the seed."""
        size = self.size
        stream = self.run.generator(f"weights/{width}/{self.seed}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream.initial_seed())
            model = GPT(
                self.kinds,
                size["context"],
                width,
                size["layers"],
                size["heads"],
                tied=True,
            )
        return model.to(self.run.device)

    def windows(
        self, count: int, draw: Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Minibatches."""
        for _ in range(count):
            yield random_windows(
                self.train_text, self.size["batch"], self.size["context"], draw
            )

    def follow(self, model: GPT, until: float, rate: float) -> None:
        """Train from what is spent of the budget to its share `until`."""
        width, size = model.embedding.weight.shape[1], self.size
        whole = size["steps"] * step_cost(size, self.kinds, size["widths"][1])
        each, start = step_cost(size, self.kinds, width) / whole, self.spent
        optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.99))
        take_step = Steps(model, token_loss, optimizer)
        schedule = partial(rate_factor, start=start, each=each)
        draw, done = self.run.generator(f"windows/{width}/{self.seed}"), 0
        for point in range(len(self.curve)):
            due = (point + 1) / len(self.curve)
            if start < due <= until:
                to = round((due - start) / each)
                take_step.follow(self.windows(to - done, draw), schedule, done)
                done, self.curve[point] = to, self.loss(model)
        self.spent = until

    def loss(self, model: GPT) -> float:
        """Nats a character of text that was held out."""
        with torch.no_grad():
            x, y = self.held_out
            return float(token_loss(model(x), y))

    def grown(self, model: GPT, part: bool) -> GPT:
        """The model as wide as the large one, its twins parted if that is asked
        for."""
        small, large = self.size["widths"]
        wide = widen(model, large // small)
        if part:
            draw = self.run.generator(f"noise/{self.seed}")
            wide = part_twins(
                wide.cpu(), large // small, AMOUNT, generator=draw
            ).to(self.run.device)
        return wide

    def follow_plan(
        self, share: float, part: bool, rates: tuple[float, float]
    ) -> tuple[float, float]:
        """Train by a plan; the losses right before and right after growth."""
        small, large = self.size["widths"]
        before = after = math.nan
        model = self.new(small if share else large)
        if share:
            self.follow(model, share, rates[0])
        if 0 < share < 1:
            before, model = self.loss(model), self.grown(model, part)
            after = self.loss(model)
        if share < 1:
            self.follow(model, 1.0, rates[1])
        return before, after


SIZE = {"context": 64, "batch": 8, "layers": 2, "heads": 4, "points": 8}


@experiment(
    "grow_or_scratch",
    chapter="frontiers/growth",
    shows="a small language model grown to twice its width and trained on, against the large one from scratch",
    small={
        "size": {
            **SIZE,
            "widths": [8, 16],
            "context": 16,
            "steps": 12,
            "points": 4,
        },
        "rates": [6e-3, 6e-3],
        "seeds": 1,
    },
    cpu={
        "size": {**SIZE, "widths": [32, 64], "steps": 120},
        "rates": [6e-3, 6e-3],
        "seeds": 3,
    },
    full={
        "size": {
            "widths": [192, 384],
            "context": 128,
            "batch": 32,
            "layers": 6,
            "heads": 6,
            "points": 16,
            "steps": 240,
        },
        "rates": [2e-3, 1e-3],
        "seeds": 1,
    },
)
def grow_or_scratch(
    run: Run, size: dict[str, Any], rates: list[float], seeds: int
) -> dict[str, Tensor]:
    """The loss on held-out text of all `PLANS`.

        curves (plans, seeds, points): nats a character, at even shares of the budget
        growth (plans, seeds, 2): the loss right before and right after growth; NaN
        for plans without it

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        size: of the models (widths, context, layers, heads), of a step (batch), of
            the whole budget in steps of the large model (steps), and how often the
            loss is measured (points).
        rates: the highest learning rates of the small and of the large model; plans
            have multiples of the latter.
        seeds: trainings of each plan.

    Returns:
        The arrays named above, and `cost`, operations of a step of each width.

    Source: Chen, Goodfellow & Shlens 2016, arXiv:1511.05641.
    """
    text, kinds = characters(data.english())
    curves = torch.full((len(PLANS), seeds, size["points"]), math.nan)
    growth = torch.full((len(PLANS), seeds, 2), math.nan)
    for cell in run.chunks(len(PLANS) * seeds, curves=curves, growth=growth):
        plan, seed = divmod(cell, seeds)
        training = Training(run, text, kinds, seed, size)
        _, share, part, factor = PLANS[plan]
        told = training.follow_plan(share, part, (rates[0], factor * rates[1]))
        curves[plan, seed] = training.curve
        growth[plan, seed] = torch.tensor(told)
    cost = [step_cost(size, kinds, width) for width in size["widths"]]
    return {"curves": curves, "growth": growth, "cost": torch.tensor(cost)}


def step_cost(size: dict[str, Any], kinds: int, width: int) -> float:
    """Operations of a step of a model of a width: forward, and twice as many
    backward."""
    flops = transformer_flops(size["context"], width, size["layers"], kinds)
    return 3.0 * size["batch"] * flops
