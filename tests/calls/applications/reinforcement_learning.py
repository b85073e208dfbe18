"""Valid calls of the topic of reinforcement learning."""

import torch

from lbdl.applications.reinforcement_learning import (
    action_values,
    bellman,
    best_baseline,
    best_of,
    double_q_target,
    dqn_loss,
    fast_returns_to_go,
    fast_value_iteration,
    greedy,
    learn_table,
    occupancy,
    policy_gradient,
    policy_iteration,
    policy_value,
    q_target,
    reinforce_loss,
    returns_to_go,
    rollout,
    sarsa_target,
    tilted,
    tilted_value,
    value_iteration,
)
from tests.calls import Call, generator, labels, normal, uniform


def net(x):
    """Action values of points of the plane."""
    return torch.tanh(x @ x.new_tensor([[1.0, -0.5, 0.2], [0.3, 0.7, -1.0]]))


def frozen(x):
    """Others."""
    return net(x.flip(-1)) + 0.1


P = 0.9 * normal(4, 3, 4).softmax(-1)  # the world ends with chance 0.1
R, PI = normal(4, 3, seed=1), normal(4, 3, seed=2).softmax(-1)
START = normal(4, seed=3).softmax(-1)
WORLD = {"P": P, "r": R}
V = normal(4, seed=4)
REWARD, ROWS, ENDED = normal(5), normal(5, 3, seed=1), uniform(5) < 0.4
STEPS = {
    "states": normal(6, 2),
    "actions": labels(6, below=3),
    "rewards": normal(6, seed=1),
    "following": normal(6, 2, seed=2),
    "ended": uniform(6) < 0.4,
}
LOG_PROBS, REWARDS = normal(2, 5).sigmoid().log(), normal(2, 5, seed=1)
DRAWN = {"start": START, "generator": generator()}

UNREAD = {"nan": "what follows is not read where the world ended, or not chosen"}

CALLS = [
    Call(policy_value, {**WORLD, "pi": PI, "gamma": 0.9}, degrees={"r": 1}),
    Call(occupancy, {"P": P, "pi": PI, "start": START, "gamma": 0.9}),
    Call(action_values, {**WORLD, "V": V, "gamma": 0.9}),
    Call(bellman, {**WORLD, "V": V, "gamma": 0.9}),
    Call(greedy, {"Q": R}, degrees={"Q": 0}),
    Call(value_iteration, {**WORLD, "gamma": 0.9, "tol": 1e-5, "limit": 500}),
    Call(
        fast_value_iteration,
        {**WORLD, "gamma": 0.9, "tol": 1e-5, "limit": 500, "sweeps": 3},
    ),
    Call(policy_iteration, {**WORLD, "gamma": 0.9, "start": PI, "limit": 100}),
    Call(
        q_target,
        {"reward": REWARD, "following": ROWS, "ended": ENDED, "gamma": 0.9},
        skips=UNREAD,
    ),
    Call(
        sarsa_target,
        {"reward": REWARD, "following": ROWS, "pi": ROWS.softmax(-1), "ended": ENDED, "gamma": 0.9},
        skips=UNREAD,
    ),
    Call(
        double_q_target,
        {"reward": REWARD, "choosing": ROWS, "judging": normal(5, 3, seed=2), "ended": ENDED, "gamma": 0.9},
        skips=UNREAD,
    ),
    *[
        Call(
            learn_table,
            {
                **WORLD, **DRAWN, "gamma": 0.9, "steps": 20, "rule": rule, "rate": 0.5, "power": 0.6,
                "explore": 0.3, "noise": 0.1, "runs": 3,
            },
        )
        for rule in ("q", "double", "sarsa", "expected")
    ],
    Call(dqn_loss, {"net": net, "frozen": frozen, **STEPS, "gamma": 0.9, "double": False}, skips=UNREAD),
    Call(dqn_loss, {"net": net, "frozen": frozen, **STEPS, "gamma": 0.9, "double": True}, skips=UNREAD),
    Call(policy_gradient, {**WORLD, "logits": R, "start": START, "gamma": 0.9}),
    Call(rollout, {**WORLD, "pi": PI, **DRAWN, "steps": 5, "runs": 3}),
    Call(returns_to_go, {"rewards": REWARDS, "gamma": 0.9}, degrees={"rewards": 1}),
    Call(fast_returns_to_go, {"rewards": REWARDS, "gamma": 0.9}, degrees={"rewards": 1}),
    Call(reinforce_loss, {"log_probs": LOG_PROBS, "rewards": REWARDS, "gamma": 0.9, "baseline": 0.5}),
    Call(reinforce_loss, {"log_probs": LOG_PROBS, "rewards": REWARDS, "gamma": 0.9, "baseline": normal(5)}),
    Call(
        best_baseline,
        {"scores": normal(2, 6, 3), "returns": normal(2, 6, seed=1)},
        degrees={"scores": 0, "returns": 1},
    ),
    Call(tilted, {"p": PI, "reward": R, "beta": 0.7}),
    Call(tilted_value, {"p": PI, "reward": R, "beta": 0.7}),
    Call(best_of, {"p": PI, "reward": R, "n": 3}, degrees={"reward": 0}),
]  # fmt: skip
