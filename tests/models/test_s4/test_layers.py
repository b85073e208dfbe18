"""The layers: whole sequences against one element after another."""

import pytest
import torch
from torch import Tensor, nn

from lbdl.models.s4 import S4D, GatedBlock, SequenceModel, s4d_kernel

LAYERS = {
    "S4D": lambda: S4D(6, 8, "legs", 0.01, 0.5),
    "block": lambda: GatedBlock(6, S4D(6, 8)),
    "model": lambda: SequenceModel(6, 2, [S4D(5, 8), S4D(5, 4)], 5),
}
EACH = pytest.mark.parametrize("name", LAYERS)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def one_by_one(layer: nn.Module, x: Tensor) -> Tensor:
    """A sequence by `start` and `step`."""
    state, outputs = layer.start(x), []
    for element in x.unbind(1):
        y, state = layer.step(element, state)
        outputs.append(y)
    return torch.stack(outputs, 1)


def requires_training_and_generation_to_agree(layer: nn.Module, x: Tensor):
    torch.testing.assert_close(layer(x), one_by_one(layer, x), rtol=1e-5, atol=1e-5)


def requires_that_nothing_looks_ahead(layer: nn.Module):
    x = normal(2, 20, 6)
    changed = torch.cat([x[:, :12], normal(2, 8, 6, seed=1)], 1)
    before, after = layer(x), layer(changed)
    torch.testing.assert_close(after[:, :12], before[:, :12], rtol=0, atol=1e-5)
    assert (after[:, 12:] - before[:, 12:]).abs().max() > 1e-3


def requires_everything_to_be_trained(layer: nn.Module):
    layer(normal(2, 20, 6)).square().sum().backward()
    for parameter, p in layer.named_parameters():
        assert p.grad is not None and (p.grad != 0).any(), parameter


@EACH
@pytest.mark.parametrize("L", [1, 2, 50])
def test_training_and_generation_agree(name, L, device):
    layer, x = LAYERS[name]().to(device), normal(3, L, 6).to(device)
    requires_training_and_generation_to_agree(layer, x)


@EACH
def test_nothing_looks_ahead(name):
    requires_that_nothing_looks_ahead(LAYERS[name]())


@EACH
def test_everything_is_trained(name):
    requires_everything_to_be_trained(LAYERS[name]())


def test_s4d_by_its_equations():
    layer, u = S4D(3, 8, "inv"), normal(2, 15, 3)
    K = s4d_kernel(*layer.system(), 15)
    y = torch.stack(
        [
            sum(K[:, j] * u[:, k - j] for j in range(k + 1)) + layer.D * u[:, k]
            for k in range(15)
        ],
        1,
    )
    torch.testing.assert_close(layer(u), y, rtol=1e-4, atol=1e-5)


def test_a_block_is_its_input_where_its_mix_is_zero():
    block, x = GatedBlock(6, S4D(6, 8)), normal(2, 9, 6)
    nn.init.zeros_(block.mix.weight)
    nn.init.zeros_(block.mix.bias)
    assert torch.equal(block(x), x)


def test_refusals():
    with pytest.raises(ValueError, match="states must be even"):
        S4D(3, 5)
    with pytest.raises(ValueError, match="u must have 6 channels"):
        S4D(6, 4)(normal(2, 5, 3))
    with pytest.raises(ValueError, match="at least one layer"):
        SequenceModel(2, 1, [], 4)
