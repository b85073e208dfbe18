"""Attention by blocks is attention: any block sizes, both directions; and its memory grows like n."""

import pytest
import torch

from lbdl.foundations.memory import peak_bytes
from lbdl.models.attention import attention, block_attention, fast_attention

from .test_scaled import EXACT, qkv

BLOCKS = [(64, 64), (3, 2), (2, 3), (4, None), (1, 1)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("rows", "columns"), BLOCKS)
@pytest.mark.parametrize(("n", "m"), [(7, 7), (5, 9), (1, 9)])
def test_results_and_gradients_are_those_of_the_plain_way(
    n, m, rows, columns, causal, device
):
    tensors = qkv(2, 3, n=n, m=m, device=device)
    grad = torch.randn(
        2, 3, n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).to(device)
    answers = []
    for way in (
        lambda q, k, v: attention(q, k, v, causal=causal),
        lambda q, k, v: block_attention(
            q, k, v, causal=causal, rows=rows, columns=columns
        ),
    ):
        inputs = [x.clone().requires_grad_() for x in tensors]
        result = way(*inputs)
        answers.append(
            (result, *torch.autograd.grad((result * grad).sum(), inputs))
        )
    torch.testing.assert_close(*answers, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", EXACT, ids=str)
def test_the_fast_way_in_every_dtype(dtype, device):
    q, k, v = qkv(2, n=300, m=300, d=16, e=16, dtype=dtype, device=device)
    expected = attention(*(x.double() for x in (q, k, v)), causal=True)
    found = fast_attention(q, k, v, causal=True)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=EXACT[dtype])


def test_large_scores_do_not_overflow():
    q, k, v = qkv(n=6, m=6)
    for size in (1e3, 1e5):
        torch.testing.assert_close(
            block_attention(size * q, k, v, rows=2, columns=2),
            attention(size * q, k, v),
        )


def test_memory_grows_like_n_and_the_plain_way_like_its_square():
    """Peak of both passes beyond the inputs, at n and 2 n."""

    def peak(way, n: int) -> int:
        q, k, v = (x.requires_grad_() for x in qkv(n=n, m=n, d=8, e=8))
        return peak_bytes(
            lambda: torch.autograd.grad(way(q, k, v).sum(), (q, k, v)), q.device
        )

    blocks = [
        peak(lambda q, k, v: block_attention(q, k, v, rows=32, columns=32), n)
        for n in (256, 512)
    ]
    plain = [peak(attention, n) for n in (256, 512)]
    assert blocks[1] < 2.2 * blocks[0] < 0.2 * plain[0]
    assert plain[1] > 3.5 * plain[0]


def test_strided_inputs_stay_as_they_are():
    q, k, v = qkv(2, n=5, m=5, d=4, e=4)
    strided = [x.mT.contiguous().mT for x in (q, k, v)]
    torch.testing.assert_close(
        block_attention(*strided, rows=2), attention(q, k, v)
    )


def test_refusals():
    q, k, v = qkv(2, n=5, m=4)
    with pytest.raises(
        ValueError, match="q must have no more places than k, got 5"
    ):
        block_attention(q, k, v, causal=True)
    with pytest.raises(ValueError, match="leading dimensions of q"):
        fast_attention(q, k[:1], v[:1])
    with pytest.raises(ValueError, match="rows must be a whole number >= 1, got 0"):
        block_attention(q, k, v, rows=0)
