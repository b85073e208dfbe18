"""The fast ways of `lbdl.models.entmax` against the plain ones, and against the `entmax` package."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lbdl.models.entmax import (
    entmax,
    entmax15,
    fast_entmax,
    fast_entmax15,
    fast_sparsemax,
    maps,
    sparsemax,
)
from lbdl.models.entmax import fast as module
from tests.peers import Peer

peer = Peer("entmax")

ALPHAS = [1.001, 1.1, 1.2, 1.25, 4 / 3, 1.4, 1.5, 1.75, 1.999, 2.0]


def scores(*shape: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    return spread * torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("n", [1, 2, 15, 33, 1000])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_fast_equals_plain(alpha, n, spread, device):
    x = scores(9, n, spread=spread).to(device)
    torch.testing.assert_close(
        fast_entmax(x, alpha), entmax(x, alpha), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("alpha", ALPHAS)
def test_quick_slopes_equal_the_plain_ones(alpha):
    p = fast_entmax(scores(9, 50, spread=2), alpha)
    assert (p == 0).any() or alpha < 1.1
    torch.testing.assert_close(
        module.quick_slopes(p, alpha),
        maps.entmax_slope(p, alpha),
        rtol=1e-14,
        atol=0,
    )


def test_names_equal_their_alpha():
    x = scores(9, 50)
    assert torch.equal(fast_sparsemax(x), fast_entmax(x, 2.0))
    assert torch.equal(fast_entmax15(x), fast_entmax(x, 1.5))
    assert torch.equal(fast_entmax(x, 1.0), torch.softmax(x, -1))
    assert torch.equal(fast_entmax(x, 2.5), entmax(x, 2.5))


@pytest.mark.parametrize(
    ("fast", "plain"), [(fast_sparsemax, sparsemax), (fast_entmax15, entmax15)]
)
@given(
    row=st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=70),
    copies=st.integers(1, 3),
)
def test_fast_equals_sorting_on_any_row(fast, plain, row, copies):
    x = torch.tensor(row * copies, dtype=torch.float64)
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", [1.25, 1.5, 2.0])
@pytest.mark.parametrize("spread", [0.05, 1.0])
def test_float32_errs_no_more_than_its_rounding(alpha, spread):
    x = scores(40, 2000, spread=spread).float()
    exact = entmax(x.double(), alpha)
    powers = 1 / (alpha - 1)  # p = t^powers multiplies the relative error of t
    errors = (fast_entmax(x, alpha).double() - exact).abs().amax(-1)
    assert (
        errors <= 4 * powers * torch.finfo(torch.float32).eps * exact.amax(-1)
    ).all()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_rows_that_halve_their_gaps_converge(alpha):
    # many scales in one row
    x = -(0.5 ** torch.arange(60, dtype=torch.float64)).cumsum(0)
    for row in (x, x.flip(0), -x, 1e-8 * x):
        torch.testing.assert_close(
            fast_entmax(row, alpha), entmax(row, alpha), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("alpha", ALPHAS)
def test_newton_stays_above_the_root_and_comes_down(alpha):
    z = scores(50, 40) * (alpha - 1)
    z = z - z.amax(-1, keepdim=True)
    root, *_ = module.newton_root(
        z, torch.ones(50, 1, dtype=torch.float64), alpha, 1e-14
    )
    assert ((root > 0) & (root <= 1)).all()
    total = (z + root).relu().pow(1 / (alpha - 1)).sum(-1)
    torch.testing.assert_close(
        total, torch.ones(50, dtype=torch.float64), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("n", [1, 15, 16, 17, 100, 2047])
def test_group_maxima_are_scores_of_the_row_with_the_largest_among_them(n):
    x = scores(6, n)
    maxima = module.group_maxima(x)
    assert torch.equal(maxima.amax(-1), x.amax(-1))
    for some, row in zip(maxima, x, strict=True):
        assert torch.isin(some, row).all() and some.unique().numel() == some.numel()


def test_more_rows_than_one_chunk_holds(monkeypatch):
    x = scores(37, 50).requires_grad_()
    grad = scores(37, 50, seed=1)
    whole = fast_entmax15(x), torch.autograd.grad(fast_entmax15(x), x, grad)[0]
    monkeypatch.setattr(module, "CHUNK", 200)  # four rows
    parts = fast_entmax15(x), torch.autograd.grad(fast_entmax15(x), x, grad)[0]
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-15)


@pytest.mark.parametrize("alpha", [1.25, 1.5, 1.7, 2.0])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gradient_equals_the_plain_way(alpha, dim, device):
    x = scores(40, 30, 3).to(device).requires_grad_()
    grad = scores(40, 30, 3, seed=1).to(device)
    fast, plain = (
        torch.autograd.grad(f(x, alpha, dim), x, grad)[0]
        for f in (fast_entmax, entmax)
    )
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("fast", "theirs"),
    [
        (fast_sparsemax, lambda x: peer.sparsemax(x)),
        (fast_entmax15, lambda x: peer.entmax15(x)),
        (
            lambda x: fast_entmax(x, 1.25),
            lambda x: peer.entmax_bisect(x, 1.25, n_iter=60),
        ),
    ],
)
def test_value_and_gradient_equal_the_package(fast, theirs):
    x = scores(20, 300).requires_grad_()
    grad = scores(20, 300, seed=1)
    torch.testing.assert_close(fast(x), theirs(x), rtol=0, atol=1e-10)
    ours, other = (torch.autograd.grad(f(x), x, grad)[0] for f in (fast, theirs))
    torch.testing.assert_close(ours, other, rtol=0, atol=1e-7)


@pytest.mark.parametrize("alpha", [1.25, 1.5, 1.7, 2.0])
def test_second_derivatives(alpha):
    x = scores(2, 6).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda z: fast_entmax(z, alpha), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gradient_is_finite_and_near(dtype, device):
    x = scores(20, 300).to(device, dtype).requires_grad_()
    grad = scores(20, 300, seed=1).to(device, dtype)
    (ours,) = torch.autograd.grad(fast_entmax15(x), x, grad)
    wide = x.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(entmax15(wide), wide, grad.double())
    assert ours.dtype == dtype and ours.isfinite().all()
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=0.02)


def test_an_expanded_gradient_is_taken():
    x = scores(5, 7).requires_grad_()
    fast_sparsemax(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.zeros_like(x), rtol=0, atol=1e-14)


def test_scores_are_left_alone():
    x = scores(5, 700)
    before = x.clone()
    fast_entmax15(x)
    assert torch.equal(x, before)
