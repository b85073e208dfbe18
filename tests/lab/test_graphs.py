"""A step as one program: on CUDA a graph; elsewhere a stand-in that replays the Python function, with all the rest of
the logic around it: what is copied where, when it is captured, when it is not."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F

from lbdl.lab import graphs
from lbdl.lab.graphs import WARM, Program, why_plain
from lbdl.lab.steps import Steps
from lbdl.require import visible


def network(device="cpu", dtype=torch.float32, dropout=0.3):
    torch.manual_seed(0)
    first = nn.Linear(
        5, 16, bias=False
    )  # a bias would have rounding for a gradient
    layers = [first, nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(16, 3)).to(device, dtype)


def batches(count, rows=12, device="cpu", dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    for _ in range(count):
        x = torch.randn(rows, 5, generator=draw, dtype=dtype).to(device)
        yield x, x[:, :3].argmax(1)


def stand_in(log):
    """Captures without doing, as CUDA does; a replay calls the function, whose loss goes to the same place."""

    def make(work):
        loss = torch.empty(())
        log.append("captured")

        def replay():
            log.append("replayed")
            loss.copy_(work())

        return replay, loss

    return make


RULES = {
    "adam": lambda ps: torch.optim.Adam(ps, lr=0.01),
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.01, weight_decay=0.1),
    "two rates": lambda ps: torch.optim.AdamW(
        [{"params": ps[:2], "lr": 0.02}, {"params": ps[2:], "lr": 0.005}]
    ),
}


def steps_of(model, rule="adamw", log=None, **more):
    """Steps; with a log, by the stand-in."""
    optimizer = RULES[rule](list(model.parameters()))
    steps = Steps(model, F.cross_entropy, optimizer, **more)
    if log is not None:
        steps.program = Program(model, optimizer, stand_in(log))
    return steps


def after(steps, data, schedule=None):
    """Losses, weights and buffers after a training; dropout draws from the same seed."""
    torch.manual_seed(7)
    losses, call = [], steps.__call__
    steps_seen = type("Seen", (), {"__call__": lambda _, x, y: call(x, y)})()
    from lbdl.core.training import follow

    losses = [*follow(steps_seen, data, steps.optimizer, schedule)]
    return torch.stack(losses), {
        name: value.clone() for name, value in steps.model.state_dict().items()
    }


FALL = lambda t: 1 / (1 + t)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", [None, FALL])
def test_replayed_steps_are_the_plain_ones(rule, schedule):
    """Dropout, running statistics and a schedule included; the wrong rate would show in the third digit."""
    log = []
    one = after(steps_of(network(), rule), batches(10), schedule)
    other = after(steps_of(network(), rule, log), batches(10), schedule)
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    assert log == ["captured"] + ["replayed"] * (10 - WARM)


@pytest.mark.cuda
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("schedule", [None, FALL])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_captured_steps_are_the_plain_ones_on_cuda(rule, schedule, dropout):
    """A graph draws on where the steps before it ended."""
    found = []
    for capture in (False, True):
        model = network("cuda", dropout=dropout)
        steps = steps_of(model, rule, capture=capture)
        found.append(after(steps, batches(10, device="cuda"), schedule))
        assert (steps.program.captured is not None) == capture, steps.plain_because
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.cuda
def test_a_captured_dropout_draws_anew_at_every_step():
    model = network("cuda", dropout=0.5)
    steps = steps_of(model)
    steps.optimizer.param_groups[0]["lr"] = 0.0
    x, y = next(batches(1, device="cuda"))
    losses = torch.stack([steps(x, y) for _ in range(20)])
    assert steps.program.captured is not None, steps.plain_because
    assert len(losses.unique()) == 20


@pytest.mark.cuda
def test_captured_steps_go_on_from_their_state():
    data = list(batches(12, device="cuda"))
    whole, part = (steps_of(network("cuda", dropout=0.0)) for _ in range(2))
    for x, y in data[:6]:
        part(x, y)
    again = steps_of(network("cuda", dropout=0.0))
    again.load_state_dict(copy.deepcopy(part.state_dict()))
    for steps, rest in ((whole, data), (again, data[6:])):
        for x, y in rest:
            steps(x, y)
    torch.testing.assert_close(
        whole.model.state_dict(), again.model.state_dict(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.cuda
def test_a_loss_that_waits_for_the_device_is_stepped_plainly_and_rightly():
    def looking(scores, y):
        return F.cross_entropy(scores, y) * float(scores.detach().abs().sum() > 0)

    found = []
    for loss in (F.cross_entropy, looking):
        model = network("cuda", dropout=0.0)
        optimizer = RULES["adamw"](list(model.parameters()))
        steps = Steps(model, loss, optimizer, capture=loss is looking)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found.append(after(steps, batches(8, device="cuda")))
    assert steps.program.captured is None
    assert any("one kernel at a time" in str(w.message) for w in said)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_another_shape_is_stepped_plainly_and_the_program_stays():
    log, plain = [], steps_of(network())
    steps = steps_of(network(), log=log)
    data = [*batches(6), *batches(1, rows=5), *batches(3)]
    torch.testing.assert_close(
        after(plain, data), after(steps, data), rtol=1e-6, atol=1e-6
    )
    assert log == ["captured"] + ["replayed"] * 6


def test_shapes_that_never_stand_still_are_never_captured():
    log = []
    steps = steps_of(network(), log=log)
    after(steps, [next(batches(1, rows=4 + i % 2)) for i in range(12)])
    assert log == [] and steps.plain_because is None
    after(steps, [next(batches(1, rows=4 + i % 2)) for i in range(graphs.RESTLESS)])
    assert (
        log == []
        and steps.plain_because == "steps are of one kind, then of another"
    )


@pytest.mark.parametrize("change", ["mode", "frozen", "option"])
def test_another_kind_of_step_is_no_replay(change):
    log, model = [], network()
    steps = steps_of(model, log=log)
    after(steps, batches(WARM + 2))
    assert log == ["captured", "replayed", "replayed"]
    if change == "mode":
        model[3].eval()
    elif change == "frozen":
        model[0].weight.requires_grad_(False)
    else:
        steps.optimizer.param_groups[0]["weight_decay"] = 0.5
    after(steps, batches(1))
    assert len(log) == 3


def test_a_loaded_state_is_captured_anew():
    log = []
    steps = steps_of(network(), log=log)
    after(steps, batches(WARM + 1))
    steps.load_state_dict(copy.deepcopy(steps.state_dict()))
    after(steps, batches(WARM))
    assert log == ["captured", "replayed"]
    after(steps, batches(1))
    assert log == ["captured", "replayed"] * 2


def test_rates_are_numbers_again_and_the_minibatch_is_no_hostage():
    log = []
    steps = steps_of(network(), "two rates", log)
    data = list(batches(WARM + 2))
    after(steps, data, FALL)
    assert [g["lr"] for g in steps.optimizer.param_groups] == [0.02, 0.005]
    held = steps.program.captured.x
    assert all(held.data_ptr() != x.data_ptr() for x, _ in data)
    assert torch.equal(held, data[-1][0])


def test_a_capture_that_fails_says_so_once_and_loses_no_step():
    def broken(work):
        work()  # half done
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    model = network(dropout=0.0)
    steps = steps_of(model)
    steps.program = Program(model, steps.optimizer, broken)
    steps.optimizer.step, taken = (lambda: taken.append(1)), []
    with pytest.warns(RuntimeWarning, match="one kernel at a time: operation not"):
        after(steps, batches(WARM + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after(steps, batches(2))
    assert steps.plain_because.endswith("stream is capturing")
    assert len(taken) == WARM + 1 + 1 + 2, "the broken one did one of its own"


def test_the_rehearsal_moves_nothing():
    model = network()
    steps = steps_of(model)
    x, y = next(batches(1))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    graphs.require_no_look(model, steps._all_gradients, x, y)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_an_optimizer_counts_its_steps_on_cuda_and_stays_as_it_is_on_a_cpu(kind):
    """Tensors without numbers, which may lie on a device that is not here."""
    with FakeTensorMode():
        w = nn.Parameter(torch.empty(2, device=kind))
        adam = torch.optim.Adam([w])
        adam.state[w]["step"] = torch.tensor(3.0)
        graphs.make_capturable(adam)
    assert adam.param_groups[0]["capturable"] is (kind == "cuda")
    assert adam.state[w]["step"].device.type == kind


def test_why_steps_are_plain_is_said_in_words(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    w = [nn.Parameter(torch.zeros(2))]
    adam, sgd = torch.optim.Adam(w), torch.optim.SGD(w, lr=0.1)
    assert "only CUDA captures" in why_plain(cpu, adam, True)
    assert "several processes" in why_plain(cuda, adam, False)
    assert "SGD is not capturable" in why_plain(cuda, sgd, True)
    assert why_plain(cuda, adam, True) is None
    assert "only CUDA" in steps_of(network()).plain_because
    log = []
    steps = steps_of(network(), log=log, pieces=2)
    assert steps.plain_because == "a minibatch is taken in 2 pieces"
    after(steps, batches(WARM + 2))
    assert log == []


class OnCuda:
    """As much of a tensor on CUDA as `visible` asks for."""

    is_meta, is_cuda = False, True


@pytest.mark.parametrize(("mode", "capturing"), [(0, False), (2, False), (0, True)])
def test_values_are_not_looked_at_where_nothing_may_wait(
    monkeypatch, mode, capturing
):
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: mode)
    monkeypatch.setattr(
        torch.cuda, "is_current_stream_capturing", lambda: capturing
    )
    assert visible(OnCuda()) == (mode == 0 and not capturing)
    assert visible(torch.ones(1))
