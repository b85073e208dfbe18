"""Gumbel-softmax and the straight-through estimate against torch's, and against exact gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from lbdl.models.softmax import gumbel_softmax, softmax, straight_through

DOUBLE = torch.float64
X = torch.tensor([0.3, -0.8, 1.1, 0.0], dtype=DOUBLE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_winner_is_drawn_from_softmax_at_any_temperature(temperature, device):
    rows = X.to(device).expand(100_000, 4)
    g = torch.Generator(device).manual_seed(0)
    y = gumbel_softmax(rows, temperature, generator=g)
    share = torch.bincount(y.argmax(-1), minlength=4) / len(y)
    p = softmax(X)
    assert ((share.cpu() - p).abs() < 5 * (p * (1 - p) / len(y)).sqrt()).all()
    torch.testing.assert_close(y.sum(-1), torch.ones_like(y[:, 0]))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("hard", [False, True])
def test_the_same_distribution_as_torchs(temperature, hard):
    rows = X.expand(200_000, 4)
    ours = gumbel_softmax(rows, temperature, hard, generator=seeded())
    torch.manual_seed(1)
    theirs = F.gumbel_softmax(rows, temperature, hard)
    for moment in (1, 2):
        torch.testing.assert_close(
            ours.pow(moment).mean(0), theirs.pow(moment).mean(0), rtol=0, atol=6e-3
        )


def test_value_and_gradient_given_the_noise():
    x = X.clone().requires_grad_()
    noise = -torch.empty_like(X).exponential_(generator=seeded(3)).log()
    for hard in (False, True):
        y = gumbel_softmax(x, 0.7, hard, generator=seeded(3))
        soft = torch.softmax((x + noise) / 0.7, -1)
        expected = F.one_hot(soft.argmax(), 4).to(DOUBLE) if hard else soft
        torch.testing.assert_close(y, expected)
        weights = torch.arange(4, dtype=DOUBLE)
        ours, theirs = (
            torch.autograd.grad((weights * each).sum(), x)[0] for each in (y, soft)
        )
        torch.testing.assert_close(ours, theirs)


def test_low_temperatures_give_one_hot_vectors_and_the_right_mean():
    rows = X.expand(100_000, 4)
    cold = gumbel_softmax(rows, 0.01, generator=seeded())
    warm = gumbel_softmax(rows, 2.0, generator=seeded())
    assert (cold.max(-1).values > 0.99).double().mean() > 0.95
    torch.testing.assert_close(cold.mean(0), softmax(X), rtol=0, atol=6e-3)
    assert (warm.mean(0) - softmax(X)).abs().max() > 0.05  # nearer to 1/4 each


def test_a_masked_score_never_wins_and_gets_no_weight():
    x = torch.tensor([[0.0, -math.inf, 1.0]]).expand(1000, 3)
    for hard in (False, True):
        assert (gumbel_softmax(x, hard=hard, generator=seeded())[:, 1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_precisions_and_dimensions(dtype):
    x = X.to(dtype).unsqueeze(-1).expand(4, 5)
    y = gumbel_softmax(x, hard=True, dim=0, generator=seeded())
    assert y.dtype == dtype and (y.sum(0) == 1).all()


def test_straight_through_has_one_value_and_the_other_gradient():
    x = torch.tensor([0.2, 1.7, -0.6], requires_grad=True)
    y = straight_through(x.round(), 3 * x)
    assert y.tolist() == [0.0, 2.0, -1.0]
    (slope,) = torch.autograd.grad((y**2).sum(), x)
    torch.testing.assert_close(slope, 2 * 3 * x.detach().round())


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="temperature must be finite and > 0"):
        gumbel_softmax(X, 0.0)
    with pytest.raises(TypeError, match="generator must be a Generator"):
        gumbel_softmax(X, generator=3)
    with pytest.raises(ValueError, match="slope must have the shape of value"):
        straight_through(X, X[:2])
    with pytest.raises(TypeError, match="slope must have the dtype of value"):
        straight_through(X, X.float())
