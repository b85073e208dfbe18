"""Operations and bytes: formulas against what torch counts and moves."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lbdl.core import generator
from lbdl.foundations import computation as C
from lbdl.models.convolution import output_size
from lbdl.models.transformer import GPT, transformer_flops


def flops_by_torch(job):
    with FlopCounterMode(display=False) as counter:
        job()
    return counter.get_total_flops()


def randn(*shape):
    return torch.randn(shape, generator=generator("x"))


@pytest.mark.parametrize(("m", "k", "n"), [(3, 5, 7), (1, 8, 4), (6, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_product(m, k, n, dtype):
    a, b = randn(m, k).to(dtype), randn(k, n).to(dtype)
    cost = C.matmul_cost(m, k, n, dtype.itemsize)
    assert cost.flops == flops_by_torch(lambda: a @ b)
    assert (cost.flops, cost.bytes, 1) == C.tally(lambda: a @ b)
    many = C.matmul_cost(m, k, n, dtype.itemsize, batch=4)
    pair = a.expand(4, m, k).clone(), b.expand(4, k, n).clone()
    assert (many.flops, many.bytes, 1) == C.tally(lambda: torch.bmm(*pair))


@pytest.mark.parametrize(
    ("stride", "padding", "kernel"), [(1, 0, 3), (2, 1, 3), (1, 2, 5)]
)
def test_a_convolution(stride, padding, kernel):
    x, w = randn(2, 3, 9, 9), randn(4, 3, kernel, kernel)
    M = output_size(9, kernel, stride=stride, padding=padding)
    cost = C.convolution_cost(2, (9, M), (3, 4), kernel)
    job = lambda: F.conv2d(x, w, stride=stride, padding=padding)
    assert cost.flops == flops_by_torch(job)
    assert (cost.flops, cost.bytes, 1) == C.tally(job)


def test_maps_norms_rows_of_a_table():
    x, y = randn(6, 10), randn(6, 10)
    for cost, job in (
        (C.elementwise_cost(60), lambda: x.exp()),
        (C.elementwise_cost(60, inputs=2), lambda: x + y),
        (C.elementwise_cost(60, flops=0), lambda: x.clone()),
        (C.softmax_cost(6, 10), lambda: x.softmax(-1)),
    ):
        assert (0, cost.bytes, 1) == C.tally(job)
    norm = nn.LayerNorm(10)
    _, moved, launches = C.tally(lambda: norm(x))
    of_rows = 4 * 2 * 6  # torch keeps the mean and the spread of each row
    assert (C.normalization_cost(6, 10).bytes + of_rows, 1) == (moved, launches)
    table, rows = randn(100, 10), torch.tensor([3, 50, 3])
    assert (0, C.embedding_cost(3, 10).bytes, 1) == C.tally(
        lambda: F.embedding(rows, table)
    )


def five_passes(x):
    difference = x - x.amax(-1, keepdim=True)
    numerator = difference.exp()
    return numerator / numerator.sum(-1, keepdim=True)


def test_softmax_step_by_step():
    rows, n = 6, 50
    x = randn(rows, n)
    cost = C.softmax_cost(rows, n, passes=5)
    found = C.tally(lambda: five_passes(x))
    # maxima and sums are written once and read once
    assert found == (0, cost.bytes + 4 * 4 * rows, 5)
    traffic = [C.softmax_cost(rows, n, passes=p).bytes for p in (5, 3, 2, 1)]
    assert [t / (4 * rows * n) for t in traffic] == [8, 4, 3, 2]
    with pytest.raises(ValueError, match="passes must be one of"):
        C.softmax_cost(rows, n, passes=4)


def test_a_language_model_forward_and_backward():
    model, x = GPT(11, 8, 16, layers=2, heads=4), torch.randint(11, (3, 8))
    forward = C.tally(lambda: model(x))
    job = lambda: model(x).sum().backward()
    both = C.tally(job)
    assert both.flops == flops_by_torch(job)
    # torch's attention on a CPU is one operation, which its counter does not know
    known = 3 * transformer_flops(8, 16, 2, 11)
    assert known - forward.flops in (0, 3 * 2 * 4 * 8**2 * 16)
    assert both.launches > 2 * forward.launches


def test_views_and_empty_memory_cost_nothing():
    x = randn(6, 10)
    for job in (
        lambda: x.T[1:].unsqueeze(0).expand(4, -1, -1).view(4, 9, 6),
        lambda: torch.empty_like(x),
        lambda: x.detach().split(2),
    ):
        assert C.tally(job) == (0, 0, 0)


def test_a_repeated_row_is_read_once_and_sums_in_place_are_written():
    x, row = randn(6, 10), randn(10)
    wide = row.expand(6, 10)
    assert C.tally(lambda: x + wide).bytes == 4 * (60 + 10 + 60)
    assert C.tally(lambda: x.add_(row)).bytes == 4 * (60 + 10 + 60)
    assert C.tally(lambda: x * x).bytes == 4 * (60 + 60)
    assert C.tally(lambda: x[:, 3].sum()).bytes == 4 * (6 + 1)


def test_a_counter_stops_after_an_error():
    def fails():
        raise KeyError("x")

    with pytest.raises(KeyError):
        C.tally(fails)
    assert C.tally(lambda: torch.ones(2) + 1).launches == 2


def test_costs_add_up():
    cost = C.matmul_cost(2, 3, 4) + C.elementwise_cost(8)
    assert cost == C.Cost(48 + 8, 4 * (6 + 12 + 8) + 4 * 16)
    assert cost.intensity == pytest.approx(56 / 168)
    assert C.Cost(1, 0).intensity == float("inf")
    with pytest.raises(ValueError, match="flops"):
        C.Cost(-1, 0)
