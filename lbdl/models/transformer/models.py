"""Whole transformers: of the paper, which reads one sequence and writes another,
and of pictures.

Vaswani et al. 2017, arXiv:1706.03762; Dosovitskiy et al. 2021, arXiv:2010.11929.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lbdl import require
from lbdl.models.attention import KeyValueCache, MultiHeadAttention
from lbdl.models.positions import LearnedPositions, sinusoidal
from lbdl.models.transformer.layers import DecoderLayer, EncoderLayer, FeedForward


class EncoderDecoder(nn.Module):
    """The transformer of 2017: an encoder reads, a decoder writes.

        context = encoder(sqrt(d) e(source) + p),
        logits = decoder(sqrt(d) e(target) + p, context) e^T

    One table e of vectors serves both sequences and the readout; p are sinusoidal.

    Args:
        vocabulary: K >= 1, of both sequences.
        width: d, even, divisible by `heads`.
        heads: >= 1.
        layers: of the encoder and of the decoder, >= 1.
        hidden: units of the small networks, >= 1; by default 4 d.
        norm_first: whether norms stand before the branches; then each stack ends
            with
            one.
        dropout: share that is dropped in training, in [0, 1).

    Raises:
        TypeError: a size is no whole number, or `dropout` no number; called with
            tokens
            that are not int64.
        ValueError: a number is out of range; called with shapes that do not fit.

    Source: Vaswani et al. 2017, arXiv:1706.03762.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        heads: int = 4,
        layers: int = 2,
        hidden: int | None = None,
        *,
        norm_first: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require.whole(vocabulary=vocabulary, layers=layers, least=1)
        require.whole(width=width, heads=heads, least=1)
        how: Any = {"norm_first": norm_first, "dropout": dropout}

        def attention() -> MultiHeadAttention:
            return MultiHeadAttention(width, heads)

        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.encoder = nn.ModuleList(
            EncoderLayer(attention(), FeedForward(width, hidden), **how)
            for _ in range(layers)
        )
        self.decoder = nn.ModuleList(
            DecoderLayer(
                attention(), attention(), FeedForward(width, hidden), **how
            )
            for _ in range(layers)
        )
        ends = [
            nn.LayerNorm(width) if norm_first else nn.Identity() for _ in range(2)
        ]
        self.encoder_norm, self.decoder_norm = ends

    def placed(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Vectors (B, T, d) of tokens (B, T), with their places."""
        require.integer(tokens=tokens)
        require.shapes(tokens=(tokens, "B T"))
        vectors = self.embedding(tokens)
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        width = vectors.shape[-1]
        # places as doubles: bfloat16 has no number 301
        told = sinusoidal(places.double(), width).to(vectors.dtype)
        return width**0.5 * vectors + told

    def read(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, m) to vectors (B, m, d); the mask as of `padding_mask`."""
        h = self.placed(source)
        for layer in self.encoder:
            h = layer(h, mask)
        return self.encoder_norm(h)

    def write(
        self,
        target: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        caches: list[KeyValueCache] | None = None,
    ) -> Tensor:
        """Tokens (B, n) to logits (B, n, K), given what was read; row t for the
        token after t."""
        start = 0 if caches is None else caches[0].length
        h = self.placed(target, start)
        kept: list[Any] = [*caches] if caches else [None] * len(self.decoder)
        for layer, cache in zip(self.decoder, kept, strict=True):
            h = layer(h, context, mask, cache=cache)
        return self.decoder_norm(h) @ self.embedding.weight.T

    def forward(
        self, source: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Tokens (B, m) and (B, n) to logits (B, n, K)."""
        return self.write(target, self.read(source, mask), mask)


def patches(images: Tensor, size: int) -> Tensor:
    """Pictures cut into squares, each a vector: row by row, and in a square channel
    by channel.

    Args:
        images: (B, C, H, W), any dtype.
        size: side of a square, >= 1, divides H and W.

    Returns:
        (B, H W / size^2, C size^2), dtype of `images`.

    Raises:
        TypeError: `images` is no tensor, or `size` no whole number.
        ValueError: shapes do not fit.

    Source: Dosovitskiy et al. 2021, section 3.1, arXiv:2010.11929.
    """
    require.tensor(images=images)
    require.whole(size=size, least=1)
    require.shapes(images=(images, "B C H W"))
    if images.shape[-2] % size or images.shape[-1] % size:
        raise ValueError(f"size must divide {tuple(images.shape[-2:])}, got {size}")
    rows = images.unflatten(-1, (-1, size)).unflatten(-3, (-1, size))
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(1, 2).flatten(2)


class VisionTransformer(nn.Module):
    """Pictures as texts: squares are the words, and one more place collects what
    they say.

        logits = V norm(layers([class, W patches] + p))_0 + b

    Args:
        side: pixels along each side, >= 1, divisible by `patch`.
        patch: side of a square, >= 1.
        classes: K >= 1.
        width: of the vectors, divisible by `heads`.
        heads: >= 1.
        layers: >= 1.
        channels: C >= 1.
        dropout: share that is dropped in training, in [0, 1).

    Raises:
        TypeError: a size is no whole number, or `dropout` no number.
        ValueError: a number is out of range; called with shapes that do not fit.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929.
    """

    def __init__(
        self,
        side: int,
        patch: int,
        classes: int,
        width: int,
        heads: int = 4,
        layers: int = 2,
        channels: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require.whole(
            side=side, patch=patch, classes=classes, layers=layers, least=1
        )
        require.whole(channels=channels, width=width, heads=heads, least=1)
        if side % patch:
            raise ValueError(f"patch must divide side, got {patch} and {side}")
        self.patch, self.channels, self.side = patch, channels, side
        self.embedding = nn.Linear(channels * patch**2, width)
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.places = LearnedPositions((side // patch) ** 2 + 1, width)
        self.layers = nn.ModuleList(
            EncoderLayer(
                MultiHeadAttention(width, heads),
                FeedForward(width, activation="gelu"),
                norm_first=True,
                dropout=dropout,
            )
            for _ in range(layers)
        )
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, side, side) to logits (B, K)."""
        side = self.side
        require.shapes(images=(images, f"B {self.channels} {side} {side}"))
        squares = self.embedding(patches(images, self.patch))
        h = torch.cat([self.summary.expand(len(images), -1, -1), squares], 1)
        h = self.places(h)
        for layer in self.layers:
            h = layer(h)
        return self.readout(self.norm(h[:, 0]))


def greedy(
    model: EncoderDecoder, source: Tensor, first: int, length: int
) -> Tensor:
    """What an encoder-decoder writes if it takes the likeliest token each time,
    with a cache.

        y_t = argmax_k logits_k(source, first y_1 ... y_{t-1})

    Args:
        model: in evaluation mode.
        source: tokens (B, m), int64.
        first: the token that begins every answer, >= 0.
        length: tokens to write, >= 1.

    Returns:
        (B, length), int64.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: a number is out of range.
    """
    require.instance(EncoderDecoder, model=model)
    require.integer(source=source)
    require.shapes(source=(source, "B m"))
    require.whole(first=first, least=0)
    require.whole(length=length, least=1)
    with torch.no_grad():
        context = model.read(source)
        caches = [
            new_cache(layer, len(source), length, context)
            for layer in model.decoder
        ]
        tokens = [torch.full_like(source[:, :1], first)]
        for _ in range(length):
            logits = model.write(tokens[-1], context, caches=caches)
            tokens.append(logits.argmax(-1))
    return torch.cat(tokens[1:], 1)


def new_cache(layer: Any, batch: int, capacity: int, like: Tensor) -> KeyValueCache:
    """An empty cache for the attention of a layer, dtype and device of a tensor."""
    heads, width = layer.attention.kv_heads, layer.attention.query.out_features
    size = width // layer.attention.heads
    how: Any = {"dtype": like.dtype, "device": like.device}
    return KeyValueCache(batch, heads, capacity, size, **how)
