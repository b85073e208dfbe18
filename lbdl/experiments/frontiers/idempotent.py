"""The heavy experiment on idempotent networks: what becomes of many seeds, for each tightness, with and without a clip.

All networks of one kind of loss are trained at once, as one program of batched matrix
products. For the same seed they begin with the same weights and see the same data and
noise, whatever their tightness and clip.

Shocher et al. 2024, arXiv:2311.01462.
"""

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl.frontiers.idempotent import drift, ign_loss
from lbdl.lab import Run, experiment

__all__ = [
    "CLIPS",
    "STARTS",
    "Networks",
    "Training",
    "fates",
    "on_ring",
    "ring",
    "sectors_met",
    "tightness_and_seeds",
]

NOISE = 0.02  # of the radius of the ring, which is 1
NEAR = 0.1  # what counts as on the ring, to both sides
SECTORS = 16  # of the circle
JUDGED = 1000  # points that each network makes to be judged by
SHOWN, DOTS = 2, 120  # of them kept for a picture: of so many seeds, so many
STARTS = ("random", "near identity")
CLIPS = (None, 1.5)


def ring(seeds: int, rows: int, draw: Generator) -> Tensor:
    """Points near the unit circle (seeds, rows, 2), evenly around it."""
    angle = 2 * math.pi * torch.rand((seeds, rows, 1), generator=draw)
    radius = 1 + NOISE * torch.randn((seeds, rows, 1), generator=draw)
    return radius * torch.cat([angle.cos(), angle.sin()], -1)


class Networks(nn.Module):
    """Many networks of two hidden layers, from the plane to the plane, side by side.

    (kinds, seeds, n, 2) -> (kinds, seeds, n, 2); the networks of a seed begin alike.
    Where they start near the identity, they compute what is to be added to y, and it
    is a tenth as large.
    """

    def __init__(
        self, kinds: int, seeds: int, width: int, start: str, draw: Generator
    ) -> None:
        super().__init__()
        sizes = [(2, width), (width, width), (width, 2)]
        shapes = [shape for n, m in sizes for shape in ((n, m), (1, m))]
        spans = [n**-0.5 for n, _ in sizes for _ in range(2)]
        self.near_identity = start == "near identity"
        if self.near_identity:
            spans[-2:] = [0.1 * span for span in spans[-2:]]
        self.weights = nn.ParameterList(
            span * (2 * torch.rand((seeds, *shape), generator=draw) - 1)
            for shape, span in zip(shapes, spans, strict=True)
        )
        for i, w in enumerate(list(self.weights)):
            self.weights[i] = nn.Parameter(w.detach().repeat(kinds, 1, 1))

    def forward(self, y: Tensor) -> Tensor:
        layers = list(self.weights)
        h = torch.baddbmm(layers[1], y.flatten(0, 1), layers[0])
        for weight, bias in zip(layers[2::2], layers[3::2], strict=True):
            h = torch.baddbmm(bias, F.silu(h), weight)
        made = h.unflatten(0, y.shape[:2])
        return y + made if self.near_identity else made


def on_ring(y: Tensor) -> Tensor:
    """The share of points (..., n, 2) near the ring."""
    return ((y.norm(dim=-1) - 1).abs() < NEAR).double().mean(-1)


def sectors_met(y: Tensor) -> Tensor:
    """The share of sectors of the ring that hold at least a fourth of what an even
    spread would put there, of points (..., n, 2)."""
    turn = torch.atan2(y[..., 1], y[..., 0]) / (2 * math.pi) % 1
    sector = (turn * SECTORS).long().clamp(max=SECTORS - 1)
    near = (y.norm(dim=-1) - 1).abs() < NEAR
    held = (F.one_hot(sector, SECTORS) * near[..., None]).double().mean(-2)
    return (held > 1 / (4 * SECTORS)).double().mean(-1)


def fates(f: Networks, x: Tensor, z: Tensor) -> Tensor:
    """What became of each network (..., 5): the share of what it makes that is on
    the ring, the sectors met, its idempotence |f f - f|^2, the largest |f|, and
    delta of the data."""
    with torch.no_grad():
        made = f(z)
        parts = [
            on_ring(made),
            sectors_met(made),
            drift(f, made).mean(-1),
            made.norm(dim=-1).amax(-1),
            drift(f, x).mean(-1),
        ]
    return torch.stack([p.double() for p in parts], -1).cpu()


class Training:
    """All networks of one group: every tightness, every seed; one start, one clip."""

    def __init__(
        self,
        run: Run,
        size: dict[str, Any],
        tightness: list[float],
        seeds: int,
        start: str,
        clip: float | None,
    ) -> None:
        self.kinds, self.seeds, self.size, self.clip = (
            len(tightness),
            seeds,
            size,
            clip,
        )
        weights = run.generator("weights")
        f = Networks(self.kinds, seeds, size["width"], start, weights)
        self.f, self.device = f.to(run.device), run.device
        # foreach: a few launches a step for all weights
        self.optimizer = torch.optim.Adam(
            self.f.parameters(), size["rate"], betas=(0.5, 0.99), foreach=True
        )
        self.draw = run.generator("data")
        self.tightness = torch.tensor(tightness, device=run.device)[:, None]
        self.test = self.batch(JUDGED, run.generator("test"))

    def batch(self, rows: int, draw: Generator) -> tuple[Tensor, Tensor]:
        """Data and noise, the same for all kinds."""
        x = ring(self.seeds, rows, draw)
        z = torch.randn(x.shape, generator=draw)
        wide = (self.kinds, *x.shape)
        return x.to(self.device).expand(wide), z.to(self.device).expand(wide)

    def follow(self, steps: int) -> None:
        """Adam on the sum of all losses: each network has weights of its own."""
        for _ in range(steps):
            x, z = self.batch(self.size["batch"], self.draw)
            loss = ign_loss(self.f, x, z, tightness=self.tightness, clip=self.clip)
            self.optimizer.zero_grad()
            loss.sum().backward()
            self.optimizer.step()

    def story(self, told: Tensor) -> Tensor:
        """Trains to the end, and writes down on the way what has become of all
        (kinds, seeds, points, 5); gives some of what is made at the end."""
        points = told.shape[-2]
        for point in range(points):
            self.follow(self.size["steps"] // points)
            told[..., point, :] = fates(self.f, *self.test)
        with torch.no_grad():
            return self.f(self.test[1])[:, :SHOWN, :DOTS].cpu()


SIZE = {"width": 48, "batch": 64, "rate": 1e-3}


@experiment(
    "tightness_and_seeds",
    chapter="frontiers/idempotent",
    shows="what becomes of idempotent networks on a ring, by tightness, clip and start: every seed, not the best",
    small={
        "size": {**SIZE, "width": 16, "steps": 60, "points": 2},
        "tightness": [0.0, 0.5],
        "seeds": 3,
    },
    cpu={
        "size": {**SIZE, "steps": 1500, "points": 6},
        "tightness": [0.0, 0.05, 0.1, 0.2, 0.5, 1.0],
        "seeds": 12,
    },
    full={
        "size": {**SIZE, "width": 128, "batch": 96, "steps": 2400, "points": 3},
        "tightness": [0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0],
        "seeds": 64,
    },
)
def tightness_and_seeds(
    run: Run, size: dict[str, Any], tightness: list[float], seeds: int
) -> dict[str, Tensor]:
    """The fates of all networks, by `STARTS`, `CLIPS`, tightness and seed.

        fates (starts, clips, tightness, seeds, points, 5): see `fates`, at even
        distances along the training
        made (starts, clips, tightness, 2, 120, 2): a few points that the first two
        seeds make at the end

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        size: of a network (width), of a training (batch, rate, steps), and how
            often it is judged (points).
        tightness: the values of lambda_t; lambda_i is 1.
        seeds: networks for each of them.

    Returns:
        The arrays named above.

    Source: Shocher et al. 2024, arXiv:2311.01462.
    """
    groups = [(start, clip) for start in STARTS for clip in CLIPS]
    shape = (len(groups), len(tightness), seeds, size["points"], 5)
    told = torch.full(shape, math.nan)
    made = torch.full((*shape[:2], min(seeds, SHOWN), DOTS, 2), math.nan)
    for i in run.chunks(len(groups), told=told, made=made):
        training = Training(run, size, tightness, seeds, *groups[i])
        made[i] = training.story(told[i])
    sides = (len(STARTS), len(CLIPS))
    return {"fates": told.unflatten(0, sides), "made": made.unflatten(0, sides)}
