"""Scaled dot-product attention against torch's own, with masks of every kind."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lbdl.models.attention import (
    attention,
    attention_scores,
    attention_weights,
    causal_mask,
    padding_mask,
)
from lbdl.models.entmax import entmax15

EXACT = {
    torch.float64: 1e-14,
    torch.float32: 1e-6,
    torch.float16: 2e-3,
    torch.bfloat16: 2e-2,
}


def qkv(
    *lead: int,
    n: int = 5,
    m: int = 7,
    d: int = 4,
    e: int = 3,
    seed: int = 0,
    **kind,
):
    g = torch.Generator().manual_seed(seed)
    shapes = (*lead, n, d), (*lead, m, d), (*lead, m, e)
    return [
        torch.randn(s, generator=g, dtype=torch.float64).to(**kind) for s in shapes
    ]


@pytest.mark.parametrize("dtype", EXACT, ids=str)
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_it_is_that_of_torch(lead, dtype, device):
    q, k, v = qkv(*lead, dtype=dtype, device=device)
    mask = (
        torch.rand(5, 7, generator=torch.Generator().manual_seed(1)).to(device)
        > 0.3
    )
    mask[:, 0] = True
    for given_mask in (None, mask):
        found = attention(q, k, v, given_mask)
        expected = F.scaled_dot_product_attention(
            *(x.double() for x in (q, k, v)), attn_mask=given_mask
        )
        assert found.dtype == dtype
        torch.testing.assert_close(
            found.double(), expected, rtol=0, atol=EXACT[dtype]
        )


def test_the_causal_order_is_that_of_torch_and_ends_at_the_last_key():
    q, k, v = qkv(2, n=6, m=6)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(
        attention(q, k, v, causal=True), expected, rtol=0, atol=1e-14
    )
    torch.testing.assert_close(
        attention(q[:, -2:], k, v, causal=True),
        expected[:, -2:],
        rtol=0,
        atol=1e-14,
    )


def test_gradients():
    q, k, v = (x.requires_grad_() for x in qkv(2, n=3, m=4))
    mask = torch.tensor([[True] * 4, [False] * 4, [True, False, True, False]])
    assert torch.autograd.gradcheck(
        lambda q, k, v: attention(q, k, v, mask), (q, k, v)
    )


@pytest.mark.parametrize("dtype", EXACT, ids=str)
def test_a_query_that_may_look_at_nothing_gets_zero_and_no_gradient(dtype, device):
    q, k, v = (x.requires_grad_() for x in qkv(n=3, dtype=dtype, device=device))
    mask = torch.ones(3, 7, dtype=torch.bool, device=device)
    mask[1] = False
    found = attention(q, k, v, mask)
    assert bool((found[1] == 0).all()) and bool(found.isfinite().all())
    grads = torch.autograd.grad(found.float().sum(), (q, k, v))
    assert all(bool(g.isfinite().all()) for g in grads)
    assert bool((grads[0][1] == 0).all())


def test_multiplying_scores_by_the_mask_is_something_else():
    """Errata 001-9: a score of 0 still has the weight e^0."""
    scores, mask = (
        torch.tensor([[1.0, 0.9, 1.79, 1.79]]),
        torch.tensor([[True, True, False, False]]),
    )
    assert attention_weights(scores, mask)[0, 2:].tolist() == [0, 0]
    assert float((scores * mask).softmax(-1)[0, 2:].sum()) > 0.25


def test_another_map_over_the_keys():
    q, k, v = qkv(2)
    mask = causal_mask(5, 7)
    weights = attention_weights(attention_scores(q, k), mask, entmax15)
    torch.testing.assert_close(
        weights.sum(-1), torch.ones(2, 5, dtype=torch.float64)
    )
    assert bool((weights[:, ~mask] == 0).all()) and bool(
        (weights[:, mask] == 0).any()
    )
    torch.testing.assert_close(
        attention(q, k, v, mask, mapping=entmax15), weights @ v
    )


def test_scores_of_independent_entries_have_variance_one_with_the_root_and_d_without():
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 400, 64, generator=g)
    assert float(attention_scores(q, k).var()) == pytest.approx(1, rel=0.05)
    assert float(attention_scores(q, k, scale=1).var()) == pytest.approx(
        64, rel=0.05
    )


def test_half_precision_does_not_overflow_where_the_product_would():
    q = torch.full((1, 512), 30.0, dtype=torch.float16)
    assert float(attention_scores(q, q)) == pytest.approx(512**0.5 * 900, rel=1e-3)
    assert math.isinf(float(q @ q.mT))


@given(st.integers(1, 6), st.integers(0, 5))
def test_causal_mask_is_its_formula(n, more):
    mask = causal_mask(n, n + more)
    for i in range(n):
        assert mask[i].tolist() == [j <= i + more for j in range(n + more)]


def test_padding_mask_lets_a_text_see_itself_alone():
    mask = padding_mask(torch.tensor([3, 0, 4]), 4)
    assert mask.shape == (3, 1, 1, 4)
    assert mask[:, 0, 0].sum(-1).tolist() == [3, 0, 4]
    q, k, v = qkv(3, 2, n=4, m=4)
    alone = attention(q[0], k[0, :, :3], v[0, :, :3])
    torch.testing.assert_close(attention(q, k, v, mask)[0], alone)


def test_without_a_mask_attention_does_not_know_the_order_and_with_a_causal_one_it_does():
    """Errata 001-36."""
    q, k, v = qkv(n=6, m=6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    mixed = [x[order] for x in (q, k, v)]
    torch.testing.assert_close(
        attention(*mixed), attention(q, k, v)[order], rtol=0, atol=1e-14
    )
    parted = attention(*mixed, causal=True) - attention(q, k, v, causal=True)[order]
    assert float(parted.abs().max()) > 0.1


def test_refusals_name_what_does_not_fit():
    q, k, v = qkv()
    with pytest.raises(ValueError, match=r"k must be \(\.\.\., m, d\) with d = 4"):
        attention(q, k[:, :3], v)
    with pytest.raises(ValueError, match="mask must broadcast"):
        attention(q, k, v, torch.ones(4, 7, dtype=torch.bool))
    with pytest.raises(TypeError, match="mask must be a bool tensor"):
        attention(q, k, v, torch.ones(5, 7))
    with pytest.raises(ValueError, match="n must be a whole number >= 1 and <= 3"):
        causal_mask(4, 3)
