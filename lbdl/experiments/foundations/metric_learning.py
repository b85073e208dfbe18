"""Metric learning for real: which loss makes an embedding that finds what belongs together, and for which classes.

A small network maps images to points on the unit sphere of a few dimensions. It is trained with cross-entropy (the
features before the last layer), with triplets (batch-hard and semi-hard) and with InfoNCE, and asked to find, for each
test example, others of its class. Raw pixels and a network that was not trained answer the same questions.

Twice: on the classes it was trained on, and on classes it never saw (Song et al. 2016, arXiv:1511.06452, for this
way to test; Musgrave, Belongie & Lim 2020, arXiv:2003.08505, for how much else decides such comparisons).
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lbdl.core import data
from lbdl.core.data import Dataset, Splits
from lbdl.core.training import predict
from lbdl.foundations.losses import cross_entropy
from lbdl.foundations.metric_learning import (
    average_precision,
    fast_batch_hard_triplet,
    fast_semi_hard_triplet,
    info_nce,
    ranked_relevance,
    recall_at,
)
from lbdl.lab import Run, Steps, experiment

METHODS = (
    "pixels",
    "untrained",
    "cross-entropy",
    "batch-hard triplet",
    "semi-hard triplet",
    "InfoNCE",
)
TASKS = ("seen", "unseen")
MEASURES = ("recall at 1", "mean average precision")
CLASSES = 10
MARGIN, TEMPERATURE = 0.3, 0.1

Loss = Callable[[Tensor, Tensor], Tensor]


class Embedding(nn.Module):
    """Two hidden layers, and then the unit sphere.

        x -> relu -> relu -> z / ||z||

    Args:
        inputs: size of x.
        width: of the hidden layers.
        dim: of the embedding.
        generator: draws the initial weights, on the CPU.
    """

    def __init__(
        self, inputs: int, width: int, dim: int, generator: Generator
    ) -> None:
        super().__init__()
        sizes = (inputs, width, width, dim)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        with torch.no_grad():
            for layer in self.layers:
                assert isinstance(layer, nn.Linear)
                fan = layer.in_features
                layer.weight.copy_(
                    torch.randn(layer.weight.shape, generator=generator)
                    * (2 / fan) ** 0.5
                )
                layer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """x (..., inputs) -> points on the unit sphere (..., dim)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = torch.relu(layer(x))
        return F.normalize(last(x), dim=-1)


class Classifier(nn.Module):
    """An embedding and a linear layer on it: what cross-entropy trains; the embedding is what is kept.

    Args:
        embedding: x (..., inputs) -> (..., dim).
        dim: of the embedding.
        classes: how many.
        generator: draws the initial weights, on the CPU.
    """

    def __init__(
        self, embedding: nn.Module, dim: int, classes: int, generator: Generator
    ) -> None:
        super().__init__()
        self.embedding, self.head = embedding, nn.Linear(dim, classes)
        with torch.no_grad():
            self.head.weight.copy_(
                torch.randn(classes, dim, generator=generator) / dim**0.5
            )
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """x (..., inputs) -> logits (..., classes), the embedding scaled as InfoNCE scales it."""
        return self.head(self.embedding(x) / TEMPERATURE)


# --- Batches and losses -------------------------------------------------------------------------------------


def balanced_rows(y: Tensor, each: int, generator: Generator) -> Tensor:
    """Rows of a batch that holds as many examples of every class, `each` of them, class after class in turn.

    Args:
        y: class numbers (n,), int64, on the CPU.
        each: examples of a class, with replacement.
        generator: draws the examples.

    Returns:
        Row numbers (each * K,), int64; row r of the batch is of the (r mod K)-th class present.
    """
    pools = [(y == c).nonzero().squeeze(1) for c in y.unique()]
    picked = [
        pool[torch.randint(len(pool), (each,), generator=generator)]
        for pool in pools
    ]
    return torch.stack(picked, dim=1).flatten()


def pairs_nce(z: Tensor, y: Tensor) -> Tensor:
    """InfoNCE on a balanced batch: a query and a key of each class, the keys of the other classes as negatives.

    Args:
        z: points (2 m K, d) in the order of `balanced_rows`.
        y: class numbers (2 m K,), in the same order.

    Returns:
        The mean loss, a scalar.
    """
    groups = z.view(-1, 2, len(y.unique()), z.shape[-1])  # (m, 2, K, d)
    return info_nce(groups[:, 0], groups[:, 1], temperature=TEMPERATURE)


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "batch-hard triplet": lambda z, y: fast_batch_hard_triplet(z, y, margin=MARGIN),
    "semi-hard triplet": lambda z, y: fast_semi_hard_triplet(z, y, margin=MARGIN),
    "InfoNCE": pairs_nce,
}


def over_groups(loss: Loss) -> Loss:
    """The mean of a loss over groups: (G, B, ...) and (G, B). Examples of different groups never meet.

    So the groups of a step can be treated one after the other, or by several processes.
    """
    return lambda z, y: torch.stack(
        [loss(*group) for group in zip(z, y, strict=True)]
    ).mean()


# --- One training, one examination --------------------------------------------------------------------------


def train_embedding(
    method: str,
    examples: Dataset,
    *,
    steps: int,
    width: int,
    dim: int,
    each: int,
    groups: int = 1,
    generator: Generator,
    device: torch.device | str = "cpu",
) -> Embedding:
    """An embedding trained by one of `METHODS` but pixels, with AdamW at the rate 0.002.

    Args:
        method: its name; "untrained" takes no step.
        examples: x (n, inputs), y (n,) with class numbers from 0 to K - 1, on the CPU.
        steps: how many.
        width: of the hidden layers.
        dim: of the embedding.
        each: examples of each class in a group, an even number.
        groups: of a step, whose mean loss is made smaller.
        generator: draws weights and batches, on the CPU: every device computes with the same numbers.
        device: where it trains.

    Returns:
        The embedding, on `device`.

    Raises:
        ValueError: there is no such method.
    """
    if method not in METHODS[1:]:
        raise ValueError(
            f"method must be one of {', '.join(METHODS[1:])}, got {method!r}"
        )
    embedding = Embedding(examples.x.shape[1], width, dim, generator).to(device)
    model: nn.Module = embedding
    if method == "cross-entropy":
        model = Classifier(embedding, dim, len(examples.y.unique()), generator).to(
            device
        )
    if method != "untrained":
        drawn = torch.stack(
            [
                balanced_rows(examples.y, each, generator)
                for _ in range(steps * groups)
            ]
        )
        take_steps(
            model,
            examples.to(device),
            drawn.view(steps, groups, -1).to(device),
            LOSSES[method],
        )
    return embedding


def take_steps(
    model: nn.Module, examples: Dataset, batches: Tensor, loss: Loss
) -> None:
    """One step of AdamW, at the rate 0.002, for each batch of row numbers (steps, G, B)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    rows = ((examples.x[some], examples.y[some]) for some in batches)
    Steps(model, over_groups(loss), optimizer).follow(rows)


def retrieval(points: Tensor, labels: Tensor) -> Tensor:
    """Recall at 1 and mean average precision when every point asks for its kind among the others.

    Args:
        points: (B, d), floating.
        labels: (B,), whole numbers.

    Returns:
        The two measures (2,), float32.
    """
    relevance = ranked_relevance(points, labels)
    return torch.stack(
        [recall_at(relevance).mean(), average_precision(relevance).mean()]
    )


def split_classes(
    splits: Splits, task: str, generator: Generator
) -> tuple[Dataset, Dataset]:
    """Examples to train on and to ask for.

    Args:
        splits: ten classes.
        task: "seen", all classes in both; "unseen", five classes by lot to train on, the other five to ask for.
        generator: draws the lot.

    Returns:
        Training examples, classes renumbered from 0, and test examples.
    """
    lot = torch.randperm(CLASSES, generator=generator)
    learned, asked = (
        (lot, lot) if task == "seen" else (lot[: CLASSES // 2], lot[CLASSES // 2 :])
    )
    train = splits.train[torch.isin(splits.train.y, learned)]
    number = torch.zeros(CLASSES, dtype=torch.int64)
    number[learned.sort().values] = torch.arange(len(learned))
    return Dataset(train.x, number[train.y]), splits.test[
        torch.isin(splits.test.y, asked)
    ]


# --- The experiment -----------------------------------------------------------------------------------------


@experiment(
    "metric_learning",
    chapter="foundations/metric_learning",
    shows="an embedding finds the classes it learned far better than pixels do, and new ones often worse",
    small={
        "datasets": ["digits"],
        "seeds": 1,
        "steps": 100,
        "width": 64,
        "dim": 16,
        "each": 8,
        "groups": 1,
    },
    cpu={
        "datasets": ["digits", "mnist1d"],
        "seeds": 6,
        "steps": 400,
        "width": 128,
        "dim": 16,
        "each": 8,
        "groups": 1,
    },
    full={
        "datasets": ["digits", "mnist1d"],
        "seeds": 4,
        "steps": 400,
        "width": 512,
        "dim": 32,
        "each": 32,
        "groups": 1,
    },
    able=("processes",),
)
def metric_learning(
    run: Run,
    datasets: list[str],
    seeds: int,
    steps: int,
    width: int,
    dim: int,
    each: int,
    groups: int,
) -> dict[str, Tensor]:
    """Retrieval on the test part of each set, by each of `METHODS`, for classes seen and unseen, over seeds.

        scores (sets, 2 tasks, 6 methods, seeds, 2 measures), in the order of TASKS, METHODS and MEASURES

    The seeds share neither weights, nor batches, nor (for unseen classes) the lot that divides the classes; the
    methods share all three.

    Args:
        run: gives the device, the seed and the chunks that survive an interruption.
        datasets: names of sets in `lbdl.core.data` with ten classes.
        seeds: trainings of each kind.
        steps: of each training.
        width: of the hidden layers.
        dim: of the embedding.
        each: examples of each class in a group.
        groups: of a step; as many processes can share it.

    Returns:
        The array named above.

    Source: Hermans, Beyer & Leibe 2017, arXiv:1703.07737; Musgrave, Belongie & Lim 2020, arXiv:2003.08505.
    """
    splits = [getattr(data, name)() for name in datasets]
    scores = torch.zeros(
        len(datasets), len(TASKS), len(METHODS), seeds, len(MEASURES)
    )
    cells = [
        tuple(cell) for cell in torch.ones(scores.shape[:-1]).nonzero().tolist()
    ]
    for chunk in run.chunks(len(cells), scores=scores):
        s, t, m, seed = cells[chunk]
        draw = run.generator(f"{datasets[s]}/{TASKS[t]}/{seed}")
        train, test = split_classes(splits[s], TASKS[t], draw)
        points = test.x.to(run.device)
        if METHODS[m] != "pixels":
            sizes = {
                "steps": steps,
                "width": width,
                "dim": dim,
                "each": each,
                "groups": groups,
            }
            trained = train_embedding(
                METHODS[m], train, **sizes, generator=draw, device=run.device
            )
            points = predict(trained, points)
        scores[cells[chunk]] = retrieval(points, test.y.to(run.device)).cpu()
    return {"scores": scores}
