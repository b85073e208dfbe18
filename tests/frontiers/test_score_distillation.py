"""Score distillation: against quadrature, total derivatives, closed forms, SciPy."""

import math

import numpy as np
import pytest
import torch

from lbdl.core import generator
from lbdl.frontiers import score_distillation as S
from lbdl.frontiers.diffusion import Mixture, noised, posterior_mean, score

pytestmark = pytest.mark.filterwarnings("error")
A, B = 0.8, 0.6


def randn(*shape, stream="x"):
    return torch.randn(shape, generator=generator(stream), dtype=torch.float64)


def line():
    return Mixture(
        torch.tensor([0.6, 0.4], dtype=torch.float64),
        torch.tensor([[-1.0], [1.5]], dtype=torch.float64),
        torch.tensor([0.1, 0.3], dtype=torch.float64),
    )


def points():
    return torch.tensor([-1.3, -0.2, 0.4, 0.9, 2.0], dtype=torch.float64)[:, None]


def by_the_trapezoidal_rule(f, g):
    """The mean of f(x, e) over the points g and the noise, on a fine grid."""
    e = torch.linspace(-9, 9, 3001, dtype=torch.float64)
    density = (-(e**2) / 2).exp() / math.sqrt(2 * math.pi)
    x = A * g + B * e
    return torch.trapezoid(density * f(x, e), e).mean()


def guesses(g, frozen=True, error=0.0):
    """What teacher and student guess, as functions of x (K, n)."""
    p = noised(line(), A, B)
    q = noised(S.atoms(g.detach() if frozen else g), A, B)
    teacher = lambda x: -B * score(p, x[..., None])[..., 0]
    student = lambda x: -B * score(q, x[..., None])[..., 0] + error
    return teacher, student


def slope(f):
    g = points().requires_grad_()
    return torch.autograd.grad(f(g), g)[0]


# --- Losses of one point


def test_the_forms_by_hand(device):
    t, s, e = (
        torch.tensor(x, dtype=torch.float64, device=device)
        for x in ([1.0, 2.0], [0.0, 4.0], [2.0, -1.0])
    )
    l1, l2, l3 = S.three_forms(t, s, e)
    assert (float(l1), float(l2), float(l3)) == (5.0, -7.0, 24.0)
    assert float(S.sid_loss(t, s, e, 1.2)) == pytest.approx(-7 - 1.2 * 5)
    assert float(S.game_value(t, s, e)) == 10 - 29


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.2])
def test_half_the_game_and_the_rest(alpha):
    t, s, e = (randn(50, 3, stream=name) for name in "tse")
    l1, l2, _ = S.three_forms(t, s, e)
    game = S.game_value(t, s, e)
    torch.testing.assert_close(game, 2 * l2 - l1, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        S.sid_loss(t, s, e, alpha), game / 2 + (0.5 - alpha) * l1
    )


def test_an_alpha_for_each_point():
    t, s, e = (randn(3, 2, stream=name) for name in "tse")
    alphas = torch.tensor([0.0, 0.5, 1.2], dtype=torch.float64)
    each = [
        S.sid_loss(t[i], s[i], e[i], alpha)
        for i, alpha in enumerate(alphas.tolist())
    ]
    torch.testing.assert_close(S.sid_loss(t, s, e, alphas), torch.stack(each))


def test_in_data_the_loss_is_a_multiple_of_that_in_noise():
    p, x0, e = line(), randn(50, 1), randn(50, 1, stream="e")
    x, q = A * x0 + B * e, S.atoms(points())
    by_noise = S.sid_loss(
        S.exact_noise(p, x, A, B), S.exact_noise(q, x, A, B), e, 1.2
    )
    by_data = S.sid_loss(
        posterior_mean(p, x, A, B), posterior_mean(q, x, A, B), x0, 1.2
    )
    torch.testing.assert_close(by_data, (B / A) ** 2 * by_noise)


# --- The finite student


@pytest.mark.parametrize("order", [1, 2, 5, 20])
def test_gauss_hermite_is_numpys(order):
    nodes, weights = S.gauss_hermite(order)
    due, of_them = np.polynomial.hermite_e.hermegauss(order)
    torch.testing.assert_close(nodes, torch.tensor(due), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(weights, torch.tensor(of_them / of_them.sum()))


def test_exact_noise_is_tweedies(device):
    p = line()
    p = Mixture(*(part.to(device) for part in (p.weights, p.means, p.variances)))
    x = (2 * randn(9, 1)).to(device)
    clean = posterior_mean(p, x, A, B)
    torch.testing.assert_close(S.exact_noise(p, x, A, B), (x - A * clean) / B)


def test_three_forms_have_one_mean_and_with_an_error_they_do_not():
    g = points()

    def means(error):
        teacher, student = guesses(g, error=error)

        def form(i):
            return by_the_trapezoidal_rule(
                lambda x, e: S.three_forms(
                    teacher(x)[..., None],
                    student(x)[..., None],
                    e.expand_as(x)[..., None],
                )[i],
                g,
            )

        return torch.stack([form(i) for i in range(3)])

    exact, off = means(0.0), means(0.1)
    torch.testing.assert_close(exact, exact[:1].expand(3), rtol=0, atol=1e-10)
    assert float((off - off.mean()).abs().min()) > 1e-4


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.2])
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("error", [0.0, 0.2])
def test_exact_loss_and_its_gradient_by_the_trapezoidal_rule(alpha, frozen, error):
    def on_a_grid(g):
        teacher, student = guesses(g, frozen, error)

        def loss(x, e):
            t, s = teacher(x), student(x)
            return (t - s) * (t - e) - alpha * (t - s) ** 2

        return by_the_trapezoidal_rule(loss, g)

    def ours(g):
        return S.exact_loss(line(), g, A, B, alpha, error, frozen, order=100)

    torch.testing.assert_close(
        ours(points()), on_a_grid(points()), rtol=0, atol=1e-8
    )
    torch.testing.assert_close(slope(ours), slope(on_a_grid), rtol=0, atol=1e-7)


def test_the_frozen_gradient_is_the_total_one_at_one_half_alone():
    def loss(alpha, frozen):
        return slope(
            lambda g: S.exact_loss(line(), g, A, B, alpha, frozen=frozen, order=100)
        )

    # l2 - alpha l1 has the mean (1 - alpha) L, L the divergence
    total = loss(0.0, False)
    torch.testing.assert_close(2 * loss(0.5, True), total, rtol=0, atol=1e-7)
    frozen_l1 = loss(0.0, True) - loss(1.0, True)
    for alpha in (0.0, 1.0, 1.2):
        assert float((2 * loss(alpha, True) - total).abs().max()) > 0.01
        torch.testing.assert_close(
            loss(alpha, True),
            total / 2 + (0.5 - alpha) * frozen_l1,
            rtol=0,
            atol=1e-7,
        )


def test_by_default_the_loss_is_half_the_game_and_its_gradient_half_the_total_one():
    t, s, e = (randn(5, 2, stream=name) for name in "tse")
    torch.testing.assert_close(2 * S.sid_loss(t, s, e), S.game_value(t, s, e))
    found = slope(lambda g: S.exact_loss(line(), g, A, B))
    total = slope(lambda g: S.exact_loss(line(), g, A, B, 0.0, frozen=False))
    torch.testing.assert_close(2 * found, total, rtol=0, atol=1e-3)
    assert float(total.abs().max()) > 0.05


@pytest.mark.parametrize("error", [0.2, 0.1, 0.05])
def test_an_error_moves_the_value_by_its_square_and_the_slope_in_proportion(error):
    def game(g, error):
        return 2 * S.exact_loss(line(), g, A, B, 0.5, error, order=100)

    moved = game(points(), error) - game(points(), 0.0)
    assert float(moved) == pytest.approx(-(error**2), abs=1e-9)
    bent = slope(lambda g: game(g, error)) - slope(lambda g: game(g, 0.0))
    unit = slope(lambda g: game(g, 1.0)) - slope(lambda g: game(g, 0.0))
    torch.testing.assert_close(bent, error * unit, rtol=0, atol=1e-9)
    assert float(unit.abs().max()) > 0.1


def test_a_batch_of_students_is_each_of_them():
    g = torch.stack([points(), points() + 0.3])
    alphas = torch.tensor([0.0, 1.2], dtype=torch.float64)
    errors = torch.tensor([0.1, -0.2], dtype=torch.float64)
    both = S.exact_loss(line(), g, A, B, alphas, errors)
    each = [
        S.exact_loss(line(), one, A, B, alpha, error)
        for one, alpha, error in zip(
            g, alphas.tolist(), errors.tolist(), strict=True
        )
    ]
    torch.testing.assert_close(both, torch.stack(each))


def test_many_points_of_the_data_itself_have_hardly_any_loss():
    """Quantiles of one Gaussian against that Gaussian: zero but for their number."""
    ranks = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    g = torch.distributions.Normal(0.0, 1.0).icdf(ranks)[:, None]
    one = torch.ones(1, dtype=torch.float64)
    p = Mixture(one, 0 * one[:, None], one)
    assert abs(float(S.exact_loss(p, g, A, B, 0.0))) < 5e-4
    # against another: the divergence of two Gaussians, in closed form
    q = Mixture(one, one[:, None], 2 * one)
    vp, vq = A * A * 2 + B * B, A * A + B * B
    due = B * B * (A * A / vp**2 + vq * (1 / vp - 1 / vq) ** 2)
    assert float(S.exact_loss(q, g, A, B, 0.0)) == pytest.approx(due, rel=0.01)


def test_atoms_let_the_gradient_through():
    g = points().requires_grad_()
    x = torch.zeros(1, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda g: S.exact_noise(S.atoms(g), x, A, B), (g,)
    )


# --- The training's loss


def test_distillation_loss_is_the_weighted_one(device):
    x0, z = randn(6, 3).to(device), randn(6, 3, stream="z").to(device)
    sigma = 0.3 + randn(6, stream="s").abs().to(device)
    teacher = lambda x, s: x / (1 + s[:, None] ** 2)
    student = lambda x, s: x / (2 + s[:, None] ** 2)
    found = S.distillation_loss(teacher, student, x0, z, sigma, 1.2)
    x = x0 + sigma[:, None] * z
    t, s = teacher(x, sigma), student(x, sigma)
    each = (t - s) * (t - x0 - 1.2 * (t - s))
    weight = (t - x0).abs().mean(1, keepdim=True)
    torch.testing.assert_close(found, (each / weight).mean())


def test_distillation_loss_holds_its_weight_constant():
    x0 = randn(4, 2).requires_grad_()
    z, sigma = randn(4, 2, stream="z"), torch.ones(4, dtype=torch.float64)
    half, third = (lambda x, s, c=c: x / c for c in (2, 3))
    (found,) = torch.autograd.grad(
        S.distillation_loss(half, third, x0, z, sigma, 0.5), x0
    )
    x = (x0 + z).detach()
    t, s, y = x / 2, x / 3, x0.detach()
    # d/dx0 of <t - s, t - y> - |t - s|^2 / 2, with t' = 1/2, s' = 1/3, y' = 1
    due = (t - y) / 6 + (t - s) * (0.5 - 1) - (t - s) / 6
    weight = (t - y).abs().mean(1, keepdim=True)
    torch.testing.assert_close(found, due / weight / 8)


def test_a_teacher_that_is_right_to_the_last_digit_divides_by_no_zero():
    x0, z = randn(4, 2), randn(4, 2, stream="z")
    sigma = torch.ones(4, dtype=torch.float64)
    found = S.distillation_loss(lambda x, s: x0, lambda x, s: x0 + 1, x0, z, sigma)
    # -|t - s|^2 / 2 over the least weight, a coordinate
    assert float(found) == pytest.approx(-0.5 / 1e-5)


# --- Samples


def test_directions_have_length_one_and_no_bias():
    u = S.random_directions(20_000, 3, generator("u"), torch.float64)
    torch.testing.assert_close(u.norm(dim=1), torch.ones(20_000).double())
    torch.testing.assert_close(
        u.T @ u / 20_000, torch.eye(3).double() / 3, rtol=0, atol=0.01
    )


@pytest.mark.parametrize("way", [S.sliced_wasserstein, S.fast_sliced_wasserstein])
def test_on_a_line_it_is_scipys_distance_of_matched_points(way, device):
    from scipy.optimize import linear_sum_assignment

    x, y = randn(40, 1, stream="a"), 2 + 3 * randn(40, 1, stream="b")
    cost = torch.cdist(x, y).square().numpy()
    due = cost[linear_sum_assignment(cost)].mean() ** 0.5
    one = torch.ones(1, 1, dtype=torch.float64, device=device)
    assert float(way(x.to(device), y.to(device), one)) == pytest.approx(due)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_fast_is_plain(dtype, device):
    x, y = randn(3, 50, 4, stream="a"), randn(50, 4, stream="b")
    u = S.random_directions(7, 4, generator("u"), torch.float64)
    given = [z.to(device, dtype) for z in (x, y, u)]
    before = [z.clone() for z in given]
    torch.testing.assert_close(
        S.fast_sliced_wasserstein(*given), S.sliced_wasserstein(*given)
    )
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))


def test_a_shift_is_seen_by_its_length_in_each_direction():
    x, shift = randn(30, 2), torch.tensor([3.0, 4.0], dtype=torch.float64)
    u = S.random_directions(5, 2, generator("u"), torch.float64)
    due = (u @ shift).square().mean().sqrt()
    torch.testing.assert_close(S.sliced_wasserstein(x, x + shift, u), due)
    assert float(S.fast_sliced_wasserstein(x, x, u)) == 0


def test_sliced_gradient_and_the_fast_way_with_one():
    x, y = randn(6, 2, stream="a").requires_grad_(), randn(6, 2, stream="b")
    u = S.random_directions(3, 2, generator("u"), torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: S.fast_sliced_wasserstein(x, y, u), (x,)
    )


# --- Refusals


@pytest.mark.parametrize(
    ("call", "kind", "names"),
    [
        (lambda: S.sid_loss(points(), points()[:2], points()), ValueError, "student"),
        (lambda: S.sid_loss(points(), points(), points(), math.nan), ValueError, "alpha"),
        (lambda: S.three_forms(points(), points().float(), points()), TypeError, "student"),
        (lambda: S.game_value(torch.zeros(3, 0), torch.zeros(3, 0), torch.zeros(3, 0)), ValueError, "teacher"),
        (lambda: S.atoms(points() / 0), ValueError, "points"),
        (lambda: S.exact_noise(line(), points(), 1.0, 0.0), ValueError, "b must"),
        (lambda: S.gauss_hermite(0), ValueError, "order"),
        (lambda: S.exact_loss(line(), randn(3, 2), A, B), ValueError, "points"),
        (lambda: S.exact_loss(line(), points(), A, B, torch.ones(3).double()), ValueError, "alpha"),
        (lambda: S.exact_loss(line(), points(), A, B, order=2.0), TypeError, "order"),
        (lambda: S.distillation_loss(None, None, points(), points(), torch.ones(5).double()), TypeError, "teacher"),
        (lambda: S.random_directions(3, 0), ValueError, "d must"),
        (lambda: S.sliced_wasserstein(points(), points()[:3], torch.ones(1, 1).double()), ValueError, "y must"),
        (lambda: S.fast_sliced_wasserstein(points(), points() / 0, torch.ones(1, 1).double()), ValueError, "y must"),
    ],
)  # fmt: skip
def test_what_is_refused(call, kind, names):
    with pytest.raises(kind, match=names):
        call()
