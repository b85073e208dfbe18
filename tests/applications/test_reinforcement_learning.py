"""Reinforcement learning: solvers against linear programs and each other, learners against the solvers, gradients
against autograd and enumeration."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lbdl.applications import reinforcement_learning as R
from lbdl.core import generator

pytestmark = pytest.mark.filterwarnings("error")

GAMMAS = [0.0, 0.3, 0.9, 0.99]


def randn(*shape, stream="x", device="cpu", dtype=torch.float64):
    x = torch.randn(shape, generator=generator(stream), dtype=torch.float64)
    return x.to(device, dtype)


def world(*batch, S=5, A=3, end=0.0, device="cpu", dtype=torch.float64):
    """Transitions and rewards at random; the world ends with chance `end`."""
    P = (2 * randn(*batch, S, A, S, stream="P")).softmax(-1)
    P = (1 - end) * P
    return P.to(device, dtype), randn(*batch, S, A, stream="r").to(device, dtype)


def policy(*shape, device="cpu", dtype=torch.float64):
    return randn(*shape, stream="pi").softmax(-1).to(device, dtype)


def close(got, due, **more):
    torch.testing.assert_close(got, due, **{"rtol": 1e-9, "atol": 1e-10, **more})


# --- What a policy is worth ---


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_value_is_the_sum_of_the_series(gamma, device):
    P, r = world(2, device=device)
    pi = policy(2, 5, 3, device=device)
    chain = torch.einsum("bsa,bsat->bst", pi, P)
    due = term = torch.einsum("bsa,bsa->bs", pi, r)
    for _ in range(4000):
        term = gamma * torch.einsum("bst,bt->bs", chain, term)
        due = due + term
    close(R.policy_value(P, r, pi, gamma), due)


def test_the_value_is_that_of_numpy():
    P, r = world(S=7)
    pi = policy(7, 3)
    chain = np.einsum("sa,sat->st", pi.numpy(), P.numpy())
    reward = (pi * r).sum(-1).numpy()
    due = np.linalg.solve(np.eye(7) - 0.95 * chain, reward)
    close(R.policy_value(P, r, pi, 0.95), torch.from_numpy(due))


def test_a_discount_is_a_chance_to_end():
    P, r = world()
    pi = policy(5, 3)
    close(R.policy_value(0.8 * P, r, pi, 1.0), R.policy_value(P, r, pi, 0.8))
    close(
        R.value_iteration(0.8 * P, r, 0.5, 1e-12).value,
        R.value_iteration(P, r, 0.4, 1e-12).value,
    )


def test_a_chain_of_steps_by_hand():
    P = torch.zeros(3, 1, 3)
    P[0, 0, 1] = P[1, 0, 2] = 1.0
    r = torch.tensor([[1.0], [2.0], [4.0]])
    pi = torch.ones(3, 1)
    assert R.policy_value(P, r, pi, 0.5).tolist() == [3.0, 4.0, 4.0]
    assert R.policy_value(P, r, pi, 1.0).tolist() == [7.0, 6.0, 4.0]
    assert R.policy_value(P, r, pi, 0.0).tolist() == [1.0, 2.0, 4.0]
    assert R.occupancy(P, pi, torch.tensor([1.0, 0, 0]), 0.5).tolist() == [
        1,
        0.5,
        0.25,
    ]


def test_one_state_is_a_geometric_series():
    P, r = torch.ones(1, 1, 1), torch.tensor([[3.0]])
    for gamma in GAMMAS:
        due = torch.tensor([3 / (1 - gamma)])
        close(R.policy_value(P, r, torch.ones(1, 1), gamma), due, rtol=1e-5)
        for solve in (
            R.value_iteration,
            R.fast_value_iteration,
            R.policy_iteration,
        ):
            close(solve(P, r, gamma).value, due, rtol=1e-4)


def test_occupancy_weighs_the_rewards():
    P, r = world(2, end=0.1)
    pi, start = policy(2, 5, 3), policy(2, 5)
    for gamma in (0.0, 0.7, 1.0):
        V = R.policy_value(P, r, pi, gamma)
        d = R.occupancy(P, pi, start, gamma)
        close((d[..., None] * pi * r).sum((-2, -1)), (start * V).sum(-1))
    whole = R.occupancy(*(x[0] for x in (P / 0.9, pi, start)), 0.7)
    close(whole.sum(), torch.tensor(1 / 0.3, dtype=torch.float64))


def test_bellman_is_the_best_of_the_actions_by_loops():
    P, r = world(S=3, A=2)
    V = randn(3, stream="V")
    for s in range(3):
        worths = [
            float(r[s, a]) + 0.9 * sum(float(P[s, a, t] * V[t]) for t in range(3))
            for a in range(2)
        ]
        got = R.action_values(P, r, V, 0.9)[s].tolist()
        assert got == pytest.approx(worths)
        assert float(R.bellman(P, r, V, 0.9)[s]) == pytest.approx(max(worths))


def test_greedy_takes_the_first_of_equals():
    Q = torch.tensor([[[1.0, 3.0], [2.0, 2.0]]])
    assert R.greedy(Q).tolist() == [[[0, 1], [1, 0]]]


# --- The best policy ---

SOLVERS = [R.value_iteration, R.fast_value_iteration, R.policy_iteration]


def by_linear_program(P, r, gamma):
    """The smallest V with V >= r + gamma P V for every action."""
    linprog = pytest.importorskip("scipy.optimize").linprog
    S, A = r.shape
    rows = gamma * P.numpy().reshape(S * A, S) - np.repeat(np.eye(S), A, 0)
    found = linprog(
        np.ones(S), A_ub=rows, b_ub=-r.numpy().ravel(), bounds=(None, None)
    )
    return torch.from_numpy(found.x)


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_best_values_are_those_of_a_linear_program(solve, gamma, device):
    P, r = world(3, end=0.05, device=device)
    found = solve(P, r, gamma)
    due = torch.stack(
        [
            by_linear_program(p, q, gamma)
            for p, q in zip(P.cpu(), r.cpu(), strict=True)
        ]
    )
    close(found.value.cpu(), due, atol=2e-6)
    close(R.policy_value(P, r, found.policy, gamma).cpu(), due, atol=2e-6)


@pytest.mark.parametrize("solve", SOLVERS)
def test_the_best_policy_of_all_by_enumeration(solve):
    P, r = world(S=4, A=3, end=0.02)
    values = [
        R.policy_value(P, r, F.one_hot(torch.tensor(a), 3).double(), 0.95)
        for a in itertools.product(range(3), repeat=4)
    ]
    close(solve(P, r, 0.95).value, torch.stack(values).amax(0), atol=1e-6)


@pytest.mark.parametrize("solve", SOLVERS)
def test_a_batch_is_its_problems_one_by_one(solve):
    P, r = world(2, 3)
    both = solve(P, r, 0.9)
    for i, j in itertools.product(range(2), range(3)):
        alone = solve(P[i, j], r[i, j], 0.9)
        for got, due in zip(both, alone, strict=True):
            close(got[i, j], due)
    shared = solve(P[0, 0], r, 0.9)
    close(shared.value[1, 2], solve(P[0, 0], r[1, 2], 0.9).value)


@pytest.mark.parametrize("solve", SOLVERS[:2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_error_is_a_bound(solve, dtype):
    P, r = world(20, end=0.01, dtype=dtype)
    exact = R.policy_iteration(P.double(), r.double(), 0.9).value
    for tol in (1.0, 1e-2, 1e-3):
        found = solve(P, r, 0.9, tol)
        assert found.value.dtype == dtype
        assert bool((found.error <= tol).all())
        off = (found.value.double() - exact).abs().amax(-1)
        assert bool((off <= found.error + 1e-5).all())


@pytest.mark.parametrize("solve", SOLVERS)
def test_it_ends_at_the_limit(solve):
    P, r = world()
    few = {R.policy_iteration: 1}.get(solve, 3)
    found = solve(P, r, 0.99, limit=few)
    assert int(found.steps) <= few
    if solve is not R.policy_iteration:
        assert float(found.error) > 1e-6


def test_three_steps_of_value_iteration_are_three_times_the_operator():
    P, r = world()
    V = torch.zeros(5, dtype=torch.float64)
    for _ in range(3):
        V = R.bellman(P, r, V, 0.9)
    close(R.value_iteration(P, r, 0.9, limit=3).value, V)


def test_sweeps_of_no_length_are_value_iteration():
    P, r = world(2)
    for got, due in zip(
        R.fast_value_iteration(P, r, 0.9, sweeps=0),
        R.value_iteration(P, r, 0.9),
        strict=True,
    ):
        close(got, due)
    assert int(R.fast_value_iteration(P, r, 0.9).steps.max()) < 20


def test_policy_iteration_never_gets_worse_and_ends():
    P, r = world(50, S=6, A=4)
    pi = policy(50, 6, 4)
    values = [
        R.policy_iteration(P, r, 0.95, pi, limit=k).value for k in range(1, 15)
    ]
    for before, after in itertools.pairwise(values):
        assert bool((after >= before - 1e-9).all())
    close(values[-1], R.policy_iteration(P, r, 0.95).value)
    assert int(R.policy_iteration(P, r, 0.95, pi).steps.max()) < 14


def test_gamma_zero_takes_the_largest_reward():
    P, r = world(2)
    for solve in SOLVERS:
        close(solve(P, r, 0.0).value, r.amax(-1))


# --- Single steps ---


def test_targets_by_hand():
    reward = torch.tensor([1.0, 1.0])
    rows = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    other = torch.tensor([[5.0, 7.0], [5.0, 7.0]])
    ended = torch.tensor([False, True])
    half = torch.full_like(rows, 0.5)
    assert R.q_target(reward, rows, ended, 0.5).tolist() == [2.5, 1]
    assert R.sarsa_target(reward, rows, half, ended, 0.5).tolist() == [2, 1]
    assert R.double_q_target(reward, rows, other, ended, 0.5).tolist() == [4.5, 1]
    assert R.double_q_target(reward, -rows, other, ended, 0.5).tolist() == [3.5, 1]


def test_what_follows_an_end_is_not_read():
    ended = torch.tensor([True])
    bad = torch.full((1, 2), math.nan)
    assert R.q_target(torch.ones(1), bad, ended, 0.5).tolist() == [1]
    assert R.double_q_target(
        torch.ones(1), torch.ones(1, 2), bad, ended, 0.5
    ).tolist() == [1]


@pytest.mark.parametrize(
    ("rule", "off"),
    [("q", 0.05), ("double", 0.08), ("expected", 0.05), ("sarsa", 0.2)],
)
def test_learners_come_to_the_fixed_point_of_their_rule(rule, off):
    P, r = world(S=3, A=2, end=0.2)
    start, explore = torch.full((3,), 1 / 3, dtype=torch.float64), 0.6
    if rule in ("q", "double"):
        V = R.policy_iteration(P, r, 0.8).value
    else:  # the best policy that explores: a world in which each action is blurred
        blurred = [
            (1 - explore) * x + explore * x.mean(1, keepdim=True) for x in (P, r)
        ]
        V = R.policy_iteration(*blurred, 0.8).value
    due = R.action_values(P, r, V, 0.8)
    found = R.learn_table(
        P,
        r,
        start,
        0.8,
        6000,
        rule,
        1.0,
        0.8,
        explore,
        0.0,
        30,
        generator=generator("q"),
    )
    assert float((found.Q.mean(0) - due).abs().max()) < off


def test_episodes_are_told_as_they_were():
    P = torch.zeros(3, 1, 3)
    P[0, 0, 1] = P[1, 0, 2] = 1.0
    r = torch.tensor([[1.0], [2.0], [4.0]])
    start = torch.tensor([1.0, 0, 0])
    told = R.learn_table(
        P, r, start, 0.9, 7, rate=1.0, runs=2, generator=generator()
    )
    assert told.rewards.T.tolist() == [[1, 2, 4, 1, 2, 4, 1]] * 2
    assert told.ended.T.tolist() == [[False, False, True] * 2 + [False]] * 2
    assert told.Q[0, 2, 0] == 4  # the reward alone, with nothing after the end
    drawn = R.rollout(P, r, torch.ones(3, 1), start, 5, 2, generator=generator())
    assert drawn.rewards.tolist() == [[1, 2, 4, 0, 0]] * 2
    assert drawn.alive.tolist() == [[True] * 3 + [False] * 2] * 2
    assert drawn.states[:, :3].tolist() == [[0, 1, 2]] * 2


def test_rollouts_return_what_the_formula_says():
    P, r = world(end=0.1)
    pi, start = policy(5, 3), policy(5)
    drawn = R.rollout(P, r, pi, start, 120, 20000, generator=generator("rollout"))
    powers = 0.9 ** torch.arange(120, dtype=torch.float64)
    returns = (drawn.rewards * powers).sum(-1)
    due = float((start * R.policy_value(P, r, pi, 0.9)).sum())
    assert float(returns.mean()) == pytest.approx(
        due, abs=5 * float(returns.std()) / 20000**0.5
    )
    alive = drawn.alive.double().mean(0)
    assert float(alive[10]) == pytest.approx(0.9**10, abs=0.02)


def test_a_row_that_sums_to_one_up_to_rounding_never_ends():
    P = torch.full((7, 1, 7), 1 / 7)
    P = P.softmax(-1)
    drawn = R.rollout(
        P,
        torch.zeros(7, 1),
        torch.ones(7, 1),
        torch.full((7,), 1 / 7),
        500,
        300,
        generator=generator(),
    )
    assert bool(drawn.alive.all())


def test_noise_has_the_spread_that_was_asked_for():
    P, r = torch.ones(1, 1, 1), torch.zeros(1, 1)
    told = R.learn_table(
        P, r, torch.ones(1), 0.0, 300, noise=2.0, runs=100, generator=generator()
    )
    assert float(told.rewards.std()) == pytest.approx(2, rel=0.05)


# --- Networks ---


@pytest.mark.parametrize("double", [False, True])
def test_the_loss_of_a_network_written_out(double, device):
    W, old = (randn(2, 3, stream=s, device=device) for s in "WV")
    x, y = randn(8, 2, device=device), randn(8, 2, stream="y", device=device)
    a = torch.arange(8, device=device) % 3
    r = 3 * randn(8, stream="r", device=device)
    ended = torch.arange(8, device=device) % 4 == 1
    due = []
    for i in range(8):
        best = (y[i] @ (W if double else old)).argmax()
        later = 0.0 if ended[i] else float((y[i] @ old)[best])
        e = abs(float((x[i] @ W)[a[i]]) - float(r[i]) - 0.9 * later)
        due.append(e * e / 2 if e < 1 else e - 0.5)
    assert max(due) > 1 > min(due)
    got = R.dqn_loss(
        lambda s: s @ W, lambda s: s @ old, x, a, r, y, ended, 0.9, double
    )
    assert float(got) == pytest.approx(np.mean(due))


def test_the_target_gets_no_gradient():
    W = randn(2, 3, stream="W").requires_grad_()
    x, y, r = randn(8, 2), randn(8, 2, stream="y"), randn(8, stream="r")
    a, ended = torch.zeros(8, dtype=torch.int64), torch.zeros(8, dtype=torch.bool)
    for double in (False, True):
        loss = R.dqn_loss(
            lambda s: s @ W, lambda s: s @ W, x, a, r, y, ended, 0.9, double
        )
        frozen = W.detach().clone()
        same = R.dqn_loss(
            lambda s: s @ W,
            lambda s, f=frozen: s @ f,
            x,
            a,
            r,
            y,
            ended,
            0.9,
            double,
        )
        close(*(torch.autograd.grad(one, W)[0] for one in (loss, same)))


def test_networks_side_by_side_have_losses_of_their_own():
    W = randn(4, 2, 3, stream="W")
    x, y, r = randn(4, 8, 2), randn(4, 8, 2, stream="y"), randn(4, 8, stream="r")
    a = torch.zeros(4, 8, dtype=torch.int64)
    ended = r > 0
    both = R.dqn_loss(lambda s: s @ W, lambda s: s @ W, x, a, r, y, ended, 0.9)
    for i in range(4):
        one = R.dqn_loss(
            lambda s, w=W[i]: s @ w,
            lambda s, w=W[i]: s @ w,
            x[i],
            a[i],
            r[i],
            y[i],
            ended[i],
            0.9,
        )
        close(both[i], one)


# --- Policy gradients ---


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
def test_the_policy_gradient_is_that_of_autograd(gamma, device):
    P, r = world(2, end=0.1, device=device)
    start = policy(2, 5, device=device)
    logits = randn(2, 5, 3, stream="l", device=device).requires_grad_()
    value = R.policy_value(P, r, logits.softmax(-1), gamma)
    due = torch.autograd.grad((start * value).sum(), logits)[0]
    close(R.policy_gradient(P, r, logits, start, gamma).detach(), due)


def test_gradcheck_of_values():
    P, r = world(S=3, A=2, end=0.1)
    V, logits = randn(3, stream="V"), randn(3, 2, stream="l")
    start = policy(3)
    for x in (r, V, logits):
        x.requires_grad_()
    check = torch.autograd.gradcheck
    assert check(lambda r, x: R.policy_value(P, r, x.softmax(-1), 0.9), (r, logits))
    assert check(lambda r, V: R.bellman(P, r, V, 0.9), (r, V))
    assert check(lambda r, x: R.policy_gradient(P, r, x, start, 0.9), (r, logits))
    assert check(lambda x: R.tilted(start, x, 0.7), (V,))
    assert check(lambda x: R.tilted_value(start, x, 0.7), (V,))
    assert check(lambda x: R.fast_returns_to_go(x, 0.9), (r,))


def two_steps(gamma, baseline):
    """The mean surrogate of all episodes of two steps, and the return."""
    P, r = world(S=2, A=2)
    logits = randn(2, 2, stream="l").requires_grad_()
    log_pi, start = logits.log_softmax(-1), torch.tensor([0.3, 0.7]).double()
    loss = total = torch.zeros((), dtype=torch.float64)
    for s, a, t, b in itertools.product(range(2), repeat=4):
        chance = start[s] * log_pi[s, a].exp() * P[s, a, t] * log_pi[t, b].exp()
        rewards = torch.stack([r[s, a], r[t, b]])
        total = total + chance * (rewards[0] + gamma * rewards[1])
        logs = torch.stack([log_pi[s, a], log_pi[t, b]])
        loss = loss + chance.detach() * R.reinforce_loss(
            logs, rewards, gamma, baseline
        )
    return loss, total, logits


@pytest.mark.parametrize("gamma", [0.5, 1.0])
@pytest.mark.parametrize("baseline", [0.0, 3.0, torch.tensor([1.0, -2.0])])
def test_reinforce_is_unbiased_by_enumeration(gamma, baseline):
    loss, total, logits = two_steps(gamma, baseline)
    got = torch.autograd.grad(-loss, logits, retain_graph=True)[0]
    close(got, torch.autograd.grad(total, logits)[0])


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
def test_returns_by_loop_and_by_product(gamma, device):
    x = randn(2, 7, device=device)
    plain, fast = R.returns_to_go(x, gamma), R.fast_returns_to_go(x, gamma)
    close(plain, fast)
    due = [
        sum(gamma**k * float(v) for k, v in enumerate(x[0, t:])) for t in range(7)
    ]
    assert plain[0].tolist() == pytest.approx(due)


def test_no_baseline_has_less_spread_than_the_best():
    scores, returns = randn(500, 3), randn(500, stream="r").exp()
    scores = scores - scores.mean(0)
    best = float(R.best_baseline(scores, returns))

    def spread(b):
        return float((scores * (returns - b)[:, None]).square().sum(-1).mean())

    assert all(spread(best) < spread(best + d) for d in (-0.1, -0.01, 0.01, 0.1))
    assert float(R.best_baseline(torch.zeros(4, 2), torch.ones(4))) == 0


# --- Near another policy ---


def kl(q, p):
    return torch.where(q > 0, q * (q / p).log(), 0).sum(-1)


@pytest.mark.parametrize("beta", [0.05, 1.0, 30.0])
def test_no_policy_beats_the_tilted_one(beta):
    p, reward = policy(6), randn(6, stream="r")
    q = R.tilted(p, reward, beta)
    gain = lambda q: (q * reward).sum(-1) - beta * kl(q, p)
    close(gain(q), R.tilted_value(p, reward, beta))
    others = torch.cat(
        [
            (randn(500, 6) * 2).softmax(-1),
            (q.log() + 0.1 * randn(500, 6, stream="n")).softmax(-1),
        ]
    )
    assert bool((gain(others) < gain(q)).all())


def test_what_has_no_chance_gets_none_and_gives_no_gradient():
    p = torch.tensor([0.5, 0.0, 0.5])
    reward = torch.tensor([0.0, 1e4, 1.0], requires_grad=True)
    q = R.tilted(p, reward, 0.1)
    assert q[1] == 0
    assert bool(q.isfinite().all())
    value = R.tilted_value(p, reward, 0.1)
    slope = torch.autograd.grad(value, reward)[0]
    close(slope, q.detach(), rtol=1e-5)
    assert R.best_of(p, reward.detach(), 3).tolist() == pytest.approx(
        [0.125, 0, 0.875]
    )


def test_the_limits_of_beta():
    p, reward = policy(4), torch.tensor([0.0, 3.0, 1.0, 2.0]).double()
    assert float(R.tilted(p, reward, 1e-3)[1]) == 1
    close(R.tilted(p, reward, 1e9), p, atol=1e-8)
    assert float(R.tilted_value(p, reward, 1e-3)) == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_best_of_some_by_enumeration(n):
    p = policy(4)
    reward = torch.tensor([1.0, 3.0, 3.0, 0.0]).double()  # two are equal
    due = torch.zeros(4, dtype=torch.float64)
    for drawn in itertools.product(range(4), repeat=n):
        chance = float(torch.stack([p[i] for i in drawn]).prod())
        top = max(reward[i] for i in drawn)
        best = [i for i in drawn if reward[i] == top]
        for i in best:
            due[i] += chance / len(best)
    got = R.best_of(p, reward, n)
    close(got, due)
    bound = math.log(n) - (n - 1) / n
    assert float(kl(got, p)) <= bound + 1e-12


# --- Refusals ---


def test_refusals():
    P, r = world()
    pi, start = policy(5, 3), policy(5)
    with pytest.raises(ValueError, match="rows that sum to 1 or less"):
        R.bellman(1.1 * P, r, r[:, 0], 0.9)
    with pytest.raises(ValueError, match="gamma must be below 1 where"):
        R.policy_value(
            torch.eye(2)[:, None], torch.ones(2, 1), torch.ones(2, 1), 1.0
        )
    with pytest.raises(ValueError, match="gamma must be finite and >= 0 and < 1"):
        R.value_iteration(P, r, 1.0)
    with pytest.raises(ValueError, match="pi must be probabilities"):
        R.policy_value(P, r, 2 * pi, 0.9)
    with pytest.raises(ValueError, match="rule must be one of"):
        R.learn_table(P, r, start, 0.9, 3, "watkins", generator=generator())
    with pytest.raises(ValueError, match="actions must hold class numbers"):
        R.dqn_loss(
            lambda s: s,
            lambda s: s,
            r,
            torch.full((5,), 3),
            start,
            r,
            start > 1,
            0.9,
        )
    with pytest.raises(ValueError, match="net must give a row"):
        R.dqn_loss(
            lambda s: s[0],
            lambda s: s,
            r,
            torch.full((5,), 2),
            start,
            r,
            start > 1,
            0.9,
        )
    with pytest.raises(ValueError, match="beta must be finite and > 0"):
        R.tilted(start, start, 0.0)
    with pytest.raises(TypeError, match="generator must be a Generator"):
        R.rollout(P, r, pi, start, 3, 3, generator=None)
    with pytest.raises(TypeError, match="dtype of P"):
        R.bellman(P, r.float(), r[:, 0], 0.9)
