"""Convolution, generating function, Cauchy sums and diagonal kernels, against the recurrence and SciPy."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lbdl.models.hippo import hippo_legs
from lbdl.models.s4 import (
    cauchy_sums,
    causal_convolution,
    discretize_diagonal,
    dplr_kernel,
    fast_cauchy_sums,
    fast_causal_convolution,
    fast_dplr_kernel,
    fast_s4d_kernel,
    generating_function,
    kernel_by_roots,
    legs_dplr,
    s4d_kernel,
    s4d_poles,
    s4d_states,
    ssm_kernel,
    truncated,
    unit_roots,
    woodbury_inverse,
)
from lbdl.models.state_space import discretize, states

LENGTHS = pytest.mark.parametrize("L", [1, 2, 63, 64])


def normal(*shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def legs(N: int = 16, step: float = 0.01) -> tuple[Tensor, ...]:
    """A, B, A_bar, B_bar of LegS by bilinear steps, and some C."""
    A, B = hippo_legs(N)
    return A, B, *discretize(A, B, step), normal(N, seed=7)


# --- Three views -------------------------------------------------------------------


@LENGTHS
def test_the_recurrence_is_a_convolution(L, device):
    *_, A_bar, B_bar, C = (x.to(device) for x in legs())
    u = normal(3, L).to(device)
    K = ssm_kernel(A_bar, B_bar, C, L)
    y = states(A_bar, B_bar, u) @ C
    torch.testing.assert_close(causal_convolution(u, K), y)
    torch.testing.assert_close(fast_causal_convolution(u, K), y)


@given(st.integers(0, 2**31), st.integers(1, 60))
def test_convolution_is_scipys(seed, L):
    u, K = normal(2, L, seed=seed), normal(L, seed=seed + 1)
    expected = scipy.signal.convolve(u, K[None], mode="full")[:, :L]
    for convolve in (causal_convolution, fast_causal_convolution):
        np.testing.assert_allclose(convolve(u, K), expected, atol=1e-12)


def test_without_the_zeros_the_end_comes_around():
    u, K = normal(64), 0.97 ** torch.arange(64).double()
    circular = torch.fft.irfft(torch.fft.rfft(u) * torch.fft.rfft(K), n=64)
    assert (circular - causal_convolution(u, K)).abs().max() > 0.1


@pytest.mark.parametrize("convolve", [causal_convolution, fast_causal_convolution])
def test_gradients_of_convolutions(convolve):
    given = normal(2, 9).requires_grad_(), normal(9).requires_grad_()
    assert torch.autograd.gradcheck(convolve, given)


# --- The generating function -------------------------------------------------------


@LENGTHS
def test_the_kernel_from_its_generating_function(L):
    A, B, A_bar, B_bar, C = legs()
    short = truncated(A_bar, C, L)
    K = kernel_by_roots(generating_function(A, B, short, 0.01, unit_roots(L)), L)
    torch.testing.assert_close(K, ssm_kernel(A_bar, B_bar, C, L))


def test_the_generating_function_is_the_series():
    A, B, A_bar, B_bar, C = legs(6, 0.3)
    z = torch.tensor([0.3 + 0.2j, -0.9, 0.5j]).to(torch.complex128)
    K = ssm_kernel(A_bar, B_bar, C, 400)
    series = (K * z[:, None] ** torch.arange(400)).sum(-1)
    torch.testing.assert_close(generating_function(A, B, C, 0.3, z), series)


def test_at_minus_one_the_limit():
    A, B, _, _, C = legs()
    at = generating_function(
        A, B, C, 0.2, torch.tensor([-1.0 + 0j]).to(torch.complex128)
    )
    torch.testing.assert_close(at.real, 0.1 * (C @ B).unsqueeze(0))


def test_without_truncation_the_end_comes_around():
    A, B, A_bar, B_bar, C = legs()
    K = kernel_by_roots(generating_function(A, B, C, 0.01, unit_roots(64)), 64)
    assert (K - ssm_kernel(A_bar, B_bar, C, 64)).abs().max() > 1e-3


def test_a_pole_is_refused():
    one = torch.ones(1).double()
    with pytest.raises(ValueError, match="pole"):
        generating_function(one[None] * 0, one, one, 0.1, torch.ones(1) + 0j)


# --- Normal plus low rank ----------------------------------------------------------


@pytest.mark.parametrize("N", [1, 2, 16, 64])
def test_legs_is_diagonal_less_rank_one_in_orthonormal_coordinates(N):
    A, B = hippo_legs(N)
    poles, P, B_here, V = legs_dplr(N)
    diagonal = torch.diag(poles) - torch.outer(P, P.conj())
    eye = torch.eye(N, dtype=V.dtype)
    torch.testing.assert_close(V.mH @ V, eye, rtol=0, atol=1e-12)
    back = V @ diagonal @ V.mH
    torch.testing.assert_close(back, A + 0j, rtol=0, atol=1e-13 * N**2)
    torch.testing.assert_close(V @ B_here, B + 0j, rtol=0, atol=1e-12)
    assert (poles.real == -0.5).all()


def test_direct_diagonalisation_is_hopeless():
    """cond(V) of LegS itself: 8e4, 8e10 and more than float64 can tell."""
    for N, least in ((8, 5e4), (16, 5e10), (32, 1e15)):
        _, V = torch.linalg.eig(hippo_legs(N)[0])
        assert torch.linalg.cond(V) > least


def test_woodbury():
    D, U, W = (
        normal(3, 6, 6) + 9 * torch.eye(6),
        normal(3, 6, 2, seed=1),
        normal(6, 2),
    )
    expected = torch.linalg.inv(D - U @ W.mT)
    got = woodbury_inverse(torch.linalg.inv(D), U, W)
    torch.testing.assert_close(got, expected)
    with pytest.raises(ValueError, match="leave an inverse"):
        woodbury_inverse(torch.eye(2), torch.eye(2), torch.eye(2))


@LENGTHS
@pytest.mark.parametrize("kernel", [dplr_kernel, fast_dplr_kernel])
def test_the_kernel_of_s4(kernel, L, device):
    _, _, A_bar, B_bar, C = legs()
    poles, P, B, V = (x.to(device) for x in legs_dplr(16))
    short = truncated(A_bar, C, L).to(device, V.dtype) @ V
    step = torch.tensor(0.01, dtype=torch.float64, device=device)
    got = kernel(poles, P, B, short, step, L)
    torch.testing.assert_close(got.cpu(), ssm_kernel(A_bar, B_bar, C, L))


def test_kernels_of_a_batch_of_steps():
    poles, P, B, _ = legs_dplr(8)
    C, steps = normal(3, 8) + 0j, torch.tensor([0.01, 0.1, 0.5]).double()
    together = fast_dplr_kernel(poles, P, B, C, steps, 40)
    for i in range(3):
        one = dplr_kernel(poles, P, B, C[i], steps[i], 40)
        torch.testing.assert_close(together[i], one)


def test_gradients_of_cauchy_sums(monkeypatch):
    from lbdl.models.s4 import dplr

    monkeypatch.setattr(dplr, "CHUNK", 4)
    weights = normal(2, 3, 5, dtype=torch.complex128).requires_grad_()
    poles = (normal(5, seed=1, dtype=torch.complex128) - 2).requires_grad_()
    sums = lambda w, p: fast_cauchy_sums(w, p, unit_roots(20))
    assert torch.autograd.gradcheck(sums, (weights, poles))
    torch.testing.assert_close(
        sums(weights, poles), cauchy_sums(weights, poles, unit_roots(20))
    )


# --- Diagonal systems --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lin", "inv", "legs"])
@pytest.mark.parametrize("method", ["exact", "bilinear"])
@LENGTHS
def test_diagonal_kernels(kind, method, L, device):
    """Plain, fast, and the recurrence's answer to 1, 0, 0, ..."""
    poles = s4d_poles(16, kind).to(device)
    C = normal(3, 8, dtype=torch.complex128).to(device)
    steps = torch.tensor([0.01, 0.1, 0.5], dtype=torch.float64, device=device)
    u = torch.eye(L, dtype=torch.float64, device=device)[0]
    x = s4d_states(poles.expand(3, 8), u, steps, method)
    K = 2 * torch.einsum("hn,hln->hl", C, x).real
    torch.testing.assert_close(s4d_kernel(poles, C, steps, L, method), K)
    torch.testing.assert_close(fast_s4d_kernel(poles, C, steps, L, method), K)


@pytest.mark.parametrize("method", ["exact", "bilinear"])
def test_a_diagonal_system_is_discretised_as_its_matrix(method):
    poles = s4d_poles(8, "inv")
    step = torch.tensor(0.2).double()
    A_bar, B_bar = discretize_diagonal(poles, step, method)
    full = discretize(torch.diag(poles), torch.ones_like(poles), 0.2, method)
    torch.testing.assert_close(torch.diag(A_bar), full[0])
    torch.testing.assert_close(B_bar, full[1])


def test_where_poles_start():
    lin, inv = s4d_poles(4, "lin"), s4d_poles(4, "inv")
    np.testing.assert_allclose(lin, [-0.5, -0.5 + 1j * math.pi])
    np.testing.assert_allclose(inv.imag, [12 / math.pi, 4 / math.pi / 3])
    assert (s4d_poles(64, "legs").imag > 0).all()
    with pytest.raises(ValueError, match="even"):
        s4d_poles(5)


def test_diagonal_gradients():
    poles = s4d_poles(4, "lin").requires_grad_()
    C = normal(2, 2, dtype=torch.complex128).requires_grad_()
    step = torch.tensor([0.1, 0.3]).double().requires_grad_()
    for kernel in (s4d_kernel, fast_s4d_kernel):
        f = lambda p, c, s, k=kernel: k(p - 0.1, c, s, 7)
        assert torch.autograd.gradcheck(f, (poles, C, step))


def test_unstable_poles_are_refused():
    with pytest.raises(ValueError, match="real parts < 0"):
        s4d_kernel(
            torch.tensor([0.1 + 1j]), torch.ones(1) + 0j, torch.tensor(0.1), 4
        )
