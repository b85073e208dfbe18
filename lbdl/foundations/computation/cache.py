"""A small fast memory between a processor and a large slow one, simulated: what is
used again soon is found there, what is used again late must be fetched again.

The cache here keeps what was used last and gives up what was not used for longest;
any line may stand anywhere in it. Real ones are tamer, and come in several levels.

Hong & Kung 1981, STOC (the bound); Lam, Rothberg & Wolf 1991, ASPLOS (blocks).
"""

from collections import OrderedDict

import torch
from torch import Tensor

from lbdl import require

__all__ = ["blocked_misses", "cache_misses", "matmul_addresses"]


def cache_misses(addresses: Tensor, lines: int, line: int = 1) -> int:
    """How often a cache must fetch, if addresses are used in this order.

    Args:
        addresses: of elements, one after the other (n,), int64, >= 0.
        lines: that the cache holds, a number >= 1.
        line: neighbouring elements that are fetched at once, a number >= 1.

    Returns:
        The number of lines fetched.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: an address is negative, there is more than one dimension, or a
            number is below 1.

    Source: Hennessy & Patterson, Computer Architecture, appendix B (least recently
    used, fully associative).
    """
    require.integer(addresses=addresses)
    require.shapes(addresses=(addresses, "n"), least=0)
    require.values(addresses >= 0, "addresses must be >= 0")
    require.whole(lines=lines, line=line, least=1)
    held: OrderedDict[int, None] = OrderedDict()
    misses = 0
    for tag in (addresses // line).tolist():
        if tag in held:
            held.move_to_end(tag)
            continue
        misses += 1
        held[tag] = None
        if len(held) > lines:
            held.popitem(last=False)
    return misses


def matmul_addresses(n: int, block: int) -> Tensor:
    """The addresses that a product C = A B of (n, n) matrices uses, block by block.

        for each block (I, J) of C, for each K, for each i in I, j in J, k in K:
        A[i, k], B[k, j], C[i, j]

    A stands in storage first, then B, then C, row by row. One block of size n is
    the product as three loops.

    Args:
        n: a number >= 1.
        block: rows and columns of a block, a number >= 1, divides n.

    Returns:
        Addresses (3 n n n,), int64.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is below 1, or `block` does not divide n.
    """
    require_blocks(n, block)
    many = n // block
    whole, part = torch.arange(many) * block, torch.arange(block)
    grid = torch.meshgrid(*[whole] * 3, *[part] * 3, indexing="ij")
    row, column, inner = (grid[axis] + grid[axis + 3] for axis in range(3))
    A, B, C = row * n + inner, inner * n + column, row * n + column
    return torch.stack([A, B + n * n, C + 2 * n * n], -1).flatten()


def blocked_misses(n: int, block: int) -> int:
    """Elements that a product in blocks fetches at most, if the cache holds five
    blocks.

        n^2 + 2 n^3 / b,   and exactly so many if it holds just 4 b^2 + b elements

    Each of the (n/b)^2 blocks of C is fetched once, and for it n/b blocks of A and
    of B. Three blocks are in use at a time; the room for five keeps a cache that
    gives up the oldest from giving up what is needed next: it needs 4 b^2 + b.

    Args:
        n: a number >= 1.
        block: b, a number >= 1, divides n.

    Returns:
        The number of elements; what is written back is not counted.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is below 1, or `block` does not divide n.

    Source: Lam, Rothberg & Wolf 1991, ASPLOS.
    """
    require_blocks(n, block)
    return n**2 + 2 * n**3 // block


def require_blocks(n: int, block: int) -> None:
    """Refuse blocks that do not fill a matrix."""
    require.whole(n=n, block=block, least=1)
    if n % block:
        raise ValueError(f"block must divide n = {n}, got {block}")
