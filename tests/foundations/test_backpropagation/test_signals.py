"""Vanishing, exploding and clipping, against torch and against the theory."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lbdl.foundations import backpropagation as B
from lbdl.foundations.gradient_descent import spectral_radius

DOUBLE = torch.float64
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def randn(
    *shape: int, seed: int = 0, device: str = "cpu", dtype: torch.dtype = DOUBLE
) -> Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE
    ).to(device, dtype)


# --- Norms along the way


@pytest.mark.parametrize("activation", B.ACTIVATIONS)
def test_signal_norms_are_those_of_autograd(activation: str, device: str) -> None:
    weights, x, g = (
        randn(5, 8, 8, device=device),
        randn(8, seed=1, device=device),
        randn(8, seed=2, device=device),
    )
    phi = B.ACTIVATIONS[activation][0]
    states = [x.requires_grad_()]
    for w in weights:
        states.append(phi(states[-1] @ w))
    gradients = torch.autograd.grad(states[-1], states, g)
    forward, backward = B.signal_norms(weights, activation, x.detach(), g)
    torch.testing.assert_close(
        forward, torch.stack([s.detach().norm() for s in states]), **CLOSE
    )
    torch.testing.assert_close(
        backward, torch.stack([t.norm() for t in gradients]), **CLOSE
    )


def test_signal_norms_are_batched() -> None:
    weights, x, g = randn(4, 3, 6, 6), randn(3, 6, seed=1), randn(3, 6, seed=2)
    together = B.signal_norms(weights, "tanh", x, g)
    for i in range(3):
        alone = B.signal_norms(weights[:, i], "tanh", x[i], g[i])
        torch.testing.assert_close(
            [t[:, i] for t in together], list(alone), **CLOSE
        )


@pytest.mark.parametrize("activation", B.ACTIVATIONS)
def test_the_steepest_slope_is_the_one_claimed(activation: str) -> None:
    phi, slope = B.ACTIVATIONS[activation]
    x = torch.linspace(-5, 5, 10_001, dtype=DOUBLE)
    assert slope(phi(x)).max().item() == pytest.approx(
        B.MAX_SLOPES[activation], rel=1e-6
    )
    y, expected = torch.func.jvp(phi, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(slope(y), expected, **CLOSE)


@pytest.mark.parametrize("activation", B.ACTIVATIONS)
@given(seed=st.integers(0, 1000), gain=st.floats(0.1, 5))
def test_no_gradient_grows_beyond_the_bound(
    activation: str, seed: int, gain: float
) -> None:
    weights, x, g = (
        gain * randn(4, 6, 6, seed=seed),
        randn(6, seed=seed + 1),
        randn(6, seed=seed + 2),
    )
    _, backward = B.signal_norms(weights, activation, x, g)
    assert backward[0] <= B.vanishing_bound(weights, activation) * g.norm() * (
        1 + 1e-12
    )


def test_thirty_layers_of_a_hundred_units() -> None:
    factor = {}
    for activation, gain in (
        ("sigmoid", 1.0),
        ("tanh", 1.0),
        ("relu", math.sqrt(2)),
    ):
        ratios = []
        for seed in range(20):
            weights = gain * randn(30, 100, 100, seed=seed) / 10
            _, norms = B.signal_norms(
                weights,
                activation,
                randn(100, seed=100 + seed),
                randn(100, seed=seed),
            )
            ratios.append((norms[0] / norms[-1]).item() ** (1 / 30))
        factor[activation] = (min(ratios), max(ratios))
    assert 0.2 < factor["sigmoid"][0] <= factor["sigmoid"][1] < 0.25
    assert 0.9 < factor["tanh"][0] <= factor["tanh"][1] < 1.0
    assert 0.9 < factor["relu"][0] <= factor["relu"][1] < 1.1


# --- The spectral radius


@pytest.mark.parametrize("radius", [0.0, 0.9, 1.0, 1.1])
def test_matrices_of_a_given_spectral_radius(radius: float) -> None:
    found = B.with_spectral_radius(randn(3, 20, 20), radius)
    torch.testing.assert_close(
        spectral_radius(found),
        torch.full((3,), radius, dtype=DOUBLE),
        rtol=1e-10,
        atol=1e-10,
    )


@given(seed=st.integers(0, 100))
def test_norms_of_powers(seed: int) -> None:
    matrix = B.with_spectral_radius(randn(20, 20, seed=seed), 1.0)
    norms = B.power_norms(matrix, 60)
    expected = [
        torch.linalg.matrix_norm(torch.linalg.matrix_power(matrix, t), 2)
        for t in (0, 1, 7, 60)
    ]
    torch.testing.assert_close(
        norms[[0, 1, 7, 60]], torch.stack(expected), rtol=1e-9, atol=0
    )
    assert (norms >= 1 - 1e-9).all()  # the radius bounds from below
    torch.testing.assert_close(
        B.power_norms(0.9 * matrix, 60)[60], 0.9**60 * norms[60], rtol=1e-9, atol=0
    )


def test_a_symmetric_matrix_grows_by_its_radius_exactly() -> None:
    a = randn(10, 10)
    symmetric = B.with_spectral_radius(a + a.mT, 1.1)
    torch.testing.assert_close(
        B.power_norms(symmetric, 30),
        1.1 ** torch.arange(31, dtype=DOUBLE),
        rtol=1e-9,
        atol=0,
    )


# --- Clipping


def test_clipping_three_four() -> None:
    torch.testing.assert_close(
        B.clip_by_norm(torch.tensor([3.0, 4.0]), 1.0), torch.tensor([0.6, 0.8])
    )


@given(
    seed=st.integers(0, 1000), size=st.floats(-30, 30), limit=st.floats(1e-3, 1e3)
)
def test_clipping_shortens_to_the_limit_and_never_lengthens_or_turns(
    seed: int, size: float, limit: float
) -> None:
    g = 10.0**size * randn(7, seed=seed)
    clipped = B.clip_by_norm(g, limit)
    assert clipped.norm() <= limit * (1 + 1e-12)
    if g.norm() <= limit:
        assert torch.equal(clipped, g)
    else:
        torch.testing.assert_close(clipped / limit, g / g.norm(), **CLOSE)


def test_a_vanished_gradient_stays_vanished() -> None:
    g = torch.full((4,), 1e-19)
    assert torch.equal(B.clip_by_norm(g, 1.0), g)
    assert torch.equal(B.clip_by_norm(torch.zeros(4), 1.0), torch.zeros(4))


@pytest.mark.parametrize("dim", [0, -1, (0, 2)])
def test_clipping_along_dimensions(dim) -> None:
    g = randn(3, 4, 5) * randn(3, 4, 5, seed=1).exp()
    norm = g.norm(dim=dim, keepdim=True)
    torch.testing.assert_close(
        B.clip_by_norm(g, 2.0, dim), g * (2.0 / norm).clamp(max=1), **CLOSE
    )


@pytest.mark.parametrize("limit", [0.1, 1.0, 50.0])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_global_clipping_is_that_of_torch(
    limit: float, dtype: torch.dtype, device: str
) -> None:
    shapes = [(3, 4), (5,), (), (2, 1, 3)]
    gradients = [
        randn(*s, seed=i, device=device, dtype=dtype) for i, s in enumerate(shapes)
    ]
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g.clone()
    # divides by the norm plus 1e-6
    expected = torch.nn.utils.clip_grad_norm_(parameters, limit)
    plain, norm = B.clip_by_global_norm(gradients, limit)
    torch.testing.assert_close(norm, expected)
    in_place = [g.clone() for g in gradients]
    torch.testing.assert_close(B.clip_by_global_norm_(in_place, limit), expected)
    for i, p in enumerate(parameters):
        torch.testing.assert_close(plain[i], p.grad, rtol=3e-6, atol=1e-7)
        torch.testing.assert_close(in_place[i], plain[i])


def test_one_tensor_is_clipped_alike_by_all() -> None:
    g = randn(50)
    one = B.clip_by_norm(g, 1.0)
    torch.testing.assert_close(B.clip_by_global_norm([g], 1.0)[0][0], one, **CLOSE)
    torch.testing.assert_close(
        B.clip_by_global_norm_([(h := g.clone())], 1.0), g.norm(), **CLOSE
    )
    torch.testing.assert_close(h, one, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_huge_gradients_are_clipped_not_erased(dtype: torch.dtype) -> None:
    g = torch.full((100,), 3e38 if dtype != torch.float16 else 6e4).to(dtype)
    expected = torch.full((100,), 0.1)
    torch.testing.assert_close(
        B.clip_by_norm(g, 1.0).float(), expected, rtol=1e-2, atol=0
    )
    (found,), norm = B.clip_by_global_norm([g], 1.0)
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=0)
    in_place = [g.float()]
    if norm.isfinite():
        B.clip_by_global_norm_(in_place, 1.0)
        torch.testing.assert_close(in_place[0], expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_shows(bad: float) -> None:
    g = torch.tensor([1.0, bad])
    assert not B.clip_by_norm(g, 1.0).isfinite().all()
    clipped, norm = B.clip_by_global_norm([g], 1.0)
    assert not norm.isfinite() and not clipped[0].isfinite().all()
    in_place = [g.clone()]
    assert not B.clip_by_global_norm_(in_place, 1.0).isfinite()
    assert not in_place[0].isfinite().all()


def test_nothing_is_clipped_where_nothing_is() -> None:
    """Empty gradients among others, or alone; a limit of infinity; the slope at a gradient of 0."""
    g, empty = randn(5), torch.zeros(0, 3, dtype=DOUBLE)
    (first, second), norm = B.clip_by_global_norm([empty, g], 1.0)
    assert first.shape == (0, 3)
    torch.testing.assert_close(norm, g.norm())
    torch.testing.assert_close(second, g / g.norm())
    assert B.clip_by_global_norm([empty], 1.0)[1] == 0
    assert B.clip_by_global_norm_([empty, h := g.clone()], math.inf) == g.norm()
    assert torch.equal(h, g) and torch.equal(B.clip_by_norm(g, math.inf), g)
    assert B.clip_by_norm(empty, 1.0).shape == (0, 3)
    slope = torch.func.jacrev(lambda g: B.clip_by_norm(g, 1.0))(0 * g)
    assert torch.equal(slope, torch.eye(5, dtype=DOUBLE))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_in_half_precision_are_those_of_float32(dtype: torch.dtype) -> None:
    weights = randn(3, 6, 6, dtype=dtype)
    wide = [w.float() for w in weights]
    for found, expected in (
        (B.vanishing_bound(weights, "tanh"), B.vanishing_bound(wide, "tanh")),
        (B.power_norms(weights, 3), B.power_norms(torch.stack(wide), 3)),
        (
            B.with_spectral_radius(weights, 0.5),
            B.with_spectral_radius(torch.stack(wide), 0.5),
        ),
    ):
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected.to(dtype))


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_norms_of_signals_of_any_size(scale: float) -> None:
    weights, x, g = (
        randn(*s, dtype=torch.float32) for s in ((3, 6, 6), (6,), (6,))
    )
    expected = B.signal_norms(weights, "relu", x, g)
    found = B.signal_norms(weights, "relu", scale * x, scale * g)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a / scale, b)


def test_powers_that_overflow_are_infinite_not_an_error() -> None:
    matrix = 100 * torch.eye(3)
    norms = B.power_norms(matrix, 25)
    torch.testing.assert_close(norms[:19], 100.0 ** torch.arange(19))
    assert norms[20:].isinf().all()


def test_a_nilpotent_matrix_has_no_multiple_of_a_given_radius() -> None:
    with pytest.raises(ValueError, match="an eigenvalue other than 0"):
        B.with_spectral_radius(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), 0.9)


def test_clipping_is_differentiable() -> None:
    g = randn(5)
    for limit in (1.0, 100.0):
        assert torch.autograd.gradcheck(
            lambda x, c=limit: B.clip_by_norm(x, c), g.clone().requires_grad_()
        )


def test_clipping_compiles_to_one_graph() -> None:
    explained = torch._dynamo.explain(lambda g: B.clip_by_norm(g, 1.0, -1))(
        randn(3, 4)
    )
    assert explained.graph_break_count == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: B.signal_norms(randn(2, 3, 3), "swish", randn(3), randn(3)),
            "one of identity, .*got 'swish'",
        ),
        (
            lambda: B.signal_norms([], "tanh", randn(3), randn(3)),
            "weights must hold at least one tensor",
        ),
        (
            lambda: B.power_norms(randn(3, 4), 2),
            r"matrix must be \(..., n, n\) with n = 3, got shape \(3, 4\)",
        ),
        (
            lambda: B.power_norms(randn(3, 3), -1),
            "steps must be a whole number >= 0, got -1",
        ),
        (
            lambda: B.with_spectral_radius(randn(3, 3), -1.0),
            "radius must be finite and >= 0",
        ),
        (
            lambda: B.clip_by_norm(randn(3), 0.0),
            "max_norm must be > 0, got 0.0",
        ),
        (lambda: B.clip_by_norm(randn(3), math.nan), "max_norm"),
        (lambda: B.clip_by_global_norm([], 1.0), "at least one tensor"),
        (lambda: B.clip_by_global_norm_([], 1.0), "at least one tensor"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
