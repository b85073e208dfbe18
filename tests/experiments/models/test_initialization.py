"""Networks side by side against the same ones alone; the arrays have the shapes that
the chapter shows."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lbdl.experiments.models import initialization as E
from lbdl.lab.options import Options
from lbdl.models.initialization import mup_groups

CPU = torch.device("cpu")
SIZES, BASE = [40, 12, 12, 10], [40, 6, 6, 10]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def alone(networks: E.WideNetworks, r: int) -> nn.Sequential:
    """Network r as an ordinary one."""
    layers: list[nn.Module] = []
    for w in networks.weights:
        layer = nn.Linear(*w.shape[1:], bias=False)
        layer.weight.data = w[r].detach().T.clone()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def small_base() -> nn.Sequential:
    return alone(E.WideNetworks(BASE, BASE, "muP", 1, seeded(0)), 0)


@pytest.mark.parametrize("way", E.WAYS)
def test_each_network_trains_as_it_would_alone_at_its_own_rates(way: str) -> None:
    networks = E.WideNetworks(SIZES, BASE, way, 2, seeded(3))
    assert torch.equal(networks.weights[1][0], networks.weights[1][1])
    rates = [0.02, 0.005]
    nets = [alone(networks, r) for r in range(2)]
    examples = E.data.mnist1d().train[:50]
    torch.testing.assert_close(networks(examples.x[:5])[0], nets[0](examples.x[:5]))
    run = E.rate_transfer.prepare(Options("small", CPU, 0))
    E.descend(run, networks, examples, torch.tensor(rates), 10)
    for r, net in enumerate(nets):
        groups = [{"params": list(net.parameters()), "lr": rates[r]}]
        if way == "muP":
            groups = mup_groups(net, small_base(), rates[r])
        optimizer = torch.optim.Adam(groups, eps=1e-12)
        for _ in range(10):
            optimizer.zero_grad()
            F.cross_entropy(net(examples.x), examples.y).backward()
            optimizer.step()
        torch.testing.assert_close(
            networks(examples.x[:50])[r], net(examples.x[:50]), rtol=1e-3, atol=1e-4
        )


def test_the_ways_agree_at_the_base_and_differ_beyond_it() -> None:
    tiny = {"widths": [8, 32], "rates": [-7, -5], "depth": 2, "steps": 4}
    tiny |= {"examples": 16, "seeds": 2}
    result = replace(E.rate_transfer, scales={"tiny": tiny}).run(
        "tiny", CPU, seed=1
    )
    loss = result["loss"]
    assert loss.shape == (2, 2, 2, 2)
    torch.testing.assert_close(loss[0, 0], loss[1, 0])
    assert ((loss[0, 1] - loss[1, 1]).abs() > 1e-3).all()
    assert result["rates"].tolist() == [2**-7, 2**-5]


def test_every_branch_begins_with_about_the_second_moment_of_its_input() -> None:
    torch.manual_seed(0)
    reader = E.DeepReader(30, 16, 64, 4, "first")
    feed = reader.layers[0].feed
    x = torch.randn(200, 64)
    assert 0.8 < float(feed(x).square().mean().detach()) < 1.25
    h = reader.letters(torch.arange(16)) + reader.places
    assert 0.7 < float((h / 2**0.5).square().mean().detach()) < 1.3


@pytest.mark.parametrize("norm", E.NORMS)
def test_a_reader_looks_back_only(norm: str) -> None:
    torch.manual_seed(0)
    reader = E.DeepReader(30, 16, 16, 2, norm)
    tokens = torch.randint(30, (2, 16))
    later = tokens.clone()
    later[:, 9:] = (later[:, 9:] + 1) % 30
    found = reader(tokens)
    torch.testing.assert_close(reader(later)[:, :9], found[:, :9])
    assert not torch.allclose(reader(later)[:, 9:], found[:, 9:])
    assert isinstance(reader.norm, nn.LayerNorm) == (norm == "first")


def test_warm_up_raises_the_rate_to_its_peak() -> None:
    """The first step of Adam moves every weight by the rate."""
    run = E.deep_transformer.prepare(Options("small", CPU, 0))
    codes, vocabulary = E.characters()
    pieces = codes[:5000].unfold(0, 9, 1)
    for warmup, size in ((1, 0.01), (5, 0.002)):
        torch.manual_seed(0)
        reader = E.DeepReader(vocabulary, 8, 8, 1, "first")
        before = reader.readout.weight.detach().clone()
        E.read(run, reader, pieces, 0.01, warmup, 1, 4, seeded(1))
        moved = (reader.readout.weight - before).abs().max()
        assert float(moved.detach()) == pytest.approx(size, rel=1e-2)


def test_the_reader_learns_and_its_losses_have_the_shape_of_the_chapter() -> None:
    tiny = {"layers": 1, "width": 16, "context": 8, "rates": [0.01, 0.003]}
    tiny |= {"warmups": [1], "steps": 40, "batch": 16, "seeds": 1}
    result = replace(E.deep_transformer, scales={"tiny": tiny}).run("tiny", CPU, 1)
    losses = result["losses"]
    assert losses.shape == (2, 1, 2, 1, 40)
    assert (losses[..., -5:].mean(-1) < losses[..., :2].mean(-1) - 0.3).all()
    assert 2.5 < float(result["frequencies"]) < 3.5
