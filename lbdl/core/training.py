"""The training loop that the chapters share.

One step: take a minibatch, compute its loss, send the gradient back, let the
optimizer move the weights. An epoch takes every example once, in a new random
order.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from lbdl import require
from lbdl.core.data import Dataset
from lbdl.core.progress import progress_bar

Loss = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class History:
    """What a training went through, on the CPU.

    `losses` (steps,) is the loss of every minibatch before its step; `validation`
    maps "loss", and "accuracy" where the targets are class numbers, to one value an
    epoch (epochs,).
    """

    losses: Tensor
    validation: dict[str, Tensor] = field(default_factory=dict)


def train(
    model: nn.Module,
    data: Dataset,
    loss: Loss,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int,
    generator: Generator,
    schedule: Callable[[int], float] | None = None,
    validation: Dataset | None = None,
    drop_last: bool = False,
    progress: bool | None = None,
) -> History:
    """Minimises the mean loss over `data` by minibatch steps of `optimizer`.

        w <- optimizer(w, gradient of mean of loss(model(x; w), y) over a minibatch)

    Works where the model is: the data is moved there once, and the losses come back
    once, at the end. Modes of the model and rates of the optimizer are put back,
    also after an exception; what is frozen stays frozen (see `in_training`).

    Args:
        model: maps x (B, ...) to predictions; its weights are changed.
        data: the examples, x (n, ...) and y (n, ...).
        loss: of predictions and y of a minibatch, a scalar.
        optimizer: a `torch.optim.Optimizer` over the model's parameters.
        epochs: passes over the data, >= 0.
        batch_size: examples a step, >= 1; the last minibatch of an epoch is smaller
            where it does not divide n.
        generator: draws the order of the examples.
        schedule: factor on the optimizer's learning rates at step 0, 1, ...; they
            are put back at the end.
        validation: examples on which loss and accuracy are measured after every
            epoch.
        drop_last: leave out the last, smaller minibatch of an epoch: batch
            normalisation cannot learn from one row.
        progress: show a bar; by default where somebody can see it.

    Returns:
        The `History` of losses and validation metrics.

    Raises:
        TypeError: `data` or `validation` is not a `Dataset`, or a number is no
            whole one.
        ValueError: a number is out of range, or the data or the model's parameters
            are empty.
    """
    require_training(model, data, validation, epochs, batch_size, drop_last)
    device = next(model.parameters()).device
    data = data.to(device)
    validation = validation and validation.to(device)
    losses: list[Tensor] = []
    metrics: list[dict[str, Tensor]] = []
    take_step = partial(step, model, loss=loss, optimizer=optimizer)
    with in_training(model):
        for _ in progress_bar(range(epochs), progress, label="epochs"):
            batches = minibatches(data, batch_size, generator, drop_last)
            losses += follow(take_step, batches, optimizer, schedule, len(losses))
            if validation is not None:
                metrics.append(evaluate(model, validation, loss))
    return history(losses, metrics)


def follow(
    take_step: Step,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    schedule: Callable[[int], float] | None = None,
    first: int = 0,
) -> Iterator[Tensor]:
    """A step on each minibatch, at the rates of a schedule; then the rates are as
    they were.

        lr_t = schedule(t) lr,    t = first, first + 1, ...

    Args:
        take_step: from a minibatch x (B, ...), y (B, ...) to its loss, a scalar;
            moves the weights.
        batches: the minibatches.
        optimizer: whose learning rates the schedule scales.
        schedule: factor on the rates at step t; None leaves them.
        first: how many steps were taken before.

    Yields:
        The loss before each step, a scalar on the model's device.
    """
    with rates_kept(optimizer) as rates:
        for t, (x, y) in enumerate(batches, first):
            if schedule is not None:
                set_rates(optimizer, rates, float(schedule(t)))
            yield take_step(x, y)


def minibatches(
    data: Dataset, batch_size: int, generator: Generator, drop_last: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The examples in a new random order, `batch_size` at a time: pairs x (B, ...),
    y (B, ...).

    The last one is smaller where `batch_size` does not divide n; `drop_last` leaves
    it out.
    """
    order = torch.randperm(len(data), generator=generator, device=generator.device)
    for rows in sent(order, data.x.device).split(batch_size):
        if len(rows) == batch_size or not drop_last:
            yield data.x[rows], data.y[rows]


def sent(order: Tensor, device: torch.device) -> Tensor:
    """A few numbers, where they are needed; CUDA takes them without being waited
    for."""
    if order.device.type == device.type or device.type != "cuda":
        return order.to(device)
    return order.pin_memory().to(device, non_blocking=True)


def forever(
    data: Dataset, batch_size: int, generator: Generator, drop_last: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """`minibatches`, epoch after epoch, without end: for trainings that count
    steps."""
    while True:
        yield from minibatches(data, batch_size, generator, drop_last)


def step(
    model: nn.Module, x: Tensor, y: Tensor, loss: Loss, optimizer: Optimizer
) -> Tensor:
    """One step on one minibatch; returns the loss before the step, a scalar that
    carries no graph."""
    value = loss(model(x), y)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.detach()


def predict(model: nn.Module, x: Tensor, batch_size: int = 4096) -> Tensor:
    """The model's predictions for all of x (n, ...), in evaluation mode and without
    a graph."""
    require.whole(batch_size=batch_size, least=1)
    with in_evaluation(model), torch.no_grad():
        return torch.cat([model(rows) for rows in x.split(batch_size)])


def evaluate(model: nn.Module, data: Dataset, loss: Loss) -> dict[str, Tensor]:
    """Loss over all of `data`, and accuracy where y holds class numbers: scalars on
    the model's device."""
    predictions = predict(model, data.x)
    metrics = {"loss": loss(predictions, data.y)}
    if is_classes(data.y):
        metrics["accuracy"] = hits(predictions, data.y)
    return metrics


def accuracy(model: nn.Module, data: Dataset) -> float:
    """Fraction of the examples whose largest score is the right class.

    Args:
        model: maps x (n, ...) to scores (n, K).
        data: x (n, ...), y int64 (n,).

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: `y` does not hold class numbers, or there are no examples.
    """
    if len(data) == 0 or not is_classes(data.y):
        raise ValueError(
            f"data.y must be int64 (n,) with n >= 1, got {data.y.dtype} of shape "
            f"{tuple(data.y.shape)}"
        )
    data = data.to(next(model.parameters()).device)
    return float(hits(predict(model, data.x), data.y))


def hits(scores: Tensor, classes: Tensor) -> Tensor:
    """Fraction of rows of `scores` (n, K) that are largest at the entry of
    `classes` (n,)."""
    return (scores.argmax(dim=-1) == classes).float().mean()


def is_classes(y: Tensor) -> bool:
    """Whether y holds class numbers: int64 (n,)."""
    return y.dtype == torch.int64 and y.dim() == 1


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Every module's own flag, training or evaluation, is afterwards what it was,
    whatever happens inside."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


@contextmanager
def in_training(model: nn.Module) -> Iterator[None]:
    """The model in training mode; then every module has its own mode again.

    In a model that is in training mode already, a module that was put into
    evaluation mode is frozen, and stays so.
    """
    with modes_kept(model):
        if not model.training:
            model.train()
        yield


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; then every module has its own mode again."""
    with modes_kept(model):
        model.eval()
        yield


@contextmanager
def rates_kept(optimizer: Optimizer) -> Iterator[list[float]]:
    """Gives the learning rates of the groups; afterwards they are what they were,
    whatever happens inside."""
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        yield rates
    finally:
        set_rates(optimizer, rates)


def set_rates(
    optimizer: Optimizer, rates: list[float], factor: float = 1.0
) -> None:
    """Gives every parameter group its learning rate of `rates`, times `factor`."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * factor


def history(losses: list[Tensor], metrics: list[dict[str, Tensor]]) -> History:
    """Moves all that was measured to the CPU, at once."""
    names = metrics[0] if metrics else {}
    validation = {
        name: torch.stack([values[name] for values in metrics]).cpu()
        for name in names
    }
    return History(
        torch.stack(losses).cpu() if losses else torch.empty(0), validation
    )


def require_training(
    model: nn.Module,
    data: Dataset,
    validation: Dataset | None,
    epochs: int,
    batch_size: int,
    drop_last: bool = False,
) -> None:
    """Raises TypeError or ValueError where `train` could not work."""
    given = {"data": data} | (
        {} if validation is None else {"validation": validation}
    )
    require.instance(Dataset, **given)
    for name, examples in given.items():
        if len(examples) == 0:
            raise ValueError(f"{name} must hold at least one example, got none")
    require_parameters(model)
    require.whole(epochs=epochs, least=0)
    require.whole(batch_size=batch_size, least=1)
    if drop_last and batch_size > len(data):
        raise ValueError(
            f"batch_size must be at most the {len(data)} examples when drop_last "
            f"leaves out what is smaller, got {batch_size}"
        )


def require_parameters(model: nn.Module) -> None:
    """Raises ValueError where a model has nothing to train."""
    if next(model.parameters(), None) is None:
        raise ValueError("model must have parameters to train, got none")
