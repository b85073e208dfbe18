"""Rotations against what a user would write instead: matrices, QR completions, SciPy's rotations and Procrustes."""

from collections.abc import Iterator

import numpy as np
import scipy.linalg
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from bench.race import Race, main
from lbdl.geometry.rotations import (
    apply_rotation,
    newton_schulz,
    procrustes,
    rotation,
    unit,
)


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(
        *shape, dtype=dtype, generator=torch.Generator().manual_seed(0)
    )


def races() -> Iterator[Race]:
    yield many_vectors()
    yield one_matrix()
    yield many_pairs()
    yield many_alignments()
    yield one_alignment(4000, 256)
    yield polar_factor()


def many_vectors() -> Race:
    a, b = normal(2, 1024, dtype=torch.float32)
    x = normal(10_000, 1024, dtype=torch.float32)
    t = rotation(a, b)
    return Race(
        job="rotate 10000 vectors, d=1024, float32",
        peer="x @ T.mT, T made before",
        goal=0.25,
        ours=lambda: apply_rotation(x, a, b),
        theirs=lambda: x @ t.mT,
        reference=lambda: apply_rotation(x.double(), a.double(), b.double()),
        note="Two mirrors against a matrix product.",
    )


def one_matrix() -> Race:
    a, b = unit(normal(2, 1024))
    return Race(
        job="the matrix of one rotation, d=1024, float64",
        peer="two scipy.linalg.qr",
        goal=0.3,
        ours=lambda: rotation(a, b),
        theirs=lambda: map_by_qr(a.numpy(), b.numpy()),
        note="Both frames completed by QR: some orthogonal map, not this one.",
    )


def map_by_qr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """An orthogonal matrix that takes a to +-b: both completed to a frame."""
    return scipy.linalg.qr(b[:, None])[0] @ scipy.linalg.qr(a[:, None])[0].T


def many_pairs() -> Race:
    a, b, x = normal(3, 10_000, 3)
    return Race(
        job="rotate 10000 vectors, each by its own pair, d=3, float64",
        peer="scipy Rotation.from_rotvec",
        ours=lambda: apply_rotation(x, a, b),
        theirs=lambda: by_rotation_vectors(x.numpy(), a.numpy(), b.numpy()),
        reference=lambda: exactly(x, a, b),
        note="SciPy: three dimensions only, and nan for equal or opposite vectors.",
    )


def exactly(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The plain formula on vectors, in extended precision."""
    x, a, b = (t.numpy().astype(np.longdouble) for t in (x, a, b))
    a, b = (v / np.sqrt((v * v).sum(-1, keepdims=True)) for v in (a, b))
    along, across, cosine = (
        (u * v).sum(-1, keepdims=True) for u, v in ((a, x), (a + b, x), (a, b))
    )
    return torch.tensor(
        (x + 2 * b * along - (a + b) * across / (1 + cosine)).astype(np.float64)
    )


def by_rotation_vectors(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rotation from a to b about a x b, three dimensions only."""
    axis = np.cross(a, b)
    sine, cosine = np.linalg.norm(axis, axis=-1), np.einsum("ni,ni->n", a, b)
    return Rotation.from_rotvec(
        axis * (np.arctan2(sine, cosine) / sine)[:, None]
    ).apply(x)


def many_alignments() -> Race:
    a, b = normal(2, 1000, 20, 3)
    return Race(
        job="align 1000 pairs of clouds of 20 points, d=3, float64",
        peer="scipy Rotation.align_vectors",
        goal=0.1,
        ours=lambda: procrustes(a, b, proper=True),
        theirs=lambda: np.stack(
            [alignment(x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)]
        ),
        note="Batched against a loop: SciPy aligns one pair of clouds a call.",
    )


def alignment(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return Rotation.align_vectors(y, x)[0].as_matrix()


def one_alignment(n: int, d: int) -> Race:
    a, b = normal(2, n, d)
    return Race(
        job=f"align {n} pairs of vectors, d={d}, float64",
        peer="scipy orthogonal_procrustes",
        goal=1.1,
        ours=lambda: procrustes(a, b),
        theirs=lambda: scipy.linalg.orthogonal_procrustes(b.numpy(), a.numpy())[0],
        note="Both are one matrix product and one singular value decomposition.",
    )


def polar_factor() -> Race:
    m = normal(256, 1024, dtype=torch.float32)
    return Race(
        job="the polar factor of one matrix (256, 1024), float32",
        peer="scipy.linalg.polar",
        goal=1.0,
        ours=lambda: newton_schulz(m, 8),
        theirs=lambda: scipy.linalg.polar(m.numpy())[0],
        reference=lambda: newton_schulz(m.double(), 30),
        note="Eight quintic steps against a singular value decomposition.",
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["numpy", "scipy"])
