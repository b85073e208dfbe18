"""The maps of `lbdl.models.softmax` against torch, and against adaptive quadrature and trials with noise."""

import pytest
import torch

from lbdl.models.softmax import (
    logsumexp,
    perturb_max,
    sample_perturb_max,
    softmax,
    softmax_jacobian,
)
from tests.models.laws import (
    EveryMap,
    LongMap,
    ShiftInvariantMap,
    SmoothMap,
    assert_equal,
    only,
    scores,
)

MAPS = {
    "softmax": softmax,
    "cool softmax": lambda x, dim=-1: softmax(x, dim, temperature=0.5),
    "normal noise": lambda x, dim=-1: perturb_max(x, "normal", dim),
    "gumbel noise": lambda x, dim=-1: perturb_max(x, "gumbel", dim),
}


@only(MAPS)
class TestEveryMap(EveryMap, SmoothMap, ShiftInvariantMap):
    """All of them."""


@only(MAPS, but="normal noise")
class TestLongMaps(LongMap):
    """Normal noise takes 161 nodes for each score: as many as fit the memory are tried above."""


@pytest.mark.parametrize("name", ["softmax", "normal noise"])
def test_plain_maps_compile_to_one_graph(name):
    x = scores(4, 6)
    compiled = torch.compile(MAPS[name], backend="eager", fullgraph=True)
    assert_equal(compiled(x), MAPS[name](x))


# Softmax


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_softmax_and_logsumexp_equal_torch(temperature):
    x = scores(10, 6, spread=5)
    assert_equal(
        softmax(x, temperature=temperature), torch.softmax(x / temperature, -1)
    )
    assert_equal(
        logsumexp(x, temperature=temperature),
        temperature * torch.logsumexp(x / temperature, -1),
    )
    assert_equal(logsumexp(x, 0), torch.logsumexp(x, 0))


def test_logsumexp_is_a_smooth_maximum_whose_gradient_is_softmax():
    x = scores(10, 6).requires_grad_()
    smooth = logsumexp(x, temperature=0.3)
    assert (smooth > x.amax(-1)).all() and (
        smooth < x.amax(-1) + 0.3 * torch.log(torch.tensor(6.0))
    ).all()
    smooth.sum().backward()
    assert_equal(x.grad, softmax(x.detach(), temperature=0.3))
    assert_equal(logsumexp(x.detach(), temperature=1e-4), x.detach().amax(-1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, torch.nan, torch.inf])
@pytest.mark.parametrize("function", [softmax, logsumexp])
def test_bad_temperature_is_refused(function, temperature):
    with pytest.raises(ValueError, match="temperature must be finite and > 0"):
        function(torch.zeros(3), temperature=temperature)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_logsumexp_of_a_hundred_thousand_in_half_precision(dtype):
    found = logsumexp(torch.zeros(100_000, dtype=dtype)).item()
    assert found == pytest.approx(11.5129, rel=torch.finfo(dtype).eps)


# Jacobian


def test_the_jacobian_equals_autograd_through_torch():
    x = scores(4, 7)
    through = torch.func.vmap(torch.func.jacrev(lambda z: torch.softmax(z, -1)))
    assert_equal(softmax_jacobian(torch.softmax(x, -1)), through(x), atol=1e-9)


def test_jacobian_norm_of_softmax_measures_its_spread():
    p = softmax(scores(8, 5))
    assert_equal(
        softmax_jacobian(p).abs().sum((-1, -2)) / 2, 1 - p.square().sum(-1)
    )


def test_jacobian_of_half_precision_keeps_its_dtype():
    p = softmax(scores(2, 5).half())
    assert softmax_jacobian(p).dtype == torch.float16
    assert_equal(
        softmax_jacobian(p).double(),
        softmax_jacobian(softmax(p.double().log())),
        atol=2e-3,
    )


@pytest.mark.parametrize(
    "p", [[0.5, 0.4], [1.5, -0.5], [1.0, 2.0], [torch.nan, 1.0]]
)
def test_jacobian_refuses_what_is_no_distribution(p):
    with pytest.raises(ValueError, match="p must be probabilities"):
        softmax_jacobian(torch.tensor(p))


# Noise


def test_normal_noise_with_two_classes_is_the_normal_distribution_function():
    x = torch.tensor(
        [[0.0, 0.0], [1.0, 0.0], [3.0, -2.0], [0.0, 12.0]], dtype=torch.float64
    )
    assert_equal(
        perturb_max(x)[:, 0], torch.special.ndtr((x[:, 0] - x[:, 1]) / 2**0.5)
    )


def test_normal_noise_by_adaptive_quadrature():
    from scipy.integrate import quad
    from scipy.stats import norm

    x = scores(5, spread=2)
    for i, own in enumerate(x.tolist()):
        others = [value for j, value in enumerate(x.tolist()) if j != i]

        def wins(y, own=own, others=others):
            return (
                norm.pdf(y - own) * norm.cdf([y - other for other in others]).prod()
            )

        value, _ = quad(wins, own - 12, own + 12, epsabs=1e-13, limit=500)
        assert perturb_max(x)[i].item() == pytest.approx(value, abs=1e-11)


@pytest.mark.parametrize("n", [2, 30, 2000])
def test_normal_noise_sums_to_one_for_any_number_of_scores(n):
    p = perturb_max(scores(3, n, spread=0.5))
    assert_equal(p.sum(-1), torch.ones(3, dtype=torch.float64), atol=1e-11)


def test_normal_noise_is_monotone():
    x = scores(20, 8).sort().values
    assert (perturb_max(x).diff() > 0).all()


@pytest.mark.parametrize("noise", ["gumbel", "normal"])
def test_trials_come_to_the_exact_probabilities(noise):
    x = scores(4, 6)
    samples = 40_000
    p = perturb_max(x, noise)
    frequency = sample_perturb_max(
        x, samples, noise, generator=torch.Generator().manual_seed(0)
    )
    assert (
        (frequency - p).abs() < 5 * (p * (1 - p) / samples).sqrt()
    ).all()  # five standard errors
    assert_equal(frequency.sum(-1), torch.ones(4, dtype=torch.float64))


def test_trials_never_choose_a_masked_score_and_obey_dim_and_generator():
    x = scores(3, 4).masked_fill(
        torch.tensor([False, True, False, False]), -torch.inf
    )
    first, again = (
        sample_perturb_max(
            x.t(), 50, dim=0, generator=torch.Generator().manual_seed(7)
        )
        for _ in range(2)
    )
    assert_equal(first, again, atol=0)
    assert (first[1] == 0).all()
    assert_equal(first.sum(0), torch.ones(3, dtype=torch.float64))


def test_noise_refuses_bad_arguments():
    with pytest.raises(
        ValueError, match="noise must be one of gumbel, normal, got 'cauchy'"
    ):
        perturb_max(torch.zeros(3), "cauchy")
    with pytest.raises(ValueError, match="noise must be one of"):
        sample_perturb_max(torch.zeros(3), 5, "cauchy")
    with pytest.raises(ValueError, match="nodes must be a whole number >= 2"):
        perturb_max(torch.zeros(3), nodes=1)
    with pytest.raises(ValueError, match="samples must be a whole number >= 1"):
        sample_perturb_max(torch.zeros(3), 0)
