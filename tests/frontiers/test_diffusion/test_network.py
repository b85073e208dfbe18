"""A learnt denoiser: its preconditioning, its loss, what it comes to."""

import pytest
import torch

from lbdl.core import generator
from lbdl.frontiers import diffusion as D

pytestmark = pytest.mark.filterwarnings("error")


def randn(*shape, stream="x", dtype=torch.float64):
    return torch.randn(shape, generator=generator(stream), dtype=dtype)


def test_what_goes_in_and_out_has_variance_one():
    s, n = 0.7, 400_000
    x0, z = s * randn(n), randn(n, stream="z")
    for sigma in (0.05, 0.5, 5.0):
        skip, out, read = D.edm_coefficients(torch.tensor(sigma).double(), s)
        x = x0 + sigma * z
        target = (x0 - skip * x) / out
        assert float((read * x).var()) == pytest.approx(1, rel=0.01)
        assert float(target.var()) == pytest.approx(1, rel=0.01)
        assert abs(float((target * x).mean() / x.std())) < 0.01  # the best skip


def test_levels_have_the_logarithm_of_the_paper():
    logs = D.lognormal_sigmas(100_000, generator=generator("levels")).log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=0.02)
    assert float(logs.std()) == pytest.approx(1.2, rel=0.02)


def test_the_loss_is_the_weighted_square():
    x0, z = randn(5, 3), randn(5, 3, stream="z")
    sigma = randn(5, stream="s").exp()
    loss = D.denoising_loss(lambda x, s: 0.3 * x, x0, z, sigma, 0.5)
    weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    squares = (0.3 * (x0 + sigma[:, None] * z) - x0).square().mean(-1)
    torch.testing.assert_close(loss, (weight * squares).mean())


def test_an_untrained_denoiser_has_loss_one_and_knows_its_label():
    torch.manual_seed(0)
    net = D.Denoiser(4, 8, 2, labels=3, sigma_data=0.5).double()
    x0, z = 0.5 * randn(50_000, 4), randn(50_000, 4, stream="z")
    sigma = randn(50_000, stream="s").exp()
    with torch.no_grad():
        loss = D.denoising_loss(net, x0, z, sigma, 0.5)
        assert float(loss) == pytest.approx(1, rel=0.03)
        for p in net.parameters():
            p.copy_(0.3 * randn(*p.shape, stream="weights"))
        x, sigma = x0[:4], sigma[:4]
        given = net(x, sigma, torch.arange(4))
        none = net(x, sigma)
    torch.testing.assert_close(given[3], none[3])
    assert float((given[:3] - none[:3]).abs().min()) > 1e-4


def test_it_learns_the_best_denoiser():
    torch.manual_seed(0)
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    p = D.Mixture(torch.full((2,), 0.5), means, torch.full((2,), 0.01))
    net, draw = D.Denoiser(2, 32, 1, 0, 0.7), generator("training")
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        x0, z = D.sample(p, 128, draw), torch.randn(128, 2, generator=draw)
        sigma = D.lognormal_sigmas(128, generator=draw)
        loss = D.denoising_loss(net, x0, z, sigma, 0.7)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x0, z = D.sample(p, 2000, draw), torch.randn(2000, 2, generator=draw)
    for sigma in (0.3, 1.0):
        x = x0 + sigma * z
        best = D.posterior_mean(p, x, 1.0, sigma)
        with torch.no_grad():
            found = net(x, torch.full((2000,), sigma))
        assert float((found - best).square().mean()) < 0.02
        assert float((x - best).square().mean()) > 0.05


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="even"):
        D.Denoiser(2, 7, 1, 0, 0.5)
