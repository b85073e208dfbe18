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

from lbdl import require

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
    "draw_sparse_jl",
    "embedding_dimension",
    "fast_sparse_jl",
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
    "sign_inner_product",
    "sign_sketch",
    "sparse_jl",
    "sparse_matrix",
    "subspace_distortion",
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

    No `torch.func`: torch has no forward mode of the incomplete gamma function.

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: distance from one, > 0, a number or a tensor (...), floating dtype;
            both broadcast.

    Returns:
        The probabilities (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` <= 0 (on a GPU, tensors are not looked at).

    Source: Dasgupta & Gupta 2003, for the chi-square distribution,
        section 2.
    """
    n, eps, dtype = tail_arguments(n, eps)
    above = torch.special.gammaincc(n / 2, n / 2 * (1 + eps))
    below = torch.special.gammainc(n / 2, n / 2 * (1 - eps).clamp(min=0))
    return (above + below).to(dtype)


def norm_tail_chernoff(n: Number, eps: Number) -> Tensor:
    """Chernoff's bound on `norm_tail`, each side with its own best exponent.

        e^(n (log(1 + eps) - eps) / 2)  +  e^(n (log(1 - eps) + eps) / 2)

    The second term, for vectors that are too short, is absent when eps >= 1.

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: distance from one, > 0, a number or a tensor (...), floating dtype;
            both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` <= 0 (on a GPU, tensors are not looked at).

    Source: Dasgupta & Gupta 2003, lemma 2.2 (for the projection onto a random
        subspace).
    """
    n, eps, dtype = tail_arguments(n, eps)
    # -inf at eps >= 1: no vector is shorter than 0
    short = torch.log1p(-eps.clamp(max=1)) + eps
    long = n / 2 * (torch.log1p(eps) - eps)
    return (torch.exp(long) + torch.exp(n / 2 * short)).to(dtype)


def norm_tail_bound(n: Number, eps: Number) -> Tensor:
    """The round bound on `norm_tail`: the unit-norm lemma.

        2 e^(-eps^2 n / 8),   for 0 < eps < 1

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: distance from one, in (0, 1), a number or a tensor (...), floating
            dtype; both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` outside (0, 1) (on a GPU, tensors are not
            looked at).

    Source: Johnson & Lindenstrauss 1984; the constant, Wainwright 2019,
        High-Dimensional Statistics, example 2.11.
    """
    require.number_or_tensor(eps=eps, above=0, below=1)
    n, eps, dtype = tail_arguments(n, eps)
    return (2 * torch.exp(-(eps**2) * n / 8)).to(dtype)


def inner_product_tail(n: Number, eps: Number) -> Tensor:
    """How often two random vectors are far from orthogonal, exactly.

        P(|<u, v>| >= eps) = E erfc(eps n / sqrt(2 Q)),   u, v ~ N(0, I/n),
        Q = n ||v||^2 ~ chi-square(n)

    Given v, <u, v> is normal with variance ||v||^2 / n. The mean over Q is the
    trapezoid rule in log Q, 2001 points, exact to about 1e-8 of the value.

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: > 0, a number or a tensor (...), floating dtype; both broadcast.

    Returns:
        The probabilities (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` <= 0 (on a GPU, tensors are not looked at).

    Source: the distribution is that of Pearson, Jeffery & Elderton 1929
        (variance gamma).
    """
    n, eps, dtype = tail_arguments(n, eps)
    n, eps = n.double().unsqueeze(-1), eps.double().unsqueeze(-1)
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
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: > 0, a number or a tensor (...), floating dtype; both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` <= 0 (on a GPU, tensors are not looked at).

    Source: E e^(s <u, v>) = (1 - s^2 / n^2)^(-n/2); Boucheron, Lugosi & Massart
        2013, section 2.2, for the method.
    """
    n, eps, dtype = tail_arguments(n, eps)
    t = 2 * eps / (1 + (1 + 4 * eps**2).sqrt())
    return (2 * torch.exp(-n * (t * eps + torch.log1p(-(t**2)) / 2))).to(dtype)


def inner_product_tail_bound(n: Number, eps: Number) -> Tensor:
    """The round bound on `inner_product_tail`: the orthogonality lemma.

        4 e^(-eps^2 n / 8),   for 0 < eps < 1

    Args:
        n: dimension >= 1, a number or a tensor (...), floating dtype or int64.
        eps: in (0, 1), a number or a tensor (...), floating dtype; both broadcast.

    Returns:
        The bounds (...), dtype of `eps` (float64 for a number).

    Raises:
        TypeError: `n` is neither a number nor a floating or int64 tensor, or `eps`
            neither a number nor a floating tensor.
        ValueError: `n` < 1 or `eps` outside (0, 1) (on a GPU, tensors are not
            looked at).

    The unit-norm lemma, applied to (u + v) / sqrt 2 and (u - v) / sqrt 2.
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

    No `torch.func`: torch has no forward mode of `cdist`.

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
    i, j = torch.triu_indices(x.shape[-2], x.shape[-2], 1, device=x.device)
    unit = require.power_of_two(wide, (-2, -1))
    unit = torch.where(unit.isfinite(), unit, 1)
    before, after = (pair_distances(z / unit)[..., i, j] for z in (wide, images))
    same = before == after  # covers 0 / 0
    ratio = after / torch.where(same, 1, before)
    return torch.where(same, 0, ratio.square() - 1).to(x.dtype)


def pair_distances(x: Tensor) -> Tensor:
    """Distances (..., N, N), without the cancellation of a Gram matrix."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


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
        The variances (...), nan for a vector of zeros.

    Raises:
        TypeError: `x` is not a floating tensor, `n` no whole number, or `kurtosis`
            no number.
        ValueError: d = 0, `n` < 1 or `kurtosis` < 1.

    Source: Achlioptas 2003; the fourth moment of a sum of independent terms.
    """
    require.floating(x=x)
    require.shapes(x=(x, "... d"))
    require.whole(n=n, least=1)
    require.number(kurtosis=kurtosis, least=1)
    wide = require.widen(x)
    energy = (wide / require.power_of_two(wide, -1)).square()
    shares = energy / energy.sum(-1, keepdim=True)
    return ((2 + (kurtosis - 3) * shares.square().sum(-1)) / n).to(x.dtype)


# --- Whole subspaces --------------------------------------------------------------


def subspace_distortion(u: Tensor, v: Tensor) -> Tensor:
    """By how much a linear map changed the squared lengths of a whole subspace, at
    worst.

        max over z of | ||V z||^2 / ||U z||^2 - 1 |,   U = Q R,   V = A U

    It is the largest |sigma^2 - 1| of the singular values of V R^-1. For a Gaussian
    matrix of n rows the singular values lie near [1 - sqrt(k/n), 1 + sqrt(k/n)]: n
    of the order of k / eps^2 keeps infinitely many vectors, whatever d is.

    Args:
        u: k independent vectors as columns (..., d, k), d >= k, floating dtype.
        v: their images as columns (..., n, k), same dtype.

    Returns:
        The distortion (...), at least 1 where n < k.

    Raises:
        TypeError: `u` or `v` is not a floating tensor, or dtypes differ.
        ValueError: shapes do not fit, d < k, a value is not finite, or the columns
            of u are not independent.

    Source: Sarlós 2006, FOCS; Woodruff 2014, section 2.1, arXiv:1411.4357.
    """
    require.fitting(u=(u, "... d k"), v=(v, "... n k"))
    require.finite(u=u, v=v)
    d, k = u.shape[-2:]
    if d < k:
        raise ValueError(f"u must be (..., d, k) with d >= k, got {tuple(u.shape)}")
    r = torch.linalg.qr(require.widen(u)).R
    pivots = r.diagonal(dim1=-2, dim2=-1).detach().abs()
    least = d * torch.finfo(r.dtype).eps * pivots.amax(-1, keepdim=True)
    require.values(pivots > least, "u must hold independent columns, got others")
    image = torch.linalg.solve_triangular(
        r, require.widen(v), upper=True, left=False
    )
    gram = image.mT @ image  # (..., k, k)
    off = torch.linalg.eigvalsh(gram) - 1
    return off.abs().amax(-1).to(u.dtype)


# --- One bit a coordinate ---------------------------------------------------------


class SignSketch(NamedTuple):
    """What is kept of a vector: one bit a projected coordinate, and its length."""

    signs: Tensor  # (..., n) bool, true where the projection is positive
    norm: Tensor  # (..., 1)


def sign_sketch(x: Tensor, matrix: Tensor) -> SignSketch:
    """Keep the signs of a Gaussian projection, and the length.

        sign(A x),   ||x||

    Two vectors at the angle theta differ in each sign with probability theta / pi.

    Args:
        x: vectors (..., d), floating dtype.
        matrix: A (n, d), drawn by `gaussian_matrix`, same dtype.

    Returns:
        A `SignSketch` of n bits (..., n) and the norm (..., 1).

    Raises:
        TypeError: `x` or `matrix` is not a floating tensor, or dtypes differ.
        ValueError: shapes do not fit, or a value is not finite.

    Source: Charikar 2002, STOC; Zandieh, Daliri & Han 2024, arXiv:2406.03482.
    """
    require.fitting(x=(x, "... d"), matrix=(matrix, "n d"))
    require.finite(x=x, matrix=matrix)
    wide = require.widen(x)
    unit = require.power_of_two(wide, -1)
    norm = unit * torch.linalg.vector_norm(wide / unit, dim=-1, keepdim=True)
    return SignSketch(wide @ require.widen(matrix).mT > 0, norm.to(x.dtype))


def sign_inner_product(q: Tensor, sketch: SignSketch, matrix: Tensor) -> Tensor:
    """Inner products with vectors of which only signs are left: quantised
    Johnson-Lindenstrauss.

        <q, x>  ~  sqrt(pi / 2) ||x|| <A q, sign(A x)> / sqrt(n),   A_ij ~ N(0, 1/n)

    Without bias, because for normal (g, h) of unit variances E[g sign(h)] is
    sqrt(2 / pi) times their correlation. One side is quantised, the other not. The
    variance is (pi/2 ||q||^2 ||x||^2 - <q, x>^2) / n, against
    (||q||^2 ||x||^2 + <q, x>^2) / n when both sides are kept in full.

    Args:
        q: vectors (..., d), floating dtype.
        sketch: of other vectors (..., n), by `sign_sketch`; leading dimensions
            broadcast.
        matrix: the same A (n, d), same dtype.

    Returns:
        Estimates (...), dtype of `q`.

    Raises:
        TypeError: `q` or `matrix` is not a floating tensor, dtypes differ, or
            `sketch` is none of these.
        ValueError: shapes do not fit.

    Source: Zandieh, Daliri & Han 2024, lemma 3.2, arXiv:2406.03482.
    """
    require.fitting(q=(q, "... d"), matrix=(matrix, "n d"))
    require.instance(SignSketch, sketch=sketch)
    n = matrix.shape[0]
    require.shapes(sketch=(sketch.signs, f"... {n}"))
    require.broadcast(q=q.shape[:-1], sketch=sketch.signs.shape[:-1])
    image = require.widen(q) @ require.widen(matrix).mT
    signs = 2 * sketch.signs.to(image.dtype) - 1
    product = (image * signs).sum(-1) * sketch.norm[..., 0]
    return (math.sqrt(math.pi / (2 * n)) * product).to(q.dtype)


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
        TypeError: `n` or `d` is no whole number, `generator` no generator, `s` no
            number, or the dtype is not floating.
        ValueError: `n` or `d` < 1, or `s` < 1.

    Source: Achlioptas 2003, theorem 1.1 (s = 3); Li, Hastie & Church 2006 (s = sqrt
        d).
    """
    require_draw(n, d, generator, options)
    require.number(s=s, least=1)
    dtype = options.get("dtype") or torch.get_default_dtype()
    # half precision has too few numbers in [0, 1) for a small probability
    drawn = {**options, "dtype": torch.promote_types(dtype, torch.float32)}
    chance = torch.rand(n, d, generator=generator, **drawn)
    plus, minus = chance < 0.5 / s, chance >= 1 - 0.5 / s
    return (plus.to(dtype) - minus.to(dtype)) * math.sqrt(s / n)


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
        TypeError: `n` or `d` is no whole number, `generator` no generator, or the
            dtype is not floating.
        ValueError: `n` or `d` < 1.

    Source: Charikar, Chen & Farach-Colton 2002.
    """
    require_draw(n, d, generator, options)
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
        TypeError: `x` is not a floating tensor, or `sketch` is none of these.
        ValueError: the last dimension of `x` is not that of the sketch.

    Source: Charikar, Chen & Farach-Colton 2002; as a projection, Weinberger et al.
        2009, arXiv:0902.2206.
    """
    require.instance(CountSketch, sketch=sketch)
    require.fitting(x=(x, f"... {sketch.signs.numel()}"))
    wide = require.widen(x)
    signed = wide * sketch.signs.to(wide.dtype)
    empty = wide.new_zeros(*x.shape[:-1], sketch.n)
    return empty.index_add(-1, sketch.buckets, signed).to(x.dtype)


# --- A few entries a column -------------------------------------------------------

ENTRIES = 8  # in each column, when nothing else is said


class SparseSketch(NamedTuple):
    """What `sparse_jl` needs: for every coordinate one bucket in each block, and a
    sign."""

    n: int
    buckets: Tensor  # (s, d) int64, row j in block j of [0, n)
    signs: Tensor  # (s, d) +-1


def draw_sparse_jl(
    n: int,
    d: int,
    s: int | None = None,
    *,
    generator: Generator | None = None,
    **options: Any,
) -> SparseSketch:
    """Draws s count sketches, each into a block of n / s buckets of its own.

        h_j(i) uniform on block j of {0, ..., n - 1},   s_j(i) = +-1,
        j = 1, ..., s

    Args:
        n: dimension to project to, >= 1; where s does not divide it, the last
            blocks are one bucket longer.
        d: dimension to project from, >= 1.
        s: entries in each column, in [1, n]; 8, or n where that is less, when not
            given. s of the order eps n is enough for the lemma.
        generator: source of randomness, on the device of the result.
        options: `dtype` of the signs and `device`.

    Returns:
        A `SparseSketch` of buckets (s, d) and signs (s, d).

    Raises:
        TypeError: `n`, `d` or `s` is no whole number, `generator` no generator, or
            the dtype is not floating.
        ValueError: `n` or `d` < 1, or `s` is outside [1, n].

    Source: Kane & Nelson 2014, Journal of the ACM 61(1), the block construction,
        arXiv:1012.1577.
    """
    require_draw(n, d, generator, options)
    s = min(ENTRIES, n) if s is None else s
    require.whole(s=s, least=1, most=n)
    device = options.get("device")
    edges = torch.arange(s + 1, device=device) * n // s  # where the blocks begin
    chance = torch.rand(
        s, d, generator=generator, device=device, dtype=torch.float64
    )
    buckets = edges[:-1, None] + (chance * edges.diff()[:, None]).long()
    signs = random_signs(s, d, generator=generator, **options)
    return SparseSketch(n, buckets, signs)


def sparse_jl(x: Tensor, sketch: SparseSketch) -> Tensor:
    """The sparse Johnson-Lindenstrauss transform: every coordinate is thrown, with
    signs, into one bucket of each of s blocks.

        y_b = sum_{j, i: h_j(i) = b} s_j(i) x_i / sqrt(s)

    As a matrix: s entries +-1 / sqrt(s) in every column, s d products in place of n
    d. The variance is that of coin flips, 2/n (1 - sum x_i^4 / ||x||^4) where s
    divides n; and where two coordinates meet in a bucket, it is one of s: a small
    error instead of the count sketch's ruin.

    Args:
        x: points (..., d), floating dtype.
        sketch: drawn by `draw_sparse_jl` for the same d.

    Returns:
        The images (..., n).

    Raises:
        TypeError: `x` is not a floating tensor, or `sketch` is none of these.
        ValueError: the last dimension of `x` is not that of the sketch.

    Source: Kane & Nelson 2014, Journal of the ACM 61(1), arXiv:1012.1577.
    """
    require.instance(SparseSketch, sketch=sketch)
    require.fitting(x=(x, f"... {sketch.signs.shape[-1]}"))
    wide = require.widen(x)
    y = wide.new_zeros(*x.shape[:-1], sketch.n)
    for buckets, signs in zip(sketch.buckets, sketch.signs, strict=True):
        y = y.index_add(-1, buckets, wide * signs.to(wide.dtype))
    return (y / math.sqrt(len(sketch.signs))).to(x.dtype)


def fast_sparse_jl(x: Tensor, sketch: SparseSketch, chunk: int = 64) -> Tensor:
    """`sparse_jl` by products with a sparse matrix, a few points at a time, so that
    their images stay in the cache.

        y = A x,   A stored as its s d entries

    No `torch.compile`: sparse matrices are not traced. No `torch.func`: nor
    batched.

    Args:
        x: points (..., d), floating dtype.
        sketch: drawn by `draw_sparse_jl` for the same d.
        chunk: how many points to work on at a time, >= 1.

    Returns:
        The images (..., n).

    Raises:
        TypeError: `x` is not a floating tensor, `sketch` is none of these, or
            `chunk` no whole number.
        ValueError: the last dimension of `x` is not that of the sketch, or
            `chunk` < 1.

    Source: as a product of matrices, Kane & Nelson 2014, section 3.
    """
    require.instance(SparseSketch, sketch=sketch)
    require.whole(chunk=chunk, least=1)
    require.fitting(x=(x, f"... {sketch.signs.shape[-1]}"))
    wide = require.widen(x)
    matrix = as_sparse_matrix(sketch, wide)
    points = wide.reshape(-1, x.shape[-1]).split(chunk)
    images = torch.cat([(matrix @ part.mT.contiguous()).mT for part in points])
    return images.reshape(*x.shape[:-1], sketch.n).to(x.dtype)


def as_sparse_matrix(sketch: SparseSketch, like: Tensor) -> Tensor:
    """The matrix (n, d) of a sketch, of which only the entries are stored; dtype of
    another tensor."""
    s, d = sketch.signs.shape
    columns = torch.arange(d, device=sketch.buckets.device).expand(s, d)
    places = torch.stack([sketch.buckets.flatten(), columns.flatten()])
    values = sketch.signs.flatten().to(like) / math.sqrt(s)
    matrix = torch.sparse_coo_tensor(
        places, values, (sketch.n, d), check_invariants=True
    )
    return matrix.coalesce()


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
        TypeError: `rows` is not an int64 tensor, or `size` no whole number.
        ValueError: `size` is no power of two, or `rows` are not in [0, size).

    Source: Sylvester 1867; Hadamard 1893.
    """
    require.whole(size=size, least=1)
    require_power_of_two(size=size)
    require.classes(size, name="rows", targets=rows)
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
        TypeError: `x` is not a floating tensor.
        ValueError: d is no power of two.

    Source: Fino & Algazi 1976.
    """
    require.floating(x=x)
    require.shapes(x=(x, "... d"))
    require_power_of_two(**{"the last dimension of x": x.shape[-1]})
    y, half = require.widen(x), 1
    while half < x.shape[-1]:
        p, q = y.unflatten(-1, (-1, 2, half)).unbind(-2)
        y = torch.stack((p + q, p - q), dim=-2).flatten(-3)
        half *= 2
    return y.to(x.dtype) if half > 1 else x.clone()


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
        TypeError: `n` or `d` is no whole number, `generator` no generator, `block`
            no whole number, or the dtype is not floating.
        ValueError: `n` or `d` < 1, or `block` is no power of two in [1, n].

    Source: Ailon & Chazelle 2009; Tropp 2011, arXiv:1011.1595 (block = 1).
    """
    require_draw(n, d, generator, options)
    b = best_block(n) if block is None else block
    require.whole(block=b, least=1)
    if b & (b - 1) or b > n:
        raise ValueError(f"block must be a power of two in [1, n = {n}], got {b}")
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
        TypeError: `x` is not a floating tensor, or `sketch` is none of these,
            or `chunk` no whole number.
        ValueError: the last dimension of `x` is not that of the sketch, or
            `chunk` < 1.

    Source: Ailon & Chazelle 2009; two stages as in Dao et al. 2022 (Monarch
        matrices), arXiv:2204.00595.
    """
    require.instance(HadamardSketch, sketch=sketch)
    require.whole(chunk=chunk, least=1)
    require.fitting(x=(x, f"... {sketch.d}"))
    wide = require.widen(x)
    a, b = sketch.second.shape
    first = sketch.first.to(wide.dtype)
    second = (
        sketch.second.to(wide.dtype) / column_lengths(sketch).to(wide.dtype).sqrt()
    )
    along_rows = hadamard_rows(torch.arange(b, device=x.device), b).to(
        wide.dtype
    ) / math.sqrt(b)
    along_columns = hadamard_rows(sketch.rows, a).to(wide.dtype)

    def project(part: Tensor) -> Tensor:
        padded = F.pad(part, (0, a * b - sketch.d)) if a * b > sketch.d else part
        mixed = ((padded * first).reshape(-1, b) @ along_rows).view(-1, a, b)
        image = columns_product(along_columns, mixed.mul_(second))
        return image.flatten(-2)[:, : sketch.n]  # (points, n)

    points = wide.reshape(-1, sketch.d).split(max(1, chunk // (a * b)))
    images = torch.cat([project(part) for part in points])
    return images.reshape(*x.shape[:-1], sketch.n).to(x.dtype)


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
    require.fitting(x=(x, f"... {matrix.shape[-1]}"))
    wide = require.widen(x)
    return (wide @ matrix.to(wide.dtype).mT).to(x.dtype)


KINDS = (
    "gaussian",
    "rademacher",
    "achlioptas",
    "very_sparse",
    "hadamard",
    "count_sketch",
    "sparse_jl",
)


def draw_projection(
    kind: str, n: int, d: int, *, generator: Generator | None = None, **options: Any
) -> Projection:
    """One of the seven random maps, by name.

        x (..., d) -> y (..., n),   linear,   E ||y||^2 = ||x||^2

    Args:
        kind: "gaussian", "rademacher", "achlioptas" (`sparse_matrix`, s = 3),
            "very_sparse" (s = sqrt d), "hadamard", "count_sketch", or "sparse_jl"
            (eight entries a column).
        n: dimension to project to, >= 1.
        d: dimension to project from, >= 1.
        generator: source of randomness, on the device of the result.
        options: `dtype` and `device`.

    Returns:
        The map, a function of points (..., d); it can be pickled.

    Raises:
        TypeError: `n` or `d` is no whole number, `generator` no generator, or the
            dtype is not floating.
        ValueError: the kind is unknown, or `n` or `d` < 1.

    """
    require.choice(KINDS, kind=kind)
    drawn = {"generator": generator, **options}
    if kind == "hadamard":
        return partial(hadamard_projection, sketch=draw_hadamard(n, d, **drawn))
    if kind == "count_sketch":
        return partial(count_sketch, sketch=draw_count_sketch(n, d, **drawn))
    if kind == "sparse_jl":
        return partial(sparse_jl, sketch=draw_sparse_jl(n, d, **drawn))
    return partial(multiply, matrix=draw_matrix(kind, n, d, **drawn))


def draw_matrix(kind: str, n: int, d: int, **drawn: Any) -> Tensor:
    """One of the dense matrices, by name."""
    if kind == "gaussian":
        return gaussian_matrix(n, d, **drawn)
    require_draw(n, d, drawn["generator"], drawn)
    s = {"rademacher": 1.0, "achlioptas": 3.0, "very_sparse": math.sqrt(d)}[kind]
    return sparse_matrix(n, d, s, **drawn)


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
        TypeError: `projection` is no function, or `d` no whole number.
        ValueError: `d` < 1.
    """
    require.function(projection=projection)
    require.whole(d=d, least=1)
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
        TypeError: `n` or `d` is no whole number.
        ValueError: the kind is unknown, or `n` or `d` < 1.
    """
    require.choice(KINDS, kind=kind)
    require.whole(n=n, d=d, least=1)
    b = best_block(n)
    costs = {
        "gaussian": n * d,
        "rademacher": n * d,
        "achlioptas": round(n * d / 3),
        "very_sparse": round(n * math.sqrt(d)),
        "hadamard": next_power_of_two(max(n, d)) * (b + math.ceil(n / b)),
        "count_sketch": d,
        "sparse_jl": min(ENTRIES, n) * d,
    }
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


def tail_arguments(n: Number, eps: Number) -> tuple[Tensor, Tensor, torch.dtype]:
    """Both as tensors of one dtype, float32 or more, and the dtype of the result.
    Tensors on a GPU are not read: that would wait for it."""
    if isinstance(n, Tensor) and n.dtype == torch.int64:
        n = n.double()
    require.number_or_tensor(n=n, least=1)
    require.number_or_tensor(eps=eps, above=0)
    device = next((x.device for x in (n, eps) if isinstance(x, Tensor)), None)
    given = torch.as_tensor(eps, device=device)
    if not isinstance(eps, Tensor):
        given = torch.tensor(eps, dtype=torch.float64, device=device)
    wide = require.widen(given)
    tensor = torch.as_tensor(n, dtype=wide.dtype, device=wide.device)
    require.broadcast(n=tensor.shape, eps=wide.shape)
    return tensor, wide, given.dtype


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


def require_power_of_two(**sizes: int) -> None:
    """1, 2, 4, ..."""
    for name, size in sizes.items():
        if size < 1 or size & (size - 1):
            raise ValueError(f"{name} must be a power of two, got {size}")
