"""Johnson-Lindenstrauss: random matrices that keep distances, and in how few
dimensions.

A random matrix A (n, d) maps N points of d coordinates to n coordinates. With n of
the order log(N) / eps^2 all squared distances survive within a factor 1 +- eps,
whatever d is. First the dimensions that follow from the tail of a single random
vector, which is `concentration`'s, from above and from below; then the two matrices
of the proofs. Cheaper maps are those of `sketching`.

Johnson & Lindenstrauss 1984; Dasgupta & Gupta 2003; the lower bound of Alon 2003,
made sharp by Larsen & Nelson 2017, arXiv:1609.02094.
"""

import math
from typing import Any

import torch
from torch import Generator, Tensor

from lbdl import require
from lbdl.geometry.concentration import norm_tail

__all__ = [
    "dasgupta_gupta_dimension",
    "distortions",
    "embedding_dimension",
    "gaussian_matrix",
    "necessary_dimension",
    "rademacher_matrix",
    "sufficient_dimension",
    "union_dimension",
]

# --- How many dimensions ----------------------------------------------------------


def sufficient_dimension(points: int, eps: float, constant: float = 24.0) -> int:
    """A dimension in which all distances of so many points survive: the lemma of
    Johnson and Lindenstrauss.

        n = ceil(constant log(N) / eps^2)

    With 24 a Gaussian matrix succeeds with probability >= 1 - 1/N, with 16 still
    with probability > 0 (> 1/N).

    Args:
        points: N >= 2, shape ().
        eps: allowed distortion of squared distances, in (0, 1), shape ().
        constant: 24 or 16, any number > 0.

    Returns:
        The dimension n >= 1.

    Raises:
        TypeError: `points` is no whole number, or another argument no number.
        ValueError: an argument is out of range.

    Source: Johnson & Lindenstrauss 1984; the constants from the unit-norm lemma and
        the union bound.
    """
    require.whole(points=points, least=2)
    require.number(eps=eps, above=0, below=1)
    require.number(constant=constant, above=0)
    return max(1, math.ceil(constant * math.log(points) / eps**2))


def dasgupta_gupta_dimension(points: int, eps: float) -> int:
    """The sharper rule that keeps the cubic term of the logarithm; scikit-learn's,
    but rounded up and not down.

        n = ceil(4 log(N) / (eps^2 / 2 - eps^3 / 3)),
        success with probability >= 1/N

    Args:
        points: N >= 2, shape ().
        eps: allowed distortion of squared distances, in (0, 1), shape ().

    Returns:
        The dimension n >= 1.

    Raises:
        TypeError: `points` is no whole number, or another argument no number.
        ValueError: an argument is out of range.

    Source: Dasgupta & Gupta 2003, theorem 2.1.
    """
    require.whole(points=points, least=2)
    require.number(eps=eps, above=0, below=1)
    return math.ceil(4 * math.log(points) / (eps**2 / 2 - eps**3 / 3))


def union_dimension(points: int, eps: float, failure: float | None = None) -> int:
    """The least dimension that the union bound grants when the tail is not bounded
    but computed.

        min { n :  N (N - 1) / 2  P(| ||u||^2 - 1 | >= eps) <= failure },
        u ~ N(0, I/n)

    Found by bisection on whole numbers; not differentiable.

    Args:
        points: N >= 2, shape ().
        eps: allowed distortion of squared distances, in (0, 1), shape ().
        failure: the largest probability that some distance is off, in (0, 1]; 1/N
            when not given.

    Returns:
        The dimension n >= 1.

    Raises:
        TypeError: `points` is no whole number, or another argument no number.
        ValueError: an argument is out of range.

    Source: Dasgupta & Gupta 2003, section 2, with `norm_tail` in place of its
        bound.
    """
    require.whole(points=points, least=2)
    require.number(eps=eps, above=0, below=1)
    failure = 1 / points if failure is None else failure
    require.number(failure=failure, above=0, most=1)
    allowed = failure / math.comb(points, 2)
    # the unit-norm lemma grants the upper end
    low, high = 0, 16 + math.ceil(8 * math.log(2 / allowed) / eps**2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle)
            if float(norm_tail(middle, eps)) <= allowed
            else (middle, high)
        )
    return high


def necessary_dimension(points: int, eps: float) -> int:
    """A dimension below which no N unit vectors at all, however chosen, have |<u_i,
    u_j>| <= eps for every pair.

        C(n + k - 1, k) >= N / (1 + (N - 1) eps^(2k)),   k = 1, 2, ...

    The Gram matrix, every entry to the power k, has rank at most C(n + k - 1, k),
    trace N, and entries at most eps^k beside the diagonal. k = 1 is Welch's bound.
    The result grows as log(N) / (eps^2 log(1/eps)).

    Args:
        points: N >= 2, shape ().
        eps: largest inner product, in (0, 1), shape ().

    Returns:
        The least n >= 1 that satisfies the inequality for every k.

    Raises:
        TypeError: `points` is no whole number, or another argument no number.
        ValueError: an argument is out of range.

    Source: Welch 1974; Alon 2003, "Problems and results in extremal combinatorics
        I".
    """
    require.whole(points=points, least=2)
    require.number(eps=eps, above=0, below=1)
    # beyond, the right-hand side stands still
    powers = range(1, 2 + math.ceil(math.log(points) / -math.log(eps)))
    return max(dimension_for_power(points, eps, k) for k in powers)


def dimension_for_power(points: int, eps: float, k: int) -> int:
    rank = points / (1 + (points - 1) * eps ** (2 * k))
    low, high = 0, max(1, math.ceil(rank))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle)
            if math.comb(middle + k - 1, k) >= rank
            else (middle, high)
        )
    return high


def embedding_dimension(words: int) -> float:
    """The heuristic for the width of word vectors and attention heads.

        n = 4 log(N) / log((1 + sqrt 5) / 2)  =  8.31 log(N)

    The entropy of pairs under p(i, j) ~ e^(n cos angle), with random directions, is
    2 log N - n/2 log(golden ratio) for large n; the heuristic asks that it can be
    brought to 0. No theorem: real vectors are not random directions.

    Args:
        words: N >= 1 words, or tokens in a context, shape ().

    Returns:
        The dimension, not rounded.

    Raises:
        TypeError: `words` is no number.
        ValueError: `words` < 1, or not finite.

    Source: Su 2020, kexue.fm/archives/7695 (n > 8.33 log N, the constant rounded on
        the way).
    """
    require.number(words=words, least=1)
    return 4 * math.log(words) / math.log((1 + math.sqrt(5)) / 2)


# --- What a map does to distances -------------------------------------------------


def distortions(x: Tensor, y: Tensor) -> Tensor:
    """By how much a map changed the squared distance of every pair.

        ||y_i - y_j||^2 / ||x_i - x_j||^2 - 1,   i < j

    Two equal points that stay equal have distortion 0; two equal points that are
    torn apart, infinity.

    No `torch.func`: torch has no forward mode of `pdist`.

    Args:
        x: N >= 2 points (..., N, d), floating dtype.
        y: their images (..., N, n).

    Returns:
        The distortions (..., N (N - 1) / 2), pairs in the order (0, 1), (0, 2),
        ..., (1, 2), ...

    Raises:
        TypeError: `x` or `y` is not a floating tensor, or dtypes differ.
        ValueError: `x` and `y` differ in anything but the last dimension, or there
            are fewer than two points.

    Source: Johnson & Lindenstrauss 1984.
    """
    require_images(x, y)
    wide, images = require.widen(x), require.widen(y)
    unit = require.power_of_two(wide, (-2, -1))
    unit = torch.where(unit.isfinite(), unit, 1)
    before, after = (pair_distances(z / unit) for z in (wide, images))
    same = before == after  # covers 0 / 0
    ratio = after / torch.where(same, 1, before)
    return torch.where(same, 0, ratio.square() - 1).to(x.dtype)


def pair_distances(x: Tensor) -> Tensor:
    """Distances (..., N (N - 1) / 2) of pairs i < j, without the cancellation of a
    Gram matrix."""
    clouds = x.reshape(-1, *x.shape[-2:])
    pairs = math.comb(x.shape[-2], 2)
    rows = [torch.pdist(cloud).unsqueeze(0) for cloud in clouds]
    return torch.cat([x.new_empty(0, pairs), *rows]).view(*x.shape[:-2], pairs)


# --- Random matrices --------------------------------------------------------------


def gaussian_matrix(
    n: int, d: int, *, generator: Generator | None = None, **options: Any
) -> Tensor:
    """The random matrix of the proofs.

        A_ij ~ N(0, 1/n),   E ||A x||^2 = ||x||^2

    Args:
        n: number of rows >= 1, the dimension to project to.
        d: number of columns >= 1, the dimension to project from.
        generator: source of randomness, on the device of the result.
        options: `dtype` and `device` of the result.

    Returns:
        The matrix (n, d); project points (..., d) by `x @ A.mT`.

    Raises:
        TypeError: `n` or `d` is no whole number, `generator` no generator, or the
            dtype is not floating.
        ValueError: `n` or `d` < 1.

    Source: Indyk & Motwani 1998.
    """
    require_draw(n, d, generator, options)
    return torch.randn(n, d, generator=generator, **options) / math.sqrt(n)


def rademacher_matrix(
    n: int, d: int, *, generator: Generator | None = None, **options: Any
) -> Tensor:
    """Coin flips in place of normal numbers.

        A_ij = +-1 / sqrt(n), each with probability 1/2

    Args:
        n: number of rows >= 1.
        d: number of columns >= 1.
        generator: source of randomness, on the device of the result.
        options: `dtype` and `device` of the result.

    Returns:
        The matrix (n, d).

    Raises:
        TypeError: `n` or `d` is no whole number, `generator` no generator, or the
            dtype is not floating.
        ValueError: `n` or `d` < 1.

    Source: Achlioptas 2003, theorem 1.1, first distribution.
    """
    require_draw(n, d, generator, options)
    return random_signs(n, d, generator=generator, **options) / math.sqrt(n)


def random_signs(
    *shape: int, generator: Generator | None = None, **options: Any
) -> Tensor:
    """Independent +-1, dtype and device of `options`."""
    coins = torch.randint(
        0, 2, shape, generator=generator, device=options.get("device")
    )
    return (2 * coins - 1).to(options.get("dtype") or torch.get_default_dtype())


# --- Checks -----------------------------------------------------------------------


def require_draw(
    n: int, d: int, generator: Generator | None, options: dict[str, Any]
) -> None:
    """Sizes >= 1, a source of randomness or none, and a floating dtype."""
    require.whole(n=n, d=d, least=1)
    require.generator(generator=generator)
    require.dtype(dtype=options.get("dtype"))


def require_images(x: Tensor, y: Tensor) -> None:
    """Points (..., N, d) and their images (..., N, n)."""
    require.fitting(x=(x, "... N d"), y=(y, "... M n"))
    if x.shape[-2] < 2 or x.shape[:-1] != y.shape[:-1]:
        raise ValueError(
            "x and y must be (..., N, d) and (..., N, n) with N >= 2, got shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
