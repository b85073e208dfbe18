"""A training step as one program: captured once in a CUDA graph, then replayed.

A step of a small network is a hundred kernels of microseconds each, and launching them
takes longer than computing. Where the shapes of a minibatch stand still, `Steps` does
its first steps plainly, captures the next, and from then on launches one program: the
minibatch is copied to where the program reads it, the rates likewise.

What a program does not see is what Python does between its kernels: a model that looks
at a value on the host, or draws from a generator of the CPU, is refused before it is
captured, and steps plainly.

Source: the PyTorch manual, "CUDA Graphs", whole-network capture.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Plain steps of one kind before it is captured: libraries set themselves up.
WARM = 3
# Changes of kind after which nothing stands still any more.
RESTLESS = 50

Gradients = Callable[[Tensor, Tensor], Tensor | None]
Work = Callable[[], Tensor]
Replay = Callable[[], Any]
Maker = Callable[[Work], tuple[Replay, Tensor]]


class Program:
    """The steps of one training, as one program as soon as they are of one kind.

    Args:
        model: its modes and what is frozen belong to the kind of a step.
        optimizer: over the model's parameters.
        make: captures work without doing it; returns how it is replayed, and the
            tensor that then holds the loss. By default a CUDA graph.
        why_not: why steps must be plain; None: they need not.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        make: Maker | None = None,
        why_not: str | None = None,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.make = make or cuda_graph
        self.plain_because = why_not
        self.forget()

    def forget(self) -> None:
        """Nothing is captured: what it referred to may lie elsewhere now."""
        self.captured: Captured | None = None
        self.kind: tuple[Any, ...] = ()
        self.seen = self.changes = 0

    def __call__(self, x: Tensor, y: Tensor, gradients: Gradients) -> Tensor | None:
        """The step on a minibatch, replayed; its loss, or None: nothing was done,
        take the step plainly.

        Args:
            x, y: the minibatch.
            gradients: leaves those of a minibatch in the parameters and returns the
                loss, or None: out of memory.
        """
        if self.plain_because is not None:
            return None
        kind = kind_of(self.model, self.optimizer, x, y)
        if self.captured is None:
            self._watch(kind, x, y, gradients)
        if self.captured is None or kind != self.kind:
            return None
        return self.captured(x, y)

    def _watch(
        self, kind: tuple[Any, ...], x: Tensor, y: Tensor, gradients: Gradients
    ) -> None:
        """Counts steps of one kind, and captures when they have stood still."""
        self.seen = self.seen + 1 if kind == self.kind else 1
        self.changes += kind != self.kind
        self.kind = kind
        if self.changes > RESTLESS:
            self.plain_because = "steps are of one kind, then of another"
        if self.seen <= WARM or self.plain_because:
            return
        try:
            require_no_look(self.model, gradients, x, y)
            self.captured = Captured(self.optimizer, gradients, self.make, x, y)
        except (RuntimeError, ValueError, AssertionError) as problem:
            self.optimizer.zero_grad()
            self.plain_because = str(problem).strip().splitlines()[0]
            warnings.warn(
                f"steps are taken one kernel at a time: {self.plain_because}",
                RuntimeWarning,
                stacklevel=4,
            )


class Captured:
    """One step, captured; a call copies the minibatch and the rates to where it
    reads them, and replays it."""

    def __init__(
        self,
        optimizer: Optimizer,
        gradients: Gradients,
        make: Maker,
        x: Tensor,
        y: Tensor,
    ) -> None:
        self.optimizer = optimizer
        self.x, self.y = x.clone(), y.clone()
        self.rates = [rate_tensor(group) for group in optimizer.param_groups]
        make_capturable(optimizer)
        self.replay, self.loss = make(self._work(gradients))

    def _work(self, gradients: Gradients) -> Work:
        """A plain step on the minibatch and the rates that lie here."""
        optimizer, rates, x, y = self.optimizer, self.rates, self.x, self.y

        def work() -> Tensor:
            with reading(optimizer, rates):
                value = gradients(x, y)
                if value is None:
                    raise RuntimeError("out of memory while a step was captured")
                optimizer.step()
            return value

        return work

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        self.x.copy_(x)
        self.y.copy_(y)
        for group, rate in zip(
            self.optimizer.param_groups, self.rates, strict=True
        ):
            rate.fill_(group["lr"])
        self.replay()
        return self.loss.clone()


def cuda_graph(work: Work) -> tuple[Replay, Tensor]:
    """Captures work in a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = work()
    return graph.replay, loss


def why_plain(
    device: torch.device, optimizer: Optimizer, alone: bool
) -> str | None:
    """Why steps cannot be captured, in words; None: they can.

    Args:
        device: of the model.
        optimizer: its rates must be readable from memory: torch says "capturable".
        alone: whether one process takes the steps.
    """
    if device.type != "cuda":
        return f"the model is on {device.type}, and only CUDA captures"
    if not alone:
        return "several processes share a step"
    if not all("capturable" in group for group in optimizer.param_groups):
        return f"the optimizer {type(optimizer).__name__} is not capturable"
    return None


def kind_of(
    model: nn.Module, optimizer: Optimizer, x: Tensor, y: Tensor
) -> tuple[Any, ...]:
    """What must be the same for a captured step to be this step: shapes and dtypes,
    modes, what is frozen, and every option of the optimizer but the rates."""
    options = [
        str([value for name, value in group.items() if name not in FREE])
        for group in optimizer.param_groups
    ]
    return (
        (x.shape, x.dtype, y.shape, y.dtype),
        tuple(module.training for module in model.modules()),
        tuple(p.requires_grad for p in model.parameters()),
        tuple(options),
    )


FREE = {"params", "lr", "capturable"}  # of a group: not part of a step's kind


def rate_tensor(group: dict[str, Any]) -> Tensor:
    """A group's rate as a number in the memory of its parameters' device."""
    first = group["params"][0]
    dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
    return torch.tensor(float(group["lr"]), device=first.device, dtype=dtype)


def make_capturable(optimizer: Optimizer) -> None:
    """The optimizer counts its steps where its parameters are, and reads no number
    on the host; on a CPU, which captures nothing, it stays as it is."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            state = optimizer.state.get(p, {})
            if p.is_cuda and isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(p.device)
        if group["params"][0].is_cuda:
            group["capturable"] = True


@contextmanager
def reading(optimizer: Optimizer, rates: list[Tensor]) -> Iterator[None]:
    """The optimizer reads its rates from tensors; then the groups hold their numbers
    again, whatever happens inside."""
    before = [group["lr"] for group in optimizer.param_groups]
    try:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        yield
    finally:
        for group, number in zip(optimizer.param_groups, before, strict=True):
            group["lr"] = number


def require_no_look(
    model: nn.Module, gradients: Gradients, x: Tensor, y: Tensor
) -> None:
    """RuntimeError where the gradients wait for the device, which a captured step
    could not; what a rehearsal moves is put back."""
    cuda = [x.device] if x.is_cuda else []
    buffers = [(b, b.clone()) for b in model.buffers()]
    try:
        with torch.random.fork_rng(devices=cuda), no_waiting(x.device):
            gradients(x, y)
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)


@contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
    """An operation that makes the host wait for the device raises RuntimeError."""
    if device.type != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def beside(device: torch.device) -> Iterator[None]:
    """On CUDA, work on a stream of its own, in turn with what came before and what
    comes after: as the plain steps before a capture must."""
    if device.type != "cuda":
        yield
        return
    here, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        yield
    here.wait_stream(aside)
