"""Gaussians against quadrature, sampling, SciPy, torch.distributions and POT; plain against fast; the edges."""

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
from torch.distributions import MultivariateNormal
from torch.distributions.kl import kl_divergence as torch_kl

from lbdl.geometry import gaussians as g
from lbdl.geometry.gaussians import Gaussian
from tests.peers import Peer

ot = Peer("ot")

F64 = torch.float64
SPREADS = ("covariance", "cholesky", "variance")
DISTANCES = (
    g.kl_divergence,
    g.bhattacharyya_distance,
    g.hellinger_squared,
    g.hellinger,
    g.wasserstein_squared,
    g.wasserstein,
    g.wasserstein_squared_by_alignment,
)
WASSERSTEINS = (
    g.wasserstein_squared,
    g.wasserstein_squared_by_roots,
    g.wasserstein_squared_by_alignment,
)


def draw(
    seed: int,
    *batch: int,
    d: int = 3,
    spread: str = "covariance",
    dtype=F64,
    device="cpu",
) -> Gaussian:
    """A well-conditioned Gaussian, or a batch of them."""
    stream = torch.Generator().manual_seed(seed)
    mean = torch.randn(*batch, d, generator=stream, dtype=F64)
    root = torch.randn(*batch, d, 3 * d, generator=stream, dtype=F64)
    covariance = root @ root.mT / (3 * d) + 0.1 * torch.eye(d, dtype=F64)
    value = {
        "covariance": covariance,
        "cholesky": torch.linalg.cholesky(covariance),
        "variance": covariance.diagonal(dim1=-2, dim2=-1),
    }[spread]
    return Gaussian(mean.to(device, dtype), **{spread: value.to(device, dtype)})


def full(p: Gaussian) -> Gaussian:
    return Gaussian(p.mean, g.covariance_of(p))


def part(p: Gaussian, index: int) -> Gaussian:
    """One member of a batch."""
    return Gaussian(
        p.mean[index],
        **{n: getattr(p, n)[index] for n in SPREADS if getattr(p, n) is not None},
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
    assert abs(cost / float(g.wasserstein_squared(p, q)) - 1) < 0.15


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
            - float(g.wasserstein_squared(p, q))
        )
        < 1e-4
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_coupling_is_cheaper_than_wasserstein(seed: int) -> None:
    p, q = draw(17, d=3), draw(18, d=3)
    contraction = torch.linalg.qr(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=F64)
    ).Q
    cross = g.matrix_sqrt(p.covariance) @ contraction @ g.matrix_sqrt(q.covariance)
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
    assert cost > g.wasserstein_squared(p, q)


def test_numbers_known_by_hand() -> None:
    def line(mean: float, variance: float) -> Gaussian:
        return Gaussian(
            torch.tensor([mean], dtype=F64),
            variance=torch.tensor([variance], dtype=F64),
        )

    assert abs(g.kl_divergence(line(1, 4), line(0, 1)) - (2 - math.log(2))) < 1e-14
    assert abs(g.wasserstein_squared(line(1, 4), line(-1, 0.25)) - 6.25) < 1e-14
    assert (
        abs(
            g.bhattacharyya_distance(line(1, 4), line(-1, 0.25))
            - (math.log(2.125) / 2 + 1 / 4.25)
        )
        < 1e-14
    )
    assert abs(g.entropy(line(3, 1)) - math.log(2 * math.pi * math.e) / 2) < 1e-14


def test_commuting_covariances_need_no_inner_root() -> None:
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=F64)).Q
    u, v = torch.rand(2, 4, dtype=F64) + 0.1
    p, q = (
        Gaussian(torch.zeros(4, dtype=F64), (turn * w) @ turn.T) for w in (u, v)
    )
    torch.testing.assert_close(
        g.wasserstein_squared(p, q),
        (u.sqrt() - v.sqrt()).square().sum(),
        rtol=1e-12,
        atol=1e-13,
    )


def test_frechet_distance_is_that_of_the_fid_code() -> None:
    x, y = torch.randn(60, 5, dtype=F64), torch.randn(80, 5, dtype=F64) * 1.5 + 0.3
    cx, cy = torch.cov(x.T).numpy(), torch.cov(y.T).numpy()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + (
        cx + cy - 2 * sqrtm(cx @ cy).real
    ).trace()
    torch.testing.assert_close(
        g.frechet_distance(x, y), expected, rtol=1e-11, atol=1e-12
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
        g.frechet_distance(x, y), expected, rtol=1e-5, atol=0
    )
    aligned = g.wasserstein_squared_by_alignment(
        g.from_samples(x), g.from_samples(y)
    )
    torch.testing.assert_close(aligned, expected, rtol=1e-6, atol=0)


# --- Forms, batches, dtypes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("spread_p", SPREADS)
@pytest.mark.parametrize("spread_q", SPREADS)
def test_the_three_ways_to_give_a_covariance_agree(
    distance: Callable, spread_p: str, spread_q: str
) -> None:
    p, q = draw(19, 3, spread=spread_p), draw(20, 3, spread=spread_q)
    torch.testing.assert_close(
        distance(p, q), distance(full(p), full(q)), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("distance", [*DISTANCES, g.optimal_map])
def test_batches_are_one_at_a_time(distance: Callable) -> None:
    p, q = draw(21, 4), draw(22, 4)
    together = distance(p, q)
    for i in range(4):
        torch.testing.assert_close(
            together[i], distance(part(p, i), part(q, i)), rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize("distance", DISTANCES)
def test_batches_broadcast(distance: Callable) -> None:
    p, q = draw(23, 4, 1), draw(24, 5)
    table = distance(p, q)
    assert table.shape == (4, 5)
    torch.testing.assert_close(
        table[2, 3],
        distance(part(part(p, 2), 0), part(q, 3)),
        rtol=1e-12,
        atol=1e-13,
    )
    assert distance(draw(23, 0), draw(24, 0)).shape == (0,)


def test_a_mean_may_be_shared_and_a_covariance_too() -> None:
    p = Gaussian(torch.zeros(3, dtype=F64), draw(25, 4).covariance)
    q = Gaussian(draw(26, 4).mean, torch.eye(3, dtype=F64))
    for distance in DISTANCES:
        assert distance(p, q).shape == (4,)
    assert g.entropy(p).shape == (4,)
    assert g.sample(q, 5).shape == (4, 5, 3)


@pytest.mark.parametrize(
    "shape", [((5, 40), (40,), 32), ((), (3,), 150), ((), (), 300)]
)
def test_large_batches_in_pieces_are_the_same(shape: tuple) -> None:
    p, q = draw(27, *shape[0], d=shape[2]), draw(28, *shape[1], d=shape[2])
    assert max(p.covariance.numel(), q.covariance.numel()) > g.CACHED
    plain = g.wasserstein_squared_by_roots(p, q)
    for r in (p, Gaussian(p.mean, cholesky=torch.linalg.cholesky(p.covariance))):
        torch.testing.assert_close(
            g.wasserstein_squared(r, q), plain, rtol=1e-10, atol=1e-9
        )


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 2e-4), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)],
)
def test_lower_precision(
    distance: Callable, dtype: torch.dtype, tolerance: float, device: str
) -> None:
    p, q = (
        draw(29, 3, dtype=dtype, device=device),
        draw(30, 3, dtype=dtype, device=device),
    )
    exact = distance(
        *(Gaussian(r.mean.double(), r.covariance.double()) for r in (p, q))
    )
    result = distance(p, q)
    assert result.dtype == dtype
    torch.testing.assert_close(
        result.double(), exact, rtol=tolerance, atol=tolerance
    )


def test_not_contiguous_input() -> None:
    p, q = draw(31, 4), draw(32, 4)
    mixed = Gaussian(
        p.mean.T.contiguous().T,
        p.covariance.permute(2, 1, 0).contiguous().permute(2, 1, 0),
    )
    for distance in DISTANCES:
        torch.testing.assert_close(
            distance(mixed, q), distance(p, q), rtol=1e-12, atol=1e-14
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
        pairs = (g.kl_divergence, g.hellinger, g.wasserstein, g.optimal_map)
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


def pair_from(distance: Callable, spread: str) -> Callable:
    """The distance as a function of four tensors; any square matrix becomes a covariance."""

    def made(mean: Tensor, value: Tensor) -> Gaussian:
        if spread == "covariance":
            return Gaussian(mean, (value + value.mT) / 2)
        return Gaussian(
            mean, **{spread: value.tril() if spread == "cholesky" else value}
        )

    return lambda mp, vp, mq, vq: distance(made(mp, vp), made(mq, vq))


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(
    "distance",
    [*DISTANCES, *WASSERSTEINS, g.kl_divergence_by_formula, g.optimal_map],
)
def test_gradients(distance: Callable, spread: str) -> None:
    p, q = draw(35, 2, d=2, spread=spread), draw(36, 2, d=2, spread=spread)
    inputs = tuple(
        x.clone().requires_grad_()
        for x in (p.mean, getattr(p, spread), q.mean, getattr(q, spread))
    )
    assert torch.autograd.gradcheck(pair_from(distance, spread), inputs)


@pytest.mark.parametrize("distance", [*DISTANCES, *WASSERSTEINS])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_equal_gaussians_have_distance_zero_and_gradient_zero(
    distance: Callable, spread: str, dtype: torch.dtype
) -> None:
    for q in (
        draw(37, d=4, spread=spread, dtype=dtype),
        Gaussian(torch.zeros(3, dtype=dtype), torch.eye(3, dtype=dtype)),
    ):
        name, value = g.require_one_spread(q)
        mean, value = (
            q.mean.clone().requires_grad_(),
            value.clone().requires_grad_(),
        )
        result = distance(Gaussian(mean, **{name: value}), q)
        result.backward()
        eps = torch.finfo(dtype).eps
        # the root of a rounding error
        rooted = distance in (g.hellinger, g.wasserstein)
        assert result.abs() <= 200 * (math.sqrt(eps) if rooted else eps)
        assert mean.grad.abs().max() < 1e-6
        assert value.grad.isfinite().all()
        if not rooted:
            assert value.grad.abs().max() < 1e3 * eps


def test_the_naive_root_does_blow_up() -> None:
    """What the module guards against: the same formulas with bare roots give nan."""
    covariance = torch.eye(3, dtype=F64).requires_grad_()
    q = Gaussian(torch.zeros(3, dtype=F64), torch.eye(3, dtype=F64))
    torch.sqrt(g.wasserstein_squared(Gaussian(q.mean, covariance), q)).backward()
    assert covariance.grad.isnan().any()


@pytest.mark.parametrize(
    "a",
    [torch.eye(3, dtype=F64), torch.diag(torch.tensor([2.0, 2.0, 5.0], dtype=F64))],
)
def test_matrix_sqrt_differentiates_twice_where_eigenvalues_coincide(
    a: Tensor,
) -> None:
    root = lambda x: g.matrix_sqrt((x + x.mT) / 2)
    x = a.clone().requires_grad_()
    assert torch.autograd.gradcheck(root, (x,))
    assert torch.autograd.gradgradcheck(root, (x,))


def test_matrix_sqrt_is_scipys() -> None:
    a = draw(38, 3, d=4).covariance
    root = g.matrix_sqrt(a)
    torch.testing.assert_close(
        root[1], torch.as_tensor(sqrtm(a[1].numpy())), rtol=1e-11, atol=1e-12
    )
    torch.testing.assert_close(root @ root, a, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.func.vmap(g.matrix_sqrt)(a), root)


def test_sylvester_solves_its_equation() -> None:
    x, right = draw(39, 2).covariance, torch.randn(2, 3, 3, dtype=F64)
    y = g.sylvester(x, right)
    torch.testing.assert_close(x @ y + y @ x, right, rtol=1e-11, atol=1e-12)


# --- Close, singular, extreme ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1e-3, 1e-5, 1e-7])
def test_kl_and_aligned_wasserstein_keep_their_digits_when_close(
    step: float,
) -> None:
    """Second-order expansions around p = q; the formulas as they stand lose them in rounding."""
    d = 20
    direction = torch.linspace(0.5, 1.5, d, dtype=F64)
    p = Gaussian(torch.zeros(d, dtype=F64), torch.diag((1 + step * direction) ** 2))
    q = Gaussian(torch.zeros(d, dtype=F64), torch.eye(d, dtype=F64))
    exact = (step * direction).square().sum()
    torch.testing.assert_close(
        g.wasserstein_squared_by_alignment(p, q), exact, rtol=1e-8, atol=0
    )
    torch.testing.assert_close(
        g.kl_divergence(p, q), exact, rtol=2 * step + 1e-8, atol=0
    )


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("distance", DISTANCES)
def test_near_singular_covariances_stay_finite_or_raise(
    distance: Callable, dtype: torch.dtype
) -> None:
    turn = torch.linalg.qr(
        torch.randn(4, 4, generator=torch.Generator().manual_seed(6), dtype=F64)
    ).Q
    q = draw(40, d=4, dtype=dtype)
    answered = 0
    for exponent in range(0, 40, 2):
        width = torch.tensor([1.0, 1.0, 0.5, 10.0**-exponent], dtype=F64)
        covariance = ((turn * width) @ turn.T).to(dtype).requires_grad_()
        for pair in (
            lambda c: (Gaussian(q.mean, (c + c.mT) / 2), q),
            lambda c: (q, Gaussian(q.mean, (c + c.mT) / 2)),
        ):
            covariance.grad = None
            try:
                value = distance(*pair(covariance))
            except ValueError as error:
                assert "covariance must be positive" in str(error)  # noqa: PT017
                continue
            value.backward()
            answered += 1
            assert value.isfinite()
            assert value >= 0
            assert covariance.grad.isfinite().all()
    assert answered >= 8


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


def test_a_gradient_at_a_singular_covariance_is_refused() -> None:
    singular = torch.diag(torch.tensor([1.0, 0.0], dtype=F64)).requires_grad_()
    q = Gaussian(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    with pytest.raises(ValueError, match="slope of W2 is infinite"):
        g.wasserstein_squared(Gaussian(q.mean, singular), q)
    with torch.no_grad():
        assert abs(g.wasserstein_squared(Gaussian(q.mean, singular), q) - 1) < 1e-12


def test_overflow_is_infinite_and_never_nan() -> None:
    wide, narrow = (
        Gaussian(torch.zeros(1), variance=torch.tensor([w])) for w in (1e30, 1e-30)
    )
    assert g.kl_divergence(wide, narrow) == math.inf
    assert g.kl_divergence(narrow, wide).isfinite()
    assert g.bhattacharyya_distance(wide, narrow).isfinite()
    assert g.hellinger(wide, narrow) == 1


def test_kl_explodes_and_wasserstein_does_not_as_q_flattens() -> None:
    p = Gaussian(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    flat = torch.diag_embed(torch.tensor([[1.0, 1e-4], [1.0, 1e-12]], dtype=F64))
    q = Gaussian(torch.zeros(2, dtype=F64), flat)
    assert (g.kl_divergence(p, q) > torch.tensor([4e3, 4e11])).all()
    assert (g.wasserstein_squared(p, q) < 1).all()


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
        g.wasserstein(*images),
        scale * g.wasserstein(p, q),
        rtol=1e-9,
        atol=1e-9 * scale,
    )


@settings(max_examples=30)
@given(SEEDS, DIMENSIONS)
def test_wasserstein_and_hellinger_are_metrics(seed: int, d: int) -> None:
    p, q, r = (draw(seed + i, d=d) for i in range(3))
    for distance in (g.wasserstein, g.hellinger):
        torch.testing.assert_close(
            distance(p, q), distance(q, p), rtol=1e-10, atol=1e-12
        )
        assert distance(p, r) <= distance(p, q) + distance(q, r) + 1e-12


@settings(max_examples=30)
@given(SEEDS, DIMENSIONS)
def test_kl_is_positive_and_dominates_bhattacharyya(seed: int, d: int) -> None:
    p, q = draw(seed, d=d), draw(seed + 1, d=d)
    assert g.kl_divergence(p, q) >= 2 * g.bhattacharyya_distance(p, q) > 0


@settings(max_examples=30)
@given(SEEDS, DIMENSIONS)
def test_three_ways_to_wasserstein(seed: int, d: int) -> None:
    p, q = draw(seed, d=d), draw(seed + 1, d=d)
    values = torch.stack([distance(p, q) for distance in WASSERSTEINS])
    torch.testing.assert_close(values, values[:1].expand(3), rtol=1e-10, atol=1e-12)


# --- Maps, geodesics, barycentres -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spread_p", SPREADS)
@pytest.mark.parametrize("spread_q", SPREADS)
def test_optimal_map_is_pots_and_carries_p_onto_q(
    spread_p: str, spread_q: str, device: str
) -> None:
    p, q = (
        draw(41, 2, spread=spread_p, device=device),
        draw(42, 2, spread=spread_q, device=device),
    )
    t, cov_p, cov_q = g.optimal_map(p, q), g.covariance_of(p), g.covariance_of(q)
    torch.testing.assert_close(t @ cov_p @ t, cov_q, rtol=1e-11, atol=1e-12)
    arrays = [r[1].cpu().numpy() for r in (p.mean, q.mean, cov_p, cov_q)]
    expected, shift = ot.gaussian.bures_wasserstein_mapping(*arrays)
    torch.testing.assert_close(
        t[1].cpu(), torch.as_tensor(expected).T, rtol=1e-10, atol=1e-11
    )
    x = torch.randn(5, 3, dtype=F64)
    moved = g.transport(part(p, 1), part(q, 1), x.to(device)).cpu()
    torch.testing.assert_close(
        moved,
        x @ torch.as_tensor(expected) + torch.as_tensor(shift),
        rtol=1e-10,
        atol=1e-11,
    )


def test_the_optimal_map_costs_the_distance() -> None:
    p, q = draw(43, d=3), draw(44, d=3)
    x = g.sample(p, 300_000, torch.Generator().manual_seed(7))
    cost = (g.transport(p, q, x) - x).square().sum(-1)
    assert abs(
        cost.mean() - g.wasserstein_squared(p, q)
    ) < 6 * cost.std() / math.sqrt(len(x))


def test_geodesic_has_constant_speed_and_the_right_ends() -> None:
    p, q = draw(45, d=3), draw(46, d=3)
    times = torch.linspace(0, 1, 5, dtype=F64)
    path = g.geodesic(p, q, times)
    assert path.covariance.shape == (5, 3, 3)
    gaps = g.wasserstein(path, part_of(path, 0))
    torch.testing.assert_close(
        gaps, times * g.wasserstein(p, q), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(
        path.covariance[-1], q.covariance, rtol=1e-11, atol=1e-12
    )
    torch.testing.assert_close(
        g.geodesic(p, q, 0.25).covariance, path.covariance[1]
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


def part_of(p: Gaussian, index: int) -> Gaussian:
    return Gaussian(p.mean[index], p.covariance[index])


def test_barycenter_is_pots_and_its_maps_average_to_the_identity() -> None:
    several = draw(47, 4, d=3)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64)
    center = g.barycenter(several, weights, steps=100)
    expected = ot.gaussian.bures_wasserstein_barycenter(
        several.mean.numpy(), several.covariance.numpy(), weights.numpy(), eps=1e-14
    )
    torch.testing.assert_close(
        center.mean, torch.as_tensor(expected[0]).reshape(3), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        center.covariance, torch.as_tensor(expected[1]), rtol=1e-8, atol=1e-9
    )
    maps = g.optimal_map(Gaussian(center.mean, center.covariance), several)
    torch.testing.assert_close(
        (weights[:, None, None] * maps).sum(0),
        torch.eye(3, dtype=F64),
        rtol=0,
        atol=1e-10,
    )


def test_barycenter_is_a_minimum() -> None:
    several = draw(48, 3, d=2)

    def cost(covariance: Tensor) -> Tensor:
        return g.wasserstein_squared(
            Gaussian(center.mean, covariance), several
        ).mean()

    center = g.barycenter(several, steps=100)
    covariance = center.covariance.clone().requires_grad_()
    cost(covariance).backward()
    assert covariance.grad.abs().max() < 1e-10
    for seed in range(5):
        other = draw(seed, d=2).covariance
        assert cost(center.covariance) < cost(0.9 * center.covariance + 0.1 * other)


def test_barycenter_batches_and_diagonals() -> None:
    several = draw(49, 2, 4, d=3, spread="variance")
    center = g.barycenter(several, steps=1)
    # commuting covariances: the mean of the roots, after one step
    expected = several.variance.sqrt().mean(1).square()
    torch.testing.assert_close(
        center.covariance, torch.diag_embed(expected), rtol=1e-11, atol=1e-12
    )
    weights = torch.full((4,), 0.25, requires_grad=True, dtype=F64)
    g.barycenter(several, weights, steps=3).covariance.sum().backward()
    assert weights.grad.isfinite().all()


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

ZERO, EYE = torch.zeros(2), torch.eye(2)


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


@pytest.mark.parametrize("distance", DISTANCES)
def test_pairs_that_do_not_fit_are_refused(distance: Callable) -> None:
    p = Gaussian(ZERO, EYE)
    with pytest.raises(ValueError, match="one dimension d, got 2 and 1"):
        distance(p, Gaussian(torch.zeros(1), torch.eye(1)))
    with pytest.raises(TypeError, match="q must have the dtype of p"):
        distance(p, Gaussian(ZERO.double(), EYE.double()))
    with pytest.raises(ValueError, match="broadcast"):
        distance(Gaussian(torch.zeros(3, 2), EYE), Gaussian(torch.zeros(4, 2), EYE))


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
    for pair in ((p, indefinite), (indefinite, p)):
        with pytest.raises(ValueError, match="positive semi-definite"):
            g.wasserstein_squared(*pair)
    for call in (
        lambda: g.kl_divergence(needle, needle),
        lambda: g.entropy(needle),
        lambda: g.log_density(needle, ZERO),
    ):
        with pytest.raises(ValueError, match="variance must be > 0"):
            call()
    assert g.wasserstein(needle, p) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: g.log_density(p, torch.zeros(3)), "x must be"),
        (lambda p: g.sample(p, 0), "n must be"),
        (lambda p: g.bayes_error_bounds(p, p, 1.0), "prior must be"),
        (lambda p: g.geodesic(p, p, 1.5), "t must be"),
        (lambda p: g.barycenter(p), "mean \\(..., k, d\\)"),
        (
            lambda p: g.barycenter(Gaussian(torch.zeros(3, 2), EYE), torch.ones(2)),
            "weights must be",
        ),
        (
            lambda p: g.barycenter(Gaussian(torch.zeros(3, 2), EYE), torch.ones(3)),
            "sum to 1",
        ),
        (
            lambda p: g.barycenter(Gaussian(torch.zeros(3, 2), EYE), steps=0),
            "steps must be",
        ),
        (lambda p: g.from_samples(torch.zeros(1, 2)), "x must be"),
        (
            lambda p: g.frechet_distance(torch.zeros(5, 2), torch.zeros(1, 2)),
            "y must be",
        ),
        (
            lambda p: g.frechet_distance(torch.zeros(5, 2), torch.zeros(5, 3)),
            "y must be",
        ),
        (lambda p: g.matrix_sqrt(torch.zeros(2, 3)), "a must be"),
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
    """A18: `safe_root(nan)` was 0, and W2 of a mean that is nan was 0 when compiled."""
    roots = g.safe_root(torch.tensor([math.nan, 4.0, 0.0, -1.0, math.inf]))
    assert roots[0].isnan() and roots[1:].tolist() == [2, 0, 0, math.inf]
    bad = torch.tensor([1.0, math.nan])

    def distance(mean: Tensor) -> Tensor:
        return g.wasserstein(Gaussian(mean, EYE), Gaussian(ZERO, EYE))

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
        g.wasserstein(big_p, big_q) / size, g.wasserstein(p, q), **close
    )
    torch.testing.assert_close(
        g.optimal_map(big_p, big_q), g.optimal_map(p, q), rtol=1e-4, atol=1e-4
    )
    for distance in WASSERSTEINS:
        torch.testing.assert_close(
            distance(big_p, big_q) / size / size, distance(p, q), rtol=1e-3, atol=0
        )


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


def test_a_root_of_a_negative_matrix_is_refused() -> None:
    """A23: `matrix_sqrt(-I)` was 0."""
    with pytest.raises(ValueError, match="a must be positive semi-definite"):
        g.matrix_sqrt(-EYE)
    with pytest.raises(ValueError, match="a must be symmetric"):
        g.matrix_sqrt(torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="a must be finite"):
        g.matrix_sqrt(EYE * math.nan)


@pytest.mark.parametrize("weights", [[0.5, 0.49], [0.5, 0.6], [1.5, -0.5]])
def test_weights_of_a_barycentre_sum_to_one(weights: list[float]) -> None:
    """A23: a sum of .99 was taken."""
    several = Gaussian(torch.zeros(2, 2), EYE)
    with pytest.raises(ValueError, match="sum to 1"):
        g.barycenter(several, torch.tensor(weights))


@pytest.mark.parametrize("distance", [*DISTANCES, g.kl_divergence_by_formula])
def test_distances_inside_the_transforms_of_torch(distance: Callable) -> None:
    p, q = draw(62, 4), draw(63, 4)

    def of_tensors(mean: Tensor, covariance: Tensor) -> Tensor:
        return distance(Gaussian(mean, covariance), part(q, 0))

    expected = torch.stack([distance(part(p, k), part(q, 0)) for k in range(4)])
    torch.testing.assert_close(
        torch.func.vmap(of_tensors)(p.mean, p.covariance), expected
    )
    slopes = torch.func.vmap(torch.func.grad(of_tensors, (0, 1)))
    assert all(x.isfinite().all() for x in slopes(p.mean, p.covariance))
    curvature = torch.func.vmap(torch.func.hessian(of_tensors))
    if distance is not g.wasserstein_squared_by_alignment:
        assert curvature(p.mean, p.covariance).isfinite().all()


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
    assert g.matrix_sqrt(p.covariance).dtype == dtype
    assert g.geodesic(p, p, 0.5).covariance.dtype == dtype
    mode = g.laplace_approximation(lambda x: -x.square().sum(), p.mean)
    assert mode.covariance.dtype == dtype


# --- The kernel distance --------------------------------------------------------------------------------------------


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
        assert float(g.kernel_distance(x, y)[k]) == pytest.approx(expected)


def test_kernel_distance_has_no_bias_where_frechet_has() -> None:
    stream = torch.Generator().manual_seed(71)
    x, y = torch.randn(2, 4000, 8, 4, generator=stream, dtype=F64)
    kernel, frechet = g.kernel_distance(x, y), g.frechet_distance(x, y)
    error = float(kernel.std()) / math.sqrt(len(kernel))
    assert abs(float(kernel.mean())) < 4 * error
    assert float(frechet.mean()) > 40 * float(frechet.std()) / math.sqrt(4000)


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
