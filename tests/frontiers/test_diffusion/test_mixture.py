"""The known density: against torch's distributions, autograd and quadrature."""

import pytest
import torch
from torch import distributions as td

from lbdl.core import generator
from lbdl.frontiers import diffusion as D

pytestmark = pytest.mark.filterwarnings("error")


def randn(*shape, stream="x"):
    return torch.randn(shape, generator=generator(stream), dtype=torch.float64)


def mixture(K=4, d=3, device="cpu"):
    return D.Mixture(
        randn(K, stream="w").softmax(0).to(device),
        2 * randn(K, d, stream="m").to(device),
        (0.1 + randn(K, stream="v").abs()).to(device),
    )


def by_torch(p):
    parts = td.MultivariateNormal(
        p.means, covariance_matrix=torch.diag_embed(
            p.variances[:, None].expand_as(p.means)
        ),
    )  # fmt: skip
    return td.MixtureSameFamily(td.Categorical(p.weights), parts)


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (0.8, 0.6), (1.0, 5.0)])
def test_density_and_score(device, a, b):
    p = D.noised(mixture(device=device), a, b)
    x = (3 * randn(7, 3)).to(device).requires_grad_()
    log_p = D.log_density(p, x)
    torch.testing.assert_close(log_p, by_torch(p).log_prob(x))
    (slope,) = torch.autograd.grad(by_torch(p).log_prob(x).sum(), x)
    torch.testing.assert_close(D.score(p, x), slope)
    r = D.responsibilities(p, x)
    torch.testing.assert_close(r.sum(-1), torch.ones_like(r[:, 0]))


def test_far_away_the_score_is_that_of_the_nearest_component():
    p = mixture()
    x = torch.full((1, 3), 1e4, dtype=torch.float64)
    widest = int(p.variances.argmax())
    torch.testing.assert_close(
        D.score(p, x), (p.means[widest] - x) / p.variances[widest]
    )


def test_noised_has_the_moments_of_noised_samples():
    p, n = mixture(), 200_000
    x = D.sample(p, n, generator("sample"))
    noisy = 0.8 * x + 0.6 * randn(n, 3, stream="noise")
    q = D.noised(p, 0.8, 0.6)
    mean = q.weights @ q.means
    spread = q.weights @ (q.variances[:, None] + (q.means - mean) ** 2)
    torch.testing.assert_close(noisy.mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(noisy.var(0), spread, rtol=0.03, atol=0)


@pytest.mark.parametrize("b", [0.3, 2.0])
def test_posterior_mean_by_quadrature_tweedie_and_the_posterior(b):
    a, p = 0.7, mixture(d=1)
    x = torch.linspace(-4, 4, 9, dtype=torch.float64)[:, None]
    grid = torch.linspace(-15, 15, 20001, dtype=torch.float64)
    prior = D.log_density(p, grid[:, None]).exp()
    like = (-((x - a * grid) ** 2) / (2 * b * b)).exp()
    mean = (prior * like * grid).sum(-1) / (prior * like).sum(-1)
    found = D.posterior_mean(p, x, a, b)
    torch.testing.assert_close(found[:, 0], mean, rtol=1e-9, atol=1e-9)
    noisy = D.noised(p, a, b)
    torch.testing.assert_close(found, (x + b * b * D.score(noisy, x)) / a)
    q = D.posterior(p, x, a, b)
    torch.testing.assert_close((q.weights[..., None] * q.means).sum(-2), found)
    joint = (prior * like).log()
    apart = D.log_density(q, grid[:, None, None]).T - joint  # constant a row
    middle = (grid > -3) & (grid < 3)
    assert float(apart[:, middle].std(dim=-1).max()) < 1e-9


def test_atoms_give_back_the_nearest_of_them():
    points = randn(20, 5)
    p = D.Mixture(
        torch.full((20,), 0.05, dtype=torch.float64),
        points,
        torch.zeros(20).double(),
    )
    near = D.posterior_mean(p, points + 1e-4 * randn(20, 5, stream="n"), 1.0, 1e-3)
    torch.testing.assert_close(near, points, rtol=0, atol=1e-9)
    far = D.posterior_mean(p, points, 1.0, 1e6)
    torch.testing.assert_close(far, points.mean(0).expand(20, 5), rtol=0, atol=1e-5)
    for wrong in (
        lambda: D.score(p, points),
        lambda: D.log_density(p, points),
        lambda: D.posterior_mean(p, points, 1.0, 0.0),
    ):
        with pytest.raises(ValueError, match="variances > 0"):
            wrong()


def test_samples_come_from_the_components():
    p = D.Mixture(
        torch.tensor([0.2, 0.8]), torch.tensor([[-9.0], [9.0]]), torch.ones(2)
    )
    x = D.sample(p, 50_000, generator("sample"))
    right = x[:, 0] > 0
    assert float(right.float().mean()) == pytest.approx(0.8, abs=0.01)
    assert float(x[right].mean()) == pytest.approx(9, abs=0.03)
    assert float(x[right].var()) == pytest.approx(1, rel=0.05)
    batch = D.posterior(p, x[:3], 1.0, 1.0)
    with pytest.raises(ValueError, match="batch"):
        D.sample(batch, 3)


def test_what_is_no_mixture_is_refused():
    w, m, v = torch.ones(1), torch.zeros(1, 2), torch.ones(1)
    with pytest.raises(ValueError, match="sum to 1"):
        D.Mixture(w / 2, m, v)
    with pytest.raises(ValueError, match=">= 0"):
        D.Mixture(w, m, -v)
    with pytest.raises(ValueError, match="variances must be"):
        D.Mixture(w, m, torch.ones(2))
