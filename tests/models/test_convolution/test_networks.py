"""The layer and the network: the same weights in torch's own layers give the same outputs and gradients."""

import pytest
import torch
from torch import nn

from lbdl.models.convolution import Conv2d, LeNet


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_layer_takes_the_state_of_torchs_and_does_the_same() -> None:
    sizes = (4, 6, (3, 2), 2, (1, 0), (1, 2), 2)
    ours, theirs = Conv2d(*sizes, generator=seeded()), nn.Conv2d(*sizes)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 4, 7, 8, generator=seeded(1))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_its_filters_keep_the_second_moment_behind_a_relu() -> None:
    layer = Conv2d(16, 8192, 5, generator=seeded())
    fan = 16 * 25
    assert layer.weight.var().item() == pytest.approx(2 / fan, rel=0.02)
    assert (layer.bias == 0).all()
    x = torch.randn(64, 16, 5, 5, generator=seeded(1)).relu()
    y = layer(x).detach().relu()
    assert y.square().mean().item() == pytest.approx(
        x.square().mean().item(), rel=0.05
    )


def test_a_generator_decides_the_weights() -> None:
    one, two, other = (LeNet((1, 8, 8), 10, generator=seeded(s)) for s in (0, 0, 1))
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(one.readout.weight, other.readout.weight)


@pytest.mark.parametrize(
    ("image", "kernel", "features"),
    [((1, 28, 28), 5, 64 * 49), ((1, 1, 40), (1, 5), 640)],
)
def test_lenet_is_the_stack_of_torchs_layers(image, kernel, features) -> None:
    net = LeNet(image, 10, kernel, (32, 64), generator=seeded())
    assert net.features == features
    first, second = net.convolutions
    around = tuple(side // 2 for side in first.weight.shape[2:])
    theirs = nn.Sequential(
        nn.Conv2d(image[0], 32, kernel, padding=around),
        nn.ReLU(),
        nn.MaxPool2d(net.pool),
        nn.Conv2d(32, 64, kernel, padding=around),
        nn.ReLU(),
        nn.MaxPool2d(net.pool),
        nn.Flatten(),
        nn.Linear(features, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    for i, layer in zip(
        (0, 3, 7, 9), (first, second, net.hidden, net.readout), strict=True
    ):
        theirs[i].load_state_dict(layer.state_dict())
    x = torch.randn(5, *image, generator=seeded(2))
    torch.testing.assert_close(net(x), theirs(x), rtol=1e-5, atol=1e-5)
    net(x).square().mean().backward()
    theirs(x).square().mean().backward()
    torch.testing.assert_close(
        first.weight.grad, theirs[0].weight.grad, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Conv2d(3, 4, 3, groups=2), ValueError, "groups must divide"),
        (lambda: Conv2d(3, 4.0, 3), TypeError, "channels_out must be"),
        (lambda: Conv2d(3, 4, 0), ValueError, "kernel must be"),
        (lambda: Conv2d(3, 4, 3, bias=1), TypeError, "bias must be"),
        (lambda: LeNet((1, 8, 8), 10, kernel=2), ValueError, "kernel must be odd"),
        (lambda: LeNet((1, 8, 8), 0), ValueError, "classes must be"),
        (lambda: LeNet((1, 8), 10), ValueError, "image must be"),
    ],
)
def test_bad_sizes_are_refused_in_words(make, error, words) -> None:
    with pytest.raises(error, match=words):
        make()
