"""Layers against torch's, whole models against their parts, counts against counters."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lbdl.foundations.autoregression import generate
from lbdl.models.attention import MultiHeadAttention, causal_mask, padding_mask
from lbdl.models.transformer import (
    GPT,
    DecoderLayer,
    EncoderDecoder,
    EncoderLayer,
    FeedForward,
    VisionTransformer,
    gpt_parameters,
    greedy,
    patches,
    transformer_flops,
    write_on,
)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(
        shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def tokens(*shape: int, below: int = 11, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        below, shape, generator=torch.Generator().manual_seed(seed)
    )


def torch_layer(
    norm_first: bool, activation: str = "relu"
) -> nn.TransformerEncoderLayer:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        12,
        3,
        20,
        0.0,
        activation,
        batch_first=True,
        norm_first=norm_first,
        dtype=torch.float64,
    )
    for p in layer.parameters():
        nn.init.normal_(p, std=0.3)
    return layer


def own_layer(norm_first: bool, activation: str = "relu") -> EncoderLayer:
    feed = FeedForward(12, 20, activation)
    return EncoderLayer(
        MultiHeadAttention(12, 3), feed, norm_first=norm_first
    ).double()


def test_words_and_the_summary_start_at_their_sizes():
    """sqrt(d) e has entries of variance 1; the summary of a picture those of BERT's tables, 0.02."""
    torch.manual_seed(0)
    words = EncoderDecoder(500, 64, heads=2, layers=1).embedding.weight.detach()
    assert float(64 * words.square().mean()) == pytest.approx(1, abs=0.04)
    summary = VisionTransformer(4, 2, 3, 1024, layers=1).summary.detach()
    assert float(summary.std()) / 0.02 == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_layer_is_that_of_torch_forward_and_gradients(
    norm_first, activation
):
    theirs = torch_layer(norm_first, activation)
    ours = own_layer(norm_first, activation).copy_from_torch(theirs)
    x = randn(2, 5, 12).requires_grad_()
    answers = [
        (ours(x), theirs(x)),
        (ours(x, causal=True), theirs(x, src_mask=~causal_mask(5))),
    ]
    for found, expected in answers:
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        gradients = [
            torch.autograd.grad(y.square().sum(), x)[0] for y in (found, expected)
        ]
        torch.testing.assert_close(*gradients)


def test_weights_go_to_torch_and_back():
    ours, theirs = own_layer(True), torch_layer(True)
    ours.copy_to_torch(theirs)
    x = randn(2, 5, 12)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    again = own_layer(True).copy_from_torch(theirs)
    for p, q in zip(ours.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_decoder_layer_is_that_of_torch(norm_first):
    torch.manual_seed(0)
    theirs = nn.TransformerDecoderLayer(
        12, 3, 20, 0.0, batch_first=True, norm_first=norm_first, dtype=torch.float64
    )
    ours = DecoderLayer(
        MultiHeadAttention(12, 3),
        MultiHeadAttention(12, 3),
        FeedForward(12, 20),
        norm_first=norm_first,
    ).double()
    with torch.no_grad():
        for own, attention in (
            (ours.attention, theirs.self_attn),
            (ours.cross, theirs.multihead_attn),
        ):
            nn.init.normal_(attention.in_proj_bias)
            for layer, w, b in zip(
                (own.query, own.key, own.value),
                attention.in_proj_weight.chunk(3),
                attention.in_proj_bias.chunk(3),
                strict=True,
            ):
                layer.weight.copy_(w)
                layer.bias.copy_(b)
            own.out.load_state_dict(attention.out_proj.state_dict())
        ours.feed.up.load_state_dict(theirs.linear1.state_dict())
        ours.feed.down.load_state_dict(theirs.linear2.state_dict())
    x, context = randn(2, 5, 12), randn(2, 7, 12, seed=1)
    expected = theirs(x, context, tgt_mask=~causal_mask(5))
    torch.testing.assert_close(ours(x, context), expected, rtol=0, atol=1e-12)


def test_a_decoder_does_not_see_the_future_and_has_three_norms():
    """Errata 001-32: change a later token, and nothing before it moves."""
    layer = DecoderLayer(
        MultiHeadAttention(12, 3), MultiHeadAttention(12, 3)
    ).double()
    x, context = randn(1, 6, 12), randn(1, 4, 12, seed=1)
    other = x.clone()
    other[:, 4] += 1
    same = (layer(x, context) - layer(other, context)).abs().amax((0, 2)) == 0
    assert same.tolist() == [True] * 4 + [False] * 2
    assert sum(isinstance(m, nn.LayerNorm) for m in layer.modules()) == 3


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_decoder_reads_all_and_writes_in_order(norm_first):
    torch.manual_seed(0)
    model = EncoderDecoder(11, 8, 2, norm_first=norm_first).double().eval()
    source, target = tokens(2, 5), tokens(2, 6, seed=1)
    logits = model(source, target)
    assert logits.shape == (2, 6, 11)
    changed = target.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 11
    torch.testing.assert_close(model(source, changed)[:, :3], logits[:, :3])
    assert not torch.allclose(model(source.flip(1), target), logits)
    padded = torch.cat([source, tokens(2, 3, seed=2)], 1)
    mask = padding_mask(torch.tensor([5, 5]), 8)
    torch.testing.assert_close(model(padded, target, mask), logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_an_encoder_decoder_in_few_digits_still_tells_its_places_apart(dtype):
    model = EncoderDecoder(11, 8, 2).to(dtype)
    one = torch.zeros(1, 3000, dtype=torch.int64)
    with torch.no_grad():
        there = model.placed(one)[0].double()
        exact = model.double().placed(one)[0]
    torch.testing.assert_close(there, exact, rtol=0.02, atol=0.02)


def test_greedy_writing_with_a_cache_is_writing_without():
    torch.manual_seed(0)
    model, source = EncoderDecoder(11, 8, 2).double().eval(), tokens(3, 5)
    written = torch.zeros(3, 1, dtype=torch.int64)
    for _ in range(6):
        next_one = model(source, written)[:, -1:].argmax(-1)
        written = torch.cat([written, next_one], 1)
    assert torch.equal(greedy(model, source, 0, 6), written[:, 1:])


@pytest.mark.parametrize(
    "how",
    [{}, {"temperature": 0.7, "top_k": 3}, {"top_p": 0.8}, {"temperature": 0.0}],
)
def test_writing_on_with_a_cache_draws_what_reading_again_draws(how):
    torch.manual_seed(0)
    model, prompt = GPT(11, 12, 8, layers=2, heads=2).double().eval(), tokens(3, 4)
    draws = [torch.Generator().manual_seed(7) for _ in range(2)]
    found = write_on(model, prompt, 8, generator=draws[0], **how)
    assert torch.equal(
        found, generate(model, prompt, 8, context=12, generator=draws[1], **how)
    )


def test_a_gpt_reads_in_pieces_as_in_one():
    torch.manual_seed(0)
    model, x = GPT(11, 12, 8, layers=2, heads=2).double().eval(), tokens(3, 10)
    caches = model.new_caches(3)
    with torch.no_grad():
        parts = [model(piece, caches) for piece in x.split([4, 1, 5], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(x), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="tokens must be at most 12 a row, got 13"):
        model(x[:, :3], caches)


def test_a_text_fills_the_context_and_goes_no_further():
    """The last token need not be read, so nothing else stops a text one place too long."""
    torch.manual_seed(0)
    model, start = GPT(11, 6, 8, layers=1, heads=2).eval(), tokens(2, 4)
    full = write_on(model, start, 2, generator=torch.Generator().manual_seed(0))
    assert full.shape == (2, 6) and torch.equal(full[:, :4], start)
    assert torch.equal(write_on(model, full, 0), full)
    for text, length in ((start, 3), (full, 1)):
        with pytest.raises(ValueError, match="keep the text within 6 tokens"):
            write_on(model, text, length)


@pytest.mark.parametrize("tied", [False, True])
def test_weights_are_counted(tied):
    model = GPT(11, 12, 8, layers=3, heads=2, tied=tied)
    assert sum(p.numel() for p in model.parameters()) == gpt_parameters(
        11, 12, 8, 3, tied=tied
    )
    assert (model.readout.weight is model.embedding.weight) == tied


def test_gpt_3_has_175_thousand_million_weights():
    assert gpt_parameters(50257, 2048, 12288, 96) / 1e9 == pytest.approx(
        174.6, abs=0.05
    )


def test_operations_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    model, x = GPT(11, 16, 8, layers=3, heads=2), tokens(1, 16)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(x)  # torch's fused attention on a CPU is not counted
    assert counter.get_total_flops() == transformer_flops(16, 8, 3, 11)
    quadratic = transformer_flops(6 * 8, 8) - 24 * 48 * 64
    assert quadratic == 24 * 48 * 64


def test_patches_are_squares_row_by_row():
    images = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    found = patches(images, 2)
    assert found.shape == (2, 6, 12)
    assert torch.equal(found[1, 4].view(3, 2, 2), images[1, :, 2:4, 2:4])
    unfolded = nn.functional.unfold(images.double(), 2, stride=2).mT
    assert torch.equal(found.double(), unfolded)
    with pytest.raises(ValueError, match="size must divide"):
        patches(images, 4)


def test_a_vision_transformer_sees_every_square_and_where_it_stands():
    torch.manual_seed(0)
    model, images = VisionTransformer(8, 2, 10, 16, 2).double(), randn(3, 1, 8, 8)
    logits = model(images)
    assert logits.shape == (3, 10)
    slopes = torch.autograd.grad(
        model(images.requires_grad_()).square().sum(), images
    )[0]
    assert bool((slopes != 0).all())
    assert not torch.allclose(model(images.flip(-1)), logits)
    with pytest.raises(ValueError, match=r"images must be \(B, 1, 8, 8\)"):
        model(images[:, :, :6])
