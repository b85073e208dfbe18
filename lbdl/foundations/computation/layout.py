"""A tensor is a list of numbers, its storage, and a rule that says where in it each
element stands: shape, strides and offset.

    address(i_1, ..., i_k) = offset + i_1 s_1 + ... + i_k s_k

Transposing, cutting, repeating and most reshaping change the rule and leave the
storage alone. What they give is a view.

The rules are those of NumPy (Harris et al. 2020, arXiv:2006.10256) and torch.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lbdl import require

__all__ = [
    "addresses",
    "broadcast_strides",
    "contiguous_strides",
    "is_contiguous",
    "view_strides",
]


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of elements that stand in storage in the order of reading.

        s_k = 1,   s_j = n_(j+1) s_(j+1)

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)

    Args:
        shape: the sizes n_1, ..., n_k, numbers >= 0.

    Returns:
        One stride for each size.

    Raises:
        TypeError: `shape` is no list of whole numbers.
        ValueError: a size is negative.
    """
    require_sizes(shape=shape)
    return tuple(math.prod(shape[j + 1 :]) for j in range(len(shape)))


def addresses(
    shape: Sequence[int], strides: Sequence[int], offset: int = 0
) -> Tensor:
    """Where in the storage each element of a tensor stands.

        address(i_1, ..., i_k) = offset + i_1 s_1 + ... + i_k s_k

    >>> addresses((2, 3), (1, 2))  # a transposed (3, 2)
    tensor([[0, 2, 4],
            [1, 3, 5]])

    Args:
        shape: the sizes, numbers >= 0.
        strides: one for each size, numbers >= 0.
        offset: of the first element, a number >= 0.

    Returns:
        int64, of the given shape.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is negative, or there is not one stride for each size.
    """
    require_rule(shape, strides)
    require.whole(offset=offset, least=0)
    found = torch.full(tuple(shape), offset)
    for j, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        along = torch.arange(size) * stride
        found += along.reshape(-1, *[1] * (len(shape) - 1 - j))
    return found


def is_contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements stand in storage in the order of reading, without a gap.

    The stride of a dimension of size 1 does not matter: nobody walks along it.

    Args:
        shape: the sizes, numbers >= 0.
        strides: one for each size, numbers >= 0.

    Returns:
        True or False.

    Raises:
        TypeError: an argument is no list of whole numbers.
        ValueError: a number is negative, or there is not one stride for each size.

    Source: `torch.Tensor.is_contiguous`.
    """
    require_rule(shape, strides)
    if 0 in shape:
        return True
    wanted = zip(shape, strides, contiguous_strides(shape), strict=True)
    return all(n == 1 or s == right for n, s, right in wanted)


def broadcast_strides(
    shape: Sequence[int], strides: Sequence[int], wide: Sequence[int]
) -> tuple[int, ...]:
    """The strides that repeat a tensor without a copy: 0 along what is repeated.

    >>> broadcast_strides((3, 1), (1, 1), (2, 3, 4))
    (0, 1, 0)

    Args:
        shape: the sizes, numbers >= 0.
        strides: one for each size, numbers >= 0.
        wide: the sizes wanted: those of `shape` at the end, but any in the place of
            1, and any before them.

    Returns:
        One stride for each size of `wide`.

    Raises:
        TypeError: an argument is no list of whole numbers.
        ValueError: a number is negative, there is not one stride for each size, or
            `shape` does not broadcast to `wide`.
    """
    require_rule(shape, strides)
    require_sizes(wide=wide)
    before = len(wide) - len(shape)
    ends = zip(shape, wide[max(before, 0) :], strict=False)
    if before < 0 or any(n not in (1, size) for n, size in ends):
        raise ValueError(
            f"shape must broadcast to {tuple(wide)}, got {tuple(shape)}"
        )
    kept = zip(shape, strides, wide[before:], strict=True)
    return (0,) * before + tuple(0 if n == 1 != size else s for n, s, size in kept)


def view_strides(
    shape: Sequence[int], strides: Sequence[int], new: Sequence[int]
) -> tuple[int, ...] | None:
    """The strides of the same elements under another shape, if there are any.

    Dimensions j and j + 1 can be read as one where s_j = n_(j+1) s_(j+1). So the
    shape falls into runs, each with one stride at its end; the new sizes must fill
    run after run. Where they do not, only a copy helps.

    >>> view_strides((2, 3), (3, 1), (3, 2))
    (2, 1)
    >>> view_strides((3, 2), (1, 3), (6,)) is None  # transposed
    True

    Args:
        shape: the sizes, numbers >= 1.
        strides: one for each size, numbers >= 0.
        new: the new sizes, numbers >= 1, as many elements.

    Returns:
        One stride for each new size, or None where the elements must be copied.

    Raises:
        TypeError: an argument is no list of whole numbers.
        ValueError: a number is out of range, there is not one stride for each size,
            or the two shapes hold different numbers of elements.

    Source: `torch.Tensor.view`, whose documentation states the condition.
    """
    require_rule(shape, strides, least=1)
    require_sizes(new=new, least=1)
    if math.prod(shape) != math.prod(new):
        raise ValueError(
            f"new must hold {math.prod(shape)} elements, got {tuple(new)}"
        )
    found: list[int] = []
    left = list(new)[::-1]  # sizes still to be placed, last one first
    for size, stride in runs(shape, strides):
        while size > 1 and left:
            if size % left[0]:
                return None
            found.append(stride)
            size, stride = size // left[0], stride * left[0]
            left.pop(0)
    return (*(1 for _ in left), *found[::-1])


def runs(shape: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Dimensions that can be read as one, merged: (size, stride), last first."""
    merged: list[tuple[int, int]] = []
    for size, stride in zip(shape[::-1], strides[::-1], strict=True):
        if size == 1:
            continue
        if merged and stride == merged[-1][0] * merged[-1][1]:
            merged[-1] = (merged[-1][0] * size, merged[-1][1])
        else:
            merged.append((size, stride))
    return merged


def require_sizes(least: int = 0, **lists: Sequence[int]) -> None:
    """TypeError unless each argument is a list of whole numbers, ValueError where
    one is too small."""
    for name, sizes in lists.items():
        require.sequence(**{name: sizes})
        named = {f"{name}[{j}]": n for j, n in enumerate(sizes)}
        require.whole(**named, least=least)


def require_rule(
    shape: Sequence[int], strides: Sequence[int], least: int = 0
) -> None:
    """What `require_sizes` asks, and one stride for each size."""
    require_sizes(shape=shape, least=least)
    require_sizes(strides=strides)
    if len(shape) != len(strides):
        raise ValueError(
            f"strides must hold one number for each size of {tuple(shape)}, got "
            f"{tuple(strides)}"
        )
