"""Sketching: linear maps to few dimensions that cost less than a dense matrix, keep
whole subspaces, or are kept as bits.

The lemma of Johnson and Lindenstrauss asks of a random map that it keeps squared
lengths, with thin tails. Sparse matrices, sparse JL transforms, count sketches and
Hadamard transforms do so for a fraction of the products. One map serves all vectors
of a subspace, and least squares with it; of the images, signs are enough.

Achlioptas 2003; Charikar, Chen & Farach-Colton 2002; Ailon & Chazelle 2009; Kane &
Nelson 2014, arXiv:1012.1577; Woodruff 2014, arXiv:1411.4357.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lbdl import require
from lbdl.geometry.johnson_lindenstrauss import (
    gaussian_matrix,
    random_signs,
    require_draw,
)

__all__ = [
    "KINDS",
    "Projection",
    "count_sketch",
    "distortion_variance",
    "draw_count_sketch",
    "draw_hadamard",
    "draw_projection",
    "draw_sparse_jl",
    "fast_sparse_jl",
    "hadamard_projection",
    "hadamard_rows",
    "matrix_of",
    "products_per_point",
    "sign_inner_product",
    "sign_sketch",
    "sparse_jl",
    "sparse_matrix",
    "subspace_distortion",
    "walsh_hadamard",
]

Projection = Callable[[Tensor], Tensor]


# --- Independent entries ----------------------------------------------------------


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
    x: Tensor, sketch: HadamardSketch, chunk: int = 2**17
) -> Tensor:
    """The fast projection: signs, a small Hadamard product along rows, signs, a
    subsampled one along columns.

        X = x as a matrix (a, b),   Y = H_a[rows] (S2 * ((S1 * X) H_b)) / sqrt(m b),
        y = Y as a vector (m b,)

    d (b + m) products a point instead of d n, and matrices of d b numbers instead
    of d n. E ||y||^2 = ||x||^2. Its variance is at most 2/n ||x||^4, as with a
    Gaussian matrix: it is 2/n (a - m)/(a - 1) (1 - sum_i r_i^2) ||x||^4, r_i the
    share of row i of X in ||x||^2. Where b does not divide n, the last row of Y
    is cut short, each column is divided by the root of its own length, and the
    variance is up to 1/8 larger.

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
    # along rows a matrix for each of them, (a, b, b), which has the signs in it
    along_rows, along_columns = hadamard_stages(sketch, wide.dtype)

    def project(part: Tensor) -> Tensor:
        padded = F.pad(part, (0, a * b - sketch.d)) if a * b > sketch.d else part
        rows = padded.reshape(-1, a, b).transpose(0, 1)  # (a, points, b)
        mixed = rows @ along_rows
        image = (along_columns @ mixed.flatten(1)).unflatten(1, (-1, b))
        return image.transpose(0, 1).flatten(1)[:, : sketch.n]  # (points, n)

    points = wide.reshape(-1, sketch.d).split(max(1, chunk // (a * b)))
    images = torch.cat([project(part) for part in points])
    return images.reshape(*x.shape[:-1], sketch.n).to(x.dtype)


def hadamard_stages(
    sketch: HadamardSketch, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The two products: a matrix diag(s1_i) H_b diag(s2_i) / sqrt(m b) for each row
    i of X, (a, b, b), and the kept rows of H_a, (m, a)."""
    a, b = sketch.second.shape
    lengths = b * column_lengths(sketch).to(dtype)
    second = sketch.second.to(dtype) / lengths.sqrt()
    H = hadamard_rows(torch.arange(b, device=second.device), b).to(dtype)
    along_rows = sketch.first.to(dtype).view(a, b, 1) * H * second.unsqueeze(1)
    return along_rows, hadamard_rows(sketch.rows, a).to(dtype)


def column_lengths(sketch: HadamardSketch) -> Tensor:
    """How many of the m kept rows each of the b columns has (b,): m, or m - 1 where
    the last row is cut short."""
    b = sketch.second.shape[-1]
    full, rest = divmod(sketch.n, b)
    return full + (torch.arange(b, device=sketch.second.device) < rest)


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


# --- Small parts ------------------------------------------------------------------


def next_power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def best_block(n: int) -> int:
    """A power of two near sqrt(n), at most n; not below 16 where n allows it, which
    suits matrix products."""
    return min(1 << (n.bit_length() - 1), max(16, 2 ** math.ceil(math.log2(n) / 2)))


def require_power_of_two(**sizes: int) -> None:
    """1, 2, 4, ..."""
    for name, size in sizes.items():
        if size < 1 or size & (size - 1):
            raise ValueError(f"{name} must be a power of two, got {size}")
