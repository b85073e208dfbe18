"""How much memory a computation needs: counted tensor by tensor, on any device, the
same on every machine.

`saved_bytes` asks autograd what it keeps for the backward pass. `live_memory`
follows every tensor from its birth to its death. Both count what is asked for, not
what an allocator rounds it up to; on CUDA, `peak_bytes` asks the allocator.
"""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lbdl import require
from lbdl.foundations.memory.checkpointing import is_weight

__all__ = ["LiveMemory", "live_memory", "peak_bytes", "saved_bytes"]

Job = Callable[[], Any]


class LiveMemory(NamedTuple):
    """Bytes of the tensors that a job made and that were alive after each of its
    operations.

    Args:
        peak: the most at any time.
        kept: what was still alive when the job was done, its result included.
        timeline: one number an operation.
    """

    peak: int
    kept: int
    timeline: list[int]


def saved_bytes(job: Job) -> int:
    """Bytes that autograd keeps after a forward pass, for the backward pass to
    come.

    A tensor that is saved twice counts once. Leaves that require a gradient, the
    weights, and views of them do not count: they are there anyway.

    Args:
        job: a function without arguments that computes something differentiable, of
            any shape.

    Returns:
        The number of bytes.

    Raises:
        TypeError: `job` is no function.

    Source: `torch.autograd.graph.saved_tensors_hooks`.
    """
    require.function(job=job)
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        if not is_weight(x):
            kept[x.untyped_storage()._cdata] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        result = job()
    del result
    return sum(kept.values())


def live_memory(job: Job) -> LiveMemory:
    """The bytes alive during a job, beyond what was there before it, operation by
    operation.

    Only tensors count, not what a kernel uses within itself.

    Args:
        job: a function without arguments; its tensors may have any shape and lie on
            any device.

    Returns:
        `LiveMemory`: the peak, what the result keeps alive, and the whole timeline.

    Raises:
        TypeError: `job` is no function.
    """
    require.function(job=job)
    with Meter() as meter:
        result = job()
    kept = meter.now
    del result
    return LiveMemory(max(meter.timeline, default=0), kept, meter.timeline)


class Meter(TorchDispatchMode):
    """Sees every operation of torch, backward passes included, and keeps count of
    storages."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.now = 0
        self.timeline: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """One operation: its arguments were there, its results are new."""
        self.meet((args, kwargs), counted=False)
        result = func(*args, **(kwargs or {}))
        self.meet(result, counted=True)
        self.timeline.append(self.now)
        return result

    def meet(self, tensors: Any, counted: bool) -> None:
        """Notes storages that were not known, and counts the new ones."""
        for x in tree_leaves(tensors):
            if (
                isinstance(x, Tensor)
                and x.untyped_storage()._cdata not in self.known
            ):
                self.begin(
                    x.untyped_storage(),
                    x.untyped_storage().nbytes() if counted else 0,
                )

    def begin(self, storage: torch.UntypedStorage, size: int) -> None:
        """A storage is born."""
        self.known.add(storage._cdata)
        self.now += size
        weakref.finalize(storage, self.end, storage._cdata, size)

    def end(self, key: int, size: int) -> None:
        """A storage dies."""
        self.known.discard(key)
        self.now -= size


def peak_bytes(job: Job, device: torch.device | str = "cpu") -> int:
    """Peak memory of a job beyond what was there before it.

    Args:
        job: a function without arguments; its tensors may have any shape.
        device: on CUDA, the allocator's own count; elsewhere that of `live_memory`.

    Returns:
        The number of bytes.

    Raises:
        TypeError: `job` is no function, or `device` no device.
        ValueError: there is no `device` of that name.

    Source: `torch.cuda.max_memory_allocated`.
    """
    require.function(job=job)
    where = as_device(device)
    if where.type != "cuda":
        return live_memory(job).peak
    torch.cuda.synchronize(where)
    torch.cuda.reset_peak_memory_stats(where)
    before = torch.cuda.memory_allocated(where)
    job()
    torch.cuda.synchronize(where)
    return torch.cuda.max_memory_allocated(where) - before


def as_device(device: torch.device | str) -> torch.device:
    """A device from its name."""
    if not isinstance(device, torch.device | str):
        raise TypeError(f"device must be a name, got {require.kind(device)}")
    try:
        return torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device must be the name of a device, got {device!r}"
        ) from None
