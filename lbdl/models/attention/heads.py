"""Several heads side by side, heads that share keys and values, heads that talk.

Shazeer 2019, arXiv:1911.02150 (one head of keys and values for all queries);
Ainslie et al. 2023, arXiv:2305.13245 (one for each group); Shazeer et al. 2020,
arXiv:2003.02436.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lbdl import require
from lbdl.models.attention.cache import KeyValueCache
from lbdl.models.attention.scaled import (
    allowed,
    attention,
    attention_scores,
    attention_weights,
)

Rotary = Callable[[Tensor, int], Tensor]
Distances = Callable[[int, int], Tensor]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Vectors as `heads` shorter ones: (..., n, heads d) to (..., heads, n, d).

    Args:
        x: (..., n, heads d), any dtype.
        heads: >= 1, divides the width.

    Returns:
        A view (..., heads, n, d).

    Raises:
        TypeError: x is no tensor, or `heads` no whole number.
        ValueError: `heads` does not divide the width.
    """
    require.tensor(x=x)
    require.whole(heads=heads, least=1)
    require.shapes(x=(x, "... n w"))
    if x.shape[-1] % heads:
        raise ValueError(
            f"heads must divide the width {x.shape[-1]} of x, got {heads}"
        )
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def merge_heads(x: Tensor) -> Tensor:
    """The heads' results side by side: (..., heads, n, d) to (..., n, heads d).

    Args:
        x: (..., heads, n, d), any dtype.

    Returns:
        (..., n, heads d).

    Raises:
        TypeError: x is no tensor.
        ValueError: x has fewer than three dimensions, or one of size 0.
    """
    require.tensor(x=x)
    require.shapes(x=(x, "... heads n d"))
    return x.transpose(-3, -2).flatten(-2)


def grouped_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    bias: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Attention where groups of query heads share one head of keys and values.

        head h of q looks at head floor(h G / H) of k and v

    Keys and values are not repeated: the queries of a group stand below each other,
    as if they were more places. G = H is ordinary, G = 1 is multi-query attention.

    Args:
        q: queries (..., H, n, d), floating dtype.
        k: keys (..., G, m, d), dtype of `q`; G divides H.
        v: values (..., G, m, e), dtype of `q`.
        mask: bool, broadcasts to (..., H, n, m); true where allowed.
        bias: added to the scores, floating, broadcasts to (..., H, n, m).
        causal: as in `attention`.

    Returns:
        (..., H, n, e), dtype of `q`.

    Raises:
        TypeError: q, k, v are not floating tensors of one dtype, the mask is not
            bool,
            or the bias not floating.
        ValueError: shapes do not fit.

    Source: Ainslie et al. 2023, section 2.2, arXiv:2305.13245.
    """
    sizes = require.fitting(
        q=(q, "... H n d"), k=(k, "... G m d"), v=(v, "... G m e")
    )
    H, G, n, m = (sizes[letter] for letter in "HGnm")
    if H % G:
        raise ValueError(f"the heads of k must divide those of q, got {G} and {H}")
    rows = q.unflatten(-3, (G, H // G)).flatten(-3, -2)  # (..., G, H/G n, d)
    shape = torch.Size((*q.shape[:-1], m))
    mask = allowed(mask, shape, causal, q.device)
    if bias is not None:
        require.floating(bias=bias)
        require.broadcast_to(shape, bias=bias)
    mask, bias = (below_each_other(x, (H, n, m), G) for x in (mask, bias))
    found = attention(rows, k, v, mask, bias=bias)
    return found.unflatten(-2, (H // G, n)).flatten(-4, -3)


def below_each_other(
    x: Tensor | None, shape: tuple[int, int, int], groups: int
) -> Tensor | None:
    """What broadcasts to (..., H, n, m) as (..., G, H/G n, m): the heads of a group
    stand below each other."""
    if x is None:
        return None
    x = x.expand(torch.broadcast_shapes(x.shape, shape))
    return x.unflatten(-3, (groups, shape[0] // groups)).flatten(-3, -2)


def talking_heads_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    before: Tensor,
    after: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Attention whose heads mix their scores before softmax and their weights after
    it.

        s = before q k^T / sqrt(d),    w = after softmax(s),    result = w v

    Scores of one head have rank d at most; mixed over heads they can have H d.

    Args:
        q: queries (..., H, n, d), floating dtype.
        k: keys (..., H, m, d), dtype of `q`.
        v: values (..., H, m, e), dtype of `q`.
        before: (H, H), new head by old head, dtype of `q`.
        after: (H, H), new head by old head, dtype of `q`.
        mask: bool, broadcasts to (..., H, n, m); true where allowed.

    Returns:
        (..., H, n, e), dtype of `q`.

    Raises:
        TypeError: not floating tensors of one dtype, or the mask not bool.
        ValueError: shapes do not fit.

    Source: Shazeer et al. 2020, section 4, arXiv:2003.02436.
    """
    require.fitting(
        q=(q, "... H n d"),
        k=(k, "... H m d"),
        v=(v, "... H m e"),
        before=(before, "H H"),
        after=(after, "H H"),
    )
    scores = mix(require.widen(before), attention_scores(q, k))
    weights = mix(require.widen(after), attention_weights(scores, mask))
    return (weights @ require.widen(v)).to(q.dtype)


def mix(matrix: Tensor, x: Tensor) -> Tensor:
    """New heads out of old ones: (H, H) times (..., H, n, m)."""
    return (matrix @ x.flatten(-2)).unflatten(-1, x.shape[-2:])


class MultiHeadAttention(nn.Module):
    """Attention in `heads` subspaces at once, and a matrix that mixes what they
    found.

        head_h = attention(x Wq_h, c Wk_h, c Wv_h),    result = [head_1 ... head_H]
        Wo

    c is x itself (self-attention) or another sequence (cross-attention). With fewer
    `kv_heads` than heads, groups of heads share keys and values.

    Args:
        width: of the vectors, divisible by `heads`.
        heads: H >= 1.
        kv_heads: G >= 1, divides `heads`; by default `heads`.
        context_width: of the vectors of c; by default `width`.
        bias: whether the four matrices have biases.
        rotary: turns queries and keys (..., n, d) by their places, which begin at a
            whole number: `rotary(q, 0)`; by default they stay.
        distances: gives numbers (H, n, m) that are added to the scores,
            `distances(n, m)`; by default none are.

    Raises:
        TypeError: a size is no whole number; called with the wrong kind of thing.
        ValueError: a size is out of range; called with shapes that do not fit.

    Source: Vaswani et al. 2017, section 3.2.2, arXiv:1706.03762.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int | None = None,
        *,
        context_width: int | None = None,
        bias: bool = True,
        rotary: Rotary | None = None,
        distances: Distances | None = None,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        context_width = width if context_width is None else context_width
        require.whole(width=width, heads=heads, least=1)
        require.whole(kv_heads=kv_heads, context_width=context_width, least=1)
        if width % heads or heads % kv_heads:
            raise ValueError(
                f"heads must divide width, and kv_heads heads, "
                f"got {width}, {heads}, {kv_heads}"
            )
        self.heads, self.kv_heads = heads, kv_heads
        self.rotary, self.distances = rotary, distances
        shared = width // heads * kv_heads
        self.query = nn.Linear(width, width, bias)
        self.key = nn.Linear(context_width, shared, bias)
        self.value = nn.Linear(context_width, shared, bias)
        self.out = nn.Linear(width, width, bias)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """(B, n, width) to (B, n, width); `context` (B, m, context_width), a mask
        that broadcasts to (B, H, n, m). A cache holds what earlier places left, and
        takes up what these leave."""
        require.floating(x=x)
        require.shapes(x=(x, "B n width"))
        context = x if context is None else context
        q = split_heads(self.query(x), self.heads)
        k = split_heads(self.key(context), self.kv_heads)
        v = split_heads(self.value(context), self.kv_heads)
        if self.rotary is not None:
            start = 0 if cache is None else cache.length
            q, k = self.rotary(q, start), self.rotary(k, start)
        if cache is not None:
            k, v = cache.append(k, v)
        bias = None
        if self.distances is not None:
            bias = self.distances(q.shape[-2], k.shape[-2])
        found = grouped_attention(q, k, v, mask, bias=bias, causal=causal)
        return self.out(merge_heads(found))
