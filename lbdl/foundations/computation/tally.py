"""What a function really asks of a machine, operation by operation: products
counted as torch counts them, bytes, and launches.

Each operation of torch reads its operands from memory and writes its result back:
nothing stays near the processor from one to the next. That is what `tally` counts,
on any device, whatever the clock says.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from lbdl import require

__all__ = ["Tally", "tally"]

aten = torch.ops.aten
GATHERS = {aten.embedding, aten.index_select, aten.gather, aten.index}
MAKERS = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}
VIEWS = {aten._unsafe_view, aten._reshape_alias, aten.lift_fresh}


class Tally(NamedTuple):
    """What a job asked for.

    Args:
        flops: operations in products of matrices and convolutions.
        bytes: read and written, each operation on its own.
        launches: operations that touched memory; views do not.
    """

    flops: int
    bytes: int
    launches: int


def tally(job: Callable[[], Any]) -> Tally:
    """Operations, bytes and launches of a job, as torch executes it.

        bytes = sum over its operations of (operands read + results written)

    A tensor that is repeated by stride 0 counts once, a table out of which rows are
    looked up with those rows alone. A backward pass within the job is counted too.
    A product within an operation that torch's own counter does not know, such as
    its attention on a CPU, counts no operations.

    >>> x = torch.ones(100)
    >>> tally(lambda: x + 1)
    Tally(flops=0, bytes=800, launches=1)

    Args:
        job: a function without arguments.

    Returns:
        `Tally`, three numbers.

    Raises:
        TypeError: `job` is no function.

    Source: `torch.utils.flop_counter`, for the operations.
    """
    require.function(job=job)
    with Counter() as counter:
        job()
    return Tally(counter.flops, counter.bytes, counter.launches)


class Counter(TorchDispatchMode):
    """Adds up while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.bytes = self.launches = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func._overloadpacket
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **kwargs, out_val=out)
        if not moves_nothing(func):
            self.launches += 1
            self.bytes += read(packet, args, kwargs, out) + written(out)
        return out


def moves_nothing(func: Any) -> bool:
    """Whether an operation gives a view, or memory that nobody has written."""
    packet = func._overloadpacket
    if packet in VIEWS or packet in MAKERS:
        return True
    aliases = [result.alias_info for result in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def read(packet: Any, args: Any, kwargs: Any, out: Any) -> int:
    """Bytes of the operands, each once."""
    operands = list(tensors((args, kwargs)))
    looked_up = 0
    if packet in GATHERS:
        looked_up, operands = written(out), operands[1:]
    rules = {(x.data_ptr(), x.shape, x.stride()): footprint(x) for x in operands}
    return looked_up + sum(rules.values())


def written(out: Any) -> int:
    """Bytes of the results."""
    return sum(footprint(x) for x in tensors(out))


def tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors in nested arguments or results."""
    return (x for x in tree_leaves(tree) if isinstance(x, Tensor))


def footprint(x: Tensor) -> int:
    """Bytes of storage that a tensor reaches: repeated elements count once."""
    walked = zip(x.shape, x.stride(), strict=True)
    elements = math.prod(n for n, s in walked if s or n == 0)
    return min(elements * x.itemsize, x.untyped_storage().nbytes())
