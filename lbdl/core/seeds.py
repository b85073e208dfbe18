"""One number seeds a run, and every use of chance draws from a stream of its own.

Streams are named. The generator of a stream depends on the seed of the run and on
the stream's name, on nothing else: adding a draw in one place changes no other
place, and `LBDL_SEED=7` re-runs everything under other randomness.
"""

import hashlib
import os
import random
import sys

import torch

from lbdl import require


def seed() -> int:
    """The seed of this run: `LBDL_SEED`, or 0 when it is not set.

    Returns:
        An integer >= 0.

    Raises:
        ValueError: `LBDL_SEED` is not a whole number >= 0.
    """
    asked = os.environ.get("LBDL_SEED", "").strip() or "0"
    if not (asked.isascii() and asked.isdigit()):
        raise ValueError(f"LBDL_SEED must be a whole number >= 0, got {asked!r}")
    return int(asked)


def generator(
    stream: str = "main",
    device: torch.device | str = "cpu",
    *,
    root: int | None = None,
) -> torch.Generator:
    """A source of randomness that depends on the seed of the run and the name of
    the stream alone.

    Args:
        stream: any name; two names give independent draws, the same name the same
            draws again.
        device: where the numbers are drawn; CPU and CUDA draw different numbers
            from the same seed.
        root: the seed of the run; by default `seed()`.

    Returns:
        A fresh `torch.Generator` on `device`.

    Raises:
        ValueError: `LBDL_SEED` or `root` is not a whole number >= 0.
    """
    return torch.Generator(device).manual_seed(
        stream_seed(stream, seed() if root is None else root)
    )


def stream_seed(stream: str, root: int) -> int:
    """64 bits out of SHA-256 of the seed and the stream's name: the same in every
    process, everywhere."""
    digest = hashlib.sha256(
        f"{require_seed(root, 'root')}/{stream}".encode()
    ).digest()
    return int.from_bytes(digest[:8], "little")


def require_seed(value: int, asker: str = "seed") -> int:
    """`value` itself, if it is a whole number >= 0; the error names the argument or
    option it came from."""
    require.whole(**{asker: value}, least=0)
    return value


def seed_everything(root: int | None = None) -> int:
    """Seeds the global generators of Python, torch (all devices) and, if it is
    imported, NumPy.

    For code that draws from a global generator, such as the initialisation of
    `torch.nn` layers.

    Args:
        root: the seed; by default `seed()`.

    Returns:
        The seed that was used.

    Raises:
        ValueError: the seed is not a whole number >= 0.
    """
    root = seed() if root is None else root
    number = stream_seed("global", root)
    random.seed(number)
    torch.manual_seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number % 2**32)
    return root
