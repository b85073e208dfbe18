"""Forward-mode differentiation with dual numbers: a value and the speed at which it
changes.

    f(x + e t) = f(x) + e J t,    e^2 = 0

One pass gives the derivative along one direction; nothing is remembered. The
operations that read alike in both modes are in `tape.py`.

Clifford 1873 (dual numbers); Wengert 1964; Baydin et al. 2018, section 3.1,
arXiv:1502.05767.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lbdl import require
from lbdl.foundations.backpropagation.tape import Differentiable, Map, Operand, raw

__all__ = ["Dual"]


def push(x: Operand, slope: Any) -> Any:
    """How fast a result moves because `x` does."""
    return slope * x.tangent if isinstance(x, Dual) else 0.0


class Dual(Differentiable):
    """A number a + e t with e^2 = 0, element by element of a tensor.

        (a + e s)(b + e t) = a b + e (a t + s b),    f(a + e s) = f(a) + e f'(a) s

    Args:
        value: a tensor of any shape, or a number; floating dtype.
        tangent: the speed of `value`, same shape; zero when not given.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `value` is a number that is not finite, or shapes differ.

    Source: Baydin et al. 2018, section 3.1.1, arXiv:1502.05767.
    """

    def __init__(
        self, value: Tensor | float, tangent: Tensor | None = None
    ) -> None:
        super().__init__(value)
        if tangent is None:
            tangent = torch.zeros_like(self.value)
        require.floating(tangent=tangent)
        require.same_shape(value=self.value, tangent=tangent)
        self.tangent = tangent.detach()

    def map(self, f: Map, slope: Callable[[Tensor, Tensor], Any]) -> "Dual":
        x, y = self.value, f(self.value)
        return Dual(y, self.tangent * slope(x, y))

    def linear(self, f: Map, transpose: Map, value: Tensor | None = None) -> "Dual":
        return Dual(f(self.value) if value is None else value, f(self.tangent))

    def times(self, a: Operand, b: Operand) -> "Dual":
        A, B = raw(a, self), raw(b, self)
        by_a: Any = a.tangent @ B if isinstance(a, Dual) else 0.0
        return Dual(A @ B, by_a + (A @ b.tangent if isinstance(b, Dual) else 0.0))

    def __add__(self, other: Operand) -> "Dual":
        y = self.value + raw(other, self)
        return Dual(y, (self.tangent + push(other, 1)).expand_as(y))

    def __mul__(self, other: Operand) -> "Dual":
        a, b = self.value, raw(other, self)
        return Dual(a * b, self.tangent * b + push(other, a))

    def __truediv__(self, other: Operand) -> "Dual":
        a, b = self.value, raw(other, self)
        return Dual(a / b, (self.tangent - push(other, a / b)) / b)

    def power(self, a: Operand, b: Operand) -> "Dual":
        A, B = raw(a, self), raw(b, self)
        y = A**B
        base = torch.as_tensor(A, dtype=y.dtype, device=y.device)
        constant = torch.as_tensor(B, device=y.device) == 0
        by_base = (B * base ** (B - 1)).masked_fill(constant, 0)
        by_exponent = (y * base.log()).masked_fill((base == 0) & y.isfinite(), 0)
        return Dual(y, (push(a, by_base) + push(b, by_exponent)).expand_as(y))

    @classmethod
    def join(
        cls, parts: Sequence[Operand], dim: int, like: Differentiable
    ) -> "Dual":
        values = [raw(part, like) for part in parts]
        tangents = [
            part.tangent if isinstance(part, Dual) else torch.zeros_like(value)
            for part, value in zip(parts, values, strict=True)
        ]
        return Dual(torch.cat(values, dim), torch.cat(tangents, dim))
