"""Ten operations: what they compute, what they are said to cost, what is recorded."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lbdl.core import generator
from lbdl.experiments.foundations import computation as E
from lbdl.foundations.computation import Machine, predicted_seconds, tally


def draw(*shape):
    return torch.randn(shape, generator=generator("operands"))


@pytest.fixture(scope="module")
def result():
    scale = E.time_of_ten_operations.scales["small"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scale, "seconds", 0.01)
        cpu = torch.device("cpu")
        return E.time_of_ten_operations.run("small", cpu, progress=False)


def test_without_times_the_result_is_the_same_every_time():
    one, two = (
        E.time_of_ten_operations.run("small", torch.device("cpu"), progress=False)
        for _ in range(2)
    )
    assert "seconds" not in one.arrays and len(one.arrays) == 6
    for name, x in one.arrays.items():
        assert torch.equal(x, two[name])


def test_every_time_is_taken_and_every_time_predicted(result):
    ten = len(E.OPERATIONS)
    assert ten == 10
    assert result["costs"].shape == (ten, 2)
    for name in ("seconds", "predicted", "launches", "batch_seconds"):
        assert bool((result[name] > 0).all())
    for name in ("size_seconds", "steps", "machine", "lower"):
        assert bool((result[name] > 0).all())
    assert len(result["sizes"]) == len(result["size_seconds"]) == 8


def test_predictions_are_those_of_the_machine_measured(result):
    machine = Machine(*result["machine"].tolist())
    flops, moved = result["costs"][-1].tolist()
    right = max(flops / machine.peak, moved / machine.bandwidth) + machine.launch
    assert result["predicted"][-1].item() == pytest.approx(right)


@pytest.mark.parametrize("name", E.OPERATIONS)
def test_costs_are_the_least_that_torch_counts(name):
    job, cost = E.operation(name, 2**14, 32, draw)
    counted = tally(job)
    assert cost.bytes <= counted.bytes * 1.001
    if name in E.MAPS:
        assert counted.bytes <= 1.6 * cost.bytes  # `out=` is counted as read, too
    else:
        with FlopCounterMode(display=False) as counter:
            job()
        assert cost.flops == counter.get_total_flops() == counted.flops


def test_softmax_in_steps_is_softmax():
    x = draw(6, 50)
    torch.testing.assert_close(E.softmax_in_steps(x), x.softmax(-1))


def test_times_are_predicted_as_sums():
    cost = E.attention_cost(64, 16, 2, None)
    assert cost.flops == 2 * 4 * 64**2 * 16
    machine = Machine(1e3, 1e9, 1.0)
    assert predicted_seconds(cost, machine, 5) == pytest.approx(
        5 + cost.flops / 1e3
    )
