"""GPT: a stack of blocks that may look back only, between a table of vectors for
tokens and a readout.

It maps tokens to logits for all places at once, row t for the token after t;
writing on, it keeps keys and values of what it has read.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section
2.3 (the norm stands before each branch).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl import require
from lbdl.foundations.autoregression import restrict, sample
from lbdl.models.attention import KeyValueCache, causal_mask


class Block(nn.Module):
    """One layer of a transformer: look around, then think, each added to what was
    there.

        h <- h + attention(norm(h)),    h <- h + mlp(norm(h))

    Args:
        width: of the vectors, divisible by `heads`.
        heads: number of attention heads, >= 1.
        causal: false lets every place see all others: a leak, to be caught.
        dropout: share of each branch's output that is dropped in training, in [0,
            1).

    Raises:
        TypeError: a size is no whole number, or `dropout` no number.
        ValueError: a number is out of range, or `width` is not divisible by
            `heads`.

    Source: Radford et al. 2019, section 2.3; Vaswani et al. 2017, arXiv:1706.03762.
    """

    def __init__(
        self, width: int, heads: int, causal: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        require_heads(width, heads)
        require.number(dropout=dropout, least=0, below=1)
        self.heads, self.causal = heads, causal
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """(B, T, width) to (B, T, width); a cache holds what earlier places
        left.
        """
        h = h + self.dropout(self.attend(self.norms[0](h), cache))
        return h + self.dropout(self.think(self.norms[1](h)))

    def attend(self, h: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Each place takes a mean over those it may see, weighted by how well their
        keys fit its query."""
        q, k, v = (
            self.qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (B, heads, T, d)
        if cache is None:
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            k, v = cache.append(k, v)
            n, m = q.shape[-2], k.shape[-2]
            mask = None if n == 1 else causal_mask(n, m, device=q.device)
            seen = F.scaled_dot_product_attention(q, k, v, mask)
        return self.out(seen.transpose(1, 2).flatten(-2))

    def think(self, h: Tensor) -> Tensor:
        """One hidden layer, four times as wide, for each place on its own."""
        return self.down(F.gelu(self.up(h)))


class GPT(nn.Module):
    """A transformer that predicts the next token: vectors of tokens and of places,
    blocks, a readout.

        logits = readout(norm(block(... block(e(x) + position))))

    Args:
        vocabulary: K >= 1.
        context: the longest input, >= 1.
        width: of the vectors, divisible by `heads`.
        layers: number of blocks, >= 1.
        heads: attention heads of each block, >= 1.
        causal: false lets every place see all others: a leak, to be caught.
        dropout: share of each branch's output that is dropped in training, in [0,
            1).
        tied: whether the readout is the table of the tokens' vectors itself.

    Raises:
        TypeError: a size is no whole number, `dropout` no number; called with
            tokens that are not int64.
        ValueError: a number is out of range, or `width` is not divisible by
            `heads`; called with tokens that are not (B, T) with T <= `context`, or
            (looked at on the CPU only) not numbers of the vocabulary.

    Source: Radford et al. 2019, section 2.3; Vaswani et al. 2017, arXiv:1706.03762.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        width: int,
        layers: int = 1,
        heads: int = 4,
        causal: bool = True,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        super().__init__()
        require.whole(
            vocabulary=vocabulary, context=context, layers=layers, least=1
        )
        require_heads(width, heads)
        self.context, self.heads = context, heads
        self.embedding = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.Sequential(
            *(Block(width, heads, causal, dropout) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, vocabulary, bias=not tied)
        self.apply(self.initialise)
        if tied:
            self.readout.weight = self.embedding.weight

    def forward(
        self, tokens: Tensor, caches: list[KeyValueCache] | None = None
    ) -> Tensor:
        """Logits (B, T, K) for tokens (B, T), int64. With `caches`, of
        `new_caches`, these are the tokens after those that were read before. T <=
        context in all."""
        require_tokens(tokens, self.embedding.num_embeddings)
        return self.from_vectors(self.embedding(tokens), caches)

    def from_vectors(
        self, vectors: Tensor, caches: list[KeyValueCache] | None = None
    ) -> Tensor:
        """The same from the vectors of the tokens, (B, T, width) to (B, T, K)."""
        start = caches[0].length if caches else 0
        end = start + vectors.shape[1]
        if end > self.context:
            raise ValueError(
                f"tokens must be at most {self.context} a row, got {end}"
            )
        h = vectors + self.places.weight[start:end]
        for block, cache in zip(self.blocks, caches or self.none(), strict=True):
            h = block(h, cache)
        return self.readout(self.norm(h))

    def none(self) -> list[None]:
        """No cache for any block."""
        return [None] * len(self.blocks)

    def new_caches(self, batch: int) -> list[KeyValueCache]:
        """An empty cache for each block, for a number of texts."""
        table = self.embedding.weight
        size = table.shape[1] // self.heads
        how: Any = {"dtype": table.dtype, "device": table.device}
        return [
            KeyValueCache(batch, self.heads, self.context, size, **how)
            for _ in self.blocks
        ]

    def initialise(self, part: nn.Module) -> None:
        """Small normal weights, no biases: at first all tokens are about equally
        likely."""
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


def write_on(
    model: GPT,
    prompt: Tensor,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws a token, reads it, draws the next: no token is read twice.

        x_{t+1} ~ restrict(model(x_t, cache of x_1 ... x_{t-1}))

    The same texts as `lbdl.foundations.autoregression.generate`, which reads all of
    it again for every token, as long as prompt and continuation fit the context.

    Args:
        model: in evaluation mode.
        prompt: (B, T), int64, T >= 1.
        length: tokens to write, >= 0, T + length <= context.
        temperature: as in `restrict`.
        top_k: as in `restrict`.
        top_p: as in `restrict`.
        generator: draws the tokens, on the device of the logits; by default
            torch's.

    Returns:
        Prompt and continuation (B, T + length), int64, without a graph.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: an argument is out of range, or the text does not fit the
            context.

    Source: Shazeer 2019, section 2.4, arXiv:1911.02150.
    """
    require.instance(GPT, model=model)
    require_tokens(prompt, model.embedding.num_embeddings, "prompt")
    require.whole(length=length, least=0)
    if prompt.shape[1] + length > model.context:
        raise ValueError(
            f"length must keep the text within {model.context} tokens, "
            f"got {length} after {prompt.shape[1]}"
        )
    caches, tokens, new = model.new_caches(len(prompt)), prompt, prompt
    with torch.no_grad():
        for _ in range(length):
            logits = restrict(model(new, caches)[:, -1], temperature, top_k, top_p)
            new = sample(logits, generator).unsqueeze(-1)
            tokens = torch.cat([tokens, new], -1)
    return tokens


def require_heads(width: int, heads: int) -> None:
    """Refuse a width that does not divide into heads."""
    require.whole(width=width, heads=heads, least=1)
    if width % heads:
        raise ValueError(
            f"width must be divisible by heads, got {width} and {heads}"
        )


def require_tokens(tokens: Tensor, vocabulary: int, name: str = "tokens") -> None:
    """Refuse what is not (B, T) of tokens; their values stay unread where a look
    would wait for a device."""
    require.integer(**{name: tokens})
    require.shapes(**{name: (tokens, "B T")})  # type: ignore[arg-type]
    if tokens.device.type == "cpu":
        bounds = {"least": 0, "most": vocabulary - 1}
        require.within(**bounds, **{name: tokens})  # type: ignore[arg-type]
