"""Solvers against scikit-learn, NumPy and SciPy; formulas against brute force,
simulation and quadrature."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import eval_chebyt
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import zero_one_loss
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KernelDensity
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl.foundations import learning as L

DOUBLE = torch.float64
TALL, WIDE = (12, 5, 2), (5, 12, 2)  # n, K, m
STRENGTHS = torch.tensor([0.01, 0.5, 30.0], dtype=DOUBLE)


def randn(
    *shape: int, seed: int = 0, device: str = "cpu", dtype: torch.dtype = DOUBLE
) -> Tensor:
    drawn = torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE
    )
    return drawn.to(device, dtype)


def problem(
    shape: tuple[int, int, int], *batch: int, seed: int = 0, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    n, K, m = shape
    return randn(*batch, n, K, seed=seed, device=device), randn(
        *batch, n, m, seed=seed + 1, device=device
    )


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# --- Bases


def test_monomials_are_powers_and_keep_their_gradient_at_zero(device: str) -> None:
    x = torch.tensor([-0.5, 0.0, 2.0], dtype=DOUBLE, device=device)
    expected = torch.tensor(np.vander(x.cpu(), 4, increasing=True), device=device)
    close(L.monomial_basis(x, 4), expected)
    assert torch.autograd.gradcheck(
        lambda z: L.monomial_basis(z, 4), x.requires_grad_()
    )


@given(count=st.integers(1, 12), seed=st.integers(0, 50))
def test_chebyshev_polynomials_are_scipys_and_span_what_monomials_span(
    count: int, seed: int
) -> None:
    x = randn(20, seed=seed).tanh()
    found = L.chebyshev_basis(x, count)
    close(
        found,
        torch.tensor(
            np.stack([eval_chebyt(k, x.numpy()) for k in range(count)], -1)
        ),
    )
    powers = L.monomial_basis(x, count)
    close(found @ torch.linalg.lstsq(found, powers).solution, powers, 1e-8)


def test_chebyshev_coordinates_are_well_conditioned() -> None:
    x = torch.linspace(-1, 1, 200, dtype=DOUBLE)
    assert torch.linalg.cond(L.chebyshev_basis(x, 20)) < 10
    assert torch.linalg.cond(L.monomial_basis(x, 20)) > 1e6


@pytest.mark.parametrize("basis", [L.monomial_basis, L.chebyshev_basis])
def test_polynomial_bases_batched_and_in_half_precision(basis: Callable) -> None:
    x = randn(2, 3, 4).tanh()
    assert basis(x, 5).shape == (2, 3, 4, 5)
    assert torch.equal(basis(x, 5)[1, 2], basis(x[1, 2], 5))
    for dtype in (torch.float16, torch.bfloat16):
        found = basis(x.to(dtype), 4)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), basis(x, 4), rtol=0.1, atol=0.1)


def test_gaussian_basis_by_its_definition(device: str) -> None:
    x, centres = randn(2, 7, 3, device=device), randn(4, 3, seed=1, device=device)
    found = L.gaussian_basis(x, centres, 0.7)
    expected = torch.exp(
        -(torch.cdist(x, centres.expand(2, -1, -1)) ** 2) / (2 * 0.7**2)
    )
    assert found.shape == (2, 7, 4)
    close(found, expected)
    widths = torch.tensor([0.1, 0.5, 1.0, 2.0], dtype=DOUBLE, device=device)
    close(
        L.gaussian_basis(x, centres, widths)[..., 2],
        L.gaussian_basis(x, centres, 1.0)[..., 2],
    )
    assert torch.equal(
        L.gaussian_basis(centres, centres, 0.3).diagonal(),
        torch.ones(4, dtype=DOUBLE, device=device),
    )


def test_relu_basis_is_a_linear_layer_and_a_relu(device: str) -> None:
    x = randn(3, 6, 4, device=device)
    directions, thresholds = (
        randn(4, 9, seed=1, device=device),
        randn(9, seed=2, device=device),
    )
    close(
        L.relu_basis(x, directions, thresholds),
        F.linear(x, directions.T, -thresholds).relu(),
    )


def test_random_units_are_on_the_sphere_with_uniform_thresholds() -> None:
    draw = lambda: L.random_relu_units(
        3, 20_000, torch.Generator().manual_seed(4), DOUBLE
    )
    directions, thresholds = draw()
    close(directions.norm(dim=0), torch.ones(20_000, dtype=DOUBLE))
    # on the sphere in three dimensions every coordinate is uniform (Archimedes)
    for sample in (*directions, thresholds):
        assert (
            scipy.stats.kstest(
                sample.numpy(), scipy.stats.uniform(-1, 2).cdf
            ).pvalue
            > 1e-3
        )
    assert all(
        torch.equal(a, b)
        for a, b in zip(draw(), (directions, thresholds), strict=True)
    )


def test_one_random_unit_in_one_dimension() -> None:
    directions, thresholds = L.random_relu_units(1, 1)
    assert directions.abs().tolist() == [[1.0]] and thresholds.shape == (1,)


def test_random_units_without_a_generator_come_from_the_global_one() -> None:
    torch.manual_seed(3)
    directions, thresholds = L.random_relu_units(3, 50)
    torch.manual_seed(3)
    again = L.random_relu_units(3, 50)
    assert torch.equal(directions, again[0]) and torch.equal(thresholds, again[1])
    assert directions.shape == (3, 50) and thresholds.shape == (50,)
    assert directions.dtype == thresholds.dtype == torch.float32
    close(directions.norm(dim=0), torch.ones(50), 1e-6)
    assert -1 <= thresholds.min() < -0.5 < 0.5 < thresholds.max() <= 1
    assert not torch.equal(L.random_relu_units(3, 50)[0], directions)


@pytest.mark.parametrize("d", [1, 3])
def test_kernel_density_is_scikit_learns(d: int, device: str) -> None:
    x, examples = randn(50, d, device=device), randn(30, d, seed=1, device=device)
    peer = (
        KernelDensity(bandwidth=0.4, rtol=1e-12)
        .fit(examples.cpu())
        .score_samples(x.cpu())
    )
    close(
        L.kernel_log_density(x, examples, 0.4),
        torch.tensor(peer, device=device),
        1e-8,
    )


def test_kernel_density_integrates_to_one_and_is_finite_far_away() -> None:
    x = torch.linspace(-12, 12, 4001, dtype=DOUBLE).unsqueeze(-1)
    density = L.kernel_log_density(x, randn(20, 1), 0.3).exp()
    assert torch.trapezoid(density, x[:, 0]).item() == pytest.approx(1, abs=1e-9)
    assert (
        L.kernel_log_density(torch.full((1, 1), 1e6), torch.zeros(3, 1), 0.1)
        .isfinite()
        .all()
    )


# --- Risk


def test_empirical_risk_is_the_mean_loss() -> None:
    x, y = randn(30, 4), randn(30, 1, seed=1)
    model = nn.Linear(4, 1).double()
    found = L.empirical_risk(lambda p, t: (p - t).square().squeeze(-1), model, x, y)
    close(found, F.mse_loss(model(x), y))
    classes = torch.arange(30) % 3
    risk = L.empirical_risk(
        lambda p, t: F.cross_entropy(p, t, reduction="none"),
        lambda z: z[:, :3],
        x,
        classes,
    )
    close(risk, F.cross_entropy(x[:, :3], classes))


def test_error_rate_is_scikit_learns_and_batched(device: str) -> None:
    scores, classes = (
        randn(3, 40, 5, device=device),
        torch.arange(40, device=device) % 5,
    )
    found = L.error_rate(scores, classes)
    expected = [zero_one_loss(classes.cpu(), s.argmax(-1).cpu()) for s in scores]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert (
        L.error_rate(torch.zeros(2, 3), torch.tensor([0, 1])) == 0.5
    )  # a tie goes to the first


def test_the_error_rate_of_a_nan_is_a_nan() -> None:
    scores, classes = torch.eye(3).repeat(2, 1, 1), torch.arange(3)
    scores[1, 2, 2] = math.nan  # argmax would take it for the largest
    found = L.error_rate(scores, classes)
    assert found[0] == 0 and found[1].isnan()


def test_error_rate_does_not_feel_a_small_step() -> None:
    weights, x, classes = randn(6, 4), randn(500, 6, seed=1), torch.arange(500) % 4
    rate = L.error_rate(x @ weights, classes)
    assert L.error_rate(x @ (weights + 1e-9 * randn(6, 4, seed=2)), classes) == rate
    assert L.error_rate(x @ (weights + randn(6, 4, seed=2)), classes) != rate


# --- Least squares and ridge


@pytest.mark.parametrize("shape", [TALL, WIDE, (6, 6, 1), (1, 1, 1), (1, 4, 2)])
def test_least_squares_is_numpys_and_lapacks(
    shape: tuple[int, int, int], device: str
) -> None:
    features, y = problem(shape, device=device)
    found = L.least_squares(features, y)
    close(
        found,
        torch.tensor(
            np.linalg.lstsq(features.cpu().numpy(), y.cpu().numpy(), rcond=None)[0],
            device=device,
        ),
        1e-9,
    )
    close(
        found,
        torch.tensor(
            scipy.linalg.lstsq(features.cpu().numpy(), y.cpu().numpy())[0],
            device=device,
        ),
        1e-9,
    )


def test_least_squares_with_equal_columns_shares_the_weight() -> None:
    column = randn(8, 1)
    close(
        L.least_squares(column.expand(8, 4), 3 * column),
        torch.full((4, 1), 0.75, dtype=DOUBLE),
    )


@given(seed=st.integers(0, 200), n=st.integers(2, 8), extra=st.integers(1, 8))
def test_past_the_threshold_no_interpolating_solution_is_shorter(
    seed: int, n: int, extra: int
) -> None:
    features, y = problem((n, n + extra, 1), seed=seed)
    found = L.least_squares(features, y)
    close(features @ found, y, 1e-6)
    null = torch.linalg.svd(features).Vh[n:].T  # (K, extra)
    other = found + null @ randn(extra, 1, seed=seed + 7)
    assert other.norm() >= found.norm()
    assert (null.T @ found).abs().max() < 1e-7 * (1 + found.norm())


SOLVERS = {
    "normal": L.ridge_normal,
    "qr": L.ridge,
    "dual": L.ridge_dual,
    "svd": lambda f, y, s: L.ridge_path(
        f, y, torch.tensor([s], dtype=DOUBLE, device=f.device)
    ).squeeze(-3),
    "gram": lambda f, y, s: L.fast_ridge_path(
        f, y, torch.tensor([s], dtype=DOUBLE, device=f.device)
    ).squeeze(-3),
}


@pytest.mark.parametrize(
    "shape", [TALL, WIDE, (6, 6, 1), (1, 1, 1), (1, 3, 2), (3, 1, 2)]
)
@pytest.mark.parametrize("name", SOLVERS)
def test_every_ridge_is_scikit_learns(
    name: str, shape: tuple[int, int, int], device: str
) -> None:
    features, y = problem(shape, device=device)
    for strength in STRENGTHS.tolist():
        peer = (
            Ridge(alpha=strength, fit_intercept=False, solver="svd")
            .fit(features.cpu(), y.cpu())
            .coef_
        )
        expected = torch.tensor(
            peer.reshape(shape[2], shape[1]).T.copy(), device=device
        )
        close(SOLVERS[name](features, y, strength), expected, 1e-9)


@pytest.mark.parametrize("name", SOLVERS)
def test_ridge_batched_not_contiguous_and_in_half_precision(name: str) -> None:
    solve = SOLVERS[name]
    features, y = problem(TALL, 2, 3)
    whole = solve(features, y, 0.3)
    assert whole.shape == (2, 3, 5, 2)
    close(whole[1, 2], solve(features[1, 2], y[1, 2], 0.3))
    turned = features.mT.contiguous().mT
    assert not turned.is_contiguous()
    close(solve(turned, y, 0.3), whole)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        found = solve(features.to(dtype), y.to(dtype), 0.3)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), whole, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("solve", [L.ridge_normal, L.ridge, L.ridge_dual])
def test_each_problem_of_a_batch_may_have_its_own_strength(
    solve: Callable, device: str
) -> None:
    features, y = problem(WIDE, 3, device=device)
    found = solve(features, y, STRENGTHS.to(device))
    for i, strength in enumerate(STRENGTHS.tolist()):
        close(found[i], solve(features[i], y[i], strength))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("shape", [(7, 3, 2), (3, 5, 1)])
def test_ridge_gradients(name: str, shape: tuple[int, int, int]) -> None:
    features, y = (z.requires_grad_() for z in problem(shape))
    assert torch.autograd.gradcheck(
        lambda f, t: SOLVERS[name](f, t, 0.4), (features, y)
    )


def test_gradients_of_least_squares_and_of_the_strength() -> None:
    for shape in ((7, 3, 2), (3, 5, 1)):
        assert torch.autograd.gradcheck(
            L.least_squares, tuple(z.requires_grad_() for z in problem(shape))
        )
    features, y = problem((6, 3, 1))
    for solve in (L.ridge_normal, L.ridge, L.ridge_dual):
        strength = torch.tensor(0.7, dtype=DOUBLE, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda s, solve=solve: solve(features, y, s), strength
        )
    for solve in (L.ridge_path, L.fast_ridge_path, L.fast_leave_one_out):
        strengths = torch.tensor([0.3, 2.0], dtype=DOUBLE, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda s, solve=solve: solve(features, y, s), strengths
        )


def test_solving_without_squaring_keeps_the_digits() -> None:
    x = torch.linspace(-1, 1, 60, dtype=DOUBLE)
    features, strength = L.monomial_basis(x, 14), 1e-9
    truth = randn(14, 1)
    lifted = features.T @ features + strength * torch.eye(14, dtype=DOUBLE)
    # targets for which `truth` solves the ridge problem exactly: F^T y = (F^T F + strength I) truth
    y = features @ truth + strength * torch.linalg.pinv(features.T) @ truth
    assert torch.linalg.cond(lifted) > 1e9
    stable = (L.ridge(features, y, strength) - truth).abs().max()
    squared = (L.ridge_normal(features, y, strength) - truth).abs().max()
    assert stable < 1e-8
    assert squared > 100 * stable


@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_fast_ridge_path_is_the_plain_one(
    shape: tuple[int, int, int], device: str
) -> None:
    features, y = problem(shape, 2, device=device)
    strengths = STRENGTHS.to(device)
    plain, fast = (
        L.ridge_path(features, y, strengths),
        L.fast_ridge_path(features, y, strengths),
    )
    assert plain.shape == fast.shape == (2, 3, shape[1], 2)
    close(fast, plain, 1e-9)


@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_the_path_goes_from_least_squares_to_nothing(
    shape: tuple[int, int, int],
) -> None:
    features, y = problem(shape)
    path = L.ridge_path(features, y, torch.tensor([0.0, 1e-9, 1e12], dtype=DOUBLE))
    close(path[0], L.least_squares(features, y), 1e-9)
    close(path[1], path[0], 1e-6)
    assert path[2].abs().max() < 1e-10


@given(seed=st.integers(0, 100))
def test_stronger_ridge_gives_shorter_weights_and_a_larger_residual(
    seed: int,
) -> None:
    features, y = problem(TALL, seed=seed)
    path = L.ridge_path(features, y, torch.logspace(-3, 3, 13, dtype=DOUBLE))
    lengths = path.flatten(1).norm(dim=-1)
    residuals = (features @ path - y).flatten(1).norm(dim=-1)
    assert (lengths.diff() < 0).all()
    assert (residuals.diff() > 0).all()


def test_rank_deficient_features_at_strength_zero() -> None:
    features = torch.cat(
        [randn(9, 2), torch.zeros(9, 1, dtype=DOUBLE), randn(9, 2)], dim=-1
    )
    y = randn(9, 1, seed=3)
    found = L.ridge_path(features, y, torch.zeros(1, dtype=DOUBLE))[0]
    close(
        found,
        torch.tensor(np.linalg.lstsq(features.numpy(), y.numpy(), rcond=None)[0]),
        1e-9,
    )
    assert not L.ridge_path(
        torch.zeros(4, 3), torch.ones(4, 1), torch.zeros(1)
    ).any()


def descend(features: Tensor, y: Tensor, lr: float, steps: int) -> Tensor:
    w = features.new_zeros(features.shape[-1], y.shape[-1]).requires_grad_()
    optimizer = torch.optim.SGD([w], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        ((features @ w - y).square().sum() / 2).backward()
        optimizer.step()
    return w.detach()


@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_early_stopped_path_is_gradient_descent(
    shape: tuple[int, int, int],
) -> None:
    features, y = problem(shape)
    lr = float(1.5 / torch.linalg.matrix_norm(features, 2) ** 2)
    steps = torch.tensor([0, 1, 7, 40])
    found = L.early_stopped_path(features, y, lr, steps)
    for t, w in zip(steps.tolist(), found, strict=True):
        close(w, descend(features, y, lr, t))
    close(
        L.early_stopped_path(features, y, lr, torch.tensor([10**6]))[0],
        L.least_squares(features, y),
        1e-7,
    )


def test_a_path_compiles() -> None:
    features, y = problem(TALL)
    compiled = torch.compile(L.fast_ridge_path, backend="aot_eager")
    close(
        compiled(features, y, STRENGTHS), L.fast_ridge_path(features, y, STRENGTHS)
    )


# --- Leverage and leave-one-out


@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_hat_matrix_gives_the_fitted_values_and_its_trace_the_effective_parameters(
    shape, device: str
) -> None:
    features, y = problem(shape, device=device)
    for i, strength in enumerate(STRENGTHS.tolist()):
        hat = L.hat_matrix(features, strength)
        close(hat @ y, features @ L.ridge(features, y, strength))
        close(hat, hat.T)
        leverages = hat.diagonal()
        assert ((leverages > 0) & (leverages < 1)).all()
        close(
            leverages.sum(),
            L.effective_parameters(features, STRENGTHS.to(device))[i],
        )


def test_effective_parameters_count_the_rank_at_strength_zero() -> None:
    features = randn(9, 4) @ randn(4, 7, seed=1)
    found = L.effective_parameters(
        features, torch.tensor([0.0, 1e12], dtype=DOUBLE)
    )
    assert found.tolist() == pytest.approx([4, 0], abs=1e-9)


@pytest.mark.parametrize("shape", [TALL, WIDE, (6, 6, 1), (2, 1, 1), (2, 5, 1)])
def test_leave_one_out_without_refitting(
    shape: tuple[int, int, int], device: str
) -> None:
    features, y = problem(shape, 2, device=device)
    strengths = STRENGTHS.to(device)
    plain, fast = (
        L.leave_one_out(features, y, strengths),
        L.fast_leave_one_out(features, y, strengths),
    )
    assert plain.shape == fast.shape == (2, 3, shape[0], shape[2])
    close(fast, plain, 1e-8)


def test_leave_one_out_is_scikit_learns() -> None:
    features, y = problem((15, 4, 1))
    for strength, errors in zip(
        STRENGTHS, L.fast_leave_one_out(features, y, STRENGTHS), strict=True
    ):
        model = Ridge(alpha=float(strength), fit_intercept=False)
        peer = cross_val_predict(
            model, features.numpy(), y[:, 0].numpy(), cv=LeaveOneOut()
        )
        close(errors[:, 0], y[:, 0] - torch.tensor(peer), 1e-9)
    peer = RidgeCV(alphas=STRENGTHS.numpy(), fit_intercept=False).fit(
        features.numpy(), y[:, 0].numpy()
    )
    best = (
        L.fast_leave_one_out(features, y, STRENGTHS)
        .square()
        .mean((-2, -1))
        .argmin()
    )
    assert STRENGTHS[best].item() == pytest.approx(float(peer.alpha_))


@pytest.mark.parametrize("shape", [(7, 3, 2), (3, 5, 1)])
def test_gradients_of_leave_one_out_and_of_the_hat(
    shape: tuple[int, int, int],
) -> None:
    features, y = (z.requires_grad_() for z in problem(shape))
    assert torch.autograd.gradcheck(
        lambda f, t: L.fast_leave_one_out(f, t, STRENGTHS), (features, y)
    )
    assert torch.autograd.gradcheck(lambda f: L.hat_matrix(f, 0.5), features)


# --- Early stopping


CURVES = st.lists(
    st.one_of(st.integers(0, 6).map(float), st.just(math.nan), st.just(math.inf)),
    min_size=1,
    max_size=15,
)


@given(losses=CURVES, patience=st.integers(1, 6))
def test_stopping_time_is_the_rule_asked_after_every_epoch(
    losses: list[float], patience: int
) -> None:
    asked = [L.should_stop(losses[: t + 1], patience) for t in range(len(losses))]
    expected = asked.index(True) if True in asked else len(losses) - 1
    best, stop = L.stopping_time(torch.tensor(losses), patience)
    assert stop == expected
    assert stop <= (losses.index(math.nan) if math.nan in losses else stop)
    seen = [math.inf if math.isnan(v) else v for v in losses[: expected + 1]]
    assert best == seen.index(min(seen))


def test_a_nan_ends_a_training_at_once() -> None:
    assert not L.should_stop([3.0, 2.0], 5)
    assert L.should_stop([3.0, 2.0, math.nan], 5)
    assert L.should_stop([math.nan], 5)
    assert not L.should_stop([math.inf, 2.0], 5)
    curves = torch.tensor([[3, 2, math.nan, 1, 0], [math.nan, 2, 1, 1, 1.0]])
    best, stop = L.stopping_time(curves, 4)
    assert best.tolist() == [1, 0]
    assert stop.tolist() == [2, 0]


def test_stopping_time_of_many_curves(device: str) -> None:
    curves = torch.tensor(
        [[5, 4, 3, 4, 4, 1], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]],
        dtype=DOUBLE,
        device=device,
    )
    best, stop = L.stopping_time(curves, 2)
    assert best.tolist() == [2, 0, 5]
    assert stop.tolist() == [4, 2, 5]


# --- Symmetry


def trained(
    value: float | None, activation: nn.Module, device: str
) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), activation, nn.Linear(8, 3)).to(
        device, DOUBLE
    )
    if value is not None:
        L.fill_(model, value)
    x, classes = (
        randn(90, 6, seed=3, device=device),
        (torch.arange(90, device=device) % 4).clamp(max=2),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(x + classes[:, None]), classes).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU()])
def test_from_zero_only_the_output_bias_moves(
    activation: nn.Module, device: str
) -> None:
    model = trained(0.0, activation, device)
    for name, weights in model.named_parameters():
        assert bool(weights.any()) == (name == "2.bias")


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU()])
def test_from_a_constant_all_units_stay_one(
    activation: nn.Module, device: str
) -> None:
    model = trained(0.1, activation, device)
    assert (model[0].weight - 0.1).abs().max() > 0.01  # it moved
    assert L.row_spread(model[0].weight) < 1e-12
    assert L.row_spread(model[2].weight.T) < 1e-12
    assert L.distinct_rows(model[0].weight, 1e-9) == 1
    assert torch.linalg.matrix_rank(model[0].weight, atol=1e-9) == 1
    random = trained(None, activation, device)
    assert L.distinct_rows(random[0].weight, 1e-3) == 8
    assert L.row_spread(random[0].weight) > 0.1


def test_row_spread_and_distinct_rows_by_hand() -> None:
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.5], [4.0, 2.0]])
    assert L.row_spread(rows).item() == pytest.approx(2.25)
    assert L.row_spread(torch.stack([rows, torch.ones(4, 2)])).tolist() == [2.25, 0]
    assert [L.distinct_rows(rows, t) for t in (0, 0.5, 3)] == [3, 2, 1]
    assert L.distinct_rows(rows[:1]) == 1


# --- Refusals

X, Y = torch.ones(4, 3), torch.ones(4, 1)
BAD = [
    (lambda: L.monomial_basis(torch.arange(3), 2), TypeError, "x must be a floating tensor, got torch.int64"),
    (lambda: L.chebyshev_basis(torch.ones(3), 0), ValueError, "count must be a whole number >= 1, got 0"),
    (lambda: L.gaussian_basis(X, torch.ones(2, 2), 1.0), ValueError, r"centres must .* got shape \(2, 2\)"),
    (lambda: L.gaussian_basis(X, torch.ones(0, 3), 1.0), ValueError, r"centres must be .* got shape \(0, 3\)"),
    (lambda: L.gaussian_basis(X, X, 0.0), ValueError, "width must be finite and > 0, got 0"),
    (lambda: L.relu_basis(X, torch.ones(2, 5), torch.ones(5)), ValueError, r"directions must be \(d, K\)"),
    (lambda: L.random_relu_units(0, 3), ValueError, "d must be a whole number >= 1, got 0"),
    (lambda: L.kernel_log_density(X, X, -1.0), ValueError, "width must be finite and > 0, got -1"),
    (lambda: L.empirical_risk(F.mse_loss, nn.Identity(), X, X), ValueError, "one value an example"),
    (lambda: L.empirical_risk(F.mse_loss, nn.Identity(), X[:0], X[:0]), ValueError, "x must have at least 1 along"),
    (lambda: L.error_rate(X, torch.zeros(3).long()), ValueError, r"classes must be .* n = 4, got shape \(3,\)"),
    (lambda: L.error_rate(X[:0], torch.zeros(0).long()), ValueError, "n >= 1"),
    (lambda: L.ridge(X, Y[:, 0], 1.0), ValueError, r"y must be \(\.\.\., n, m\) .* got shape \(4,\)"),
    (lambda: L.ridge(X, Y[:3], 1.0), ValueError, r"y must be .* n = 4, got shape \(3, 1\)"),
    (lambda: L.ridge(X[:0], Y[:0], 1.0), ValueError, "K >= 1, n >= 1"),
    (lambda: L.ridge(X, Y.double(), 1.0), TypeError, "y must have the dtype of features, torch.float32"),
    (lambda: L.ridge(X, Y, 0.0), ValueError, "strength must be finite and > 0, got 0"),
    (lambda: L.ridge(X * math.nan, Y, 1.0), ValueError, "features must be finite"),
    (lambda: L.ridge_normal(X, Y / 0, 1.0), ValueError, "y must be finite"),
    (lambda: L.ridge_dual(X, Y, -1.0), ValueError, "strength must be finite and >= 0, got -1"),
    (lambda: L.ridge_path(X, Y, torch.tensor([1.0, -1.0])), ValueError, "strengths must be >= 0 everywhere, got -1"),
    (lambda: L.ridge_path(X, Y, torch.tensor(1.0)), ValueError, r"strengths must be \(S,\)"),
    (lambda: L.fast_ridge_path(X, Y, torch.zeros(1)), ValueError, "strengths must be > 0 everywhere, got 0"),
    (lambda: L.early_stopped_path(X, Y, 0.0, torch.ones(1)), ValueError, "lr must be finite and > 0, got 0"),
    (lambda: L.early_stopped_path(X, Y, 0.1, -torch.ones(1)), ValueError, "steps must be >= 0 everywhere, got -1"),
    (lambda: L.fast_leave_one_out(X[:1], Y[:1], torch.ones(1)), ValueError, "features must have at least 2"),
    (lambda: L.hat_matrix(X.long(), 1.0), TypeError, "features must be a floating tensor"),
    (lambda: L.should_stop([1.0], 0), ValueError, "patience must be a whole number >= 1, got 0"),
    (lambda: L.stopping_time(torch.ones(2, 0), 1), ValueError, "T >= 1"),
    (lambda: L.row_spread(torch.ones(0, 3)), ValueError, r"rows must be .* got shape \(0, 3\)"),
    (lambda: L.distinct_rows(torch.ones(2, 2, 3)), ValueError, r"rows must be \(h, d\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), BAD)
def test_bad_input_is_named(
    call: Callable, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call()
