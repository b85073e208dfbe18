"""Tables of noise: against the papers' numbers, products written out, diffusers."""

import math

import pytest
import torch

from lbdl.core import generator
from lbdl.frontiers import diffusion as D

pytestmark = pytest.mark.filterwarnings("error")


def randn(*shape, stream="x"):
    return torch.randn(shape, generator=generator(stream), dtype=torch.float64)


def test_the_table_of_ddpm():
    betas = D.linear_betas(1000)
    left = D.alphas_bar(betas)
    assert betas.dtype == torch.float64 and left.shape == (1001,)
    assert float(left[0]) == 1
    assert float(left[-1]) == pytest.approx(4.0358e-5, rel=1e-4)
    by_hand = 1.0
    for t, beta in enumerate(betas.tolist(), start=1):
        by_hand *= 1 - beta
        assert float(left[t]) == pytest.approx(by_hand, rel=1e-12)


def test_the_cosine_table_is_the_cosine_but_for_its_end():
    T, s = 200, 0.008
    left = D.alphas_bar(D.cosine_betas(T))
    f = [math.cos(math.pi / 2 * (t / T + s) / (1 + s)) ** 2 for t in range(T + 1)]
    for t in range(T):
        assert float(left[t]) == pytest.approx(f[t] / f[0], rel=1e-9)
    assert float(D.cosine_betas(T).max()) == 0.999
    assert float(left[-1]) > 0


def test_the_tables_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    for name, betas in (
        ("linear", D.linear_betas(1000)),
        ("squaredcos_cap_v2", D.cosine_betas(1000)),
    ):
        peer = diffusers.DDPMScheduler(1000, beta_schedule=name)
        torch.testing.assert_close(
            D.alphas_bar(betas)[1:].float(), peer.alphas_cumprod, rtol=1e-4, atol=0
        )


def test_by_default_levels_are_those_of_the_paper():
    """Karras et al. 2022, table 1: from 80 to 0.002, in equal steps of the seventh root."""
    levels = D.karras_sigmas(18)
    roots = levels ** (1 / 7)
    even = torch.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), 18, dtype=levels.dtype)
    torch.testing.assert_close(roots, even)


@pytest.mark.parametrize(("T", "n"), [(1000, 20), (1000, 7), (10, 10), (5, 1)])
def test_spaced_steps_are_even_and_end_at_the_data(T, n):
    steps = D.spaced_steps(T, n)
    assert int(steps[0]) == T and int(steps[-1]) == 0 and len(steps) == n + 1
    gaps = (steps[:-1] - steps[1:]).tolist()
    assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1
    with pytest.raises(ValueError, match="n must be"):
        D.spaced_steps(T, T + 1)


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_sigmas_are_even_after_the_root(rho):
    sigmas = D.karras_sigmas(9, 0.01, 50, rho)
    roots = sigmas ** (1 / rho)
    torch.testing.assert_close(
        roots, torch.linspace(50 ** (1 / rho), 0.01 ** (1 / rho), 9).double(),
        rtol=1e-6, atol=1e-6,
    )  # fmt: skip
    assert (float(sigmas[0]), float(sigmas[-1])) == (50, 0.01)
    with pytest.raises(ValueError, match="below high"):
        D.karras_sigmas(3, 2.0, 1.0)


@pytest.mark.parametrize("level", [0.3, torch.tensor([0.2, 0.9, 0.5])])
def test_noise_is_put_in_and_taken_out(level, device):
    x0, eps = randn(3, 4).to(device), randn(3, 4, stream="eps").to(device)
    if isinstance(level, torch.Tensor):
        level = level.to(device).double()
    x = D.diffuse(x0, eps, level)
    torch.testing.assert_close(D.clean_from_eps(x, eps, level), x0)
    torch.testing.assert_close(D.eps_from_clean(x, x0, level), eps)


def test_noise_step_by_step_has_the_law_of_noise_at_once():
    """x_t = sqrt(1 - beta) x_(t-1) + sqrt(beta) eps, followed by mean and variance."""
    betas = D.linear_betas(50)
    mean, variance = 1.0, 0.0
    for t, beta in enumerate(betas.tolist(), start=1):
        mean, variance = mean * (1 - beta) ** 0.5, (1 - beta) * variance + beta
        left = float(D.alphas_bar(betas)[t])
        one, zero = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
        assert mean == pytest.approx(float(D.diffuse(one, zero, left)))
        assert variance**0.5 == pytest.approx(float(D.diffuse(zero, one, left)))
