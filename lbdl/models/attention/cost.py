"""What attention costs: floating-point operations, and memory traffic with and
without blocks.
"""

from lbdl import require


def attention_flops(
    n: int, width: int, m: int | None = None, kv_width: int | None = None
) -> int:
    """Floating-point operations of a forward pass of one attention layer.

        4 n w^2 + 4 m w w_kv + 4 n m w     (w = width; with m = n, w_kv = w: 8 n w^2
        + 4 n^2 w)

    A multiplication and an addition are two. The first two terms are the four
    matrices, the last one scores and weighted means. Softmax is not counted, nor is
    the half that a causal mask throws away.

    Args:
        n: queries, a number >= 1.
        width: w of the vectors, a number >= 1.
        m: keys, a number >= 1; by default n.
        kv_width: w_kv of keys and values, all heads together, a number >= 1; by
            default
            `width`.

    Returns:
        The number.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is below 1.
    """
    m, kv_width = n if m is None else m, width if kv_width is None else kv_width
    require.whole(n=n, width=width, m=m, kv_width=kv_width, least=1)
    return 4 * n * width**2 + 4 * m * width * kv_width + 4 * n * m * width


def block_traffic(
    n: int, head_width: int, rows: int | None = None, itemsize: int = 2
) -> int:
    """Bytes that one head moves between slow and fast memory, forward.

        in blocks:    2 n d + 2 n d ceil(n / rows)     (q and result once; k and v
        once for each block of queries)
        at once:      4 n d + 4 n^2                    (scores and weights are
        written and read)

    all times the bytes of an element.

    Args:
        n: queries and keys, a number >= 1.
        head_width: d, a number >= 1.
        rows: queries that fit the fast memory at a time, a number >= 1; None keeps
            the
            whole table.
        itemsize: bytes of an element, a number >= 1.

    Returns:
        The number of bytes.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is below 1.

    Source: Dao et al. 2022, Theorem 2, arXiv:2205.14135, whose fast memory of M
    elements
        holds about M / (4 d) rows.
    """
    require.whole(n=n, head_width=head_width, itemsize=itemsize, least=1)
    once = 2 * n * head_width
    if rows is None:
        return itemsize * (2 * once + 4 * n * n)
    require.whole(rows=rows, least=1)
    return itemsize * (once + once * -(-n // rows))
