"""Keys and values of the places that were already read: what generation keeps, so
as not to read a text again.

It works because of causality: what a place leaves for later ones does not depend on
them.
"""

import torch
from torch import Tensor

from lbdl import require


class KeyValueCache:
    """Keys and values of up to `capacity` places, in one buffer that never moves.

    Without gradients: a cache is for generation.

    Args:
        batch: B >= 1.
        kv_heads: G >= 1.
        capacity: places, >= 1.
        head_width: d >= 1.
        dtype: floating; by default torch's.
        device: by default torch's.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1; more places come than there is room for.

    Source: Shazeer 2019, section 2.4, arXiv:1911.02150 (incremental decoding).
    """

    def __init__(
        self,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_width: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        require.whole(batch=batch, kv_heads=kv_heads, least=1)
        require.whole(capacity=capacity, head_width=head_width, least=1)
        shape = (2, batch, kv_heads, capacity, head_width)
        self.buffer = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Takes up keys and values (B, G, n, d) of the next n places; gives those
        of all places so far (B, G, length, d), as views."""
        require.floating(k=k, v=v)
        _, B, G, capacity, d = self.buffer.shape
        require.shapes(k=(k, f"{B} {G} n {d}"), v=(v, f"{B} {G} n {d}"))
        end = self.length + k.shape[-2]
        if end > capacity:
            raise ValueError(f"k must fit into {capacity} places, got place {end}")
        with torch.no_grad():
            self.buffer[0, :, :, self.length : end] = k
            self.buffer[1, :, :, self.length : end] = v
        self.length = end
        k, v = self.buffer[:, :, :, :end]
        return k, v

    def clear(self) -> None:
        """Forgets everything, and keeps the buffer."""
        self.length = 0

    @property
    def bytes(self) -> int:
        """What the buffer takes, full or not."""
        return self.buffer.nbytes


def cache_bytes(
    layers: int, kv_heads: int, head_width: int, length: int, itemsize: int = 2
) -> int:
    """What a model keeps for every text that it generates.

        2 L G d T bytes       (keys and values, layers, heads, width of a head,
        places)

    Args:
        layers: L, a number >= 1.
        kv_heads: G, a number >= 1.
        head_width: d, a number >= 1.
        length: T, a number >= 0.
        itemsize: bytes of an element, a number >= 1.

    Returns:
        The number of bytes.

    Raises:
        TypeError: an argument is no whole number.
        ValueError: an argument is out of range.

    Source: Shazeer 2019, section 2.4, arXiv:1911.02150.
    """
    require.whole(layers=layers, kv_heads=kv_heads, head_width=head_width, least=1)
    require.whole(itemsize=itemsize, least=1)
    require.whole(length=length, least=0)
    return 2 * layers * kv_heads * head_width * length * itemsize
