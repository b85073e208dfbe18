"""Orthogonal maps that take one direction to another: rotation, reflection,
half-turn; and the best one for many pairs.

Every map here is made of mirrors, x -> x - 2 <n, x> n (Householder 1958): one
mirror is the reflection, minus one mirror is the half-turn, two mirrors are the
rotation. So a map acts on a vector in O(d) operations, without its matrix. The
`plain_` functions are the textbook formulas; they divide by zero for opposite (or
equal) vectors, where the others choose one of the maps that exist. Many pairs at
once: the orthogonal Procrustes problem (Schoenemann 1966), and with determinant +1
the algorithm of Kabsch 1976 and Umeyama 1991. The polar factor that solves it, by
matrix products alone: Newton and Schulz, with the coefficients of Muon (Jordan et
al. 2024).
"""

import math
from typing import Any

import torch
from torch import Tensor

from lbdl import require
from lbdl.geometry.wasserstein import sylvester

__all__ = [
    "plain_rotation",
    "plain_reflection",
    "plain_half_turn",
    "apply_rotation",
    "apply_reflection",
    "apply_half_turn",
    "rotation",
    "reflection",
    "half_turn",
    "mirror",
    "middle",
    "perpendicular",
    "unit",
    "procrustes",
    "nearest_orthogonal",
    "CUBIC",
    "QUINTIC",
    "MUON",
    "newton_schulz",
]

# --- The formulas of the text -----------------------------------------------------


def plain_rotation(a: Tensor, b: Tensor) -> Tensor:
    """The rotation in the plane of two unit vectors that takes the first to the
    second.

        T1 = I + 2 b a^T - (a + b)(a + b)^T / (1 + c),    c = <a, b>

    The plain formula: it loses all digits as b nears -a, and divides by zero there.
    `rotation` does not.

    Args:
        a: unit vectors (..., d), d >= 2, floating dtype.
        b: unit vectors (..., d), same dtype; leading dimensions broadcast.

    Returns:
        Matrices (..., d, d) with T1 a = b.

    Raises:
        ValueError: shapes do not fit, d < 2, devices differ, or a vector is zero or
            not finite.
        TypeError: dtypes are not floating, or differ.
    """
    require_pair(a, b)
    return (
        identity(a)
        + 2 * outer(b, a)
        - outer(a + b, a + b) / (1 + inner(a, b)[..., None])
    )


def plain_reflection(a: Tensor, b: Tensor) -> Tensor:
    """The reflection that exchanges two unit vectors; its mirror is the hyperplane
    orthogonal to a - b.

        T2 = I - (a - b)(a - b)^T / (1 - c),    c = <a, b>

    The plain formula: it loses all digits as b nears a, and divides by zero there.
    `reflection` does not.

    Args:
        a: unit vectors (..., d), d >= 2, floating dtype.
        b: unit vectors (..., d), same dtype; leading dimensions broadcast.

    Returns:
        Symmetric matrices (..., d, d) with T2 a = b and T2 b = a.

    Raises:
        ValueError: shapes do not fit, d < 2, devices differ, or a vector is zero or
            not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Householder 1958, Journal of the ACM 5(4).
    """
    require_pair(a, b)
    return identity(a) - outer(a - b, a - b) / (1 - inner(a, b)[..., None])


def plain_half_turn(a: Tensor, b: Tensor) -> Tensor:
    """The map that keeps the line halfway between two unit vectors and turns all
    that is orthogonal to it around.

        T3 = (a + b)(a + b)^T / (1 + c) - I,    c = <a, b>

    The plain formula: it loses all digits as b nears -a, and divides by zero there.
    `half_turn` does not.

    Args:
        a: unit vectors (..., d), d >= 2, floating dtype.
        b: unit vectors (..., d), same dtype; leading dimensions broadcast.

    Returns:
        Symmetric matrices (..., d, d) with T3 a = b and T3 b = a.

    Raises:
        ValueError: shapes do not fit, d < 2, devices differ, or a vector is zero or
            not finite.
        TypeError: dtypes are not floating, or differ.
    """
    require_pair(a, b)
    return outer(a + b, a + b) / (1 + inner(a, b)[..., None]) - identity(a)


# --- The same maps, safe everywhere, on vectors -----------------------------------


def apply_rotation(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Rotate vectors in the plane of a and b by the angle from a to b: two mirrors,
    O(d) a vector.

        T1 x = M_m M_a x,    M_n x = x - 2 <n, x> n,    m = (a + b) / ||a + b||

    Only the directions of `a` and `b` count. For opposite directions every plane
    through `a` would do: the one with the coordinate axis that is farthest from `a`
    is taken. float16 and bfloat16 are computed in float32.

    Args:
        x: vectors (..., d), d >= 2, floating dtype.
        a: directions (..., d), not zero, same dtype; leading dimensions broadcast.
        b: directions (..., d), not zero, same dtype; leading dimensions broadcast.

    Returns:
        T1 x (..., d), dtype of `x`.

    Raises:
        ValueError: shapes do not fit, d < 2, devices differ, or a direction is zero
            or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Golub & Van Loan 2013, Matrix Computations, section 5.1.
    """
    require_pair(a, b, x=x)
    turned = mirrored(require.widen(x), scaled(a))
    return mirrored(turned, middle(a, b)).to(x.dtype)


def apply_reflection(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Reflect vectors in the hyperplane that exchanges a and b: one mirror, O(d) a
    vector.

        T2 x = M_r x,    M_n x = x - 2 <n, x> n,    r = (a - b) / ||a - b||

    Only the directions of `a` and `b` count. For equal directions every mirror that
    holds `a` would do: the one whose normal is nearest to the coordinate axis
    farthest from `a` is taken. Half precision is computed in float32.

    Args:
        x: vectors (..., d), d >= 2, floating dtype.
        a: directions (..., d), not zero, same dtype; leading dimensions broadcast.
        b: directions (..., d), not zero, same dtype; leading dimensions broadcast.

    Returns:
        T2 x (..., d), dtype of `x`.

    Raises:
        ValueError: shapes do not fit, d < 2, devices differ, or a direction is zero
            or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Householder 1958, Journal of the ACM 5(4).
    """
    require_pair(a, b, x=x)
    return mirrored(require.widen(x), middle(a, -b)).to(x.dtype)


def apply_half_turn(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Turn vectors by 180 degrees about the line halfway between a and b: minus one
    mirror, O(d) a vector.

        T3 x = -M_m x,    M_n x = x - 2 <n, x> n,    m = (a + b) / ||a + b||

    Only the directions of `a` and `b` count. For opposite directions every line
    orthogonal to `a` would do: the one nearest to the coordinate axis farthest from
    `a` is taken. Half precision is computed in float32.

    Args:
        x: vectors (..., d), d >= 2, floating dtype.
        a: directions (..., d), not zero, same dtype; leading dimensions broadcast.
        b: directions (..., d), not zero, same dtype; leading dimensions broadcast.

    Returns:
        T3 x (..., d), dtype of `x`.

    Raises:
        ValueError: shapes do not fit, d < 2, devices differ, or a direction is zero
            or not finite.
        TypeError: dtypes are not floating, or differ.
    """
    require_pair(a, b, x=x)
    return -mirrored(require.widen(x), middle(a, b)).to(x.dtype)


def rotation(a: Tensor, b: Tensor) -> Tensor:
    """The matrix of `apply_rotation`: `plain_rotation`, but safe for opposite
    vectors.

        column i = T1 e_i

    Args:
        a: directions (..., d), d >= 2, not zero, floating dtype.
        b: directions (..., d), not zero, same dtype; leading dimensions broadcast.

    Returns:
        Orthogonal matrices (..., d, d), determinant 1.

    Raises:
        ValueError: shapes do not fit, d < 2, devices differ, or a direction is zero
            or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Golub & Van Loan 2013, Matrix Computations, section 5.1.
    """
    require_pair(a, b)
    return apply_rotation(identity(a), a[..., None, :], b[..., None, :]).mT


def reflection(a: Tensor, b: Tensor) -> Tensor:
    """The matrix of `apply_reflection`: `plain_reflection`, but safe for equal
    vectors.

        column i = T2 e_i

    Args:
        a: directions (..., d), d >= 2, not zero, floating dtype.
        b: directions (..., d), not zero, same dtype; leading dimensions broadcast.

    Returns:
        Symmetric orthogonal matrices (..., d, d), determinant -1.

    Raises:
        ValueError: shapes do not fit, d < 2, devices differ, or a direction is zero
            or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Householder 1958, Journal of the ACM 5(4).
    """
    require_pair(a, b)
    return apply_reflection(identity(a), a[..., None, :], b[..., None, :]).mT


def half_turn(a: Tensor, b: Tensor) -> Tensor:
    """The matrix of `apply_half_turn`: `plain_half_turn`, but safe for opposite
    vectors.

        column i = T3 e_i

    Args:
        a: directions (..., d), d >= 2, not zero, floating dtype.
        b: directions (..., d), not zero, same dtype; leading dimensions broadcast.

    Returns:
        Symmetric orthogonal matrices (..., d, d), determinant (-1)^(d-1).

    Raises:
        ValueError: shapes do not fit, d < 2, devices differ, or a direction is zero
            or not finite.
        TypeError: dtypes are not floating, or differ.
    """
    require_pair(a, b)
    return apply_half_turn(identity(a), a[..., None, :], b[..., None, :]).mT


# --- What they are made of --------------------------------------------------------


def mirror(x: Tensor, n: Tensor) -> Tensor:
    """Reflect vectors in the hyperplane orthogonal to a unit vector.

        M_n x = x - 2 <n, x> n

    Args:
        x: vectors (..., d), floating dtype.
        n: unit vectors (..., d), same dtype; leading dimensions broadcast.

    Returns:
        The mirrored vectors (..., d), dtype of `x`.

    Raises:
        ValueError: shapes do not fit, or devices differ.
        TypeError: dtypes are not floating, or differ.

    Source: Householder 1958, Journal of the ACM 5(4).

    >>> mirror(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]))
    tensor([-3.,  4.])
    """
    require.fitting(x=(x, "... d"), n=(n, "... d"))
    return mirrored(require.widen(x), require.widen(n)).to(x.dtype)


def middle(p: Tensor, q: Tensor) -> Tensor:
    """The unit vector halfway between two directions.

        m = (p + q) / ||p + q||  for unit p, q,    orthogonal to p - q

    p and q are unit only up to rounding, so p + q leans towards p - q, the more the
    shorter it is. The lean is taken out, and the mirror of m then takes -p to q to
    rounding error, however short p + q was. Where p and q are opposite to rounding
    error, any m orthogonal to p does.

    Args:
        p: directions (..., d), d >= 2, floating dtype; of any length, they are
            scaled to one first.
        q: directions (..., d), same dtype; leading dimensions broadcast.

    Returns:
        Unit vectors (..., d), nan where a vector is zero or not finite; half
        precision comes back as float32.

    Raises:
        ValueError: shapes do not fit, d < 2, or devices differ.
        TypeError: dtypes are not floating, or differ.

    Source: one step of Gram-Schmidt, Golub & Van Loan 2013, Matrix Computations,
        section 5.2.
    """
    require.fitting(p=(p, "... d"), q=(q, "... d"), least=2)
    p, q = scaled(p), scaled(q)
    total, gap = p + q, p - q
    # where p and q are close there is nothing to take out: the clamp is harmless
    lean = inner(total, gap) / inner(gap, gap).clamp(min=1)
    total = total - lean * gap
    opposite = total.norm(dim=-1, keepdim=True) <= 4 * torch.finfo(p.dtype).eps
    total = torch.where(opposite, perpendicular(p), total)
    return total / total.norm(dim=-1, keepdim=True)


def perpendicular(p: Tensor) -> Tensor:
    """A vector orthogonal to a direction, of length 0.7 or more: the farthest
    coordinate axis, made orthogonal.

        e_i - p_i p  for unit p,    i = argmin_j |p_j|

    It jumps where the farthest axis changes. For odd d no choice is continuous
    everywhere: the hairy ball theorem (Milnor 1978, American Mathematical Monthly
    85(7)).

    Args:
        p: directions (..., d), d >= 2, floating dtype; of any length, they are
            scaled to one first.

    Returns:
        Vectors (..., d), nan where `p` is zero or not finite; half precision comes
        back as float32.

    Raises:
        ValueError: d < 2.
        TypeError: `p` is not floating.
    """
    require.fitting(p=(p, "... d"), least=2)
    p = scaled(p)
    i = p.abs().argmin(-1, keepdim=True)
    p_i = p.gather(-1, i)
    return (-p_i * p).scatter(-1, i, 1 - p_i.square())


def unit(x: Tensor) -> Tensor:
    """Vectors scaled to length one, whatever their size.

        x / ||x||

    Args:
        x: vectors (..., d), d >= 1, none zero, floating dtype.

    Returns:
        Unit vectors (..., d); half precision comes back as float32.

    Raises:
        ValueError: a vector is zero or not finite, or has no element.
        TypeError: `x` is not floating.

    >>> unit(torch.tensor([3e30, 4e30]))
    tensor([0.6000, 0.8000])
    """
    require.fitting(x=(x, "... d"))
    require_directions(x=x)
    return scaled(x)


# --- Many pairs at once -----------------------------------------------------------


def procrustes(a: Tensor, b: Tensor, *, proper: bool = False) -> Tensor:
    """The orthogonal map that takes many vectors as near as it can to their
    partners.

        T = argmin_{T^T T = I}  sum_i ||T a_i - b_i||^2
          = the orthogonal factor of  sum_i b_i a_i^T

    No `torch.func`: no forward mode (`jacfwd`, `hessian`); reverse mode, twice, and
    `vmap` work.

    Args:
        a: n vectors (..., n, d), n, d >= 1, floating dtype.
        b: their partners (..., n, d), same dtype; leading dimensions broadcast.
        proper: only rotations, determinant +1.

    Returns:
        Matrices (..., d, d), dtype of `a`. Not unique when fewer than d directions
        are given; then one of the best.

    Raises:
        ValueError: shapes do not fit, are empty, devices differ, or a value or an
            inner product is not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Schoenemann 1966, Psychometrika 31(1); with `proper`, Kabsch 1976, Acta
        Cryst. A32, and Umeyama 1991.
    """
    require.fitting(a=(a, "... n d"), b=(b, "... n d"))
    m = balanced(b).mT @ balanced(a)  # (..., d, d)
    require.values(
        m.isfinite(), "a and b must be finite, and so must their inner products"
    )
    return nearest_orthogonal(m, proper=proper).to(a.dtype)


def nearest_orthogonal(m: Tensor, *, proper: bool = False) -> Tensor:
    """The orthogonal matrix nearest to a matrix: its orthogonal polar factor.

        argmin_{Q^T Q = I} ||Q - M||_F   =   U V^T,    M = U diag(sigma) V^T

    and with `proper` U diag(1, ..., 1, det(U V^T)) V^T: the smallest singular value
    pays for the sign. The gradient is that of Q itself and needs no distinct
    singular values.

    No `torch.func`: no forward mode (`jacfwd`, `hessian`); reverse mode, twice, and
    `vmap` work.

    Args:
        m: matrices (..., d, d), d >= 1, floating dtype.
        proper: only rotations, determinant +1.

    Returns:
        Orthogonal matrices (..., d, d), dtype of `m`. Not unique for singular `m`
        (with `proper` only where the two smallest singular values, the last one
        with the sign, sum to 0): then one of them, and the gradient of what is not
        determined is set to 0.

    Raises:
        ValueError: `m` is not square, is empty, or holds a value that is not
            finite.
        TypeError: `m` is not floating.

    Source: Fan & Hoffman 1955, Proc. AMS 6(1); Umeyama 1991, IEEE TPAMI 13(4);
        gradient, Higham 2008, chapter 8.
    """
    require.fitting(m=(m, "... d d"))
    require.finite(m=m)
    require.choice((False, True), proper=proper)
    return OrthogonalFactor.apply(require.widen(m), proper).to(m.dtype)


class OrthogonalFactor(torch.autograd.Function):
    """Forward by singular values; M = Q H, and H W + W H = Q^T dM - dM^T Q, dQ = Q
    W (Higham 2008, chapter 8)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(m: Tensor, proper: bool) -> Tensor:
        u, s, vh = torch.linalg.svd(m)
        if proper:
            sign = torch.linalg.det(u @ vh).sign()[..., None]  # (..., 1), +1 or -1
            u = (
                u
                * torch.cat([torch.ones_like(s[..., :-1]), sign], dim=-1)[
                    ..., None, :
                ]
            )
        return u @ vh

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, bool], output: Tensor
    ) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        m, q = ctx.saved_tensors
        h, turned = q.mT @ m, q.mT @ gradients[0]
        return q @ sylvester((h + h.mT) / 2, turned - turned.mT), None


# --- The polar factor by matrix products alone ------------------------------------

CUBIC = (1.5, -0.5, 0.0)  # Newton and Schulz: each step squares the error
QUINTIC = (1.875, -1.25, 0.375)  # each step cubes it
MUON = (3.4445, -4.7750, 2.0315)  # never arrives, but is near after five steps


def newton_schulz(
    m: Tensor,
    steps: int = 30,
    coefficients: tuple[float, float, float] = QUINTIC,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The orthogonal polar factor by matrix products alone: no singular value
    decomposition.

        X <- a X + b (X X^T) X + c (X X^T)^2 X,    from X = M / ||M||_F

    Singular vectors stand still, and every singular value goes its own way, s <- a
    s + b s^3 + c s^5, from a place in [0, 1]. `CUBIC` and `QUINTIC` have the fixed
    point 1 and flatten there: after k steps with a^k sigma_min much larger than
    ||M||_F the result is U V^T, rows or columns orthonormal. `MUON` leaves 0
    fastest and never settles: five steps bring every sigma above ||M||_F / 300
    between 0.68 and 1.21.

    Args:
        m: matrices (..., n, d), n, d >= 1, floating dtype. A zero matrix stays
            zero.
        steps: how many, >= 0.
        coefficients: a, b, c.
        dtype: to compute in, floating; that of `m`, or float32 for half precision,
            when not given. `torch.bfloat16` is what `torch.optim.Muon` computes in.

    Returns:
        Matrices (..., n, d), dtype of `m`; nan where a value of `m` is not finite.

    Raises:
        ValueError: `m` is no batch of matrices or has no element, `steps` < 0, or
            there are not three coefficients.
        TypeError: `m` or `dtype` is not floating, `steps` is no whole number, or a
            coefficient no number.

    Source: Higham 2008, Functions of Matrices, section 8.3; Jordan et al. 2024,
        kellerjordan.github.io/posts/muon.

    >>> newton_schulz(torch.tensor([[3.0, 0.0], [0.0, -0.2]])).round(decimals=4)
    tensor([[ 1.,  0.],
            [ 0., -1.]])
    """
    require.fitting(m=(m, "... n d"))
    require.dtype(dtype=dtype)
    require.whole(steps=steps, least=0)
    a, b, c = require_coefficients(coefficients)
    wide = m.shape[-2] <= m.shape[-1]
    x = require.widen(m) if dtype is None else m.to(dtype)
    x = x if wide else x.mT
    x = (x / require.power_of_two(x, (-2, -1))).reshape(
        math.prod(m.shape[:-2]), *x.shape[-2:]
    )
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=0.5)  # it is 0, or >= 1
    for _ in range(steps):
        gram = x @ x.mT  # the smaller of the two Gram matrices
        shape = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, shape, x, beta=a)
    return (x if wide else x.mT).reshape(m.shape).to(m.dtype)


# --- Small helpers and checks -----------------------------------------------------


def mirrored(x: Tensor, n: Tensor) -> Tensor:
    """`mirror`, of vectors that were looked at."""
    return torch.addcmul(x, inner(x, n), n, value=-2)


def scaled(x: Tensor) -> Tensor:
    """`unit`, of vectors that were looked at; nan for zero."""
    x = require.widen(x)
    x = x / require.power_of_two(x, -1)
    return x / x.norm(dim=-1, keepdim=True)


def balanced(x: Tensor) -> Tensor:
    """Vectors (..., n, d) whose products fit: in float32 without their power of
    two."""
    if x.dtype == torch.float64:
        return x
    x = require.widen(x)
    return x / require.power_of_two(x, (-2, -1))


def inner(x: Tensor, y: Tensor) -> Tensor:
    """<x, y> over the last dimension, which stays with size 1: a matrix product,
    with the precision set for these."""
    return torch.einsum("...i,...i->...", x, y)[..., None]


def outer(x: Tensor, y: Tensor) -> Tensor:
    """x y^T over the last dimension: (..., d, d)."""
    return x[..., :, None] * y[..., None, :]


def identity(x: Tensor) -> Tensor:
    """The identity (d, d) for vectors (..., d), with their dtype and device."""
    return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def require_directions(**directions: Tensor) -> None:
    """Vectors that are finite and not zero: nan and inf show in the largest
    element, and only a zero vector has 0."""
    for name, x in directions.items():
        largest = x.detach().abs().amax(-1)
        require.values(
            (largest > 0) & (largest < torch.inf),
            f"{name} must hold finite vectors other than zero, "
            "got one that is zero or not finite",
        )


def require_pair(a: Tensor, b: Tensor, **x: Tensor) -> None:
    """Two directions in two dimensions or more, and vectors `x` to move."""
    pair = {"a": a, "b": b}
    vectors = {name: (y, "... d") for name, y in (x | pair).items()}
    require.fitting(least=2, **vectors)
    require_directions(**pair)


def require_coefficients(coefficients: Any) -> tuple[float, float, float]:
    """Three finite numbers."""
    require.instance(tuple, coefficients=coefficients)
    if len(coefficients) != 3:
        raise ValueError(f"coefficients must be three, got {len(coefficients)}")
    require.number(**dict(zip(("a", "b", "c"), coefficients, strict=True)))
    return coefficients
