"""Neural language models: a table of vectors for tokens, a function of the last
few, and a softmax.

`FixedContext` is the network that began it: the vectors of the last c tokens, side
by side, through one hidden layer. `CausalConvolution` stacks layers of it that look
further and further back. Both map tokens to logits for all places at once, row t
for the token after t, as the transformer `lbdl.models.transformer.GPT` does.

Bengio, Ducharme, Vincent & Jauvin 2003, "A Neural Probabilistic Language Model";
van den Oord et al. 2016, arXiv:1609.03499.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lbdl import require

__all__ = ["FixedContext", "CausalConvolution", "random_windows"]


class FixedContext(nn.Module):
    """The model of Bengio et al.: a hidden layer on the vectors of the last c
    tokens.

        logits_t = b + U tanh(d + H [e(x_{t-c+1}), ..., e(x_t)])

    Places before the start of the text have a vector of their own.

    Args:
        vocabulary: K >= 1.
        context: c >= 1.
        width: length of the vectors.
        hidden: units of the hidden layer.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1.

    Source: Bengio et al. 2003, section 2, without its direct connections.
    """

    def __init__(
        self, vocabulary: int, context: int, width: int, hidden: int
    ) -> None:
        super().__init__()
        require.whole(
            vocabulary=vocabulary,
            context=context,
            width=width,
            hidden=hidden,
            least=1,
        )
        self.context = context
        self.embedding = nn.Embedding(vocabulary, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.hidden = nn.Linear(context * width, hidden)
        self.readout = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, K) for tokens (B, T), int64."""
        return self.from_vectors(self.embedding(tokens))

    def from_vectors(self, vectors: Tensor) -> Tensor:
        """The same from the vectors of the tokens, (B, T, width) to (B, T, K)."""
        pad = self.start.expand(len(vectors), self.context - 1, -1)
        padded = torch.cat([pad, vectors], dim=1)  # (B, T + c - 1, width)
        # (B, T, c width), oldest first
        windows = padded.unfold(1, self.context, 1).mT.flatten(-2)
        return self.readout(torch.tanh(self.hidden(windows)))


class CausalConvolution(nn.Module):
    """Convolutions padded on the left only, with gaps that double from layer to
    layer.

        h_t <- h_t + relu(A h_{t-gap} + B h_t + b),
        gap = 1, 2, 4, ..., 2^(layers-1):    sees 2^layers tokens

    Args:
        vocabulary: K >= 1.
        width: channels.
        layers: number of layers >= 1.
        causal: false pads on both sides instead: a leak, to be caught.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1.

    Source: van den Oord et al. 2016, section 2.1, arXiv:1609.03499, without gates.
    """

    def __init__(
        self, vocabulary: int, width: int, layers: int, causal: bool = True
    ) -> None:
        super().__init__()
        require.whole(vocabulary=vocabulary, width=width, layers=layers, least=1)
        self.causal = causal
        self.embedding = nn.Embedding(vocabulary, width)
        size = 2 if causal else 3
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, size, dilation=2**i) for i in range(layers)
        )
        self.readout = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, K) for tokens (B, T), int64."""
        return self.from_vectors(self.embedding(tokens))

    def from_vectors(self, vectors: Tensor) -> Tensor:
        """The same from the vectors of the tokens, (B, T, width) to (B, T, K)."""
        h = vectors.mT  # (B, width, T)
        for i, layer in enumerate(self.layers):
            padded = F.pad(h, (2**i, 0) if self.causal else (2**i, 2**i))
            h = h + layer(padded).relu()
        return self.readout(h.mT)


def random_windows(
    tokens: Tensor,
    batch: int,
    length: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """A minibatch of pieces of a text, and what follows each of their tokens.

        x_b = tokens[s_b : s_b + T],    y_b = tokens[s_b + 1 : s_b + T + 1],
        s_b uniform

    Args:
        tokens: (N,), int64, N > T.
        batch: B >= 1.
        length: T >= 1.
        generator: source of randomness; draws on its own device, the CPU by
            default.

    Returns:
        Inputs and targets, both (B, T), on the device of the tokens.

    Raises:
        TypeError: `tokens` are not int64, or another argument is of the wrong kind.
        ValueError: the text is too short, or a number is out of range.
    """
    require.integer(tokens=tokens)
    require.whole(batch=batch, length=length, least=1)
    require.generator(generator=generator)
    if tokens.dim() != 1 or len(tokens) <= length:
        raise ValueError(
            f"tokens must be (N,) with N > {length}, got shape "
            f"{tuple(tokens.shape)}"
        )
    device = "cpu" if generator is None else generator.device
    starts = torch.randint(
        len(tokens) - length, (batch, 1), generator=generator, device=device
    )
    places = starts.to(tokens.device) + torch.arange(length, device=tokens.device)
    return tokens[places], tokens[places + 1]
