"""Several processes for one run, as `torchrun` starts them: which one am I, how
many are we, what do we agree on.

    torchrun --standalone --nproc-per-node 2 -m lbdl run NAME

All processes compute the same run from the same seed and share the rows of every
minibatch. The first one, of rank 0, alone writes files and shows progress.
"""

import atexit
import os
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

PATIENCE = timedelta(minutes=10)  # a process that waits longer for another gives up


def size() -> int:
    """The number of processes that share this run; 1 unless `torchrun` started
    it."""
    return whole_number("WORLD_SIZE", 1)


def rank() -> int:
    """The number of this process, from 0."""
    return whole_number("RANK", 0)


def is_first() -> bool:
    """Whether this process is the one that writes files and shows progress."""
    return rank() == 0


def whole_number(name: str, default: int) -> int:
    asked = os.environ.get(name, "").strip() or str(default)
    if not (asked.isascii() and asked.isdigit()):
        raise ValueError(f"{name} must be a whole number >= 0, got {asked!r}")
    return int(asked)


def own_device(device: torch.device) -> torch.device:
    """The device of this process: of several processes on CUDA each takes its own
    GPU.

    Args:
        device: that was asked for; "cuda" without a number is shared out.

    Returns:
        `device` itself, or a GPU of this machine.

    Raises:
        ValueError: there are more processes than GPUs on this machine, or all would
            use the same one.
    """
    if size() == 1 or device.type != "cuda":
        return device
    here, there = whole_number("LOCAL_RANK", 0), torch.cuda.device_count()
    if device.index is not None:
        raise ValueError(f"{size()} processes cannot share {device}: ask for cuda")
    if here >= there:
        raise ValueError(
            f"more processes than CUDA devices on this machine: {there}"
        )
    return torch.device("cuda", here)


def connect(device: torch.device) -> None:
    """Connects the processes of this run, once; nothing to do for a single one.

    A process that fails does not wait for the others: it ends, and `torchrun` ends
    them.

    Args:
        device: of this process; CUDA talks by NCCL, the CPU by Gloo.
    """
    if size() == 1 or dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE
    )
    atexit.register(dist.destroy_process_group)


def total(x: Tensor) -> Tensor:
    """The sum of a tensor over all processes, on each of them; changes `x` in
    place."""
    if size() > 1:
        dist.all_reduce(x)
    return x


def any_of_us(yes: bool, device: torch.device) -> bool:
    """Whether at least one process says yes."""
    if size() == 1:
        return yes
    return bool(total(torch.tensor(float(yes), device=device)))


def share(x: Tensor) -> Tensor:
    """The rows of a minibatch x (B, ...) that this process treats: every process
    about B / size of them.

    Raises:
        ValueError: there are fewer rows than processes.
    """
    if len(x) < size():
        raise ValueError(
            f"a minibatch of {len(x)} rows cannot be shared by {size()} processes"
        )
    return x.tensor_split(size())[rank()]
