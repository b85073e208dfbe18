"""Gaussians against quadrature, sampling, SciPy and torch.distributions; plain against fast; the edges."""

import math
from collections.abc import Callable

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.distributions.kl import kl_divergence as torch_kl

from lbdl.geometry import gaussians as g
from lbdl.geometry.gaussians import Gaussian
from tests.geometry.distances import (
    EYE,
    F64,
    SPREADS,
    ZERO,
    EveryDistance,
    draw,
    requires_right_gradients,
    requires_transforms,
    requires_zero_at_equality,
)

DISTANCES = (
    g.kl_divergence,
    g.bhattacharyya_distance,
    g.hellinger_squared,
    g.hellinger,
)


def plane_grid() -> tuple[Tensor, float]:
    """Points of a square wide enough for the Gaussians of these tests, and the area of a cell."""
    line = torch.linspace(-12, 12, 481, dtype=F64)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


def integral(values: Tensor, cell: float) -> Tensor:
    """The trapezoidal rule, which is exact to rounding for smooth functions that vanish at the edges."""
    return values.sum() * cell


# --- Density, entropy, sampling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", SPREADS)
def test_log_density_is_scipys(spread: str, device: str) -> None:
    p = draw(1, d=4, spread=spread, device=device)
    x = torch.randn(7, 4, dtype=F64)
    expected = scipy.stats.multivariate_normal(
        p.mean.cpu().numpy(), g.covariance_of(p).cpu().numpy()
    ).logpdf(x.numpy())
    torch.testing.assert_close(
        g.log_density(p, x.to(device)).cpu(),
        torch.as_tensor(expected),
        rtol=1e-12,
        atol=1e-12,
    )


def test_density_integrates_to_one_and_its_moments_are_those_given() -> None:
    p, (x, cell) = draw(2, d=2), plane_grid()
    density = g.log_density(p, x).exp()
    mean = (density[:, None] * x).sum(0) * cell
    second = (
        density[:, None, None] * (x - mean)[:, :, None] * (x - mean)[:, None, :]
    ).sum(0) * cell
    assert abs(integral(density, cell) - 1) < 1e-12
    torch.testing.assert_close(mean, p.mean, atol=1e-12, rtol=0)
    torch.testing.assert_close(second, p.covariance, atol=1e-11, rtol=0)


@pytest.mark.parametrize("spread", SPREADS)
def test_entropy_is_scipys_and_the_integral(spread: str) -> None:
    p, (x, cell) = draw(3, d=2, spread=spread), plane_grid()
    log_density = g.log_density(p, x)
    expected = scipy.stats.multivariate_normal(
        p.mean.numpy(), g.covariance_of(p).numpy()
    ).entropy()
    assert abs(g.entropy(p) - float(expected)) < 1e-12
    assert (
        abs(g.entropy(p) + integral(log_density.exp() * log_density, cell)) < 1e-11
    )


def test_no_density_of_that_variance_has_more_entropy() -> None:
    variance = 1.7
    others = (
        scipy.stats.uniform(scale=math.sqrt(12 * variance)),
        scipy.stats.laplace(scale=math.sqrt(variance / 2)),
        scipy.stats.logistic(scale=math.sqrt(3 * variance) / math.pi),
        scipy.stats.t(df=5, scale=math.sqrt(variance * 3 / 5)),
    )
    normal = g.entropy(
        Gaussian(
            torch.zeros(1, dtype=F64), variance=torch.tensor([variance], dtype=F64)
        )
    )
    for other in others:
        assert math.isclose(other.var(), variance)
        assert other.entropy() < normal


@pytest.mark.parametrize("spread", SPREADS)
def test_samples_have_the_moments(spread: str, device: str) -> None:
    p = draw(4, 2, d=3, spread=spread, device=device)
    x = g.sample(p, 200_000, torch.Generator(device).manual_seed(0))
    assert x.shape == (2, 200_000, 3)
    fitted = g.from_samples(x)
    torch.testing.assert_close(fitted.mean, p.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(
        fitted.covariance, g.covariance_of(p), atol=0.03, rtol=0.02
    )


def test_sampling_differentiates_through_the_noise() -> None:
    mean = torch.zeros(2, dtype=F64, requires_grad=True)
    variance = torch.ones(2, dtype=F64, requires_grad=True)
    x = g.sample(
        Gaussian(mean, variance=variance), 5, torch.Generator().manual_seed(1)
    )
    x.sum().backward()
    torch.testing.assert_close(mean.grad, torch.full((2,), 5.0, dtype=F64))
    torch.testing.assert_close(variance.grad, x.detach().sum(0) / 2)


def test_a_sample_on_a_line_and_a_batch_of_one() -> None:
    x = torch.randn(1, 9, 1, generator=torch.Generator().manual_seed(0)).double()
    fitted = g.from_samples(x)
    assert fitted.mean.shape == (1, 1) and fitted.covariance.shape == (1, 1, 1)
    torch.testing.assert_close(fitted.mean[0, 0], x.mean())
    torch.testing.assert_close(fitted.covariance[0, 0, 0], x.var())
    alone = g.from_samples(x[:, :1], correction=0)
    assert float(alone.covariance) == 0


def test_from_samples_is_numpys_covariance() -> None:
    x = (
        torch.randn(2, 9, 3, dtype=F64).transpose(1, 2).contiguous().transpose(1, 2)
    )  # not contiguous
    fitted = g.from_samples(x)
    torch.testing.assert_close(fitted.covariance[1], torch.cov(x[1].T))
    torch.testing.assert_close(
        g.from_samples(x, correction=0).covariance[1],
        torch.cov(x[1].T, correction=0),
    )
    torch.testing.assert_close(fitted.mean, x.mean(1))


@pytest.mark.parametrize("spread", SPREADS)
def test_mahalanobis_squared_averages_to_the_dimension(spread: str) -> None:
    p = draw(5, d=4, spread=spread)
    x = g.sample(p, 100_000, torch.Generator().manual_seed(2))
    squares = g.mahalanobis_squared(p, x)
    assert (
        abs(squares.mean() - 4) < 0.05
    )  # chi-square with d degrees of freedom: mean d, variance 2 d
    assert abs(squares.var() - 8) < 0.4


# --- The distances against quadrature and packages ------------------------------------------------------------------


def test_kl_is_the_integral() -> None:
    p, q, (x, cell) = draw(6, d=2), draw(7, d=2), plane_grid()
    log_p, log_q = g.log_density(p, x), g.log_density(q, x)
    assert (
        abs(g.kl_divergence(p, q) - integral(log_p.exp() * (log_p - log_q), cell))
        < 1e-11
    )


def test_bhattacharyya_and_hellinger_are_the_integrals() -> None:
    p, q, (x, cell) = draw(6, d=2), draw(7, d=2), plane_grid()
    root_p, root_q = ((g.log_density(r, x) / 2).exp() for r in (p, q))
    overlap = integral(root_p * root_q, cell)
    assert abs(g.bhattacharyya_distance(p, q) + overlap.log()) < 1e-12
    assert abs(g.bhattacharyya_coefficient(p, q) - overlap) < 1e-12
    assert (
        abs(g.hellinger_squared(p, q) - integral((root_p - root_q) ** 2, cell) / 2)
        < 1e-12
    )
    assert abs(g.hellinger(p, q) - (1 - overlap).sqrt()) < 1e-12


@pytest.mark.parametrize("prior", [0.5, 0.2, 0.9])
def test_bayes_error_lies_between_its_bounds(prior: float) -> None:
    x, cell = plane_grid()
    for seed in range(8):
        p, q = draw(2 * seed, d=2), draw(2 * seed + 1, d=2)
        error = integral(
            torch.minimum(
                prior * g.log_density(p, x).exp(),
                (1 - prior) * g.log_density(q, x).exp(),
            ),
            cell,
        )
        low, high = g.bayes_error_bounds(p, q, prior)
        assert low < error < high
        overlap = integral(
            ((g.log_density(p, x) + g.log_density(q, x)) / 2).exp(), cell
        )
        product = prior * (1 - prior)
        assert abs(low - (1 - (1 - 4 * product * overlap**2).sqrt()) / 2) < 1e-10
        assert abs(high - math.sqrt(product) * overlap) < 1e-10


def test_bayes_bounds_of_equal_classes_are_the_coin() -> None:
    p = draw(8, d=2)
    low, high = g.bayes_error_bounds(p, p)
    assert abs(low - 0.5) < 1e-7  # the root of the rounding error
    assert abs(high - 0.5) < 1e-14


@pytest.mark.parametrize("spread_p", SPREADS)
@pytest.mark.parametrize("spread_q", SPREADS)
def test_kl_is_that_of_torch(spread_p: str, spread_q: str, device: str) -> None:
    p, q = (
        draw(9, 6, d=5, spread=spread_p, device=device),
        draw(10, 6, d=5, spread=spread_q, device=device),
    )
    expected = torch_kl(
        *(MultivariateNormal(r.mean, g.covariance_of(r)) for r in (p, q))
    )
    torch.testing.assert_close(
        g.kl_divergence(p, q), expected, rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        g.kl_divergence_by_formula(p, q), expected, rtol=1e-12, atol=1e-12
    )


def test_numbers_known_by_hand() -> None:
    def line(mean: float, variance: float) -> Gaussian:
        return Gaussian(
            torch.tensor([mean], dtype=F64),
            variance=torch.tensor([variance], dtype=F64),
        )

    assert abs(g.kl_divergence(line(1, 4), line(0, 1)) - (2 - math.log(2))) < 1e-14
    assert (
        abs(
            g.bhattacharyya_distance(line(1, 4), line(-1, 0.25))
            - (math.log(2.125) / 2 + 1 / 4.25)
        )
        < 1e-14
    )
    assert abs(g.entropy(line(3, 1)) - math.log(2 * math.pi * math.e) / 2) < 1e-14


# --- Forms, batches, dtypes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", DISTANCES)
class TestDistances(EveryDistance):
    pass


def test_a_mean_may_be_shared_and_a_covariance_too() -> None:
    p = Gaussian(torch.zeros(3, dtype=F64), draw(25, 4).covariance)
    q = Gaussian(draw(26, 4).mean, torch.eye(3, dtype=F64))
    assert g.entropy(p).shape == (4,)
    assert g.sample(q, 5).shape == (4, 5, 3)


@pytest.mark.parametrize("spread", SPREADS)
def test_everything_compiles_into_one_graph(spread: str) -> None:
    p, q = draw(33, 2, spread=spread), draw(34, 2, spread=spread)

    def everything(
        mean_p: Tensor, spread_p: Tensor, mean_q: Tensor, spread_q: Tensor
    ) -> list[Tensor]:
        a, b = (
            Gaussian(mean_p, **{spread: spread_p}),
            Gaussian(mean_q, **{spread: spread_q}),
        )
        pairs = (g.kl_divergence, g.bhattacharyya_distance, g.hellinger)
        return [
            *(distance(a, b) for distance in pairs),
            g.entropy(a),
            g.log_density(a, mean_q),
        ]

    values = (p.mean, getattr(p, spread), q.mean, getattr(q, spread))
    torch._dynamo.reset()
    compiled = torch.compile(everything, fullgraph=True, backend="eager")
    for ours, plain in zip(compiled(*values), everything(*values), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


# --- Gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", SPREADS)
def test_gradients_of_the_formula(spread: str) -> None:
    requires_right_gradients(g.kl_divergence_by_formula, spread)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_equal_gaussians_have_distance_zero_and_gradient_zero(
    distance: Callable, spread: str, dtype: torch.dtype
) -> None:
    requires_zero_at_equality(
        distance, spread, dtype, rooted=distance is g.hellinger
    )


# --- Close, singular, extreme ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1e-3, 1e-5, 1e-7])
def test_kl_keeps_its_digits_when_close(step: float) -> None:
    """The second-order expansion around p = q; the formula as it stands loses it in rounding."""
    d = 20
    direction = torch.linspace(0.5, 1.5, d, dtype=F64)
    p = Gaussian(torch.zeros(d, dtype=F64), torch.diag((1 + step * direction) ** 2))
    q = Gaussian(torch.zeros(d, dtype=F64), torch.eye(d, dtype=F64))
    exact = (step * direction).square().sum()
    torch.testing.assert_close(
        g.kl_divergence(p, q), exact, rtol=2 * step + 1e-8, atol=0
    )


def test_overflow_is_infinite_and_never_nan() -> None:
    wide, narrow = (
        Gaussian(torch.zeros(1), variance=torch.tensor([w])) for w in (1e30, 1e-30)
    )
    assert g.kl_divergence(wide, narrow) == math.inf
    assert g.kl_divergence(narrow, wide).isfinite()
    assert g.bhattacharyya_distance(wide, narrow).isfinite()
    assert g.hellinger(wide, narrow) == 1


def test_kl_explodes_as_q_flattens() -> None:
    p = Gaussian(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    flat = torch.diag_embed(torch.tensor([[1.0, 1e-4], [1.0, 1e-12]], dtype=F64))
    q = Gaussian(torch.zeros(2, dtype=F64), flat)
    assert (g.kl_divergence(p, q) > torch.tensor([4e3, 4e11])).all()


# --- Invariances ----------------------------------------------------------------------------------------------------

SEEDS = st.integers(0, 10_000)
DIMENSIONS = st.integers(1, 6)


@settings(max_examples=30)
@given(SEEDS, DIMENSIONS)
def test_kl_and_bhattacharyya_do_not_change_under_invertible_maps(
    seed: int, d: int
) -> None:
    p, q = draw(seed, d=d), draw(seed + 1, d=d)
    stretch = torch.linalg.cholesky(draw(seed + 2, d=d).covariance)
    images = [
        Gaussian(stretch @ r.mean + 3, stretch @ r.covariance @ stretch.T)
        for r in (p, q)
    ]
    for distance in (g.kl_divergence, g.bhattacharyya_distance, g.hellinger):
        torch.testing.assert_close(
            distance(*images), distance(p, q), rtol=1e-9, atol=1e-10
        )


@settings(max_examples=30)
@given(SEEDS, DIMENSIONS)
def test_hellinger_is_a_metric(seed: int, d: int) -> None:
    p, q, r = (draw(seed + i, d=d) for i in range(3))
    torch.testing.assert_close(
        g.hellinger(p, q), g.hellinger(q, p), rtol=1e-10, atol=1e-12
    )
    assert g.hellinger(p, r) <= g.hellinger(p, q) + g.hellinger(q, r) + 1e-12


@settings(max_examples=30)
@given(SEEDS, DIMENSIONS)
def test_kl_is_positive_and_dominates_bhattacharyya(seed: int, d: int) -> None:
    p, q = draw(seed, d=d), draw(seed + 1, d=d)
    assert g.kl_divergence(p, q) >= 2 * g.bhattacharyya_distance(p, q) > 0


# --- Laplace --------------------------------------------------------------------------------------------------------


def test_laplace_is_exact_for_a_gaussian() -> None:
    p = draw(50, d=3)
    found = g.laplace_approximation(
        lambda x: g.log_density(p, x) + 1.5, torch.zeros(4, 3, dtype=F64)
    )
    torch.testing.assert_close(
        found.mean, p.mean.expand(4, 3), rtol=1e-11, atol=1e-12
    )
    torch.testing.assert_close(
        found.covariance, p.covariance.expand(4, 3, 3), rtol=1e-11, atol=1e-12
    )
    log_integral = g.laplace_log_integral(
        lambda x: g.log_density(p, x) + 1.5, found
    )
    torch.testing.assert_close(
        log_integral, torch.full((4,), 1.5, dtype=F64), rtol=1e-12, atol=1e-12
    )


def test_laplace_of_a_factorial_is_stirlings_formula() -> None:
    n = 30.0
    log_f = lambda x: (n * x.log() - x).sum()  # the integral of x^n e^-x is n!
    found = g.laplace_approximation(log_f, torch.tensor([25.0], dtype=F64))
    assert abs(found.mean - n) < 1e-9
    assert abs(found.covariance - n) < 1e-8
    stirling = n * math.log(n) - n + math.log(2 * math.pi * n) / 2
    assert abs(g.laplace_log_integral(log_f, found) - stirling) < 1e-10
    assert abs(stirling - math.lgamma(n + 1)) < 1 / (12 * n)


@pytest.mark.parametrize(
    ("log_f", "start"),
    [
        (lambda x: -x.abs().sum(), 0.3),  # a kink at the mode
        (lambda x: -(x**4).sum(), 1.0),  # flat at the mode
        (lambda x: (x**2).sum(), 1.0),  # a minimum
        (lambda x: -x.sum(), 1.0),  # a maximum at an edge, if at all
    ],
)
def test_laplace_refuses_what_has_no_smooth_mode(
    log_f: Callable, start: float
) -> None:
    with pytest.raises(ValueError, match="maximum near start"):
        g.laplace_approximation(log_f, torch.tensor([start], dtype=F64))


# --- Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": ZERO}, "exactly one of"),
        ({"mean": ZERO, "covariance": EYE, "cholesky": EYE}, "exactly one of"),
        ({"mean": torch.zeros(0), "covariance": torch.zeros(0, 0)}, "d >= 1"),
        ({"mean": torch.tensor(1.0), "covariance": EYE}, "d >= 1"),
        ({"mean": torch.zeros(3), "covariance": EYE}, "covariance must be"),
        ({"mean": torch.zeros(1), "variance": torch.ones(2)}, "variance must be"),
        ({"mean": ZERO, "cholesky": torch.ones(2)}, "cholesky must be"),
        ({"mean": torch.zeros(3, 2), "variance": torch.ones(4, 2)}, "broadcast"),
        (
            {"mean": ZERO, "covariance": torch.tensor([[1.0, 0.5], [0.0, 1.0]])},
            "symmetric",
        ),
        (
            {"mean": ZERO, "cholesky": torch.tensor([[1.0, 0.5], [0.0, 1.0]])},
            "lower triangular",
        ),
        ({"mean": ZERO, "cholesky": -EYE}, "positive diagonal"),
        ({"mean": ZERO, "variance": -torch.ones(2)}, "variance must be >= 0"),
        ({"mean": ZERO * math.nan, "covariance": EYE}, "mean must be finite"),
        ({"mean": ZERO, "covariance": EYE * math.inf}, "covariance must be finite"),
        (
            {"mean": ZERO, "variance": torch.tensor([1.0, math.nan])},
            "variance must be finite",
        ),
    ],
)
def test_a_gaussian_that_is_none_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gaussian(**fields)


def test_types_are_checked() -> None:
    with pytest.raises(TypeError, match="mean must be a floating tensor"):
        Gaussian(torch.zeros(2, dtype=torch.int64), EYE)
    with pytest.raises(TypeError, match="covariance must be a floating tensor"):
        Gaussian(ZERO, [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(TypeError, match="covariance must have the dtype of mean"):
        Gaussian(ZERO, EYE.double())
    with pytest.raises(TypeError, match="x must have the dtype of p"):
        g.log_density(Gaussian(ZERO, EYE), ZERO.double())
    with pytest.raises(TypeError, match="q must be a Gaussian"):
        g.kl_divergence(Gaussian(ZERO, EYE), EYE)


def test_singular_and_indefinite_covariances_are_named() -> None:
    p, singular = (
        Gaussian(ZERO, EYE),
        Gaussian(ZERO, torch.diag(torch.tensor([1.0, 0.0]))),
    )
    indefinite = Gaussian(ZERO, torch.diag(torch.tensor([1.0, -1.0])))
    needle = Gaussian(ZERO, variance=torch.tensor([1.0, 0.0]))
    for pair in ((p, singular), (singular, p), (p, indefinite)):
        with pytest.raises(
            ValueError, match="covariance must be positive definite"
        ):
            g.kl_divergence(*pair)
        with pytest.raises(
            ValueError, match="covariance must be positive definite"
        ):
            g.bhattacharyya_distance(*pair)
    for call in (
        lambda: g.kl_divergence(needle, needle),
        lambda: g.entropy(needle),
        lambda: g.log_density(needle, ZERO),
    ):
        with pytest.raises(ValueError, match="variance must be > 0"):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: g.log_density(p, torch.zeros(3)), "x must be"),
        (lambda p: g.sample(p, 0), "n must be"),
        (lambda p: g.bayes_error_bounds(p, p, 1.0), "prior must be"),
        (lambda p: g.from_samples(torch.zeros(1, 2)), "x must be"),
        (
            lambda p: g.laplace_approximation(torch.sum, torch.tensor(1.0)),
            "start must be",
        ),
        (
            lambda p: g.laplace_approximation(torch.sum, torch.ones(1), steps=0),
            "steps must be",
        ),
    ],
)
def test_bad_arguments_are_named(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Gaussian(ZERO, EYE))


# --- Never a good number out of a bad one, at every scale, inside transforms ----------------------------------------


def test_a_nan_has_no_good_root() -> None:
    """A18: `safe_root(nan)` was 0."""
    roots = g.safe_root(torch.tensor([math.nan, 4.0, 0.0, -1.0, math.inf]))
    assert roots[0].isnan() and roots[1:].tolist() == [2, 0, 0, math.inf]


@pytest.mark.parametrize("distance", [*DISTANCES, g.kl_divergence_by_formula])
def test_distances_inside_the_transforms_of_torch(distance: Callable) -> None:
    requires_transforms(distance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_single_gaussians_in_half_precision(dtype: torch.dtype) -> None:
    """A24: LAPACK knows no half precision."""
    p = draw(64, dtype=dtype)
    exact = Gaussian(p.mean.double(), p.covariance.double())
    for function in (g.cholesky_of, g.log_det, g.entropy, g.trace):
        found = function(p)
        assert found.dtype == dtype
        torch.testing.assert_close(
            found.double(), function(exact), rtol=0.02, atol=0.02
        )
    mode = g.laplace_approximation(lambda x: -x.square().sum(), p.mean)
    assert mode.covariance.dtype == dtype


# --- The geometry of the parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", SPREADS)
def test_score_is_the_gradient_of_the_log_density(spread: str) -> None:
    p = draw(72, spread=spread)
    x = torch.randn(5, 3, dtype=F64)
    covariance = g.covariance_of(p).clone().requires_grad_()
    mean = p.mean.clone().requires_grad_()
    for k in range(5):
        value = g.log_density(Gaussian(mean, covariance), x[k])
        by_mean, by_covariance = torch.autograd.grad(value, (mean, covariance))
        found = g.score(p, x[k])
        torch.testing.assert_close(found[0], by_mean)
        # autograd knows one triangle only: what counts is the symmetric part
        torch.testing.assert_close(found[1], (by_covariance + by_covariance.mT) / 2)


def test_fisher_is_the_mean_square_of_the_score_and_bends_the_divergence() -> None:
    p, (x, cell) = draw(73, d=2), plane_grid()
    change = draw(74, d=2)
    m, c = change.mean, change.covariance - EYE.double()
    expected = g.fisher_squared(p, m, c)
    by_mean, by_covariance = g.score(p, x)
    along = (by_mean * m).sum(-1) + (by_covariance * c).sum((-2, -1))
    weight = g.log_density(p, x).exp()
    assert abs(integral(weight * along, cell)) < 1e-10
    assert integral(weight * along.square(), cell) == pytest.approx(float(expected))
    t = 1e-4
    moved = Gaussian(p.mean + t * m, p.covariance + t * c)
    for divergence in (g.kl_divergence(p, moved), g.kl_divergence(moved, p)):
        assert float(2 * divergence / t**2) == pytest.approx(
            float(expected), rel=2e-3
        )


def test_natural_gradient_is_the_steepest_for_its_fisher_length() -> None:
    """<g, step> / |step|_F is largest along it; and it is the inverse of F."""
    p, gradient = draw(75, d=3), draw(76, d=3)
    by_mean, by_covariance = g.natural_gradient(
        p, gradient.mean, gradient.covariance
    )

    def gain(m: Tensor, c: Tensor) -> Tensor:
        inner = (gradient.mean * m).sum(-1) + (gradient.covariance * c).sum(
            (-2, -1)
        )
        return inner / g.fisher_squared(p, m, c).sqrt()

    best = gain(by_mean, by_covariance)
    stream = torch.Generator().manual_seed(77)
    m = torch.randn(2000, 3, generator=stream, dtype=F64)
    c = torch.randn(2000, 3, 3, generator=stream, dtype=F64)
    near = by_mean + 0.1 * m, by_covariance + 0.1 * (c + c.mT)
    assert bool((gain(m, c + c.mT) <= best).all())
    assert bool((gain(*near) <= best).all())
    assert float(best) ** 2 == pytest.approx(
        float(g.fisher_squared(p, by_mean, by_covariance))
    )


@given(st.integers(0, 10**6))
def test_kl_to_standard_normal_is_the_general_one(seed: int) -> None:
    p = draw(seed, 5, spread="variance")
    standard = Gaussian(torch.zeros(3, dtype=F64), torch.eye(3, dtype=F64))
    torch.testing.assert_close(
        g.kl_to_standard_normal(p.mean, p.variance.log()),
        g.kl_divergence(p, standard),
    )
