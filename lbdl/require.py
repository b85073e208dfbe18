"""What bad input gets, in one place and one strictness: an error that names the
argument, before any work is done.

    require.floating(x=x, y=y)
    require.shapes(x=(x, "... n d"), y=(y, "... n"))
    require.fitting(q=(q, "... n d"), k=(k, "... m d"))
    require.whole(steps=steps, least=0)
    require.number(eps=eps, above=0, below=1)

The wrong kind of thing (a list for a tensor, float64 for int64, 2.5 or True for a
whole number) is a `TypeError`, the wrong value, range or shape a `ValueError`; both
say what was expected and what came.

Values of tensors are looked at only where that is possible: not inside
`torch.compile`, where a look would break the graph, not inside a transform of
`torch.func`, where a tensor stands for many, and not on the meta device. There
every function here asks for types, dtypes and shapes alone. On CUDA a look waits
for the device, and is not taken where nothing may wait: while a graph is captured,
and where `torch.cuda.set_sync_debug_mode` forbids it.

The one rule for half precision is `widen`: float16 and bfloat16 are computed in
float32.
"""

import math
import operator
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

# --- Tensors: kind and dtype ------------------------------------------------------


def tensor(**tensors: Tensor) -> None:
    """TypeError unless every argument is a tensor."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a tensor, got {kind(x)}")


def floating(**tensors: Tensor) -> None:
    """TypeError unless every argument is a tensor of a (real) floating dtype."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(f"{name} must be a floating tensor, got {kind(x)}")


def inexact(**tensors: Tensor) -> None:
    """TypeError unless every argument is a tensor of a floating dtype, or a complex
    one of single precision or more."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or not _is_inexact(x.dtype):
            raise TypeError(
                f"{name} must be a floating or complex tensor, got {kind(x)}"
            )


def _is_inexact(dtype: torch.dtype) -> bool:
    """Whether a dtype is floating, or complex and not half."""
    return dtype.is_floating_point or (dtype.is_complex and dtype.itemsize > 4)


def integer(**tensors: Tensor) -> None:
    """TypeError unless every argument is an int64 tensor."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or x.dtype != torch.int64:
            raise TypeError(f"{name} must be an int64 tensor, got {kind(x)}")


def real(**tensors: Tensor) -> None:
    """TypeError unless every argument is a tensor of real numbers: floating, whole
    or bool."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or x.is_complex():
            raise TypeError(
                f"{name} must be a tensor of real numbers, got {kind(x)}"
            )


def boolean(**tensors: Tensor) -> None:
    """TypeError unless every argument is a bool tensor."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or x.dtype != torch.bool:
            raise TypeError(f"{name} must be a bool tensor, got {kind(x)}")


def alike(**tensors: Tensor) -> None:
    """TypeError where dtypes differ, ValueError where devices do."""
    (first, x), *others = tensors.items()
    for name, y in others:
        if y.dtype != x.dtype:
            raise TypeError(
                f"{name} must have the dtype of {first}, {x.dtype}, got {y.dtype}"
            )
        if y.device != x.device:
            raise ValueError(
                f"{name} must be on the device of {first}, {x.device}, got "
                f"{y.device}"
            )


def widen(x: Tensor) -> Tensor:
    """The one rule for half precision: float32 where `x` came in float16 or
    bfloat16, else `x` itself."""
    return x.float() if x.dtype.itemsize < 4 else x


def power_of_two(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """The power of two in the largest element along `dim`, which stays with size 1.

    Dividing by it is exact, and then squares neither overflow nor vanish: so a
    quantity that is free of scale is computed. 1 for zero, nan for nan or inf.
    Blue 1978, ACM Transactions on Mathematical Software 4(1), in its simplest form.
    """
    x = x.detach()
    largest = torch.maximum(x.amax(dim, keepdim=True), -x.amin(dim, keepdim=True))
    power = largest / (2 * torch.frexp(largest).mantissa)
    return torch.where(largest == 0, 1, power)


# --- Tensors: shape ---------------------------------------------------------------


def shapes(*, least: int = 1, **patterned: tuple[Tensor, str]) -> dict[str, int]:
    """ValueError unless tensors have the shapes of their patterns; gives the sizes
    by letter.

        shapes(x=(x, "... n d"), centres=(centres, "K d"))

    A name stands for one size, the same wherever it occurs, and at least `least`; a
    digit for itself. A pattern that begins with "..." takes any leading dimensions,
    and those of all such tensors must broadcast together.
    """
    sizes: dict[str, int] = {}
    leading = {}
    for name, (x, pattern) in patterned.items():
        letters = pattern.removeprefix("...").split()
        if not _matches(tuple(x.shape), pattern, letters, sizes, least):
            told = _known(letters, sizes, least)
            raise ValueError(
                f"{name} must be {_shown(pattern)}{told}, got shape "
                f"{tuple(x.shape)}"
            )
        if pattern.startswith("..."):
            leading[name] = tuple(x.shape[: x.dim() - len(letters)])
    broadcast(**leading)
    return sizes


def _matches(
    shape: tuple[int, ...],
    pattern: str,
    letters: list[str],
    sizes: dict[str, int],
    least: int,
) -> bool:
    """Whether a shape is one of the pattern; letters seen first are noted in
    `sizes`."""
    spare = len(shape) - len(letters)
    if spare < 0 or (spare > 0 and not pattern.startswith("...")):
        return False
    return all(
        _fits(letter, size, sizes, least)
        for letter, size in zip(letters, shape[spare:], strict=True)
    )


def _fits(letter: str, size: int, sizes: dict[str, int], least: int) -> bool:
    """Whether a size is what the letter stands for; a letter seen first is
    noted."""
    if letter.isdigit():
        return size == int(letter)
    return size >= least and sizes.setdefault(letter, size) == size


def _shown(pattern: str) -> str:
    """A pattern as people write a shape: "(..., n, d)", "(n,)"."""
    parts = pattern.split()
    comma = "," if len(parts) == 1 and parts != ["..."] else ""
    return f"({', '.join(parts)}{comma})"


def _known(letters: list[str], sizes: dict[str, int], least: int) -> str:
    """What is known of the letters of a pattern, in words."""
    named = sorted({letter for letter in letters if not letter.isdigit()})
    told = [
        f"{letter} = {sizes[letter]}" if letter in sizes else f"{letter} >= {least}"
        for letter in named
    ]
    return f" with {', '.join(told)}" if told else ""


def fitting(*, least: int = 1, **patterned: tuple[Tensor, str]) -> dict[str, int]:
    """`floating`, `alike` and `shapes` in one: floating tensors of one dtype and
    device in the shapes of their patterns; gives the sizes by letter."""
    given = {name: x for name, (x, _) in patterned.items()}
    floating(**given)
    alike(**given)
    return shapes(least=least, **patterned)


def square(**matrices: Tensor) -> None:
    """TypeError unless every argument is a floating tensor, ValueError unless it
    holds finite matrices (..., n, n)."""
    for name, a in matrices.items():
        fitting(least=1, **{name: (a, "... n n")})
    finite(**matrices)


def matching(**tensors: Tensor) -> None:
    """`floating`, `alike` and `same_shape` in one: floating tensors of one dtype,
    device and shape."""
    floating(**tensors)
    alike(**tensors)
    same_shape(**tensors)


def broadcast(**batches: Sequence[int]) -> None:
    """ValueError unless the shapes broadcast together.

    Not by `torch.broadcast_shapes`: its first call loads sympy, for half a second.
    """
    ends = zip_longest(
        *(reversed(shape) for shape in batches.values()), fillvalue=1
    )
    for sizes in ends:
        wide = [size for size in sizes if size != 1]
        if any(size != wide[0] for size in wide):
            told = ", ".join(
                f"{name} {tuple(shape)}" for name, shape in batches.items()
            )
            raise ValueError(f"leading dimensions must broadcast, got {told}")


def broadcast_to(shape: Sequence[int], **tensors: Tensor) -> None:
    """ValueError unless every tensor broadcasts to the shape, and no further."""
    for name, x in tensors.items():
        ends = zip(reversed(x.shape), reversed(shape), strict=False)
        if x.dim() > len(shape) or any(n not in (1, size) for n, size in ends):
            raise ValueError(
                f"{name} must broadcast to shape {tuple(shape)}, got shape "
                f"{tuple(x.shape)}"
            )


def same_shape(**tensors: Tensor) -> None:
    """ValueError where shapes differ: nothing is broadcast in silence."""
    (first, x), *others = tensors.items()
    for name, y in others:
        if y.shape != x.shape:
            raise ValueError(
                f"{name} must have the shape of {first}, {tuple(x.shape)}, got "
                f"shape {tuple(y.shape)}"
            )


def dim(
    x: Tensor, dim: int, name: str = "x", *, least: int = 1, argument: str = "dim"
) -> None:
    """TypeError or ValueError unless `x` has the dimension `dim`, of size `least`
    or more."""
    whole(**{argument: dim})
    if x.dim() == 0:
        raise ValueError(
            f"{name} must have at least one dimension, got a single number"
        )
    if not -x.dim() <= dim < x.dim():
        raise ValueError(
            f"{argument} must be in [{-x.dim()}, {x.dim() - 1}] for {name} of "
            f"shape {tuple(x.shape)}, got {dim}"
        )
    if x.shape[dim] < least:
        raise ValueError(
            f"{name} must have at least {least} along {argument} {dim}, got shape "
            f"{tuple(x.shape)}"
        )


def nonempty(**tensors: Tensor) -> None:
    """ValueError where a tensor holds no element."""
    for name, x in tensors.items():
        if x.numel() == 0:
            raise ValueError(
                f"{name} must hold at least one element, got shape {tuple(x.shape)}"
            )


# --- Tensors: values --------------------------------------------------------------


def visible(*tensors: Tensor) -> bool:
    """Whether values may be looked at: not inside `torch.compile` or a `torch.func`
    transform, nor on meta, nor on CUDA where nothing may wait for it."""
    if (
        torch.compiler.is_compiling()
        or torch._C._functorch.peek_interpreter_stack() is not None
    ):
        return False
    if any(x.is_meta for x in tensors):
        return False
    return not (any(x.is_cuda for x in tensors) and nothing_may_wait())


def nothing_may_wait() -> bool:
    """Whether CUDA work is being captured in a graph, or torch was told to raise
    where the host would wait."""
    capturing = torch.cuda.is_current_stream_capturing()
    return capturing or torch.cuda.get_sync_debug_mode() == 2


def values(fine: Tensor, message: str) -> None:
    """ValueError, in the caller's words, unless `fine` is true everywhere that can
    be looked at."""
    if visible(fine) and not bool(fine.all()):
        raise ValueError(message)


def finite(**tensors: Tensor) -> None:
    """ValueError where a tensor holds NaN or an infinity."""
    for name, x in tensors.items():
        if visible(x) and not _all_finite(x.detach()):
            raise ValueError(f"{name} must be finite, got nan or inf")


def _all_finite(x: Tensor) -> bool:
    """Whether every element is finite; the sum is quick, and seldom overflows."""
    return math.isfinite(x.sum()) or bool(x.isfinite().all())


def peaks(**peaks: Tensor) -> None:
    """ValueError where the largest score of a row is no number that can be
    subtracted.

    It is NaN where the row holds a NaN, inf where it holds an inf, and -inf where
    every element is masked: the maxima, which the caller has anyway, tell all
    three.
    """
    for name, peak in peaks.items():
        if visible(peak) and not bool(peak.detach().isfinite().all()):
            values(~peak.isnan(), f"{name} must hold no NaN")
            values(~peak.isposinf(), f"{name} must be below +inf")
            unmasked(**{name: peak})


def unmasked(**peaks: Tensor) -> None:
    """ValueError where a row's largest score is -inf: then all of them are, and no
    distribution is left."""
    for name, peak in peaks.items():
        values(
            ~peak.detach().isneginf(),
            f"{name} must have a finite score in every row, got a row of -inf "
            "alone",
        )


def within(
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    **tensors: Tensor,
) -> None:
    """ValueError where an element lies outside the range; a NaN lies outside every
    range."""
    for name, x in tensors.items():
        if visible(x):
            fine = _inside(x.detach(), least, above, most, below)
            if not bool(fine.all()):
                raise ValueError(
                    f"{name} must be {_range(least, above, most, below)} "
                    f"everywhere, got {_outlier(x, fine)}"
                )


def _outlier(x: Tensor, fine: Any) -> float:
    """The first element that is not fine."""
    return x.detach()[~fine].flatten()[0].item()


def classes(K: int, *, name: str = "targets", targets: Tensor) -> None:
    """TypeError unless `targets` is int64, ValueError unless it holds class numbers
    from 0 to K - 1."""
    integer(**{name: targets})
    values(
        (targets >= 0) & (targets < K),
        f"{name} must hold class numbers from 0 to {K - 1}",
    )


def distribution(**distributions: Tensor) -> None:
    """TypeError unless every argument is a floating tensor, ValueError unless its
    last dimension holds probabilities, which sum to 1 up to rounding."""
    for name, p in distributions.items():
        floating(**{name: p})
        dim(p, -1, name)
        slack = 100 * torch.finfo(p.dtype).eps
        total = widen(p.detach()).sum(-1, keepdim=True)
        values(
            (p.detach() >= 0) & ((total - 1).abs() <= slack),
            f"{name} must be probabilities that sum to 1 over the last dimension: "
            "pass the result, not the scores",
        )


# --- Numbers, names, objects ------------------------------------------------------


def whole(
    *, least: int | None = None, most: int | None = None, **counts: int
) -> None:
    """TypeError unless every argument is a whole number (bool is none), ValueError
    outside [least, most]."""
    for name, count in counts.items():
        if isinstance(count, bool | Tensor) or not hasattr(count, "__index__"):
            raise TypeError(f"{name} must be a whole number, got {count!r}")
        if not _inside(operator.index(count), least, None, most, None):
            raise ValueError(
                f"{name} must be a whole number {_range(least, None, most, None)}, "
                f"got {count!r}"
            )


def number(
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    infinite: bool = False,
    **numbers: float,
) -> None:
    """TypeError unless every argument is a real number (bool is none), ValueError
    outside the range, NaN or infinite.

    `infinite` lets an infinity pass where the range does.
    """
    for name, x in numbers.items():
        if not _is_number(x):
            raise TypeError(f"{name} must be a number, got {kind(x)}")
        fine = _inside(x, least, above, most, below)
        if not fine or not (infinite or math.isfinite(x)):
            words = ["finite"] * (not infinite) + [
                _range(least, above, most, below)
            ]
            raise ValueError(
                f"{name} must be {' and '.join(filter(None, words))}, got {x}"
            )


def number_or_tensor(
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    **numbers: float | Tensor,
) -> None:
    """As `number`; a floating tensor passes too, its values unread where that would
    wait for a device."""
    bounds = {"least": least, "above": above, "most": most, "below": below}
    for name, x in numbers.items():
        if not isinstance(x, Tensor):
            number(**bounds, **{name: x})  # type: ignore[arg-type]
            continue
        floating(**{name: x})
        if x.device.type == "cpu":
            finite(**{name: x})
            within(**bounds, **{name: x})  # type: ignore[arg-type]


def choice(options: Sequence[Any], **chosen: Any) -> None:
    """ValueError unless every argument is one of the options."""
    for name, x in chosen.items():
        if not any(
            x is option or (type(x) is type(option) and x == option)
            for option in options
        ):
            raise ValueError(
                f"{name} must be one of {', '.join(map(str, options))}, got {x!r}"
            )


def instance(of: type, **things: Any) -> None:
    """TypeError unless every argument is an instance of the class."""
    for name, x in things.items():
        if not isinstance(x, of):
            raise TypeError(f"{name} must be a {of.__name__}, got {kind(x)}")


def function(**things: Any) -> None:
    """TypeError unless every argument can be called."""
    for name, x in things.items():
        if not callable(x):
            raise TypeError(f"{name} must be a function, got {kind(x)}")


def generator(**generators: torch.Generator | None) -> None:
    """TypeError unless every argument is a source of randomness, or None."""
    for name, source in generators.items():
        if source is not None:
            instance(torch.Generator, **{name: source})


def dtype(**dtypes: torch.dtype | None) -> None:
    """TypeError unless every argument is a (real) floating dtype, or None."""
    for name, x in dtypes.items():
        if x is not None:
            instance(torch.dtype, **{name: x})
            if not x.is_floating_point:
                raise TypeError(f"{name} must be floating, got {x}")


def sequence(**things: Any) -> None:
    """TypeError unless every argument has a length and an order: a list, a tuple, a
    stack of layers."""
    for name, x in things.items():
        if isinstance(x, str) or not (
            hasattr(x, "__len__") and hasattr(x, "__getitem__")
        ):
            raise TypeError(f"{name} must be a list, got {kind(x)}")


def floatings(**lists: Sequence[Tensor]) -> None:
    """TypeError unless every argument is a list of floating tensors, ValueError
    where it is empty."""
    for name, tensors in lists.items():
        floating(**_elements(name, tensors, "tensor"))


def functions(**lists: Any) -> None:
    """TypeError unless every argument is a list of functions, layers for example;
    ValueError where it is empty."""
    for name, things in lists.items():
        function(**_elements(name, things, name.removesuffix("s")))


def instances(of: type, **lists: Any) -> None:
    """TypeError unless every argument is a list of instances of the class,
    ValueError where it is empty."""
    for name, things in lists.items():
        instance(of, **_elements(name, things, name.removesuffix("s")))


def _elements(name: str, things: Any, kind: str) -> dict[str, Any]:
    """The elements of a list by their names, name[0], name[1] ...; at least one."""
    sequence(**{name: things})
    if len(things) == 0:
        raise ValueError(f"{name} must hold at least one {kind}, got none")
    return {f"{name}[{i}]": x for i, x in enumerate(things)}


def _is_number(x: Any) -> bool:
    """Whether x is one real number, of Python or of another library; a bool is
    none."""
    if isinstance(x, bool | Tensor):
        return False
    return isinstance(x, int | float) or (
        hasattr(x, "__float__") and not hasattr(x, "__len__")
    )


def _inside(
    x: Any,
    least: float | None,
    above: float | None,
    most: float | None,
    below: float | None,
) -> Any:
    """Whether x lies in the range: bool for a number, elementwise for a tensor. NaN
    does not, whatever the range."""
    fine = x == x
    for bound, holds in (
        (least, operator.ge),
        (above, operator.gt),
        (most, operator.le),
        (below, operator.lt),
    ):
        if bound is not None:
            fine = fine & holds(x, bound)
    return fine


def _range(
    least: float | None,
    above: float | None,
    most: float | None,
    below: float | None,
) -> str:
    """A range in words: ">= 1", "> 0 and < 1"."""
    bounds = ((">=", least), (">", above), ("<=", most), ("<", below))
    return " and ".join(
        f"{sign} {bound}" for sign, bound in bounds if bound is not None
    )


def kind(x: Any) -> str:
    """What a thing is, for an error: the dtype of a tensor, else the name of its
    class."""
    return str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
