"""The layers: whole sequences against one element after another, and what they learn."""

import pytest
import torch
from torch import Tensor, nn

from lbdl.models.s4 import (
    S4D,
    GatedBlock,
    SelectiveSSM,
    SequenceModel,
    s4d_kernel,
    selective_scan,
)

LAYERS = {
    "S4D": lambda: S4D(6, 8, "legs", 0.01, 0.5),
    "selective": lambda: SelectiveSSM(6, 4, 2),
    "block": lambda: GatedBlock(6, S4D(6, 8)),
    "model": lambda: SequenceModel(6, 2, [S4D(5, 8), SelectiveSSM(5)], 5),
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


@EACH
@pytest.mark.parametrize("L", [1, 2, 50])
def test_training_and_generation_agree(name, L, device):
    layer, x = LAYERS[name]().to(device), normal(3, L, 6).to(device)
    torch.testing.assert_close(layer(x), one_by_one(layer, x), rtol=1e-5, atol=1e-5)


@EACH
def test_nothing_looks_ahead(name):
    layer, x = LAYERS[name](), normal(2, 20, 6)
    changed = torch.cat([x[:, :12], normal(2, 8, 6, seed=1)], 1)
    before, after = layer(x), layer(changed)
    torch.testing.assert_close(after[:, :12], before[:, :12], rtol=0, atol=1e-5)
    assert (after[:, 12:] - before[:, 12:]).abs().max() > 1e-3


@EACH
def test_everything_is_trained(name):
    layer = LAYERS[name]()
    layer(normal(2, 20, 6)).square().sum().backward()
    for parameter, p in layer.named_parameters():
        assert p.grad is not None and (p.grad != 0).any(), parameter


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


def test_the_selective_layer_by_its_equations():
    layer, u = SelectiveSSM(3, 4), normal(2, 15, 3)
    r, B, C = layer.select(u).split([1, 4, 4], -1)
    delta = layer.to_step(r).exp().log1p()
    expected = selective_scan(u, delta, -layer.log_rate.exp(), B, C, layer.D)
    torch.testing.assert_close(layer(u), expected)


def test_steps_of_the_selective_layer_start_where_asked():
    layer = SelectiveSSM(5, least_step=0.01, most_step=1.0)
    steps = nn.functional.softplus(layer.to_step.bias)
    torch.testing.assert_close(steps, torch.logspace(-2, 0, 5))


def test_a_block_is_its_input_where_its_mix_is_zero():
    block, x = GatedBlock(6, S4D(6, 8)), normal(2, 9, 6)
    nn.init.zeros_(block.mix.weight)
    nn.init.zeros_(block.mix.bias)
    assert torch.equal(block(x), x)


@pytest.mark.slow(reason="two layers are trained for 120 steps")
@pytest.mark.parametrize("kind", ["S4D", "selective"])
def test_it_learns_to_recall_what_was_marked(kind):
    """Selective copying in small: one of 16 numbers is marked; say it at the end.
    Two layers and 120 steps take about ten seconds."""

    def batch(seed: int) -> tuple[Tensor, Tensor]:
        x = torch.zeros(64, 16, 2)
        x[..., 0] = normal(64, 16, seed=seed).sign()
        where = torch.randint(
            16, (64,), generator=torch.Generator().manual_seed(seed)
        )
        x[torch.arange(64), where, 1] = 1
        return x, x[torch.arange(64), where, 0]

    make = {
        "S4D": lambda: S4D(16, 16, "lin"),
        "selective": lambda: SelectiveSSM(16),
    }
    model = SequenceModel(2, 1, [make[kind](), make[kind]()], 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(120):
        x, y = batch(step)
        loss = (model(x)[:, -1, 0] - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = batch(10**6)
    assert (model(x)[:, -1, 0].sign() == y).float().mean() > 0.9


def test_refusals():
    with pytest.raises(ValueError, match="states must be even"):
        S4D(3, 5)
    with pytest.raises(ValueError, match="u must have 6 channels"):
        S4D(6, 4)(normal(2, 5, 3))
    with pytest.raises(ValueError, match="at least one layer"):
        SequenceModel(2, 1, [], 4)
