"""How large should the vocabulary be? One language model, trained anew for every number of merges.

The same text, the same network but for its first and last layer, the same number of steps on the same number of tokens.
What is compared is bits per byte on text that was held out: losses per token of different vocabularies are not
comparable.
"""

import math
import os
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lbdl.core import data
from lbdl.core.training import in_evaluation, in_training, set_rates
from lbdl.foundations.autoregression import (
    NGram,
    bits_per_byte,
    kneser_ney_counts,
    modified_kneser_ney,
    random_windows,
    stream_log_probs,
)
from lbdl.foundations.tokenization import BPE, train_bpe
from lbdl.lab import Run, Steps, experiment
from lbdl.models.transformer import GPT

WARMUP = 50  # steps in which the learning rate rises
HELD_OUT = (
    46_500  # characters of the sources to judge by: a tenth of the help texts
)


def split_text(text: str, share: float = 0.9) -> tuple[str, str]:
    """The first part of a text to train on, and the rest to validate: cut at a place, not drawn at random.

        train = text[: share len(text)],    validation = the rest

    Pieces drawn at random would have neighbours in the other part that say much about them.

    Args:
        text: at least 2 characters.
        share: of the first part, in (0, 1).

    Returns:
        Both parts.

    Raises:
        ValueError: a part would be empty.

    Source: the usual split of language-model benchmarks, by document or by position.
    """
    cut = int(share * len(text))
    if not 0 < cut < len(text):
        raise ValueError(
            f"share must leave two parts, got {share} of {len(text)} characters"
        )
    return text[:cut], text[cut:]


def sources(length: int) -> str:
    """The modules of Python's own standard library, in the order of their names, one behind the other.

    Every Python carries them; they differ a little from one version to the next, and a result names its version.

    Args:
        length: at most so many characters, >= 1.

    Returns:
        The text, one string.

    Source: the standard library of Python, Python Software Foundation.
    """
    folder, text = Path(os.__file__).parent, ""
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages"}
    for file in sorted(folder.rglob("*.py")):
        if left_out.isdisjoint(file.relative_to(folder).parts):
            text += file.read_text(encoding="utf-8", errors="ignore")
        if len(text) >= length:
            break
    return text[:length]


def two_texts(text: str | int) -> tuple[str, str]:
    """To train on and to judge by: the help texts, "english", or so many characters of `sources`, the last of which
    are as many as of the help texts."""
    if isinstance(text, int):
        return split_text(sources(text), 1 - HELD_OUT / text)
    return split_text(data.english())


def counted(tokens: tuple[Tensor, Tensor], order: int, vocabulary: int) -> Tensor:
    """Log-probabilities of all but the first token of the second text by n-grams of the first, with modified
    Kneser-Ney smoothing."""
    levels = kneser_ney_counts(tokens[0], order, vocabulary)
    return NGram(levels, modified_kneser_ney).log_probs(tokens[1])[1:]


def no_better(bits: Tensor, patience: int) -> bool:
    """Whether the last `patience` of the measurements (t,) are all above an earlier one; 0 waits for ever."""
    if not 0 < patience < len(bits):
        return False
    return bool(bits[-patience:].min() >= bits[:-patience].min())


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """`cross_entropy` without its look at the targets, which would make the host wait for the device."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def factor(t: int, of: int) -> float:
    """Of the highest rate at step t: it rises for a moment, and falls along half a cosine."""
    return min((t + 1) / WARMUP, (1 + math.cos(math.pi * t / of)) / 2)


class Trial:
    """One training: a tokenizer, a network for its vocabulary, an optimizer, and the two texts as tokens."""

    def __init__(
        self,
        run: Run,
        tokenizer: BPE,
        texts: tuple[str, str],
        options: dict,
        batch: int,
    ) -> None:
        self.run, self.batch, self.window = run, batch, options["context"]
        self.texts = [
            torch.tensor(tokenizer.encode(text), device=run.device)
            for text in texts
        ]
        self.sizes = [len(text.encode()) for text in texts]
        self.vocabulary = len(tokenizer)
        self.model = GPT(len(tokenizer), **options).to(run.device)
        run.sharded(self.model, self.model.blocks)
        run.compiled(self.model)
        self.draw = run.generator(f"windows/{len(tokenizer)}")
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), weight_decay=0.1, betas=(0.9, 0.95)
        )
        # in which a GPU is fast
        lower = torch.bfloat16 if run.device.type == "cuda" else None
        self.take_step = Steps(
            self.model,
            token_loss,
            self.optimizer,
            autocast=lower,
            pieces=run.pieces,
        )

    def train(self, steps: range, of: int, rate: float) -> None:
        """Some steps out of `of`, with a rate that rises for a moment and falls along a cosine."""
        set_rates(self.optimizer, [rate])
        windows = (
            random_windows(self.texts[0], self.batch, self.window, self.draw)
            for _ in steps
        )
        with in_training(self.model):
            self.take_step.follow(windows, partial(factor, of=of), steps.start)

    def counted(self, order: int) -> float:
        """Bits per byte of the validation text by counting n-grams of the training text."""
        known, asked = (tokens.cpu() for tokens in self.texts)
        logs = counted((known, asked), order, self.vocabulary)
        return float(bits_per_byte(-logs.mean(), len(logs), self.sizes[1]))

    def bits(self, part: int) -> float:
        """Bits per byte of the training text (0), as much of it as there is validation text, or of the latter (1)."""
        share = min(1.0, self.sizes[1] / self.sizes[part])
        tokens = self.texts[part][: max(2, int(share * len(self.texts[part])))]
        with in_evaluation(self.model):
            logs = stream_log_probs(
                self.model, tokens, self.window, max(1, self.window // 2)
            )
        return float(
            bits_per_byte(
                -logs.mean(), len(logs), max(1, round(share * self.sizes[part]))
            )
        )


@experiment(
    "merges",
    chapter="foundations/tokenization",
    shows="bits per byte of a small language model, against the number of BPE merges of its tokenizer",
    small={
        "merges": [0, 64, 512],
        "options": {
            "context": 32,
            "width": 32,
            "layers": 1,
            "heads": 2,
            "dropout": 0.0,
        },
        "batch": 16,
        "steps": 80,
        "rate": 3e-3,
        "measured": 2,
    },
    cpu={
        "merges": [0, 32, 128, 512, 2048],
        "options": {
            "context": 64,
            "width": 64,
            "layers": 2,
            "heads": 4,
            "dropout": 0.0,
        },
        "batch": 16,
        "steps": 600,
        "rate": 3e-3,
        "measured": 4,
    },
    full={
        "merges": [0, 128, 512, 2048],
        "text": 4_000_000,
        "patience": 2,
        "order": 3,
        "options": {
            "context": 256,
            "width": 384,
            "layers": 6,
            "heads": 6,
            "dropout": 0.2,
        },
        "batch": 32,
        "steps": 1200,
        "rate": 1e-3,
        "measured": 12,
    },
    able=("processes", "compile", "shard", "pieces"),
)
def merges(
    run: Run,
    merges: list[int],
    options: dict,
    batch: int,
    steps: int,
    rate: float,
    measured: int,
    text: str | int = "english",
    patience: int = 0,
    order: int = 0,
) -> dict[str, Tensor]:
    """Bits per byte during the training of one GPT for each number of merges.

        bits (M, 2, measured): on training text and on validation text, after each part of the steps; NaN behind
        the point where a training was given up
        counted (M,): on validation text, by n-grams of the same tokens; only with an `order`

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        merges: M numbers of merges.
        options: of `GPT`: context, width, layers, heads, dropout.
        batch: windows a step.
        steps: of each training, a multiple of `measured`.
        rate: the highest learning rate.
        measured: how often bits per byte are measured, at even distances.
        text: "english", the help texts; or how many characters of Python's own sources.
        patience: a training is given up when so many measurements in a row are no better; 0: never.
        order: of the n-grams; 0: none are counted.

    Returns:
        The arrays named above; `tokens_per_byte` of the validation text and `parameters`, both (M,).

    Raises:
        ValueError: `steps` is no multiple of `measured`.

    Source: Sennrich, Haddow & Birch 2016, arXiv:1508.07909; Gao et al. 2020, arXiv:2101.00027 (bits per byte).
    """
    if steps % measured:
        raise ValueError(
            f"steps must be a multiple of measured, got {steps} and {measured}"
        )
    texts = two_texts(text)
    tokenizer = train_bpe(texts[0], max(merges))
    bits, density, parameters = torch.zeros(len(merges), 2, measured), [], []
    beside = []
    for row, count in enumerate(merges):
        trial = Trial(run, tokenizer.first(count), texts, options, batch)
        state = {"training": trial.take_step, "draw": trial.draw, "bits": bits}
        for chunk in run.chunks(measured, **state):
            if no_better(bits[row, 1, :chunk].nan_to_num(torch.inf), patience):
                bits[row, :, chunk] = torch.nan
                continue
            part = range(chunk * steps // measured, (chunk + 1) * steps // measured)
            trial.train(part, steps, rate)
            bits[row, :, chunk] = torch.tensor([trial.bits(0), trial.bits(1)])
        density.append(len(trial.texts[1]) / trial.sizes[1])
        parameters.append(sum(p.numel() for p in trial.model.parameters()))
        if order:
            beside.append(trial.counted(order))
    more = {"counted": torch.tensor(beside)} if order else {}
    return more | {
        "merges": torch.tensor(merges),
        "bits": bits,
        "tokens_per_byte": torch.tensor(density),
        "parameters": torch.tensor(parameters),
    }
