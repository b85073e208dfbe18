"""Sizes, parameters and receptive fields: what torch makes, and what a gradient reaches."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lbdl.models.convolution import (
    output_size,
    parameter_count,
    receptive_field,
    transposed_size,
)

SIZES = list(product((5, 8, 13), (1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (1, 2)))


def fits(size: int, kernel: int, padding: int, dilation: int) -> bool:
    return dilation * (kernel - 1) + 1 <= size + 2 * padding


def test_output_sizes_are_torchs() -> None:
    for size, kernel, stride, padding, dilation in SIZES:
        if fits(size, kernel, padding, dilation):
            y = F.conv1d(
                torch.ones(1, 1, size),
                torch.ones(1, 1, kernel),
                None,
                stride,
                padding,
                dilation,
            )
            assert (
                output_size(size, kernel, stride, padding, dilation) == y.shape[-1]
            )
        else:
            with pytest.raises(ValueError, match="kernel must fit"):
                output_size(size, kernel, stride, padding, dilation)


def test_a_transposed_size_is_one_that_is_mapped_back() -> None:
    for size, kernel, stride, padding, dilation in SIZES:
        for extra in range(stride):
            try:
                longer = transposed_size(
                    size, kernel, stride, padding, dilation, extra
                )
            except ValueError:
                continue
            if fits(longer, kernel, padding, dilation):
                assert (
                    output_size(longer, kernel, stride, padding, dilation) == size
                )


@pytest.mark.parametrize(
    ("kernel", "groups", "bias"), [(3, 1, True), ((3, 5), 2, False)]
)
def test_parameters_are_those_of_torchs_layer(kernel, groups, bias) -> None:
    layer = nn.Conv2d(4, 6, kernel, groups=groups, bias=bias)
    held = sum(p.numel() for p in layer.parameters())
    assert parameter_count(4, 6, kernel, groups, bias) == held


STACKS = [
    [(3, 1), (3, 2), (5, 1)],
    [(3, 2, 1), (2, 2), (3, 1, 1)],
    [(3, 1, 2, 2), (3, 3, 0, 4), (4, 1)],
    [(1, 2), (1, 3)],
]


@pytest.mark.parametrize("layers", STACKS, ids=str)
def test_a_receptive_field_is_what_a_gradient_reaches(layers) -> None:
    x = torch.zeros(1, 1, 100, dtype=torch.float64, requires_grad=True)
    y = x
    for kernel, stride, *rest in layers:
        padding, dilation = (*rest, *(0, 1)[len(rest) :])
        ones = torch.ones(1, 1, kernel, dtype=torch.float64)
        y = F.conv1d(y, ones, None, stride, padding, dilation)
    found = receptive_field(layers)
    for i in (5, 6):
        (g,) = torch.autograd.grad(y[0, 0, i], x, retain_graph=True)
        seen = g[0, 0].nonzero().flatten()
        first = found.start + i * found.jump
        assert seen.min() == first
        assert seen.max() == first + found.size - 1


def test_no_layer_sees_one_input() -> None:
    assert tuple(receptive_field([])) == (1, 1, 0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: output_size(8.0, 3), TypeError, "size must be a whole number"),
        (lambda: output_size(8, True), TypeError, "kernel must be a whole number"),
        (lambda: output_size(8, 3, padding=-1), ValueError, "padding must be"),
        (lambda: output_size(2, 3), ValueError, "kernel must fit"),
        (
            lambda: transposed_size(2, 3, stride=2, extra=2),
            ValueError,
            "extra must be",
        ),
        (
            lambda: transposed_size(1, 1, padding=1),
            ValueError,
            "padding must leave",
        ),
        (
            lambda: parameter_count(3, 4, 3, groups=2),
            ValueError,
            "groups must divide",
        ),
        (lambda: parameter_count(3, 4, 2.5), TypeError, "kernel must be"),
        (
            lambda: parameter_count(3, 4, 2, bias=1),
            TypeError,
            "bias must be a bool",
        ),
        (lambda: receptive_field([(3,)]), ValueError, "layers must hold"),
        (
            lambda: receptive_field([(3, 1, 0, 1, 1)]),
            ValueError,
            "layers must hold",
        ),
        (lambda: receptive_field([3]), TypeError, "layers must hold tuples"),
        (lambda: receptive_field([(3, 0)]), ValueError, "stride must be"),
        (lambda: receptive_field([(3, 1, -1)]), ValueError, "padding must be"),
    ],
)
def test_bad_sizes_are_refused_in_words(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


def test_only_lengths_below_the_stride_are_mapped_back() -> None:
    back = [
        output_size(transposed_size(5, 3, 2, 0, 4, e), 3, 2, 0, 4) for e in range(4)
    ]
    assert back == [5, 5, 6, 6]
