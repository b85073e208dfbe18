"""Longer texts than those of the training: what is stored is what single models read."""

import math

import pytest
import torch
from torch.nn import functional as F

from lbdl.core import generator
from lbdl.experiments.models import positions as E

K, TRAINED, LONGEST = 11, 8, 16


def model_of(kind: str) -> E.LetterModel:
    torch.manual_seed(0)
    return E.LetterModel(kind, K, 16, 2, 2, TRAINED, LONGEST).double()


def tokens_of(n: int) -> torch.Tensor:
    return torch.randint(K, (3, n), generator=generator("letters"))


@pytest.mark.parametrize("kind", E.KINDS)
def test_no_letter_sees_a_later_one(kind):
    model, tokens = model_of(kind), tokens_of(LONGEST)
    later = tokens.clone()
    later[:, 10:] = (later[:, 10:] + 1) % K
    torch.testing.assert_close(model(later)[:, :10], model(tokens)[:, :10])
    assert float((model(later) - model(tokens))[:, 10:].abs().max()) > 1e-3


@pytest.mark.parametrize("kind", E.KINDS)
def test_only_absolute_places_notice_that_a_text_moves(kind):
    """Equal letters, or equal queries and keys some places on: the same, or not."""
    layer, x = model_of(kind).layers[0], torch.randn(1, 6, 16).double()
    if kind in ("sinusoidal", "learned"):
        model, tokens = model_of(kind), torch.zeros(1, 6, dtype=torch.int64)
        logits = model(tokens)
        assert not torch.allclose(logits[0, 0], logits[0, 5], atol=1e-3), (
            "equal letters"
        )
        return
    if kind in ("RoPE", "xPos"):
        attention = layer.attention
        turn, places = attention.turn, torch.arange(6).double()
        q, k = torch.randn(2, 6, 8).double()
        here, there = (
            (lambda a, b: a @ b.mT)(*turn(q, k, places + shift)) for shift in (0, 9)
        )
        torch.testing.assert_close(here, there)
    else:
        alone = torch.zeros(1, 6, dtype=torch.int64)
        logits = model_of(kind)(alone)
        torch.testing.assert_close(logits, logits[:, :1].expand_as(logits))
    assert layer(x, causal=True).isfinite().all()


def test_the_seven_models_start_with_the_same_weights():
    first = model_of("none").state_dict()
    for kind in E.KINDS[1:]:
        state = model_of(kind).state_dict()
        assert all(torch.equal(first[k], state[k]) for k in first)


def test_squeezed_places_are_fractions():
    model, tokens = model_of("RoPE"), tokens_of(LONGEST)
    wide = model(tokens)
    model.squeeze(2)
    found = model(tokens)
    assert float((found - wide).abs().max()) > 1e-3
    attention = model.layers[0].attention
    seen = []
    attention.turn = lambda q, k, p: (seen.append(p), (q, k))[1]
    model(tokens)
    torch.testing.assert_close(seen[0], torch.arange(LONGEST).double() / 2)


def test_all_lengths_are_judged_on_the_same_letters():
    model, pieces = model_of("ALiBi"), tokens_of(LONGEST + 1)
    for n in (8, 16):
        logits = model(pieces[:, LONGEST - n : LONGEST])[:, -4:]
        due = F.cross_entropy(logits.flatten(0, 1), pieces[:, -4:].flatten())
        assert E.bits(model, pieces, n, 4) == pytest.approx(
            float(due) / math.log(2)
        )


def test_held_out_letters_are_not_trained_on():
    train, test, size = E.letters()
    assert 8.9 < len(train) / len(test) < 9.1
    assert int(max(train.max(), test.max())) == size - 1


def test_the_small_scale_stores_bits_for_every_way_and_length():
    result = E.length_extrapolation.run("small")
    assert result["bits"].shape == (len(E.WAYS), 2, 1)
    assert result["lengths"].tolist() == [8, 16]
    assert bool((result["bits"] > 3).all()) and bool((result["bits"] < 9).all())
    rope, squeezed = result["bits"][[5, 7], :, 0]
    assert rope[0] == squeezed[0] and rope[1] != squeezed[1]
    torch.testing.assert_close(
        result["bits"], E.length_extrapolation.run("small")["bits"]
    )
