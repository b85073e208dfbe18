"""The heavy experiments on score distillation: students in the plane for many alphas and seeds, and digits in one step.

In the plane the teacher is exact, so that what goes wrong is the student's doing. The
digits have a teacher that is trained first; students are judged by the Fréchet distance
of what they draw, beside the teacher's own with few and with many steps.

Zhou et al. 2024, arXiv:2404.04057; Karras et al. 2022, arXiv:2206.00364.
"""

import copy
import math
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl.core import data
from lbdl.experiments.frontiers.diffusion import at_one_level, trained
from lbdl.frontiers.diffusion import (
    Denoiser,
    Mixture,
    denoising_loss,
    edm_coefficients,
    karras_sigmas,
    lognormal_sigmas,
    sample,
    sample_ode,
    score,
)
from lbdl.frontiers.score_distillation import (
    distillation_loss,
    fast_sliced_wasserstein,
    random_directions,
)
from lbdl.geometry.wasserstein import frechet_distance
from lbdl.lab import Run, experiment

__all__ = [
    "HEUN",
    "RING",
    "Training",
    "alpha_and_modes",
    "exact_teacher",
    "fates",
    "one_step_digits",
]

# --- In the plane

MODES, SPREAD = (
    8,
    0.3,
)  # clouds on a circle of radius 2, and their standard deviation
SIZE = 1.4  # of the data in a coordinate
NOISE = (0.1, 5.0)  # the levels at which student and teacher are compared
JUDGED, DIRECTIONS = 1000, 50  # points that each student makes to be judged by
DOTS = 150  # of them kept for a picture


def ring_of_modes() -> Mixture:
    """Clouds of equal weight at even distances on the circle."""
    angle = 2 * math.pi * torch.arange(MODES, dtype=torch.float32) / MODES
    means = 2 * torch.stack([angle.cos(), angle.sin()], -1)
    each = torch.ones_like(angle)
    return Mixture(each / MODES, means, SPREAD**2 * each)


RING = ring_of_modes()


def exact_teacher(x: Tensor, sigma: Tensor) -> Tensor:
    """The best denoiser of the clouds, for points (n, 2), each with a level (n,)."""
    p = Mixture(
        *(part.to(x) for part in (RING.weights, RING.means, RING.variances))
    )
    wide = p.variances + sigma.square()[:, None]
    noisy = Mixture(p.weights.expand_as(wide), p.means.expand(len(x), -1, -1), wide)
    return x + sigma.square()[:, None] * score(noisy, x)


class Layers(nn.Module):
    """Many networks of two hidden layers side by side: (S, n, i) -> (S, n, o)."""

    def __init__(
        self, runs: int, sizes: tuple[int, ...], last: float, draw: Generator
    ) -> None:
        super().__init__()
        self.weights = nn.ParameterList()
        for n, m in pairwise(sizes):
            scale = (last if m == sizes[-1] else 1.0) * n**-0.5
            self.weights.append(scale * torch.randn((runs, n, m), generator=draw))
            self.weights.append(torch.zeros(runs, 1, m))

    def forward(self, h: Tensor) -> Tensor:
        layers = list(self.weights)
        h = torch.baddbmm(layers[1], h, layers[0])
        for weight, bias in zip(layers[2::2], layers[3::2], strict=True):
            h = torch.baddbmm(bias, F.silu(h), weight)
        return h


class Generators(nn.Module):
    """Students: noise (S, n, 2) to points (S, n, 2), all near the middle at first."""

    def __init__(self, runs: int, width: int, draw: Generator) -> None:
        super().__init__()
        self.layers = Layers(runs, (2, width, width, 2), 0.1, draw)

    def forward(self, z: Tensor) -> Tensor:
        made: Tensor = self.layers(z)
        return made


class ScoreNets(nn.Module):
    """Denoisers of the students' points (S, n, 2), in EDM's frame."""

    def __init__(self, runs: int, width: int, draw: Generator) -> None:
        super().__init__()
        self.layers = Layers(runs, (3, width, width, 2), 0.0, draw)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        skip, out, read = edm_coefficients(sigma[..., None], SIZE)
        told = torch.cat([read * x, sigma.log()[..., None]], -1)
        guess: Tensor = self.layers(told)
        return skip * x + out * guess


def fates(made: Tensor, true: Tensor, directions: Tensor) -> Tensor:
    """What became of each student (S, 3), by its points (S, n, 2): the share of them
    within three standard deviations of a centre, how many clouds have at least a
    fourth of their share, and the sliced distance from a sample (n, 2) of the data."""
    gap, cloud = torch.cdist(made, RING.means.to(made)).min(-1)
    near = gap < 3 * SPREAD
    held = (F.one_hot(cloud, MODES) * near[..., None]).float().mean(-2)
    found = (held > 1 / (4 * MODES)).float().sum(-1)
    apart = fast_sliced_wasserstein(made, true, directions)
    return torch.stack([near.float().mean(-1), found, apart], -1).cpu()


class Training:
    """Students for all alphas and seeds side by side; those of a seed begin alike and
    see the same noise."""

    def __init__(
        self,
        run: Run,
        size: dict[str, Any],
        alphas: list[float],
        seeds: int,
        inner: int,
    ) -> None:
        self.size, self.inner, self.device = size, inner, run.device
        self.kinds, self.seeds = len(alphas), seeds
        self.draw = run.generator("noise")
        weights = run.generator("weights")
        self.students = self.alike(Generators(seeds, size["width"], weights))
        self.scores = self.alike(ScoreNets(seeds, size["width"], weights))
        self.optimizers = [
            torch.optim.Adam(
                net.parameters(), size[rate], (0.0, 0.99), foreach=True
            )
            for net, rate in ((self.students, "rate"), (self.scores, "score rate"))
        ]
        rows = seeds * size["batch"]
        self.alpha = torch.tensor(alphas).repeat_interleave(rows).to(run.device)
        judge = run.generator("judge")
        self.judge = self.noise(JUDGED, 2, judge)
        self.true = sample(RING, JUDGED, judge).to(run.device)
        self.directions = random_directions(DIRECTIONS, 2, judge).to(run.device)

    def alike(self, nets: Any) -> Any:
        """The networks of all seeds, once for each alpha."""
        layers = nets.layers.weights
        for i, w in enumerate(list(layers)):
            layers[i] = nn.Parameter(w.detach().repeat(self.kinds, 1, 1))
        return nets.to(self.device)

    def noise(self, rows: int, d: int, draw: Generator) -> Tensor:
        """Noise (S, rows, d), the same for all alphas."""
        z = torch.randn((self.seeds, rows, d), generator=draw)
        return z.to(self.device).repeat(self.kinds, 1, 1)

    def levels(self) -> Tensor:
        """Noise levels (S n,), even in the logarithm."""
        low, high = map(math.log, NOISE)
        u = torch.rand((self.seeds, self.size["batch"]), generator=self.draw)
        return (
            (low + (high - low) * u)
            .exp()
            .repeat(self.kinds, 1)
            .flatten()
            .to(self.device)
        )

    def student_score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The students' denoisers, for points in one row after the other."""
        shape = (self.kinds * self.seeds, -1)
        guess: Tensor = self.scores(
            x.unflatten(0, shape), sigma.unflatten(0, shape)
        )
        return guess.flatten(0, 1)

    def made(self) -> Tensor:
        """Points that the students make (S n, 2)."""
        z = self.noise(self.size["batch"], 2, self.draw)
        points: Tensor = self.students(z).flatten(0, 1)
        return points

    def step(self) -> None:
        """The denoisers follow the students, which then take a step."""
        of_students, of_scores = self.optimizers
        for _ in range(self.inner):
            with torch.no_grad():
                x0 = self.made()
            z = self.noise(self.size["batch"], 2, self.draw).flatten(0, 1)
            loss = denoising_loss(self.student_score, x0, z, self.levels(), SIZE)
            of_scores.zero_grad()
            (self.kinds * self.seeds * loss).backward()
            of_scores.step()
        x0, z = (
            self.made(),
            self.noise(self.size["batch"], 2, self.draw).flatten(0, 1),
        )
        loss = distillation_loss(
            exact_teacher, self.student_score, x0, z, self.levels(), self.alpha
        )
        of_students.zero_grad()
        (self.kinds * self.seeds * loss).backward()
        of_students.step()

    def story(self, points: int) -> tuple[Tensor, Tensor]:
        """Trains to the end: fates along the way (kinds, seeds, points, 3), and some
        of what is made at the end (kinds, seeds, 150, 2)."""
        told = []
        for _ in range(points):
            for _ in range(self.size["steps"] // points):
                self.step()
            with torch.no_grad():
                made = self.students(self.judge)
            told.append(fates(made, self.true, self.directions))
        grid = (self.kinds, self.seeds)
        dots = made[:, :DOTS].cpu().unflatten(0, grid)
        return torch.stack(told, -2).unflatten(0, grid), dots


@experiment(
    "alpha_and_modes",
    chapter="frontiers/score_distillation",
    shows="students in the plane with an exact teacher, for many alphas and seeds: clouds found, distance",
    small={
        "size": {
            "width": 16,
            "batch": 32,
            "steps": 40,
            "rate": 1e-3,
            "score rate": 2e-3,
        },
        "alphas": [0.5, 1.2],
        "inner": [1],
        "seeds": 2,
        "points": 2,
    },
    cpu={
        "size": {
            "width": 64,
            "batch": 128,
            "steps": 600,
            "rate": 1e-3,
            "score rate": 2e-3,
        },
        "alphas": [0.0, 0.5, 0.8, 1.0, 1.2],
        "inner": [1, 4],
        "seeds": 8,
        "points": 3,
    },
    full={
        "size": {
            "width": 128,
            "batch": 256,
            "steps": 1600,
            "rate": 1e-3,
            "score rate": 2e-3,
        },
        "alphas": [0.0, 0.25, 0.5, 0.75, 1.0, 1.1, 1.2],
        "inner": [1, 2, 4],
        "seeds": 16,
        "points": 4,
    },
)
def alpha_and_modes(
    run: Run,
    size: dict[str, Any],
    alphas: list[float],
    inner: list[int],
    seeds: int,
    points: int,
) -> dict[str, Tensor]:
    """The fates of all students, by steps of the denoisers for one of a student,
    alpha and seed.

        fates (inner, alphas, seeds, points, 3): `fates`, at even distances along the
        training
        made (inner, alphas, seeds, 150, 2): a few points that are made at the end

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        size: of the networks (width) and of a training (batch, steps, rates).
        alphas: weights of the loss.
        inner: steps of the students' denoisers for each step of the students.
        seeds: students for each of them.
        points: how often they are judged.

    Returns:
        The arrays named above.

    Source: Zhou et al. 2024, arXiv:2404.04057.
    """
    shape = (len(inner), len(alphas), seeds)
    told = torch.full((*shape, points, 3), math.nan)
    made = torch.full((*shape, DOTS, 2), math.nan)
    for i in run.chunks(len(inner), told=told, made=made):
        training = Training(run, size, alphas, seeds, inner[i])
        told[i], made[i] = training.story(points)
    return {"fates": told, "made": made}


# --- Digits in one step

HEUN = (4, 8, 16, 32)  # steps of the teacher's sampler, to compare with
START = (
    2.5  # the noise level at which the student takes its noise for a noisy image
)
LOW, HIGH, SHARE = 0.02, 80.0, 0.8  # levels of the student's training
STRIP = 10  # images kept for a picture


def digit_levels(n: int, draw: Generator) -> Tensor:
    """Noise levels (n,), even in the root of order 7, without the highest fifth."""
    low, high = LOW ** (1 / 7), HIGH ** (1 / 7)
    u = SHARE * torch.rand(n, generator=draw)
    return (low + u * (high - low)) ** 7


def by_heun(teacher: Denoiser, z: Tensor, steps: int) -> Tensor:
    """What the teacher draws from noise (n, d) in a number of steps."""
    sigmas = torch.cat([karras_sigmas(steps, LOW, HIGH), torch.zeros(1).double()])
    with torch.no_grad():
        return sample_ode(at_one_level(teacher), HIGH * z, sigmas)


def in_one_step(student: Denoiser, z: Tensor) -> Tensor:
    """What the student makes of noise (n, d)."""
    points: Tensor = student(START * z, z.new_full((len(z),), START))
    return points


def apart(made: Tensor, images: Tensor) -> Tensor:
    """The Fréchet distance of two sets of images, by their pixels."""
    return frechet_distance(made.double().cpu(), images.double().cpu())


class Distillation:
    """One student of digits and its denoiser; both begin as the teacher."""

    def __init__(
        self, run: Run, teacher: Denoiser, size: dict[str, Any], alpha: float
    ) -> None:
        self.teacher, self.size, self.alpha = teacher, size, alpha
        self.device, self.draw = run.device, run.generator("distillation")
        self.student, self.score = (copy.deepcopy(teacher) for _ in range(2))
        self.student.requires_grad_(True)
        self.optimizers = [
            torch.optim.Adam(
                net.parameters(), size[rate], (0.0, 0.999), foreach=True
            )
            for net, rate in ((self.student, "rate"), (self.score, "score rate"))
        ]

    def noise(self) -> Tensor:
        """Noise for a batch of images."""
        d = self.teacher.read.in_features
        return torch.randn(self.size["batch"], d, generator=self.draw).to(
            self.device
        )

    def step(self, factor: float) -> None:
        """The denoiser follows the student, which then takes a step."""
        for optimizer, rate in zip(
            self.optimizers, ("rate", "score rate"), strict=True
        ):
            optimizer.param_groups[0]["lr"] = factor * self.size[rate]
        of_student, of_score = self.optimizers
        with torch.no_grad():
            x0 = in_one_step(self.student, self.noise())
        sigma = lognormal_sigmas(len(x0), generator=self.draw).to(self.device)
        self.score.requires_grad_(True)
        loss = denoising_loss(
            self.score, x0, self.noise(), sigma, self.teacher.sigma_data
        )
        of_score.zero_grad()
        loss.backward()
        of_score.step()
        self.score.requires_grad_(False)
        x0 = in_one_step(self.student, self.noise())
        sigma = digit_levels(len(x0), self.draw).to(self.device)
        loss = distillation_loss(
            self.teacher, self.score, x0, self.noise(), sigma, self.alpha
        )
        of_student.zero_grad()
        loss.backward()
        of_student.step()

    def story(
        self, z: Tensor, sets: list[Tensor], points: int
    ) -> tuple[Tensor, Tensor]:
        """Trains to the end: distances from the sets of images along the way
        (points, sets), and the first images that it draws at the end."""
        told, steps = [], self.size["steps"]
        for point in range(points):
            for t in range(steps // points):
                self.step(1 - (point * (steps // points) + t) / steps)
            with torch.no_grad():
                made = in_one_step(self.student, z)
            told.append(torch.stack([apart(made, images) for images in sets]))
        return torch.stack(told).float(), made[:STRIP].cpu()


@experiment(
    "one_step_digits",
    chapter="frontiers/score_distillation",
    shows="a teacher of digits distilled to one step: Fréchet distances beside the teacher's own",
    small={
        "teacher": {
            "width": 16,
            "depth": 1,
            "batch": 32,
            "steps": 30,
            "rate": 3e-3,
        },
        "size": {"batch": 32, "steps": 20, "rate": 1e-3, "score rate": 3e-3},
        "alphas": [0.5, 1.0],
        "draws": 100,
        "points": 2,
    },
    cpu={
        "teacher": {
            "width": 128,
            "depth": 2,
            "batch": 128,
            "steps": 1000,
            "rate": 3e-3,
        },
        "size": {"batch": 128, "steps": 2000, "rate": 1e-3, "score rate": 3e-3},
        "alphas": [0.5, 1.0, 1.2],
        "draws": 1500,
        "points": 10,
    },
    full={
        "teacher": {
            "width": 512,
            "depth": 4,
            "batch": 512,
            "steps": 3000,
            "rate": 2e-3,
        },
        "size": {"batch": 256, "steps": 1200, "rate": 5e-4, "score rate": 1e-3},
        "alphas": [0.5, 1.0, 1.2],
        "draws": 5000,
        "points": 10,
    },
)
def one_step_digits(
    run: Run,
    teacher: dict[str, Any],
    size: dict[str, Any],
    alphas: list[float],
    draws: int,
    points: int,
) -> dict[str, Tensor]:
    """Fréchet distances of what is drawn from the images that the teacher was trained
    on, and from others.

        curves (alphas, points, 2): of the student, along its training
        heun (4, 2): of the teacher with `HEUN` steps; floor: of the two sets of images
        strip (alphas + 1, 10, 64): images by the teacher with the most steps, and by
        the students, from the same noise

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        teacher: of its network (width, depth) and training (batch, steps, rate).
        size: of a distillation (batch, steps, rates).
        alphas: weights of the loss; one student each.
        draws: images that are judged.
        points: how often students are judged.

    Returns:
        The arrays named above.

    Source: Zhou et al. 2024, arXiv:2404.04057; Karras et al. 2022, arXiv:2206.00364.
    """
    digits = data.digits()
    seen = 2 * digits.train.x - 1
    others = 2 * torch.cat([digits.validation.x, digits.test.x]) - 1
    net = trained(run, seen, seen.std().item(), teacher).requires_grad_(False)
    sets = [seen, others]
    z = torch.randn(draws, seen.shape[1], generator=run.generator("judge"))
    z = z.to(run.device)
    curves = torch.full((len(alphas), points, 2), math.nan)
    strip = torch.full((len(alphas) + 1, STRIP, seen.shape[1]), math.nan)
    for i in run.chunks(len(alphas), curves=curves, strip=strip):
        student = Distillation(run, net, size, alphas[i])
        curves[i], strip[i + 1] = student.story(z, sets, points)
    drawn = [by_heun(net, z, steps) for steps in HEUN]
    strip[0] = drawn[-1][:STRIP].cpu()
    heun = [torch.stack([apart(made, images) for images in sets]) for made in drawn]
    floor = apart(seen, others).float()
    return {
        "curves": curves,
        "heun": torch.stack(heun).float(),
        "floor": floor,
        "strip": strip,
    }
