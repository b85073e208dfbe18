"""Samplers against densities that are known, and against diffusers."""

import math

import pytest
import torch

from lbdl.core import generator
from lbdl.frontiers import diffusion as D

pytestmark = pytest.mark.filterwarnings("error")


def randn(*shape, stream="x", dtype=torch.float64):
    return torch.randn(shape, generator=generator(stream), dtype=dtype)


def mixture():
    numbers = (
        [0.5, 0.3, 0.2],
        [[-1.0, 0.5], [1.0, 1.0], [0.0, -1.5]],
        [0.04, 0.1, 0.02],
    )
    return D.Mixture(*(torch.tensor(n, dtype=torch.float64) for n in numbers))


def denoiser(p):
    return lambda x, sigma: D.posterior_mean(p, x, 1.0, sigma)


def predictor(p):
    """The exact noise in a point, for the levels of a table."""

    def predict(x, left):
        a, b = math.sqrt(left), math.sqrt(1 - left)
        return -b * D.score(D.noised(p, a, b), x)

    return predict


@pytest.mark.parametrize(("now", "then"), [(0.5, 0.6), (0.01, 0.9), (0.3, 1.0)])
def test_the_posterior_is_a_product_of_two_gaussians(now, then):
    x, x0 = randn(5, 3), randn(5, 3, stream="x0")
    mean, variance = D.ddpm_posterior(x, x0, now, then)
    if then == 1.0:
        assert variance == 0
        torch.testing.assert_close(mean, x0)
        return
    r = now / then
    precision = r / (1 - r) + 1 / (1 - then)
    weighed = r**0.5 * x / (1 - r) + then**0.5 * x0 / (1 - then)
    assert variance == pytest.approx(1 / precision)
    torch.testing.assert_close(mean, weighed / precision)


@pytest.mark.parametrize(("now", "then"), [(0.5, 0.6), (0.01, 0.9), (0.3, 1.0)])
def test_eta_one_is_ddpm_and_every_eta_keeps_the_law(now, then):
    x, eps, z = randn(5, 3), randn(5, 3, stream="e"), randn(5, 3, stream="z")
    mean, variance = D.ddpm_posterior(x, D.clean_from_eps(x, eps, now), now, then)
    step = D.ddim_step(x, eps, now, then, 1.0, z)
    torch.testing.assert_close(step, mean + variance**0.5 * z)
    x0 = randn(5, 3, stream="x0")
    noisy = D.diffuse(x0, eps, now)
    for eta in (0.0, 0.3, 1.0):
        mean = D.ddim_step(noisy, eps, now, then, eta)
        fresh = (D.ddim_step(noisy, eps, now, then, eta, z) - mean) / z
        own = ((mean - then**0.5 * x0) / eps).mean()
        total = float(own**2 + fresh.mean() ** 2)
        assert total == pytest.approx(1 - then, abs=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_fast_sampler_is_the_plain_one(eta):
    left = D.alphas_bar(D.linear_betas(100))
    path = left[D.spaced_steps(100, 12)]
    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        x = randn(6, 2, dtype=dtype)
        kept = x.clone()
        p = mixture()
        p = D.Mixture(*(t.to(dtype) for t in (p.weights, p.means, p.variances)))
        ends = [
            sampler(predictor(p), x, path, eta, generator("noise"))
            for sampler in (D.sample_ddim, D.fast_sample_ddim)
        ]
        torch.testing.assert_close(*ends, rtol=close, atol=close)
        assert torch.equal(x, kept)


def test_steps_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    peer = diffusers.DDIMScheduler(
        1000, clip_sample=False, timestep_spacing="trailing"
    )
    peer.set_timesteps(20)
    left = D.alphas_bar(D.linear_betas(1000))
    steps = D.spaced_steps(1000, 20)
    assert (steps[:-1] - 1).tolist() == peer.timesteps.tolist()
    x, levels = randn(4, 3, 2, dtype=torch.float32), left[steps].tolist()
    for t, now, then in zip(peer.timesteps, levels, levels[1:], strict=False):
        eps, z = (torch.randn_like(x) for _ in range(2))
        theirs = peer.step(eps, t, x, eta=0.7, variance_noise=z).prev_sample
        ours = D.ddim_step(x, eps, now, then, 0.7, z)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("end", [0.0, 0.3])
def test_the_flow_of_one_gaussian(end, device):
    """x(s) = m + (x - m) sqrt((v + s^2) / (v + S^2))."""
    m, v = torch.tensor([[1.0, -2.0]]).double().to(device), 0.5
    one = torch.ones(1).double().to(device)
    p = D.Mixture(one, m, v * one)
    x = 10 * randn(4, 2).to(device)
    sigmas = D.karras_sigmas(200, max(end, 0.002), 10.0)
    sigmas = torch.cat([sigmas, torch.zeros(1).double()]) if end == 0 else sigmas
    exact = m + (x - m) * math.sqrt((v + end**2) / (v + 100))
    found = D.sample_ode(denoiser(p), x, sigmas)
    torch.testing.assert_close(found, exact, rtol=0, atol=2e-3)


def test_orders_of_the_methods():
    p, x = mixture(), 10 * randn(32, 2)
    fine = D.sample_ode(denoiser(p), x, D.karras_sigmas(513, 0.05, 10.0))
    for method, low, high in (("euler", 0.85, 1.2), ("heun", 1.75, 2.5)):
        errors = [
            float((D.sample_ode(denoiser(p), x, way, method) - fine).norm())
            for way in (D.karras_sigmas(n + 1, 0.05, 10.0) for n in (64, 128))
        ]
        assert low < math.log2(errors[0] / errors[1]) < high


def test_ddim_is_eulers_method():
    p, left = mixture(), D.alphas_bar(D.linear_betas(200))
    path = left[D.spaced_steps(200, 15)]
    x = randn(6, 2)
    ddim = D.sample_ddim(predictor(p), x, path)
    sigmas = ((1 - path) / path).sqrt()
    euler = D.sample_ode(denoiser(p), x / path[0].sqrt(), sigmas, "euler")
    torch.testing.assert_close(ddim, euler * path[-1].sqrt())


def test_the_stochastic_way_of_one_gaussian():
    """Mean and variance after each step, followed by hand."""
    m, v, n = 1.5, 0.5, 40_000
    one = torch.ones(1).double()
    p = D.Mixture(one, m * one[:, None], v * one)
    sigmas = D.karras_sigmas(6, 0.3, 5.0)
    x = m + (v + 25) ** 0.5 * randn(n, 1)
    end = D.sample_sde(denoiser(p), x, sigmas, generator=generator("way"))
    variance = v + 25
    for now, then in zip(sigmas.tolist(), sigmas.tolist()[1:], strict=False):
        fresh = now**2 - then**2
        variance = (1 - fresh / (v + now**2)) ** 2 * variance + fresh
    assert float(end.mean()) == pytest.approx(m, abs=0.03)
    assert float(end.var()) == pytest.approx(variance, rel=0.03)
    assert abs(variance - v - 0.09) > 0.05  # six steps are few


def test_noise_of_the_stochastic_way_may_be_given():
    p, x, sigmas = mixture(), randn(3, 2), D.karras_sigmas(5, 0.1, 4.0)
    z = randn(4, 3, 2, stream="z")
    first = D.sample_sde(denoiser(p), x, sigmas, z)
    assert torch.equal(first, D.sample_sde(denoiser(p), x, sigmas, z))
    with pytest.raises(ValueError, match="noise must have shape"):
        D.sample_sde(denoiser(p), x, sigmas, z[1:])


def test_guidance_goes_beyond():
    a, b = randn(3, 2), randn(3, 2, stream="b")
    torch.testing.assert_close(D.guided(a, b, 0.0), b)
    torch.testing.assert_close(D.guided(a, b, 1.0), a)
    torch.testing.assert_close(D.guided(a, b, 3.0), 3 * a - 2 * b)


def test_levels_that_do_not_lead_to_the_data_are_refused():
    x = randn(3, 2)
    with pytest.raises(ValueError, match="path must rise"):
        D.sample_ddim(lambda x, a: x, x, torch.tensor([0.5, 0.4]))
    with pytest.raises(ValueError, match="sigmas must fall"):
        D.sample_ode(lambda x, s: x, x, torch.tensor([0.5, 0.6]))
    with pytest.raises(ValueError, match="alpha_bar_next"):
        D.ddim_step(x, x, 0.5, 0.4)
    with pytest.raises(ValueError, match="euler, heun"):
        D.sample_ode(lambda x, s: x, x, torch.tensor([0.5, 0.4]), "rk4")
