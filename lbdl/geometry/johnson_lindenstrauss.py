"""Johnson-Lindenstrauss: random projections that keep distances, how surely, and in
how few dimensions.

A random matrix A (n, d) maps N points of d coordinates to n coordinates. With n of
the order log(N) / eps^2 all squared distances survive within a factor 1 +- eps,
whatever d is. First the tails of a single random vector, exactly and as bounds;
then the dimensions that follow, from above and from below; then the maps
themselves.

Johnson & Lindenstrauss 1984; Dasgupta & Gupta 2003; the lower bound of Alon 2003,
made sharp by Larsen & Nelson 2017, arXiv:1609.02094. The fast map follows
Ailon & Chazelle 2009, the sketch Charikar, Chen & Farach-Colton 2002.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

__all__ = [
    "KINDS",
    "Projection",
    "count_sketch",
    "dasgupta_gupta_dimension",
    "distortion_variance",
    "distortions",
    "draw_count_sketch",
    "draw_hadamard",
    "draw_projection",
    "embedding_dimension",
    "gaussian_matrix",
    "hadamard_projection",
    "hadamard_rows",
    "inner_product_tail",
    "inner_product_tail_bound",
    "inner_product_tail_chernoff",
    "matrix_of",
    "necessary_dimension",
    "norm_tail",
    "norm_tail_bound",
    "norm_tail_chernoff",
    "products_per_point",
    "rademacher_matrix",
    "sparse_matrix",
    "sufficient_dimension",
    "union_dimension",
    "walsh_hadamard",
]

Number = float | Tensor
Projection = Callable[[Tensor], Tensor]


# --- Tails of one random vector ---------------------------------------------------


def norm_tail(n: Number, eps: Number) -> Tensor:
    """How often a random vector misses length one, exactly.

        P(| ||u||^2 - 1 | >= eps),   u ~ N(0, I/n),
        n ||u||^2 ~ chi-square with n degrees of freedom

    Differentiable in `eps`, not in `n`. Exact up to torch's incomplete gamma
    function, which in float64 errs by 1e-9 of its value.

    Args:
        n: dimension >= 1, a number or a tensor (...).
        eps: distance from one, > 0, a number or a tensor (...), floating dtype;
            both broadcast.

    Returns:
        The probabilities (...), dtype of `eps` (float64 for a number).

    Raises:
        ValueError: `n` < 1 or `eps` <= 0, as numbers.

    Source: Dasgupta & Gupta 2003, for the chi-square distribution,
        section 2.
    """
    n, eps = tail_arguments(n, eps)
    above = torch.special.gammaincc(n / 2, n / 2 * (1 + eps))
    return above + torch.special.gammainc(n / 2, n / 2 * (1 - eps).clamp(min=0))


def norm_tail_chernoff(n: Number, eps: Number) -> Tensor:
    """Chernoff's bound on `norm_tail`, each side with its own best exponent.

        e^(n (log(1 + eps) - eps) / 2)  +  e^(n (log(1 - eps) + eps) / 2)

    The second term, for vectors that are too short, is absent when eps >= 1.

    Args:
        n: dimension >= 1, a number or a tensor (...).
        eps: distance from one, > 0, a number or a tensor (...), floating dtype;
            both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        ValueError: `n` < 1 or `eps` <= 0, as numbers.

    Source: Dasgupta & Gupta 2003, lemma 2.2 (for the projection onto a random
        subspace).
    """
    n, eps = tail_arguments(n, eps)
    # -inf at eps >= 1: no vector is shorter than 0
    short = torch.log1p(-eps.clamp(max=1)) + eps
    return torch.exp(n / 2 * (torch.log1p(eps) - eps)) + torch.exp(n / 2 * short)


def norm_tail_bound(n: Number, eps: Number) -> Tensor:
    """The round bound on `norm_tail`: the unit-norm lemma.

        2 e^(-eps^2 n / 8),   for 0 < eps < 1

    Args:
        n: dimension >= 1, a number or a tensor (...).
        eps: distance from one, in (0, 1), a number or a tensor (...), floating
            dtype; both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        ValueError: `n` < 1 or `eps` outside (0, 1), as numbers.

    Source: Johnson & Lindenstrauss 1984; the constant, Wainwright 2019,
        High-Dimensional Statistics, example 2.11.
    """
    require_distortion(eps)
    n, eps = tail_arguments(n, eps)
    return 2 * torch.exp(-(eps**2) * n / 8)


def inner_product_tail(n: Number, eps: Number) -> Tensor:
    """How often two random vectors are far from orthogonal, exactly.

        P(|<u, v>| >= eps) = E erfc(eps n / sqrt(2 Q)),   u, v ~ N(0, I/n),
        Q = n ||v||^2 ~ chi-square(n)

    Given v, <u, v> is normal with variance ||v||^2 / n. The mean over Q is the
    trapezoid rule in log Q, 2001 points, exact to about 1e-8 of the value.

    Args:
        n: dimension >= 1, a number or a tensor (...).
        eps: > 0, a number or a tensor (...), floating dtype; both broadcast.

    Returns:
        The probabilities (...), dtype of `eps` (float64 for a number).

    Raises:
        ValueError: `n` < 1 or `eps` <= 0, as numbers.

    Source: the distribution is that of Pearson, Jeffery & Elderton 1929
        (variance gamma).
    """
    n, eps = tail_arguments(n, eps)
    dtype, n, eps = eps.dtype, n.double().unsqueeze(-1), eps.double().unsqueeze(-1)
    offset = (
        torch.linspace(-75, 75, 2001, dtype=torch.float64, device=n.device)
        / n.sqrt()
    )  # (..., 2001)
    log_q = n.log() + offset
    log_density = (
        n / 2 * (log_q - math.log(2)) - log_q.exp() / 2 - torch.lgamma(n / 2)
    )
    values = log_density.exp() * torch.erfc(eps * n / (2 * log_q.exp()).sqrt())
    return (values.sum(-1) * (offset[..., 1] - offset[..., 0])).to(dtype)


def inner_product_tail_chernoff(n: Number, eps: Number) -> Tensor:
    """Chernoff's bound on `inner_product_tail`, taken directly.

        2 min_t e^(-n (t eps + log(1 - t^2) / 2)),
        attained where  t / (1 - t^2) = eps

    For small eps it is 2 e^(-eps^2 n / 2): four times the exponent of the lemma
    that goes by way of (u +- v) / sqrt 2.

    Args:
        n: dimension >= 1, a number or a tensor (...).
        eps: > 0, a number or a tensor (...), floating dtype; both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        ValueError: `n` < 1 or `eps` <= 0, as numbers.

    Source: E e^(s <u, v>) = (1 - s^2 / n^2)^(-n/2); Boucheron, Lugosi & Massart
        2013, section 2.2, for the method.
    """
    n, eps = tail_arguments(n, eps)
    t = 2 * eps / (1 + (1 + 4 * eps**2).sqrt())
    return 2 * torch.exp(-n * (t * eps + torch.log1p(-(t**2)) / 2))


def inner_product_tail_bound(n: Number, eps: Number) -> Tensor:
    """The round bound on `inner_product_tail`: the orthogonality lemma.

        4 e^(-eps^2 n / 8),   for 0 < eps < 1

    Args:
        n: dimension >= 1, a number or a tensor (...).
        eps: in (0, 1), a number or a tensor (...), floating dtype; both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        ValueError: `n` < 1 or `eps` outside (0, 1), as numbers.

    Source: the unit-norm lemma applied to (u + v) / sqrt 2 and (u - v) / sqrt 2.
    """
    return 2 * norm_tail_bound(n, eps)


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
        ValueError: an argument is out of range.

    Source: Johnson & Lindenstrauss 1984; the constants from the unit-norm lemma and
        the union bound.
    """
    require_points(points, eps)
    if not 0 < constant < math.inf:
        raise ValueError(f"constant must be finite and > 0, got {constant}")
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
        ValueError: an argument is out of range.

    Source: Dasgupta & Gupta 2003, theorem 2.1.
    """
    require_points(points, eps)
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
        ValueError: an argument is out of range.

    Source: Dasgupta & Gupta 2003, section 2, with `norm_tail` in place of its
        bound.
    """
    require_points(points, eps)
    failure = 1 / points if failure is None else failure
    if not 0 < failure <= 1:
        raise ValueError(f"failure must be in (0, 1], got {failure}")
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
        ValueError: an argument is out of range.

    Source: Welch 1974; Alon 2003, "Problems and results in extremal combinatorics
        I".
    """
    require_points(points, eps)
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
        ValueError: `words` < 1.

    Source: Su 2020, kexue.fm/archives/7695 (n > 8.33 log N, the constant rounded on
        the way).
    """
    if not words >= 1:
        raise ValueError(f"words must be >= 1, got {words}")
    return 4 * math.log(words) / math.log((1 + math.sqrt(5)) / 2)


# --- What a map does to distances -------------------------------------------------


def distortions(x: Tensor, y: Tensor) -> Tensor:
    """By how much a map changed the squared distance of every pair.

        ||y_i - y_j||^2 / ||x_i - x_j||^2 - 1,   i < j

    Two equal points that stay equal have distortion 0; two equal points that are
    torn apart, infinity.

    Args:
        x: N >= 2 points (..., N, d), floating dtype.
        y: their images (..., N, n).

    Returns:
        The distortions (..., N (N - 1) / 2), pairs in the order (0, 1), (0, 2),
        ..., (1, 2), ...

    Raises:
        TypeError: `x` or `y` is not floating.
        ValueError: `x` and `y` differ in anything but the last dimension, or there
            are fewer than two points.

    Source: Johnson & Lindenstrauss 1984.
    """
    require_images(x, y)
    i, j = torch.triu_indices(x.shape[-2], x.shape[-2], 1, device=x.device)
    before, after = (squared_distances(z)[..., i, j] for z in (x, y))
    same = before == after  # covers 0 / 0
    return torch.where(same, 0, after / torch.where(same, 1, before) - 1)


def squared_distances(x: Tensor) -> Tensor:
    """Squared distances (..., N, N); in float32 at least, and without the
    cancellation of a Gram matrix."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (
        torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist")
        .square()
        .to(x.dtype)
    )


def distortion_variance(x: Tensor, n: int, kurtosis: float = 3.0) -> Tensor:
    """The variance of ||A x||^2 / ||x||^2 for a matrix of independent entries of
    mean 0 and variance 1/n.

        (2 + (kurtosis - 3) sum_i x_i^4 / ||x||^4) / n,   kurtosis = n^2 E A_ij^4

    Gaussian 3, Rademacher 1, sparse s. Only the vector's concentration sum
    x_i^4 / ||x||^4 counts: 1/d for a vector of equal entries, 1 for a basis vector.

    Args:
        x: vectors (..., d), floating dtype, not zero.
        n: number of rows >= 1.
        kurtosis: >= 1.

    Returns:
        The variances (...).

    Raises:
        TypeError: `x` is not floating.
        ValueError: `n` < 1 or `kurtosis` < 1.

    Source: Achlioptas 2003; the fourth moment of a sum of independent terms.
    """
    require_floating(x=x)
    require_sizes(n=n)
    if not kurtosis >= 1:
        raise ValueError(f"kurtosis must be >= 1, got {kurtosis}")
    energy = (x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)) ** 2
    return (2 + (kurtosis - 3) * (energy**2).sum(-1)) / n


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
        ValueError: `n` or `d` is no whole number >= 1.

    Source: Indyk & Motwani 1998.
    """
    require_sizes(n=n, d=d)
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
        ValueError: `n` or `d` is no whole number >= 1.

    Source: Achlioptas 2003, theorem 1.1, first distribution.
    """
    require_sizes(n=n, d=d)
    return random_signs(n, d, generator=generator, **options) / math.sqrt(n)


def sparse_matrix(
    n: int,
    d: int,
    s: float = 3.0,
    *,
    generator: Generator | None = None,
    **options: Any,
) -> Tensor:
    """Coin flips, most of them left out.

        A_ij = sqrt(s / n) * (+1 with probability 1/(2s),
            0 with probability 1 - 1/s,  -1 with probability 1/(2s))

    s = 3 costs a third of the products and has the variance of Gaussian entries;
    s = sqrt(d) ("very sparse") is safe only for vectors that are not concentrated
    in few coordinates, see `distortion_variance`.

    Args:
        n: number of rows >= 1.
        d: number of columns >= 1.
        s: one entry in s is not zero, s >= 1.
        generator: source of randomness, on the device of the result.
        options: `dtype` and `device` of the result.

    Returns:
        The matrix (n, d), dense; `A.to_sparse_csr()` saves the products with zeros.

    Raises:
        ValueError: `n` or `d` is no whole number >= 1, or `s` < 1.

    Source: Achlioptas 2003, theorem 1.1 (s = 3); Li, Hastie & Church 2006 (s = sqrt
        d).
    """
    require_sizes(n=n, d=d)
    if not 1 <= s < math.inf:
        raise ValueError(f"s must be finite and >= 1, got {s}")
    chance = torch.rand(n, d, generator=generator, **options)
    signs = (chance < 0.5 / s).to(chance.dtype) - (chance >= 1 - 0.5 / s).to(
        chance.dtype
    )
    return signs * math.sqrt(s / n)


# --- Count sketch -----------------------------------------------------------------


class CountSketch(NamedTuple):
    """What `count_sketch` needs: for every coordinate a bucket and a sign."""

    n: int
    buckets: Tensor  # (d,) int64, in [0, n)
    signs: Tensor  # (d,) +-1


def draw_count_sketch(
    n: int, d: int, *, generator: Generator | None = None, **options: Any
) -> CountSketch:
    """Draws a bucket and a sign for every coordinate.

        h(i) uniform on {0, ..., n - 1},   s(i) = +-1

    Args:
        n: number of buckets >= 1.
        d: number of coordinates >= 1.
        generator: source of randomness, on the device of the result.
        options: `dtype` of the signs and `device`.

    Returns:
        A `CountSketch` of buckets (d,) and signs (d,).

    Raises:
        ValueError: `n` or `d` is no whole number >= 1.

    Source: Charikar, Chen & Farach-Colton 2002.
    """
    require_sizes(n=n, d=d)
    buckets = torch.randint(
        0, n, (d,), generator=generator, device=options.get("device")
    )
    return CountSketch(n, buckets, random_signs(d, generator=generator, **options))


def count_sketch(x: Tensor, sketch: CountSketch) -> Tensor:
    """One product and one sum for each coordinate: every coordinate is thrown, with
    its sign, into one bucket.

        y_b = sum_{i: h(i) = b} s(i) x_i

    As a matrix: one +-1 in every column. ||y||^2 is right on average, with variance
    at most 2/n ||x||^4, but two coordinates that meet in a bucket stay mixed: on
    x = e_i - e_j the distortion is 0 or +-1, never small.

    Args:
        x: points (..., d), floating dtype.
        sketch: drawn by `draw_count_sketch` for the same d.

    Returns:
        The images (..., n).

    Raises:
        TypeError: `x` is not floating.
        ValueError: the last dimension of `x` is not that of the sketch.

    Source: Charikar, Chen & Farach-Colton 2002; as a projection, Weinberger et al.
        2009, arXiv:0902.2206.
    """
    require_points_of(x, sketch.signs.numel())
    signed = x * sketch.signs.to(x.dtype)
    return x.new_zeros(*x.shape[:-1], sketch.n).index_add(
        -1, sketch.buckets, signed
    )


# --- Hadamard ---------------------------------------------------------------------


def hadamard_rows(rows: Tensor, size: int) -> Tensor:
    """Rows of the Hadamard matrix in Sylvester's order.

        H_ij = (-1)^(number of ones in the binary digits of i AND j),
        H_{2k} = [[H_k, H_k], [H_k, -H_k]]

    The rows are orthogonal: H H^T = size I.

    Args:
        rows: numbers of rows (m,), int64, in [0, size).
        size: a power of two.

    Returns:
        The rows (m, size), +-1, int64.

    Raises:
        ValueError: `size` is no power of two.

    Source: Sylvester 1867; Hadamard 1893.
    """
    require_power_of_two(size)
    digits = rows.unsqueeze(-1) & torch.arange(size, device=rows.device)
    for shift in (
        32,
        16,
        8,
        4,
        2,
        1,
    ):
        # fold the binary digits upon each other: their parity is left
        digits = digits ^ (digits >> shift)
    return 1 - 2 * (digits & 1)


def walsh_hadamard(x: Tensor) -> Tensor:
    """The product with the Hadamard matrix in d log2(d) additions: the plain way.

        H x,   by log2(d) rounds of  (p, q) -> (p + q, p - q)

    Args:
        x: points (..., d), floating dtype, d a power of two.

    Returns:
        H x (..., d), not normalised: applied twice it is d x.

    Raises:
        TypeError: `x` is not floating.
        ValueError: d is no power of two.

    Source: Fino & Algazi 1976.
    """
    require_floating(x=x)
    require_power_of_two(x.shape[-1])
    half = 1
    while half < x.shape[-1]:
        p, q = x.unflatten(-1, (-1, 2, half)).unbind(-2)
        x = torch.stack((p + q, p - q), dim=-2).flatten(-3)
        half *= 2
    return x


class HadamardSketch(NamedTuple):
    """What `hadamard_projection` needs: two sets of signs and the rows that are
    kept."""

    n: int
    d: int
    first: Tensor  # (a * b,) +-1
    second: Tensor  # (a, b) +-1
    rows: Tensor  # (m,) int64, different numbers in [0, a)


def draw_hadamard(
    n: int,
    d: int,
    *,
    block: int | None = None,
    generator: Generator | None = None,
    **options: Any,
) -> HadamardSketch:
    """Draws the signs and rows of a Hadamard projection.

        a b = the next power of two >= max(n, d),   m = ceil(n / b) rows out of a

    Args:
        n: dimension to project to, >= 1.
        d: dimension to project from, >= 1; filled up with zeros to a power of two.
        block: b, a power of two, at most n; when not given one near sqrt(n), which
            costs least. 1 is the classical subsampled transform.
        generator: source of randomness, on the device of the result.
        options: `dtype` of the signs and `device`.

    Returns:
        A `HadamardSketch` of signs (a b,), signs (a, b) and rows (m,).

    Raises:
        ValueError: `n` or `d` is no whole number >= 1, or `block` is no power of
            two in [1, n].

    Source: Ailon & Chazelle 2009; Tropp 2011, arXiv:1011.1595 (block = 1).
    """
    require_sizes(n=n, d=d)
    b = best_block(n) if block is None else block
    require_block(b, n)
    a = next_power_of_two(max(n, d)) // b
    rows = torch.randperm(a, generator=generator, device=options.get("device"))[
        : math.ceil(n / b)
    ]
    first = random_signs(a * b, generator=generator, **options)
    return HadamardSketch(
        n, d, first, random_signs(a, b, generator=generator, **options), rows
    )


def hadamard_projection(
    x: Tensor, sketch: HadamardSketch, chunk: int = 2**19
) -> Tensor:
    """The fast projection: signs, a small Hadamard product along rows, signs, a
    subsampled one along columns.

        X = x as a matrix (a, b),   Y = H_a[rows] (S2 * ((S1 * X) H_b)) / sqrt(m b),
        y = Y as a vector (m b,)

    d (b + m) products a point instead of d n. E ||y||^2 = ||x||^2. Its variance is
    at most 2/n ||x||^4, as with a Gaussian matrix: it is 2/n (a - m)/(a - 1)
    (1 - sum_i r_i^2) ||x||^4, r_i the share of row i of X in ||x||^2. Where b does
    not divide n, the last row of Y is cut short, each column is divided by the root
    of its own length, and the variance is up to 1/8 larger.

    Args:
        x: points (..., d), floating dtype.
        sketch: drawn by `draw_hadamard` for the same d.
        chunk: how many numbers to work on at a time, so that they stay in the
            cache.

    Returns:
        The images (..., n).

    Raises:
        TypeError: `x` is not floating.
        ValueError: the last dimension of `x` is not that of the sketch.

    Source: Ailon & Chazelle 2009; two stages as in Dao et al. 2022 (Monarch
        matrices), arXiv:2204.00595.
    """
    require_points_of(x, sketch.d)
    a, b = sketch.second.shape
    first, second = (
        sketch.first.to(x.dtype),
        sketch.second.to(x.dtype) / column_lengths(sketch).to(x.dtype).sqrt(),
    )
    along_rows = hadamard_rows(torch.arange(b, device=x.device), b).to(
        x.dtype
    ) / math.sqrt(b)
    along_columns = hadamard_rows(sketch.rows, a).to(x.dtype)

    def project(part: Tensor) -> Tensor:
        padded = F.pad(part, (0, a * b - sketch.d)) if a * b > sketch.d else part
        mixed = ((padded * first).reshape(-1, b) @ along_rows).view(-1, a, b)
        # (points, m * b)
        return columns_product(along_columns, mixed.mul_(second)).flatten(-2)

    points = x.reshape(-1, sketch.d)
    parts = [
        project(part)[:, : sketch.n]
        for part in points.split(max(1, chunk // (a * b)))
    ]
    return torch.cat(parts).reshape(*x.shape[:-1], sketch.n)


def column_lengths(sketch: HadamardSketch) -> Tensor:
    """How many of the m kept rows each of the b columns has (b,): m, or m - 1 where
    the last row is cut short."""
    b = sketch.second.shape[-1]
    full, rest = divmod(sketch.n, b)
    return full + (torch.arange(b, device=sketch.second.device) < rest)


def columns_product(matrix: Tensor, x: Tensor) -> Tensor:
    """`matrix @ x` for a batch x (B, a, b); narrow ones are turned first, which
    suits matrix products better."""
    if x.shape[-1] >= 16:
        return matrix @ x
    return (
        (x.mT.reshape(-1, x.shape[-2]) @ matrix.mT)
        .view(*x.mT.shape[:-1], len(matrix))
        .mT
    )


# --- All under one roof -----------------------------------------------------------


def multiply(x: Tensor, matrix: Tensor) -> Tensor:
    """Projects points (..., d) by a matrix (n, d)."""
    require_points_of(x, matrix.shape[-1])
    return x @ matrix.to(x.dtype).mT


KINDS = (
    "gaussian",
    "rademacher",
    "achlioptas",
    "very_sparse",
    "hadamard",
    "count_sketch",
)


def draw_projection(
    kind: str, n: int, d: int, *, generator: Generator | None = None, **options: Any
) -> Projection:
    """One of the six random maps, by name.

        x (..., d) -> y (..., n),   linear,   E ||y||^2 = ||x||^2

    Args:
        kind: "gaussian", "rademacher", "achlioptas" (`sparse_matrix`, s = 3),
            "very_sparse" (s = sqrt d), "hadamard" or "count_sketch".
        n: dimension to project to, >= 1.
        d: dimension to project from, >= 1.
        generator: source of randomness, on the device of the result.
        options: `dtype` and `device`.

    Returns:
        The map, a function of points (..., d); it can be pickled.

    Raises:
        ValueError: the kind is unknown, or `n` or `d` is no whole number >= 1.

    Source: as for the functions named.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "hadamard":
        return partial(
            hadamard_projection,
            sketch=draw_hadamard(n, d, generator=generator, **options),
        )
    if kind == "count_sketch":
        return partial(
            count_sketch,
            sketch=draw_count_sketch(n, d, generator=generator, **options),
        )
    if kind == "gaussian":
        return partial(
            multiply, matrix=gaussian_matrix(n, d, generator=generator, **options)
        )
    s = {"rademacher": 1.0, "achlioptas": 3.0, "very_sparse": math.sqrt(max(d, 1))}[
        kind
    ]
    return partial(
        multiply, matrix=sparse_matrix(n, d, s, generator=generator, **options)
    )


def matrix_of(projection: Projection, d: int, **options: Any) -> Tensor:
    """The matrix of a linear map: what it makes of the basis vectors.

        A = [f(e_1), ..., f(e_d)]

    Args:
        projection: a linear map of points (..., d).
        d: number of coordinates >= 1.
        options: `dtype` and `device`.

    Returns:
        The matrix (n, d).

    Raises:
        ValueError: `d` is no whole number >= 1.
    """
    require_sizes(d=d)
    return projection(torch.eye(d, **options)).mT


def products_per_point(kind: str, n: int, d: int) -> int:
    """What a projection costs: multiplications, signs not counted, for one point,
    those by zero left out.

        dense n d,   sparse n d / s (on average),   hadamard d' (b + ceil(n / b)),
        count sketch d

    Args:
        kind: as for `draw_projection`.
        n: dimension to project to, >= 1.
        d: dimension to project from, >= 1; d' is the next power of two >= max(n,
            d).

    Returns:
        The number of products, shape ().

    Raises:
        ValueError: the kind is unknown, or `n` or `d` is no whole number >= 1.
    """
    require_sizes(n=n, d=d)
    b = best_block(n)
    costs = {
        "gaussian": n * d,
        "rademacher": n * d,
        "achlioptas": round(n * d / 3),
        "very_sparse": round(n * math.sqrt(d)),
        "hadamard": next_power_of_two(max(n, d)) * (b + math.ceil(n / b)),
        "count_sketch": d,
    }
    if kind not in costs:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    return costs[kind]


# --- Small parts ------------------------------------------------------------------


def random_signs(
    *shape: int, generator: Generator | None = None, **options: Any
) -> Tensor:
    """Independent +-1, dtype and device of `options`."""
    coins = torch.randint(
        0, 2, shape, generator=generator, device=options.get("device")
    )
    return (2 * coins - 1).to(options.get("dtype") or torch.get_default_dtype())


def next_power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def best_block(n: int) -> int:
    """A power of two near sqrt(n), at most n; not below 16 where n allows it, which
    suits matrix products."""
    return min(1 << (n.bit_length() - 1), max(16, 2 ** math.ceil(math.log2(n) / 2)))


# --- Checks -----------------------------------------------------------------------


def tail_arguments(n: Number, eps: Number) -> tuple[Tensor, Tensor]:
    """Both as tensors of one floating dtype. Tensors are not read: that would wait
    for the device."""
    if not isinstance(n, Tensor) and not 1 <= n < math.inf:
        raise ValueError(f"n must be finite and >= 1, got {n}")
    if not isinstance(eps, Tensor) and not 0 < eps < math.inf:
        raise ValueError(f"eps must be finite and > 0, got {eps}")
    device = next((x.device for x in (n, eps) if isinstance(x, Tensor)), None)
    wide = (
        eps
        if isinstance(eps, Tensor)
        else torch.tensor(eps, dtype=torch.float64, device=device)
    )
    require_floating(eps=wide)
    return torch.as_tensor(n, dtype=wide.dtype, device=wide.device), wide


def require_distortion(eps: Number) -> None:
    if not isinstance(eps, Tensor) and not 0 < eps < 1:
        raise ValueError(f"eps must be in (0, 1), got {eps}")


def require_points(points: int, eps: float) -> None:
    if not isinstance(points, int) or points < 2:
        raise ValueError(f"points must be a whole number >= 2, got {points!r}")
    require_distortion(eps)


def require_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {size!r}")


def require_floating(**tensors: Tensor) -> None:
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(
                f"{name} must be a floating tensor, got "
                f"{getattr(x, 'dtype', type(x).__name__)}"
            )


def require_images(x: Tensor, y: Tensor) -> None:
    require_floating(x=x, y=y)
    if x.dim() < 2 or x.shape[-2] < 2 or x.shape[:-1] != y.shape[:-1]:
        shapes = tuple(x.shape), tuple(y.shape)
        raise ValueError(
            "x and y must be (..., N, d) and (..., N, n) with N >= 2, got shapes "
            f"{shapes}"
        )


def require_points_of(x: Tensor, d: int) -> None:
    require_floating(x=x)
    if x.shape[-1:] != (d,):
        raise ValueError(f"x must be (..., {d}), got shape {tuple(x.shape)}")


def require_power_of_two(size: int) -> None:
    if size < 1 or size & (size - 1):
        raise ValueError(f"size must be a power of two, got {size}")


def require_block(block: int, n: int) -> None:
    require_sizes(block=block)
    if block & (block - 1) or block > n:
        raise ValueError(
            f"block must be a power of two in [1, n = {n}], got {block}"
        )
