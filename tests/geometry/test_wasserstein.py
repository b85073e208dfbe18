"""The cost of moving against POT, assignments, quantiles, SciPy and scikit-learn; plain against fast; the edges."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor

from lbdl.geometry import gaussians as g
from lbdl.geometry import wasserstein as w
from lbdl.geometry.gaussians import Gaussian
from tests.geometry.distances import (
    EYE,
    F64,
    SPREADS,
    ZERO,
    EveryDistance,
    draw,
    part,
    requires_one_at_a_time,
    requires_right_gradients,
    requires_transforms,
    requires_zero_at_equality,
)
from tests.peers import Peer

ot = Peer("ot")

DISTANCES = (
    w.wasserstein_squared,
    w.wasserstein,
    w.wasserstein_squared_by_alignment,
)
WASSERSTEINS = (
    w.wasserstein_squared,
    w.wasserstein_squared_by_roots,
    w.wasserstein_squared_by_alignment,
)
SEEDS = st.integers(0, 10_000)
DIMENSIONS = st.integers(1, 6)


# --- The distance against packages, samples and hand -----------------------------------------------------------------


@pytest.mark.parametrize("spread_p", SPREADS)
@pytest.mark.parametrize("spread_q", SPREADS)
@pytest.mark.parametrize("distance", WASSERSTEINS)
def test_wasserstein_is_that_of_pot(
    spread_p: str, spread_q: str, distance: Callable, device: str
) -> None:
    p, q = (
        draw(11, 6, d=5, spread=spread_p, device=device),
        draw(12, 6, d=5, spread=spread_q, device=device),
    )
    arrays = (
        [r.mean.cpu().numpy() for r in (p, q)],
        [g.covariance_of(r).cpu().numpy() for r in (p, q)],
    )
    expected = ot.gaussian.bures_wasserstein_distance(
        *arrays[0], *arrays[1], paired=True
    )
    actual = distance(p, q).cpu()
    torch.testing.assert_close(
        actual, torch.as_tensor(expected) ** 2, rtol=1e-11, atol=1e-12
    )


def test_wasserstein_is_the_cost_of_the_best_assignment_of_samples() -> None:
    p, q, n = draw(13, d=2), draw(14, d=2), 1500
    x, y = (
        g.sample(r, n, torch.Generator().manual_seed(s)).numpy()
        for r, s in ((p, 3), (q, 4))
    )
    cost = ot.emd2([], [], ot.dist(x, y), numItermax=10**6)
    assert abs(cost / float(w.wasserstein_squared(p, q)) - 1) < 0.15


def test_wasserstein_on_the_line_is_the_distance_of_the_quantile_functions() -> (
    None
):
    p, q = draw(15, d=1), draw(16, d=1)
    levels = torch.linspace(0, 1, 200_001, dtype=F64)[:-1] + 0.5 / 200_000
    quantiles = [
        scipy.stats.norm(r.mean.item(), r.covariance.sqrt().item()).ppf(
            levels.numpy()
        )
        for r in (p, q)
    ]
    assert (
        abs(
            ((quantiles[0] - quantiles[1]) ** 2).mean()
            - float(w.wasserstein_squared(p, q))
        )
        < 1e-4
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_coupling_is_cheaper_than_wasserstein(seed: int) -> None:
    p, q = draw(17, d=3), draw(18, d=3)
    contraction = torch.linalg.qr(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=F64)
    ).Q
    cross = w.matrix_sqrt(p.covariance) @ contraction @ w.matrix_sqrt(q.covariance)
    joint = torch.cat(
        [torch.cat([p.covariance, cross], 1), torch.cat([cross.T, q.covariance], 1)]
    )
    assert (
        torch.linalg.eigvalsh(joint).min() > -1e-12
    )  # a covariance: the coupling exists
    cost = (
        (p.mean - q.mean).square().sum()
        + g.trace(p)
        + g.trace(q)
        - 2 * cross.trace()
    )
    assert cost > w.wasserstein_squared(p, q)


def test_a_number_known_by_hand() -> None:
    p, q = (
        Gaussian(
            torch.tensor([m], dtype=F64), variance=torch.tensor([v], dtype=F64)
        )
        for m, v in ((1, 4), (-1, 0.25))
    )
    assert abs(w.wasserstein_squared(p, q) - 6.25) < 1e-14


def test_commuting_covariances_need_no_inner_root() -> None:
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=F64)).Q
    u, v = torch.rand(2, 4, dtype=F64) + 0.1
    p, q = (
        Gaussian(torch.zeros(4, dtype=F64), (turn * w) @ turn.T) for w in (u, v)
    )
    torch.testing.assert_close(
        w.wasserstein_squared(p, q),
        (u.sqrt() - v.sqrt()).square().sum(),
        rtol=1e-12,
        atol=1e-13,
    )


# --- Two samples -----------------------------------------------------------------------------------------------------


def test_frechet_distance_is_that_of_the_fid_code() -> None:
    x, y = torch.randn(60, 5, dtype=F64), torch.randn(80, 5, dtype=F64) * 1.5 + 0.3
    cx, cy = torch.cov(x.T).numpy(), torch.cov(y.T).numpy()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + (
        cx + cy - 2 * sqrtm(cx @ cy).real
    ).trace()
    torch.testing.assert_close(
        w.frechet_distance(x, y), expected, rtol=1e-11, atol=1e-12
    )


def test_frechet_distance_with_fewer_points_than_features() -> None:
    stream = torch.Generator().manual_seed(5)
    x, y = (
        torch.randn(6, 20, generator=stream, dtype=F64),
        torch.randn(9, 20, generator=stream, dtype=F64),
    )
    a, b = ((z - z.mean(0)) / math.sqrt(len(z) - 1) for z in (x, y))
    # the factors of the covariances are the data themselves
    nuclear = torch.linalg.matrix_norm(a @ b.T, "nuc")
    expected = (
        (x.mean(0) - y.mean(0)).square().sum()
        + a.square().sum()
        + b.square().sum()
        - 2 * nuclear
    )
    torch.testing.assert_close(
        w.frechet_distance(x, y), expected, rtol=1e-5, atol=0
    )
    aligned = w.wasserstein_squared_by_alignment(
        g.from_samples(x), g.from_samples(y)
    )
    torch.testing.assert_close(aligned, expected, rtol=1e-6, atol=0)


def test_kernel_distance_is_its_double_sum_with_sklearns_kernel() -> None:
    stream = torch.Generator().manual_seed(70)
    x = torch.randn(2, 7, 3, generator=stream, dtype=F64)
    y = torch.randn(2, 5, 3, generator=stream, dtype=F64) + 0.5
    for k in range(2):
        xx, yy, xy = (
            polynomial_kernel(a.numpy(), b.numpy(), degree=3)
            for a, b in ((x[k], x[k]), (y[k], y[k]), (x[k], y[k]))
        )
        expected = (
            np.mean([xx[i, j] for i in range(7) for j in range(7) if i != j])
            + np.mean([yy[i, j] for i in range(5) for j in range(5) if i != j])
            - 2 * xy.mean()
        )
        assert float(w.kernel_distance(x, y)[k]) == pytest.approx(expected)


def test_kernel_distance_has_no_bias_where_frechet_has() -> None:
    stream = torch.Generator().manual_seed(71)
    x, y = torch.randn(2, 4000, 8, 4, generator=stream, dtype=F64)
    kernel, frechet = w.kernel_distance(x, y), w.frechet_distance(x, y)
    error = float(kernel.std()) / math.sqrt(len(kernel))
    assert abs(float(kernel.mean())) < 4 * error
    assert float(frechet.mean()) > 40 * float(frechet.std()) / math.sqrt(4000)


# --- Forms, batches, dtypes, gradients -------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", DISTANCES)
class TestDistances(EveryDistance):
    pass


def test_maps_of_batches_are_one_at_a_time() -> None:
    requires_one_at_a_time(w.optimal_map)


@pytest.mark.parametrize(
    "shape", [((5, 40), (40,), 32), ((), (3,), 150), ((), (), 300)]
)
def test_large_batches_in_pieces_are_the_same(shape: tuple) -> None:
    p, q = draw(27, *shape[0], d=shape[2]), draw(28, *shape[1], d=shape[2])
    assert max(p.covariance.numel(), q.covariance.numel()) > w.CACHED
    plain = w.wasserstein_squared_by_roots(p, q)
    for r in (p, Gaussian(p.mean, cholesky=torch.linalg.cholesky(p.covariance))):
        torch.testing.assert_close(
            w.wasserstein_squared(r, q), plain, rtol=1e-10, atol=1e-9
        )


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
        return [w.wasserstein(a, b), w.optimal_map(a, b)]

    values = (p.mean, getattr(p, spread), q.mean, getattr(q, spread))
    torch._dynamo.reset()
    compiled = torch.compile(everything, fullgraph=True, backend="eager")
    for ours, plain in zip(compiled(*values), everything(*values), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(
    "distance", [w.wasserstein_squared_by_roots, w.optimal_map]
)
def test_gradients(distance: Callable, spread: str) -> None:
    requires_right_gradients(distance, spread)


@pytest.mark.parametrize("distance", [*WASSERSTEINS, w.wasserstein])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_equal_gaussians_have_distance_zero_and_gradient_zero(
    distance: Callable, spread: str, dtype: torch.dtype
) -> None:
    requires_zero_at_equality(
        distance, spread, dtype, rooted=distance is w.wasserstein
    )


def test_the_naive_root_does_blow_up() -> None:
    """What the module guards against: the same formulas with bare roots give nan."""
    covariance = torch.eye(3, dtype=F64).requires_grad_()
    q = Gaussian(torch.zeros(3, dtype=F64), torch.eye(3, dtype=F64))
    torch.sqrt(w.wasserstein_squared(Gaussian(q.mean, covariance), q)).backward()
    assert covariance.grad.isnan().any()


@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_inside_the_transforms_of_torch(distance: Callable) -> None:
    requires_transforms(
        distance, twice=distance is not w.wasserstein_squared_by_alignment
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_single_gaussians_in_half_precision(dtype: torch.dtype) -> None:
    """A24: LAPACK knows no half precision."""
    p = draw(64, dtype=dtype)
    assert w.matrix_sqrt(p.covariance).dtype == dtype
    assert w.geodesic(p, p, 0.5).covariance.dtype == dtype


# --- Roots of matrices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "a",
    [torch.eye(3, dtype=F64), torch.diag(torch.tensor([2.0, 2.0, 5.0], dtype=F64))],
)
def test_matrix_sqrt_differentiates_twice_where_eigenvalues_coincide(
    a: Tensor,
) -> None:
    root = lambda x: w.matrix_sqrt((x + x.mT) / 2)
    x = a.clone().requires_grad_()
    assert torch.autograd.gradcheck(root, (x,))
    assert torch.autograd.gradgradcheck(root, (x,))


def test_matrix_sqrt_is_scipys() -> None:
    a = draw(38, 3, d=4).covariance
    root = w.matrix_sqrt(a)
    torch.testing.assert_close(
        root[1], torch.as_tensor(sqrtm(a[1].numpy())), rtol=1e-11, atol=1e-12
    )
    torch.testing.assert_close(root @ root, a, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.func.vmap(w.matrix_sqrt)(a), root)


def test_a_root_of_a_negative_matrix_is_refused() -> None:
    """A23: `matrix_sqrt(-I)` was 0."""
    with pytest.raises(ValueError, match="a must be positive semi-definite"):
        w.matrix_sqrt(-EYE)
    with pytest.raises(ValueError, match="a must be symmetric"):
        w.matrix_sqrt(torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="a must be finite"):
        w.matrix_sqrt(EYE * math.nan)


def test_sylvester_solves_its_equation() -> None:
    x, right = draw(39, 2).covariance, torch.randn(2, 3, 3, dtype=F64)
    y = w.sylvester(x, right)
    torch.testing.assert_close(x @ y + y @ x, right, rtol=1e-11, atol=1e-12)


# --- Close, singular, at every scale ---------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1e-3, 1e-5, 1e-7])
def test_aligned_wasserstein_keeps_its_digits_when_close(step: float) -> None:
    """The second-order expansion around p = q; the formula as it stands loses it in rounding."""
    d = 20
    direction = torch.linspace(0.5, 1.5, d, dtype=F64)
    p = Gaussian(torch.zeros(d, dtype=F64), torch.diag((1 + step * direction) ** 2))
    q = Gaussian(torch.zeros(d, dtype=F64), torch.eye(d, dtype=F64))
    exact = (step * direction).square().sum()
    torch.testing.assert_close(
        w.wasserstein_squared_by_alignment(p, q), exact, rtol=1e-8, atol=0
    )


@pytest.mark.parametrize("distance", WASSERSTEINS)
def test_wasserstein_of_singular_covariances(distance: Callable) -> None:
    """Two needles at a right angle, and a point."""
    zero = torch.zeros(2, dtype=F64)
    along, across = (
        Gaussian(zero, torch.diag(torch.tensor(w, dtype=F64)))
        for w in ([4.0, 0.0], [0.0, 9.0])
    )
    point = Gaussian(zero, torch.zeros(2, 2, dtype=F64))
    for p, q, expected in (
        (along, across, 13.0),
        (along, along, 0.0),
        (along, point, 4.0),
        (point, across, 9.0),
    ):
        assert abs(distance(p, q) - expected) < 1e-7


def test_indefinite_covariances_are_named() -> None:
    p = Gaussian(ZERO, EYE)
    indefinite = Gaussian(ZERO, torch.diag(torch.tensor([1.0, -1.0])))
    needle = Gaussian(ZERO, variance=torch.tensor([1.0, 0.0]))
    for pair in ((p, indefinite), (indefinite, p)):
        with pytest.raises(ValueError, match="positive semi-definite"):
            w.wasserstein_squared(*pair)
    assert w.wasserstein(needle, p) == 1


@pytest.mark.parametrize("distance", WASSERSTEINS)
def test_a_negative_eigenvalue_does_not_hide_behind_a_zero(
    distance: Callable,
) -> None:
    """A23: A^T Sigma A did not show it, and W2 was 0."""
    flat = Gaussian(ZERO, torch.diag(torch.tensor([1.0, 0.0])))
    indefinite = Gaussian(ZERO, torch.diag(torch.tensor([1.0, -5.0])))
    for pair in ((flat, indefinite), (indefinite, flat)):
        with pytest.raises(ValueError, match="positive semi-definite"):
            distance(*pair)
    assert distance(flat, Gaussian(ZERO, EYE)) == pytest.approx(1.0, abs=1e-6)


def test_a_gradient_at_a_singular_covariance_is_refused() -> None:
    singular = torch.diag(torch.tensor([1.0, 0.0], dtype=F64)).requires_grad_()
    q = Gaussian(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    with pytest.raises(ValueError, match="slope of W2 is infinite"):
        w.wasserstein_squared(Gaussian(q.mean, singular), q)
    with torch.no_grad():
        assert abs(w.wasserstein_squared(Gaussian(q.mean, singular), q) - 1) < 1e-12


def test_wasserstein_stays_finite_as_q_flattens() -> None:
    p = Gaussian(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    flat = torch.diag_embed(torch.tensor([[1.0, 1e-4], [1.0, 1e-12]], dtype=F64))
    q = Gaussian(torch.zeros(2, dtype=F64), flat)
    assert (w.wasserstein_squared(p, q) < 1).all()


def test_a_mean_that_is_nan_is_at_no_distance() -> None:
    """A18: W2 of a mean that is nan was 0 when compiled."""
    bad = torch.tensor([1.0, math.nan])

    def distance(mean: Tensor) -> Tensor:
        return w.wasserstein(Gaussian(mean, EYE), Gaussian(ZERO, EYE))

    assert torch.compile(distance, backend="eager")(bad).isnan()
    assert torch.func.vmap(distance)(torch.stack([bad, ZERO])).isnan().tolist() == [
        True,
        False,
    ]


@pytest.mark.parametrize("size", [1e-15, 1e-12, 1e12, 1e15, 1e18])
@pytest.mark.parametrize("spread", SPREADS)
def test_wasserstein_does_not_know_the_unit_of_length(
    size: float, spread: str
) -> None:
    """A19: below 1e-30 and above 1e19 float32 gave 0, inf or nan."""
    p, q = (draw(seed, 4, spread=spread, dtype=torch.float32) for seed in (60, 61))
    power = 1 if spread == "cholesky" else 2
    big_p, big_q = (
        Gaussian(x.mean * size, **{spread: getattr(x, spread) * size**power})
        for x in (p, q)
    )
    close = {"rtol": 1e-4, "atol": 0}
    torch.testing.assert_close(
        w.wasserstein(big_p, big_q) / size, w.wasserstein(p, q), **close
    )
    torch.testing.assert_close(
        w.optimal_map(big_p, big_q), w.optimal_map(p, q), rtol=1e-4, atol=1e-4
    )
    for distance in WASSERSTEINS:
        torch.testing.assert_close(
            distance(big_p, big_q) / size / size, distance(p, q), rtol=1e-3, atol=0
        )


# --- Invariances -----------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(SEEDS, DIMENSIONS, st.floats(0.01, 100))
def test_wasserstein_follows_rigid_motions_and_scales(
    seed: int, d: int, scale: float
) -> None:
    p, q = draw(seed, d=d), draw(seed + 1, d=d)
    turn = torch.linalg.qr(draw(seed + 2, d=d).covariance).Q * scale
    images = [
        Gaussian(turn @ r.mean - 1, turn @ r.covariance @ turn.T) for r in (p, q)
    ]
    torch.testing.assert_close(
        w.wasserstein(*images),
        scale * w.wasserstein(p, q),
        rtol=1e-9,
        atol=1e-9 * scale,
    )


@settings(max_examples=30)
@given(SEEDS, DIMENSIONS)
def test_wasserstein_is_a_metric(seed: int, d: int) -> None:
    p, q, r = (draw(seed + i, d=d) for i in range(3))
    torch.testing.assert_close(
        w.wasserstein(p, q), w.wasserstein(q, p), rtol=1e-10, atol=1e-12
    )
    way = w.wasserstein(p, q) + w.wasserstein(q, r)
    assert w.wasserstein(p, r) <= way + 1e-12


@settings(max_examples=30)
@given(SEEDS, DIMENSIONS)
def test_three_ways_to_wasserstein(seed: int, d: int) -> None:
    p, q = draw(seed, d=d), draw(seed + 1, d=d)
    values = torch.stack([distance(p, q) for distance in WASSERSTEINS])
    torch.testing.assert_close(values, values[:1].expand(3), rtol=1e-10, atol=1e-12)


# --- Maps, geodesics, barycentres ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread_p", SPREADS)
@pytest.mark.parametrize("spread_q", SPREADS)
def test_optimal_map_is_pots_and_carries_p_onto_q(
    spread_p: str, spread_q: str, device: str
) -> None:
    p, q = (
        draw(41, 2, spread=spread_p, device=device),
        draw(42, 2, spread=spread_q, device=device),
    )
    t, cov_p, cov_q = w.optimal_map(p, q), g.covariance_of(p), g.covariance_of(q)
    torch.testing.assert_close(t @ cov_p @ t, cov_q, rtol=1e-11, atol=1e-12)
    arrays = [r[1].cpu().numpy() for r in (p.mean, q.mean, cov_p, cov_q)]
    expected, shift = ot.gaussian.bures_wasserstein_mapping(*arrays)
    torch.testing.assert_close(
        t[1].cpu(), torch.as_tensor(expected).T, rtol=1e-10, atol=1e-11
    )
    x = torch.randn(5, 3, dtype=F64)
    moved = w.transport(part(p, 1), part(q, 1), x.to(device)).cpu()
    torch.testing.assert_close(
        moved,
        x @ torch.as_tensor(expected) + torch.as_tensor(shift),
        rtol=1e-10,
        atol=1e-11,
    )


def test_the_optimal_map_costs_the_distance() -> None:
    p, q = draw(43, d=3), draw(44, d=3)
    x = g.sample(p, 300_000, torch.Generator().manual_seed(7))
    cost = (w.transport(p, q, x) - x).square().sum(-1)
    assert abs(
        cost.mean() - w.wasserstein_squared(p, q)
    ) < 6 * cost.std() / math.sqrt(len(x))


def test_geodesic_has_constant_speed_and_the_right_ends() -> None:
    p, q = draw(45, d=3), draw(46, d=3)
    times = torch.linspace(0, 1, 5, dtype=F64)
    path = w.geodesic(p, q, times)
    assert path.covariance.shape == (5, 3, 3)
    gaps = w.wasserstein(path, part(path, 0))
    torch.testing.assert_close(
        gaps, times * w.wasserstein(p, q), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(
        path.covariance[-1], q.covariance, rtol=1e-11, atol=1e-12
    )
    torch.testing.assert_close(
        w.geodesic(p, q, 0.25).covariance, path.covariance[1]
    )
    expected = ot.gaussian.bures_wasserstein_barycenter(
        torch.stack([p.mean, q.mean]).numpy(),
        torch.stack([p.covariance, q.covariance]).numpy(),
        np.array([0.75, 0.25]),
        eps=1e-14,
    )
    torch.testing.assert_close(
        path.covariance[1], torch.as_tensor(expected[1]), rtol=1e-8, atol=1e-8
    )


def test_barycenter_is_pots_and_its_maps_average_to_the_identity() -> None:
    several = draw(47, 4, d=3)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64)
    center = w.barycenter(several, weights, steps=100)
    expected = ot.gaussian.bures_wasserstein_barycenter(
        several.mean.numpy(), several.covariance.numpy(), weights.numpy(), eps=1e-14
    )
    torch.testing.assert_close(
        center.mean, torch.as_tensor(expected[0]).reshape(3), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        center.covariance, torch.as_tensor(expected[1]), rtol=1e-8, atol=1e-9
    )
    maps = w.optimal_map(Gaussian(center.mean, center.covariance), several)
    torch.testing.assert_close(
        (weights[:, None, None] * maps).sum(0),
        torch.eye(3, dtype=F64),
        rtol=0,
        atol=1e-10,
    )


def test_barycenter_is_a_minimum() -> None:
    several = draw(48, 3, d=2)

    def cost(covariance: Tensor) -> Tensor:
        return w.wasserstein_squared(
            Gaussian(center.mean, covariance), several
        ).mean()

    center = w.barycenter(several, steps=100)
    covariance = center.covariance.clone().requires_grad_()
    cost(covariance).backward()
    assert covariance.grad.abs().max() < 1e-10
    for seed in range(5):
        other = draw(seed, d=2).covariance
        assert cost(center.covariance) < cost(0.9 * center.covariance + 0.1 * other)


def test_barycenter_batches_and_diagonals() -> None:
    several = draw(49, 2, 4, d=3, spread="variance")
    center = w.barycenter(several, steps=1)
    # commuting covariances: the mean of the roots, after one step
    expected = several.variance.sqrt().mean(1).square()
    torch.testing.assert_close(
        center.covariance, torch.diag_embed(expected), rtol=1e-11, atol=1e-12
    )
    weights = torch.full((4,), 0.25, requires_grad=True, dtype=F64)
    w.barycenter(several, weights, steps=3).covariance.sum().backward()
    assert weights.grad.isfinite().all()


@pytest.mark.parametrize("weights", [[0.5, 0.49], [0.5, 0.6], [1.5, -0.5]])
def test_weights_of_a_barycentre_sum_to_one(weights: list[float]) -> None:
    """A23: a sum of .99 was taken."""
    several = Gaussian(torch.zeros(2, 2), EYE)
    with pytest.raises(ValueError, match="sum to 1"):
        w.barycenter(several, torch.tensor(weights))


# --- Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: w.geodesic(p, p, 1.5), "t must be"),
        (lambda p: w.barycenter(p), "mean \\(..., k, d\\)"),
        (
            lambda p: w.barycenter(Gaussian(torch.zeros(3, 2), EYE), torch.ones(2)),
            "weights must be",
        ),
        (
            lambda p: w.barycenter(Gaussian(torch.zeros(3, 2), EYE), torch.ones(3)),
            "sum to 1",
        ),
        (
            lambda p: w.barycenter(Gaussian(torch.zeros(3, 2), EYE), steps=0),
            "steps must be",
        ),
        (
            lambda p: w.frechet_distance(torch.zeros(5, 2), torch.zeros(1, 2)),
            "y must be",
        ),
        (
            lambda p: w.frechet_distance(torch.zeros(5, 2), torch.zeros(5, 3)),
            "y must be",
        ),
        (lambda p: w.matrix_sqrt(torch.zeros(2, 3)), "a must be"),
    ],
)
def test_bad_arguments_are_named(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Gaussian(ZERO, EYE))
