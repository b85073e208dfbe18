"""Networks with and without skip connections, directions in the space of weights, and the loss on a plane."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from lbdl.models.normalization import (
    NORMS,
    DeepNetwork,
    ResidualNetwork,
    filter_normalized,
    loss_surface,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("skip", [True, False])
def test_a_deep_network_is_its_equation(norm, skip) -> None:
    net = DeepNetwork(5, 8, 3, 2, skip, norm, 0.5, seeded())
    x = torch.randn(6, 5, generator=seeded(1))
    peers = {
        "none": lambda h: h,
        "batch": lambda h: F.batch_norm(h, None, None, training=True),
        "layer": lambda h: F.layer_norm(h, (8,)),
        "rms": lambda h: F.rms_norm(h, (8,), eps=1e-6),
    }
    h = F.linear(x, net.stem.weight, net.stem.bias)
    for layer in net.layers:
        branch = F.linear(peers[norm](h).relu(), layer.weight, layer.bias)
        h = h + 0.5 * branch if skip else branch
    expected = F.linear(peers[norm](h).relu(), net.readout.weight)
    torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-5)
    assert len(net.states(x)) == 3


def test_plain_layers_keep_the_second_moment_and_residual_ones_double_it() -> None:
    x = torch.randn(256, 100, generator=seeded(1))
    for skip, factor in ((False, 1.0), (True, 2.0)):
        net = DeepNetwork(100, 400, 3, 4, skip, "none", generator=seeded())
        moments = torch.stack([h.square().mean() for h in net.states(x)])
        ratios = moments[1:] / moments[:-1]
        torch.testing.assert_close(
            ratios, torch.full((4,), factor), rtol=0.15, atol=0.0
        )


def test_the_image_network_keeps_sizes_and_learns_something() -> None:
    net = ResidualNetwork(2, 6, 4, 3, (1, 3), generator=seeded())
    x, y = torch.randn(16, 2, 1, 9, generator=seeded(1)), torch.arange(16) % 4
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert net(x).shape == (16, 4)
    assert losses[-1] < 0.3 * losses[0]


def test_without_weights_in_the_branch_a_residual_block_is_the_identity() -> None:
    net = ResidualNetwork(1, 4, 3, 2, generator=seeded()).eval()
    x = torch.randn(3, 1, 5, 5, generator=seeded(1))
    before = net(x)
    with torch.no_grad():
        for block in net.blocks:
            block[-1].weight.zero_()
    net.blocks = net.blocks[:1]
    one = net(x)
    net.blocks = net.blocks[:0]
    torch.testing.assert_close(net(x), one)
    assert not torch.allclose(before, one)


def test_a_direction_is_as_long_as_its_filters() -> None:
    net = ResidualNetwork(1, 4, 3, 1, generator=seeded())
    w = dict(net.named_parameters())
    d = filter_normalized(w, seeded(1))
    assert d.keys() == w.keys()
    for name, part in d.items():
        if part.dim() > 1:
            torch.testing.assert_close(
                part.flatten(1).norm(dim=1), w[name].detach().flatten(1).norm(dim=1)
            )
        else:
            assert (part == 0).all()


def test_a_surface_is_the_loss_of_moved_weights() -> None:
    net = DeepNetwork(5, 6, 3, 2, generator=seeded())
    x, y = torch.randn(7, 5, generator=seeded(1)), torch.arange(7) % 3
    w = {name: p.detach() for name, p in net.named_parameters()}
    first, second = (filter_normalized(w, seeded(s)) for s in (2, 3))
    loss = lambda v: F.cross_entropy(functional_call(net, v, (x,)), y)
    along = torch.tensor([-1.0, 0.0, 0.5])
    found = loss_surface(loss, w, first, second, along)
    assert found.shape == (3, 3)
    torch.testing.assert_close(found[1, 1], loss(w))
    moved = {name: w[name] - first[name] + 0.5 * second[name] for name in w}
    torch.testing.assert_close(found[0, 2], loss(moved))


def test_a_rescaled_network_has_the_same_surface() -> None:
    """Weights twice as large before a ReLU and half as large behind it: the function and the picture stay."""
    net = DeepNetwork(5, 6, 3, 0, generator=seeded())
    x, y = torch.randn(7, 5, generator=seeded(1)), torch.arange(7) % 3
    loss = lambda v: F.cross_entropy(functional_call(net, v, (x,)), y)
    w = {name: p.detach() for name, p in net.named_parameters()}
    factor = {"stem.weight": 2.0, "readout.weight": 0.5}
    scaled = {name: p * factor.get(name, 1.0) for name, p in w.items()}
    along = torch.linspace(-1, 1, 3)
    surfaces = [
        loss_surface(
            loss, v, *(filter_normalized(v, seeded(s)) for s in (2, 3)), along
        )
        for v in (w, scaled)
    ]
    torch.testing.assert_close(surfaces[0], surfaces[1], rtol=1e-4, atol=1e-5)


W = {"a": torch.ones(2, 3)}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: DeepNetwork(5, 6, 3, -1), ValueError, "depth must be"),
        (lambda: DeepNetwork(5, 6.0, 3, 1), TypeError, "width must be"),
        (lambda: DeepNetwork(5, 6, 3, 1, skip=1), TypeError, "skip must be a bool"),
        (
            lambda: DeepNetwork(5, 6, 3, 1, norm="no"),
            ValueError,
            "norm must be one of",
        ),
        (lambda: ResidualNetwork(1, 4, 3, 1, 2), ValueError, "kernel must be odd"),
        (lambda: ResidualNetwork(1, 4, 3, 1, 2.5), TypeError, "kernel must be"),
        (lambda: filter_normalized([1]), TypeError, "parameters must be"),
        (lambda: filter_normalized({"a": 1}), TypeError, "parameters must be"),
        (
            lambda: loss_surface(3, W, W, W, torch.ones(2)),
            TypeError,
            "loss must be",
        ),
        (
            lambda: loss_surface(len, W, {}, W, torch.ones(2)),
            ValueError,
            "first must have the names",
        ),
        (
            lambda: loss_surface(len, W, W, {"a": torch.ones(2)}, torch.ones(2)),
            ValueError,
            "second must have the shape",
        ),
        (lambda: loss_surface(len, W, W, W, torch.ones(2, 2)), ValueError, "along"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()
