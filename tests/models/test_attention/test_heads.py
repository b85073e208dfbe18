"""Heads against torch's module, groups against repeated keys, the cache against the whole pass."""

import pytest
import torch
from torch import nn

from lbdl.models.attention import (
    KeyValueCache,
    MultiHeadAttention,
    attention,
    attention_flops,
    attention_scores,
    block_traffic,
    cache_bytes,
    causal_mask,
    grouped_attention,
    merge_heads,
    split_heads,
    talking_heads_attention,
)
from lbdl.models.positions import ALiBi


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def twin_of(theirs: nn.MultiheadAttention, heads: int) -> MultiHeadAttention:
    """Our module with the weights of torch's."""
    ours = MultiHeadAttention(
        theirs.embed_dim, heads, context_width=theirs.kdim
    ).double()
    if theirs.in_proj_weight is not None:
        weights = theirs.in_proj_weight.chunk(3)
    else:
        weights = theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight
    layers, biases = (
        (ours.query, ours.key, ours.value),
        theirs.in_proj_bias.chunk(3),
    )
    with torch.no_grad():
        for layer, weight, bias in zip(layers, weights, biases, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        ours.out.load_state_dict(theirs.out_proj.state_dict())
    return ours


@pytest.mark.parametrize("width_of_context", [12, 8])
def test_multi_head_attention_is_that_of_torch_forward_and_gradients(
    width_of_context,
):
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(
        12,
        3,
        batch_first=True,
        kdim=width_of_context,
        vdim=width_of_context,
        dtype=torch.float64,
    )
    nn.init.normal_(theirs.in_proj_bias)
    ours = twin_of(theirs, 3)
    x, context = (
        randn(2, 5, 12).requires_grad_(),
        randn(2, 7, width_of_context, seed=1).requires_grad_(),
    )
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) > 0.4
    mask[:, 0] = True
    found = ours(x, context, mask)
    expected, _ = theirs(x, context, context, attn_mask=~mask, need_weights=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    gradients = [
        torch.autograd.grad(y.square().sum(), (x, context))
        for y in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-13)


def test_self_attention_takes_x_as_its_own_context():
    layer, x = MultiHeadAttention(8, 2).double(), randn(2, 4, 8)
    torch.testing.assert_close(layer(x), layer(x, x))
    torch.testing.assert_close(
        layer(x, causal=True), layer(x, mask=causal_mask(4)), rtol=0, atol=0
    )


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_groups_share_keys_as_if_these_were_repeated(groups, causal):
    q, k, v = (
        randn(2, 4, 5, 8),
        randn(2, groups, 6, 8, seed=1),
        randn(2, groups, 6, 3, seed=2),
    )
    repeated = [x.repeat_interleave(4 // groups, 1) for x in (k, v)]
    masks = [
        None,
        randn(5, 6) > 0.5,
        randn(2, 1, 5, 6) > -0.5,
        randn(2, 4, 5, 6) > 0,
    ]
    for mask in masks:
        torch.testing.assert_close(
            grouped_attention(q, k, v, mask, causal=causal),
            attention(q, *repeated, mask, causal=causal),
        )


def test_a_bias_is_added_to_the_scores_of_each_head():
    q, k, v = (
        randn(2, 4, 5, 8),
        randn(2, 2, 6, 8, seed=1),
        randn(2, 2, 6, 3, seed=2),
    )
    bias = randn(4, 5, 6, seed=3)
    repeated = [x.repeat_interleave(2, 1) for x in (k, v)]
    weights = (attention_scores(q, repeated[0]) + bias).softmax(-1)
    torch.testing.assert_close(
        grouped_attention(q, k, v, bias=bias), weights @ repeated[1]
    )
    layer, x = (
        MultiHeadAttention(16, 4, distances=ALiBi(4)).double(),
        randn(2, 6, 16),
    )
    plain = MultiHeadAttention(16, 4).double()
    plain.load_state_dict(layer.state_dict())
    assert not torch.allclose(layer(x), plain(x))
    cache = KeyValueCache(2, 4, 8, 4, dtype=torch.float64)
    with torch.no_grad():
        parts = [layer(p, causal=True, cache=cache) for p in x.split(2, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), layer(x, causal=True))


def test_heads_of_keys_must_divide_heads_of_queries():
    with pytest.raises(
        ValueError, match="heads of k must divide those of q, got 3 and 4"
    ):
        grouped_attention(randn(4, 5, 8), randn(3, 5, 8), randn(3, 5, 8))
    with pytest.raises(ValueError, match="heads must divide width"):
        MultiHeadAttention(10, 4)
    with pytest.raises(
        ValueError, match="heads must divide width, and kv_heads heads"
    ):
        MultiHeadAttention(8, 4, 3)


def test_splitting_and_merging_undo_each_other():
    x = randn(2, 5, 12)
    assert split_heads(x, 3).shape == (2, 3, 5, 4)
    assert torch.equal(merge_heads(split_heads(x, 3)), x)
    assert torch.equal(split_heads(x, 3)[:, 1], x[..., 4:8])
    with pytest.raises(
        ValueError, match="heads must divide the width 12 of x, got 5"
    ):
        split_heads(x, 5)


def test_scores_of_one_head_have_low_rank_and_mixed_ones_more():
    q, k, v = (randn(4, 20, 3, seed=s) for s in range(3))
    before, after = randn(4, 4, seed=3), randn(4, 4, seed=4)
    scores = attention_scores(q, k)
    assert torch.linalg.matrix_rank(scores).tolist() == [3] * 4
    mixed = torch.einsum("gh,hnm->gnm", before, scores)
    assert torch.linalg.matrix_rank(mixed).tolist() == [12] * 4
    found = talking_heads_attention(q, k, v, before, after)
    weights = torch.einsum("gh,hnm->gnm", after, mixed.softmax(-1))
    torch.testing.assert_close(found, weights @ v)
    one = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(
        talking_heads_attention(q, k, v, one, one), attention(q, k, v)
    )


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("pieces", [[1] * 6, [6], [2, 3, 1]])
def test_piece_by_piece_with_a_cache_is_the_whole_causal_pass(kv_heads, pieces):
    layer, x = MultiHeadAttention(16, 4, kv_heads).double(), randn(2, 6, 16)
    cache = KeyValueCache(2, kv_heads, 8, 4, dtype=torch.float64)
    with torch.no_grad():
        found = [
            layer(part, causal=True, cache=cache) for part in x.split(pieces, 1)
        ]
        torch.testing.assert_close(
            torch.cat(found, 1), layer(x, causal=True), rtol=0, atol=1e-14
        )
    assert cache.length == 6
    cache.clear()
    assert cache.length == 0


def test_a_cache_is_one_buffer_that_refuses_what_does_not_fit():
    cache = KeyValueCache(1, 2, 4, 3)
    where = cache.buffer.data_ptr()
    k, v = cache.append(torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3))
    assert k.shape == v.shape == (1, 2, 3, 3) and cache.buffer.data_ptr() == where
    assert cache.bytes == cache.buffer.nbytes == cache_bytes(1, 2, 3, 4, itemsize=4)
    with pytest.raises(ValueError, match="k must fit into 4 places, got place 5"):
        cache.append(torch.ones(1, 2, 2, 3), torch.ones(1, 2, 2, 3))
    with pytest.raises(ValueError, match=r"k must be \(1, 2, n, 3\)"):
        cache.append(torch.ones(1, 1, 1, 3), torch.ones(1, 1, 1, 3))
    assert cache.length == 3


def test_bytes_of_the_cache_of_a_known_model():
    """Llama-2-7B: 32 layers, 32 heads of width 128, two bytes an element."""
    assert cache_bytes(32, 32, 128, 1) == 2**19
    assert cache_bytes(32, 32, 128, 4096) == 2 * 2**30
    assert cache_bytes(32, 8, 128, 4096) == 2**29
    assert cache_bytes(32, 1, 128, 4096) == 64 * 2**20


@pytest.mark.parametrize(("n", "m", "kv_heads"), [(6, 6, 4), (3, 10, 4), (6, 6, 1)])
def test_operations_are_those_that_torch_counts(n, m, kv_heads):
    from torch.utils.flop_counter import FlopCounterMode

    layer = MultiHeadAttention(16, 4, kv_heads)
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(1, n, 16), torch.randn(1, m, 16))
    assert counter.get_total_flops() == attention_flops(n, 16, m, kv_heads * 4)


def test_the_quadratic_part_takes_over_at_six_widths():
    """Errata 001-33, for a whole layer with its small network: 24 n w^2 + 4 n^2 w."""
    w = 64
    linear = lambda n: attention_flops(n, w) - 4 * n * n * w + 16 * n * w * w
    assert linear(6 * w) == 4 * (6 * w) ** 2 * w


def test_traffic_of_blocks_grows_with_the_number_of_blocks_of_queries():
    at_once = block_traffic(4096, 64)
    assert at_once == 2 * (4 * 4096 * 64 + 4 * 4096**2)
    assert block_traffic(4096, 64, rows=4096) == 2 * 4 * 4096 * 64
    assert block_traffic(4096, 64, rows=512) < at_once / 10
