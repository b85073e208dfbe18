"""The heavy runs on transformers: their data, and what they store."""

import math

import pytest
import torch

from lbdl.core import generator
from lbdl.experiments.models import transformer as E
from lbdl.foundations.autoregression import NGram, add_k, count_up_to
from lbdl.models.transformer import EncoderDecoder


def test_a_text_is_cut_into_three_parts():
    text = "abcdefghij" * 10
    parts = E.three_parts(text)
    assert "".join(parts) == text
    assert [len(part) for part in parts] == [90, 5, 5]


def test_the_addition_table_adds():
    x, y = E.addition_table(5)
    assert x.shape == (25, 3) and bool((x[:, 2] == 5).all())
    assert len({tuple(row) for row in x.tolist()}) == 25
    assert y.tolist() == [(a + b) % 5 for a, b, _ in x.tolist()]


def test_dictations_are_copied_or_reversed():
    source, answer = E.dictations(40, 4, 6, generator("words"))
    for row, right in zip(source.tolist(), answer.tolist(), strict=True):
        assert right == (row[1:] if row[0] == 0 else row[:0:-1])
    assert set(source[:, 0].tolist()) == {0, 1}
    assert int(source[:, 1:].min()) >= 3 and int(source[:, 1:].max()) < 9


def test_a_task_shows_the_answer_one_letter_late():
    torch.manual_seed(0)
    model = EncoderDecoder(9, 8, 2, 1).eval()
    source, answer = E.dictations(3, 4, 6, generator("words"))
    begun = torch.cat([torch.full((3, 1), E.FIRST), answer[:, :-1]], 1)
    torch.testing.assert_close(
        E.Task(model)(torch.cat([source, answer], 1)), model(source, begun)
    )
    other = answer.clone()
    other[:, -1] = 3
    torch.testing.assert_close(
        E.Task(model)(torch.cat([source, other], 1)), model(source, begun)
    )


def test_a_spectrum_finds_the_frequency_of_a_wave():
    places = torch.arange(11) * 2 * math.pi / 11
    table = torch.stack([(3 * places).sin(), (3 * places).cos()], 1) + 7
    assert E.spectrum(table).argmax() == 2  # frequency 3, counted from 1
    torch.testing.assert_close(E.spectrum(table).sum(), torch.tensor(1.0).double())


def test_counting_scores_all_tokens_but_the_first():
    known = torch.randint(4, (400,), generator=generator("text"))
    part = torch.randint(4, (30,), generator=generator("part"))
    (logs,) = E.counted_log_probs(known, [part], 1)
    plain = NGram(count_up_to(known, 1, 4), add_k).log_probs(part)[1:]
    torch.testing.assert_close(logs, plain, rtol=0, atol=0.05)


def test_letters_are_bytes_filled_up_with_zeros():
    assert E.letters("aé", 5).tolist() == [97, 195, 169, 0, 0]
    assert E.letters("abc", 2).tolist() == [97, 98]


@pytest.fixture(scope="module")
def language():
    return E.gpt_against_counting.run("small")


def test_the_language_model_learns_and_stores_what_it_writes(language):
    assert language["steps"].tolist() == [0, 20, 40, 60]
    assert language["bits"].shape == (2, 4)
    assert bool((language["bits"].diff() < 0).all())
    texts = [bytes(row.tolist()).rstrip(b"\0") for row in language["samples"]]
    assert all(text.startswith(E.PROMPT.encode()) for text in texts)
    assert texts[0] != texts[-1]
    assert language["tried"].shape[:2] == (len(E.TEMPERATURES), len(E.CUTS))
    cold = language["tried"][0]  # the likeliest each time: no cut changes it
    assert bool((cold == cold[0]).all())
    assert language.numbers["best"] == int(language["bits"][1].argmin())


def test_mixtures_begin_with_counting_and_end_with_the_network(language):
    order = int(language["counted"][0].argmin())
    torch.testing.assert_close(
        language["mixed"][:, 0], language["counted"][:, order], check_dtype=False
    )
    assert float(language["mixed"][1, -1]) == pytest.approx(
        language.numbers["test"], abs=1e-5
    )
    torch.testing.assert_close(language["likely"].sum(), torch.tensor(1.0))


def test_the_small_additions_are_learned_by_heart():
    result = E.grokking.run("small")
    assert result["accuracy"].shape == (2, 4) and result["spectra"].shape == (2, 3)
    assert bool((result["losses"][0].diff() < 0).all())
    torch.testing.assert_close(
        result["spectra"].sum(1), torch.ones(2), check_dtype=False
    )


def test_the_small_encoder_decoder_stores_a_share_for_each_length():
    result = E.copy_and_reverse.run("small")
    assert result["right"].shape == (2, 6)
    assert bool(((result["right"] >= 0) & (result["right"] <= 1)).all())
    assert result["looks"].shape == (2, 1, 3, 4)
    torch.testing.assert_close(result["looks"].sum(-1), torch.ones(2, 1, 3))


def test_cross_weights_are_those_the_model_uses():
    """Weights and values written out give what the cross-attention gives."""
    torch.manual_seed(0)
    model = EncoderDecoder(9, 8, 1, 1, norm_first=True).eval()
    source, answer = E.dictations(1, 4, 6, generator("words"))
    found = {}
    layer = model.decoder[0]
    layer.cross.register_forward_hook(lambda m, x, y: found.update(y=y))
    weights = E.cross_weights(model, source, answer)[0]
    values = layer.cross.value(model.read(source))[0]
    torch.testing.assert_close(layer.cross.out(weights @ values), found["y"][0])
