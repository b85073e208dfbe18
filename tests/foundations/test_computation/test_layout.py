"""Shape, strides and storage: against torch's own tensors."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lbdl.foundations import computation as C

SHAPES = st.lists(st.integers(1, 4), min_size=0, max_size=4).map(tuple)


@st.composite
def rules(draw):
    """A tensor of numbers 0, 1, ... and views of it: permuted, cut, stretched."""
    x = torch.arange(math.prod(shape := draw(SHAPES)) + 3)[3:].view(shape)
    x = x.permute(draw(st.permutations(range(x.dim()))))
    for dim in range(x.dim()):
        x = x[(slice(None),) * dim + (slice(None, None, draw(st.integers(1, 2))),)]
    if draw(st.booleans()):
        x = x.unsqueeze(0).expand(2, *x.shape)
    return x


@given(rules())
def test_addresses_are_where_torch_finds_the_elements(x):
    storage = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage())
    found = C.addresses(x.shape, x.stride(), x.storage_offset())
    assert torch.equal(storage[found], x)


@given(rules())
def test_contiguity_is_torchs(x):
    assert C.is_contiguous(x.shape, x.stride()) == x.is_contiguous()


@given(SHAPES)
def test_strides_of_a_new_tensor(shape):
    assert C.contiguous_strides(shape) == torch.empty(shape).stride()


def factorings(n: int, parts: int):
    """All shapes of some parts with n elements."""
    if parts == 1:
        yield (n,)
        return
    for first in range(1, n + 1):
        if n % first == 0:
            for rest in factorings(n // first, parts - 1):
                yield (first, *rest)


@given(rules(), st.integers(1, 3), st.data())
def test_a_view_exists_where_torch_makes_one_and_shows_the_same(x, parts, data):
    new = data.draw(st.sampled_from(list(factorings(x.numel(), parts))))
    found = C.view_strides(x.shape, x.stride(), new)
    try:
        view = x.view(new)
    except RuntimeError:
        assert found is None
        return
    assert found is not None
    there = C.addresses(new, found, x.storage_offset())
    assert torch.equal(
        there, C.addresses(new, view.stride(), view.storage_offset())
    )


@pytest.mark.parametrize("shape", list(itertools.product((1, 2), repeat=3)))
def test_broadcasting_is_expand(shape):
    x, wide = torch.arange(math.prod(shape)).view(shape), (3, 2, 2, 2)
    found = C.addresses(wide, C.broadcast_strides(shape, x.stride(), wide))
    assert torch.equal(x.flatten()[found], x.expand(wide))


def test_what_does_not_broadcast_is_refused():
    for shape, wide in (((2,), (3,)), ((2, 2), (2,)), ((3,), (1,))):
        with pytest.raises(ValueError, match="must broadcast"):
            C.broadcast_strides(shape, C.contiguous_strides(shape), wide)


def test_empty_tensors_and_single_numbers():
    assert C.addresses((0, 2), (2, 1)).shape == (0, 2)
    assert C.is_contiguous((0, 2), (9, 9))
    assert C.addresses((), (), 5).item() == 5
    assert C.view_strides((), (), (1, 1)) == (1, 1)


def test_other_numbers_of_elements_or_strides_are_refused():
    with pytest.raises(ValueError, match="new must hold 6 elements"):
        C.view_strides((2, 3), (3, 1), (2, 2))
    with pytest.raises(ValueError, match="one number for each size"):
        C.addresses((2, 3), (3,))
