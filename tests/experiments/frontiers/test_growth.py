"""Grown against scratch: equal budgets, growth without a loss, the same again."""

import pytest
import torch

from lbdl.experiments.frontiers import growth as E
from lbdl.models.transformer import transformer_flops


@pytest.fixture(scope="module")
def result():
    return E.grow_or_scratch.run("small", torch.device("cpu"), progress=False)


def test_every_plan_has_a_curve_to_the_end(result):
    assert result["curves"].shape == (8, 1, 4)
    assert bool(result["curves"].isfinite().all())
    losses = result["curves"]
    assert bool((losses[..., -1] < losses[..., 0]).all())


def test_growth_loses_nothing(result):
    before, after = result["growth"].unbind(-1)
    grown = [0 < share < 1 for _, share, _, _ in E.PLANS]
    assert before.isfinite()[:, 0].tolist() == grown
    torch.testing.assert_close(after, before, equal_nan=True, rtol=1e-5, atol=1e-5)


def test_what_a_step_costs():
    size = E.grow_or_scratch.scales["small"]["size"]
    forward = 8 * transformer_flops(16, 8, 2, 96)
    assert E.step_cost(size, 96, 8) == 3 * forward


def test_the_small_model_takes_more_steps_for_the_same_operations(monkeypatch):
    """Steps times what one costs is the budget, whatever the plan."""
    spent = {}

    def counting(self, windows, schedule, first):
        width = self.model.embedding.weight.shape[1]
        count = sum(1 for _ in windows)
        spent[width] = spent.get(width, 0) + count

    monkeypatch.setattr(E.Steps, "follow", counting)
    size = E.grow_or_scratch.scales["small"]["size"]
    text, kinds = torch.arange(2000) % 7, 7
    run = E.grow_or_scratch.prepare(options_of_small())
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        spent.clear()
        E.Training(run, text, kinds, 0, size).follow_plan(share, True, (1e-3, 1e-3))
        cost = {w: n * E.step_cost(size, kinds, w) for w, n in spent.items()}
        whole = size["steps"] * E.step_cost(size, kinds, 16)
        slack = sum(E.step_cost(size, kinds, w) for w in spent) / 2
        assert abs(sum(cost.values()) - whole) <= slack
        assert cost.get(8, 0.0) == pytest.approx(
            share * whole, abs=E.step_cost(size, kinds, 8) / 2
        )


def options_of_small():
    from lbdl.lab.options import Options

    return Options("small", torch.device("cpu"), progress=False)


def test_rates_rise_for_a_moment_and_fall_to_nothing():
    each = 1 / 100
    rates = [E.rate_factor(t, 0.0, each) for t in range(101)]
    assert (
        rates[:20] == sorted(rates[:20]) and rates[20:] == sorted(rates[20:])[::-1]
    )
    assert rates[0] == pytest.approx(1 / E.WARMUP)
    assert rates[100] == pytest.approx(0, abs=1e-12) and max(rates) < 1
    later = [E.rate_factor(t, 0.5, each) for t in range(51)]
    assert later[50] == pytest.approx(0, abs=1e-12) and max(later) < 0.5


def test_held_out_pieces_cover_the_text_and_follow_on():
    x, y = E.pieces(torch.arange(100), 8, 5)
    assert x.shape == y.shape == (5, 8)
    assert torch.equal(y, x + 1)
    assert int(x[0, 0]) == 0 and int(y[-1, -1]) == 99
