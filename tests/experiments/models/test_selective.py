"""The heavy runs of selective state spaces: models of one size, and lists with their answers."""

import pytest
import torch

from lbdl.core import generator
from lbdl.experiments.models import selective as E


@pytest.mark.parametrize("kind", E.KINDS)
def test_a_model_is_as_wide_as_its_weights_allow(kind):
    width = E.widest(kind, 1, 10, 2000)
    sizes = [E.count(E.MAKERS[kind](1, 10, w)) for w in (width, width + 2)]
    assert sizes[0] <= 2000 < sizes[1]


@pytest.mark.parametrize("kind", E.KINDS)
def test_all_kinds_say_something_at_every_place(kind):
    scores = E.MAKERS[kind](3, 5, 4)(torch.randn(2, 7, 3))
    assert scores.shape == (2, 7, 5)


@pytest.mark.parametrize("kind", E.KINDS)
def test_who_sees_the_future(kind):
    """The transformer alone."""
    model, x = E.MAKERS[kind](1, 2, 4), torch.randn(2, 9, 1)
    other = x.clone()
    other[:, 5:] += 1
    same = torch.allclose(model(x)[:, :5], model(other)[:, :5], atol=1e-5)
    assert same == (kind != "transformer")


@pytest.mark.parametrize("task", E.TASKS)
def test_lists_hold_what_is_wanted(task):
    x, wanted = E.to_copy(50, 12, 3, 4, task, generator("lists"))
    assert x.shape == (50, 15, 6) and bool((x.sum(-1) == 1).all())
    symbols = x.argmax(-1)
    assert bool((symbols[:, 12:] == 5).all()), "calls at the end"
    for row, answer in zip(symbols[:, :12], wanted, strict=True):
        assert torch.equal(row[row < 4], answer), "tokens in their order"
    first = (symbols[:, :3] < 4).all(1)
    assert bool(first.all()) == (task == "fixed")


def test_places_of_random_lists_are_all_alike():
    x, _ = E.to_copy(4000, 8, 2, 4, "random", generator("lists"))
    there = (x[:, :8, :4].sum(-1)).mean(0)
    torch.testing.assert_close(there, torch.full((8,), 0.25), rtol=0, atol=0.04)


def test_only_the_calls_are_judged():
    scores, wanted = torch.randn(2, 9, 4), torch.randint(4, (2, 3))
    other = scores.clone()
    other[:, :6] += 5 * torch.randn(2, 6, 4)
    expected = torch.nn.functional.cross_entropy(scores[:, 6:].mT, wanted)
    torch.testing.assert_close(E.at_calls(scores, wanted), expected)
    torch.testing.assert_close(E.at_calls(other, wanted), expected)


def test_who_reads_in_order_answers_at_the_end():
    x = torch.randn(2, 9)
    for kind in E.KINDS:
        model = E.MAKERS[kind](1, 3, 4)
        scores = model(x.unsqueeze(-1))
        said = scores.mean(1) if kind == "transformer" else scores[:, -1]
        torch.testing.assert_close(E.Answer(model)(x), said)


def test_the_small_scales_have_the_shapes_that_the_chapter_reads():
    read = E.pixel_sequences.run("small")
    assert read["test"].shape == read["validation"].shape == (2, 4, 1, 1)
    assert bool((read["test"] > 0).all()) and read["parameters"].shape == (4,)
    copied = E.selective_copying.run("small")
    assert copied["accuracy"].shape == (2, 2, 1) and copied["guess"] == 0.25
