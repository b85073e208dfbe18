"""The HiPPO systems against projection by quadrature, SciPy's polynomials, and each other."""

import math

import numpy as np
import pytest
import scipy.special
import torch
from scipy.integrate import quad, solve_ivp
from torch import Tensor

from lbdl.models.hippo import (
    basis,
    gauss_legendre,
    hippo_fourier,
    hippo_fourier_legs,
    hippo_legs,
    hippo_legt,
    hippo_lmu,
    legendre,
    project,
    project_held,
    reconstruct,
)
from lbdl.models.hippo.memories import SCALES
from lbdl.models.state_space import (
    discretize,
    impulse_response,
)

EACH_SCALE = pytest.mark.parametrize("scale", SCALES)


def signal(t):
    """Three waves, for tensors and for numbers."""
    sin = torch.sin if isinstance(t, Tensor) else math.sin
    return sin(1.7 * t) + 0.5 * sin(4 * t + 1.9) + 0.3 * sin(6.1 * t)


def followed(slope, c: Tensor, begin: float, end: float) -> np.ndarray:
    """Where an ordinary differential equation leads, by SciPy."""
    options = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-14}
    return solve_ivp(slope, (begin, end), c.numpy(), **options).y[:, -1]


# --- Polynomials and quadrature ----------------------------------------------------


def test_legendre_is_scipys(device):
    s = torch.linspace(-1.2, 1, 31, device=device).double()
    expected = [scipy.special.eval_legendre(n, s.cpu().numpy()) for n in range(40)]
    np.testing.assert_allclose(
        legendre(s, 40).mT.cpu(), expected, rtol=1e-9, atol=1e-13
    )


@EACH_SCALE
def test_the_scales_are_orthogonal_as_they_say(scale):
    s, weights = gauss_legendre(20)
    gram = torch.einsum("i,in,im->nm", weights, *[basis(s, 12, scale)] * 2)
    norms = {
        "probability": torch.full((12,), 2.0),
        "lebesgue": torch.ones(12),
        "legendre": 2 / (2 * torch.arange(12).double() + 1),
    }[scale]
    torch.testing.assert_close(gram, torch.diag(norms.double()), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 64, 256])
def test_quadrature_is_numpys(n):
    places, weights = np.polynomial.legendre.leggauss(n)
    got = gauss_legendre(n)
    np.testing.assert_allclose(got[0], places, atol=1e-14)
    np.testing.assert_allclose(got[1], weights, atol=1e-14)


@EACH_SCALE
def test_projection_is_an_integral(scale):
    """One coefficient at a time, by an adaptive integrator."""
    got = project(signal, 5.0, 4, 2.0, scale)
    for n in range(4):
        value = quad(
            lambda s, n=n: signal(4 + s) * scipy.special.eval_legendre(n, s),
            -1,
            1,
            epsabs=1e-13,
        )[0]
        factor = {
            "probability": math.sqrt(2 * n + 1) / 2,
            "lebesgue": math.sqrt((2 * n + 1) / 2),
            "legendre": (2 * n + 1) / 2,
        }[scale]
        assert abs(got[n] - factor * value) < 1e-12


@EACH_SCALE
def test_reconstruction_undoes_projection(scale):
    """A polynomial of degree 5 is its six coefficients, whatever the window."""
    u = lambda t: 1 - t + 0.3 * t**5
    s = torch.linspace(-1, 1, 9).double()
    for window in (None, 2.0):
        c = project(u, 3.0, 6, window, scale)
        t = 3.0 - (window or 3.0) * (1 - s) / 2
        torch.testing.assert_close(reconstruct(c, s, scale), u(t))


def test_coefficient_zero_is_the_mean_and_the_squares_add_up_to_the_mean_square():
    c = project(signal, 4.0, 40)
    mean, square = (
        quad(f, 0, 4)[0] / 4 for f in (signal, lambda t: signal(t) ** 2)
    )
    torch.testing.assert_close(c[0].item(), mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(c.square().sum().item(), square, rtol=0, atol=1e-12)


def test_held_samples_are_projected_in_closed_form():
    """Against quadrature on each held piece."""
    u = torch.randn(7, generator=torch.Generator().manual_seed(0)).double()
    s, w = gauss_legendre(20)
    edges = torch.linspace(-1, 1, 8, dtype=torch.float64)
    total = sum(
        value
        * (basis((a + b) / 2 + (b - a) / 2 * s, 12) * w[:, None]).sum(0)
        * (b - a)
        / 4
        for value, a, b in zip(u, edges[:-1], edges[1:], strict=True)
    )
    torch.testing.assert_close(project_held(u, 12), total, rtol=0, atol=1e-14)
    torch.testing.assert_close(project_held(u, 1), u.mean(-1, keepdim=True))


# --- The systems against the projections -------------------------------------------


@EACH_SCALE
def test_legs_keeps_the_projection_exactly(scale):
    A, B = (x.numpy() for x in hippo_legs(16, scale))
    slope = lambda t, c: (A @ c + B * signal(t)) / t
    start = project(signal, 0.5, 16, scale=scale)
    ends = followed(slope, start, 0.5, 6.0)
    np.testing.assert_allclose(
        ends, project(signal, 6.0, 16, scale=scale), atol=1e-10
    )


@pytest.mark.parametrize(("N", "error"), [(8, 0.05), (16, 1e-6), (24, 1e-10)])
@EACH_SCALE
def test_legt_keeps_the_projection_up_to_its_own_error_at_the_end(scale, N, error):
    A, B = (x.numpy() for x in hippo_legt(N, 2.0, scale))
    slope = lambda t, c: A @ c + B * signal(t)
    start = project(signal, 2.0, N, 2.0, scale)
    ends = followed(slope, start, 2.0, 6.0)
    error *= 1 if scale != "legendre" else math.sqrt(2 * N)
    truth = project(signal, 6.0, N, 2.0, scale)
    np.testing.assert_allclose(ends, truth, rtol=0, atol=error)


def test_first_rows_by_hand():
    A, B = hippo_legs(3)
    rows = [[-1, 0, 0], [-math.sqrt(3), -2, 0], [-math.sqrt(5), -math.sqrt(15), -3]]
    np.testing.assert_allclose(A, rows, rtol=1e-15)
    np.testing.assert_allclose(B, [1, math.sqrt(3), math.sqrt(5)], rtol=1e-15)
    A, B = hippo_legt(2, 4.0)
    rows = [[-1, math.sqrt(3)], [-math.sqrt(3), -3]]
    np.testing.assert_allclose(4 * A, rows, rtol=1e-15)
    np.testing.assert_allclose(4 * B, [1, math.sqrt(3)], rtol=1e-15)


def test_lmu_is_legt_with_plain_coefficients_and_odd_signs_flipped():
    """The unit's own polynomials run backwards: P_n(2 r - 1), r = 0 now and 1 oldest."""
    A, B = hippo_legt(9, 3.0, "legendre")
    flip = (-1.0) ** torch.arange(9).double()
    got = hippo_lmu(9, 3.0)
    torch.testing.assert_close(got[0], flip[:, None] * A * flip)
    torch.testing.assert_close(got[1], flip * B)
    i, j = np.indices((9, 9))
    paper = (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1)) / 3
    np.testing.assert_allclose(got[0], paper, rtol=1e-15)


@pytest.mark.parametrize(("closure", "limit"), [("mean", 0.0), ("end", 1 / 3)])
def test_the_fourier_window_converges_to_the_signal_or_to_its_echoes(
    closure, limit
):
    """In frequency: what the state holds, over what it should hold.

    A wave e^{iwt} in the window has c_n = (1 - q) / (iw - 2 pi i n / window) / window,
    q = e^{-iw window}; the closure "end" gives 2 / (3 - q) of it.
    """
    N, window, w = 400, 2.0, 1.7
    A, B = hippo_fourier(N, window, closure)
    held = torch.linalg.solve(1j * w * torch.eye(2 * N + 1) - A, B)
    n = torch.arange(-N, N + 1)
    q = np.exp(-1j * w * window)
    true = (1 - q) / (1j * w - 2j * math.pi * n / window) / window
    factor = 2 / (3 - q) if limit else 1.0
    low = n.abs() <= 5
    assert (held / true - factor)[low].abs().max() < 2e-3


def test_fourier_legs_before_the_cut_is_exact():
    """Its derivative of every low frequency, heard from very many, against differences."""
    u = lambda t: np.sin(3 * t) + 0.4 * t

    def coefficient(T: float, n: int) -> complex:
        wave = lambda r, f: u(T * r) * f(2 * math.pi * n * r)
        real, imaginary = (
            quad(wave, 0, 1, args=(f,), limit=400)[0] for f in (math.cos, math.sin)
        )
        return complex(real, -imaginary)

    N, T = 60, 2.0
    A, B = hippo_fourier_legs(N)
    c = torch.tensor([coefficient(T, n) for n in range(-N, N + 1)]).to(A.dtype)
    slope = (A @ c + B * u(T))[N - 2 : N + 3]
    for n, got in zip(range(-2, 3), slope.tolist(), strict=True):
        h = 1e-4
        true = T * (coefficient(T + h, n) - coefficient(T - h, n)) / (2 * h)
        assert abs(got - true) < 0.03, n


def test_both_memories_lose_energy_only_by_their_own_error():
    """d|c|^2 by the systems; see the chapter's energy balance."""
    c = torch.randn(12, generator=torch.Generator().manual_seed(0)).double()
    now, then = (
        reconstruct(c, torch.tensor([e]).double()).squeeze() for e in (1.0, -1.0)
    )
    A, B = hippo_legt(12, 2.0)
    got = 2 * c @ (A @ c + B * 0.7)
    torch.testing.assert_close(got, (0.7**2 - then**2 - (0.7 - now) ** 2) / 2)
    A, B = hippo_legs(12)
    got = 2 * c @ (A @ c + B * 0.7)
    torch.testing.assert_close(got, 0.7**2 - c @ c - (0.7 - now) ** 2)


def test_a_window_forgets_what_leaves_it():
    """The memory of a blow: large within the window, nearly nothing after two."""
    A, B = hippo_legt(16, 1.0)
    at = lambda t: torch.matrix_exp(A * t) @ B
    assert at(0.5).norm() > 50 * at(2.0).norm()


def test_dtypes_and_refusals():
    assert hippo_legt(3, dtype=torch.float32)[0].dtype == torch.float32
    assert hippo_fourier(3, dtype=torch.complex64)[0].dtype == torch.complex64
    for bad in (torch.int64, torch.complex64):
        with pytest.raises(TypeError, match="dtype must be a real floating"):
            hippo_legs(3, dtype=bad)
    with pytest.raises(TypeError, match="dtype must be a complex"):
        hippo_fourier(3, dtype=torch.float64)
    with pytest.raises(ValueError, match="u must give 256 values"):
        project(lambda t: t[:3], 1.0, 4)
    with pytest.raises(ValueError, match="window must be"):
        project(signal, -1.0, 4)
    assert (
        impulse_response(
            *hippo_legs(3), torch.ones(3).double(), torch.ones(2).double()
        )
        .isfinite()
        .all()
    )
    assert discretize(*hippo_legt(3), 0.1)[0].shape == (3, 3)
