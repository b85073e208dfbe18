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

__all__ = ["LiveMemory", "live_memory", "peak_bytes", "saved_bytes"]

Job = Callable[[], Any]


class LiveMemory(NamedTuple):
    """Bytes of the tensors that a job made and that were alive after each of its
    operations.

    Args:
        peak: the most at any time.
        kept: what was still alive when the job was done, its result included.
        timeline: one number an operation.

    Source: definition.
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

    Source: `torch.autograd.graph.saved_tensors_hooks`.
    """
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        owner = x if x._base is None else x._base
        if not (owner.is_leaf and owner.requires_grad):
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

    Source: definition.
    """
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
        self.meet((args, kwargs), counted=False)
        result = func(*args, **(kwargs or {}))
        self.meet(result, counted=True)
        self.timeline.append(self.now)
        return result

    def meet(self, tensors: Any, counted: bool) -> None:
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
        self.known.add(storage._cdata)
        self.now += size
        weakref.finalize(storage, self.end, storage._cdata, size)

    def end(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def peak_bytes(job: Job, device: torch.device | str = "cpu") -> int:
    """Peak memory of a job beyond what was there before it.

    Args:
        job: a function without arguments; its tensors may have any shape.
        device: on CUDA, the allocator's own count; elsewhere that of `live_memory`.

    Returns:
        The number of bytes.

    Source: `torch.cuda.max_memory_allocated`.
    """
    where = torch.device(device)
    if where.type != "cuda":
        return live_memory(job).peak
    torch.cuda.synchronize(where)
    torch.cuda.reset_peak_memory_stats(where)
    before = torch.cuda.memory_allocated(where)
    job()
    torch.cuda.synchronize(where)
    return torch.cuda.max_memory_allocated(where) - before
