"""When a Triton kernel does the work, and how it is launched: shared by the topics'
`triton` modules.

A topic's fast function picks its kernel where all tensors are on CUDA and Triton is
installed, else its own torch code. Without a GPU the kernels run in Triton's
interpreter, where `TRITON_INTERPRET=1` is set before they are imported: slowly, and
with the same results, which is how they are tested on any machine.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

LONGEST_ROW = 2**16  # elements that one program keeps in its registers


@cache
def is_installed() -> bool:
    """Whether there is Triton."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def serve(*tensors: Tensor) -> bool:
    """Whether kernels can do the work for these tensors: on CUDA, not inside a
    transform, Triton is there.
    """
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return all(x.is_cuda for x in tensors) and is_installed()


def block_of(n: int) -> int:
    """The smallest power of two that is at least n: Triton's blocks have such
    sizes.
    """
    return 1 << max(0, n - 1).bit_length()


def compute_dtype(dtype: torch.dtype) -> Any:
    """What a kernel computes in, as Triton names it: float64 for float64, else
    float32."""
    import triton.language as tl

    return tl.float64 if dtype == torch.float64 else tl.float32


def warps_of(block: int) -> int:
    """How many warps of 32 threads share a block of so many elements: at most 64
    elements a thread.
    """
    return min(32, max(1, block // 512))
