"""Intervals, tests and folds against SciPy and scikit-learn; formulas against
simulation and enumeration."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold
from torch import Tensor

from lbdl.foundations import generalization as G
from lbdl.foundations.learning import least_squares

DOUBLE = torch.float64


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE
    )


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# --- Judging


@given(n=st.integers(2, 40), k=st.integers(2, 40), seed=st.integers(0, 9))
def test_folds_hold_every_row_out_once(n: int, k: int, seed: int) -> None:
    if k > n:
        return
    folds = G.k_folds(n, k, torch.Generator().manual_seed(seed))
    held = torch.cat([out for _, out in folds])
    assert held.sort().values.tolist() == list(range(n))
    for fit, out in folds:
        assert sorted([*fit.tolist(), *out.tolist()]) == list(range(n))
    sizes = [len(out) for _, out in folds]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("n", "k"), [(10, 3), (12, 4), (7, 7)])
def test_folds_in_order_are_scikit_learns(n: int, k: int) -> None:
    for (fit, out), (fit_peer, out_peer) in zip(
        G.k_folds(n, k), KFold(k).split(np.zeros(n)), strict=True
    ):
        assert fit.tolist() == fit_peer.tolist()
        assert out.tolist() == out_peer.tolist()


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilson_interval_is_scipys(confidence: float, device: str) -> None:
    n = 37
    low, high = G.wilson_interval(torch.arange(n + 1, device=device), n, confidence)
    for hits in range(n + 1):
        peer = scipy.stats.binomtest(hits, n).proportion_ci(
            confidence, method="wilson"
        )
        assert low[hits].item() == pytest.approx(peer.low, abs=1e-12)
        assert high[hits].item() == pytest.approx(peer.high, abs=1e-12)


def test_mcnemars_test_is_scipys_binomial_test(device: str) -> None:
    b, c = torch.meshgrid(
        torch.arange(25, device=device),
        torch.tensor([0, 1, 7, 90, 1000], device=device),
        indexing="ij",
    )
    found = G.mcnemar_test(b, c)
    assert found.shape == b.shape and found.dtype == DOUBLE
    for i, j, p in zip(b.flatten(), c.flatten(), found.flatten(), strict=True):
        n = int(i + j)
        peer = scipy.stats.binomtest(int(i), n).pvalue if n else 1.0
        assert p.item() == pytest.approx(peer, rel=1e-9, abs=1e-12)
    assert torch.equal(found, G.mcnemar_test(c, b))


def test_wilson_interval_covers_as_often_as_it_says() -> None:
    n, hits = 60, torch.arange(61)
    low, high = G.wilson_interval(hits, n)
    cover = []
    for p in np.linspace(0.05, 0.95, 181):
        covered = ((low <= p) & (p <= high)).numpy()
        cover.append(scipy.stats.binom.pmf(hits.numpy(), n, p)[covered].sum())
    assert np.mean(cover) == pytest.approx(0.95, abs=0.005)
    assert min(cover) > 0.91


# --- Augmentation


@given(down=st.integers(-6, 6), right=st.integers(-6, 6))
def test_shift_moves_every_pixel(down: int, right: int) -> None:
    images = torch.arange(2 * 4 * 5).view(2, 4, 5) + 1
    found = G.shift(images, down, right)
    assert found.shape == images.shape
    for i in range(4):
        for j in range(5):
            inside = 0 <= i - down < 4 and 0 <= j - right < 5
            expected = images[:, i - down, j - right] if inside else torch.zeros(2)
            assert found[:, i, j].tolist() == expected.tolist()


# --- Bias, variance, double descent


@given(seed=st.integers(0, 100), fits=st.integers(2, 30))
def test_bias_and_variance_add_up(seed: int, fits: int) -> None:
    predictions, truth = randn(fits, 3, 8, seed=seed), randn(3, 8, seed=seed + 1)
    parts = G.bias_variance(predictions, truth)
    close(
        parts.bias_squared + parts.variance, (predictions - truth).square().mean(0)
    )
    close(parts.variance, predictions.var(0, correction=0))
    close(parts.bias_squared, (predictions.mean(0) - truth).square())


def test_bias_and_variance_of_a_shrunk_mean_have_formulas() -> None:
    """f = a mean of 10 normal(3, 2^2): bias 3 (a - 1), variance a^2 4 / 10."""
    samples = 3 + 2 * randn(200_000, 10)
    parts = G.bias_variance(
        0.8 * samples.mean(-1, keepdim=True), torch.tensor([3.0], dtype=DOUBLE)
    )
    assert parts.bias_squared.item() == pytest.approx(0.36, rel=0.02)
    assert parts.variance.item() == pytest.approx(0.256, rel=0.02)


def test_isotropic_risk_by_simulation() -> None:
    n, d, noise, fits = 12, 40, 0.5, 4000
    b = randn(d) / math.sqrt(d)
    x = randn(fits, n, d, seed=1)
    y = x @ b + noise * randn(fits, n, seed=2)
    for p in (0, 3, 7, 20, 40):
        w = torch.zeros(fits, d, dtype=DOUBLE)
        if p:
            w[:, :p] = least_squares(x[..., :p], y.unsqueeze(-1)).squeeze(-1)
        measured = (w - b).square().sum(-1) + noise**2  # the exact risk of each fit
        formula = G.isotropic_risk(
            torch.tensor(p),
            n,
            b[:p].square().sum(),
            b[p:].square().sum() + noise**2,
        )
        error = measured.std() / math.sqrt(fits)
        assert abs(measured.mean() - formula) < 4 * error + 1e-12


def test_isotropic_risk_at_the_threshold_and_far_beyond() -> None:
    found = G.isotropic_risk(
        torch.tensor([0, 8, 9, 10, 11, 12, 10**6]), 10, 1.0, 0.3
    )
    assert found.dtype == DOUBLE
    assert found[0] == 0.3
    assert found[1].isfinite() and found[5].isfinite()
    assert found[2:5].isinf().all()
    assert found[6].item() == pytest.approx(1.3, rel=1e-4)


@pytest.mark.parametrize("p", [0, 8, 9, 10, 11, 12])
def test_the_risk_has_a_gradient_where_it_is_finite(p: int) -> None:
    explained = torch.tensor(1.0, dtype=DOUBLE, requires_grad=True)
    noise = torch.tensor(0.3, dtype=DOUBLE, requires_grad=True)
    risk = G.isotropic_risk(torch.tensor(p), 10, explained, noise)
    risk.backward()
    assert explained.grad.isfinite() and noise.grad.isfinite()


# --- Refusals

X = torch.ones(4, 3)
BAD = [
    (lambda: G.bias_variance(X[:1], X[0]), ValueError, "predictions must have at least 2 along dim 0"),
    (lambda: G.isotropic_risk(torch.tensor([-1]), 4, 1.0, 1.0), ValueError, "used must be >= 0 everywhere, got -1"),
    (lambda: G.k_folds(5, 6), ValueError, "k must be a whole number >= 2 and <= 5, got 6"),
    (lambda: G.k_folds(5, 1), ValueError, "k must be a whole number >= 2 and <= 5, got 1"),
    (lambda: G.wilson_interval(torch.tensor(5), 4), ValueError, "hits must be at most n"),
    (lambda: G.wilson_interval(torch.tensor(2), 4, 1.0), ValueError, "confidence must be finite and > 0 and < 1"),
    (lambda: G.shift(torch.ones(3), 1, 1), ValueError, r"images must be \(..., H, W\)"),
    (lambda: G.mcnemar_test(torch.ones(1), torch.ones(2)), ValueError, "only_second must have the shape of only_first"),
    (lambda: G.mcnemar_test(torch.ones(1) / 2, torch.ones(1)), ValueError, "only_first must hold whole numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), BAD)
def test_bad_input_is_named(
    call: Callable, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call()
