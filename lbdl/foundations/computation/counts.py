"""Operations and bytes of the layers of the book, by formula.

Operations: an addition, a multiplication, a comparison, an exponential are one
each. Bytes are those that must cross between the large memory and the processor if
each operand is read once and each result written once: the least, reached where
all that is used twice fits the fast memory.

Williams, Waterman & Patterson 2009, Communications of the ACM 52(4), for the
quotient of the two.
"""

from dataclasses import dataclass

from lbdl import require
from lbdl.foundations.backpropagation import matmul_flops

__all__ = [
    "SOFTMAX_TRAFFIC",
    "Cost",
    "convolution_cost",
    "elementwise_cost",
    "embedding_cost",
    "matmul_cost",
    "normalization_cost",
    "softmax_cost",
]

# How often a table crosses, in all, while its softmax is computed: each maximum,
# sum or map on its own; maximum, sum and quotients; the running sum of
# `online_softmax`, then quotients; a row kept near the processor until it is done.
SOFTMAX_TRAFFIC = {5: 8, 3: 4, 2: 3, 1: 2}
INDEX = 8  # bytes of an int64
NORM_FLOPS = 7  # of an element: mean, difference, square, its mean, quotient, * , +


@dataclass(frozen=True)
class Cost:
    """What a computation takes: operations, and bytes moved to and from memory.

    Args:
        flops: operations, a number >= 0.
        bytes: a number >= 0.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is negative.
    """

    flops: int
    bytes: int

    def __post_init__(self) -> None:
        require.whole(flops=self.flops, bytes=self.bytes, least=0)

    @property
    def intensity(self) -> float:
        """Operations for each byte; infinite where none is moved."""
        return self.flops / self.bytes if self.bytes else float("inf")

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


def matmul_cost(
    m: int, k: int, n: int, itemsize: int = 4, *, batch: int = 1
) -> Cost:
    """A product of matrices (m, k) @ (k, n), or a batch of them.

        2 m k n operations,   s (m k + k n + m n) bytes

    Args:
        m: rows of the first, a number >= 1.
        k: its columns, a number >= 1.
        n: columns of the second, a number >= 1.
        itemsize: s, bytes of an element, a number >= 1.
        batch: how many products, each with matrices of its own, a number >= 1.

    Returns:
        `Cost`.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is below 1.
    """
    require.whole(m=m, k=k, n=n, itemsize=itemsize, batch=batch, least=1)
    elements = m * k + k * n + m * n
    return Cost(batch * matmul_flops(m, k, n), batch * itemsize * elements)


def elementwise_cost(
    count: int, itemsize: int = 4, *, inputs: int = 1, flops: int = 1
) -> Cost:
    """A map that makes each element out of those at the same place.

        f n operations,   s n (inputs + 1) bytes

    Args:
        count: n elements of the result, a number >= 1.
        itemsize: s, bytes of an element, a number >= 1.
        inputs: tensors that are read, a number >= 0.
        flops: f, operations an element, a number >= 0; 0 for a copy.

    Returns:
        `Cost`.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is out of range.
    """
    require.whole(count=count, itemsize=itemsize, least=1)
    require.whole(inputs=inputs, flops=flops, least=0)
    return Cost(flops * count, itemsize * count * (inputs + 1))


def softmax_cost(rows: int, n: int, itemsize: int = 4, *, passes: int = 1) -> Cost:
    """Softmax of each row of a table.

        5 r n operations,   s r n t bytes,
        t = 8 for 5 passes, 4 for 3, 3 for 2, 2 for 1

    The maximum, the difference, the exponential, the sum and the quotient are an
    operation each. What a row has one number of (its maximum, its sum) is not
    counted among the bytes, nor what a running sum computes again.

    Args:
        rows: r, a number >= 1.
        n: scores in a row, a number >= 1.
        itemsize: s, bytes of an element, a number >= 1.
        passes: 5 (each step on its own), 3 (maximum; sum; quotients), 2 (both at
            once; quotients) or 1 (the row is kept).

    Returns:
        `Cost`.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is out of range.

    Source: Milakov & Gimelshein 2018, section 3, arXiv:1805.02867, for 3 and 2.
    """
    require.whole(rows=rows, n=n, itemsize=itemsize, passes=passes, least=1)
    require.choice(tuple(SOFTMAX_TRAFFIC), passes=passes)
    table = rows * n
    return Cost(5 * table, itemsize * table * SOFTMAX_TRAFFIC[passes])


def normalization_cost(rows: int, n: int, itemsize: int = 4) -> Cost:
    """Layer normalisation of each row, with a weight and a bias an element.

        7 r n operations,   s (2 r n + 2 n) bytes

    Args:
        rows: r, a number >= 1.
        n: elements of a row, a number >= 1.
        itemsize: s, bytes of an element, a number >= 1.

    Returns:
        `Cost`.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is below 1.
    """
    require.whole(rows=rows, n=n, itemsize=itemsize, least=1)
    return Cost(NORM_FLOPS * rows * n, itemsize * (2 * rows * n + 2 * n))


def embedding_cost(tokens: int, width: int, itemsize: int = 4) -> Cost:
    """Rows of a table, looked up: no arithmetic at all.

        0 operations,   t (8 + 2 s d) bytes

    Args:
        tokens: t numbers of rows, int64; a number >= 1.
        width: d elements of a row, a number >= 1.
        itemsize: s, bytes of an element, a number >= 1.

    Returns:
        `Cost`.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is below 1.
    """
    require.whole(tokens=tokens, width=width, itemsize=itemsize, least=1)
    return Cost(0, tokens * (INDEX + 2 * itemsize * width))


def convolution_cost(
    images: int,
    sizes: tuple[int, int],
    channels: tuple[int, int],
    kernel: int,
    itemsize: int = 4,
) -> Cost:
    """A convolution over square images.

        2 B M^2 C_out C_in F^2 operations,
        s (B N^2 C_in + C_out C_in F^2 + B M^2 C_out) bytes

    Args:
        images: B, a number >= 1.
        sizes: N of what goes in and M of what comes out (`output_size` of the
            chapter on convolution), two numbers >= 1.
        channels: C_in and C_out, two numbers >= 1.
        kernel: F, a number >= 1.
        itemsize: s, bytes of an element, a number >= 1.

    Returns:
        `Cost`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is below 1, or `sizes` or `channels` are not two.
    """
    require_pair(sizes=sizes, channels=channels)
    require.whole(images=images, kernel=kernel, itemsize=itemsize, least=1)
    (N, M), (read, made) = sizes, channels
    weights = read * made * kernel**2
    data = images * (N**2 * read + M**2 * made)
    return Cost(2 * images * M**2 * weights, itemsize * (data + weights))


def require_pair(**pairs: tuple[int, int]) -> None:
    """Refuse what is no pair of whole numbers of at least 1."""
    for name, pair in pairs.items():
        require.sequence(**{name: pair})
        if len(pair) != 2:
            raise ValueError(f"{name} must be two numbers, got {pair}")
        named = {f"{name}[{i}]": n for i, n in enumerate(pair)}
        require.whole(**named, least=1)
