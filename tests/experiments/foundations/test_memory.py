"""Memory against depth: the five ways compute one gradient, in the memory that the theory promises."""

import math
from dataclasses import replace

import pytest
import torch

from lbdl.experiments.foundations import memory as E
from lbdl.foundations import memory as M

CPU = torch.device("cpu")


def blocks(depth: int, width: int = 8) -> list[M.ReversibleBlock]:
    return E.blocks_of(depth, width, torch.Generator().manual_seed(0), CPU)


@pytest.mark.parametrize("name", E.WAYS)
@pytest.mark.parametrize("depth", [1, 2, 9])
def test_every_way_gives_the_gradient_of_plain_autograd(
    name: str, depth: int
) -> None:
    made = blocks(depth)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    x1, x2 = x
    for block in made:
        x1 = x1 + torch.tanh(x2 @ block.f.weight + block.f.bias)
        x2 = x2 + torch.tanh(x1 @ block.g.weight + block.g.bias)
    expected = torch.autograd.grad(
        torch.stack([x1, x2]).square().mean(), made[0].f.weight
    )[0]
    found = E.both_passes(E.WAYS[name], made, x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_gradients_are_made_beforehand_and_start_at_zero_each_time() -> None:
    made, x = (
        blocks(3),
        torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)),
    )
    first = E.both_passes(E.stored, made, x)
    torch.testing.assert_close(E.both_passes(E.stored, made, x), first)
    assert all(p.grad is not None for block in made for p in block.parameters())


def test_experiment_finds_what_the_theory_promises() -> None:
    tiny = {"depths": [4, 16, 64], "width": 4, "batch": 512, "repeats": 1}
    result = replace(E.memory_against_depth, scales={"tiny": tiny}).run(
        "tiny", CPU, seed=3
    )
    states = result["peaks"] / result["state"]
    kept, equal, tapered, revolve, reversible = states
    assert result["state"] == 2 * 512 * 4 * 4
    assert kept.diff() == pytest.approx(
        [24, 96], abs=1
    )  # a block keeps the inputs of F and G, and their outputs
    assert (
        equal - 4 * torch.tensor([4, 16, 64]).sqrt()
    ).abs().max() < 4  # three states a block in a stretch
    assert tapered[2] < equal[2]
    assert (revolve - torch.tensor([4, 16, 64]).log2()).abs().max() < 10
    assert reversible[2] - reversible[0] < 1.5
    assert (result["errors"][:4] == 0).all()
    assert (
        result["errors"][4] < 1e-8 * torch.tensor([4, 16, 64]) ** 3
    ).all()  # rounding grows with depth
    assert (result["seconds"] > 0).all()


def test_without_repeats_there_are_no_times_and_no_chance() -> None:
    tiny = {"depths": [2, 5], "width": 4, "batch": 16, "repeats": 0}
    declared = replace(E.memory_against_depth, scales={"tiny": tiny})
    one, two = (declared.run("tiny", CPU, seed=0) for _ in range(2))
    assert "seconds" not in one.arrays
    assert all(torch.equal(one[key], two[key]) for key in one.arrays)


def test_a_way_that_runs_out_of_memory_is_left_out() -> None:
    def greedy(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    gradient, peak = E.measured(greedy, blocks(2), torch.ones(2, 3, 8))
    assert gradient is None and math.isnan(peak)
    assert math.isnan(E.difference(gradient, torch.ones(3)))


def test_ways_that_ran_out_of_memory_have_no_time() -> None:
    seconds = E.fastest(
        [False, True, True, True, True], blocks(2), torch.ones(2, 3, 8), 2
    )
    assert seconds[0].isnan() and (seconds[1:] > 0).all()
