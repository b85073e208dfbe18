"""Adding up many numbers: in order, in pairs, and with what was lost carried along.

Each addition rounds, by a relative error of at most u = eps / 2. In order the first
number goes through n - 1 roundings, in pairs through log2 n. Kahan's sum finds what
a rounding lost, by a subtraction that is exact, and adds it to the next number.

Here every sum is computed in the dtype of its numbers, half precision too: rounding
is the matter itself.

Kahan 1965, Communications of the ACM 8(1); Higham 2002, Accuracy and Stability of
Numerical Algorithms, chapter 4.
"""

import math

import torch
from torch import Tensor

from lbdl import require

__all__ = ["sum_bound", "sum_in_order", "sum_kahan", "sum_pairwise"]

ROUNDINGS = {
    "in order": lambda n: n - 1,
    "pairwise": lambda n: math.ceil(math.log2(n)),
    "kahan": lambda n: 2,
}


def sum_in_order(x: Tensor) -> Tensor:
    """The sum as a loop takes it: ((x_1 + x_2) + x_3) + ...

    Args:
        x: rows (..., n), n >= 1, floating dtype, in which everything is computed.

    Returns:
        (...), dtype of `x`.

    Raises:
        TypeError: `x` is not floating.
        ValueError: a row holds nothing.

    Source: Higham 2002, section 4.1 (recursive summation).
    """
    require.floating(x=x)
    require.dim(x, -1)
    first, *others = x.unbind(-1)
    total = first.clone()
    for each in others:
        total = total + each
    return total


def sum_pairwise(x: Tensor) -> Tensor:
    """The sum as a tournament: neighbours in pairs, then the sums in pairs, until
    one is left.

        (x_1 + x_2) + (x_3 + x_4), ...

    A last one without a partner goes on as it is.

    Args:
        x: rows (..., n), n >= 1, floating dtype, in which everything is computed.

    Returns:
        (...), dtype of `x`.

    Raises:
        TypeError: `x` is not floating.
        ValueError: a row holds nothing.

    Source: Higham 2002, section 4.1.
    """
    require.floating(x=x)
    require.dim(x, -1)
    while x.shape[-1] > 1:
        pairs = x[..., : x.shape[-1] // 2 * 2].unflatten(-1, (-1, 2))
        sums = pairs[..., 0] + pairs[..., 1]
        x = torch.cat([sums, x[..., 2 * sums.shape[-1] :]], -1)
    return x[..., 0].clone()


def sum_kahan(x: Tensor) -> Tensor:
    """The sum in order, with what each addition lost given back to the next.

        y = x_i - c,   t <- s + y,   c = (t - s) - y,   s <- t

    For every row at once. A compiler that takes the rules of algebra for those of
    floating point would find c = 0; torch's does not.

    Args:
        x: rows (..., n), n >= 1, floating dtype, in which everything is computed.

    Returns:
        (...), dtype of `x`; NaN where the sum is infinite.

    Raises:
        TypeError: `x` is not floating.
        ValueError: a row holds nothing.

    Source: Kahan 1965.
    """
    require.floating(x=x)
    require.dim(x, -1)
    first, *others = x.unbind(-1)
    total, lost = first.clone(), torch.zeros_like(first)
    for each in others:
        y = each - lost
        new = total + y
        lost = (new - total) - y
        total = new
    return total


def sum_bound(x: Tensor, how: str) -> Tensor:
    """How far a computed sum can be off.

        |error| <= g u / (1 - g u) sum |x_i|,    u = eps / 2
        g = n - 1 in order, ceil(log2 n) in pairs, 2 for Kahan

    For Kahan's sum terms of order n u^2 are left out.

    Args:
        x: rows (..., n), n >= 1, floating dtype.
        how: "in order", "pairwise" or "kahan".

    Returns:
        (...), dtype of `x`, float32 for half precision; infinite where g u reaches
        1.

    Raises:
        TypeError: `x` is not floating.
        ValueError: a row holds nothing, or `how` is another name.

    Source: Higham 2002, equations 4.4, 4.6 and 4.8.
    """
    require.floating(x=x)
    require.dim(x, -1)
    require.choice(tuple(ROUNDINGS), how=how)
    u = torch.finfo(x.dtype).eps / 2
    gu = ROUNDINGS[how](x.shape[-1]) * u
    factor = gu / (1 - gu) if gu < 1 else math.inf
    return factor * require.widen(x).abs().sum(-1)
