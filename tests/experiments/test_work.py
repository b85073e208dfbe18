"""The count of work, against torch's own counters, and what it says of the full scales."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from lbdl.experiments import find
from lbdl.experiments.work import DEVICES, WORK, Work, estimate, seconds_of

LONGEST, ALL = 90, 12 * 60  # seconds on one H100
VIEWS = {
    "view", "t", "transpose", "expand", "detach", "select", "slice", "unsqueeze", "squeeze", "permute",
    "as_strided", "unbind", "split", "_unsafe_view", "alias", "reshape", "unfold", "lift_fresh",
}  # fmt: skip


class Launches(TorchDispatchMode):
    """Counts what computes something."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.split("::")[1]
        self.count += name not in VIEWS
        return function(*args, **(kwargs or {}))


def test_the_work_of_every_experiment_is_counted():
    assert sorted(WORK) == sorted(find())


# Trainings whose work is in the steps: their small scale, counted by torch while it runs.
COUNTED = ["deep_transformer", "memory_against_lag", "copy_and_reverse", "grokking"]
COUNTED += ["one_step_digits", "selective_copying", "tightness_and_seeds"]


@pytest.mark.slow(reason="an experiment runs whole, and every operation is counted")
@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_torchs_own_within_a_factor_of_two(name):
    declared = find()[name]
    with FlopCounterMode(display=False) as products, Launches() as launches:
        declared.run("small", torch.device("cpu"), seed=0, progress=False)
    work = WORK[name](declared.scales["small"])
    found = work.launches + work.captured, work.operations + work.half
    for counted, by_torch in zip(
        found, (launches.count, products.get_total_flops()), strict=True
    ):
        assert by_torch / 2 < counted < 2 * by_torch


@pytest.mark.parametrize("name", WORK)
def test_a_full_scale_fits_a_rented_gpu_and_is_more_than_what_a_cpu_does(name):
    scales = find()[name].scales
    assert estimate(name, scales["full"]) <= LONGEST
    full, cpu = (estimate(name, scales[s], "cpu") for s in ("full", "cpu"))
    assert full > cpu


def test_all_full_scales_together_fit():
    total = sum(estimate(name, find()[name].scales["full"]) for name in WORK)
    assert total <= ALL


def test_an_estimate_adds_what_it_counts():
    t = DEVICES["cuda"]
    work = Work(2, 3e12, captured=4, half=5e12, elements=6e12, seconds=7)
    assert seconds_of(work, "cuda") == pytest.approx(
        2 * t.launch
        + 3e12 * t.operation
        + 4 * t.captured
        + 5e12 * t.half
        + 6e12 * t.element
        + 7
    )
    assert estimate("nobody's", {}) is None
