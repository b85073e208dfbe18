"""Scans: in order and in blocks, with their own way back, and as masked matrix products."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lbdl.models.selective import (
    decay_mask,
    fast_linear_scan,
    fast_selective_scan,
    linear_scan,
    scan,
    selective_attention,
    selective_scan,
)
from lbdl.models.state_space import states, zero_order_hold


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).double()


def selection(L: int, d: int = 3, N: int = 4, batch: tuple[int, ...] = (2,)):
    """Arguments of a selective scan."""
    return [
        normal(*batch, L, d),
        torch.sigmoid(normal(*batch, L, d, seed=1)),
        -normal(d, N, seed=2).exp(),
        normal(*batch, L, N, seed=3),
        normal(*batch, L, N, seed=4),
        normal(d, seed=5),
    ]


@given(st.integers(0, 2**31), st.integers(1, 80))
def test_scans_agree(seed, L):
    a, b, h = (
        normal(2, L, 3, seed=seed),
        normal(2, L, 3, seed=seed + 1),
        normal(2, 3),
    )
    a = torch.tanh(a)
    expected = linear_scan(a, b, h)
    torch.testing.assert_close(
        fast_linear_scan(a, b, h), expected, rtol=0, atol=1e-12
    )


def test_with_constant_weights_a_scan_is_the_recurrence():
    a, u = torch.rand(3).double(), normal(20)
    expected = states(torch.diag(a), torch.ones(3).double(), u)
    got = linear_scan(a.expand(20, 3), u[:, None].expand(20, 3))
    torch.testing.assert_close(got, expected)


def test_with_constant_weights_selection_is_a_state_space(device):
    """exp(delta A) is the exact A_bar; delta B is the first term of the exact B_bar."""
    L, delta = 30, 1e-4
    A, B, C = -normal(1, 4).exp(), normal(4, seed=1), normal(4, seed=2)
    u = normal(L, 1, seed=3)
    A_bar, _ = zero_order_hold(torch.diag(A[0]), B, delta)
    y = states(A_bar, delta * B, u[:, 0]) @ C
    steps, rows = (
        torch.full((L, 1), delta).double(),
        (B.expand(L, 4), C.expand(L, 4)),
    )
    got = selective_scan(*(x.to(device) for x in (u, steps, A, *rows)))
    torch.testing.assert_close(got[:, 0].cpu(), y)


@pytest.mark.parametrize("L", [1, 5, 32, 100])
@pytest.mark.parametrize("segment", [7, 64])
@pytest.mark.parametrize("together", [1, 24 * 5, 24 * 100])
def test_fast_selection_and_its_gradients(
    L, segment, together, monkeypatch, device
):
    """Step by step, in blocks with some steps to spare, and in blocks of one step."""
    monkeypatch.setattr(scan, "SEGMENT", segment)
    monkeypatch.setattr(scan, "TOGETHER", together)
    given = [x.to(device).requires_grad_() for x in selection(L)]
    weights = normal(2, L, 3, seed=9).to(device)
    plain, fast = selective_scan(*given), fast_selective_scan(*given)
    torch.testing.assert_close(fast, plain)
    expected, got = (
        torch.autograd.grad((y * weights).sum(), given) for y in (plain, fast)
    )
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_any_leading_dimensions(batch):
    given = selection(9, batch=batch)
    y = fast_selective_scan(*given)
    assert y.shape == (*batch, 9, 3)
    torch.testing.assert_close(y, selective_scan(*given))


def test_long_memory_is_computed_again_and_not_kept():
    """What the way back keeps of the states: one a segment, not one a step."""
    given, kept = [x.requires_grad_() for x in selection(4096)[:5]], []
    note = lambda x: kept.append(x.numel()) or x
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        fast_selective_scan(*given)
    one_a_step = 2 * 4096 * 3 * 4
    assert 0 < sum(kept) < 2 * sum(x.numel() for x in given)
    assert max(kept) < one_a_step


def test_the_scan_is_a_masked_matrix_product():
    """Mamba-2: one decay for all numbers of state of a channel."""
    u, delta, _, B, C, _ = selection(40, d=1)
    A = torch.full((1, 4), -0.7).double()
    y = selective_scan(u, delta, A, B, C)
    attended = selective_attention(delta * u, (-0.7 * delta)[..., 0], B, C)
    torch.testing.assert_close(attended, y)


def test_without_decay_it_is_linear_attention():
    values, keys, queries = normal(9, 5), normal(9, 3, seed=1), normal(9, 3, seed=2)
    got = selective_attention(values, torch.zeros(9).double(), keys, queries)
    running = torch.einsum("ln,ld->lnd", keys, values).cumsum(0)
    torch.testing.assert_close(got, torch.einsum("ln,lnd->ld", queries, running))


def test_decay_mask_by_hand():
    M = decay_mask(torch.tensor([0.5, 0.5, 0.25]).log())
    rows = [[1, 0, 0], [0.5, 1, 0], [0.125, 0.25, 1]]
    torch.testing.assert_close(M, torch.tensor(rows))


def test_refusals():
    u, delta, A, B, C, D = selection(5)
    with pytest.raises(ValueError, match="delta must have the shape of u"):
        selective_scan(u, delta[:, :1], A, B, C)
    with pytest.raises(ValueError, match="B must have the leading dimensions"):
        fast_selective_scan(u, delta, A, B[0], C[0], D)
    with pytest.raises(ValueError, match="start must be"):
        linear_scan(u, u, u[:, 0, :1])
