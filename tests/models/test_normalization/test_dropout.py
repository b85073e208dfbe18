"""Dropout: torch's numbers for the same coins, and the moments that the formulas promise."""

import pytest
import torch
import torch.nn.functional as F

from lbdl.models.normalization import (
    alpha_dropout,
    alpha_dropout_affine,
    dropout,
    dropout_moments,
    selu,
)

PAIRS = [(dropout, F.dropout), (alpha_dropout, F.alpha_dropout)]
both = pytest.mark.parametrize(("ours", "theirs"), PAIRS)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@both
@pytest.mark.parametrize("p", [0.0, 0.1, 0.7])
def test_the_same_coins_give_torchs_numbers_and_gradients(ours, theirs, p) -> None:
    results = []
    for f in (ours, theirs):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            x = draw(50, 40).requires_grad_()
            y = f(x, p, True)
            results.append((y, torch.autograd.grad(y, x, draw(50, 40, seed=1))[0]))
    torch.testing.assert_close(results[0], results[1])


@both
def test_in_evaluation_nothing_happens(ours, theirs) -> None:
    x = draw(5, 4)
    y = ours(x, 0.9, training=False)
    assert torch.equal(y, x)
    y += 1
    assert torch.equal(x, draw(5, 4))


def test_all_can_be_dropped() -> None:
    assert (dropout(draw(5, 4), 1.0) == 0).all()


@both
def test_a_generator_decides(ours, theirs) -> None:
    one, two = (
        ours(draw(9), 0.5, generator=torch.Generator().manual_seed(2)) for _ in "ab"
    )
    assert torch.equal(one, two)


def test_moments_of_dropout() -> None:
    x = 2 + 1.5 * draw(2_000_000).double()
    y = dropout(x, 0.3, generator=torch.Generator().manual_seed(1))
    mean, variance = dropout_moments(
        *(torch.tensor(m).double() for m in (2.0, 2.25)), 0.3
    )
    assert variance.item() == pytest.approx((2.25 + 0.3 * 4) / 0.7)
    assert y.mean().item() == pytest.approx(mean.item(), rel=0.005)
    assert y.var().item() == pytest.approx(variance.item(), rel=0.01)


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(p) -> None:
    x = selu(draw(2_000_000).double())
    y = alpha_dropout(x, p, generator=torch.Generator().manual_seed(1))
    assert y.mean().item() == pytest.approx(0, abs=0.005)
    assert y.var().item() == pytest.approx(1, abs=0.01)


def test_the_constants_of_alpha_dropout() -> None:
    assert alpha_dropout_affine(0.1) == pytest.approx((0.92128, 0.16197), abs=1e-5)
    assert alpha_dropout_affine(0.0) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: dropout([1.0]), TypeError, "x must be a floating tensor"),
        (lambda: dropout(draw(3), 1.5), ValueError, "p must be"),
        (lambda: dropout(draw(3), 0.5, 1), TypeError, "training must be a bool"),
        (lambda: dropout(draw(3), 0.5, True, 3), TypeError, "generator must be"),
        (lambda: alpha_dropout(draw(3), 1.0), ValueError, "p must be"),
        (lambda: alpha_dropout_affine(True), TypeError, "p must be a number"),
        (
            lambda: dropout_moments(draw(3), -draw(3).abs(), 0.5),
            ValueError,
            "variance",
        ),
        (
            lambda: dropout_moments(draw(3), draw(2).abs(), 0.5),
            ValueError,
            "broadcast",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()
