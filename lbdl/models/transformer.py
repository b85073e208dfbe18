"""The transformer: every place of a sequence chooses what to look at, then thinks
it over; layer upon layer.

A `Block` is attention and a small network, each added to what was there. A `GPT` is
a stack of blocks that may look back only, between a table of vectors for tokens and
a readout: it maps tokens to logits for all places at once, row t for the token
after t.

Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2019, "Language Models are
Unsupervised Multitask Learners", section 2.3 (the norm stands before each branch).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from lbdl import require

__all__ = ["Block", "GPT"]


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

    def forward(self, h: Tensor) -> Tensor:
        """(B, T, width) to (B, T, width)."""
        h = h + self.dropout(self.attend(self.norms[0](h)))
        return h + self.dropout(self.think(self.norms[1](h)))

    def attend(self, h: Tensor) -> Tensor:
        """Each place takes a mean over those it may see, weighted by how well their
        keys fit its query."""
        q, k, v = (
            self.qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (B, heads, T, d)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
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
    ) -> None:
        super().__init__()
        require.whole(
            vocabulary=vocabulary, context=context, layers=layers, least=1
        )
        require_heads(width, heads)
        self.context = context
        self.embedding = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.Sequential(
            *(Block(width, heads, causal, dropout) for _ in range(layers))
        )
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, vocabulary)
        self.apply(self.initialise)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, K) for tokens (B, T), int64, T <= context."""
        require_tokens(tokens, self.embedding.num_embeddings)
        return self.from_vectors(self.embedding(tokens))

    def from_vectors(self, vectors: Tensor) -> Tensor:
        """The same from the vectors of the tokens, (B, T, width) to (B, T, K)."""
        length = vectors.shape[1]
        if length > self.context:
            raise ValueError(
                f"tokens must be at most {self.context} a row, got {length}"
            )
        placed = vectors + self.places.weight[:length]
        return self.readout(self.norm(self.blocks(placed)))

    def initialise(self, part: nn.Module) -> None:
        """Small normal weights, no biases: at first all tokens are about equally
        likely."""
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


def require_heads(width: int, heads: int) -> None:
    """Refuse a width that does not divide into heads."""
    require.whole(width=width, heads=heads, least=1)
    if width % heads:
        raise ValueError(
            f"width must be divisible by heads, got {width} and {heads}"
        )


def require_tokens(tokens: Tensor, vocabulary: int) -> None:
    """Refuse what is not (B, T) of tokens; their values stay unread where a look
    would wait for a device."""
    require.integer(tokens=tokens)
    require.shapes(tokens=(tokens, "B T"))
    if tokens.device.type == "cpu":
        require.within(tokens=tokens, least=0, most=vocabulary - 1)
