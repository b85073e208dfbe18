"""Towers against the same networks alone; the grid and the surfaces have the shape that the chapter shows."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch.nn import functional as F

from lbdl.core.data import Dataset
from lbdl.core.training import minibatches
from lbdl.experiments.models import normalization as E
from lbdl.lab.options import Options
from lbdl.models.normalization import DeepNetwork, ResidualNetwork

CPU = torch.device("cpu")


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def examples() -> Dataset:
    x = torch.randn(40, 7, generator=torch.Generator().manual_seed(1))
    return Dataset(x, torch.arange(40) % 4)


def alone(towers: E.Towers, r: int, skip: bool, norm: str) -> DeepNetwork:
    """Tower r as an ordinary network (its norm, if any, without running statistics)."""
    depth = len(towers.weights) - 2
    net = DeepNetwork(7, 6, 4, depth, skip, norm, 1 / sqrt(depth))
    layers = [net.stem, *net.layers, net.readout]
    with torch.no_grad():
        for layer, w, b in zip(layers, towers.weights, towers.biases, strict=True):
            layer.weight.copy_(w[r].T)
            layer.bias.copy_(b[r, 0])
    return net


@pytest.mark.parametrize("norm", E.BEFORE)
def test_towers_are_networks_side_by_side(norm: str) -> None:
    towers = E.Towers(seeded(3, 3, 4), 7, 6, 3, [False, True, True], norm, 4)
    x = examples().x
    for r, skip in enumerate([False, True, True]):
        expected = alone(towers, r, skip, norm)(x)
        torch.testing.assert_close(towers(x)[r], expected, rtol=1e-4, atol=1e-5)


def test_each_tower_trains_as_it_would_alone_at_its_own_rate() -> None:
    towers = E.Towers(seeded(3, 3), 7, 6, 2, [False, True], "none", 4)
    nets = [alone(towers, r, skip, "none") for r, skip in enumerate([False, True])]
    run = E.depth_grid.prepare(Options("small", CPU, 0))
    rates = torch.tensor([0.01, 0.003])
    data = examples()
    E.fit(run, towers, data, rates, 12, 16, *seeded(5))
    for r, net in enumerate(nets):
        optimizer = torch.optim.Adam(net.parameters(), lr=rates[r].item())
        steps = 0
        (order,) = seeded(5)
        while steps < 12:
            for x, y in minibatches(data, 16, order):
                if len(x) == 16 and steps < 12:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    optimizer.step()
                    steps += 1
        torch.testing.assert_close(
            towers(data.x)[r], net(data.x), rtol=1e-3, atol=1e-4
        )


def test_the_grid_sees_that_plain_networks_fail_with_depth() -> None:
    tiny = {"depths": [2, 24], "runs": 2, "rates": [0.003], "steps": 60}
    tiny |= {"width": 24, "batch": 64}
    result = replace(E.depth_grid, scales={"tiny": tiny}).run("tiny", CPU, seed=1)
    assert result["test"].shape == (2, 3, 2, 1, 2)
    test = result["test"].mean((-1, -2))
    assert (test[:, :, 1] > 0.7).all()
    assert (test[1, :, 0] < test[0, :, 0]).all()
    assert (test[1, :, 1] - test[1, :, 0] > 0.15).all()


@pytest.mark.parametrize("place", range(2))
def test_towers_of_convolutions_are_residual_networks_side_by_side(place) -> None:
    image, kernel = list(E.PICTURES.values())[place]
    skips = [False, True, True]
    towers = E.ConvTowers(seeded(3, 3, 4), image, 5, 2, skips, kernel, 4)
    x = torch.randn(9, *image, generator=torch.Generator().manual_seed(1))
    scores = towers(x.flatten(1))
    for r, skip in enumerate(skips):
        net = ResidualNetwork(image[0], 5, 4, 2, kernel, skip)  # in training mode
        inner = [part for block in net.blocks for part in (block[2], block[5])]
        layers = [net.stem, *inner, net.readout]
        with torch.no_grad():
            for layer, w in zip(layers, towers.weights, strict=True):
                layer.weight.copy_(w[r].view_as(layer.weight))
        torch.testing.assert_close(scores[r], net(x), rtol=1e-4, atol=1e-5)


def test_the_weights_of_convolutions_have_the_second_moment_of_he() -> None:
    towers = E.ConvTowers(seeded(3), (3, 8, 8), 40, 1, [True], (3, 3), 4)
    moments = [w.square().mean() * w.shape[-1] for w in towers.weights]
    torch.testing.assert_close(
        torch.stack(moments[:3]), torch.full((3,), 2.0), rtol=0.1, atol=0
    )


def test_the_grid_of_convolutions_has_one_number_a_training() -> None:
    tiny = {"depths": [4, 6], "runs": 2, "rates": [0.003, 0.01, 0.03], "steps": 4}
    tiny |= {"width": 3, "batch": 16}
    declared = replace(E.convolution_depths, scales={"tiny": tiny})
    result = declared.run("tiny", CPU, seed=1)
    assert result["depths"].tolist() == [4, 6]
    for name in ("validation", "test", "loss"):
        assert result[name].shape == (2, 2, 2, 3, 2)
        assert len(result[name].flatten().unique()) > 10


def test_the_surface_has_its_lowest_place_in_the_middle() -> None:
    tiny = {"depth": 8, "width": 16, "steps": 150, "points": 7, "reach": 1.0}
    result = replace(E.surface_pair, scales={"tiny": tiny}).run("tiny", CPU, seed=1)
    losses = result["losses"]
    assert losses.shape == (2, 7, 7)
    torch.testing.assert_close(losses[:, 3, 3], result["trained"])
    assert (losses.flatten(1).min(1).values == losses[:, 3, 3]).all()
    assert losses[0].median() > losses[1].median()
