"""Stochastic gradients against enumeration, quadrature-free closed forms, simulation and scipy."""

import itertools
import math

import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lbdl.foundations import stochastic_gradients as S

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logistic_loss(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return F.softplus(-y * (x @ w))


def logistic_data(
    n: int, d: int = 3, seed: int = 0, device: str = "cpu"
) -> tuple[Tensor, Tensor, Tensor]:
    g = seeded(seed)
    x = torch.randn(n, d, generator=g, dtype=DOUBLE)
    y = torch.sign(
        x @ torch.ones(d, dtype=DOUBLE) + torch.randn(n, generator=g, dtype=DOUBLE)
    )
    return (
        torch.randn(d, generator=g, dtype=DOUBLE).to(device),
        x.to(device),
        y.to(device),
    )


# --- The mini-batch gradient


def test_per_example_gradients_average_to_the_full_gradient(device: str) -> None:
    w, x, y = logistic_data(30, device=device)
    full = torch.func.grad(lambda w: logistic_loss(w, x, y).mean())(w)
    torch.testing.assert_close(
        S.per_example_gradients(logistic_loss, w, x, y).mean(0), full
    )


def test_fast_per_example_gradients_are_the_plain_ones(device: str) -> None:
    w, x, y = logistic_data(30, device=device)
    plain = S.per_example_gradients(logistic_loss, w, x, y)
    torch.testing.assert_close(
        S.fast_per_example_gradients(logistic_loss, w, x, y), plain
    )
    matrix = torch.stack([w, -w])  # weights of any shape
    loss = lambda w, x, y: ((w @ x) ** 2).sum() * y
    torch.testing.assert_close(
        S.fast_per_example_gradients(loss, matrix, x, y),
        S.per_example_gradients(loss, matrix, x, y),
    )


def test_the_gradients_of_the_librarys_own_losses_can_be_mapped() -> None:
    """Their checks look at no value inside a transform."""
    from lbdl.foundations.losses import binary_cross_entropy, cross_entropy

    g = seeded(9)
    x = torch.randn(6, 3, generator=g, dtype=DOUBLE)
    w, y = torch.randn(3, 4, generator=g, dtype=DOUBLE), torch.arange(6) % 4
    loss = lambda w, a, b: cross_entropy(a @ w, b)
    full = torch.func.grad(lambda w: cross_entropy(x @ w, y))(w)
    found = S.fast_per_example_gradients(loss, w, x, y)
    torch.testing.assert_close(found.mean(0), full)
    loss = lambda w, a, b: binary_cross_entropy(a @ w[:, 0], b)
    bits = (y > 1).double()
    torch.testing.assert_close(
        S.fast_per_example_gradients(loss, w, x, bits),
        S.per_example_gradients(loss, w, x, bits),
    )


@pytest.mark.parametrize("batch_size", [1, 2, 3, 6, 7])
def test_minibatch_is_unbiased_and_its_variance_exact_over_all_batches(
    batch_size: int,
) -> None:
    """All subsets of 7 examples: the mean of means is the mean, their variance s^2/B (N-B)/(N-1)."""
    gradients = torch.randn(7, 4, generator=seeded(), dtype=DOUBLE)
    means = torch.stack(
        [
            gradients[list(b)].mean(0)
            for b in itertools.combinations(range(7), batch_size)
        ]
    )
    torch.testing.assert_close(means.mean(0), gradients.mean(0))
    expected = S.minibatch_variance(
        S.gradient_variance(gradients), batch_size, size=7
    )
    torch.testing.assert_close(S.gradient_variance(means), expected)


def test_minibatch_variance_with_replacement_over_all_batches() -> None:
    gradients = torch.randn(4, 2, generator=seeded(), dtype=DOUBLE)
    means = torch.stack(
        [gradients[list(b)].mean(0) for b in itertools.product(range(4), repeat=3)]
    )
    expected = S.minibatch_variance(S.gradient_variance(gradients), 3)
    torch.testing.assert_close(S.gradient_variance(means), expected)


def test_minibatch_variance_limits() -> None:
    assert S.minibatch_variance(2.0, 1, size=10) == 2.0
    assert S.minibatch_variance(2.0, 10, size=10) == 0.0
    torch.testing.assert_close(
        S.minibatch_variance(2.0, torch.tensor([1.0, 4.0])),
        torch.tensor([2.0, 0.5]),
    )


def test_gradient_variance_is_the_trace_of_the_covariance() -> None:
    gradients = torch.randn(50, 3, 2, generator=seeded(), dtype=DOUBLE)
    covariance = torch.cov(gradients.flatten(1).T, correction=0)
    torch.testing.assert_close(S.gradient_variance(gradients), covariance.trace())
    torch.testing.assert_close(
        S.gradient_variance(gradients[:, 0, 0]),
        gradients[:, 0, 0].var(correction=0),
    )


@given(size=st.integers(1, 60), data=st.data())
def test_a_batch_has_no_example_twice(size: int, data: st.DataObject) -> None:
    batch_size = data.draw(st.integers(1, size))
    batch = S.draw_batch(size, batch_size, seeded(size))
    assert batch.shape == (batch_size,)
    assert len(set(batch.tolist())) == batch_size
    assert 0 <= batch.min() <= batch.max() < size


def test_every_example_is_drawn_equally_often() -> None:
    g = seeded()
    drawn = torch.stack(
        [torch.bincount(S.draw_batch(5, 2, g), minlength=5) for _ in range(5000)]
    ).sum(0)
    expected, spread = 5000 * 2 / 5, math.sqrt(5000 * 0.4 * 0.6)
    assert (drawn - expected).abs().max() < 4 * spread


# --- The noisy quadratic


@pytest.mark.parametrize(
    ("lr", "batch_size", "known"),
    [(0.1, 10, 0.00526), (0.2, 20, 0.00556), (0.1 * 2**0.5, 20, 0.00380)],
)
def test_stationary_variance_in_numbers_and_in_simulation(
    lr: float, batch_size: int, known: float
) -> None:
    expected = S.stationary_variance(lr, 1.0, 1.0, batch_size)
    assert expected == pytest.approx(known, abs=5e-6)
    path = S.noisy_quadratic(
        torch.zeros(40_000, dtype=DOUBLE),
        150,
        lr=lr,
        batch_size=batch_size,
        generator=seeded(1),
    )
    measured = path[-1].var()
    assert measured == pytest.approx(
        expected, rel=4 * math.sqrt(2 / 40_000)
    )  # four standard errors


def test_stationary_variance_is_the_fixed_point_of_its_recursion() -> None:
    lr, h, s2, b = (
        torch.rand(20, generator=seeded(i), dtype=DOUBLE) + 0.1 for i in range(4)
    )
    b = b + 1
    v = S.stationary_variance(lr, h, s2, b)
    torch.testing.assert_close((1 - lr * h) ** 2 * v + lr**2 * s2 / b, v)


def test_stationary_variance_is_infinite_where_descent_is_unstable() -> None:
    assert S.stationary_variance(2.0, 1.0, 1.0, 8) == math.inf
    found = S.stationary_variance(torch.tensor([1.9, 2.0, 2.1]), 1.0, 1.0, 1)
    assert found.isinf().tolist() == [False, True, True]


def test_without_noise_the_noisy_quadratic_is_gradient_descent() -> None:
    path = S.noisy_quadratic(
        torch.ones(3, dtype=DOUBLE), 5, lr=0.1, curvature=2.0, noise=0.0
    )
    torch.testing.assert_close(path[:, 0], 0.8 ** torch.arange(6, dtype=DOUBLE))


def test_scaling_rules_keep_what_they_promise() -> None:
    lr, b, bigger = 0.01, 8, 32
    root = S.scaled_rate(lr, b, bigger, rule="sqrt")
    assert root**2 / bigger == pytest.approx(lr**2 / b, rel=1e-12)
    linear = S.scaled_rate(lr, b, bigger)
    small, large = (
        S.stationary_variance(lr, 1, 1, b),
        S.stationary_variance(linear, 1, 1, bigger),
    )
    assert large == pytest.approx(small, rel=linear)  # up to 1 / (2 - lr h)
    assert S.scaled_rate(linear, bigger, b) == pytest.approx(lr, rel=1e-12)


# --- The critical batch size


def test_noise_scale_is_where_noise_equals_signal() -> None:
    gradients = torch.randn(200, 5, generator=seeded(), dtype=DOUBLE) + 0.3
    critical = S.simple_noise_scale(gradients)
    noise = S.minibatch_variance(S.gradient_variance(gradients), critical)
    torch.testing.assert_close(noise, gradients.mean(0).square().sum())


def test_noise_scale_from_norms_is_unbiased_over_all_batches() -> None:
    """Enumerates every batch with replacement, of size 1 and 3, out of four gradients."""
    gradients = torch.randn(4, 2, generator=seeded(3), dtype=DOUBLE)

    def norm(size: int) -> Tensor:
        batches = itertools.product(range(4), repeat=size)
        return torch.stack(
            [gradients[list(b)].mean(0).square().sum() for b in batches]
        ).mean()

    signal, noise = S.noise_scale_from_norms(norm(1), norm(3), 1, 3)
    torch.testing.assert_close(signal, gradients.mean(0).square().sum())
    torch.testing.assert_close(noise, S.gradient_variance(gradients))


@pytest.mark.parametrize("batch_size", [1.0, 7.0, 1000.0, math.inf])
def test_best_noisy_step_is_the_minimum_of_the_expected_loss(
    batch_size: float,
) -> None:
    g = seeded(4)
    gradient = torch.randn(3, generator=g, dtype=DOUBLE)
    half, noisy = torch.randn(2, 3, 3, generator=g, dtype=DOUBLE)
    hessian, covariance = half @ half.T, noisy @ noisy.T
    rate, gain = S.best_noisy_step(gradient, hessian, covariance, batch_size)

    def expected_loss(
        lr: float,
    ) -> float:
        # E f(w - lr (g + xi)) - f(w), in closed form
        bend = (
            gradient @ hessian @ gradient
            + (hessian @ covariance).trace() / batch_size
        )
        return float(-lr * gradient @ gradient + lr**2 / 2 * bend)

    found = scipy.optimize.minimize_scalar(expected_loss, tol=1e-12)
    assert float(rate) == pytest.approx(found.x, rel=1e-6)
    assert float(gain) == pytest.approx(-found.fun, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_the_noise_scale_has_no_scale(scale: float) -> None:
    gradients = torch.randn(20, 3, generator=seeded()) + 0.3
    expected = S.simple_noise_scale(gradients)
    torch.testing.assert_close(S.simple_noise_scale(scale * gradients), expected)
    assert expected == pytest.approx(
        float(S.simple_noise_scale(gradients.double())), rel=1e-5
    )


def test_the_noise_scale_at_its_limits() -> None:
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert S.simple_noise_scale(opposite) == math.inf
    assert S.simple_noise_scale(torch.ones(3, 2)) == 0
    assert S.simple_noise_scale(torch.zeros(3, 2)).isnan()


def test_best_noisy_steps_of_a_batch_are_those_of_each() -> None:
    g = seeded(5)
    gradient = torch.randn(2, 3, 4, generator=g, dtype=DOUBLE)
    half, noisy = torch.randn(2, 2, 3, 4, 4, generator=g, dtype=DOUBLE)
    hessian, covariance = half @ half.mT, noisy @ noisy.mT
    sizes = torch.tensor([[1.0, 8.0, 64.0]], dtype=DOUBLE)
    rates, gains = S.best_noisy_step(gradient, hessian, covariance, sizes)
    assert rates.shape == gains.shape == (2, 3)
    for i, j in itertools.product(range(2), range(3)):
        rate, gain = S.best_noisy_step(
            gradient[i, j], hessian[i, j], covariance[i, j], float(sizes[0, j])
        )
        torch.testing.assert_close(rates[i, j], rate)
        torch.testing.assert_close(gains[i, j], gain)


def test_a_step_without_noise_is_the_default() -> None:
    gradient = torch.tensor([3.0, 4.0], dtype=DOUBLE)
    hessian = torch.diag(torch.tensor([2.0, 2.0], dtype=DOUBLE))
    rate, gain = S.best_noisy_step(gradient, hessian, 7 * hessian)
    assert rate.item() == pytest.approx(0.5)  # 1 / curvature
    assert gain.item() == pytest.approx(6.25)  # 25 / (2 * 2)


def test_a_tiny_gradient_gains_its_share_in_float32() -> None:
    gradient, hessian = torch.tensor([3e-12, 4e-12]), 2 * torch.eye(2)
    rate, gain = S.best_noisy_step(gradient, hessian, torch.zeros(2, 2))
    assert rate.item() == pytest.approx(0.5)
    assert gain.item() == pytest.approx(6.25e-24)


# --- Projected SGD and its regret


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_projection_has_no_scale(scale: float) -> None:
    w, center = torch.randn(2, 5, 3, generator=seeded())
    expected = S.project_ball(w, 0.7, center)
    found = S.project_ball(scale * w, 0.7 * scale, scale * center)
    torch.testing.assert_close(found / scale, expected)


@given(seed=st.integers(0, 1000), radius=st.floats(0.0, 5.0))
def test_projection_is_the_nearest_point_and_non_expansive(
    seed: int, radius: float
) -> None:
    a, b = 3 * torch.randn(2, 4, generator=seeded(seed), dtype=DOUBLE)
    center = torch.randn(4, generator=seeded(seed + 1), dtype=DOUBLE)
    pa, pb = S.project_ball(a, radius, center), S.project_ball(b, radius, center)
    assert (pa - center).norm() <= radius + 1e-12
    assert (pa - pb).norm() <= (a - b).norm() + 1e-12
    assert (
        torch.dot(a - pa, pb - pa) <= 1e-9
    )  # the variational inequality that says "nearest"
    torch.testing.assert_close(S.project_ball(pa, radius, center), pa)


def test_projection_edge_cases(device: str) -> None:
    w = torch.tensor(
        [[0.0, 0.0], [3.0, 4.0], [0.3, 0.4]], device=device, dtype=DOUBLE
    )
    expected = torch.tensor(
        [[0.0, 0.0], [0.6, 0.8], [0.3, 0.4]], device=device, dtype=DOUBLE
    )
    torch.testing.assert_close(S.project_ball(w, 1.0), expected)
    torch.testing.assert_close(S.project_ball(w, math.inf), w)
    torch.testing.assert_close(S.project_ball(w, 0.0), torch.zeros_like(w))
    for dtype in (torch.float16, torch.bfloat16):
        half = S.project_ball(w.to(dtype), 1.0)
        assert half.dtype == dtype
        torch.testing.assert_close(half.double(), expected, atol=1e-2, rtol=0)
    wide = torch.randn(2, 6, generator=seeded(), dtype=DOUBLE)[:, ::2]
    torch.testing.assert_close(
        S.project_ball(wide, 0.5), S.project_ball(wide.contiguous(), 0.5)
    )


def test_projection_has_the_right_gradient() -> None:
    w = torch.randn(5, 3, generator=seeded(), dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: S.project_ball(w, 1.0), w)


def best_in_ball(x: Tensor, y: Tensor, radius: float) -> Tensor:
    """The best fixed weights in hindsight, by scipy."""
    found = scipy.optimize.minimize(
        lambda w: float(logistic_loss(torch.from_numpy(w), x, y).mean()),
        torch.zeros(x.shape[1], dtype=DOUBLE).numpy(),
        constraints={"type": "ineq", "fun": lambda w: radius**2 - w @ w},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 200},
    )
    return torch.from_numpy(found.x)


@pytest.mark.parametrize("decaying", [False, True])
def test_regret_stays_below_its_bound_and_falls(decaying: bool) -> None:
    steps, radius = 1000, 2.0
    _, x, y = logistic_data(steps, d=2, seed=5)
    x = x / x.norm(dim=1, keepdim=True)  # then every gradient has norm at most 1
    t = torch.arange(1, steps + 1, dtype=DOUBLE)
    rates = (
        4 / (2**0.5 * t.sqrt())
        if decaying
        else torch.full((steps,), 4 / steps**0.5, dtype=DOUBLE)
    )
    path, losses = S.projected_sgd(
        logistic_loss, torch.zeros(2, dtype=DOUBLE), x, y, rates, radius=radius
    )
    best = best_in_ball(x, y, radius)
    regret = S.average_regret(losses, logistic_loss(best, x, y))
    bound = S.regret_bound(rates, 2 * radius, 1.0)
    assert path.norm(dim=-1).max() <= radius + 1e-12
    assert 0 < regret[-1] < bound[-1]
    averaged = S.running_mean(path)[-1]
    full_loss = lambda w: logistic_loss(w, x, y).mean()
    assert full_loss(averaged) - full_loss(best) <= bound[-1]


def test_a_batch_of_projected_runs_is_each_run_alone(device: str) -> None:
    """Own starts, own examples, own rates: side by side as the rows of one w."""
    runs, steps, d = 3, 20, 4
    x = torch.randn(steps, runs, d, generator=seeded(1), dtype=DOUBLE).to(device)
    y = (
        torch.randn(steps, runs, generator=seeded(2), dtype=DOUBLE)
        .sign()
        .to(device)
    )
    start = torch.randn(runs, d, generator=seeded(3), dtype=DOUBLE).to(device) / 8
    rates = (1 + torch.arange(runs, device=device)) / torch.arange(
        1, steps + 1, device=device
    ).unsqueeze(-1)
    together, paid = S.projected_sgd(
        lambda w, a, b: F.softplus(-b * (a * w).sum(-1)).sum(),
        start,
        x,
        y,
        rates.unsqueeze(-1),
        radius=0.7,
    )
    alone = [
        S.projected_sgd(
            logistic_loss, start[k], x[:, k], y[:, k], rates[:, k], radius=0.7
        )
        for k in range(runs)
    ]
    torch.testing.assert_close(
        together, torch.stack([path for path, _ in alone], dim=1)
    )
    torch.testing.assert_close(
        paid, torch.stack([losses for _, losses in alone]).sum(0)
    )
    assert not torch.allclose(together[-1, 0], together[-1, 1])
    norms = together.norm(dim=-1)
    assert (
        norms.max() <= 0.7 + 1e-12 and (norms > 0.7 - 1e-12).any()
    )  # the ball was felt


def test_bounds_agree_with_each_other_and_with_known_numbers() -> None:
    steps, d, g = 1000, 4.0, 1.0
    constant = torch.full((steps,), d / (g * steps**0.5), dtype=DOUBLE)
    assert float(S.regret_bound(constant, d, g)[-1]) == pytest.approx(
        S.constant_rate_bound(steps, d, g)
    )
    assert S.constant_rate_bound(steps, d, g) == pytest.approx(0.1265, abs=5e-5)
    decaying = d / 2**0.5 / torch.arange(1, steps + 1, dtype=DOUBLE).sqrt()
    exact = S.regret_bound(decaying, d, g)
    t = torch.arange(1, steps + 1, dtype=DOUBLE)
    assert bool(
        (exact <= S.decaying_rate_bound(t, d, g)).all()
    )  # the sum is below 2 sqrt(T) - 1
    by_sum = d**2 / (2 * steps * float(decaying[-1])) + d / 2**0.5 * (
        2 * steps**0.5 - 1
    ) / (2 * steps)
    assert by_sum == pytest.approx(0.1775, abs=5e-5)
    assert exact[-1] < by_sum < S.decaying_rate_bound(steps, d, g)
    assert S.constant_rate_bound(100, 4.0, 1.0) == pytest.approx(0.4)
    assert S.decaying_rate_bound(100, 4.0, 1.0) == pytest.approx(0.566, abs=5e-4)


def test_the_best_alpha_is_best() -> None:
    best = S.decaying_rate_bound(100, 4.0, 2.0)
    for alpha in (0.5, 1.0, 1.4, 1.43, 3.0):
        assert S.decaying_rate_bound(100, 4.0, 2.0, alpha) > best


def test_the_bound_is_nearly_met_by_an_adversary() -> None:
    """Losses g_t w with signs that oppose: |w| <= 1, one step size; the regret is a fair share of D G / sqrt T."""
    steps = 400
    # always the same slope: the best weight is -1 from the start
    signs = torch.ones(steps, dtype=DOUBLE)
    rates = torch.full((steps,), 2 / steps**0.5, dtype=DOUBLE)
    slope = lambda w, x, y: (w * x).sum()
    start = torch.ones(1, dtype=DOUBLE)
    _, losses = S.projected_sgd(
        slope, start, signs.unsqueeze(1), signs, rates, radius=1.0
    )
    regret = S.average_regret(losses, -signs)[-1]
    bound = S.regret_bound(rates, 2.0, 1.0)[-1]
    assert 0.4 * bound < regret <= bound


def test_the_bound_for_falling_rates_term_by_term() -> None:
    rates = torch.tensor([4.0, 1.0, 0.5], dtype=DOUBLE)
    # D = 2, G = 3
    known = [4 / 8 + 9 / 2 * 4, 4 / 4 + 9 / 4 * 5, 4 / 3 + 9 / 6 * 5.5]
    torch.testing.assert_close(
        S.regret_bound(rates, 2.0, 3.0), torch.tensor(known, dtype=DOUBLE)
    )


def test_the_bound_is_met_by_a_straight_walk() -> None:
    """Ten equal steps from end to end of [-1, 1] under the loss 3 w: equality in every step of the proof."""
    rates = torch.full((10,), 2 / 30, dtype=DOUBLE)
    ones = torch.ones(10, dtype=DOUBLE)
    slope = lambda w, x, y: 3 * (w * x).sum()
    _, paid = S.projected_sgd(
        slope,
        torch.ones(1, dtype=DOUBLE),
        ones.unsqueeze(1),
        ones,
        rates,
        radius=1.0,
    )
    regret = S.average_regret(paid, -3 * ones)[-1]
    torch.testing.assert_close(regret, S.regret_bound(rates, 2.0, 3.0)[-1])


def test_running_mean() -> None:
    x = torch.randn(3, 8, 2, generator=seeded(), dtype=DOUBLE)
    expected = torch.stack([x[:, : t + 1].mean(1) for t in range(8)], dim=1)
    torch.testing.assert_close(S.running_mean(x, dim=1), expected)
    torch.testing.assert_close(S.running_mean(x, dim=-2), expected)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.99])
def test_exponential_mean_is_the_ema_of_torch(beta: float) -> None:
    """`AveragedModel` with `get_ema_avg_fn`, which copies the first weights."""
    from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

    path = torch.randn(12, 3, generator=seeded(), dtype=DOUBLE)
    model = torch.nn.Linear(3, 1, bias=False).double()
    averaged = AveragedModel(model, avg_fn=get_ema_avg_fn(beta))
    found = S.exponential_mean(path, beta)
    for now, expected in zip(path, found, strict=True):
        with torch.no_grad():
            model.weight.copy_(now)
        averaged.update_parameters(model)
        torch.testing.assert_close(averaged.module.weight[0], expected)
    turned = S.exponential_mean(path.T, beta, dim=-1)
    torch.testing.assert_close(turned.T, found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: S.draw_batch(5, 6),
            "batch_size must be a whole number >= 1 and <= 5, got 6",
        ),
        (
            lambda: S.draw_batch(5, 0),
            "batch_size must be a whole number >= 1 and <= 5, got 0",
        ),
        (
            lambda: S.gradient_variance(torch.zeros(0, 2)),
            r"gradients must have at least 1 along dim 0, got shape \(0, 2\)",
        ),
        (
            lambda: S.gradient_variance(torch.tensor(1.0)),
            "gradients must have at least one dimension",
        ),
        (
            lambda: S.minibatch_variance(1.0, 4, size=3),
            "batch_size must be finite and >= 1 and <= 3, got 4",
        ),
        (lambda: S.minibatch_variance(1.0, 1, size=1), "size must be >= 2, got 1"),
        (
            lambda: S.noisy_quadratic(torch.ones(2), -1, lr=0.1),
            "steps must be a whole number >= 0, got -1",
        ),
        (
            lambda: S.scaled_rate(0.1, 0, 1),
            "batch_size must be finite and > 0, got 0",
        ),
        (
            lambda: S.scaled_rate(0.1, 1, 2, rule="cubic"),
            "rule must be one of .* got 'cubic'",
        ),
        (
            lambda: S.noise_scale_from_norms(torch.ones(1), torch.ones(1), 4, 4),
            "large_batch must be a whole number >= 5, got 4",
        ),
        (
            lambda: S.project_ball(torch.ones(2), -1.0),
            "radius must be >= 0, got -1.0",
        ),
        (
            lambda: S.regret_bound(torch.tensor([0.1, 0.2]), 1.0, 1.0),
            "rates must be non-increasing",
        ),
        (
            lambda: S.regret_bound(torch.tensor([0.1, 0.0]), 1.0, 1.0),
            "rates must be > 0 everywhere, got 0.0",
        ),
        (
            lambda: S.average_regret(torch.ones(3), torch.ones(2)),
            r"best_losses must have the shape of losses, \(3,\), got shape \(2,\)",
        ),
        (
            lambda: S.per_example_gradients(
                logistic_loss, torch.ones(2), torch.ones(3, 2), torch.ones(4)
            ),
            "examples must share their number, got x 3, y 4",
        ),
        (
            lambda: S.best_noisy_step(torch.ones(2), torch.eye(2), torch.eye(3)),
            r"covariance must be .* d = 2, got shape \(3, 3\)",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
