"""Data that needs no download: handwritten digits, drawn curves, English text, and
sets made by formula.

Real sets come with splits that are the same for every seed: a seed changes the
training, never the examples it is judged on. Sets made by formula draw from the
generator they are given.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from lbdl import require
from lbdl.core.seeds import generator as stream


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples `x` (n, ...) and what is to be predicted from them, `y` (n, ...),
    row by row."""

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if self.x.dim() == 0 or self.y.dim() == 0 or len(self.x) != len(self.y):
            raise ValueError(
                "x and y must have the same number of rows, "
                f"got shapes {tuple(self.x.shape)} and {tuple(self.y.shape)}"
            )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> "Dataset":
        """The examples of a slice, a mask or a tensor of row numbers."""
        return Dataset(self.x[rows], self.y[rows])

    def to(self, device: torch.device | str) -> "Dataset":
        """The same examples on another device."""
        return Dataset(self.x.to(device), self.y.to(device))


@dataclass(frozen=True, eq=False)
class Splits:
    """What a model learns from, what its settings are chosen by, and what it is
    judged on, once."""

    train: Dataset
    validation: Dataset
    test: Dataset

    def to(self, device: torch.device | str) -> "Splits":
        """The same examples on another device."""
        return Splits(
            self.train.to(device), self.validation.to(device), self.test.to(device)
        )


def digits() -> Splits:
    """1797 handwritten digits of 8 x 8 pixels: 1097 to train on, 350 to validate,
    350 to test.

    The proportion of the ten classes is the same in the three parts.

    Returns:
        Splits; x float32 (n, 64), ink from 0 to 1, row by row; y int64 (n,), the
        digit.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.

    Source: Alpaydin & Kaynak 1998, the test part of the UCI set "Optical
        Recognition of Handwritten Digits".
    """
    with needs("scikit-learn"):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split as split
    raw = load_digits()
    rest, test = split(
        range(1797), test_size=350, stratify=raw.target, random_state=0
    )
    train, validation = split(
        rest, test_size=350, stratify=raw.target[rest], random_state=0
    )
    everything = Dataset(
        torch.tensor(raw.data / 16, dtype=torch.float32),
        torch.tensor(raw.target).long(),
    )
    return Splits(everything[train], everything[validation], everything[test])


def mnist1d() -> Splits:
    """Ten digits drawn as noisy curves of 40 samples: 3500 to train on, 500 to
    validate, 1000 to test.

    The package's own recipe with its own seed, computed here and not fetched; the
    first 4000 are its training part.

    Returns:
        Splits; x float32 (n, 40), mean 0 and variance 1 over the whole set; y int64
        (n,), the digit.

    Raises:
        ModuleNotFoundError: the package mnist1d is not installed.

    Source: Greydanus & Kobak 2024, "Scaling Down Deep Learning with MNIST-1D",
        arXiv:2011.14439.
    """
    with needs("mnist1d"):
        from mnist1d.data import make_dataset
    made = without_reseeding(make_dataset)
    x = torch.cat(
        [torch.tensor(made[part], dtype=torch.float32) for part in ("x", "x_test")]
    )
    y = torch.cat([torch.tensor(made[part]).long() for part in ("y", "y_test")])
    everything = Dataset(x, y)
    return Splits(everything[:3500], everything[3500:4000], everything[4000:])


def english() -> str:
    """About 465 000 characters of English: the help texts of Python's
    `pydoc_data.topics`.

    Topics in the order of their names, joined by a blank line; spaces at the ends
    of lines removed, runs of blank lines made one, and typographic quotes, dashes
    and dots replaced by their ASCII kin. The text differs a little from one Python
    version to the next, so no claim may hang on its exact length.

    Returns:
        The text, one string.

    Source: the Python documentation, Python Software Foundation.
    """
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics)).translate(TO_ASCII)
    lines = [line.rstrip() for line in text.splitlines()]
    kept = [
        line for i, line in enumerate(lines) if line or (i > 0 and lines[i - 1])
    ]
    return "\n".join(kept).strip() + "\n"


TO_ASCII = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "--", "…": "..."}
)


def moons(
    n: int, noise: float = 0.1, generator: Generator | None = None
) -> Dataset:
    """Two interleaved half circles, which no straight line separates.

        class 0: (cos a, sin a),  class 1: (1 - cos a, 1/2 - sin a),  a ~ U(0, pi),
        plus noise * N(0, I)

    Args:
        n: number of points; the classes differ by at most one in size.
        noise: standard deviation of the noise in each coordinate, >= 0.
        generator: source of randomness on the CPU; by default the stream
            "data.moons" of the run.

    Returns:
        Dataset; x float32 (n, 2); y int64 (n,), 0 or 1, in turn.

    Raises:
        ValueError: `n` < 1 or `noise` < 0.
    """
    require.whole(n=n, least=1)
    require.number(noise=noise, least=0)
    chance = generator or stream("data.moons")
    y = torch.arange(n) % 2
    angle = math.pi * torch.rand(n, generator=chance)
    upper = torch.stack([angle.cos(), angle.sin()], dim=-1)  # (n, 2)
    x = torch.where(y[:, None] == 0, upper, torch.tensor([1.0, 0.5]) - upper)
    return Dataset(x + noise * torch.randn(n, 2, generator=chance), y)


def two_gaussians(
    n: int, distance: float = 2.0, dim: int = 2, generator: Generator | None = None
) -> Dataset:
    """Two round clouds of standard deviation 1, whose best separation is a straight
    line.

        x | y  ~  N(+-distance/2 e_1, I);   error of the best classifier:
        Phi(-distance/2)

    Args:
        n: number of points; the classes differ by at most one in size.
        distance: distance of the two means, >= 0.
        dim: number of coordinates d >= 1.
        generator: source of randomness on the CPU; by default the stream
            "data.two_gaussians" of the run.

    Returns:
        Dataset; x float32 (n, d); y int64 (n,), 0 or 1, in turn.

    Raises:
        ValueError: `n` or `dim` < 1, or `distance` < 0.
    """
    require.whole(n=n, dim=dim, least=1)
    require.number(distance=distance, least=0)
    y = torch.arange(n) % 2
    x = torch.randn(n, dim, generator=generator or stream("data.two_gaussians"))
    x[:, 0] += distance * (y - 0.5)
    return Dataset(x, y)


def noisy_quadratic(
    n: int,
    curvature: Tensor,
    noise: float = 1.0,
    generator: Generator | None = None,
) -> Tensor:
    """Centres of n quadratic losses; their mean is a quadratic bowl whose minibatch
    gradients are noisy.

        loss_i(w) = 1/2 sum_j curvature_j (w_j - c_ij)^2,   gradient of loss_i =
        curvature * (w - c_i)

    The centres are normal with mean 0; every coordinate of the gradient has
    standard deviation `noise`.

    Args:
        n: number of losses.
        curvature: (d,), floating, > 0.
        noise: standard deviation of the gradient, >= 0.
        generator: source of randomness on the CPU; by default the stream
            "data.noisy_quadratic" of the run.

    Returns:
        Centres c (n, d), dtype of `curvature`.

    Raises:
        ValueError: `n` < 1, `noise` < 0, or `curvature` is not a vector of positive
            numbers.
    """
    require.whole(n=n, least=1)
    require.number(noise=noise, least=0)
    require.floating(curvature=curvature)
    require.shapes(curvature=(curvature, "d"))
    require.within(above=0, curvature=curvature)
    chance = generator or stream("data.noisy_quadratic")
    normal = torch.randn(n, len(curvature), generator=chance, dtype=curvature.dtype)
    return noise / curvature * normal


def curve(
    n: int,
    noise: float = 0.1,
    generator: Generator | None = None,
    f: Callable[[Tensor], Tensor] = lambda x: torch.sin(2 * math.pi * x),
) -> Dataset:
    """Noisy points of a curve, to be found again by regression.

        y = f(x) + noise * N(0, 1),   x ~ U(0, 1)

    Args:
        n: number of points.
        noise: standard deviation of the noise, >= 0.
        generator: source of randomness on the CPU; by default the stream
            "data.curve" of the run.
        f: the curve, from (n, 1) to (n, 1); by default one period of a sine.

    Returns:
        Dataset; x float32 (n, 1), ascending; y float32 (n, 1).

    Raises:
        ValueError: `n` < 1 or `noise` < 0.
    """
    require.whole(n=n, least=1)
    require.number(noise=noise, least=0)
    chance = generator or stream("data.curve")
    x = torch.rand(n, 1, generator=chance).sort(dim=0).values
    return Dataset(x, f(x) + noise * torch.randn(n, 1, generator=chance))


@contextmanager
def needs(package: str) -> Iterator[None]:
    """Imports inside it that fail say which package to install."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"this data needs the package {package}, which is not installed: pip install {package}"
        ) from missing


def without_reseeding(make: Callable[[], Any]) -> Any:
    """What `make` returns; the global generators of Python and NumPy end where they
    stood before."""
    from numpy import random as numpy_random

    python, numpy = random.getstate(), numpy_random.get_state()
    try:
        return make()
    finally:
        random.setstate(python)
        numpy_random.set_state(numpy)
