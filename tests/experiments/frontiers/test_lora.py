"""Rates against width: a map of every width, adapters that begin at nothing, Adam."""

import math

import pytest
import torch

from lbdl.experiments.frontiers import lora as E
from lbdl.lab.options import Options


@pytest.fixture(scope="module")
def result():
    return E.rates_against_width.run("small", torch.device("cpu"), progress=False)


@pytest.fixture
def run():
    options = Options("small", torch.device("cpu"), progress=False)
    return E.rates_against_width.prepare(options)


def test_every_width_has_a_map(result):
    assert result["losses"].shape == (3, 2, 8, 8)
    losses = result["losses"]
    assert bool(((losses > 0) & (losses <= 10)).all())
    assert bool((losses[..., 0, 0] > 0.5).all()), "low rates learn little"
    assert bool((losses.amin((-2, -1)) < 0.05).all()), "some rates learn"


def test_an_adapter_that_adds_nothing_has_the_loss_one(run):
    task = E.Task(run, 32, 48, 0)
    A, B = torch.randn(3, 4, 32), torch.zeros(3, 32, 4)
    torch.testing.assert_close(task.losses(A, B), torch.ones(3))


def test_the_loss_is_that_of_the_network_written_out(run):
    task = E.Task(run, 32, 48, 0)
    A, B = torch.randn(2, 4, 32) / 5, torch.randn(2, 32, 4) / 5
    for a, b, loss in zip(A, B, task.losses(A, B), strict=True):
        after = torch.relu(task.z + task.h @ (b @ a).T) @ task.out
        error = after - torch.relu(task.z) @ task.out - task.y
        expected = error.square().mean() / task.y.square().mean()
        torch.testing.assert_close(loss, expected)


def test_many_trainings_at_once_are_each_that_of_torch(run):
    task, rates = (
        E.Task(run, 32, 48, 0),
        (torch.tensor([1e-3, 1e-2]), torch.tensor([3e-2, 1e-3])),
    )
    start = torch.randn(4, 32, generator=torch.Generator().manual_seed(0)) / 32**0.5
    found = E.train(task, start.expand(2, -1, -1), torch.zeros(2, 32, 4), rates, 5)
    for k in range(2):
        A = start[None].clone().requires_grad_()
        B = torch.zeros(1, 32, 4, requires_grad=True)
        groups = [
            {"params": [p], "lr": rate[k].item()}
            for p, rate in zip((A, B), rates, strict=True)
        ]
        optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=E.EPS)
        for _ in range(5):
            optimizer.zero_grad()
            task.losses(A, B).sum().backward()
            optimizer.step()
        torch.testing.assert_close(
            found[k], task.losses(A, B)[0].detach(), rtol=1e-4, atol=1e-5
        )


def test_the_task_is_the_same_for_every_width(run):
    one, other = (E.Task(run, width, 48, 1) for width in (32, 128))
    assert torch.equal(one.y, other.y)
    assert not torch.equal(one.y, E.Task(run, 32, 48, 0).y)


def test_highest_rates_of_a_map():
    losses = torch.ones(1, 2, 3, 3)
    losses[0, :, 1, 0] = 0.01
    losses[0, :, 2, 0] = torch.tensor([1.0, 0.001])  # geometric mean under .1
    losses[0, :, 0, 2] = torch.tensor([1.0, 0.05])  # above .1
    of_A, of_B = E.highest_rates(losses, [-4.0, -2.0, 0.0])
    assert of_A.tolist() == [[0.0, -math.inf, -math.inf]]
    assert of_B.tolist() == [[-math.inf, -4.0, -4.0]]
