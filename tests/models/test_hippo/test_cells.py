"""The recurrent cells: their equations step by step, and what they can learn that a plain RNN cannot."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lbdl.models.hippo import (
    HiPPOCell,
    LMUCell,
    hippo_lmu,
    legendre,
    legs_states,
    unroll,
)
from lbdl.models.state_space import (
    discretize,
    fast_states,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


CELLS = pytest.mark.parametrize(
    "make",
    [lambda: LMUCell(2, 5, 4, 8.0), lambda: HiPPOCell(2, 5, 4, 20)],
    ids=["LMU", "HiPPO"],
)


def test_the_lmu_by_its_equations(device):
    cell = LMUCell(2, 5, 4, 8.0).to(device)
    nn.init.normal_(cell.write.weight)
    x, h, m = (normal(3, n, seed=n).to(device) for n in (2, 5, 4))
    A_bar, B_bar = (
        y.float().to(device) for y in discretize(*hippo_lmu(4, 8.0), 1.0, "exact")
    )
    e_x, e_h, e_m = cell.write.weight.split([2, 5, 4], -1)
    W_x, W_h, W_m = cell.mix.weight.split([2, 5, 4], -1)
    u = x @ e_x.mT + h @ e_h.mT + m @ e_m.mT
    new = m @ A_bar.mT + u * B_bar
    out, state = cell(x, (h, m))
    torch.testing.assert_close(state[1], new)
    torch.testing.assert_close(out, (x @ W_x.mT + h @ W_h.mT + new @ W_m.mT).tanh())


def test_the_hippo_cell_writes_into_exact_legs():
    """Whatever h does, c is the LegS memory of all that was written."""
    cell = HiPPOCell(2, 5, 4, 20)
    x = normal(3, 20, 2)
    h, (last, c, k) = unroll(cell, x)
    written = cell.write(h).squeeze(-1)
    torch.testing.assert_close(c, legs_states(written, 4)[:, -1])
    torch.testing.assert_close(last, h[:, -1])
    assert k == 20


@CELLS
def test_a_run_goes_on_where_it_stopped(make):
    cell, x = make(), normal(3, 12, 2)
    whole, _ = unroll(cell, x)
    first, state = unroll(cell, x[:, :5])
    second, _ = unroll(cell, x[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


@CELLS
def test_nothing_looks_ahead(make):
    cell, x = make(), normal(3, 12, 2).requires_grad_()
    outputs, _ = unroll(cell, x)
    (slope,) = torch.autograd.grad(outputs[:, 6].sum(), x)
    assert (slope[:, 7:] == 0).all()
    assert (slope[:, :7] != 0).all()


def test_refusals():
    cell = HiPPOCell(2, 5, 4, 3)
    with pytest.raises(ValueError, match="k must be a whole number"):
        unroll(cell, normal(1, 4, 2))
    with pytest.raises(TypeError, match="x must have the dtype of weights"):
        unroll(cell, normal(1, 3, 2).double())
    with pytest.raises(TypeError, match="cell must be a Module"):
        unroll(torch.tanh, normal(1, 3, 2))


def test_a_cell_is_saved_and_loaded():
    cell, other = (LMUCell(2, 5, 4, 8.0) for _ in range(2))
    other.load_state_dict(cell.state_dict())
    x = normal(1, 6, 2)
    torch.testing.assert_close(unroll(cell, x), unroll(other, x))


# --- What they can learn -----------------------------------------------------------


def test_the_memory_reads_any_delay_within_its_window():
    """u(t - d) is sum_n P_n(2 d / window - 1) m_n, for a slow signal, without training."""
    window, N = 64.0, 24
    u = torch.sin(torch.arange(400) * 0.13).double() + torch.cos(
        torch.arange(400) * 0.31
    )
    m = fast_states(*discretize(*hippo_lmu(N, window), 1.0, "exact"), u)
    for d in (8, 20, 40, 60):
        read = m @ legendre(torch.tensor(2 * d / window - 1).double(), N)
        late = torch.cat([u[:d], u])[: len(u)]
        # a held sample is centred half a step after it was taken
        between = (late + torch.cat([late[:1], late[:-1]])) / 2
        got, expected = read[100:], torch.cat([between[1:], between[-1:]])[100:]
        assert (got - expected)[:-1].abs().max() < 0.03, d


class WithReadout(nn.Module):
    """A cell over a sequence, and one number a step from its output."""

    def __init__(self, cell: nn.Module, hidden: int) -> None:
        super().__init__()
        self.cell, self.read = cell, nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.cell, nn.RNN):
            return self.read(self.cell(x)[0])
        return self.read(unroll(self.cell, x)[0])


def delayed(n: int, seed: int, L: int = 40, d: int = 20) -> tuple[Tensor, Tensor]:
    """Slow random signals, and the same signals 20 steps before."""
    waves = normal(n, 3, 1, seed=seed), normal(n, 3, 1, seed=seed + 1)
    angles = torch.arange(L) * torch.tensor([0.1, 0.2, 0.3])[:, None]
    x = (waves[0] * angles.sin() + waves[1] * angles.cos()).sum(
        1, keepdim=True
    ).mT / 2
    return x, torch.cat([torch.zeros(n, d, 1), x[:, :-d]], 1)


def copied(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three signs, twenty silent steps, then a mark for each step that must say one."""
    signs, x = normal(n, 3, 1, seed=seed).sign(), torch.zeros(n, 26, 2)
    x[:, :3, :1], x[:, -3:, 1] = signs, 1
    return x, signs


def train(model: nn.Module, task: Callable[..., tuple[Tensor, Tensor]], steps: int):
    """A short training by squared error at the last steps, as many as the task asks."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        x, y = task(32, seed=2 * step)
        loss = (model(x)[:, -y.shape[1] :] - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def rivals(inputs: int, window: float, longest: int) -> dict[str, nn.Module]:
    """Both cells, and a plain RNN with as many numbers of state as an LMU."""
    return {
        "LMU": WithReadout(LMUCell(inputs, 16, 16, window), 16),
        "HiPPO": WithReadout(HiPPOCell(inputs, 16, 24, longest), 16),
        "RNN": WithReadout(nn.RNN(inputs, 32, batch_first=True), 32),
    }


def test_a_delay_is_learned_by_both_cells_and_not_by_a_plain_rnn():
    """Squared error relative to answering 0; three trainings of a few seconds each."""
    errors = {}
    x, y = delayed(256, seed=10**6)
    for name, model in rivals(1, 24.0, 40).items():
        train(model, delayed, 60)
        errors[name] = ((model(x) - y).square().mean() / y.square().mean()).item()
    assert errors["LMU"] < 0.06, errors
    assert errors["HiPPO"] < 0.3, errors
    assert errors["RNN"] > 0.3, errors


def test_copying_is_learned_by_the_lmu_without_a_mistake_and_not_by_a_plain_rnn():
    """The share of right signs; three trainings of a few seconds each."""
    right = {}
    x, y = copied(256, seed=10**6)
    for name, model in rivals(2, 26.0, 26).items():
        train(model, copied, 120)
        right[name] = (model(x)[:, -3:].sign() == y).float().mean().item()
    assert right["LMU"] == 1, right
    assert right["HiPPO"] > 0.85, right
    assert right["RNN"] < 0.95, right
