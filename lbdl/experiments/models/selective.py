"""The heavy experiments on selective state spaces and their kin: pixels read one by
one, and copying that needs selection.

Gu, Goel & Ré 2022, arXiv:2111.00396, section 4.2; Gu & Dao 2023, arXiv:2312.00752,
section 4.1.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl.core import data
from lbdl.core.training import accuracy, forever
from lbdl.lab import Run, Steps, experiment
from lbdl.models.s4 import S4D, SequenceModel
from lbdl.models.selective import SelectiveSSM
from lbdl.models.transformer import Block

__all__ = [
    "KINDS", "SETS", "TASKS", "SmallLSTM", "SmallTransformer", "model_of",
    "pixel_sequences", "selective_copying", "to_copy", "widest",
]  # fmt: skip

# --- The models -------------------------------------------------------------------


def state_space(layer: Any, inputs: int, outputs: int, width: int) -> SequenceModel:
    """Two gated blocks around a layer over time."""
    return SequenceModel(inputs, outputs, [layer(width) for _ in range(2)], width)


class SmallLSTM(nn.Module):
    """torch's LSTM, and a linear layer on what it shows after every step."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(inputs, width, batch_first=True)
        self.leave = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, inputs) to (B, L, outputs)."""
        return self.leave(self.layer(x)[0])


class SmallTransformer(nn.Module):
    """Two blocks with two heads in which every place sees all, learned vectors for
    the places."""

    def __init__(
        self, inputs: int, outputs: int, width: int, longest: int = 64
    ) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.places = nn.Parameter(torch.randn(longest, width) * 0.1)
        self.blocks = nn.Sequential(*(Block(width, 2, causal=False) for _ in "12"))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, inputs) to (B, L, outputs)."""
        x = self.enter(x) + self.places[: x.shape[1]]
        return self.leave(self.norm(self.blocks(x)))


MAKERS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "S4D": lambda i, o, width: state_space(lambda w: S4D(w, 32), i, o, width),
    "selective": lambda i, o, width: state_space(
        lambda w: SelectiveSSM(w, 16, 2), i, o, width
    ),
    "LSTM": SmallLSTM,
    "transformer": SmallTransformer,
}
KINDS = tuple(MAKERS)


def model_of(
    run: Run, name: str, kind: str, inputs: int, outputs: int, weights: int
) -> nn.Module:
    """The widest model of a kind with at most so many weights, on the run's device."""
    width = widest(kind, inputs, outputs, weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.generator(f"weights/{name}").initial_seed())
        return MAKERS[kind](inputs, outputs, width).to(run.device)


def widest(kind: str, inputs: int, outputs: int, weights: int) -> int:
    """The largest even width of at most so many weights; 2 at least."""
    width = 2
    while count(MAKERS[kind](inputs, outputs, width + 2)) <= weights:
        width += 2
    return width


def count(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters())


def fit(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Iterator[tuple[Tensor, Tensor]],
    steps: int,
    lr: float,
) -> None:
    """So many steps of Adam, at a rate that falls to 0 along a line."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    limited = (batch for _, batch in zip(range(steps), batches, strict=False))
    Steps(model, loss, optimizer).follow(limited, lambda t: 1 - t / steps)


# --- Pixels one by one ------------------------------------------------------------

SETS = {"digits": data.digits, "mnist1d": data.mnist1d}


class Answer(nn.Module):
    """Classes (B, K) of sequences (B, L): the scores after the last element, or of the
    transformer, whose places all see everything, their mean."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        scores = self.model(x.unsqueeze(-1))
        sees_all = isinstance(self.model, SmallTransformer)
        return scores.mean(1) if sees_all else scores[:, -1]


@experiment(
    "pixel_sequences",
    chapter="models/selective",
    shows="digits read pixel by pixel: state spaces, an LSTM and a transformer of one size",
    small={
        "sets": ["digits", "mnist1d"], "weights": 1500, "rates": [0.01], "seeds": 1,
        "steps": 12, "batch": 16,
    },
    cpu={
        "sets": ["digits"], "weights": 3000, "rates": [0.01], "seeds": 3,
        "steps": 300, "batch": 16,
    },
    full={
        "sets": ["digits", "mnist1d"], "weights": 100000, "rates": [0.003],
        "seeds": 2, "steps": 600, "batch": 128,
    },
)  # fmt: skip
def pixel_sequences(
    run: Run,
    sets: list[str],
    weights: int,
    rates: list[float],
    seeds: int,
    steps: int,
    batch: int,
) -> dict[str, Tensor]:
    """Accuracy on digits read as sequences, for set x kind x rate x seed.

        validation, test (sets, 4, rates, seeds): shares of right answers

    in the order of `sets` and of `KINDS`. State spaces and the LSTM answer after the
    last element; the transformer sees all at once, and answers by its mean.

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        sets: keys of `SETS`: 8 x 8 pixels row by row, the curves of MNIST-1D.
        weights: the most that a model may have; each is as wide as that allows.
        rates: of Adam at the start; they fall to 0 along a line.
        seeds: trainings of each kind.
        steps: of Adam.
        batch: examples a step.

    Returns:
        The arrays named above, `rates`, and `parameters` (4,), the weights of each
        kind.

    Source: Gu, Goel & Ré 2022, section 4.2, arXiv:2111.00396, in small.
    """
    found = torch.zeros(2, len(sets), len(KINDS), len(rates), seeds)
    splits = [SETS[name]().to(run.device) for name in sets]
    for cell in run.chunks(found[0].numel(), found=found):
        i, j, r, seed = (
            int(n) for n in torch.unravel_index(torch.tensor(cell), found.shape[1:])
        )
        model = Answer(
            model_of(run, f"{KINDS[j]}/{seed}", KINDS[j], 1, 10, weights)
        )
        order = run.generator(f"order/{seed}")
        batches = forever(splits[i].train, batch, order, drop_last=True)
        fit(model, F.cross_entropy, batches, steps, rates[r])
        found[0, i, j, r, seed] = accuracy(model, splits[i].validation)
        found[1, i, j, r, seed] = accuracy(model, splits[i].test)
    sizes = [count(MAKERS[k](1, 10, widest(k, 1, 10, weights))) for k in KINDS]
    return {
        "validation": found[0],
        "test": found[1],
        "rates": torch.tensor(rates),
        "parameters": torch.tensor(sizes),
    }


# --- Copying that needs selection -------------------------------------------------

TASKS = ("fixed", "random")


def to_copy(
    batch: int, span: int, tokens: int, alphabet: int, task: str, draw: Generator
) -> tuple[Tensor, Tensor]:
    """Lists with some tokens among blanks, then as many calls to repeat them.

    Args:
        batch: B lists.
        span: places before the calls.
        tokens: how many there are.
        alphabet: K, of which they are drawn.
        task: "fixed" puts them first, in every list; "random" at places of each
            list's own.
        draw: source of randomness.

    Returns:
        x (B, span + tokens, K + 2), one-hot: letters, blank, call; and the tokens in
        order, (B, tokens), int64.
    """
    wanted = torch.randint(alphabet, (batch, tokens), generator=draw)
    keys = torch.rand(batch, span, generator=draw)
    places = keys.argsort(1)[:, :tokens].sort(1).values
    if task == "fixed":
        places = torch.arange(tokens).expand(batch, -1)
    symbols = torch.full((batch, span + tokens), alphabet)
    symbols[:, span:] = alphabet + 1
    symbols.scatter_(1, places, wanted)
    return F.one_hot(symbols, alphabet + 2).float(), wanted


def at_calls(scores: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of what is said at the calls, the last places."""
    said = scores[:, -wanted.shape[1] :]
    return F.cross_entropy(said.flatten(0, 1), wanted.flatten())


@experiment(
    "selective_copying",
    chapter="models/selective",
    shows="which layer can copy tokens at places that it knows, and at places that it must choose",
    small={
        "span": 8, "tokens": 2, "alphabet": 4, "weights": 1500, "seeds": 1,
        "steps": 12, "batch": 16, "lr": 0.01,
    },
    cpu={
        "span": 20, "tokens": 3, "alphabet": 8, "weights": 3000, "seeds": 3,
        "steps": 320, "batch": 16, "lr": 0.01,
    },
    full={
        "span": 240, "tokens": 16, "alphabet": 16, "weights": 100000, "seeds": 2,
        "steps": 800, "batch": 64, "lr": 0.003,
    },
)  # fmt: skip
def selective_copying(
    run: Run,
    span: int,
    tokens: int,
    alphabet: int,
    weights: int,
    seeds: int,
    steps: int,
    batch: int,
    lr: float,
) -> dict[str, Any]:
    """The share of tokens that are copied right, by a layer that is the same for all
    inputs, and by one that looks at them.

        accuracy (2, 2, seeds): on 512 new lists, in the order of `TASKS`, of "S4D"
        and "selective"

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        span: places before the calls.
        tokens: to be copied.
        alphabet: of the tokens.
        weights: the most that a model may have.
        seeds: trainings of each task and kind.
        steps: of Adam, each on new lists.
        batch: lists a step.
        lr: learning rate at the start; it falls to 0 along a line.

    Returns:
        The array named above, `parameters` (2,), and `guess`, what guessing gives.

    Source: Gu & Dao 2023, section 4.1.1, arXiv:2312.00752; the fixed task:
        Arjovsky, Shah & Bengio 2016, arXiv:1511.06464.
    """
    kinds = KINDS[:2]
    found = torch.zeros(len(TASKS), len(kinds), seeds)
    for cell in run.chunks(found.numel(), found=found):
        i, j, seed = (
            int(n) for n in torch.unravel_index(torch.tensor(cell), found.shape)
        )
        size = (alphabet + 2, alphabet, weights)
        model = model_of(run, f"{kinds[j]}/{seed}", kinds[j], *size)
        draw = run.generator(f"lists/{TASKS[i]}/{seed}")
        how = span, tokens, alphabet, TASKS[i]
        fit(model, at_calls, lists(run, batch, how, draw), steps, lr)
        test = run.generator(f"test/{TASKS[i]}/{seed}")
        x, wanted = next(lists(run, 512, how, test))
        with torch.no_grad():
            said = model(x)[:, -tokens:].argmax(-1)
        found[i, j, seed] = float((said == wanted).float().mean())
    sizes = [count(MAKERS[k](*size[:2], widest(k, *size))) for k in kinds]
    return {
        "accuracy": found,
        "parameters": torch.tensor(sizes),
        "guess": 1 / alphabet,
    }


def lists(
    run: Run, batch: int, how: tuple[int, int, int, str], draw: Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """New lists for each step."""
    while True:
        x, wanted = to_copy(batch, *how, draw)
        yield x.to(run.device), wanted.to(run.device)
