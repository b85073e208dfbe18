"""GANs and idempotent networks: values, gradients of two players and two copies, spirals, projectors."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lbdl.core import generator
from lbdl.frontiers import idempotent as I

pytestmark = pytest.mark.filterwarnings("error")

WEIGHTS = [(1.0, 1.0), (1.0, 0.5), (20.0, 2.5), (0.3, 2.0), (0.0, 1.0)]


def randn(*shape, stream="x", device="cpu"):
    x = torch.randn(shape, generator=generator(stream), dtype=torch.float64)
    return x.to(device)


def net(*sizes, stream="net", device="cpu"):
    """Layers with tanh between them, every weight random."""
    draw = generator(stream)
    layers = []
    for n, m in itertools.pairwise(sizes):
        layers += [nn.Linear(n, m, dtype=torch.float64), nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.7 * torch.randn(p.shape, generator=draw, dtype=p.dtype))
    return model.to(device)


def critic_of(model):
    return lambda x: model(x)[..., 0]


def gradients(loss, model):
    return torch.autograd.grad(loss, list(model.parameters()))


def close(got, due, **more):
    torch.testing.assert_close(got, due, rtol=1e-11, atol=1e-12, **more)


# --- The value ---

GRID = torch.linspace(-12, 12, 4001, dtype=torch.float64)
STEP = torch.full_like(GRID, 24 / 4000)


def normal(mean, std):
    return -((GRID - mean) ** 2) / (2 * std**2) - math.log(
        std * math.sqrt(2 * math.pi)
    )


@pytest.mark.parametrize(
    ("mean", "std"), [(0.0, 1.0), (1.0, 1.0), (2.0, 0.5), (-1.0, 1.5)]
)
def test_the_divergence_is_that_of_scipy(mean, std):
    distance = pytest.importorskip("scipy.spatial.distance")
    p, q = normal(0, 1), normal(mean, std)
    due = distance.jensenshannon(p.exp().numpy(), q.exp().numpy()) ** 2
    assert float(I.jensen_shannon(p, q, STEP)) == pytest.approx(due, abs=1e-12)


def test_the_best_discriminator_beats_others_point_by_point():
    p, q = normal(0, 1), normal(1, 0.7)
    best = I.optimal_discriminator(p, q)
    trial = torch.linspace(1e-3, 1 - 1e-3, 999, dtype=torch.float64)[:, None]
    gain = p.exp() * trial.log() + q.exp() * (1 - trial).log()
    told = p.exp() * best.log() + q.exp() * (1 - best).log()
    fine = best.log().isfinite() & (1 - best).log().isfinite()
    assert bool((told >= gain.max(0).values - 1e-15)[fine].all())
    inside = (p > -20) & (q > -20) & (best > 0.01) & (best < 0.99)
    assert float((trial[gain.argmax(0), 0] - best)[inside].abs().max()) < 1e-3


def test_the_value_at_the_best_discriminator():
    p, q = normal(0, 1), normal(1, 0.7)
    logits = p - q
    value = (
        STEP * (p.exp() * F.logsigmoid(logits) + q.exp() * F.logsigmoid(-logits))
    ).sum()
    due = 2 * I.jensen_shannon(p, q, STEP) - 2 * math.log(2)
    close(value, due)


def test_the_value_of_samples():
    real, fake = randn(3, 5, stream="real"), randn(3, 4, stream="fake")
    d, e = torch.sigmoid(real), torch.sigmoid(fake)
    close(I.gan_value(real, fake), d.log().mean(-1) + (1 - e).log().mean(-1))
    assert bool(I.gan_value(100 * real, 100 * fake).isfinite().all())


def test_disjoint_supports_and_empty_places():
    inf = math.inf
    p = torch.tensor([0.0, -inf, -inf], requires_grad=True)
    q = torch.tensor([-inf, 0.0, -inf], requires_grad=True)
    ones = torch.ones(3)
    assert float(I.jensen_shannon(p, q, ones).detach()) == pytest.approx(
        math.log(2)
    )
    assert float(I.jensen_shannon(p, p, ones).detach()) == pytest.approx(0)
    assert I.optimal_discriminator(p, q).tolist() == [1, 0, 0.5]
    for y in (I.jensen_shannon(p, q, ones), I.optimal_discriminator(p, q).sum()):
        assert not any(
            bool(g.isnan().any()) for g in torch.autograd.grad(y, [p, q])
        )
    tiny = torch.tensor([-2000.0]), torch.tensor([-2001.0])
    assert float(I.optimal_discriminator(*tiny)) == pytest.approx(
        1 / (1 + math.exp(-1))
    )


# --- Two players ---


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 3.0])
def test_one_loss_has_the_gradients_of_both_players(weight, device):
    critic, maker = (
        net(2, 8, 1, device=device),
        net(3, 8, 2, stream="maker", device=device),
    )
    D, real, z = (
        critic_of(critic),
        randn(7, 2, device=device),
        randn(5, 3, stream="z", device=device),
    )
    one = I.one_loss(D, real, maker(z), weight)
    made = maker(z)
    close(
        gradients(one, critic),
        gradients(D(real).mean() - D(made.detach()).mean(), critic),
    )
    one = I.one_loss(D, real, maker(z), weight)
    close(gradients(one, maker), gradients(weight * D(made).mean(), maker))
    close(one.detach(), (D(real).mean() - D(made).mean()).detach())
    met = D(real).mean() - D(I.reverse_gradient(maker(z), weight)).mean()
    both = nn.ModuleList([critic, maker])
    one = I.one_loss(D, real, maker(z), weight)
    close(gradients(met, both), gradients(one, both))


def test_reversal_keeps_values_and_turns_gradients():
    x = randn(4, 3).requires_grad_()
    factor = randn(4, 1, stream="factor")
    y = I.reverse_gradient(x, factor)
    assert torch.equal(y.detach(), x.detach())
    slope = randn(4, 3, stream="slope")
    close(torch.autograd.grad(y, x, slope)[0], -factor * slope)


def test_by_default_a_gradient_is_turned_and_keeps_its_length():
    x, slope = randn(4, 3).requires_grad_(), randn(4, 3, stream="slope")
    close(torch.autograd.grad(I.reverse_gradient(x), x, slope)[0], -slope)


def test_the_penalty_is_half_the_mean_squared_slope(device):
    critic = net(2, 8, 1, device=device)
    x = randn(6, 2, device=device)
    rows = torch.stack(
        [torch.autograd.functional.jacobian(critic, r)[0] for r in x]
    )
    penalty = I.r1_penalty(critic_of(critic), x)
    close(penalty.detach(), rows.square().sum(-1).mean() / 2)
    first = critic[0].weight
    slope = torch.autograd.grad(penalty, first)[0][0, 0]
    eps = 1e-6
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            first[0, 0] += sign * eps
            values.append(I.r1_penalty(critic_of(critic), x))
            first[0, 0] -= sign * eps
    assert float(slope) == pytest.approx(
        float((values[0] - values[1]) / (2 * eps)), rel=1e-6
    )
    psi = torch.tensor(3.0, dtype=torch.float64)
    assert float(
        I.r1_penalty(lambda t: psi * t[..., 0], x[:, :1])
    ) == pytest.approx(4.5)
    two = torch.stack([x, 2 * x])
    close(
        I.r1_penalty(critic_of(critic), two),
        torch.stack([I.r1_penalty(critic_of(critic), t) for t in two]),
    )


# --- The smallest game ---


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_the_path_is_the_matrix_again_and_again(penalty, alternating):
    M = I.dirac_step(0.2, penalty, alternating).double().numpy()
    start = torch.tensor([1.0, 0.5], dtype=torch.float64)
    path = I.dirac_path(start, 9, 0.2, penalty, alternating)
    for t in (0, 1, 9):
        due = np.linalg.matrix_power(M, t) @ start.numpy()
        np.testing.assert_allclose(path[t].numpy(), due, rtol=1e-6)


@pytest.mark.parametrize("game", I.GAMES)
@pytest.mark.parametrize("alternating", [False, True])
def test_a_step_is_gradient_descent_of_both_players(game, alternating):
    lr, penalty = 0.1, 0.4
    theta, psi = (
        torch.tensor(v, dtype=torch.float64, requires_grad=True)
        for v in (1.2, -0.7)
    )
    f = (lambda t: t) if game == "linear" else F.logsigmoid
    critic_loss = -f(theta * psi) + penalty * psi**2 / 2
    new = psi - lr * torch.autograd.grad(critic_loss, psi)[0]
    seen = new.detach() if alternating else psi.detach()
    moved = theta - lr * torch.autograd.grad(f(theta * seen), theta)[0]
    path = I.dirac_path(
        torch.stack([theta, psi]).detach(), 1, lr, penalty, alternating, game
    )
    close(path[1], torch.stack([moved, new]).detach())


def radius(lr, penalty, alternating):
    return float(
        torch.linalg.eigvals(I.dirac_step(lr, penalty, alternating).double())
        .abs()
        .max()
    )


@pytest.mark.parametrize("lr", [0.01, 0.1, 0.5, 1.0, 1.9])
def test_without_a_penalty_it_spirals_out_or_circles(lr):
    assert radius(lr, 0.0, False) == pytest.approx(math.sqrt(1 + lr**2), rel=1e-6)
    assert radius(lr, 0.0, True) == pytest.approx(1, rel=1e-5)
    for alternating in (False, True):  # no penalty unless one is asked for
        without = I.dirac_step(lr, alternating=alternating)
        close(without, I.dirac_step(lr, 0.0, alternating))


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("lr", [0.01, 0.1, 0.5, 1.0, 1.9])
def test_it_comes_to_rest_between_the_two_penalties_and_nowhere_else(
    lr, alternating
):
    low, high = I.dirac_penalties(lr, alternating)
    assert 0 <= low < high
    for share in (0.01, 0.1, 0.5, 0.9, 0.99):
        assert radius(lr, low + share * (high - low), alternating) < 1
    assert radius(lr, high * 1.01, alternating) > 1
    if low > 0:
        assert radius(lr, low * 0.99, alternating) > 1


@pytest.mark.parametrize("alternating", [False, True])
def test_at_rate_two_no_penalty_helps(alternating):
    low, high = I.dirac_penalties(2.0, alternating)
    assert low >= high
    assert all(
        radius(2.0, g, alternating) >= 1 - 1e-6 for g in np.linspace(0, 5, 101)
    )


# --- Idempotent networks ---


@pytest.mark.parametrize("clip", [None, 0.5, 1.5])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_one_network_has_the_gradient_of_two_copies(weights, clip, device):
    f = net(2, 8, 2, device=device)
    x, z = randn(7, 2, device=device), randn(5, 2, stream="z", device=device)
    frozen = copy.deepcopy(f).requires_grad_(False)
    due = gradients(I.ign_loss_by_copy(f, frozen, x, z, *weights, clip), f)
    close(gradients(I.ign_loss(f, x, z, *weights, clip), f), due)
    if clip is None:
        close(gradients(I.fast_ign_loss(f, x, z, *weights), f), due)
        values = [
            g(f, x, z, *weights).detach() for g in (I.ign_loss, I.fast_ign_loss)
        ]
        close(*values)


def test_the_copy_written_out():
    """The terms one by one, with nothing of the library."""
    f, x, z = net(2, 8, 2), randn(7, 2), randn(5, 2, stream="z")
    frozen = copy.deepcopy(f).requires_grad_(False)
    made = f(z)
    still = made.detach()
    due = (
        (f(x) - x).square().sum(-1).mean()
        + 3 * (frozen(made) - made).square().sum(-1).mean()
        - 0.2 * (f(still) - still).square().sum(-1).mean()
    )
    close(I.ign_loss_by_copy(f, frozen, x, z, 3, 0.2), due)
    close(gradients(I.ign_loss(f, x, z, 3, 0.2), f), gradients(due, f))


def test_the_form_for_equal_weights_is_wrong_for_others():
    f, x, z = net(2, 8, 2), randn(7, 2), randn(5, 2, stream="z")

    def circulating(li, lt):
        made = f(z)
        held, moved = (I.drift(f, y).mean() for y in (made.detach(), made))
        return I.drift(f, x).mean() - 2 * lt * held + li * moved

    for weights in ((1.0, 1.0), (2.0, 2.0)):
        close(
            gradients(circulating(*weights), f),
            gradients(I.ign_loss(f, x, z, *weights), f),
        )
    for weights in ((1.0, 0.5), (20.0, 2.5)):
        pairs = zip(
            gradients(circulating(*weights), f),
            gradients(I.ign_loss(f, x, z, *weights), f),
            strict=True,
        )
        assert max(float((a - b).abs().max()) for a, b in pairs) > 1e-3


def test_networks_side_by_side_have_losses_of_their_own():
    W = (0.4 * randn(2, 3, 2, 2, stream="W")).requires_grad_()
    x, z = randn(2, 3, 7, 2), randn(2, 3, 5, 2, stream="z")
    lt = torch.tensor([0.1, 1.0], dtype=torch.float64)[:, None]
    for loss in (I.ign_loss, I.fast_ign_loss):
        both = loss(lambda y: torch.tanh(y @ W), x, z, 0.5, lt)
        slope = torch.autograd.grad(both.sum(), W)[0]
        for i in range(2):
            for j in range(3):
                alone = loss(
                    lambda y, w=W[i, j]: torch.tanh(y @ w),
                    x[i, j],
                    z[i, j],
                    0.5,
                    float(lt[i]),
                )
                close(both[i, j], alone)
                close(slope[i, j], torch.autograd.grad(alone, W)[0][i, j])


def test_the_clip_bounds_the_value_and_scales_the_slope():
    x = torch.linspace(-9, 9, 19, dtype=torch.float64, requires_grad=True)
    bound = torch.full_like(x, 2.0)
    y = I.soft_clip(x, bound)
    assert float(y.detach().abs().max()) < 2
    close(torch.autograd.grad(y.sum(), x)[0], 1 - torch.tanh(x.detach() / 2) ** 2)
    small = torch.tensor([1e-4, 0.0], dtype=torch.float64, requires_grad=True)
    close(
        I.soft_clip(small, torch.ones_like(small)).detach(),
        torch.tanh(small.detach()),
    )
    none = I.soft_clip(small, torch.zeros_like(small))
    assert none.tolist() == [0, 0]
    assert not bool(torch.autograd.grad(none.sum(), small)[0].isnan().any())


def test_a_clip_far_away_changes_nothing_and_a_near_one_bounds_the_loss():
    f, x, z = net(2, 8, 2), randn(7, 2), randn(5, 2, stream="z")
    torch.testing.assert_close(
        I.ign_loss(f, x, z, 1, 2, clip=1e6), I.ign_loss(f, x, z, 1, 2)
    )
    kept = float(I.drift(f, x).mean().detach())
    assert float(I.ign_loss(f, x, z, 1, 0.5, clip=1.0).detach()) > kept * (1 - 0.5)


def test_the_identity_is_a_resting_point_for_every_weight():
    W = torch.eye(3, dtype=torch.float64, requires_grad=True)
    x, z = randn(7, 3), randn(5, 3, stream="z")
    for weights in WEIGHTS:
        loss = I.ign_loss(lambda y: y @ W, x, z, *weights)
        assert float(loss.detach()) == 0
        assert float(torch.autograd.grad(loss, W)[0].abs().max()) == 0


# --- Idempotent matrices ---


@pytest.mark.parametrize(("d", "r"), [(1, 1), (3, 1), (5, 2), (4, 4)])
def test_a_projector_is_idempotent_with_eigenvalues_0_and_1(d, r):
    A, B = randn(2, d, r, stream="A"), randn(2, d, r, stream="B")
    P = I.oblique_projector(A, B)
    torch.testing.assert_close(P @ P, P, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(P @ A, A, rtol=1e-8, atol=1e-9)
    null = torch.linalg.svd(B.mT)[2].mT[..., r:]
    torch.testing.assert_close(P @ null, torch.zeros_like(null), rtol=0, atol=1e-8)
    for p in P:
        found = np.sort(np.linalg.eigvals(p.numpy()).real)
        np.testing.assert_allclose(found, [0] * (d - r) + [1] * r, atol=1e-7)


def test_against_itself_it_is_the_orthogonal_projector():
    A = randn(5, 2)
    torch.testing.assert_close(I.oblique_projector(A, A), A @ torch.linalg.pinv(A))
    one = I.oblique_projector(1e200 * A, 1e-200 * A)
    torch.testing.assert_close(one, A @ torch.linalg.pinv(A))


# --- Refusals ---


def test_refusals():
    x, f = randn(4, 2), net(2, 8, 2)
    with pytest.raises(ValueError, match="critic must give one score for each row"):
        I.one_loss(f, x, x)
    with pytest.raises(ValueError, match="f must keep the shape"):
        I.drift(lambda y: y[..., :1], x)
    with pytest.raises(ValueError, match="tightness must be finite and > 0"):
        I.fast_ign_loss(f, x, x, 1.0, 0.0)
    with pytest.raises(ValueError, match="clip must be finite and > 0"):
        I.ign_loss(f, x, x, clip=0.0)
    with pytest.raises(ValueError, match="invertible"):
        I.oblique_projector(torch.eye(3)[:, :1], torch.eye(3)[:, 1:2])
    with pytest.raises(ValueError, match="bound must be >= 0"):
        I.soft_clip(x, -x.abs())
    with pytest.raises(ValueError, match="weights must be >= 0"):
        I.jensen_shannon(x, x, -x.abs())
    with pytest.raises(ValueError, match="game must be one of"):
        I.dirac_path(x, 3, 0.1, game="square")
    with pytest.raises(ValueError, match="tightness must broadcast"):
        I.ign_loss(f, x, x, 1.0, torch.ones(3, dtype=x.dtype))


def test_gradients_by_gradcheck():
    p, q = (randn(6, stream=s).requires_grad_() for s in "pq")
    w = randn(6, stream="w").abs()
    assert torch.autograd.gradcheck(lambda a, b: I.jensen_shannon(a, b, w), (p, q))
    assert torch.autograd.gradcheck(I.optimal_discriminator, (p, q))
    assert torch.autograd.gradcheck(I.gan_value, (p, q))
