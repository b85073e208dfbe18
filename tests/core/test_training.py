"""The training loop does what it says: against a hand-written descent, and on CPU and CUDA alike."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lbdl.core import Dataset, accuracy, data, generator, train
from lbdl.core.progress import progress_bar, somebody_watches
from lbdl.core.training import (
    follow,
    forever,
    in_training,
    minibatches,
    predict,
)


def line(weight: float = 0.0) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, weight)
    return model


def points(n: int = 12) -> Dataset:
    x = torch.linspace(-1, 2, n, dtype=torch.float64)[:, None]
    return Dataset(x, 3 * x + 1)


def fit(
    model, examples, *, lr=0.1, epochs=3, batch_size=5, stream="order", **kwargs
):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    chance = generator(stream, root=0)
    history = train(
        model,
        examples,
        F.mse_loss,
        optimizer,
        epochs=epochs,
        batch_size=batch_size,
        generator=chance,
        **kwargs,
    )
    return history, optimizer


def test_full_batches_are_gradient_descent_by_hand():
    examples, w, losses = points(), 0.0, []
    for _ in range(7):
        residual = w * examples.x - examples.y
        losses.append(residual.square().mean())
        w -= 0.1 * (2 * residual * examples.x).mean().item()
    model = line()
    history, _ = fit(model, examples, epochs=7, batch_size=len(examples))
    torch.testing.assert_close(
        history.losses, torch.stack(losses), rtol=1e-12, atol=0
    )
    assert model.weight.item() == pytest.approx(w, rel=1e-12)


@pytest.mark.parametrize("drop_last", [False, True])
def test_forever_is_epoch_after_epoch(drop_last):
    """The same minibatches, in the same orders, as of epochs one by one."""
    examples = points(11)
    chances = [torch.Generator().manual_seed(3) for _ in range(2)]
    epochs = [
        batch
        for _ in range(3)
        for batch in minibatches(examples, 4, chances[0], drop_last)
    ]
    endless = forever(examples, 4, chances[1], drop_last)
    for (x, y), (same_x, same_y) in zip(epochs, endless, strict=False):
        assert torch.equal(x, same_x) and torch.equal(y, same_y)
    assert len(epochs) == (6 if drop_last else 9)


def test_every_epoch_takes_every_example_once_in_a_new_order():
    examples = Dataset(torch.arange(23), torch.arange(23) * 10)
    chance = generator("order")
    epochs = [list(minibatches(examples, 5, chance)) for _ in range(2)]
    orders = [torch.cat([x for x, _ in epoch]) for epoch in epochs]
    assert [len(x) for x, _ in epochs[0]] == [5, 5, 5, 5, 3]
    assert all(torch.equal(order.sort().values, examples.x) for order in orders)
    assert not torch.equal(*orders)
    assert all(torch.equal(y, 10 * x) for epoch in epochs for x, y in epoch)


def test_the_generator_decides_the_run():
    first, second, other = (
        fit(line(), points(), stream=stream)[0].losses
        for stream in ("order", "order", "other")
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_global_generators_are_left_alone():
    model = line()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    fit(model, points())
    assert torch.equal(torch.rand(3), expected)


def test_schedule_scales_every_group_and_rates_are_put_back():
    seen = []
    halves = nn.ModuleList([line(), line()])

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.halves = halves

        def forward(self, x):
            seen.append([group["lr"] for group in optimizer.param_groups])
            return self.halves[0](x) + self.halves[1](x)

    optimizer = torch.optim.SGD(
        [
            {"params": halves[0].parameters()},
            {"params": halves[1].parameters(), "lr": 0.2},
        ],
        lr=0.1,
    )
    train(
        Sum(), points(4), F.mse_loss, optimizer, epochs=1, batch_size=2, generator=generator("o"),
        schedule=lambda t: 1 / (t + 1),
    )  # fmt: skip
    assert seen == [[0.1, 0.2], [0.05, 0.1]]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]


def test_schedule_of_zero_changes_nothing():
    model = line(2.0)
    fit(model, points(), schedule=lambda t: 0.0)
    assert model.weight.item() == 2.0


def test_validation_of_a_regression_is_the_loss_after_each_epoch():
    examples, model = points(), line()
    history, _ = fit(model, examples, epochs=4, validation=examples)
    assert list(history.validation) == ["loss"]
    assert (history.losses.shape, history.validation["loss"].shape) == ((12,), (4,))
    last = F.mse_loss(model(examples.x), examples.y).item()
    assert history.validation["loss"][-1].item() == pytest.approx(last, rel=1e-12)


def test_digits_are_learned(device):
    splits = data.digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).to(
        device
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    history = train(
        model, splits.train, F.cross_entropy, optimizer, epochs=15, batch_size=32, generator=generator("t"),
        validation=splits.validation,
    )  # fmt: skip
    assert (
        history.losses.device.type
        == history.validation["accuracy"].device.type
        == "cpu"
    )
    assert (history.losses.shape, history.validation["accuracy"].shape) == (
        (15 * 35,),
        (15,),
    )
    assert accuracy(model, splits.test) > 0.93
    assert accuracy(model, splits.validation) == pytest.approx(
        history.validation["accuracy"][-1].item()
    )


@pytest.mark.cuda
def test_cpu_and_cuda_take_the_same_steps():
    losses = [
        fit(line().to(where), points())[0].losses for where in ("cpu", "cuda")
    ]
    torch.testing.assert_close(*losses, rtol=1e-10, atol=1e-12)


def test_dropout_is_on_while_training_and_off_while_measuring():
    modes = []

    class Spy(nn.Linear):
        def forward(self, x):
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    model = Spy(1, 1, bias=False).double()
    fit(model, points(4), epochs=2, batch_size=4, validation=points(4))
    assert modes == [(True, True), (False, False)] * 2
    assert model.training


def test_predict_restores_the_mode_and_ignores_the_chunk():
    model, x = line(2.0).eval(), points().x
    torch.testing.assert_close(predict(model, x, batch_size=5), 2 * x)
    assert not model.training


def test_accuracy_counts():
    model = nn.Linear(3, 3, bias=False)
    model.weight.data = torch.eye(3)
    examples = Dataset(torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 0, 0]))
    assert accuracy(model, examples) == 0.75


def test_no_epochs_no_steps():
    model = line(2.0)
    history, _ = fit(model, points(), epochs=0, validation=points())
    assert history.losses.shape == (0,)
    assert history.validation == {}
    assert model.weight.item() == 2.0


def test_a_diverging_run_is_shown_and_not_hidden():
    history, _ = fit(line(), points(), lr=1e200, epochs=5)
    assert len(history.losses) == 15
    assert not history.losses.isfinite().all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs must be a whole number >= 0, got -1"),
        (
            {"batch_size": 0},
            ValueError,
            "batch_size must be a whole number >= 1, got 0",
        ),
        ({"batch_size": 2.0}, TypeError, "batch_size must be a whole number"),
        ({"epochs": True}, TypeError, "epochs must be a whole number"),
        (
            {"batch_size": 13, "drop_last": True},
            ValueError,
            "batch_size must be at most the 12 examples",
        ),
        ({"examples": (1, 2)}, TypeError, "data must be a Dataset, got tuple"),
        (
            {"examples": Dataset(torch.zeros(0, 1), torch.zeros(0, 1))},
            ValueError,
            "data must hold at least one",
        ),
        ({"validation": 3}, TypeError, "validation must be a Dataset, got int"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        fit(line(), **{"examples": points(), **change})


def test_a_model_without_parameters_is_refused():
    optimizer = torch.optim.SGD(line().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="model must have parameters"):
        train(
            nn.ReLU(),
            points(),
            F.mse_loss,
            optimizer,
            epochs=1,
            batch_size=1,
            generator=generator("o"),
        )


def test_accuracy_needs_classes():
    with pytest.raises(ValueError, match=r"data\.y must be int64"):
        accuracy(line(), points())


def test_progress_bar_is_silent_by_default_and_shows_on_request(
    capsys, monkeypatch
):
    monkeypatch.setenv("LBDL_PROGRESS", "0")
    fit(line(), points())
    assert capsys.readouterr() == ("", "")
    fit(line(), points(), progress=True)
    assert "epochs" in capsys.readouterr().err


def test_who_watches(monkeypatch):
    monkeypatch.setenv("LBDL_PROGRESS", "0")
    assert not somebody_watches()
    monkeypatch.setenv("LBDL_PROGRESS", "1")
    assert somebody_watches()
    monkeypatch.delenv("LBDL_PROGRESS")
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert not somebody_watches()
    monkeypatch.setenv("JPY_SESSION_NAME", "chapter.ipynb")
    assert somebody_watches()


def test_nobody_watches_a_pipe():
    code = (
        "from lbdl.core.progress import somebody_watches; print(somebody_watches())"
    )
    env = {k: v for k, v in os.environ.items() if k != "LBDL_PROGRESS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_bar_passes_items_through():
    assert (
        list(progress_bar(range(3), False))
        == list(progress_bar([0, 1, 2], True))
        == [0, 1, 2]
    )


# --- What is the caller's is put back


class Interrupted(nn.Module):
    """A network with a frozen part; its forward pass raises when it has been called so often."""

    def __init__(self, error: type[BaseException], calls: int) -> None:
        super().__init__()
        self.error, self.calls = error, calls
        self.layer, self.frozen = nn.Linear(1, 1), nn.BatchNorm1d(1)
        self.double().train()
        self.frozen.eval()

    def forward(self, x):
        self.calls -= 1
        if self.calls == 0:
            raise self.error
        return self.frozen(self.layer(x))


def flags(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def statistics(model: nn.Module) -> torch.Tensor:
    return torch.cat([b.double().flatten() for b in model.buffers()])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("calls", [1, 2, 4, 0])
def test_modes_and_rates_are_put_back_whatever_happens(error, calls):
    """An error in the first step, in the second, in the measurement; or none."""
    model = Interrupted(error, calls)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before, seen = flags(model), statistics(model).clone()

    def run():
        train(
            model, points(), F.mse_loss, optimizer, epochs=1, batch_size=4,
            generator=generator("o"), schedule=lambda t: 0.5 ** (t + 1),
            validation=points(),
        )  # fmt: skip

    if calls:
        with pytest.raises(error):
            run()
    else:
        run()
    assert flags(model) == before == [True, True, False]
    assert torch.equal(statistics(model), seen), "what is frozen learns nothing"
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("measure", [predict, accuracy])
def test_measuring_puts_every_mode_back(measure):
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 3))
    model[0].eval()
    before, seen = flags(model), statistics(model).clone()
    examples = Dataset(torch.randn(6, 3), torch.arange(6) % 3)
    measure(model, examples.x if measure is predict else examples)
    assert flags(model) == before == [True, False, True, True]
    assert torch.equal(statistics(model), seen)
    with pytest.raises(RuntimeError):
        predict(model, torch.randn(6, 4))
    assert flags(model) == before


def test_a_model_in_evaluation_mode_trains_whole_and_is_put_back():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1)).eval()
    with in_training(model):
        assert flags(model) == [True] * 3
    assert flags(model) == [False] * 3


def test_batch_normalisation_and_a_last_batch_of_one_row():
    def run(**more):
        model = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        return fit(model.double(), points(13), batch_size=4, **more)[0].losses

    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        run()
    losses = run(drop_last=True)
    assert losses.shape == (9,) and losses.isfinite().all()


def test_drop_last_leaves_out_the_smaller_minibatch_only():
    chance = generator("order", root=0)
    for n, sizes in ((12, [4, 4, 4]), (13, [4, 4, 4]), (4, [4])):
        found = minibatches(points(n), 4, chance, drop_last=True)
        assert [len(x) for x, _ in found] == sizes


def test_one_loop_takes_the_steps_at_the_rates_of_the_schedule():
    optimizer = torch.optim.SGD(line().parameters(), lr=0.5)
    seen = []

    def take_step(x, y):
        seen.append((int(x), int(y), optimizer.param_groups[0]["lr"]))
        return x

    batches = [(torch.tensor(i), torch.tensor(10 * i)) for i in range(3)]
    losses = list(follow(take_step, batches, optimizer, lambda t: 1.0 / t, first=2))
    assert losses == [x for x, _ in batches]
    assert seen == [(0, 0, 0.5 / 2), (1, 10, 0.5 / 3), (2, 20, 0.5 / 4)]
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert list(follow(take_step, [], optimizer)) == []
