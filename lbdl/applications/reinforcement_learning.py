"""Reinforcement learning: the best actions by a formula, by trial, and by gradient.

A world has S states and A actions. P[s, a, s'] is the chance that action a leads
from s to s', r[s, a] the mean reward. Rows of P sum to 1 or less: what is missing
is the chance that the world ends there. A policy pi[s, a] says how likely each
action is, and gamma discounts what comes later.

Bellman 1957, Dynamic Programming; Sutton & Barto 2018, Reinforcement Learning.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lbdl import require

__all__ = [
    "action_values",
    "bellman",
    "best_baseline",
    "best_of",
    "double_q_target",
    "dqn_loss",
    "fast_returns_to_go",
    "fast_value_iteration",
    "greedy",
    "learn_table",
    "occupancy",
    "policy_gradient",
    "policy_iteration",
    "policy_value",
    "q_target",
    "reinforce_loss",
    "returns_to_go",
    "rollout",
    "sarsa_target",
    "tilted",
    "tilted_value",
    "value_iteration",
]

RULES = ("q", "double", "sarsa", "expected")


# --- What a policy is worth ---


def policy_value(P: Tensor, r: Tensor, pi: Tensor, gamma: float) -> Tensor:
    """The mean discounted sum of rewards from every state, under a policy.

        (I - gamma P_pi) V = r_pi
        P_pi[s, s'] = sum_a pi[s, a] P[s, a, s'],   r_pi[s] = sum_a pi[s, a] r[s, a]

    >>> P = torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]])  # a step, then the end
    >>> policy_value(P, torch.tensor([[1.0], [4.0]]), torch.ones(2, 1), 0.5)
    tensor([3., 4.])

    Args:
        P: transitions (..., S, A, S), floating dtype, rows that sum to 1 or less.
        r: rewards (..., S, A), dtype of `P`.
        pi: policy (..., S, A), dtype of `P`, probabilities over the actions.
        gamma: discount in [0, 1]; 1 only where the world ends from every state.

    Returns:
        (..., S), dtype of `P`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P` or `pi` are no probabilities, `r`
            is not finite, or gamma is out of range, or too near 1 for a world
            without an end.

    Source: Bellman 1957; Sutton & Barto 2018, section 4.1.
    """
    require_world(P, r, gamma, most=1)
    require_policy(r, pi=pi)
    P, r, pi = map(require.widen, (P, r, pi))
    chain, reward = followed(P, r, pi)
    return solved(chain, reward, gamma)


def occupancy(P: Tensor, pi: Tensor, start: Tensor, gamma: float) -> Tensor:
    """How often a policy is in each state, later visits discounted.

        d^T = start^T (I - gamma P_pi)^-1 = sum_t gamma^t P(state at t)

    So the return from the start is sum_s d[s] r_pi[s].

    Args:
        P: transitions (..., S, A, S), floating dtype, rows that sum to 1 or less.
        pi: policy (..., S, A), dtype of `P`, probabilities over the actions.
        start: probabilities (..., S) of the first state, dtype of `P`.
        gamma: discount in [0, 1]; 1 only where the world ends from every state.

    Returns:
        (..., S), dtype of `P`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P`, `pi` or `start` are no
            probabilities, or gamma is out of range, or too near 1 for a world
            without an end.

    Source: Sutton et al. 2000, section 1, there d of the discounted case.
    """
    require_world(P, torch.zeros_like(pi_like(P)), gamma, most=1)
    require_policy(P[..., 0], pi=pi)
    require.fitting(P=(P, "... S A S"), start=(start, "... S"))
    require.distribution(start=start)
    P, pi, start = map(require.widen, (P, pi, start))
    chain = mixed(P, pi)
    return solved(chain.mT, start, gamma)


def pi_like(P: Tensor) -> Tensor:
    """A tensor of the shape of rewards, where `P` has dimensions enough."""
    require.floating(P=P)
    require.shapes(P=(P, "... S A S"))
    return P[..., 0]


def followed(P: Tensor, r: Tensor, pi: Tensor) -> tuple[Tensor, Tensor]:
    """The chain of a policy and its rewards."""
    return mixed(P, pi), (pi * r).sum(-1)


def mixed(P: Tensor, pi: Tensor) -> Tensor:
    """P_pi (..., S, S): what a policy makes of the transitions."""
    return (pi[..., None, :] @ P)[..., 0, :]


def solved(chain: Tensor, right: Tensor, gamma: float) -> Tensor:
    """The solution x of (I - gamma chain) x = right."""
    one = torch.eye(chain.shape[-1], dtype=chain.dtype, device=chain.device)
    x, info = torch.linalg.solve_ex(one - gamma * chain, right[..., None])
    require.values(
        info == 0, f"gamma must be below 1 where a world never ends, got {gamma}"
    )
    return x[..., 0]


def action_values(P: Tensor, r: Tensor, V: Tensor, gamma: float) -> Tensor:
    """The worth of one action, if V is what comes after it.

        Q[s, a] = r[s, a] + gamma sum_s' P[s, a, s'] V[s']

    Args:
        P: transitions (..., S, A, S), floating dtype, rows that sum to 1 or less.
        r: rewards (..., S, A), dtype of `P`.
        V: values (..., S), dtype of `P`.
        gamma: discount in [0, 1].

    Returns:
        (..., S, A), dtype of `P`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P` are no probabilities, `r` or `V`
            is not finite, or gamma is out of range.

    Source: Sutton & Barto 2018, equation 4.6.
    """
    require_world(P, r, gamma, most=1)
    require.fitting(P=(P, "... S A S"), r=(r, "... S A"), V=(V, "... S"))
    require.finite(V=V)
    P, r, V = map(require.widen, (P, r, V))
    return look_ahead(P, r, V, gamma)


def look_ahead(P: Tensor, r: Tensor, V: Tensor, gamma: float) -> Tensor:
    """`action_values`, nothing asked."""
    later = P.flatten(-3, -2) @ V[..., None]  # (..., S A, 1)
    return r + gamma * later[..., 0].unflatten(-1, r.shape[-2:])


def bellman(P: Tensor, r: Tensor, V: Tensor, gamma: float) -> Tensor:
    """Bellman's operator: the worth of the best action, if V is what comes after.

        (T V)[s] = max_a (r[s, a] + gamma sum_s' P[s, a, s'] V[s'])

    Args:
        P: transitions (..., S, A, S), floating dtype, rows that sum to 1 or less.
        r: rewards (..., S, A), dtype of `P`.
        V: values (..., S), dtype of `P`.
        gamma: discount in [0, 1].

    Returns:
        (..., S), dtype of `P`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P` are no probabilities, `r` or `V`
            is not finite, or gamma is out of range.

    Source: Bellman 1957; Sutton & Barto 2018, equation 4.10.
    """
    return action_values(P, r, V, gamma).amax(-1)


def greedy(Q: Tensor) -> Tensor:
    """The policy that takes the best action, the first one of equals.

    >>> greedy(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
    tensor([[0., 1.],
            [1., 0.]])

    Args:
        Q: action values (..., A), floating dtype.

    Returns:
        (..., A), dtype of `Q`: 1 for one action, 0 for the others.

    Raises:
        TypeError: `Q` is no floating tensor.
        ValueError: there is no action, or `Q` is not finite.
    """
    require.floating(Q=Q)
    require.shapes(Q=(Q, "... A"))
    require.finite(Q=Q)
    best = Q.detach().argmax(-1, keepdim=True)
    return torch.zeros_like(Q).scatter(-1, best, 1)


# --- The best policy, by a formula ---


class Solution(NamedTuple):
    """What `value_iteration` and its relatives found."""

    value: Tensor  # (..., S)
    policy: Tensor  # (..., S, A), greedy for the value
    steps: Tensor  # (...), int64
    error: Tensor  # (...), no |value - V*| is larger


def value_iteration(
    P: Tensor, r: Tensor, gamma: float, tol: float = 1e-6, limit: int = 10_000
) -> Solution:
    """The best values, by Bellman's operator again and again.

        V_0 = 0,   V_k = T V_(k-1)
        until gamma / (1 - gamma) max |V_k - V_(k-1)| <= tol

    The left side is a bound for the error, max |V_k - V*|.

    No `torch.func`: the values say when it ends.
    No `torch.compile`: the values say when it ends.

    Args:
        P: transitions (..., S, A, S), floating dtype, rows that sum to 1 or less.
        r: rewards (..., S, A), dtype of `P`.
        gamma: discount in [0, 1).
        tol: the error asked for, > 0.
        limit: steps after which it ends in any case, 1 or more.

    Returns:
        `value` (..., S), `policy` (..., S, A) that is greedy for it, `steps` (...)
        in int64, and `error` (...), the bound that was reached: above `tol` where
        `limit` steps or the precision did not suffice. Half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P` are no probabilities, `r` is not
            finite, or a number is out of range.

    Source: Bellman 1957; Puterman 1994, section 6.3.
    """
    return iterated(P, r, gamma, tol, limit, 0)


def fast_value_iteration(
    P: Tensor,
    r: Tensor,
    gamma: float,
    tol: float = 1e-6,
    limit: int = 10_000,
    sweeps: int = 20,
) -> Solution:
    """The best values, with cheap steps between those over all actions.

        V <- T V, which names a best action for each state; then `sweeps` times
        V <- r_pi + gamma P_pi V with these actions

    A sweep costs S^2 operations, a step of Bellman's operator A S^2. This is
    modified policy iteration; the error is bounded as in `value_iteration`.

    No `torch.func`: the values say when it ends.
    No `torch.compile`: the values say when it ends.

    Args:
        P: transitions (..., S, A, S), floating dtype, rows that sum to 1 or less.
        r: rewards (..., S, A), dtype of `P`.
        gamma: discount in [0, 1).
        tol: the error asked for, > 0.
        limit: steps over all actions after which it ends in any case, 1 or more.
        sweeps: steps with fixed actions in between, >= 0.

    Returns:
        As `value_iteration`: value (..., S), policy (..., S, A), steps (...), error
        (...).

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P` are no probabilities, `r` is not
            finite, or a number is out of range.

    Source: Puterman & Shin 1978, Management Science 24(11).
    """
    require.whole(sweeps=sweeps, least=0)
    return iterated(P, r, gamma, tol, limit, sweeps)


def iterated(
    P: Tensor, r: Tensor, gamma: float, tol: float, limit: int, sweeps: int
) -> Solution:
    """Bellman's operator, with sweeps in between, until the bound is reached; a
    problem that is done waits for the others of its batch."""
    require_world(P, r, gamma)
    require.number(tol=tol, above=0)
    require.whole(limit=limit, least=1)
    P, r = require.widen(P), require.widen(r)
    V = torch.zeros_like(r + P[..., 0])[..., 0]  # (..., S)
    error = torch.full_like(V[..., 0], torch.inf)
    done = torch.zeros_like(error, dtype=torch.bool)
    steps = torch.zeros_like(error, dtype=torch.int64)
    for _ in range(limit):
        new, actions = look_ahead(P, r, V, gamma).max(-1)
        bound = (new - V).abs().amax(-1) * gamma / (1 - gamma)
        V = torch.where(done[..., None], V, new)
        error = torch.where(done, error, bound)
        steps += ~done
        done = error <= tol
        if bool(done.all()) or int(steps.max()) == limit:
            break
        if sweeps:
            swept = followed_for(P, r, actions, V, gamma, sweeps)
            V = torch.where(done[..., None], V, swept)
    return Solution(V, greedy(look_ahead(P, r, V, gamma)), steps, error)


def followed_for(
    P: Tensor, r: Tensor, actions: Tensor, V: Tensor, gamma: float, sweeps: int
) -> Tensor:
    """V after some steps with the same actions."""
    chosen = actions[..., None]
    reward = r.expand(*actions.shape, -1).gather(-1, chosen)  # (..., S, 1)
    wide = P.expand(*actions.shape, *P.shape[-2:])
    chain = wide.take_along_dim(chosen[..., None], -2)[..., 0, :]  # (..., S, S)
    V = V[..., None]
    for _ in range(sweeps):
        V = reward + gamma * (chain @ V)
    return V[..., 0]


def policy_iteration(
    P: Tensor,
    r: Tensor,
    gamma: float,
    start: Tensor | None = None,
    limit: int = 1000,
) -> Solution:
    """The best policy: solve for its value, take the better actions, repeat.

        V = policy_value(pi);   pi[s] <- argmax_a Q[s, a]  where that is above V[s]

    No policy comes twice, because none is worse than the one before. So it ends.

    No `torch.func`: the values say when it ends.
    No `torch.compile`: the values say when it ends.

    Args:
        P: transitions (..., S, A, S), floating dtype, rows that sum to 1 or less.
        r: rewards (..., S, A), dtype of `P`.
        gamma: discount in [0, 1).
        start: the first policy (..., S, A), dtype of `P`, probabilities over the
            actions; None: the action with the largest reward.
        limit: policies after which it ends in any case, 1 or more.

    Returns:
        `value` (..., S) of the last policy, `policy` (..., S, A), `steps` (...) in
        int64, the changes of policy, `error` (...), max |T V - V| / (1 - gamma).
        Half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P` or `start` are no probabilities,
            `r` is not finite, or a number is out of range.

    Source: Howard 1960, Dynamic Programming and Markov Processes.
    """
    require_world(P, r, gamma)
    require.whole(limit=limit, least=1)
    if start is not None:
        require_policy(r, start=start)
        start = require.widen(start)
    P, r = require.widen(P), require.widen(r)
    pi = greedy(r + 0 * P[..., 0]) if start is None else start + 0 * P[..., 0]
    steps = torch.zeros_like(pi[..., 0, 0], dtype=torch.int64)
    for _ in range(limit):
        V = solved(*followed(P, r, pi), gamma)
        Q = look_ahead(P, r, V, gamma)
        slack = 1000 * torch.finfo(Q.dtype).eps * Q.abs().amax((-2, -1))
        better = Q.amax(-1) > V + slack[..., None]
        steps += better.any(-1)
        if not bool(better.any()):
            break
        pi = torch.where(better[..., None], greedy(Q), pi)
    error = (Q.amax(-1) - V).abs().amax(-1) / (1 - gamma)
    return Solution(V, pi.clone(), steps, error)


# --- One step as a lesson ---


def q_target(
    reward: Tensor, following: Tensor, ended: Tensor, gamma: float
) -> Tensor:
    """What Q-learning wants Q[s, a] to be, after one step to s'.

        y = reward + gamma max_a' Q[s', a'],   y = reward where the world ended

    >>> following = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    >>> q_target(torch.ones(2), following, torch.tensor([False, True]), 0.5)
    tensor([2.5000, 1.0000])

    Args:
        reward: of the step (...), floating dtype.
        following: Q[s', :] (..., A), dtype of `reward`; where the world ended it is
            not read.
        ended: bool (...), whether the world ended with this step.
        gamma: discount in [0, 1].

    Returns:
        (...), dtype of `reward`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, or gamma is out of range.

    Source: Watkins & Dayan 1992, Machine Learning 8.
    """
    require_step(reward, ended, gamma, following=following)
    best = require.widen(following).amax(-1)
    return discounted(reward, best, ended, gamma)


def sarsa_target(
    reward: Tensor, following: Tensor, pi: Tensor, ended: Tensor, gamma: float
) -> Tensor:
    """What SARSA wants Q[s, a] to be, after one step to s'.

        y = reward + gamma sum_a' pi[a'] Q[s', a'],   reward where the world ended

    With pi = 1 for the action that is taken next this is SARSA, with the
    probabilities from which it is drawn expected SARSA.

    Args:
        reward: of the step (...), floating dtype.
        following: Q[s', :] (..., A), dtype of `reward`; where the world ended it is
            not read.
        pi: probabilities (..., A) of the next action, dtype of `reward`.
        ended: bool (...), whether the world ended with this step.
        gamma: discount in [0, 1].

    Returns:
        (...), dtype of `reward`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, `pi` is no distribution, or gamma is out of
            range.

    Source: Sutton & Barto 2018, equations 6.7 and 6.9.
    """
    require_step(reward, ended, gamma, following=following, pi=pi)
    require.distribution(pi=pi)
    mean = (require.widen(pi) * require.widen(following)).sum(-1)
    return discounted(reward, mean, ended, gamma)


def double_q_target(
    reward: Tensor,
    choosing: Tensor,
    judging: Tensor,
    ended: Tensor,
    gamma: float,
) -> Tensor:
    """The target of double Q-learning: one table chooses, the other one judges.

        y = reward + gamma QB[s', argmax_a' QA[s', a']],   reward where it ended

    Args:
        reward: of the step (...), floating dtype.
        choosing: QA[s', :] (..., A), dtype of `reward`.
        judging: QB[s', :] (..., A), dtype of `reward`; where the world ended
            neither is read.
        ended: bool (...), whether the world ended with this step.
        gamma: discount in [0, 1].

    Returns:
        (...), dtype of `reward`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, `choosing` is not finite, or gamma is out of
            range.

    Source: van Hasselt 2010, algorithm 1; van Hasselt, Guez & Silver 2016,
        arXiv:1509.06461, for networks.
    """
    require_step(reward, ended, gamma, choosing=choosing, judging=judging)
    require.finite(choosing=choosing)
    chosen = choosing.detach().argmax(-1, keepdim=True)
    wide = require.widen(judging) + torch.zeros_like(choosing).detach()
    value = wide.gather(-1, chosen.expand(*wide.shape[:-1], 1))[..., 0]
    return discounted(reward, value, ended, gamma)


def discounted(
    reward: Tensor, value: Tensor, ended: Tensor, gamma: float
) -> Tensor:
    """reward + gamma value, without the value where the world ended."""
    return require.widen(reward) + gamma * value.masked_fill(ended, 0)


class Learned(NamedTuple):
    """What `learn_table` learned, and what it lived through."""

    Q: Tensor  # (runs, S, A)
    rewards: Tensor  # (steps, runs)
    ended: Tensor  # (steps, runs), bool


def learn_table(
    P: Tensor,
    r: Tensor,
    start: Tensor,
    gamma: float,
    steps: int,
    rule: str = "q",
    rate: float = 0.1,
    power: float = 0.0,
    explore: float = 0.1,
    noise: float = 0.0,
    runs: int = 1,
    *,
    generator: Generator,
) -> Learned:
    """Learn Q from single steps in a world that nobody describes to the learner.

        Q[s, a] <- Q[s, a] + eta (y - Q[s, a]),   eta = rate / n[s, a]^power

    with the target y of the rule, and n[s, a] the number of such steps so far. The
    learner takes a random action with chance `explore`, else a best one. All runs
    take their steps side by side, each with a table of its own.

    Args:
        P: transitions (S, A, S), floating dtype, rows that sum to 1 or less.
        r: mean rewards (S, A), dtype of `P`.
        start: probabilities (S,) of the state where a world begins, and begins anew
            when it has ended, dtype of `P`.
        gamma: discount in [0, 1].
        steps: a number >= 0.
        rule: "q" for `q_target`, "double" for `double_q_target` with two tables,
            of which a coin says which learns, "sarsa" or "expected" for
            `sarsa_target`.
        rate: of the first step, > 0.
        power: how fast the rate falls, >= 0; 0: not at all.
        explore: chance in [0, 1] of a random action.
        noise: standard deviation of a reward, >= 0.
        runs: tables, each of its own luck, 1 or more.
        generator: source of randomness, on the device of `P`.

    Returns:
        `Q` (runs, S, A), with two tables their mean, `rewards` (steps, runs) and
        `ended` (steps, runs); half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P` or `start` are no probabilities,
            `r` is not finite, there is no such rule, or a number is out of range.

    Source: Watkins & Dayan 1992; Sutton & Barto 2018, sections 6.4 to 6.7.
    """
    require_world(P, r, gamma, most=1)
    require.fitting(P=(P, "S A S"), r=(r, "S A"), start=(start, "S"))
    require.distribution(start=start)
    require.whole(steps=steps, least=0)
    require.choice(RULES, rule=rule)
    require.number(rate=rate, above=0)
    require.number(power=power, least=0)
    require.number(explore=explore, least=0, most=1)
    require.number(noise=noise, least=0)
    require.whole(runs=runs, least=1)
    require.instance(Generator, generator=generator)
    P, r, start = map(require.widen, (P, r, start))
    world = World(P, r, start, runs, generator)
    return lived(world, gamma, steps, rule, rate, power, explore, noise)


class World:
    """Many copies of a world, side by side, one state each."""

    def __init__(
        self, P: Tensor, r: Tensor, start: Tensor, runs: int, generator: Generator
    ) -> None:
        self.r, self.runs, self.generator = r, runs, generator
        self.S, self.A = r.shape
        self.bounds = P.flatten(0, 1).cumsum(-1)  # (S A, S)
        # a row that sums to 1 up to rounding does not end the world
        full = self.bounds[:, -1:] > 1 - 100 * torch.finfo(P.dtype).eps
        self.bounds = torch.where(
            full & (self.bounds == self.bounds[:, -1:]), 2, self.bounds
        )
        self.start = start.cumsum(-1)
        self.states = self.begin(runs)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from 0 to 1."""
        empty = self.r.new_empty(shape)
        return empty.uniform_(generator=self.generator)

    def begin(self, *shape: int) -> Tensor:
        """First states."""
        drawn = torch.searchsorted(self.start, self.uniform(*shape), right=True)
        return drawn.clamp(max=self.S - 1)

    def step(
        self, actions: Tensor, luck: Tensor, fresh: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean rewards, and whether the copy ended; then it goes to `fresh`."""
        place = self.states * self.A + actions
        reached = torch.searchsorted(self.bounds[place], luck[:, None], right=True)
        ended = reached[:, 0] == self.S
        self.states = torch.where(ended, fresh, reached[:, 0])
        return self.r.flatten()[place], ended


class Luck(NamedTuple):
    """The chance of one step, or of many."""

    move: Tensor  # (..., runs), where it leads
    fresh: Tensor  # (..., runs), the state where a new world begins
    wild: Tensor  # (..., runs), a random action, or -1
    ties: Tensor  # (..., runs, A), who wins among equals
    coin: Tensor  # (..., runs), which table learns
    noise: Tensor  # (..., runs), of the reward


def lucks(world: World, steps: int, explore: float, noise: float) -> Iterator[Luck]:
    """The chance of every step, drawn in blocks."""
    for block in torch.arange(steps).split(256):
        n, runs = len(block), world.runs
        wild = (world.uniform(n, runs) * world.A).long().clamp(max=world.A - 1)
        calm = world.uniform(n, runs) >= explore
        drawn = Luck(
            world.uniform(n, runs),
            world.begin(n, runs),
            wild.masked_fill(calm, -1),
            1 - world.uniform(n, runs, world.A),
            (world.uniform(n, runs) < 0.5).long(),
            noise * gaussian(world, n) if noise else world.r.new_zeros(n, runs),
        )
        yield from map(Luck, *drawn)


def gaussian(world: World, n: int) -> Tensor:
    """Standard normal numbers (n, runs)."""
    return world.r.new_empty(n, world.runs).normal_(generator=world.generator)


def chosen(rows: Tensor, luck: Luck) -> Tensor:
    """A best action, equals at random, or a random one."""
    best = rows.amax(-1, keepdim=True) == rows
    return torch.where(luck.wild < 0, (best * luck.ties).argmax(-1), luck.wild)


class Tables:
    """One or two tables a run, and how often each place was updated."""

    def __init__(self, world: World, count: int) -> None:
        S, A, runs = world.S, world.A, world.runs
        self.Q = world.r.new_zeros(count, runs, S, A)
        self.flat, self.rows = self.Q.view(-1), self.Q.view(count, -1, A)
        self.visits = torch.zeros_like(self.flat)
        self.first = torch.arange(runs, device=self.Q.device) * S

    def at(self, states: Tensor) -> Tensor:
        """The rows of the states (count, runs, A)."""
        return self.rows[:, self.first + states]

    def update(
        self,
        states: Tensor,
        actions: Tensor,
        which: Tensor | int,
        target: Tensor,
        rate: float,
        power: float,
    ) -> None:
        """One step towards the target."""
        place = (self.first + states) * self.Q.shape[-1] + actions
        place = place + which * self.Q[0].numel()
        step: float | Tensor = rate
        if power:
            self.visits[place] += 1
            step = rate / self.visits[place] ** power
        old = self.flat[place]
        self.flat[place] = old + step * (target - old)


def lived(
    world: World,
    gamma: float,
    steps: int,
    rule: str,
    rate: float,
    power: float,
    explore: float,
    noise: float,
) -> Learned:
    """The loop of `learn_table`; an action is drawn before the table changes."""
    tables = Tables(world, 2 if rule == "double" else 1)
    rewards = world.r.new_zeros(steps, world.runs)
    ends = torch.zeros_like(rewards, dtype=torch.bool)
    states = world.states
    actions = (world.uniform(world.runs) * world.A).long().clamp(max=world.A - 1)
    for t, luck in enumerate(lucks(world, steps, explore, noise)):
        mean, ends[t] = world.step(actions, luck.move, luck.fresh)
        rewards[t] = mean + luck.noise
        rows = tables.at(world.states)
        then = chosen(rows[0] if len(rows) == 1 else rows.sum(0), luck)
        which = luck.coin if rule == "double" else 0
        value = next_value(rule, rows, luck.coin, then, explore)
        y = discounted(rewards[t], value, ends[t], gamma)
        tables.update(states, actions, which, y, rate, power)
        states, actions = world.states, then
    return Learned(tables.Q.mean(0), rewards, ends)


def next_value(
    rule: str, rows: Tensor, coin: Tensor, then: Tensor, explore: float
) -> Tensor:
    """What the rule takes the next state to be worth."""
    if rule == "q":
        return rows[0].amax(-1)
    if rule == "sarsa":
        return rows[0].gather(-1, then[:, None])[:, 0]
    if rule == "expected":
        return (1 - explore) * rows[0].amax(-1) + explore * rows[0].mean(-1)
    own = torch.where(coin[:, None] == 0, rows[0], rows[1])
    other = torch.where(coin[:, None] == 0, rows[1], rows[0])
    return other.gather(-1, own.argmax(-1, keepdim=True))[:, 0]


# --- Networks in the place of tables ---

Net = Callable[[Tensor], Tensor]


def dqn_loss(
    net: Net,
    frozen: Net,
    states: Tensor,
    actions: Tensor,
    rewards: Tensor,
    following: Tensor,
    ended: Tensor,
    gamma: float,
    double: bool = False,
) -> Tensor:
    """The loss of a deep Q-network on steps that it remembers.

        mean huber(net(s)[a] - y),   y = reward + gamma max_a' frozen(s')[a']

    The target y gets no gradient, and where the world ended it is the reward alone.
    huber(e) = e^2 / 2 up to |e| = 1, then |e| - 1/2: its slope is clipped.

    Args:
        net: maps states (..., n, d) to action values (..., n, A).
        frozen: the same with older weights, the target network.
        states: (..., n, d), floating dtype.
        actions: what was done (..., n), int64, from 0 to A - 1.
        rewards: (..., n), dtype of `states`.
        following: the next states (..., n, d), dtype of `states`.
        ended: bool (..., n), whether the world ended with the step.
        gamma: discount in [0, 1].
        double: whether `net` chooses a' and `frozen` only judges it.

    Returns:
        (...), dtype of `states`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, an action does not exist, gamma is out of
            range, or a network does not give a row for each state.

    Source: Mnih et al. 2015, Nature 518, methods.
    """
    require.function(net=net, frozen=frozen)
    require.instance(bool, double=double)
    require.fitting(
        states=(states, "... n d"),
        rewards=(rewards, "... n"),
        following=(following, "... n d"),
    )
    require.integer(actions=actions)
    require.boolean(ended=ended)
    require.shapes(
        rewards=(rewards, "... n"),
        actions=(actions, "... n"),
        ended=(ended, "... n"),
    )
    require.number(gamma=gamma, least=0, most=1)
    said = rows_of(states, net=net)
    require.classes(said.shape[-1], name="actions", targets=actions)
    y = remembered_target(net, frozen, rewards, following, ended, gamma, double)
    told = said.gather(-1, actions[..., None])[..., 0]
    return F.smooth_l1_loss(told, y, reduction="none").mean(-1)


def remembered_target(
    net: Net,
    frozen: Net,
    rewards: Tensor,
    following: Tensor,
    ended: Tensor,
    gamma: float,
    double: bool,
) -> Tensor:
    """The target of a network, as a constant."""
    then = rows_of(following, frozen=frozen).detach()
    if not double:
        return q_target(rewards.to(then.dtype), then, ended, gamma).detach()
    chooses = rows_of(following, net=net).detach()
    wide = rewards.to(then.dtype)
    return double_q_target(wide, chooses, then, ended, gamma).detach()


def rows_of(states: Tensor, **named: Net) -> Tensor:
    """What a network says of states, a row for each."""
    [(name, net)] = named.items()
    said = net(states)
    require.floating(**{name: said})
    if said.shape[:-1] != states.shape[:-1] or said.shape[-1] < 1:
        raise ValueError(
            f"{name} must give a row of action values for each state, "
            f"{tuple(states.shape[:-1])}, got shape {tuple(said.shape)}"
        )
    return require.widen(said)


# --- Up the slope of the return ---


def policy_gradient(
    P: Tensor, r: Tensor, logits: Tensor, start: Tensor, gamma: float
) -> Tensor:
    """The slope of the return by the logits of a policy.

        dJ / dlogits[s, a] = d[s] pi[s, a] (Q[s, a] - V[s])

    with pi = softmax(logits), J = sum_s start[s] V[s], and the `occupancy` d. That
    d depends on the policy too adds nothing.

    Args:
        P: transitions (..., S, A, S), floating dtype, rows that sum to 1 or less.
        r: rewards (..., S, A), dtype of `P`.
        logits: of the policy (..., S, A), dtype of `P`.
        start: probabilities (..., S) of the first state, dtype of `P`.
        gamma: discount in [0, 1]; 1 only where the world ends from every state.

    Returns:
        (..., S, A), dtype of `P`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P` or `start` are no probabilities,
            `r` or `logits` is not finite, or gamma is out of range, or too near 1
            for a world without an end.

    Source: Sutton et al. 2000, theorem 1; Williams 1992.
    """
    require_world(P, r, gamma, most=1)
    require.fitting(
        P=(P, "... S A S"), logits=(logits, "... S A"), start=(start, "... S")
    )
    require.finite(logits=logits)
    require.distribution(start=start)
    P, r, logits, start = map(require.widen, (P, r, logits, start))
    pi = logits.softmax(-1)
    chain, reward = followed(P, r, pi)
    V = solved(chain, reward, gamma)
    d = solved(chain.mT, start, gamma)
    advantage = look_ahead(P, r, V, gamma) - V[..., None]
    return d[..., None] * pi * advantage


class Rollout(NamedTuple):
    """Episodes, side by side; after its end an episode stands still."""

    states: Tensor  # (runs, steps), int64
    actions: Tensor  # (runs, steps), int64
    rewards: Tensor  # (runs, steps), 0 after the end
    alive: Tensor  # (runs, steps), bool: whether this step was taken


def rollout(
    P: Tensor,
    r: Tensor,
    pi: Tensor,
    start: Tensor,
    steps: int,
    runs: int,
    *,
    generator: Generator,
) -> Rollout:
    """Episodes of a policy, drawn.

    Args:
        P: transitions (S, A, S), floating dtype, rows that sum to 1 or less.
        r: rewards (S, A), dtype of `P`.
        pi: policy (S, A), dtype of `P`, probabilities over the actions.
        start: probabilities (S,) of the first state, dtype of `P`.
        steps: how many at most, 1 or more.
        runs: how many episodes, 1 or more.
        generator: source of randomness, on the device of `P`.

    Returns:
        `states`, `actions`, `rewards` and `alive`, each (runs, steps): `alive` says
        whether the step was taken, and rewards are 0 where it was not.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, rows of `P`, `pi` or `start` are no
            probabilities, `r` is not finite, or a number is out of range.
    """
    require_world(P, r, 0.0)
    require.fitting(
        P=(P, "S A S"), r=(r, "S A"), pi=(pi, "S A"), start=(start, "S")
    )
    require.distribution(pi=pi)
    require.distribution(start=start)
    require.whole(steps=steps, least=1)
    require.whole(runs=runs, least=1)
    require.instance(Generator, generator=generator)
    P, r, pi, start = map(require.widen, (P, r, pi, start))
    world = World(P, r, start, runs, generator)
    alive = torch.ones(runs, dtype=torch.bool, device=P.device)
    told = []
    for _ in range(steps):
        states = world.states
        drawn = pi[states].cumsum(-1) <= world.uniform(runs, 1)
        actions = drawn.sum(-1).clamp(max=pi.shape[-1] - 1)
        luck, fresh = world.uniform(runs), world.begin(runs)
        rewards, ended = world.step(actions, luck, fresh)
        told.append((states, actions, rewards.masked_fill(~alive, 0), alive))
        alive = alive & ~ended
    return Rollout(*(torch.stack(part, -1) for part in zip(*told, strict=True)))


def returns_to_go(rewards: Tensor, gamma: float) -> Tensor:
    """The discounted rewards from each step on.

        G_t = rewards_t + gamma G_(t+1)

    >>> returns_to_go(torch.tensor([1.0, 1.0, 4.0]), 0.5)
    tensor([2.5000, 3.0000, 4.0000])

    Args:
        rewards: (..., T), floating dtype.
        gamma: discount in [0, 1].

    Returns:
        (..., T), dtype of `rewards`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: there is no step, or gamma is out of range.
    """
    require_rewards(rewards, gamma)
    told = [torch.zeros_like(require.widen(rewards)[..., 0])]
    for reward in reversed(require.widen(rewards).unbind(-1)):
        told.append(reward + gamma * told[-1])
    return torch.stack(told[:0:-1], -1)


def fast_returns_to_go(rewards: Tensor, gamma: float) -> Tensor:
    """`returns_to_go` as one product with a triangle of powers of gamma.

        G_t = sum_(k >= t) gamma^(k - t) rewards_k

    T^2 operations for T steps, but a single call.

    Args:
        rewards: (..., T), floating dtype.
        gamma: discount in [0, 1].

    Returns:
        (..., T), dtype of `rewards`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: there is no step, or gamma is out of range.
    """
    require_rewards(rewards, gamma)
    rewards = require.widen(rewards)
    t = torch.arange(rewards.shape[-1], device=rewards.device, dtype=rewards.dtype)
    ahead = t[:, None] - t  # row k, column t
    powers = torch.full_like(t, gamma) ** ahead.clamp(min=0)
    return rewards @ torch.where(ahead >= 0, powers, 0)


def reinforce_loss(
    log_probs: Tensor,
    rewards: Tensor,
    gamma: float,
    baseline: float | Tensor = 0.0,
) -> Tensor:
    """A number whose gradient is, in the mean, minus that of the return.

        - sum_t gamma^t log pi(a_t | s_t) (G_t - b_t)

    with the `returns_to_go` G_t, which get no gradient. A baseline b that does not
    know a_t changes no mean, but the spread.

    Args:
        log_probs: of the actions that were taken (..., T), floating dtype; 0 after
            the end.
        rewards: (..., T), dtype of `log_probs`; 0 after the end.
        gamma: discount in [0, 1].
        baseline: b, a number, or a floating tensor that broadcasts to `rewards`.

    Returns:
        (...), dtype of `log_probs`, half precision in float32: one an episode.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, or a number is out of range.

    Source: Williams 1992, Machine Learning 8; Sutton & Barto 2018, section 13.3.
    """
    require.fitting(log_probs=(log_probs, "... T"), rewards=(rewards, "... T"))
    require_rewards(rewards, gamma)
    require.number_or_tensor(baseline=baseline)
    if isinstance(baseline, Tensor):
        require.broadcast_to(rewards.shape, baseline=baseline)
        baseline = baseline.detach()
    G = fast_returns_to_go(rewards.detach(), gamma)
    t = torch.arange(G.shape[-1], device=G.device, dtype=G.dtype)
    weights = torch.full_like(t, gamma) ** t * (G - baseline)
    return -(require.widen(log_probs) * weights).sum(-1)


def best_baseline(scores: Tensor, returns: Tensor) -> Tensor:
    """The constant baseline with the least spread of the gradient.

        b = E |score|^2 R / E |score|^2

    where the gradient of one episode is score (R - b), and the mean of scores is 0:
    then its total variance E |score|^2 (R - b)^2 - |E score R|^2 is least.

    Args:
        scores: gradients of log-probabilities (..., n, d), floating dtype.
        returns: R (..., n), dtype of `scores`.

    Returns:
        (...), dtype of `scores`, half precision in float32; 0 where all scores are
        0, and any baseline is as good.

    Raises:
        TypeError: an argument is no floating tensor, or dtypes differ.
        ValueError: shapes do not fit.

    Source: Williams 1992; Greensmith, Bartlett & Baxter 2004, JMLR 5.
    """
    require.fitting(scores=(scores, "... n d"), returns=(returns, "... n"))
    scores, returns = require.widen(scores), require.widen(returns)
    scores = scores / require.power_of_two(scores, (-2, -1))
    sizes = scores.square().sum(-1)
    total = sizes.sum(-1)
    nothing = total == 0
    return (sizes * returns).sum(-1) / torch.where(nothing, 1, total)


# --- A policy that stays near another ---


def tilted(p: Tensor, reward: Tensor, beta: float) -> Tensor:
    """The best answer to "earn much, and stay near p".

        argmax_q  E_q reward - beta KL(q, p)  =  p exp(reward / beta) / Z

    >>> tilted(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]), 1.0)
    tensor([0.2689, 0.7311])

    Args:
        p: probabilities (..., k), floating dtype.
        reward: (..., k), dtype of `p`.
        beta: the price of leaving p, > 0.

    Returns:
        Probabilities (..., k), dtype of `p`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, `p` is no distribution, `reward` is not
            finite, or beta is out of range.

    Source: Rafailov et al. 2023, equation 4, arXiv:2305.18290.
    """
    return tilted_scores(p, reward, beta).softmax(-1)


def tilted_value(p: Tensor, reward: Tensor, beta: float) -> Tensor:
    """What the best answer to "earn much, and stay near p" is worth.

        max_q  E_q reward - beta KL(q, p)  =  beta log E_p exp(reward / beta)

    Args:
        p: probabilities (..., k), floating dtype.
        reward: (..., k), dtype of `p`.
        beta: the price of leaving p, > 0.

    Returns:
        (...), dtype of `p`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, `p` is no distribution, `reward` is not
            finite, or beta is out of range.

    Source: Rafailov et al. 2023, appendix A.1, arXiv:2305.18290.
    """
    return beta * tilted_scores(p, reward, beta).logsumexp(-1)


def tilted_scores(p: Tensor, reward: Tensor, beta: float) -> Tensor:
    """log p + reward / beta, -inf where p is 0."""
    require.fitting(p=(p, "... k"), reward=(reward, "... k"))
    require.distribution(p=p)
    require.finite(reward=reward)
    require.number(beta=beta, above=0)
    p, reward = require.widen(p), require.widen(reward)
    some = p > 0
    scores = torch.where(some, p, 1).log() + reward / beta
    return torch.where(some, scores, -torch.inf)


def best_of(p: Tensor, reward: Tensor, n: int) -> Tensor:
    """The distribution of the best of n draws from p.

        q[i] = p[i] / w (F(reward[i])^n - F(just below reward[i])^n)

    F(x) is the chance that one draw has a reward of at most x, w the chance of
    exactly reward[i]: of equals each is chosen in proportion to p.

    Args:
        p: probabilities (..., k), floating dtype.
        reward: (..., k), dtype of `p`.
        n: draws, 1 or more.

    Returns:
        Probabilities (..., k), dtype of `p`, half precision in float32.

    Raises:
        TypeError: an argument is not of its kind, or dtypes differ.
        ValueError: shapes do not fit, `p` is no distribution, `reward` is not
            finite, or n is out of range.

    Source: Beirami et al. 2024, section 2, arXiv:2401.01879.
    """
    require.fitting(p=(p, "... k"), reward=(reward, "... k"))
    require.distribution(p=p)
    require.finite(reward=reward)
    require.whole(n=n, least=1)
    p, reward = require.widen(p), require.widen(reward)
    gap = reward[..., :, None] - reward[..., None, :]  # (..., k, k)
    below = (p[..., None, :] * (gap > 0)).sum(-1)
    equal = (p[..., None, :] * (gap == 0)).sum(-1)
    mass = (below + equal) ** n - below**n
    return p * mass / torch.where(equal > 0, equal, 1)


# --- What is asked of a world ---


def require_world(
    P: Tensor, r: Tensor, gamma: float, most: float | None = None
) -> None:
    """Transitions, rewards and a discount that fit; gamma below 1, or at most
    `most`."""
    require.fitting(P=(P, "... S A S"), r=(r, "... S A"))
    require.within(P=P, least=0)
    slack = 100 * torch.finfo(P.dtype).eps
    require.values(
        require.widen(P.detach()).sum(-1) <= 1 + slack,
        "P must have rows that sum to 1 or less over the last dimension",
    )
    require.finite(r=r)
    if most is None:
        require.number(gamma=gamma, least=0, below=1)
    else:
        require.number(gamma=gamma, least=0, most=most)


def require_policy(r: Tensor, **policies: Tensor) -> None:
    """Probabilities over the actions, of the shape of `r`."""
    for name, pi in policies.items():
        require.floating(**{name: pi})
        require.alike(r=r, **{name: pi})
        require.shapes(least=1, r=(r, "... S A"), **{name: (pi, "... S A")})
        require.distribution(**{name: pi})


def require_step(
    reward: Tensor, ended: Tensor, gamma: float, **rows: Tensor
) -> None:
    """A reward, an end and rows of action values that fit."""
    require.floating(reward=reward, **rows)
    require.alike(reward=reward, **rows)
    require.boolean(ended=ended)
    patterned = {name: (x, "... A") for name, x in rows.items()}
    require.shapes(
        least=1, reward=(reward, "..."), ended=(ended, "..."), **patterned
    )
    require.number(gamma=gamma, least=0, most=1)


def require_rewards(rewards: Tensor, gamma: float) -> None:
    """Rewards of at least one step, and a discount."""
    require.floating(rewards=rewards)
    require.shapes(rewards=(rewards, "... T"))
    require.number(gamma=gamma, least=0, most=1)
