"""The adding problem against the lag: what is stored is what single trainings give."""

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
