"""Dimensions by search, distortions against scipy, matrices by their moments."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import pdist
from sklearn.random_projection import johnson_lindenstrauss_min_dim

from lbdl.geometry import johnson_lindenstrauss as jl

MATRICES = {"gaussian": jl.gaussian_matrix, "rademacher": jl.rademacher_matrix}


def chance(seed=0, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


def points(*shape, seed=0, device="cpu", dtype=torch.float64):
    return torch.randn(*shape, generator=chance(seed), dtype=torch.float64).to(
        device, dtype
    )


# --- Dimensions -------------------------------------------------------------------------------------------------------


def test_dimensions_of_the_text():
    assert jl.sufficient_dimension(200, 0.5) == 509
    assert jl.sufficient_dimension(10**6, 0.1) == 33158
    assert jl.sufficient_dimension(200, 0.5, 16) == 340
    assert jl.sufficient_dimension(512, 0.5, 24) == math.ceil(
        24 * math.log(512) * 4
    )
    assert johnson_lindenstrauss_min_dim(200, eps=0.5) == 254
    assert johnson_lindenstrauss_min_dim(10**6, eps=0.1) == 11841


@given(n=st.integers(2, 10**9), eps=st.floats(0.01, 0.99))
def test_dasgupta_gupta_is_scikit_learns_rule_rounded_up(n, eps):
    assert jl.dasgupta_gupta_dimension(n, eps) - johnson_lindenstrauss_min_dim(
        n, eps=eps
    ) in (0, 1)
    assert jl.dasgupta_gupta_dimension(n, eps) <= jl.sufficient_dimension(n, eps)


@settings(max_examples=40)
@given(n=st.integers(2, 10**6), eps=st.floats(0.02, 0.95))
def test_union_dimension_is_the_least_that_the_union_bound_grants(n, eps):
    found = jl.union_dimension(n, eps)

    def failure(k):
        return math.comb(n, 2) * (
            stats.chi2.sf(k * (1 + eps), k) + stats.chi2.cdf(k * (1 - eps), k)
        )

    assert failure(found) <= 1.000001 / n
    assert found == 1 or failure(found - 1) > 0.999999 / n
    assert found <= jl.sufficient_dimension(n, eps)


def test_union_dimension_at_a_chosen_failure():
    assert jl.union_dimension(1000, 0.3, failure=1.0) < jl.union_dimension(
        1000, 0.3
    )
    assert jl.union_dimension(2, 0.9, failure=1.0) == 1


@pytest.mark.parametrize("n", [2, 3, 10, 57])
def test_the_simplex_meets_welch(n):
    """n + 1 vectors to the corners of a simplex in R^n have inner products -1/n: no fewer dimensions would do."""
    assert jl.necessary_dimension(n + 1, 1 / n) == n


def test_unbiased_bases_meet_the_second_power():
    """Three mutually unbiased bases of R^4: twelve vectors with inner products 0 and 1/2."""
    assert jl.necessary_dimension(12, 0.5) == 4


@given(n=st.integers(2, 10**6), eps=st.floats(0.02, 0.9))
def test_necessary_lies_below_sufficient(n, eps):
    assert (
        1
        <= jl.necessary_dimension(n, eps)
        <= min(n, jl.union_dimension(n, eps / 2))
    )
    assert jl.necessary_dimension(n, eps) <= jl.necessary_dimension(2 * n, eps)


@pytest.mark.parametrize(
    ("n", "eps", "power"), [(5000, 0.2, 2), (100, 0.5, 3), (10**6, 0.5, 9)]
)
def test_necessary_dimension_holds_for_every_power(n, eps, power):
    bounds = [next(d for d in range(1, n + 1) if math.comb(d + k - 1, k) >= n / (1 + (n - 1) * eps ** (2 * k)))
              for k in range(1, 30)]  # fmt: skip
    assert jl.necessary_dimension(n, eps) == max(bounds)
    assert max(bounds[: power - 1]) < max(
        bounds
    )  # the lower powers alone would not do


def test_random_vectors_never_beat_the_lower_bound():
    n, d = 300, 12
    u = torch.nn.functional.normalize(points(n, d), dim=-1)
    worst = float((u @ u.T - torch.eye(n)).abs().max())
    assert jl.necessary_dimension(n, worst) <= d


def test_embedding_dimension():
    assert jl.embedding_dimension(512) == pytest.approx(52, abs=0.5)
    assert jl.embedding_dimension(1) == 0
    assert pytest.approx(8.33, abs=0.01) == 2 / 0.24
    assert jl.embedding_dimension(3) / math.log(3) == pytest.approx(8.3, abs=0.02)


@pytest.mark.parametrize("call", [
    lambda: jl.sufficient_dimension(1, 0.1), lambda: jl.sufficient_dimension(10, 1.0),
    lambda: jl.sufficient_dimension(10, 0.1, 0), lambda: jl.dasgupta_gupta_dimension(1, 0.1),
    lambda: jl.union_dimension(10, 0.0), lambda: jl.union_dimension(10, 0.1, 0.0),
    lambda: jl.necessary_dimension(10, math.nan), lambda: jl.embedding_dimension(0),
])  # fmt: skip
def test_dimensions_refuse_nonsense(call):
    with pytest.raises(ValueError, match="must be"):
        call()


# --- Distortions ------------------------------------------------------------------------------------------------------


def test_distortions_against_scipy(device):
    x, y = points(2, 9, 30, device=device), points(2, 9, 4, seed=1, device=device)
    found = jl.distortions(x, y)
    assert found.shape == (2, 36)
    for one, a, b in zip(found.cpu(), x.cpu(), y.cpu(), strict=True):
        np.testing.assert_allclose(one, (pdist(b) / pdist(a)) ** 2 - 1, rtol=1e-10)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
def test_distortions_do_not_see_motions(seed, scale):
    x = points(6, 5, seed=seed)
    turn = torch.linalg.qr(points(5, 5, seed=seed + 1)).Q
    torch.testing.assert_close(
        jl.distortions(x, scale * x @ turn + 3),
        torch.full((15,), scale**2 - 1).double(),
    )


def test_equal_points():
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    assert jl.distortions(x, x).tolist() == [0, 0, 0]
    torn = jl.distortions(x, torch.tensor([[1.0], [2.0], [0.0]]))
    assert torn[0] == math.inf
    assert torn[1:].isfinite().all()


def test_distortions_of_near_points_do_not_cancel():
    x = 1000 + 1e-3 * points(5, 8, dtype=torch.float32)
    assert float(jl.distortions(x, x * 2).sub(3).abs().max()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_distortions_in_short_dtypes(dtype, device):
    x, y = (
        points(5, 6, device=device, dtype=dtype),
        points(5, 3, seed=2, device=device, dtype=dtype),
    )
    assert jl.distortions(x, y).dtype == dtype
    truth = jl.distortions(x.double(), y.double())
    torch.testing.assert_close(
        jl.distortions(x, y).double(), truth, rtol=0.05, atol=0.05
    )


def test_distortions_have_gradients():
    x, y = points(4, 3).requires_grad_(), points(4, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(jl.distortions, (x, y))


def test_distortions_refuse_what_is_no_pair_of_clouds():
    with pytest.raises(ValueError, match="x and y must be"):
        jl.distortions(points(4, 3), points(5, 3))
    with pytest.raises(ValueError, match="N >= 2"):
        jl.distortions(points(1, 3), points(1, 3))
    with pytest.raises(
        TypeError, match=r"y must be a floating tensor, got torch\.int64"
    ):
        jl.distortions(points(4, 3), torch.ones(4, 3, dtype=torch.int64))


# --- Matrices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kurtosis"), [("gaussian", 3), ("rademacher", 1)])
def test_moments_of_the_entries(name, kurtosis, device):
    scaled = MATRICES[name](
        500, 600, generator=chance(device=device), device=device
    ) * math.sqrt(500)
    assert scaled.shape == (500, 600)
    assert abs(float(scaled.mean())) < 5 / math.sqrt(300_000)
    assert float((scaled**2).mean()) == pytest.approx(1, abs=0.02)
    assert float((scaled**4).mean()) == pytest.approx(kurtosis, abs=0.1)


@pytest.mark.parametrize("make", MATRICES.values())
def test_matrices_come_from_the_generator_alone(make):
    first, again, other = (
        make(5, 6, generator=chance(seed), dtype=torch.float64)
        for seed in (1, 1, 2)
    )
    assert first.dtype == torch.float64
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("make", MATRICES.values())
@pytest.mark.parametrize(("n", "d"), [(0, 5), (5, 0), (2.0, 5), (True, 5)])
def test_maps_refuse_sizes_that_are_none(make, n, d):
    whole = isinstance(n, int) and not isinstance(n, bool)
    with pytest.raises(
        ValueError if whole else TypeError, match="must be a whole number"
    ):
        make(n, d)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_distortions_do_not_know_the_scale(scale):
    """A19: below 1e-23 float32 called all distances equal, distortion 0."""
    x, y = (
        points(5, 9, dtype=torch.float32),
        points(5, 4, seed=1, dtype=torch.float32),
    )
    torch.testing.assert_close(
        jl.distortions(x * scale, y * scale), jl.distortions(x, y)
    )
