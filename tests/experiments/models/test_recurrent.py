"""The adding problem against the lag: what is stored is what single trainings give."""

from dataclasses import replace

import torch

from lbdl.core import generator
from lbdl.experiments.models import recurrent as E
from lbdl.models.recurrent import LSTM, forget_bias


def test_the_open_layer_starts_with_the_bias_of_its_length():
    torch.manual_seed(0)
    open_one = E.layer_of("LSTM, open", 8, 40)
    torch.manual_seed(0)
    plain = LSTM(2, 8)
    lifted = (open_one.bias_ih - plain.bias_ih).detach()
    torch.testing.assert_close(lifted[8:16], torch.full((8,), forget_bias(40)))
    assert bool((lifted[:8] == 0).all()) and bool((lifted[16:] == 0).all())


def test_gradients_are_clipped():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([30.0, 40.0])
    E.Clipped([weight], lr=0.1).step()
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]))


def test_the_small_scale_stores_one_error_a_training():
    result = E.memory_against_lag.run("small")
    assert result["errors"].shape == (4, 1, 1)
    assert bool(result["errors"].isfinite().all()) and bool(
        (result["errors"] > 0).all()
    )
    again = E.memory_against_lag.run("small")
    assert torch.equal(result["errors"], again["errors"])


def test_lists_are_new_at_every_step():
    first, second = E.examples(2, 4, 6, generator("lists"), torch.device("cpu"))
    assert not torch.equal(first[0], second[0])


def test_what_is_kept_for_one_more_token():
    result = E.token_against_context.run("small")
    assert "seconds" not in result.arrays
    assert result["kept"].tolist() == [
        [2 * 32 * 4] * 2,
        [2 * 16 * 32 * 4, 2 * 64 * 32 * 4],
    ]


def test_one_step_of_a_transformer_sees_all_tokens_so_far():
    torch.manual_seed(0)
    _, step = E.transformer_token(torch.ones(1, 1, 8), 5, 2)
    first = step()
    assert torch.equal(first, step())  # every step starts from the same text
    cache = step.__closure__
    buffers = [c.cell_contents for c in cache if hasattr(c.cell_contents, "buffer")]
    for place in range(5):
        changed = buffers[0].buffer.clone()
        buffers[0].buffer[1, :, :, place] += 1
        assert not torch.equal(first, step())
        buffers[0].buffer.copy_(changed)


def test_times_are_taken_where_they_are_asked_for():
    scale = {"lengths": [4, 8], "width": 8, "heads": 2, "repeats": 2}
    declared = replace(E.token_against_context, scales={"tiny": scale})
    seconds = declared.run("tiny", torch.device("cpu"))["seconds"]
    assert seconds.shape == (2, 2)
    assert bool(((seconds > 0) & seconds.isfinite()).all())
