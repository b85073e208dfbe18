"""Learned by heart: errors of best denoisers, copies, and the same loss as EDM's."""

import pytest
import torch
from torch.nn import functional as F

from lbdl.experiments.frontiers import diffusion as E
from lbdl.frontiers.diffusion import Denoiser, denoising_loss


@pytest.fixture(scope="module")
def result():
    return E.learned_by_heart.run("small", torch.device("cpu"), progress=False)


def test_nothing_beats_the_best_denoiser_on_what_it_has_seen(result):
    assert bool((result["seen"] > result["best_seen"]).all())
    assert bool(
        (result["best_seen"][:, 0] < 0.05 * result["best_unseen"][:, 0]).all()
    )
    for name in ("seen", "unseen"):
        assert result[name].shape == (2, len(E.LEVELS))
        rising = result[name].diff(dim=-1)
        assert bool((rising > 0).all())


def test_copies_are_told():
    images = torch.eye(5) * 10
    assert float(E.copies(images + 0.1, images)) == 1
    assert float(E.copies(torch.zeros(3, 5), images)) == 0


def test_the_plain_squared_error_is_the_weighted_one():
    torch.manual_seed(0)
    net = Denoiser(3, 8, 1, 0, 0.7)
    with torch.no_grad():
        net.write.weight.normal_()
    x0, z, sigma = torch.randn(5, 3), torch.randn(5, 3), torch.rand(5) + 0.1
    out = sigma * 0.7 / (sigma**2 + 0.49).sqrt()
    rows = torch.cat([x0 + sigma[:, None] * z, sigma[:, None]], 1)
    plain = F.mse_loss(E.Weighted(net)(rows), x0 / out[:, None])
    torch.testing.assert_close(plain, denoising_loss(net, x0, z, sigma, 0.7))


def test_rates_rise_for_a_moment_and_fall_to_nothing():
    rates = [E.rate_factor(t, 100) for t in range(101)]
    assert (
        rates[:20] == sorted(rates[:20]) and rates[20:] == sorted(rates[20:])[::-1]
    )
    assert rates[0] == pytest.approx(1 / E.WARMUP) and rates[100] == 0
