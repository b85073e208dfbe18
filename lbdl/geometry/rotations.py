"""Orthogonal maps that take one direction to another: rotation, reflection,
half-turn; and the best one for many pairs.

Every map here is made of mirrors, x -> x - 2 <n, x> n (Householder 1958): one
mirror is the reflection, minus one mirror is the half-turn, two mirrors are the
rotation. So a map acts on a vector in O(d) operations, without its matrix. The
`plain_` functions are the textbook formulas; they divide by zero for opposite (or
equal) vectors, where the others choose one of the maps that exist. Many pairs at
once: the orthogonal Procrustes problem (Schoenemann 1966), and with determinant +1
the algorithm of Kabsch 1976 and Umeyama 1991.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

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
        ValueError: shapes do not fit, d < 2, or a vector is zero or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: the product of two mirrors, Golub & Van Loan 2013, section 5.1; written
        out.
    """
    require_vectors(a=a, b=b)
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
        ValueError: shapes do not fit, d < 2, or a vector is zero or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Householder 1958, Journal of the ACM 5(4).
    """
    require_vectors(a=a, b=b)
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
        ValueError: shapes do not fit, d < 2, or a vector is zero or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: minus the mirror of Householder 1958, Journal of the ACM 5(4).
    """
    require_vectors(a=a, b=b)
    return outer(a + b, a + b) / (1 + inner(a, b)[..., None]) - identity(a)


# --- The same maps, safe everywhere, on vectors -----------------------------------


def apply_rotation(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Rotate vectors in the plane of a and b by the angle from a to b: two mirrors,
    O(d) a vector.

        T1 x = M_s M_a x,    M_n x = x - 2 <n, x> n,    s = (a + b) / ||a + b||

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
        ValueError: shapes do not fit, d < 2, or a direction is zero or not finite
            (not looked for under `torch.compile`; on a GPU the look waits for the
            device).
        TypeError: dtypes are not floating, or differ.

    Source: Golub & Van Loan 2013, Matrix Computations, section 5.1.
    """
    require_vectors(x=x, a=a, b=b)
    p, q = unit(a), unit(b)
    return mirror(mirror(working(x), p), middle(p, q)).to(x.dtype)


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
        ValueError: shapes do not fit, d < 2, or a direction is zero or not finite
            (not looked for under `torch.compile`; on a GPU the look waits for the
            device).
        TypeError: dtypes are not floating, or differ.

    Source: Householder 1958, Journal of the ACM 5(4).
    """
    require_vectors(x=x, a=a, b=b)
    return mirror(working(x), middle(unit(a), -unit(b))).to(x.dtype)


def apply_half_turn(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Turn vectors by 180 degrees about the line halfway between a and b: minus one
    mirror, O(d) a vector.

        T3 x = -M_s x,    M_n x = x - 2 <n, x> n,    s = (a + b) / ||a + b||

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
        ValueError: shapes do not fit, d < 2, or a direction is zero or not finite
            (not looked for under `torch.compile`; on a GPU the look waits for the
            device).
        TypeError: dtypes are not floating, or differ.

    Source: minus the mirror of Householder 1958, Journal of the ACM 5(4).
    """
    require_vectors(x=x, a=a, b=b)
    return -mirror(working(x), middle(unit(a), unit(b))).to(x.dtype)


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
        ValueError: shapes do not fit, d < 2, or a direction is zero or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Golub & Van Loan 2013, Matrix Computations, section 5.1.
    """
    require_vectors(a=a, b=b)
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
        ValueError: shapes do not fit, d < 2, or a direction is zero or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Householder 1958, Journal of the ACM 5(4).
    """
    require_vectors(a=a, b=b)
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
        ValueError: shapes do not fit, d < 2, or a direction is zero or not finite.
        TypeError: dtypes are not floating, or differ.

    Source: minus the mirror of Householder 1958, Journal of the ACM 5(4).
    """
    require_vectors(a=a, b=b)
    return apply_half_turn(identity(a), a[..., None, :], b[..., None, :]).mT


# --- What they are made of --------------------------------------------------------


def mirror(x: Tensor, n: Tensor) -> Tensor:
    """Reflect vectors in the hyperplane orthogonal to a unit vector.

        M_n x = x - 2 <n, x> n

    Args:
        x: vectors (..., d), floating dtype.
        n: unit vectors (..., d); leading dimensions broadcast.

    Returns:
        The mirrored vectors (..., d).

    Source: Householder 1958, Journal of the ACM 5(4).
    """
    return torch.addcmul(x, inner(x, n), n, value=-2)


def middle(p: Tensor, q: Tensor) -> Tensor:
    """The unit vector halfway between two unit vectors.

        s = (p + q) / ||p + q||,    orthogonal to p - q

    p and q are unit only up to rounding, so p + q leans towards p - q, the more the
    shorter it is. The lean is taken out, and the mirror of s then takes -p to q to
    rounding error, however short p + q was. Where p and q are opposite to rounding
    error, any s orthogonal to p does.

    Args:
        p: unit vectors (..., d), d >= 2, float32 or float64.
        q: unit vectors (..., d), same dtype; leading dimensions broadcast.

    Returns:
        Unit vectors (..., d).

    Source: one step of Gram-Schmidt, Golub & Van Loan 2013, Matrix Computations,
        section 5.2.
    """
    total, gap = p + q, p - q
    # where p and q are close there is nothing to take out, and the clamp keeps the
    # division harmless
    lean = inner(total, gap) / inner(gap, gap).clamp(min=1)
    total = total - lean * gap
    opposite = total.norm(dim=-1, keepdim=True) <= 4 * torch.finfo(p.dtype).eps
    total = torch.where(opposite, perpendicular(p), total)
    return total / total.norm(dim=-1, keepdim=True)


def perpendicular(p: Tensor) -> Tensor:
    """A vector orthogonal to a unit vector, of length 0.7 or more: the farthest
    coordinate axis, made orthogonal.

        e_i - p_i p,    i = argmin_j |p_j|

    Args:
        p: unit vectors (..., d), d >= 2, floating dtype.

    Returns:
        Vectors (..., d). They jump where the farthest axis changes: for odd d no
        choice is continuous everywhere.

    Source: definition; the hairy ball theorem, Milnor 1978, American Mathematical
        Monthly 85(7).
    """
    i = p.abs().argmin(-1, keepdim=True)
    p_i = p.gather(-1, i)
    return (-p_i * p).scatter(-1, i, 1 - p_i.square())


def unit(x: Tensor) -> Tensor:
    """Vectors scaled to length one, whatever their size.

        x / ||x||

    Divided first by the power of two nearest below the largest element: that is
    exact, and then squares neither overflow nor vanish.

    Args:
        x: vectors (..., d), none zero, floating dtype.

    Returns:
        Unit vectors (..., d); half precision comes back as float32.

    Source: Blue 1978, ACM Transactions on Mathematical Software 4(1), in its
        simplest form.
    """
    x = working(x)
    largest = x.detach().abs().amax(-1, keepdim=True)
    # the power of two in `largest`
    x = x / (largest / (2 * torch.frexp(largest).mantissa))
    return x / x.norm(dim=-1, keepdim=True)


# --- Many pairs at once -----------------------------------------------------------


def procrustes(a: Tensor, b: Tensor, *, proper: bool = False) -> Tensor:
    """The orthogonal map that takes many vectors as near as it can to their
    partners.

        T = argmin_{T^T T = I}  sum_i ||T a_i - b_i||^2
            =   the orthogonal factor of  sum_i b_i a_i^T

    Args:
        a: n vectors (..., n, d), n, d >= 1, floating dtype.
        b: their partners (..., n, d), same dtype; leading dimensions broadcast.
        proper: only rotations, determinant +1.

    Returns:
        Matrices (..., d, d), dtype of `a`. Not unique when fewer than d directions
        are given; then one of the best.

    Raises:
        ValueError: shapes do not fit, are empty, or a value is not finite.
        TypeError: dtypes are not floating, or differ.

    Source: Schoenemann 1966, Psychometrika 31(1); with `proper`, Kabsch 1976, Acta
        Cryst. A32, and Umeyama 1991.
    """
    require_pairs(a, b)
    m = working(b).mT @ working(a)  # (..., d, d)
    require_finite("the inner products of a and b", m)
    return nearest_orthogonal(m, proper=proper).to(a.dtype)


def nearest_orthogonal(m: Tensor, *, proper: bool = False) -> Tensor:
    """The orthogonal matrix nearest to a matrix.

        argmin_{Q^T Q = I} ||Q - M||_F   =   U V^T,    M = U diag(sigma) V^T

    and with `proper` U diag(1, ..., 1, det(U V^T)) V^T: the smallest singular value
    pays for the sign. The gradient is that of Q itself and needs no distinct
    singular values. It exists once (no second derivatives).

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
    require_square(m)
    q, *_ = OrthogonalFactor.apply(working(m), proper)
    return q.to(m.dtype)


class OrthogonalFactor(torch.autograd.Function):
    """Forward by singular values; backward by dQ = U [(U^T dM V - V^T dM^T
    U)_ij / (s_i + s_j)] V^T.

    Shapes: M (..., d, d) -> Q, U (..., d, d), s (..., d), V^T (..., d, d). The last
    element of s bears the sign that `proper` gave to the last column of U.

    Source: Higham 2008, Functions of Matrices, chapter 8.
    """

    @staticmethod
    def forward(m: Tensor, proper: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        u, s, vh = torch.linalg.svd(m)
        if proper:
            # (..., 1), each +1 or -1
            sign = torch.linalg.det(u @ vh).sign()[..., None]
            signs = torch.cat([torch.ones_like(s[..., :-1]), sign], dim=-1)
            u, s = u * signs[..., None, :], s * signs
        return u @ vh, u, s, vh

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        u, s, vh = ctx.saved_tensors
        inner_grad = u.mT @ grad @ vh.mT
        sums = s[..., :, None] + s[..., None, :]
        small = (
            sums.abs()
            <= s.shape[-1]
            * torch.finfo(s.dtype).eps
            * s.abs().amax(-1)[..., None, None]
        )
        skew = (inner_grad - inner_grad.mT) / sums.masked_fill(small, torch.inf)
        return u @ skew @ vh, None


# --- Small helpers and checks -----------------------------------------------------


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


def working(x: Tensor) -> Tensor:
    """The tensor in the dtype that is computed in: float32 for half precision, its
    own otherwise."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def require_vectors(**tensors: Tensor) -> None:
    """`a` and `b` name directions; `x`, where given, may be any vector."""
    require_floating(**tensors)
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    if len({s[-1:] for s in shapes.values()}) > 1 or any(
        s[-1:] < (2,) for s in shapes.values()
    ):
        raise ValueError(
            f"{', '.join(shapes)} must be (..., d) with one d >= 2, got shapes "
            f"{shapes}"
        )
    require_broadcast(shapes)
    for name in ("a", "b"):
        require_direction(name, tensors[name])


def require_direction(name: str, x: Tensor) -> None:
    if torch.compiler.is_compiling():
        return
    # nan and inf show here, and only a zero vector gives 0
    largest = x.detach().abs().amax(-1)
    if not bool(((largest > 0) & (largest < torch.inf)).all()):
        raise ValueError(
            f"{name} must hold finite vectors other than zero, got one that is "
            "zero or not finite"
        )


def require_broadcast(shapes: dict[str, tuple[int, ...]]) -> None:
    try:
        torch.broadcast_shapes(*shapes.values())
    except RuntimeError:
        raise ValueError(
            f"leading dimensions of {', '.join(shapes)} must broadcast, got shapes "
            f"{shapes}"
        ) from None


def require_pairs(a: Tensor, b: Tensor) -> None:
    require_floating(a=a, b=b)
    shapes = {"a": tuple(a.shape), "b": tuple(b.shape)}
    if a.dim() < 2 or a.shape[-2:] != b.shape[-2:] or 0 in a.shape[-2:]:
        raise ValueError(
            "a and b must be (..., n, d) with the same n, d >= 1, got shapes "
            f"{shapes}"
        )
    require_broadcast({name: shape[:-2] for name, shape in shapes.items()})


def require_square(m: Tensor) -> None:
    require_floating(m=m)
    if m.dim() < 2 or m.shape[-1] != m.shape[-2] or m.shape[-1] == 0:
        raise ValueError(
            f"m must be (..., d, d) with d >= 1, got shape {tuple(m.shape)}"
        )
    require_finite("m", m)


def require_finite(name: str, x: Tensor) -> None:
    if not torch.compiler.is_compiling() and not bool(x.isfinite().all()):
        raise ValueError(f"{name} must be finite, got values that are not")


def require_floating(**tensors: Tensor) -> None:
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(
                f"{name} must be a floating tensor, got "
                f"{getattr(x, 'dtype', type(x).__name__)}"
            )
    if len({x.dtype for x in tensors.values()}) > 1:
        raise TypeError(
            f"dtypes must be equal, got {[x.dtype for x in tensors.values()]}"
        )
