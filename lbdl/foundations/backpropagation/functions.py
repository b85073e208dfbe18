"""Functions that run on tensors, on `Variable` and on `Dual` alike, and the
derivatives of any such function.

A function f of tensors can be multiplied by its Jacobian J from two sides without
ever writing J down: `jvp` gives J t in one pass forward, `vjp` gives J^T u in one
pass forward and one back. Everything else is made of these two: whole Jacobians,
and `gradcheck`, which compares with differences.

Baydin et al. 2018, arXiv:1502.05767; Griewank & Walther 2008, Evaluating
Derivatives, chapter 3.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lbdl import require
from lbdl.foundations.backpropagation.forward import Dual
from lbdl.foundations.backpropagation.tape import Differentiable, Operand, Variable

__all__ = [
    "concatenate",
    "cross_entropy",
    "gradcheck",
    "hessian_vector_product",
    "jacobian_forward",
    "jacobian_reverse",
    "jvp",
    "numerical_jacobian",
    "vjp",
]

Function = Callable[..., Any]
Pullback = Callable[[Tensor], tuple[Tensor, ...]]


def concatenate(parts: Sequence[Operand], dim: int = 0) -> Any:
    """`torch.cat`, for tensors, for `Variable` and for `Dual`.

    Args:
        parts: tensors of shapes that differ in the size of `dim` at most; some may
            be differentiable.
        dim: the dimension along which they are put together.

    Returns:
        One of the kind and dtype of `parts`, its shape theirs with the sizes of
        `dim` added.

    Raises:
        TypeError: `parts` is no list of tensors and variables, or `dim` no whole
            number.
        ValueError: there are no `parts`, or their shapes do not fit at `dim`.
    """
    require.sequence(parts=parts)
    require_joinable(parts, dim)
    like = next((x for x in parts if isinstance(x, Differentiable)), None)
    return (
        torch.cat(list(parts), dim) if like is None else like.join(parts, dim, like)
    )


def require_joinable(parts: Sequence[Operand], dim: int) -> None:
    """TypeError or ValueError unless the parts agree but in the size of `dim`."""
    tensors = [x.value if isinstance(x, Differentiable) else x for x in parts]
    if not tensors:
        raise ValueError("parts must hold at least one tensor, got none")
    require.tensor(**{f"parts[{i}]": x for i, x in enumerate(tensors)})
    require.dim(tensors[0], dim, "parts[0]", least=0)
    shapes = [list(x.shape) for x in tensors]
    first = len(shapes[0])
    alike = [
        len(shape) == first
        and shape[: dim % first] == shapes[0][: dim % first]
        and shape[dim % first + 1 :] == shapes[0][dim % first + 1 :]
        for shape in shapes
    ]
    if not all(alike):
        told = ", ".join(str(tuple(shape)) for shape in shapes)
        raise ValueError(f"parts must agree but along dim {dim}, got shapes {told}")


def cross_entropy(logits: Operand, target: Tensor) -> Any:
    """What a classifier pays, averaged over the examples.

        mean of  -log softmax(logits)[target]

    Args:
        logits: scores (..., K), a tensor, `Variable` or `Dual`.
        target: class numbers (...), int64, from 0 to K - 1.

    Returns:
        A scalar of the kind and dtype of `logits`.

    Raises:
        TypeError: `logits` are not floating, or `target` is not int64.
        ValueError: the shapes do not fit, a class number of `target` is out of
            range, there is no example, or a row of `logits` is -inf alone.
    """
    scores = logits.value if isinstance(logits, Differentiable) else logits
    require.floating(logits=scores)
    require.dim(scores, -1, "logits")
    require.nonempty(logits=scores)
    require.integer(target=target)
    if scores.shape[:-1] != target.shape:
        raise ValueError(
            f"target must have shape {tuple(scores.shape[:-1])}, that of logits "
            f"without the classes, got {tuple(target.shape)}"
        )
    require.classes(scores.shape[-1], name="target", targets=target)
    require.unmasked(logits=scores.detach().amax(-1))
    index = target[..., None].to(scores.device)
    return -logits.log_softmax(-1).gather(-1, index).mean()


def jvp(
    f: Function, inputs: Sequence[Tensor], tangents: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The value and its derivative along a direction, in one pass forward.

        f(x),  J t = lim (f(x + eps t) - f(x)) / eps

    No `torch.func`: to torch the results are constants, the derivatives are ours.

    Args:
        f: a function of one or more tensors to one tensor, written with operators
            and methods that `Dual` has.
        inputs: its arguments x, tensors of any shapes, floating dtype.
        tangents: the direction t, one tensor for each input, same shape.

    Returns:
        f(x) and J t, two tensors of the shape of f(x).

    Raises:
        TypeError: an argument is not of its kind, or the result is no `Dual`: `f`
            does not depend on its inputs, or is not written so.
        ValueError: there are no `inputs`, or numbers or shapes of `inputs` and
            `tangents` differ.

    Source: Baydin et al. 2018, section 3.1, arXiv:1502.05767.
    """
    require.function(f=f)
    require.floatings(inputs=inputs, tangents=tangents)
    if len(inputs) != len(tangents):
        raise ValueError(
            f"tangents must be as many as inputs, {len(inputs)}, got "
            f"{len(tangents)}"
        )
    for i, (x, t) in enumerate(zip(inputs, tangents, strict=True)):
        require.same_shape(**{f"inputs[{i}]": x, f"tangents[{i}]": t})
    result = f(*(Dual(x, t) for x, t in zip(inputs, tangents, strict=True)))
    require_result(result, Dual)
    return result.value, result.tangent


def vjp(f: Function, *inputs: Tensor) -> tuple[Tensor, Pullback]:
    """The value, and the function that pulls a gradient of the result back to the
    inputs.

        f(x),  u -> J^T u = gradient of <u, f(x)>

        >>> value, pull = vjp(lambda x: x * x, torch.tensor([1.0, 3.0]))
        >>> pull(torch.ones(2))
        (tensor([2., 6.]),)

    No `torch.func`: to torch the results are constants, the derivatives are ours.

    Args:
        f: a function of one or more tensors to one tensor, written with operators
            and methods that `Variable` has.
        inputs: its arguments x, tensors of any shapes, floating dtype.

    Returns:
        f(x), and a function from u, of the shape of f(x), to one gradient for each
        input, in its shape. It may be called again and again.

    Raises:
        TypeError: an argument is not of its kind, or the result is no `Variable`:
            `f` does not depend on its inputs, or is not written so.
        ValueError: there are no `inputs`.

    Source: Baydin et al. 2018, section 3.2, arXiv:1502.05767.
    """
    require.function(f=f)
    require.floatings(inputs=inputs)
    leaves = [Variable(x) for x in inputs]
    result = f(*leaves)
    require_result(result, Variable)

    def pull(u: Tensor) -> tuple[Tensor, ...]:
        for variable in {*leaves, *result.history()}:
            variable.grad = None
        result.backward(u)
        return tuple(
            torch.zeros_like(v.value) if v.grad is None else v.grad for v in leaves
        )

    return result.value, pull


def jacobian_forward(f: Function, x: Tensor) -> Tensor:
    """The Jacobian column by column: one JVP for each element of `x`.

        J[:, j] = J e_j

    Cheap where there are few inputs.
    No `torch.func`: to torch the results are constants, the derivatives are ours.

    Args:
        f: a function of one tensor to one tensor, as for `jvp`.
        x: any shape, floating dtype.

    Returns:
        J, of the shape of f(x) followed by that of `x`.

    Raises:
        TypeError: an argument is not of its kind, or `f` not written so.
        ValueError: `x`, or f(x), holds no element.

    Source: Griewank & Walther 2008, Evaluating Derivatives, chapter 3.
    """
    require.function(f=f)
    require.floating(x=x)
    require.nonempty(x=x)
    columns = [jvp(f, [x], [e])[1] for e in basis(x)]
    return torch.stack(columns, -1).reshape((*columns[0].shape, *x.shape))


def jacobian_reverse(f: Function, x: Tensor) -> Tensor:
    """The Jacobian row by row: one VJP for each element of f(x).

        J[i, :] = J^T e_i

    Cheap where there are few outputs; a loss has one.
    No `torch.func`: to torch the results are constants, the derivatives are ours.

    Args:
        f: a function of one tensor to one tensor, as for `vjp`.
        x: any shape, floating dtype.

    Returns:
        J, of the shape of f(x) followed by that of `x`.

    Raises:
        TypeError: an argument is not of its kind, or `f` not written so.
        ValueError: `x`, or f(x), holds no element.

    Source: Griewank & Walther 2008, Evaluating Derivatives, chapter 3.
    """
    require.function(f=f)
    require.floating(x=x)
    require.nonempty(x=x)
    value, pull = vjp(f, x)
    if value.numel() == 0:
        raise ValueError(
            f"f must return at least one element, got shape {tuple(value.shape)}"
        )
    rows = [pull(e)[0] for e in basis(value)]
    return torch.stack(rows).reshape((*value.shape, *x.shape))


def hessian_vector_product(f: Function, x: Tensor, v: Tensor) -> Tensor:
    """The Hessian of a function with one value, times a direction, without the
    Hessian: forward mode over reverse mode.

        H v = d/d eps  grad f(x + eps v)  at eps = 0

    It costs a small multiple of a gradient, whatever the number of elements of `x`.
    Here torch differentiates, for our tape has no second derivatives.

        >>> ones = torch.ones(2)
        >>> hessian_vector_product(lambda x: (x**3).sum(), ones, ones)
        tensor([6., 6.])

    Args:
        f: a function of one tensor to a single number, written with torch.
        x: any shape, floating dtype.
        v: the direction, shape and dtype of `x`.

    Returns:
        H v, shape of `x`.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: `x` is empty, or `v` has another shape.

    Source: Pearlmutter 1994, Neural Computation 6(1).
    """
    require.function(f=f)
    require.matching(x=x, v=v)
    require.nonempty(x=x)
    return torch.func.jvp(torch.func.grad(f), (x,), (v,))[1]


def basis(x: Tensor) -> Tensor:
    """All tensors like `x` with a single 1: (number of elements, *shape)."""
    return torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(
        -1, *x.shape
    )


def numerical_jacobian(f: Function, x: Tensor, eps: float = 1e-6) -> Tensor:
    """The Jacobian by central differences, which need the function's values alone.

        J[:, j] = (f(x + eps e_j) - f(x - eps e_j)) / (2 eps) + O(eps^2)

    The error is about eps^2 |f'''| / 6 from the curve and u |f| / eps from
    rounding, u = 2e-16 in float64; their sum is least near eps = u^(1/3), 6e-6.

    Args:
        f: a function of one tensor to one tensor.
        x: any shape, floating dtype, best float64.
        eps: the step, > 0.

    Returns:
        J, of the shape of f(x) followed by that of `x`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: `eps` is not > 0, or `x` holds no element.

    Source: Nocedal & Wright 2006, Numerical Optimization, section 8.1.
    """
    require.function(f=f)
    require.floating(x=x)
    require.nonempty(x=x)
    require.number(eps=eps, above=0)
    z = require.widen(x)
    columns = [(f(z + eps * e) - f(z - eps * e)) / (2 * eps) for e in basis(z)]
    J = torch.stack(columns, -1).reshape((*columns[0].shape, *x.shape))
    return J.to(x.dtype)


def gradcheck(
    f: Function,
    *inputs: Tensor,
    pullback: Callable[..., tuple[Tensor, ...]] | None = None,
    eps: float = 1e-6,
    rtol: float = 1e-3,
    atol: float = 1e-5,
) -> bool:
    """Whether a backward pass gives the gradients that differences give.

        |J^T u by the backward pass  -  J^T u by differences|
            <=  atol + rtol |J^T u by differences|

    with a random u, so that the errors of two outputs do not cancel.

    Args:
        f: a function of one or more tensors to one tensor.
        inputs: its arguments, any shapes, float64.
        pullback: what is to be checked, a function (u, *inputs) -> one gradient for
            each input, u in the shape of f(x); by default the tape's.
        eps: step of the differences, > 0.
        rtol: relative tolerance, >= 0.
        atol: absolute tolerance, >= 0.

    Returns:
        `True`.

    Raises:
        TypeError: an argument is not of its kind, or one of `inputs` not float64,
            in which alone differences are accurate enough.
        ValueError: there are no `inputs`, one is empty, or a number is out of
            range.
        ArithmeticError: a gradient is wrong; the message names the input, and the
            largest error.

    Source: `torch.autograd.gradcheck`, for the tolerances.
    """
    require.function(f=f, pullback=vjp if pullback is None else pullback)
    require.number(eps=eps, above=0)
    require.number(rtol=rtol, atol=atol, least=0)
    require.floatings(inputs=inputs)
    for i, x in enumerate(inputs):
        if x.dtype != torch.float64:
            raise TypeError(f"inputs must be float64, got {x.dtype} for input {i}")
    u = random_like(f(*inputs))
    found = vjp(f, *inputs)[1](u) if pullback is None else pullback(u, *inputs)
    for i, x in enumerate(inputs):
        alone = partial(weighed, f, u, inputs, i)
        expected = numerical_jacobian(alone, x, eps)
        require_equal(i, found[i], expected, rtol, atol)
    return True


def weighed(
    f: Function, u: Tensor, inputs: Sequence[Tensor], i: int, z: Tensor
) -> Tensor:
    """<u, f(inputs)> as a function of input i alone."""
    return (u * f(*inputs[:i], z, *inputs[i + 1 :])).sum()


def require_result(result: Any, kind: type) -> None:
    """TypeError unless f kept to operators and methods."""
    if not isinstance(result, kind):
        raise TypeError(
            f"f must return a {kind.__name__}, made by operators and methods; got "
            f"{type(result).__name__}"
        )


def random_like(x: Tensor) -> Tensor:
    """Standard normal numbers in the shape of x, the same every time."""
    chance = torch.Generator().manual_seed(0)
    return torch.randn(x.shape, generator=chance, dtype=x.dtype).to(x.device)


def require_equal(
    i: int, found: Tensor, expected: Tensor, rtol: float, atol: float
) -> None:
    if found.shape != expected.shape:
        raise ArithmeticError(
            f"gradient of input {i} has shape {tuple(found.shape)}, not "
            f"{tuple(expected.shape)}"
        )
    excess = (found - expected).abs() - rtol * expected.abs()
    if not bool((excess <= atol).all()):
        worst = float((found - expected).abs().max())
        raise ArithmeticError(
            f"gradient of input {i} is wrong: it differs from differences by up to "
            f"{worst:.3g}"
        )
