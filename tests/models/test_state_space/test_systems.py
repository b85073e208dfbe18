"""Linear systems and their discretisation, against SciPy and closed forms."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch import Tensor

from lbdl.models.hippo import (
    hippo_fourier,
    hippo_legt,
)
from lbdl.models.state_space import (
    discretize,
    fast_states,
    frequency_response,
    generalized_bilinear,
    impulse_response,
    mass_on_a_spring,
    rescale,
    states,
    zero_order_hold,
)

SCIPY = {
    "forward": "euler",
    "backward": "backward_diff",
    "bilinear": "bilinear",
    "exact": "zoh",
}
EVERY = pytest.mark.parametrize("method", SCIPY)
C = torch.tensor([1.0, 0.0], dtype=torch.float64)


def normal(*shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def stable(*batch: int, N: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random systems whose eigenvalues have real parts below -0.1."""
    A = normal(*batch, N, N, seed=seed)
    worst = torch.linalg.eigvals(A).real.amax(-1)
    shift = (worst + 0.1).clamp(min=0)[..., None, None]
    return A - shift * torch.eye(N).double(), normal(*batch, N, seed=seed + 1)


# --- A mass on a spring ------------------------------------------------------------


def test_the_mass_obeys_newton(device):
    """Against an integrator that is given Newton's law and knows no matrices."""
    m, d, k = 0.7, 0.3, 5.0
    force = lambda t: math.sin(3 * t)
    law = lambda t, y: [y[1], (force(t) - d * y[1] - k * y[0]) / m]
    ends = solve_ivp(law, (0, 4), [0.2, -1.0], rtol=1e-11, atol=1e-12).y[:, -1]
    A, B = (x.to(device) for x in mass_on_a_spring(m, d, k))
    x = torch.tensor([0.2, -1.0], dtype=torch.float64, device=device)
    L = 4000
    u = torch.sin(3 * (torch.arange(L, device=device).double() + 0.5) * 4 / L)
    reached = fast_states(*discretize(A, B, 4 / L, "exact"), u, x)[-1]
    np.testing.assert_allclose(reached.cpu(), ends, atol=1e-6)


@pytest.mark.parametrize(
    ("d", "h"),
    [
        (
            0.4,
            lambda t: np.exp(-0.2 * t) * np.sin(np.sqrt(3.96) * t) / np.sqrt(3.96),
        ),
        (4.0, lambda t: t * np.exp(-2 * t)),
        (5.0, lambda t: (np.exp(-t) - np.exp(-4 * t)) / 3),
    ],
    ids=["swings", "barely does not swing", "creeps"],
)
def test_the_answer_to_a_blow_in_closed_form(d, h):
    t = torch.linspace(0, 8, 50).double()
    got = impulse_response(*mass_on_a_spring(1.0, d, 4.0), C, t)
    np.testing.assert_allclose(got, h(t.numpy()), atol=1e-13)


def test_the_steady_oscillation_in_closed_form_and_by_running_it():
    m, d, k, w = 2.0, 0.5, 3.0, 1.3
    A, B = mass_on_a_spring(m, d, k)
    H = frequency_response(A, B, C, torch.tensor([w, -w], dtype=torch.float64))
    closed = 1 / (k - m * w**2 + 1j * d * w)
    np.testing.assert_allclose(H, [closed, np.conj(closed)], rtol=1e-14)
    t = torch.arange(20_000).double() / 100
    y = fast_states(*discretize(A, B, 0.01, "exact"), torch.cos(w * (t + 0.005)))
    steady = (H[0] * torch.exp(1j * w * (t + 0.01))).real
    assert (y[-2000:, 0] - steady[-2000:]).abs().max() < 1e-4


def test_resonance_without_damping_is_refused():
    A, B = mass_on_a_spring(1.0, 0.0, 4.0)
    with pytest.raises(ValueError, match="eigenvalue"):
        frequency_response(A, B, C, torch.tensor([2.0]).double())


def test_frequency_response_is_scipys():
    A, B = stable(N=6)
    D = normal(6, seed=9)
    w = torch.linspace(0.1, 5, 7).double()
    system = (A.numpy(), B.numpy()[:, None], D.numpy()[None], np.zeros((1, 1)))
    _, H = scipy.signal.freqresp(scipy.signal.StateSpace(*system), w.numpy())
    np.testing.assert_allclose(frequency_response(A, B, D, w), H, rtol=1e-10)


def test_batches_are_their_members():
    A, B = stable(3, N=4)
    D, t = normal(3, 4, seed=5), torch.rand(6).double()
    for f in (impulse_response, frequency_response):
        one = torch.stack([f(*abc, t) for abc in zip(A, B, D, strict=True)])
        torch.testing.assert_close(f(A, B, D, t), one)


def test_other_units_do_not_change_what_comes_out():
    A, B = stable(N=4)
    D, t, scale = (
        normal(4, seed=5),
        torch.rand(6).double(),
        torch.rand(4).double() + 1,
    )
    A2, B2 = rescale(A, B, scale)
    torch.testing.assert_close(
        impulse_response(A2, B2, D * scale, t), impulse_response(A, B, D, t)
    )
    with pytest.raises(ValueError, match="zero"):
        rescale(A, B, scale * torch.tensor([1, 0, 1, 1]))
    with pytest.raises(ValueError, match="scale must be"):
        rescale(A, B, scale[:3])


# --- Discretisation ----------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("N", [1, 2, 7])
def test_it_is_scipys(method, N, device):
    A, B = stable(N=N)
    system = (A.numpy(), B.numpy()[:, None], np.eye(N), np.zeros((N, 1)))
    A_bar, B_bar, *_ = scipy.signal.cont2discrete(system, 0.3, SCIPY[method])
    got = discretize(A.to(device), B.to(device), 0.3, method)
    np.testing.assert_allclose(got[0].cpu(), A_bar, atol=1e-12)
    np.testing.assert_allclose(got[1].cpu(), B_bar[:, 0], atol=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_general_rule_is_scipys(weight):
    A, B = stable(N=4)
    system = (A.numpy(), B.numpy()[:, None], np.eye(4), np.zeros((4, 1)))
    A_bar, B_bar, *_ = scipy.signal.cont2discrete(system, 0.3, "gbt", alpha=weight)
    got = generalized_bilinear(A, B, 0.3, weight)
    np.testing.assert_allclose(got[0], A_bar, atol=1e-12)
    np.testing.assert_allclose(got[1], B_bar[:, 0], atol=1e-12)


@EVERY
def test_steps_of_a_batch_and_complex_systems(method):
    A, B = stable(3, N=4)
    steps = torch.tensor([0.1, 0.2, 0.4]).double()
    got = discretize(A, B, steps, method)
    for i, step in enumerate(steps.tolist()):
        one = discretize(A[i], B[i], step, method)
        torch.testing.assert_close((got[0][i], got[1][i]), one)
    shared = discretize(A[0], B[0], steps, method)
    torch.testing.assert_close(shared[0][0], got[0][0])
    turned = discretize(A + 0j, B + 0j, steps, method)
    torch.testing.assert_close(turned[0].real, got[0])


def test_exact_holds_for_a_singular_matrix():
    """A mass without a spring: after a push of 1 for one step it has moved 1/2."""
    A = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()
    _, B_bar = zero_order_hold(A, torch.tensor([0.0, 1.0]).double(), 1.0)
    torch.testing.assert_close(B_bar, torch.tensor([0.5, 1.0]).double())


@EVERY
def test_observed_orders(method):
    """Halving the step divides the error by 2, 2, 4; exact has none."""
    A, B = stable(N=5)
    u, truth = torch.ones(64).double(), zero_order_hold(A, B, 1.0)[1]
    errors = [
        (states(*discretize(A, B, 1 / L, method), u[:L])[-1] - truth).norm()
        for L in (32, 64)
    ]
    if method == "exact":
        assert max(errors) < 1e-12
    else:
        order = math.log2(errors[0] / errors[1])
        assert abs(order - (2 if method == "bilinear" else 1)) < 0.2


def test_only_implicit_rules_stay_stable_at_a_large_step():
    A, B = torch.tensor([[-10.0]]), torch.tensor([1.0])
    radius = {m: discretize(A, B, 1.0, m)[0].abs().item() for m in SCIPY}
    assert radius["forward"] > 1 > max(radius[m] for m in radius if m != "forward")


def test_a_step_can_be_learned():
    A, B = stable(N=3)
    step = torch.tensor(0.3).double().requires_grad_()
    for method in SCIPY:
        rule = lambda s, m=method: torch.cat(
            [x.flatten() for x in discretize(A, B, s, m)]
        )
        assert torch.autograd.gradcheck(rule, (step,))


def test_an_equation_without_a_solution_is_refused():
    A, B = torch.eye(2) * 10, torch.ones(2)
    with pytest.raises(ValueError, match="eigenvalue"):
        discretize(A, B, 0.1, "backward")
    discretize(A, B, 0.1, "bilinear")


# --- The recurrence ----------------------------------------------------------------


@given(st.integers(0, 2**31), st.integers(1, 70), st.integers(1, 5))
def test_fast_equals_plain(seed, L, N):
    A_bar, B_bar = discretize(*stable(N=N, seed=seed), 0.1, "exact")
    u, x = normal(3, L, seed=seed), normal(3, N, seed=seed + 1)
    torch.testing.assert_close(
        fast_states(A_bar, B_bar, u, x),
        states(A_bar, B_bar, u, x),
        rtol=0,
        atol=1e-11,
    )


def test_it_is_scipys_simulation(device):
    A_bar, B_bar = discretize(*stable(N=4), 0.1)
    u = normal(50)
    outputs = (np.eye(4), np.zeros((4, 1)))
    discrete = (A_bar.numpy(), B_bar.numpy()[:, None], *outputs, 0.1)
    _, _, x = scipy.signal.dlsim(discrete, u.numpy())
    for run in (states, fast_states):
        got = run(*(y.to(device) for y in (A_bar, B_bar, u)))
        np.testing.assert_allclose(got[:-1].cpu(), x[1:], atol=1e-12)


@pytest.mark.parametrize("run", [states, fast_states])
def test_it_goes_on_where_it_stopped(run):
    A_bar, B_bar = discretize(*stable(2, N=4), 0.1)
    u = normal(5, 2, 30)
    whole = run(A_bar, B_bar, u)
    assert whole.shape == (5, 2, 30, 4)
    second = run(A_bar, B_bar, u[..., 13:], whole[..., 12, :])
    torch.testing.assert_close(second, whole[..., 13:, :])


@pytest.mark.parametrize("run", [states, fast_states])
def test_complex_systems_take_real_inputs(run):
    A_bar, B_bar = discretize(*hippo_fourier(2, 1.0), 0.1)
    u = normal(20)
    torch.testing.assert_close(run(A_bar, B_bar, u), run(A_bar, B_bar, u + 0j))


@pytest.mark.parametrize("run", [states, fast_states])
def test_gradients(run):
    A_bar, B_bar = discretize(*stable(N=2), 0.1)
    given = [
        x.requires_grad_() for x in (A_bar.clone(), B_bar.clone(), normal(2, 7))
    ]
    assert torch.autograd.gradcheck(run, (*given, normal(2, 2).requires_grad_()))


def test_single_precision_is_single():
    A_bar, B_bar = discretize(*hippo_legt(8, 1.0, dtype=torch.float32), 0.01)
    got = fast_states(A_bar, B_bar, normal(500).float())
    exact = states(A_bar.double(), B_bar.double(), normal(500).float().double())
    assert got.dtype == torch.float32
    assert (got - exact).abs().max() < 2e-5
