"""Solvers of Markov decision processes against QuantEcon's DiscreteDP, which compiles its loops by Numba.

Where QuantEcon is not installed, ours is measured alone: `pip install quantecon`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.race import Race, main, of
from lbdl.applications.reinforcement_learning import (
    fast_value_iteration,
    policy_iteration,
    value_iteration,
)

GAMMA, EPSILON = 0.95, 1e-6


def world(S: int, A: int) -> tuple[Tensor, Tensor]:
    """Transitions and rewards at random, in float64."""
    draw = torch.Generator().manual_seed(0)
    P = torch.rand(S, A, S, generator=draw, dtype=torch.float64)
    r = torch.randn(S, A, generator=draw, dtype=torch.float64)
    return P / P.sum(-1, keepdim=True), r


def theirs(quantecon: Any, P: Tensor, r: Tensor, method: str) -> Callable[[], Any]:
    """The peer's values; its process is set up outside the race, and compiled."""
    process = quantecon.markov.DiscreteDP(r.numpy(), P.numpy(), GAMMA)
    more = {} if method == "policy_iteration" else {"epsilon": EPSILON}
    start = None if method == "policy_iteration" else torch.zeros(len(r)).double()

    def solve() -> Any:
        begin = None if start is None else start.numpy()
        return process.solve(method, v_init=begin, max_iter=10_000, **more).v

    solve()
    return solve


def races() -> Iterator[Race]:
    """Both stop value iteration by the same bound, epsilon / 2."""
    for S, A in ((100, 5), (400, 20)):
        P, r = world(S, A)
        exact = policy_iteration(P, r, GAMMA).value
        for name, ours, method in (
            ("value iteration", lambda P=P, r=r: value_iteration(P, r, GAMMA, EPSILON / 2).value, "value_iteration"),
            ("policy iteration", lambda P=P, r=r: policy_iteration(P, r, GAMMA).value, "policy_iteration"),
            (
                "modified policy iteration",
                lambda P=P, r=r: fast_value_iteration(P, r, GAMMA, EPSILON / 2).value,
                "modified_policy_iteration",
            ),
        ):  # fmt: skip
            yield Race(
                job=f"{name}, {S} states, {A} actions, float64",
                peer="QuantEcon, DiscreteDP",
                ours=ours,
                theirs=of(
                    "quantecon",
                    lambda q, P=P, r=r, method=method: theirs(q, P, r, method),
                ),
                reference=None
                if method == "modified_policy_iteration"  # they stop elsewhere
                else lambda exact=exact: exact,
                goal=None,
            )


if __name__ == "__main__":
    main(__spec__, races(), packages=["quantecon"])
