"""The dense layer and the count of operations, against torch."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lbdl.foundations import backpropagation as B

DOUBLE = torch.float64
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def randn(
    *shape: int, seed: int = 0, device: str = "cpu", dtype: torch.dtype = DOUBLE
) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE
    ).to(device, dtype)


# --- The dense layer


@pytest.mark.parametrize("shape", [(5, 3), (1, 3), (2, 4, 5, 3), (0, 3)])
def test_dense_backward_is_that_of_torch(
    shape: tuple[int, ...], device: str
) -> None:
    x, w, b = (
        randn(*s, seed=i, device=device)
        for i, s in enumerate((shape, (3, 4), (4,)))
    )
    g = randn(*shape[:-1], 4, seed=9, device=device)
    leaves = [t.clone().requires_grad_() for t in (x, w, b)]
    y = torch.nn.functional.linear(leaves[0], leaves[1].mT, leaves[2])
    torch.testing.assert_close(B.dense(x, w, b), y.detach(), **CLOSE)
    for found, expected in zip(
        B.dense_backward(g, x, w), torch.autograd.grad(y, leaves, g), strict=True
    ):
        torch.testing.assert_close(found, expected, **CLOSE)


def test_dense_backward_passes_our_gradcheck() -> None:
    pull = lambda u, x, w, b: B.dense_backward(u, x, w)
    assert B.gradcheck(
        B.dense, randn(2, 5, 3), randn(3, 4), randn(4), pullback=pull
    )


# --- Operations


def counted_flops(
    widths: list[int], batch: int, input_gradient: bool, tape: bool
) -> tuple[int, int]:
    """Operations of both passes of a network of dense layers, by torch's counter."""
    x = randn(batch, widths[0])
    weights = [randn(a, b) for a, b in pairwise(widths)]
    if tape:
        weights = [B.Variable(w) for w in weights]
        x = B.Variable(x) if input_gradient else x
    else:
        weights = [w.requires_grad_() for w in weights]
        x.requires_grad_(input_gradient)
    with FlopCounterMode(display=False) as forward:
        for w in weights:
            x = (x @ w).tanh()
    with FlopCounterMode(display=False) as backward:
        x.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("tape", [False, True], ids=["torch", "tape"])
@pytest.mark.parametrize("input_gradient", [False, True])
@pytest.mark.parametrize("widths", [[8, 8], [8, 8, 8], [3, 7, 5, 2], [6] * 11])
def test_flops_are_those_that_torch_counts(
    widths: list[int], input_gradient: bool, tape: bool
) -> None:
    found = B.network_flops(widths, 13, input_gradient=input_gradient)
    assert found == counted_flops(widths, 13, input_gradient, tape)


@pytest.mark.parametrize(
    ("depth", "ratio"), [(1, 1.0), (2, 1.5), (3, 5 / 3), (10, 1.9)]
)
def test_backward_over_forward(depth: int, ratio: float) -> None:
    forward, backward = B.network_flops([32] * (depth + 1), 7)
    assert B.backward_ratio(depth) == pytest.approx(ratio, rel=1e-15)
    assert backward / forward == pytest.approx(ratio, rel=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: B.dense(randn(3), randn(3, 4), randn(4)),
            r"x must be \(\.\.\., n, d\)",
        ),
        (
            lambda: B.dense(randn(2, 3), randn(3, 4), randn(3)),
            r"bias must be \(k,\) with k = 4, got shape \(3,\)",
        ),
        (
            lambda: B.dense_backward(randn(5, 4), randn(2, 3), randn(3, 4)),
            "g and x must agree",
        ),
        (lambda: B.network_flops([3], 2), "two or more numbers"),
        (lambda: B.backward_ratio(0), "depth must be a whole number >= 1, got 0"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
