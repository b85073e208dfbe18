"""The layer, alone and in the deep model: whole sequences against one element after another, and what it learns."""

import pytest
import torch
from torch import Tensor, nn

from lbdl.models.s4 import S4D, SequenceModel
from lbdl.models.selective import SelectiveSSM, selective_scan
from tests.models.test_s4.test_layers import (
    normal,
    requires_everything_to_be_trained,
    requires_that_nothing_looks_ahead,
    requires_training_and_generation_to_agree,
)

LAYERS = {
    "selective": lambda: SelectiveSSM(6, 4, 2),
    "both kinds": lambda: SequenceModel(6, 2, [S4D(5, 8), SelectiveSSM(5)], 5),
}
EACH = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


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
    with pytest.raises(ValueError, match="u must have 6 channels"):
        SelectiveSSM(6)(normal(2, 5, 3))
    with pytest.raises(ValueError, match="rank must be"):
        SelectiveSSM(6, rank=0)
