"""Tails against scipy, quadrature and closed forms, bounds against the tails."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from lbdl.geometry import concentration

DIMENSIONS = (1, 2, 7, 64, 200, 5000)
TAILS = (
    concentration.norm_tail,
    concentration.norm_tail_chernoff,
    concentration.norm_tail_bound,
    concentration.inner_product_tail,
    concentration.inner_product_tail_chernoff,
    concentration.inner_product_tail_bound,
)


@pytest.mark.parametrize("n", DIMENSIONS)
@pytest.mark.parametrize("eps", [0.01, 0.2, 0.9, 1.0, 3.0])
def test_norm_tail_is_the_chi_square_tail(n, eps, device):
    law = stats.chi2(n, scale=1 / n)
    truth = law.sf(1 + eps) + law.cdf(max(1 - eps, 0))
    found = concentration.norm_tail(
        torch.tensor(float(n), device=device),
        torch.tensor(eps, dtype=torch.float64, device=device),
    )
    assert found.device.type == device
    assert float(found) == pytest.approx(
        truth, rel=3e-9, abs=1e-300
    )  # torch: 1.4e-9 off mpmath


def test_the_numbers_of_the_text():
    assert float(concentration.norm_tail(200, 0.2)) == pytest.approx(
        0.045, abs=5e-4
    )
    assert float(concentration.norm_tail_chernoff(200, 0.2)) == pytest.approx(
        0.27, abs=5e-3
    )
    assert float(concentration.norm_tail_bound(200, 0.2)) == pytest.approx(
        2 * math.exp(-1), rel=1e-12
    )


@given(n=st.integers(1, 5000), eps=st.floats(0.01, 0.99))
def test_each_norm_bound_lies_above_the_last(n, eps):
    exact, chernoff, bound = (
        concentration.norm_tail(n, eps),
        concentration.norm_tail_chernoff(n, eps),
        concentration.norm_tail_bound(n, eps),
    )
    assert 0 <= exact <= chernoff <= bound


@given(n=st.integers(1, 5000), eps=st.floats(0.01, 0.99))
def test_each_inner_product_bound_lies_above_the_last(n, eps):
    exact, direct = (
        concentration.inner_product_tail(n, eps),
        concentration.inner_product_tail_chernoff(n, eps),
    )
    assert 0 <= exact <= direct <= concentration.inner_product_tail_bound(n, eps)


@pytest.mark.parametrize("eps", [0.05, 0.5, 2.0])
def test_chernoff_is_the_best_exponent(eps):
    n, s = 40, torch.linspace(1e-4, 20 - 1e-4, 200_001, dtype=torch.float64)
    sides = [(-s * (1 + eps) - n / 2 * torch.log1p(-2 * s / n)).min()]
    if eps < 1:
        s = torch.linspace(0, 400, 400_001, dtype=torch.float64)
        sides.append((s * (1 - eps) - n / 2 * torch.log1p(2 * s / n)).min())
    assert float(concentration.norm_tail_chernoff(n, eps)) == pytest.approx(
        float(sum(side.exp() for side in sides)), rel=1e-6
    )
    s = torch.linspace(0, n - 1e-3, 400_001, dtype=torch.float64)
    direct = 2 * (-s * eps - n / 2 * torch.log1p(-((s / n) ** 2))).min().exp()
    assert float(
        concentration.inner_product_tail_chernoff(n, eps)
    ) == pytest.approx(float(direct), rel=1e-6)


@pytest.mark.parametrize("eps", [0.001, 0.1, 1.0, 5.0])
def test_inner_product_tail_in_closed_form(eps):
    one = integrate.quad(
        lambda t: 2 / math.pi * special.k0(t), eps, math.inf, epsabs=1e-13
    )[0]
    assert float(concentration.inner_product_tail(1, eps)) == pytest.approx(
        one, rel=1e-7
    )  # a product of two normal numbers
    assert float(concentration.inner_product_tail(2, eps)) == pytest.approx(
        math.exp(-2 * eps), rel=1e-9
    )  # Laplace


@pytest.mark.parametrize("n", [3, 50, 2000])
def test_inner_product_tail_by_quadrature(n):
    eps = 2.5 / math.sqrt(n)
    law = stats.chi2(n)
    low, high = law.ppf(1e-16), law.isf(1e-16)
    truth = integrate.quad(
        lambda q: law.pdf(q) * special.erfc(eps * n / math.sqrt(2 * q)),
        low,
        high,
        epsabs=1e-13,
    )[0]
    assert float(concentration.inner_product_tail(n, eps)) == pytest.approx(
        truth, rel=1e-8
    )


def test_tails_broadcast_and_keep_the_dtype(device):
    n = torch.tensor([[10.0], [100.0]], device=device)
    eps = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float32, device=device)
    for tail in TAILS:
        found = tail(n, eps)
        assert found.shape == (2, 3)
        assert found.dtype == torch.float32
        assert float(found[1, 2]) == pytest.approx(float(tail(100, 0.3)), rel=1e-4)


@pytest.mark.parametrize("tail", TAILS)
def test_tails_have_gradients_in_eps(tail):
    eps = torch.tensor([0.05, 0.2, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e: tail(30, e), eps)


@pytest.mark.parametrize(
    ("n", "eps"),
    [
        (0, 0.1),
        (math.nan, 0.1),
        (math.inf, 0.1),
        (5, 0.0),
        (5, -1.0),
        (5, math.nan),
    ],
)
def test_tails_refuse_what_has_no_tail(n, eps):
    for tail in TAILS:
        with pytest.raises(ValueError, match="must be"):
            tail(n, eps)


def test_the_round_bound_refuses_eps_of_one():
    with pytest.raises(ValueError, match="eps must be finite and > 0 and < 1"):
        concentration.norm_tail_bound(5, 1.0)
    with pytest.raises(TypeError, match="eps must be a floating tensor"):
        concentration.norm_tail(5, torch.tensor([1, 2]))
