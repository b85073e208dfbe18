"""The cost of moving one Gaussian to another: the Wasserstein distance W2, and what
follows from it.

Roots of matrices with harmless derivatives, the distance in three ways, the optimal
map, geodesics and barycentres, and two distances of samples: the Fréchet distance,
which is W2^2 of the Gaussians with their moments, and the kernel distance.

Dowson & Landau 1982, Olkin & Pukelsheim 1982 and Givens & Shortt 1984 (W2);
Álvarez-Esteban et al. 2016, arXiv:1511.05355 (barycentres); Heusel et al. 2017,
arXiv:1706.08500 (the Fréchet inception distance).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.linalg import solve_triangular

from lbdl import require
from lbdl.geometry.gaussians import (
    Gaussian,
    cholesky_of,
    covariance_of,
    from_samples,
    largest,
    of_a_pair,
    require_pair,
    require_points,
    require_positive,
    require_samples,
    require_symmetric,
    safe_root,
    spread_of,
    symmetric,
    tolerance,
    trace,
    unchecked,
    widened,
)

__all__ = [
    "matrix_sqrt",
    "sylvester",
    "wasserstein_squared_by_roots",
    "wasserstein_squared",
    "wasserstein",
    "wasserstein_squared_by_alignment",
    "frechet_distance",
    "kernel_distance",
    "optimal_map",
    "transport",
    "geodesic",
    "barycenter",
]

# numbers in a piece of a batch: 64 matrices of 32 x 32, half a megabyte in float64
CACHED = 1 << 16


# --- Matrix roots -----------------------------------------------------------------


def matrix_sqrt(a: Tensor) -> Tensor:
    """The symmetric root of a positive semi-definite matrix.

        X X = A,    X = Q sqrt(Lambda) Q^T    for    A = Q Lambda Q^T

    Its derivative solves X dX + dX X = dA, which is well behaved where eigenvalues
    coincide; the derivative of an eigenvector is not.

    No `torch.func`: no forward mode (`jacfwd`, `hessian`); reverse mode, twice, and
    `vmap` work.

    Args:
        a: A (..., d, d), symmetric, eigenvalues >= 0 up to rounding (these count as
            0).

    Returns:
        X (..., d, d), symmetric.

    Raises:
        TypeError: `a` is not a floating tensor.
        ValueError: `a` is not square, not finite or not symmetric, or has a
            negative eigenvalue.

    Source: Higham 2008, Functions of Matrices, sections 1.7 and 6.1.
    """
    require_symmetric(a=a)
    return MatrixSqrt.apply(require.widen(a)).to(a.dtype)


def sylvester(x: Tensor, g: Tensor) -> Tensor:
    """The symmetric Sylvester equation: Y with X Y + Y X = G.

        Y = Q ((Q^T G Q)_ij / (s_i + s_j)) Q^T    for    X = Q diag(s) Q^T

    Where s_i + s_j = 0 to rounding the entry is 0: the smallest solution.

    No `torch.func`: no forward mode (`jacfwd`, `hessian`); reverse mode, twice, and
    `vmap` work.

    Args:
        x: X (..., d, d), symmetric.
        g: G (..., d, d), same dtype; leading dimensions broadcast.

    Returns:
        Y (..., d, d).

    Raises:
        TypeError: `x` or `g` is not a floating tensor, or dtypes differ.
        ValueError: shapes or devices do not fit, or `x` is not finite or not
            symmetric.

    Source: Higham 2008, Functions of Matrices, appendix B.
    """
    require_symmetric(x=x)
    require.fitting(x=(x, "... d d"), g=(g, "... d d"))
    return Sylvester.apply(require.widen(x), require.widen(g)).to(x.dtype)


class MatrixSqrt(torch.autograd.Function):
    """`matrix_sqrt` with its derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(a)
        require_semidefinite(values, "a")
        return (vectors * values.clamp(min=0).sqrt()[..., None, :]) @ vectors.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return Sylvester.apply(*ctx.saved_tensors, gradients[0])


class Sylvester(torch.autograd.Function):
    """`sylvester` with its derivative, which is two more equations of the same
    kind."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, g: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(x)
        sums = values[..., :, None] + values[..., None, :]
        rounding = values.shape[-1] * torch.finfo(x.dtype).eps * largest(x)
        inverse = torch.where(sums.abs() <= rounding[..., None, None], 0, 1 / sums)
        return vectors @ ((vectors.mT @ g @ vectors) * inverse) @ vectors.mT

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor
    ) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        solved = Sylvester.apply(x, gradients[0])
        return -(y.mT @ solved + solved @ y.mT), solved


# --- In any unit of length --------------------------------------------------------


def free_of_scale(degree: int) -> Callable[..., Callable[..., Tensor]]:
    """For what grows with a power of the unit of length: computed in a unit in
    which the Gaussians are of size one.

        f(c (p - q), c p, c q) = c^degree f(p - q, p, q)

    float64 has room for the squares of all that is asked for here.
    """

    def decorate(distance: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(distance)
        def scaled(p: Gaussian, q: Gaussian) -> Tensor:
            if p.mean.dtype == torch.float64:
                return distance(p, q)
            moved = p.mean - q.mean
            unit = common_size(moved, p, q)  # (...)
            first = shrunk(moved, p, unit)
            second = shrunk(torch.zeros_like(moved), q, unit)
            value = distance(first, second)
            for _ in range(degree):
                value = value * unit
            return value

        return scaled

    return decorate


def common_size(moved: Tensor, p: Gaussian, q: Gaussian) -> Tensor:
    """A power of two near the largest shift or standard deviation of a pair
    (...)."""
    sizes = moved.abs().amax(-1), deviation(p), deviation(q)
    together = torch.stack(torch.broadcast_tensors(*sizes), -1).nan_to_num()
    return require.power_of_two(together, -1)[..., 0]


def deviation(p: Gaussian) -> Tensor:
    """About the largest standard deviation (...)."""
    if p.cholesky is not None:
        return largest(p.cholesky)
    if p.variance is not None:
        return p.variance.detach().amax(-1).sqrt()
    return largest(covariance_of(p)).sqrt()


def shrunk(mean: Tensor, p: Gaussian, unit: Tensor) -> Gaussian:
    """A Gaussian in another unit of length (...), with another mean."""
    name, spread = spread_of(p)
    length = unit[..., None] if name == "variance" else unit[..., None, None]
    spread = spread / length if name == "cholesky" else spread / length / length
    return unchecked(mean / unit[..., None], **{name: spread})


# --- Wasserstein ------------------------------------------------------------------


@of_a_pair
@free_of_scale(2)
def wasserstein_squared_by_roots(p: Gaussian, q: Gaussian) -> Tensor:
    """The squared Wasserstein distance, as the formula stands: the plain way.

        W2^2 = ||mu_p - mu_q||^2 + Tr Sigma_p + Tr Sigma_q
            - 2 Tr (Sigma_p^1/2 Sigma_q Sigma_p^1/2)^1/2

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast; covariances may
            be singular.

    Returns:
        (...), >= 0 up to rounding.

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: p and q do not fit.

    Source: Dowson & Landau 1982, J. Multivariate Anal. 12(3); Givens & Shortt 1984,
        Michigan Math. J. 31(2).
    """
    require_semidefinite(torch.linalg.eigvalsh(covariance_of(q).detach()))
    root = matrix_sqrt(covariance_of(p))
    cross = (
        matrix_sqrt(root @ covariance_of(q) @ root)
        .diagonal(dim1=-2, dim2=-1)
        .sum(-1)
    )
    return (p.mean - q.mean).square().sum(-1) + trace(p) + trace(q) - 2 * cross


@of_a_pair
@free_of_scale(2)
def wasserstein_squared(p: Gaussian, q: Gaussian) -> Tensor:
    """The squared Wasserstein distance: the least mean squared way from p to q.

        W2^2(p, q) = min E||x - y||^2 over all joint distributions with x ~ p, y ~ q
                   = ||mu_p - mu_q||^2 + Tr Sigma_p + Tr Sigma_q
                       - 2 sum_i sqrt(lambda_i)

    where lambda_i are the eigenvalues of A^T Sigma_q A, for any A with A
    A^T = Sigma_p: the Cholesky factor will do, no matrix root is needed. Two
    diagonal Gaussians cost O(d). The gradient is that of the formula wherever
    Sigma_p and Sigma_q are positive definite, p = q included.

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast; covariances may
            be singular.

    Returns:
        (...), >= 0.

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: p and q do not fit, a covariance has a negative eigenvalue, or a
            gradient is asked for at a singular Sigma_p, where the slope is
            infinite.

    Source: Dowson & Landau 1982, J. Multivariate Anal. 12(3); Olkin & Pukelsheim
        1982, Linear Algebra Appl. 48.
    """
    moved = (p.mean - q.mean).square().sum(-1)
    if p.variance is not None and q.variance is not None:
        return moved + (safe_root(p.variance) - safe_root(q.variance)).square().sum(
            -1
        )
    return moved + (trace(p) + trace(q) - 2 * largest_cross_trace(p, q)).clamp(
        min=0
    )


@of_a_pair
@free_of_scale(1)
def wasserstein(p: Gaussian, q: Gaussian) -> Tensor:
    """The Wasserstein distance W2, a metric.

        W2(p, q) = sqrt(W2^2(p, q))

    Where p = q the gradient is 0, one of the slopes at the tip of the cone.

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast; covariances may
            be singular.

    Returns:
        (...), >= 0.

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: as `wasserstein_squared`.

    Source: Givens & Shortt 1984, Michigan Math. J. 31(2).
    """
    return safe_root(wasserstein_squared(p, q))


@of_a_pair
@free_of_scale(2)
def wasserstein_squared_by_alignment(p: Gaussian, q: Gaussian) -> Tensor:
    """The squared Wasserstein distance as what is left of two factors after the
    best rotation.

        W2^2 = ||mu_p - mu_q||^2 + min over orthogonal U of ||A - B U||_F^2,
        A A^T = Sigma_p, B B^T = Sigma_q

    A sum of squares, so it cannot come out negative, and it keeps half of the
    digits that `wasserstein_squared` loses when p and q are close. Not all: A - B U
    is the difference of two matrices that are nearly equal, and what is below the
    rounding of A, relative to A, is lost: in float32 with covariances of size one,
    distances W2 below about 1e-6. It costs an SVD, three to seven times
    `wasserstein_squared` on a CPU. U is held fixed in the gradient, which is right
    at the minimum; second derivatives are not.

    Args:
        p, q: Gaussians, means (..., d), batch dimensions broadcast; covariances may
            be singular.

    Returns:
        (...), >= 0.

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: as `wasserstein_squared`.

    Source: Bhatia, Jain & Lim 2019, Expositiones Mathematicae 37(2),
        arXiv:1712.01504.
    """
    a, b = factor_of(p), factor_of(q)
    left, _, right = torch.linalg.svd((b.mT @ a).detach())
    return (p.mean - q.mean).square().sum(-1) + (
        a - b @ (left @ right)
    ).square().sum((-2, -1))


def largest_cross_trace(p: Gaussian, q: Gaussian) -> Tensor:
    """The largest E<x - mu_p, y - mu_q> of a joint distribution: Tr (Sigma_p^1/2
    Sigma_q Sigma_p^1/2)^1/2, (...).

    A batch of many matrices goes through in pieces that fit the cache of a CPU.
    """
    factored = p.covariance is None
    first, second = (
        factor_of(p) if p.covariance is None else p.covariance,
        covariance_of(q),
    )
    batch, d = (
        torch.broadcast_shapes(first.shape[:-2], second.shape[:-2]),
        p.mean.shape[-1],
    )
    rows = max(1, CACHED // (d * d))
    if first.is_cuda or d * d > CACHED or math.prod(batch) <= rows:
        values = cross_eigenvalues(first, second, factored)
    else:
        flat = (
            x.expand(*batch, d, d).flatten(0, -3).split(rows)
            for x in (first, second)
        )
        pieces = [
            cross_eigenvalues(x, y, factored) for x, y in zip(*flat, strict=True)
        ]
        values = torch.cat(pieces).unflatten(0, batch)
    require_semidefinite(values)
    require_no_hidden_negative(values, second)
    return safe_root(values).sum(-1)


def cross_eigenvalues(first: Tensor, second: Tensor, factored: bool) -> Tensor:
    """The eigenvalues of A^T Sigma_q A, ascending, (..., d); `first` is A itself or
    Sigma_p."""
    factor = first if factored else semidefinite_factor(first)
    return torch.linalg.eigvalsh(factor.mT @ second @ factor)


def factor_of(p: Gaussian) -> Tensor:
    """Some A (..., d, d) with A A^T = Sigma, singular or not; the Cholesky factor
    where there is one."""
    if p.variance is not None:
        return torch.diag_embed(safe_root(p.variance))
    return (
        cholesky_of(p)
        if p.covariance is None
        else semidefinite_factor(p.covariance)
    )


def semidefinite_factor(covariance: Tensor) -> Tensor:
    """Some A (..., d, d) with A A^T = Sigma (..., d, d), by Cholesky or, where that
    fails, by eigenvectors."""
    if not require.visible(covariance):
        return torch.linalg.cholesky(covariance)
    factor, info = torch.linalg.cholesky_ex(covariance)
    if not info.any():
        return factor
    require_no_gradient(covariance)
    values, vectors = torch.linalg.eigh(covariance)
    require_semidefinite(values)
    return vectors * values.clamp(min=0).sqrt()[..., None, :]


# --- Two samples ------------------------------------------------------------------


def frechet_distance(x: Tensor, y: Tensor) -> Tensor:
    """The Fréchet distance of two samples: W2^2 of the Gaussians with their means
    and covariances.

        ||mu_x - mu_y||^2 + Tr(Sigma_x + Sigma_y - 2 (Sigma_x Sigma_y)^1/2)

    With features of an Inception network for x and y it is the Fréchet inception
    distance, FID. It is biased upwards: two samples of one distribution have a
    positive distance, the larger the fewer points. float64 is advised where n <= d:
    each eigenvalue that should be 0 adds a root of the rounding error.

    Args:
        x: features (..., n, d), n >= 2, floating dtype.
        y: features (..., m, d), m >= 2.

    Returns:
        (...), >= 0.

    Raises:
        TypeError: `x` or `y` is not a floating tensor.
        ValueError: shapes or dtypes do not fit, or there are fewer than two points.

    Source: Heusel et al. 2017, equation (6), arXiv:1706.08500.
    """
    require_samples(1, x=x, y=y)
    return wasserstein_squared(from_samples(x), from_samples(y))


def kernel_distance(x: Tensor, y: Tensor, degree: int = 3) -> Tensor:
    """The kernel distance of two samples, without bias: the squared maximum mean
    discrepancy under a polynomial kernel.

        mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j)
            - 2 mean_{i, j} k(x_i, y_j)
        with k(x, y) = (x^T y / d + 1)^degree

    It compares all moments up to `degree`, not the first two alone. With features
    of an Inception network it is the kernel inception distance, KID. Two samples of
    one distribution have the distance 0 on average, whatever their size; so it can
    come out negative.

    Args:
        x: features (..., n, d), n >= 2, floating dtype.
        y: features (..., m, d), m >= 2, same dtype.
        degree: of the kernel, >= 1.

    Returns:
        (...), dtype of `x`.

    Raises:
        TypeError: `x` or `y` is not a floating tensor, dtypes differ, or `degree`
            is no whole number.
        ValueError: shapes do not fit, there are fewer than two points, one is not
            finite, or `degree` < 1.

    Source: Bińkowski et al. 2018, section 4, arXiv:1801.01401; Gretton et al. 2012,
        JMLR 13, lemma 6.
    """
    require_samples(1, x=x, y=y)
    require.whole(degree=degree, least=1)
    dtype, x, y = x.dtype, require.widen(x), require.widen(y)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.mT / a.shape[-1] + 1) ** degree

    within = mean_off_diagonal(kernel(x, x)) + mean_off_diagonal(kernel(y, y))
    return (within - 2 * kernel(x, y).mean((-2, -1))).to(dtype)


def mean_off_diagonal(a: Tensor) -> Tensor:
    """The mean of the entries of a matrix (..., n, n) beside its diagonal,
    (...)."""
    n = a.shape[-1]
    diagonal = a.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (a.sum((-2, -1)) - diagonal) / (n * (n - 1))


# --- Moving along W2 --------------------------------------------------------------


@of_a_pair
@free_of_scale(0)
def optimal_map(p: Gaussian, q: Gaussian) -> Tensor:
    """The matrix of the cheapest way to carry p onto q: x -> mu_q + T (x - mu_p).

        T = Sigma_p^-1/2 (Sigma_p^1/2 Sigma_q Sigma_p^1/2)^1/2 Sigma_p^-1/2
            = L^-T (L^T Sigma_q L)^1/2 L^-1

    with Sigma_p = L L^T. T is the only positive semi-definite matrix with T Sigma_p
    T = Sigma_q.

    No `torch.func`: no forward mode (`jacfwd`, `hessian`); reverse mode, twice, and
    `vmap` work.

    Args:
        p: Gaussian, mean (..., d), positive definite.
        q: Gaussian, mean (..., d), may be singular; batch dimensions broadcast.

    Returns:
        T (..., d, d), symmetric.

    Raises:
        TypeError: p or q is not a Gaussian, or dtypes differ.
        ValueError: p and q do not fit, or Sigma_p is singular.

    Source: Olkin & Pukelsheim 1982, Linear Algebra Appl. 48; Givens & Shortt 1984,
        Michigan Math. J. 31(2).
    """
    if p.variance is not None and q.variance is not None:
        return torch.diag_embed(
            safe_root(q.variance / require_positive(p.variance))
        )
    factor = cholesky_of(p)
    root = matrix_sqrt(factor.mT @ covariance_of(q) @ factor)
    left = solve_triangular(factor.mT, root, upper=True)  # L^-T R
    # L^-T R L^-1
    return symmetric(solve_triangular(factor, left, upper=False, left=False))


def transport(p: Gaussian, q: Gaussian, x: Tensor) -> Tensor:
    """Carries points of p to where the optimal map sends them.

        x -> mu_q + T (x - mu_p)

    No `torch.func`: no forward mode (`jacfwd`, `hessian`); reverse mode, twice, and
    `vmap` work.

    Args:
        p, q: Gaussians, means (d,) or (..., 1, d) to broadcast against `x`.
        x: points (..., n, d).

    Returns:
        (..., n, d), distributed as q if x is distributed as p.

    Raises:
        TypeError: p or q is not a Gaussian, `x` not a floating tensor, or dtypes
            differ.
        ValueError: shapes do not fit, or Sigma_p is singular.

    Source: Knott & Smith 1984, J. Optim. Theory Appl. 43(1).
    """
    require_points(p, x)
    moved = optimal_map(p, q) @ (x - p.mean)[..., None]
    return q.mean + moved[..., 0]


def geodesic(p: Gaussian, q: Gaussian, t: float | Tensor) -> Gaussian:
    """The Gaussian at fraction t of the straight way from p to q in W2: every point
    has gone t of its own way.

        mu_t = (1 - t) mu_p + t mu_q,    Sigma_t = M Sigma_p M,
        M = (1 - t) I + t T

    No `torch.func`: no forward mode (`jacfwd`, `hessian`); reverse mode, twice, and
    `vmap` work.

    Args:
        p: Gaussian, mean (..., d), positive definite.
        q: Gaussian, mean (..., d), may be singular.
        t: number in [0, 1], or a tensor (...) of them that broadcasts against the
            batch.

    Returns:
        Gaussian, mean (..., d), covariance (..., d, d).

    Raises:
        TypeError: p or q is not a Gaussian, dtypes differ, or `t` is no number and
            no floating tensor.
        ValueError: p and q do not fit, Sigma_p is singular, or a number `t` is
            outside [0, 1].

    Source: McCann 1997, Advances in Mathematics 128(1), example 1.7.
    """
    require.number_or_tensor(t=t, least=0, most=1)
    require_pair(p, q)
    dtype, p, q = p.mean.dtype, widened(p), widened(q)
    t = torch.as_tensor(t, dtype=p.mean.dtype, device=p.mean.device)[..., None]
    mean = torch.lerp(*torch.broadcast_tensors(p.mean, q.mean, t))
    whole = optimal_map(p, q)
    mixed = t[..., None] * whole + (1 - t[..., None]) * identity_like(whole)
    covariance = symmetric(mixed @ covariance_of(p) @ mixed)
    return Gaussian(mean.to(dtype), covariance.to(dtype))


def barycenter(
    gaussians: Gaussian, weights: Tensor | None = None, steps: int = 30
) -> Gaussian:
    """The Gaussian that is nearest to several others in the mean of W2^2.

        argmin over r of sum_i w_i W2^2(r, p_i):    mu = sum_i w_i mu_i,
        Sigma <- M Sigma M,    M = sum_i w_i T_i

    T_i is the optimal map from N(0, Sigma) to N(0, Sigma_i). The iteration starts
    at the mean of the covariances; at its fixed point M = I. Commuting covariances
    are done after one step.

    No `torch.func`: no forward mode (`jacfwd`, `hessian`); reverse mode, twice, and
    `vmap` work.

    Args:
        gaussians: Gaussians, mean (..., k, d): the k to be averaged; positive
            definite.
        weights: (..., k), >= 0, sum 1; equal when not given.
        steps: iterations, >= 1.

    Returns:
        Gaussian, mean (..., d), covariance (..., d, d).

    Raises:
        TypeError: `gaussians` are no Gaussians, `weights` not a floating tensor of
            their dtype, or `steps` is no whole number.
        ValueError: shapes do not fit, the weights are not >= 0 with the sum 1, or
            `steps` is less than 1.

    Source: Álvarez-Esteban et al. 2016, section 4, arXiv:1511.05355;
        Agueh & Carlier 2011, SIAM J. Math. Anal. 43(2).
    """
    weights = require_weights(gaussians, weights, steps)
    wide = widened(gaussians)
    targets, share = covariance_of(wide), require.widen(weights)[..., None, None]
    covariance = (share * targets).sum(-3)
    for _ in range(steps):
        start = Gaussian(
            torch.zeros_like(wide.mean[..., :1, :]), covariance[..., None, :, :]
        )
        mixed = (
            share
            * optimal_map(start, Gaussian(torch.zeros_like(wide.mean), targets))
        ).sum(-3)
        covariance = symmetric(mixed @ covariance @ mixed)
    mean = (require.widen(weights)[..., None] * wide.mean).sum(-2)
    return Gaussian(mean.to(weights.dtype), covariance.to(weights.dtype))


# --- Small helpers and checks -----------------------------------------------------


def identity_like(a: Tensor) -> Tensor:
    """I (d, d) for matrices a (..., d, d)."""
    return torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)


def require_semidefinite(values: Tensor, name: str = "covariance") -> None:
    """Eigenvalues (..., d), ascending: none is below zero by more than rounding."""
    require.values(
        values[..., 0] >= -tolerance(values[..., None]),
        f"{name} must be positive semi-definite, got a negative eigenvalue",
    )


def require_no_hidden_negative(values: Tensor, covariance: Tensor) -> None:
    """A^T Sigma A (eigenvalues: `values`) shows every negative eigenvalue of Sigma
    where A is invertible; where it may not be, those of Sigma itself are asked
    for."""
    if require.visible(values):
        hides = values[..., 0] <= tolerance(values[..., None])
        if bool(hides.any()):
            require_semidefinite(torch.linalg.eigvalsh(covariance.detach()))


def require_no_gradient(covariance: Tensor) -> None:
    """A singular covariance is fine where nobody asks for a slope."""
    if covariance.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            "covariance must be positive definite where a gradient is asked for: "
            "at a singular one the slope of W2 is infinite; add a small multiple "
            "of the identity"
        )


def require_weights(
    gaussians: Gaussian, weights: Tensor | None, steps: int
) -> Tensor:
    """The weights of a barycentre, equal where none are given."""
    require.instance(Gaussian, gaussians=gaussians)
    require.whole(steps=steps, least=1)
    mean = gaussians.mean
    if mean.dim() < 2:
        raise ValueError(
            f"gaussians must have a mean (..., k, d), got shape {tuple(mean.shape)}"
        )
    k = mean.shape[-2]
    if weights is None:
        return mean.new_full((k,), 1 / k)
    require.floating(weights=weights)
    require.alike(gaussians=mean, weights=weights)
    if weights.shape[-1:] != (k,):
        raise ValueError(
            f"weights must be (..., {k}), got shape {tuple(weights.shape)}"
        )
    rounding = math.sqrt(torch.finfo(weights.dtype).eps)
    fine = (weights >= 0) & ((weights.sum(-1, keepdim=True) - 1).abs() <= rounding)
    require.values(fine, "weights must be >= 0 and sum to 1")
    return weights
