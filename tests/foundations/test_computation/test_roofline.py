"""The roofline, the ridge, and clocks that are at least not wrong in kind."""

import math
import time

import pytest
import torch

from lbdl.foundations import computation as C

MACHINE = C.Machine(peak=1e12, bandwidth=1e11, launch=1e-6)


def test_the_roofline_has_a_slope_and_a_roof():
    found = C.roofline(torch.tensor([0.0, 1.0, 5.0, 10.0, 20.0, 1e9]), MACHINE)
    right = [0.0, 1e11, 5e11, 1e12, 1e12, 1e12]
    assert found.tolist() == pytest.approx(right, rel=1e-6)
    assert MACHINE.ridge == 10
    half = C.roofline(torch.tensor([2.0]).half(), MACHINE)
    assert half.dtype == torch.float32 and half.item() == pytest.approx(2e11)


def test_time_is_the_larger_of_two_and_launches():
    slow_bytes, slow_math = C.Cost(10**9, 10**9), C.Cost(10**11, 10**9)
    assert C.predicted_seconds(slow_bytes, MACHINE, 0) == pytest.approx(1e-2)
    assert C.predicted_seconds(slow_math, MACHINE, 0) == pytest.approx(1e-1)
    many = C.predicted_seconds(slow_bytes, MACHINE, 1000)
    assert many == pytest.approx(1e-2 + 1e-3)


@pytest.mark.parametrize("itemsize", [2, 4, 8])
@pytest.mark.parametrize(("k", "n"), [(512, 512), (4096, 1024), (100, 10_000)])
def test_at_the_ridge_batch_bytes_and_arithmetic_take_equally_long(k, n, itemsize):
    batch = C.ridge_batch(MACHINE, k, n, itemsize)
    assert batch > MACHINE.ridge * itemsize / 2
    for rows, bound_by_bytes in ((math.floor(batch), True), (batch + 1, False)):
        cost = C.matmul_cost(int(rows), k, n, itemsize)
        faster = cost.flops / MACHINE.peak <= cost.bytes / MACHINE.bandwidth
        assert faster == bound_by_bytes


def test_a_thin_product_never_reaches_the_ridge():
    assert C.ridge_batch(MACHINE, 10, 10) == math.inf
    assert C.matmul_cost(10**9, 10, 10).intensity < MACHINE.ridge


def test_the_least_of_the_turns_counts_after_one_to_warm_up(monkeypatch):
    turns, now = iter([9.0, 3.0, 5.0, 4.0]), [0.0]
    monkeypatch.setattr(time, "process_time", lambda: now[0])
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def job():
        now[0] += next(turns)

    assert C.seconds_of(job, 1.0) == 3.0


def test_more_than_three_turns_where_there_is_time():
    turns = []
    C.seconds_of(lambda: turns.append(0), 0.02)
    assert len(turns) > 10


def test_a_machine_is_measured(device):
    found = C.measure_machine(0.03, torch.device(device), size=64, elements=2**12)
    assert found.peak > 0 and found.bandwidth > 0 and 0 < found.launch < 1


def test_a_machine_without_speed_is_refused():
    with pytest.raises(ValueError, match="bandwidth"):
        C.Machine(1.0, 0.0)
