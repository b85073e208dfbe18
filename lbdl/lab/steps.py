"""Optimizer steps on one device or many, with minibatches of any size.

`training.step` is the plain way and the text of the chapters. `Steps` does the same
up to rounding, and also shares the rows of a minibatch among the processes of a
run, takes them in pieces when memory does not hold them all, computes in lower
precision where that is asked for, and on CUDA makes one program of a step whose shapes
stand still.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from lbdl import require
from lbdl.core.training import Loss, follow, require_parameters
from lbdl.lab import processes
from lbdl.lab.graphs import Program, beside, why_plain


class Steps:
    """One optimizer step a call.

        w <- optimizer(w, gradient of (1/B) sum_i loss_i(w))

    computed as a weighted sum over pieces of the minibatch, each the mean loss of
    its rows, on every process.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        autocast: torch.dtype | None = None,
        pieces: int = 1,
        capture: bool = True,
    ) -> None:
        """Takes the model as it is: on its device, and equal on all processes, or
        `sharded` over them.

        Args:
            model: maps rows x (b, ...) to predictions.
            loss: of predictions and y, a scalar: the mean over the rows. Where
                examples meet in one loss, as in a triplet, a row must be a whole
                group of them.
            optimizer: over the model's parameters.
            autocast: floating dtype of the model's matrix products, such as
                `torch.bfloat16`; None keeps the model's own.
            pieces: how many pieces a minibatch is taken in from the start.
            capture: replay a captured step where that can be (`lbdl.lab.graphs`);
                `plain_because` says why it cannot.

        Raises:
            TypeError: `pieces` is no whole number.
            ValueError: the model has no parameters, or `pieces` is below 1.
        """
        require_parameters(model)
        require.whole(pieces=pieces, least=1)
        self._sharded = is_sharded(model)
        copied = processes.size() > 1 and not self._sharded
        self.model = DistributedDataParallel(model) if copied else model
        self.device = next(model.parameters()).device
        self.loss, self.optimizer, self.autocast = loss, optimizer, autocast
        self.pieces = pieces
        # several processes try first, so that none waits for a failed one
        self._fits = not copied
        why_not = why_plain(self.device, optimizer, processes.size() == 1)
        self.program = Program(
            self.model,
            optimizer,
            why_not=why_not if capture else "nobody asks for it",
        )

    @property
    def plain_because(self) -> str | None:
        """Why steps are taken one kernel at a time; None: they are one program, or
        will be when their shapes have stood still."""
        if self.pieces > 1:
            return f"a minibatch is taken in {self.pieces} pieces"
        return self.program.plain_because

    def follow(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        schedule: Callable[[int], float] | None = None,
        first: int = 0,
    ) -> None:
        """A step on each minibatch, at the rates of a schedule: the one loop,
        `lbdl.core.training.follow`.

        The losses are let go: thousands of scalars between large tensors would keep
        the memory of a CPU from being used again.
        """
        for _ in follow(self, batches, self.optimizer, schedule, first):
            pass

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on a minibatch, the same on all processes.

        When memory does not hold it, the step is done again in twice as many
        pieces, with a warning, and later steps keep to that.

        Args:
            x: (B, ...), on the model's device.
            y: (B, ...), on the model's device.

        Returns:
            The mean loss before the step, a scalar that carries no graph.

        Raises:
            ValueError: there are no rows, or fewer than processes.
            MemoryError: not even a single row fits, or a minibatch does not fit one
                of the processes of a sharded model, which cannot try again: the
                others wait in the middle of the same step.
        """
        if len(x) == 0 or len(x) != len(y):
            raise ValueError(
                f"x and y must have the same number >= 1 of rows, got {len(x)} and {len(y)}"
            )
        if self.plain_because is not None:
            return self._plainly(x, y)
        if (value := self.program(x, y, self._all_gradients)) is not None:
            return value
        with beside(self.device):
            return self._plainly(x, y)

    def _plainly(self, x: Tensor, y: Tensor) -> Tensor:
        """The step, kernel by kernel."""
        whole, x, y = len(x), processes.share(x), processes.share(y)
        while not self._fits:
            self._rehearse(x, y, whole)
        while (value := self._gradients(x, y, whole)) is None:
            self._halve(len(x))
        self.optimizer.step()
        return processes.total(value)

    def _rehearse(self, x: Tensor, y: Tensor, whole: int) -> None:
        """Finds out, without a step and without using up randomness, whether memory
        suffices everywhere."""
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), self._alone():
            failed = self._gradients(x, y, whole, last_is_shared=False) is None
        self.optimizer.zero_grad()
        if processes.any_of_us(failed, self.device):
            self._halve(len(x))
        else:
            self._fits = True

    def _gradients(
        self, x: Tensor, y: Tensor, whole: int, last_is_shared: bool = True
    ) -> Tensor | None:
        """Leaves the gradient in the parameters; this process's part of the loss,
        or None: out of memory."""
        self.optimizer.zero_grad()
        values = []
        try:
            for some_x, some_y, is_last in pieces_of(x, y, self.pieces):
                with nullcontext() if is_last and last_is_shared else self._alone():
                    part = self._loss(some_x, some_y) * (len(some_x) / whole)
                    (
                        part * processes.size()
                    ).backward()  # data parallelism takes the mean over the processes
                values.append(part.detach())
        except (torch.OutOfMemoryError, RuntimeError) as problem:
            if not is_out_of_memory(problem):
                raise
            return None
        return torch.stack(values).sum()

    def _all_gradients(self, x: Tensor, y: Tensor) -> Tensor | None:
        """The gradients of a minibatch that no other process shares."""
        return self._gradients(x, y, len(x))

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(
            self.device.type, self.autocast, enabled=self.autocast is not None
        ):
            return self.loss(self.model(x), y)

    def _alone(self) -> AbstractContextManager[None]:
        """Gradients stay with this process: they are summed with those of the last
        piece."""
        if isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return unshared(self.model) if self._sharded else nullcontext()

    def _halve(self, rows: int) -> None:
        """Twice as many pieces from now on; MemoryError when each is a single row
        already."""
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self._sharded:
            raise MemoryError(
                f"out of memory on {self.device} with {-(-rows // self.pieces)} rows at a time: start the run again "
                f"with --pieces {2 * self.pieces}, it goes on from its last checkpoint"
            )
        if self.pieces >= rows:
            raise MemoryError(
                f"out of memory on {self.device} with a single row of the minibatch"
            )
        self.pieces = min(2 * self.pieces, rows)
        warnings.warn(
            f"out of memory on {self.device}: from now on {-(-rows // self.pieces)} of {rows} rows at a time, "
            f"gradients added over {self.pieces} pieces a step",
            RuntimeWarning,
            stacklevel=3,
        )

    def state_dict(self) -> dict[str, Any]:
        """Model and optimizer, whole, by parameter names; of several processes only
        the first has them."""
        return sharding().whole_state(self._bare(), self.optimizer)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Takes up what `state_dict` gave on the first process, on any number of
        processes."""
        sharding().take_up(self._bare(), self.optimizer, saved)
        self.program.forget()

    def _bare(self) -> nn.Module:
        return (
            self.model.module
            if isinstance(self.model, DistributedDataParallel)
            else self.model
        )


def is_sharded(model: nn.Module) -> bool:
    """Whether `lbdl.lab.sharding.sharded` has spread a model over the processes."""
    return hasattr(model, "set_requires_gradient_sync")


@contextmanager
def unshared(model: Any) -> Iterator[None]:
    """Gradients of a sharded model stay with this process."""
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def sharding() -> ModuleType:
    """`lbdl.lab.sharding`, whose import takes most of a second, and fails where
    torch was built for one process."""
    from lbdl.lab import sharding

    return sharding


def pieces_of(
    x: Tensor, y: Tensor, pieces: int
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """The rows of x and y in nearly equal pieces, at most one for each row, and
    whether it is the last one."""
    pieces = min(pieces, len(x))
    for i, (some_x, some_y) in enumerate(
        zip(x.tensor_split(pieces), y.tensor_split(pieces), strict=True)
    ):
        yield some_x, some_y, i == pieces - 1


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error says that memory is used up, on CUDA or on a CPU whose
    memory is limited."""
    return isinstance(
        problem, torch.OutOfMemoryError
    ) or "can't allocate memory" in str(problem)
