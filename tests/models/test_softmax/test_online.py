"""Softmax in one pass against `torch.softmax` and torch's attention, and the laws of its merge."""

import itertools
import math
from functools import reduce

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lbdl.models.softmax import (
    OnlineSoftmax,
    merge,
    nothing_seen,
    online_softmax,
    summarize,
)

DOUBLE = torch.float64


def made(*shape: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(shape, dtype=DOUBLE, generator=generator)


def plain(scores: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.softmax(scores, -1) @ values


def assert_equal(actual, expected, atol=1e-13) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("block", [1, 3, 7, 20, 128])
@pytest.mark.parametrize("spread", [0.0, 1.0, 300.0])
def test_any_block_gives_the_plain_answer(block, spread, device):
    scores = made(2, 3, 5, 20, spread=spread).to(device)
    values = made(2, 1, 20, 4, seed=1).to(device)
    assert_equal(online_softmax(scores, values, block), plain(scores, values))


def test_it_is_torchs_attention():
    q, k, v = (made(2, 6, 8, seed=seed) for seed in range(3))
    scores = q @ k.mT / math.sqrt(8)
    later = torch.ones(6, 6, dtype=torch.bool).triu(1)
    found = online_softmax(scores.masked_fill(later, -math.inf), v, 2)
    assert_equal(found, F.scaled_dot_product_attention(q, k, v, is_causal=True))


@given(
    cuts=st.lists(st.integers(1, 19), max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_blocks_may_be_merged_in_any_order(cuts, order):
    scores, values = made(3, 20, spread=30), made(20, 2, seed=1)
    ends = [0, *sorted(set(cuts)), 20]
    parts = [
        summarize(scores[:, a:b], values[a:b]) for a, b in itertools.pairwise(ends)
    ]
    order.shuffle(parts)
    together = reduce(merge, parts)
    assert_equal(together.mean(), plain(scores, values))
    assert_equal(together.logsumexp(), torch.logsumexp(scores, -1))


def test_merging_is_associative_and_commutative_with_a_neutral_element():
    values = made(7, 2, seed=1)
    a, b, c = (summarize(made(3, 7, seed=s, spread=9), values) for s in (2, 3, 4))
    for first, second in (
        (merge(merge(a, b), c), merge(a, merge(b, c))),
        (merge(a, b), merge(b, a)),
        (merge(a, nothing_seen(a)), a),
        (merge(nothing_seen(a), a), a),
    ):
        for x, y in zip(first, second, strict=True):
            assert_equal(x, y)
    nothing = merge(nothing_seen(a), nothing_seen(a))
    assert (nothing.peak == -math.inf).all() and (nothing.total == 0).all()
    assert (nothing.logsumexp() == -math.inf).all()


def test_a_block_that_is_masked_as_a_whole_counts_for_nothing():
    scores, values = made(3, 12), made(12, 2, seed=1)
    scores[0, :4] = scores[1, 4:8] = scores[2, 8:] = -math.inf
    scores.requires_grad_()
    found = online_softmax(scores, values, 4)
    assert_equal(found, plain(scores, values))
    (slope,) = torch.autograd.grad(found.sum(), scores)
    assert slope.isfinite().all() and (slope[scores == -math.inf] == 0).all()


def test_first_and_second_derivatives():
    scores, values = (
        made(2, 5).requires_grad_(),
        made(5, 3, seed=1).requires_grad_(),
    )
    by_two = lambda x, v: online_softmax(x, v, 2)
    assert torch.autograd.gradcheck(by_two, (scores, values))
    assert torch.autograd.gradgradcheck(by_two, (scores, values))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    scores, values = made(2, 5000).to(dtype), made(5000, 3, seed=1).to(dtype)
    found = online_softmax(scores, values, 64)
    assert found.dtype == dtype
    assert_equal(
        found.double(),
        plain(scores.double(), values.double()).to(dtype).double(),
        atol=torch.finfo(dtype).eps,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_is_kept_of_half_precision_is_kept_in_float32(dtype):
    scores, values = made(2, 300).to(dtype), made(300, 3, seed=1).to(dtype)
    kept = summarize(scores, values)
    exact = summarize(scores.double(), values.double())
    for found, expected in zip(kept, exact, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_scores_of_a_thousand_and_of_minus_a_thousand():
    scores = torch.tensor([[1000.0, -1000.0, 999.0]])
    found = online_softmax(scores, torch.eye(3), 1)
    assert_equal(found, torch.softmax(scores, -1), atol=1e-7)


def test_what_cannot_be_looked_at_is_nan():
    scores = torch.stack([torch.full((1, 3), -math.inf), torch.zeros(1, 3)])
    found = torch.func.vmap(lambda x: online_softmax(x, torch.eye(3)))(scores)
    assert found.isnan().all(-1).squeeze(-1).tolist() == [True, False]


def test_the_sums_by_hand():
    seen = summarize(torch.tensor([[0.0, math.log(2)]]), torch.eye(2))
    assert isinstance(seen, OnlineSoftmax)
    assert_equal(seen.total, torch.tensor([1.5]), atol=1e-6)
    assert_equal(seen.weighted, torch.tensor([[0.5, 1.0]]), atol=1e-6)
    assert_equal(seen.logsumexp(), torch.tensor([math.log(3)]), atol=1e-6)


BLOCK = summarize(torch.zeros(2, 3), torch.zeros(3, 1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: online_softmax(torch.full((2, 3), -math.inf), torch.eye(3)),
            ValueError,
            "scores must have a finite score in every row",
        ),
        (
            lambda: summarize(torch.full((2, 3), math.nan), torch.eye(3)),
            ValueError,
            "scores must hold no NaN",
        ),
        (
            lambda: summarize(torch.full((2, 3), math.inf), torch.eye(3)),
            ValueError,
            "below",
        ),
        (
            lambda: summarize(torch.zeros(2, 3), torch.eye(3).double()),
            TypeError,
            "values must have the dtype of scores",
        ),
        (
            lambda: summarize(torch.zeros(2, 3), torch.eye(4)),
            ValueError,
            r"values must be \(..., n, d\)",
        ),
        (
            lambda: online_softmax(torch.zeros(2, 3), torch.eye(3), 0),
            ValueError,
            "block must be a whole number >= 1",
        ),
        (
            lambda: merge(BLOCK, summarize(torch.zeros(1, 3), torch.zeros(3, 1))),
            ValueError,
            "second must have the shape of first",
        ),
        (lambda: merge(BLOCK, tuple(BLOCK)), TypeError, "second must be"),
        (lambda: nothing_seen(None), TypeError, "like must be"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
