"""What the machine of a run is called, whether it can do what a run needs, and what
the run took of it."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

ROOM = 50 * 10**6  # bytes that must be free where a run writes
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # without it cuBLAS is not deterministic


def device_name(where: torch.device) -> str:
    """What a device is called in words: the model of the GPU, or of the
    processor."""
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    return f"CPU, {processor()}, {os.cpu_count()} cores"


def processor() -> str:
    """The processor's model name where Linux tells it, else its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(
                line.split(":", 1)[1].strip()
                for line in lines
                if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.machine()


def require_compiler(where: torch.device) -> None:
    """Tries `torch.compile` on one addition: seconds, before any work.

    Raises:
        ValueError: it has nothing to make code with there: a CPU needs a C++
            compiler, CUDA needs Triton.
    """
    try:
        torch.compile(torch.add)(*torch.ones(2, 1, device=where))
    except Exception as problem:
        reason = str(problem).strip().splitlines()[0]
        raise ValueError(
            f"torch.compile does not work on {where} of this machine: {reason}"
        ) from problem


def synchronize(where: torch.device) -> None:
    """Waits until the device has done all that was asked of it; a CPU always
    has."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def require_room(folder: Path) -> None:
    """Makes the folder if need be; OSError, in words, where it cannot be written to
    or has no room."""
    trial = folder / f".trial-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as problem:
        raise OSError(
            f"cannot write to the folder {folder}: {problem.strerror}"
        ) from problem
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise OSError(
            f"no room in the folder {folder}: {free // 10**6} MB free, {ROOM // 10**6} MB needed"
        )


@contextmanager
def deterministic(asked: bool) -> Iterator[None]:
    """torch's deterministic algorithms where they are asked for; the settings are
    put back."""
    if not asked:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(WORKSPACE)
    os.environ.setdefault(WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warns)
        if workspace is None:
            os.environ.pop(WORKSPACE)


@contextmanager
def counted_memory(device: torch.device) -> Iterator[Callable[[], int | None]]:
    """Gives a function that tells the peak memory: of CUDA since now, else of this
    process since it began."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device)
    else:
        yield process_peak


def process_peak() -> int | None:
    """The largest resident size of this process in bytes, where the system tells
    it."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
