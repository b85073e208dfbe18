"""LegS on samples: the structured matrix against the dense one, the recurrences against projection."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lbdl.models.hippo import (
    fast_legs_solve,
    hippo_legs,
    legs_product,
    legs_solve,
    legs_states,
    legs_transitions,
    project,
    project_held,
)
from lbdl.models.state_space import (
    zero_order_hold,
)

METHODS = ["forward", "backward", "bilinear", "exact"]
SOLVERS = pytest.mark.parametrize("solve", [legs_solve, fast_legs_solve])


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).double()


# --- The matrix in O(N) ------------------------------------------------------------


@pytest.mark.parametrize("N", [1, 2, 31, 32, 33, 200])
def test_products_and_solves_are_the_dense_ones(N, device):
    A = hippo_legs(N)[0].to(device)
    x = normal(2, 3, N).to(device)
    rounding = 1e-15 * N**2
    torch.testing.assert_close(legs_product(x), x @ A.mT, rtol=1e-13, atol=rounding)
    for step in (0.0, 1e-3, 1 / 7, 1.0, 40.0):
        dense = torch.linalg.solve(torch.eye(N).to(A) - step * A, x.unsqueeze(-1))
        for solve in (legs_solve, fast_legs_solve):
            got = solve(x, step)
            torch.testing.assert_close(
                got, dense.squeeze(-1), rtol=1e-11, atol=1e-13
            )


@SOLVERS
@given(st.integers(0, 2**31), st.integers(1, 100), st.floats(0, 1e6))
def test_a_solve_undoes_a_product(solve, seed, N, step):
    x = normal(N, seed=seed)
    back = solve(x - step * legs_product(x), step)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)


@SOLVERS
def test_steps_of_a_batch(solve):
    x, steps = normal(4, 40), torch.tensor([0.1, 0.5, 1.0, 9.0]).double()
    one = torch.stack([solve(v, s.item()) for v, s in zip(x, steps, strict=True)])
    torch.testing.assert_close(solve(x, steps), one)
    torch.testing.assert_close(solve(x[0], steps)[2], solve(x[0], 1.0))


@SOLVERS
def test_gradients(solve):
    x, step = normal(2, 35), torch.tensor(0.3).double()
    assert torch.autograd.gradcheck(
        solve, (x.requires_grad_(), step.requires_grad_())
    )


@SOLVERS
def test_complex_and_half_precision(solve):
    x = normal(2, 40)
    turned = solve(x + 2j * x, 0.2)
    torch.testing.assert_close(turned, solve(x, 0.2) * (1 + 2j))
    half = solve(x.half(), 0.2)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half, solve(x.half().float(), 0.2).half())


# --- The recurrences ---------------------------------------------------------------


@pytest.mark.parametrize("N", [1, 8, 64])
def test_the_exact_steps_are_the_projection_of_held_samples(N, device):
    u = normal(2, 150).to(device)
    x = legs_states(u, N)
    for k in (1, 2, 3, 50, 150):
        truth = project_held(u[:, :k], N)
        torch.testing.assert_close(x[:, k - 1], truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("N", [1, 2, 16, 48])
def test_the_exact_steps_are_exponentials(N):
    """By projection in the library, by a matrix exponential of log((k + 1) / k) here."""
    k = torch.tensor([1, 2, 7, 100, 10**6])
    A_bar, B_bar = legs_transitions(N, k)
    expected = zero_order_hold(*hippo_legs(N), (1 / k.double()).log1p())
    torch.testing.assert_close(A_bar, expected[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(B_bar, expected[1], rtol=0, atol=1e-12)


def test_the_first_exact_step_forgets_what_was_before():
    A_bar, B_bar = legs_transitions(6, torch.tensor(0))
    torch.testing.assert_close(
        A_bar, torch.zeros(6, 6).double(), rtol=0, atol=1e-15
    )
    torch.testing.assert_close(B_bar, torch.eye(6)[0].double(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_stays_what_it_is(method):
    x = legs_states(torch.full((50,), 3.0).double(), 6, method)
    torch.testing.assert_close(x, 3 * torch.eye(6)[0].double().expand(50, 6))


def test_steps_by_their_formulas():
    """One step of each rule, from the slope (A x + B u) / t at its two ends."""
    A, B = hippo_legs(5)
    x, u, k = normal(5), 0.7, 4
    early, late = (lambda y, t=t: (A @ y + B * u) / t for t in (k, k + 1))
    for method, weight in (("forward", 0.0), ("backward", 1.0), ("bilinear", 0.5)):
        A_bar, B_bar = legs_transitions(5, torch.tensor(k), method)
        y = A_bar @ x + B_bar * u
        torch.testing.assert_close(
            y, x + (1 - weight) * early(x) + weight * late(y)
        )


@pytest.mark.parametrize(
    ("method", "order"), [("forward", 1), ("backward", 1), ("bilinear", 2)]
)
def test_orders(method, order):
    """Halving the spacing of samples of a smooth signal, against exact steps."""
    errors = []
    for L in (1000, 2000):
        u = torch.sin(6 * (torch.arange(L) + 0.5).double() / L)
        x = legs_states(u, 4, method)[-1] - legs_states(u, 4)[-1]
        errors.append(x.norm().item())
    assert abs(math.log2(errors[0] / errors[1]) - order) < 0.25


def test_samples_of_a_smooth_signal_are_near_its_projection():
    f = lambda t: torch.sin(1.7 * t) + 0.5 * torch.cos(4 * t)
    u = f((torch.arange(1200).double() + 0.5) / 200)
    torch.testing.assert_close(
        legs_states(u, 16)[-1], project(f, 6.0, 16), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize("times", [2, 3, 7])
def test_no_unit_of_time(times):
    """Every sample taken several times: the same memory, to rounding, by exact steps only."""
    u = normal(60)
    slow = u.repeat_interleave(times)
    exact = legs_states(slow, 12)[-1] - legs_states(u, 12)[-1]
    assert exact.abs().max() < 1e-12
    rough = (
        legs_states(slow, 12, "bilinear")[-1] - legs_states(u, 12, "bilinear")[-1]
    )
    assert rough.abs().max() > 1e-5


def test_forgetting_is_polynomial():
    """From sample 10 to sample 100 the slowest mode keeps a tenth, the k-th (1/10)^k."""
    steps, _ = legs_transitions(5, torch.arange(10, 100))
    flow = torch.linalg.multi_dot([*steps.flip(0)])
    kept = torch.linalg.eigvals(flow).real.sort(descending=True).values
    expected = 10.0 ** -torch.arange(1, 6).double()
    torch.testing.assert_close(kept, expected, rtol=1e-4, atol=1e-12)
    assert 0.1 <= torch.linalg.matrix_norm(flow, 2) <= math.sqrt(0.1)


def test_gradients_and_precision():
    u = normal(2, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: legs_states(v, 3), u)
    got = legs_states(u.detach().float(), 16)
    assert got.dtype == torch.float32
    assert (got - legs_states(u.detach(), 16)).abs().max() < 1e-5


def test_counts_below_one_are_refused():
    with pytest.raises(ValueError, match="k must be >= 1"):
        legs_transitions(3, torch.tensor([0, 1]), "bilinear")
    with pytest.raises(ValueError, match="k must be >= 0"):
        legs_transitions(3, torch.tensor([-1, 1]))
    with pytest.raises(ValueError, match="method must be one of"):
        legs_states(torch.ones(3), 2, "euler")
