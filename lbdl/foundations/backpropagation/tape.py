"""Reverse-mode differentiation on a tape, whole: what `torch.autograd` does, in
fewer than three hundred lines.

An operation on a `Variable` computes its value at once and notes, for each variable
it used, how a gradient of the result is pulled back to it. `backward` reads the
notes from the last to the first. Torch serves as an array library; none of its own
differentiation is used. Methods have the names that tensors have: a function
written with them runs on tensors, on `Variable` and on `Dual` (forward mode, beside
this file).

Linnainmaa 1976; Speelpenning 1980; the survey Baydin et al. 2018, arXiv:1502.05767.
"""

# ruff: noqa: E731 (derivatives read best as a table)
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from lbdl import require

__all__ = ["Variable", "unbroadcast"]

Map = Callable[[Tensor], Tensor]
Operand = Any  # a Differentiable, a tensor (a constant) or a number
CLOCK = itertools.count()


def raw(x: Operand, like: "Differentiable") -> Any:
    """The tensor or the number behind an operand, on the device of `like`."""
    if isinstance(x, type(like)):
        return x.value
    if isinstance(x, Tensor):
        return x.detach().to(like.value.device)
    require.number(operand=x, infinite=True)
    return x


def version(x: Any) -> int:
    """How often a tensor was changed in place; what is no tensor never is."""
    return x._version if isinstance(x, Tensor) and not x.is_inference() else 0


def unbroadcast(g: Tensor, x: Tensor) -> Tensor:
    """The transpose of broadcasting: what was copied on the way forward is summed
    on the way back.

    Args:
        g: a gradient, of a shape that `x` can be broadcast to.
        x: the tensor before it was broadcast, any shape.

    Returns:
        The gradient in the shape and dtype of `x`.

    Raises:
        TypeError: an argument is not a floating tensor.
        ValueError: `x` does not broadcast to the shape of `g`.
    """
    require.floating(g=g, x=x)
    require.broadcast_to(g.shape, x=x)
    if g.shape != x.shape:
        old = (1,) * (g.dim() - x.dim()) + x.shape
        copied = [d for d in range(g.dim()) if old[d] != g.shape[d]]
        g = g.sum(copied, keepdim=True) if copied else g
    return g.reshape(x.shape).to(x.dtype)


def spread(g: Tensor, x: Tensor, dim: int | Sequence[int] | None) -> Tensor:
    """The transpose of a sum over `dim`: what was added gets a copy each."""
    dims = [dim] if isinstance(dim, int) else dim or range(x.dim())
    gone = {d % x.dim() for d in dims if x.dim()}
    kept = [1 if d in gone else n for d, n in enumerate(x.shape)]
    return g.reshape(kept).expand_as(x)


class Differentiable:
    """The operations that read alike in forward and in reverse mode; `Variable` and
    `Dual` add the others."""

    # (f, slope): element by element y = f(x), and dy/dx = slope(x, y)
    map: Callable[..., Self]
    linear: Callable[..., Self]  # (f, transpose): a linear map and its transpose
    # (a, b): the product of matrices (..., m, k) and (..., k, n)
    times: Callable[..., Self]
    power: Callable[..., Self]  # (a, b): a**b, element by element
    join: Callable[..., Self]  # (parts, dim, like): put together, as `torch.cat`

    def __init__(self, value: Tensor | float) -> None:
        if isinstance(value, Tensor):
            require.floating(value=value)
        else:
            require.number(value=value)
            value = torch.tensor(float(value))
        self.value = value.detach()

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.dim())
    mT = property(lambda self: self.transpose(-2, -1))
    exp = lambda self: self.map(torch.exp, lambda x, y: y)
    log = lambda self: self.map(torch.log, lambda x, y: 1 / x)
    tanh = lambda self: self.map(torch.tanh, lambda x, y: 1 - y * y)
    sigmoid = lambda self: self.map(torch.sigmoid, lambda x, y: y * (1 - y))
    relu = lambda self: self.map(torch.relu, lambda x, y: x > 0)
    __neg__ = lambda self: self.map(torch.neg, lambda x, y: -1)
    __radd__ = lambda self, other: self + other
    __rmul__ = lambda self, other: self * other
    __sub__ = lambda self, other: self + -other
    __rsub__ = lambda self, other: -self + other
    __rtruediv__ = lambda self, other: self**-1 * other
    __pow__ = lambda self, other: self.power(self, other)
    __rpow__ = lambda self, other: self.power(other, self)
    __matmul__ = lambda self, other: self.matmul(self, other)
    __rmatmul__ = lambda self, other: self.matmul(other, self)

    def matmul(self, a: Operand, b: Operand) -> Self:
        for x in (a, b):
            if not isinstance(x, Tensor | type(self)):
                raise TypeError(f"operand must be a tensor, got {require.kind(x)}")
        if b.ndim == 1:
            return (a @ b[:, None])[..., 0]
        return (a[None] @ b)[..., 0, :] if a.ndim == 1 else self.times(a, b)

    def sum(self, dim: Any = None, keepdim: bool = False) -> Self:
        return self.linear(
            lambda x: x.sum(dim, keepdim=keepdim),
            lambda g: spread(g, self.value, dim),
        )

    def mean(self, dim: Any = None, keepdim: bool = False) -> Self:
        back = lambda g: (
            spread(g, self.value, dim) * (g.numel() / max(1, self.value.numel()))
        )
        return self.linear(lambda x: x.mean(dim, keepdim=keepdim), back)

    def amax(self, dim: Any = (), keepdim: bool = False) -> Self:
        top = self.value.amax(dim, keepdim=True)
        ties = (self.value == top).to(self.value.dtype)
        share = ties / ties.sum(dim, keepdim=True)  # ties share the gradient
        return self.linear(
            lambda x: (x * share).sum(dim, keepdim=keepdim),
            lambda g: spread(g, share, dim) * share,
            value=self.value.amax(dim, keepdim=keepdim),
        )

    def reshape(self, *shape: Any) -> Self:
        return self.linear(
            lambda x: x.reshape(*shape), lambda g: g.reshape(self.shape)
        )

    def transpose(self, a: int, b: int) -> Self:
        return self.linear(lambda x: x.transpose(a, b), lambda g: g.transpose(a, b))

    def take(self, places: Tensor) -> Self:
        # places count the elements of the flattened tensor
        places = places.to(self.value.device)
        zeros = lambda: torch.zeros_like(
            self.value, memory_format=torch.contiguous_format
        )
        return self.linear(
            lambda x: x.take(places),
            lambda g: zeros().put_(places, g, accumulate=True),
        )

    def places(self) -> Tensor:
        count = torch.arange(self.value.numel(), device=self.value.device)
        return count.reshape(self.shape)

    def gather(self, dim: int, index: Tensor) -> Self:
        return self.take(self.places().gather(dim, index.to(self.value.device)))

    __getitem__ = lambda self, index: self.take(self.places()[index])

    def log_softmax(self, dim: int) -> Self:
        # a constant shift: its slope cancels as it does
        shifted = self - self.value.amax(dim, keepdim=True)
        return shifted - shifted.exp().sum(dim, keepdim=True).log()


class Variable(Differentiable):
    """A tensor that remembers how it was made, so that a gradient can travel back.

    What happened on the way forward must stand still until `backward`: a tensor
    that was changed in place in between is refused, as in torch.

    Args:
        value: a tensor of any shape, or a number; floating dtype.
        edges: for a result, pairs (what it was made from, the pullback to it);
            constants get no gradient.

    Raises:
        TypeError: `value` is neither a floating tensor nor a number.
        ValueError: `value` is a number that is not finite.

    Source: Linnainmaa 1976; Baydin et al. 2018, section 3.2, arXiv:1502.05767.
    """

    def __init__(self, value: Tensor | float, *edges: tuple[Operand, Map]) -> None:
        super().__init__(value)
        self.grad: Tensor | None = None
        self.parents = [(x, pull) for x, pull in edges if isinstance(x, Variable)]
        operands = [raw(x, self) for x, _ in edges]
        used = [self.value, *operands] if edges else []
        self.used = [(x, version(x)) for x in used]
        self.number = next(CLOCK)

    def history(self) -> "list[Variable]":
        """All variables this one was made from, and itself, the youngest first."""
        seen, waiting = {self}, [self]
        while waiting:
            fresh = {parent for parent, _ in waiting.pop().parents} - seen
            seen |= fresh
            waiting += fresh
        return sorted(seen, key=lambda variable: -variable.number)

    def backward(self, seed: Tensor | None = None) -> None:
        """Adds to the `grad` of all variables in its history the gradient of <seed,
        self>."""
        require.floating(seed=self.value if seed is None else seed)
        if self.shape != (torch.Size() if seed is None else seed.shape):
            raise ValueError(
                f"seed must have the shape of the variable, {tuple(self.shape)}"
            )
        first = torch.ones_like(self.value) if seed is None else seed.clone()
        flowing = {self: first}
        for variable in self.history():
            variable.require_unchanged()
            g = flowing.pop(variable)
            # a leaf's gradient may be changed in place
            own = g if variable.parents else g.clone()
            variable.grad = own if variable.grad is None else variable.grad + g
            for parent, pull in variable.parents:
                share = unbroadcast(pull(g), parent.value)
                flowing[parent] = (
                    flowing[parent] + share if parent in flowing else share
                )

    def require_unchanged(self) -> None:
        """RuntimeError where the result or an operand was changed in place."""
        if any(version(x) != noted for x, noted in self.used):
            raise RuntimeError(
                "a tensor that backward needs was changed in place after its use"
            )

    def map(self, f: Map, slope: Callable[[Tensor, Tensor], Any]) -> "Variable":
        x, y = self.value, f(self.value)
        return Variable(y, (self, lambda g: g * slope(x, y)))

    def linear(
        self, f: Map, transpose: Map, value: Tensor | None = None
    ) -> "Variable":
        return Variable(
            f(self.value) if value is None else value, (self, transpose)
        )

    def times(self, a: Operand, b: Operand) -> "Variable":
        A, B = raw(a, self), raw(b, self)
        return Variable(A @ B, (a, lambda g: g @ B.mT), (b, lambda g: A.mT @ g))

    def __add__(self, other: Operand) -> "Variable":
        return Variable(
            self.value + raw(other, self), (self, lambda g: g), (other, lambda g: g)
        )

    def __mul__(self, other: Operand) -> "Variable":
        a, b = self.value, raw(other, self)
        return Variable(a * b, (self, lambda g: g * b), (other, lambda g: g * a))

    def __truediv__(self, other: Operand) -> "Variable":
        a, b = self.value, raw(other, self)
        return Variable(
            a / b, (self, lambda g: g / b), (other, lambda g: -g * (a / b) / b)
        )

    def power(self, a: Operand, b: Operand) -> "Variable":
        A, B = raw(a, self), raw(b, self)
        y = A**B
        base = torch.as_tensor(A, dtype=y.dtype, device=y.device)
        constant = torch.as_tensor(B, device=y.device) == 0
        by_base = lambda g: g * (B * A ** (B - 1)).masked_fill(constant, 0)
        by_exponent = lambda g: (
            g * (y * base.log()).masked_fill((base == 0) & y.isfinite(), 0)
        )
        return Variable(y, (a, by_base), (b, by_exponent))

    @classmethod
    def join(
        cls, parts: Sequence[Operand], dim: int, like: "Differentiable"
    ) -> "Variable":
        values = [raw(part, like) for part in parts]
        cut = lambda g, i: g.split([v.shape[dim] for v in values], dim)[i]
        return Variable(
            torch.cat(values, dim),
            *((p, partial(cut, i=i)) for i, p in enumerate(parts)),
        )
