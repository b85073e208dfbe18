"""Pooling against torch's: forward and gradients, ties and NaN included."""

import pytest
import torch
import torch.nn.functional as F

from lbdl.models.convolution import (
    adaptive_average_pool2d,
    adaptive_max_pool2d,
    average_pool2d,
    fast_average_pool2d,
    fast_max_pool2d,
    max_pool2d,
)

MAX, AVERAGE = (max_pool2d, fast_max_pool2d), (average_pool2d, fast_average_pool2d)
PAIRS = [(f, F.max_pool2d) for f in MAX] + [(f, F.avg_pool2d) for f in AVERAGE]
every_pool = pytest.mark.parametrize(("pool", "peer"), PAIRS)
SETTINGS = [
    (2, None, 0),
    (3, 2, 1),
    ((2, 3), (3, 1), (1, 0)),
    (1, 1, 0),
    ((5, 4), 2, 2),
]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=chance)


def assert_same_pool(pool, peer, x: torch.Tensor, *sizes) -> None:
    x = x.clone().requires_grad_()
    y, expected = pool(x, *sizes), peer(x, *sizes)
    torch.testing.assert_close(y, expected)
    g = draw(*y.shape, seed=3).to(x)
    torch.testing.assert_close(
        torch.autograd.grad(y, x, g), torch.autograd.grad(expected, x, g)
    )


@every_pool
@pytest.mark.parametrize("sizes", SETTINGS, ids=str)
def test_pooling_is_torchs(pool, peer, sizes, device) -> None:
    assert_same_pool(pool, peer, draw(2, 3, 7, 8).to(device), *sizes)


@every_pool
def test_in_single_precision_too(pool, peer) -> None:
    assert_same_pool(pool, peer, draw(2, 3, 7, 8).float(), 3, 2, 1)


@pytest.mark.parametrize("pool", MAX)
def test_of_equal_values_the_first_gets_the_gradient(pool) -> None:
    ties = draw(2, 3, 8, 9).round().relu()  # many zeros, as behind a ReLU
    assert_same_pool(pool, F.max_pool2d, ties, 3, 2, 1)


@pytest.mark.parametrize("pool", MAX)
def test_a_nan_is_not_lost(pool) -> None:
    for cell in range(4):
        x = draw(1, 2, 2)
        x.view(-1)[cell] = torch.nan
        assert pool(x, 2).isnan().all()


@pytest.mark.parametrize("pool", MAX)
def test_windows_of_negative_values_do_not_see_the_padding(pool) -> None:
    assert (pool(-torch.ones(1, 4, 4), 3, 2, 1) == -1).all()


@pytest.mark.parametrize("size", [1, 2, (3, 5), (7, 8), (9, 10)])
@pytest.mark.parametrize(
    ("pool", "peer"),
    [
        (adaptive_max_pool2d, F.adaptive_max_pool2d),
        (adaptive_average_pool2d, F.adaptive_avg_pool2d),
    ],
)
def test_adaptive_pooling_is_torchs(pool, peer, size, device) -> None:
    assert_same_pool(pool, peer, draw(2, 3, 7, 8).to(device), size)


@pytest.mark.parametrize("pool", [*MAX, *AVERAGE])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": [1.0]}, TypeError, "x must be a floating tensor"),
        ({"x": draw(4, 4)}, ValueError, "x must be"),
        ({"kernel": 2.0}, TypeError, "kernel must be a whole number"),
        ({"kernel": 5}, ValueError, "kernel must fit"),
        ({"stride": 0}, ValueError, "stride must be"),
        ({"padding": 2}, ValueError, "padding must be at most half"),
    ],
)
def test_bad_input_is_refused_in_words(pool, change, error, words) -> None:
    with pytest.raises(error, match=words):
        pool(**({"x": draw(1, 4, 4), "kernel": 2} | change))


@pytest.mark.parametrize("pool", [adaptive_max_pool2d, adaptive_average_pool2d])
def test_bad_input_of_adaptive_pooling_is_refused(pool) -> None:
    with pytest.raises(ValueError, match="size must be"):
        pool(draw(1, 4, 4), 0)
    with pytest.raises(TypeError, match="x must be"):
        pool(draw(1, 4, 4).long(), 1)
