"""The heavy experiment on positions: a small language model, told the order of its
letters in six ways or not at all, reads texts longer than those of its training.

Press, Smith & Lewis 2022, arXiv:2108.12409; Chen et al. 2023, arXiv:2306.15595.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import log

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl.core import data
from lbdl.core.training import in_evaluation
from lbdl.foundations.autoregression import random_windows
from lbdl.foundations.schedules import cosine_restarts
from lbdl.lab import Run, Steps, experiment
from lbdl.models.attention import (
    MultiHeadAttention,
    grouped_attention,
    merge_heads,
    split_heads,
)
from lbdl.models.positions import (
    ALiBi,
    LearnedPositions,
    T5Bias,
    rope,
    sinusoidal,
    xpos,
)
from lbdl.models.transformer import EncoderLayer

__all__ = [
    "KINDS",
    "WAYS",
    "LetterModel",
    "TurnedAttention",
    "length_extrapolation",
]

KINDS = ("none", "sinusoidal", "learned", "T5", "ALiBi", "RoPE", "xPos")
WAYS = (*KINDS, "RoPE, squeezed")

Turn = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class TurnedAttention(MultiHeadAttention):
    """Causal attention whose queries and keys are changed by their places.

        q, k <- turn(q, k, p / squeeze),   p = 0, ..., n - 1

    Args:
        width: of the vectors, divisible by `heads`.
        heads: >= 1.
        turn: queries and keys (B, H, n, d) and places (n,), to queries and keys.
    """

    def __init__(self, width: int, heads: int, turn: Turn) -> None:
        super().__init__(width, heads)
        self.turn, self.squeeze = turn, 1.0

    def forward(self, x: Tensor, *_: object, **__: object) -> Tensor:
        """(B, n, width) to the same."""
        places = torch.arange(x.shape[1], device=x.device).double() / self.squeeze
        q, k, v = (
            split_heads(layer(x), self.heads)
            for layer in (self.query, self.key, self.value)
        )
        found = grouped_attention(*self.turn(q, k, places), v, causal=True)
        return self.out(merge_heads(found))


class LetterModel(nn.Module):
    """Predicts the next letter; which place a letter stands at, it is told in one
    of six ways, or not at all.

    Args:
        kind: one of `KINDS`.
        vocabulary: letters.
        width: of the vectors, divisible by `heads`.
        layers: >= 1.
        heads: >= 1.
        trained: places of a text in training.
        longest: places of the longest text ever.
    """

    def __init__(
        self,
        kind: str,
        vocabulary: int,
        width: int,
        layers: int,
        heads: int,
        trained: int,
        longest: int,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.embedding = nn.Embedding(vocabulary, width)
        half = trained // 2
        shared = T5Bias(heads, min(32, half), half, bidirectional=False)

        def look() -> MultiHeadAttention:
            if kind in ("RoPE", "xPos"):
                return TurnedAttention(width, heads, turn_of(kind, trained))
            bias = {"T5": shared, "ALiBi": ALiBi(heads)}.get(kind)
            return MultiHeadAttention(width, heads, distances=bias)

        self.layers = nn.ModuleList(
            EncoderLayer(look(), norm_first=True) for _ in range(layers)
        )
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, vocabulary)
        # last, so that all kinds draw the same weights
        self.table = LearnedPositions(longest, width) if kind == "learned" else None

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, n) to logits (B, n, K), row t for the letter after t."""
        h = self.embedding(tokens)
        if self.kind == "sinusoidal":
            places = torch.arange(h.shape[1], device=h.device).to(h.dtype)
            h = h + sinusoidal(places, h.shape[2])
        if self.table is not None:
            h = self.table(h)
        for layer in self.layers:
            h = layer(h, causal=True)
        return self.readout(self.norm(h))

    def squeeze(self, by: float) -> None:
        """Divides all places by a number, in every layer that turns."""
        for layer in self.layers:
            layer.attention.squeeze = by  # type: ignore[assignment]


def turn_of(kind: str, trained: int) -> Turn:
    """RoPE, or xPos that fades over half the places of the training."""
    if kind == "RoPE":
        return lambda q, k, p: (rope(q, p), rope(k, p))
    return lambda q, k, p: xpos(q, k, p - p[-1] / 2, scale_base=trained / 2)


def letters() -> tuple[Tensor, Tensor, int]:
    """The English text as numbers, nine tenths and the last tenth, and how many
    letters there are."""
    text = data.english().lower()
    alphabet = {c: i for i, c in enumerate(sorted(set(text)))}
    numbers = torch.tensor([alphabet[c] for c in text])
    cut = 9 * len(numbers) // 10
    return numbers[:cut], numbers[cut:], len(alphabet)


def letter_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy (nats) of logits (B, n, K)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def bits(model: LetterModel, pieces: Tensor, n: int, judged: int) -> float:
    """Bits a letter on the last `judged` letters of pieces, of which the model
    reads the last n before the end."""
    x, y = pieces[:, -n - 1 : -1], pieces[:, -judged:]
    with in_evaluation(model), torch.no_grad():
        logits = torch.cat([model(part)[:, -judged:] for part in x.split(16)])
        return float(letter_loss(logits, y)) / log(2)


@experiment(
    "length_extrapolation",
    chapter="models/positions",
    shows="how well a model reads texts longer than those of its training, for each way of telling it the places",
    small={"trained": 8, "times": [1, 2], "width": 16, "layers": 1,
        "heads": 2, "steps": 6, "batch": 8, "pieces": 4, "lr": 0.003, "seeds": 1},
    cpu={"trained": 32, "times": [1, 2, 4, 8], "width": 64, "layers": 1,
        "heads": 4, "steps": 160, "batch": 16, "pieces": 32, "lr": 0.005, "seeds": 3},
    full={"trained": 256, "times": [1, 2, 4], "width": 256, "layers": 4,
        "heads": 8, "steps": 400, "batch": 32, "pieces": 40, "lr": 0.001, "seeds": 1},
    able=("processes",),
)  # fmt: skip
def length_extrapolation(
    run: Run,
    trained: int,
    times: list[int],
    width: int,
    layers: int,
    heads: int,
    steps: int,
    batch: int,
    pieces: int,
    lr: float,
    seeds: int,
) -> dict[str, Tensor]:
    """Bits a letter against the length of the text that is read.

        bits (ways, lengths, seeds): in the order of WAYS; always on the same letters,
        the last trained / 2 of each piece, with ever more text before them

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        trained: letters of a text in training.
        times: lengths of the texts read, as multiples of `trained`.
        width: of the vectors.
        layers: of the model.
        heads: of each layer.
        steps: of Adam.
        batch: texts a step.
        pieces: of the held-out text, spread evenly over it.
        lr: highest learning rate; it falls along a cosine.
        seeds: trainings of each kind; first weights and texts are the same for all kinds.

    Returns:
        The array named above, and `lengths`.

    Source: Press, Smith & Lewis 2022, figure 1, arXiv:2108.12409.
    """
    train, test, vocabulary = letters()
    train, longest = train.to(run.device), trained * max(times)
    starts = torch.linspace(0, len(test) - longest - 1, pieces).long()
    held = test[starts[:, None] + torch.arange(longest + 1)].to(run.device)
    found = torch.zeros(len(WAYS), len(times), seeds)
    for cell in run.chunks(len(KINDS) * seeds, found=found):
        kind, seed = KINDS[cell // seeds], cell % seeds
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.generator(f"weights/{seed}").initial_seed())
            model = LetterModel(
                kind, vocabulary, width, layers, heads, trained, longest
            ).to(run.device)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        texts = windows(
            train, steps, batch, trained, run.generator(f"texts/{seed}")
        )
        fall = partial(cosine_restarts, cycle=steps)
        Steps(model, letter_loss, optimizer).follow(texts, fall)
        for at, t in enumerate(times):
            n, half = t * trained, trained // 2
            found[KINDS.index(kind), at, seed] = bits(model, held, n, half)
            if kind == "RoPE":
                model.squeeze(t)
                found[-1, at, seed] = bits(model, held, n, half)
                model.squeeze(1)
    return {"bits": found, "lengths": trained * torch.tensor(times)}


def windows(
    tokens: Tensor, steps: int, batch: int, length: int, draw: Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """New pieces of the text for each step."""
    for _ in range(steps):
        yield random_windows(tokens, batch, length, draw)
