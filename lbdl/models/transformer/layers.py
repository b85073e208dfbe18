"""The layers of a transformer, put together of parts: attention, a small network,
norms.

Each branch is added to what was there, with a norm after the sum (as in 2017) or
before the branch (as since 2019). Which attention, which small network and which
norm a layer has is said by handing it over.

Vaswani et al. 2017, section 3.1, arXiv:1706.03762; Xiong et al. 2020,
arXiv:2002.04745.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lbdl import require
from lbdl.models.attention import KeyValueCache, MultiHeadAttention

Branch = Callable[[Tensor], Tensor]
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class FeedForward(nn.Module):
    """A network with one hidden layer, for each place on its own.

        f(x) = V a(W x + b) + c

    Args:
        width: of the vectors, >= 1.
        hidden: units, >= 1; by default 4 times the width.
        activation: a, "relu", "gelu" or "silu".

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1, or `activation` another name.

    Source: Vaswani et al. 2017, section 3.3, arXiv:1706.03762.
    """

    def __init__(
        self, width: int, hidden: int | None = None, activation: str = "relu"
    ) -> None:
        super().__init__()
        hidden = 4 * width if hidden is None else hidden
        require.whole(width=width, hidden=hidden, least=1)
        require.choice(tuple(ACTIVATIONS), activation=activation)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., width)."""
        return self.down(self.activation(self.up(x)))


class Residual(nn.Module):
    """A branch beside what was there, and a norm.

        norm first:   x + f(norm(x))          norm last:   norm(x + f(x))

    Args:
        width: of the vectors, >= 1.
        norm_first: whether the norm stands before the branch.
        dropout: share of the branch's output that is dropped in training, in [0,
            1).
        norm: makes the norm of a width.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: Xiong et al. 2020, arXiv:2002.04745.
    """

    def __init__(
        self,
        width: int,
        norm_first: bool = False,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        require.whole(width=width, least=1)
        require.number(dropout=dropout, least=0, below=1)
        require.function(norm=norm)
        self.norm, self.norm_first = norm(width), norm_first
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        """(..., width) to (..., width)."""
        if self.norm_first:
            return x + self.dropout(branch(self.norm(x)))
        return self.norm(x + self.dropout(branch(x)))


class EncoderLayer(nn.Module):
    """A layer that looks around, then thinks.

        x <- around(x, attention),   x <- around(x, feed)

    With `causal=True` in its call it looks back only: the layer of a language
    model.

    Args:
        attention: of one width.
        feed: a network on vectors of that width; by default `FeedForward`.
        norm_first: as in `Residual`.
        dropout: as in `Residual`.
        norm: as in `Residual`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: Vaswani et al. 2017, section 3.1, arXiv:1706.03762.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed: nn.Module | None = None,
        *,
        norm_first: bool = False,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        require.instance(MultiHeadAttention, attention=attention)
        width = attention.query.in_features
        self.attention = attention
        self.feed = FeedForward(width) if feed is None else feed
        self.around_attention = Residual(width, norm_first, dropout, norm)
        self.around_feed = Residual(width, norm_first, dropout, norm)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """(B, n, width) to (B, n, width); mask, causal and cache as of the
        attention.
        """

        def look(h: Tensor) -> Tensor:
            return self.attention(h, mask=mask, causal=causal, cache=cache)

        return self.around_feed(self.around_attention(x, look), self.feed)

    def copy_from_torch(self, layer: nn.TransformerEncoderLayer) -> "EncoderLayer":
        """Takes over the weights of torch's layer, and gives itself."""
        with torch.no_grad():
            for own, theirs in self.pairs(layer):
                own.copy_(theirs)
        return self

    def copy_to_torch(
        self, layer: nn.TransformerEncoderLayer
    ) -> nn.TransformerEncoderLayer:
        """Hands its weights over to torch's layer, and gives that."""
        with torch.no_grad():
            for own, theirs in self.pairs(layer):
                theirs.copy_(own)
        return layer

    def pairs(
        self, layer: nn.TransformerEncoderLayer
    ) -> Sequence[tuple[Tensor, Tensor]]:
        """Own weights and biases, and those of torch's layer that mean the same."""
        a, theirs = self.attention, layer.self_attn
        feed: Any = self.feed
        modules: list[tuple[Any, Any]] = [
            (a.out, theirs.out_proj),
            (feed.up, layer.linear1),
            (feed.down, layer.linear2),
            (self.around_attention.norm, layer.norm1),
            (self.around_feed.norm, layer.norm2),
        ]
        inner = (a.query, a.key, a.value)
        weights, biases = (
            p.chunk(3) for p in (theirs.in_proj_weight, theirs.in_proj_bias)
        )
        return [
            *((own.weight, w) for own, w in zip(inner, weights, strict=True)),
            *((own.bias, b) for own, b in zip(inner, biases, strict=True)),
            *((m.weight, t.weight) for m, t in modules),
            *((m.bias, t.bias) for m, t in modules),
        ]


class DecoderLayer(nn.Module):
    """A layer that looks back, then at another sequence, then thinks.

        x <- around(x, attention, causal),   x <- around(x, cross),   x <- around(x,
        feed)

    Args:
        attention: of one width.
        cross: of that width, its context as wide as the other sequence.
        feed: a network on vectors of that width; by default `FeedForward`.
        norm_first: as in `Residual`.
        dropout: as in `Residual`.
        norm: as in `Residual`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.

    Source: Vaswani et al. 2017, section 3.1, arXiv:1706.03762.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        cross: MultiHeadAttention,
        feed: nn.Module | None = None,
        *,
        norm_first: bool = False,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        require.instance(MultiHeadAttention, attention=attention, cross=cross)
        width = attention.query.in_features
        self.attention, self.cross = attention, cross
        self.feed = FeedForward(width) if feed is None else feed
        self.around_attention = Residual(width, norm_first, dropout, norm)
        self.around_cross = Residual(width, norm_first, dropout, norm)
        self.around_feed = Residual(width, norm_first, dropout, norm)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        context_mask: Tensor | None = None,
        *,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """(B, n, width) and the other sequence (B, m, width), to (B, n, width)."""

        def look_back(h: Tensor) -> Tensor:
            return self.attention(h, causal=True, cache=cache)

        def look_across(h: Tensor) -> Tensor:
            return self.cross(h, context, context_mask)

        x = self.around_attention(x, look_back)
        x = self.around_cross(x, look_across)
        return self.around_feed(x, self.feed)
