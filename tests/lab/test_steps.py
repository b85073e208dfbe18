"""Steps: in pieces, in lower precision and after running out of memory they are the plain step."""

import copy
import io
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lbdl.core.training import step
from lbdl.lab.steps import Steps, pieces_of

ROOT = Path(__file__).parents[2]


def network(device="cpu", dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3)).to(
        device, dtype
    )


def batch(rows, device="cpu", dtype=torch.float64):
    x = torch.randn(
        rows, 5, generator=torch.Generator().manual_seed(rows), dtype=dtype
    ).to(device)
    return x, x[:, :3].argmax(1)


def weights(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def scarce(rows):
    """Cross-entropy on a device whose memory holds so many rows at a time."""

    def loss(scores, y):
        if len(y) > rows:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB."
            )
        return F.cross_entropy(scores, y)

    return loss


def after_steps(
    model, loss=F.cross_entropy, pieces=1, count=3, rows=17, plain=False
):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    steps = Steps(model, loss, optimizer)
    steps.pieces = pieces
    device = next(model.parameters()).device
    data = [batch(rows + i, device) for i in range(count)]
    losses = [
        step(model, x, y, loss, optimizer) if plain else steps(x, y)
        for x, y in data
    ]
    return torch.stack(losses), weights(model)


@pytest.mark.parametrize("pieces", [1, 2, 3, 16, 100])
def test_pieces_add_up_to_the_plain_step(device, pieces):
    wanted = after_steps(network(device), plain=True)
    torch.testing.assert_close(
        after_steps(network(device), pieces=pieces), wanted, rtol=1e-12, atol=1e-12
    )


def test_out_of_memory_halves_says_so_and_changes_nothing_else(device):
    wanted = after_steps(network(device), plain=True)
    with pytest.warns(
        RuntimeWarning, match="out of memory on .* of 17 rows at a time"
    ):
        found = after_steps(network(device), scarce(5))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_it_is_said_once_and_remembered():
    model = network()
    steps = Steps(model, scarce(8), torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.warns(RuntimeWarning, match="out of memory"):
        steps(*batch(16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps(*batch(16))
    assert steps.pieces == 2


def test_a_single_row_that_does_not_fit_is_an_error_and_leaves_no_gradient():
    model = network()
    before = weights(model)
    steps = Steps(model, scarce(0), torch.optim.SGD(model.parameters(), lr=0.1))
    with (
        pytest.raises(MemoryError, match="single row"),
        pytest.warns(RuntimeWarning, match="out of memory"),
    ):
        steps(*batch(4))
    assert torch.equal(weights(model), before)
    assert all(p.grad is None for p in model.parameters())


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    model = network()
    steps = Steps(
        model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1)
    )
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        steps(
            torch.randn(4, 6, dtype=torch.float64),
            torch.zeros(4, dtype=torch.int64),
        )
    assert steps.pieces == 1


@pytest.mark.parametrize(("x", "y"), [((0, 5), (0,)), ((4, 5), (3,))])
def test_rows_must_be_there_and_match(x, y):
    model = network()
    steps = Steps(
        model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1)
    )
    with pytest.raises(ValueError, match="same number >= 1 of rows"):
        steps(
            torch.zeros(x, dtype=torch.float64), torch.zeros(y, dtype=torch.int64)
        )


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ValueError, match="parameters"):
        Steps(nn.ReLU(), F.mse_loss, None)


def test_autocast_multiplies_in_bfloat16_and_keeps_the_weights(device):
    seen = []

    def loss(scores, y):
        seen.append(scores.dtype)
        return F.cross_entropy(scores, y)

    model = network(device, torch.float32)
    twin = copy.deepcopy(model)
    x, y = batch(64, device, torch.float32)
    lower = Steps(
        model,
        loss,
        torch.optim.SGD(model.parameters(), lr=0.1),
        autocast=torch.bfloat16,
    )(x, y)
    exact = Steps(twin, loss, torch.optim.SGD(twin.parameters(), lr=0.1))(x, y)
    assert seen == [torch.bfloat16, torch.float32]
    assert lower.dtype == torch.float32 and weights(model).dtype == torch.float32
    torch.testing.assert_close(lower, exact, rtol=0.02, atol=0.02)
    torch.testing.assert_close(weights(model), weights(twin), rtol=0.02, atol=0.02)
    assert not torch.equal(weights(model), weights(twin))


def steps_of(model, **more):
    return Steps(
        model,
        F.cross_entropy,
        torch.optim.AdamW(model.parameters(), lr=0.05),
        **more,
    )


@pytest.mark.parametrize("before", [0, 3])
def test_steps_go_on_from_their_state_bit_by_bit(device, before):
    first, second = network(device), network(device)
    steps, again = steps_of(first), steps_of(second)
    for rows in range(5, 5 + before):
        steps(*batch(rows, device))
    buffer = io.BytesIO()
    torch.save(steps.state_dict(), buffer)
    buffer.seek(0)
    again(*batch(9, device))  # another history, to be forgotten
    again.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(weights(first), weights(second))
    for rows in (7, 11):
        assert torch.equal(steps(*batch(rows, device)), again(*batch(rows, device)))
    assert torch.equal(weights(first), weights(second))


def test_a_look_at_the_state_changes_nothing():
    watched, plain = network(), network()
    looks, steps = steps_of(watched), steps_of(plain)
    for rows in (4, 5, 6):
        looks.state_dict()
        assert torch.equal(looks(*batch(rows)), steps(*batch(rows)))
    assert torch.equal(weights(watched), weights(plain))


def test_pieces_from_the_start(device):
    model = network(device)
    found = [steps_of(model, pieces=4)(*batch(17, device)) for _ in range(1)]
    wanted = after_steps(network(device), count=1, plain=True)
    torch.testing.assert_close(
        (torch.stack(found), weights(model)), wanted, rtol=1e-12, atol=1e-12
    )


@given(rows=st.integers(1, 40), pieces=st.integers(1, 50))
def test_pieces_hold_every_row_once(rows, pieces):
    x = torch.arange(rows)
    found = list(pieces_of(x, -x, pieces))
    assert torch.equal(torch.cat([a for a, _, _ in found]), x)
    assert torch.equal(torch.cat([b for _, b, _ in found]), -x)
    assert [last for _, _, last in found] == [False] * (len(found) - 1) + [True]
    assert max(len(a) for a, _, _ in found) - min(len(a) for a, _, _ in found) <= 1


LIMITED = """
import resource, sys, torch, warnings
from torch import nn
from lbdl.lab.steps import Steps
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(4, 250_000), nn.Tanh(), nn.Linear(250_000, 1))  # a megabyte a row and layer
x = torch.ones(512, 4)
steps = Steps(model, lambda found, y: (found - y).square().mean(), torch.optim.SGD(model.parameters(), lr=1e-9))
steps(x[:2], x[:2, :1])
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 600 * 10**6,) * 2)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    value = steps(x, x[:, :1])
print(len(said) >= 1, steps.pieces, bool(value.isfinite()))
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits memory the Linux way"
)
def test_a_processor_that_really_runs_out_of_memory():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    halved, pieces, finite = done.stdout.split()
    assert halved == finite == "True" and 2 <= int(pieces) <= 64


def test_one_loop_takes_the_steps_at_its_rates_and_lets_the_losses_go():
    steps, rates, alive = steps_of(network()), [], []
    call, step = Steps.__call__, steps.optimizer.step

    class Watched(Steps):
        def __call__(self, x, y):
            loss = call(self, x, y)
            alive.append(weakref.ref(loss))
            return loss

    steps.__class__ = Watched
    steps.optimizer.step = lambda: (
        rates.append(steps.optimizer.param_groups[0]["lr"]) or step()
    )
    batches = [batch(rows) for rows in (5, 6, 7)]
    assert steps.follow(batches, lambda t: 1 / t, first=1) is None
    assert rates == pytest.approx([0.05, 0.05 / 2, 0.05 / 3])
    assert steps.optimizer.param_groups[0]["lr"] == 0.05
    assert len(alive) == 3 and not any(loss() is not None for loss in alive)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_rates_are_put_back_after_an_error(error):
    def interrupted():
        yield batch(5)
        raise error

    steps = steps_of(network())
    with pytest.raises(error):
        steps.follow(interrupted(), lambda t: 0.5)
    assert steps.optimizer.param_groups[0]["lr"] == 0.05
