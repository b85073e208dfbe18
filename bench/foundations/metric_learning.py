"""Triplets against torch's own; mining against plain loops and torch, and against `pytorch_metric_learning`.

The last is raced only where it is installed (`pip install pytorch-metric-learning`); nothing else here needs it.
"""

from collections.abc import Iterator
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.foundations.losses import Loss, against, randn
from bench.race import Race, main
from lbdl.foundations.metric_learning import (
    batch_hard_triplet,
    fast_batch_hard_triplet,
    fast_semi_hard_triplet,
    semi_hard_triplet,
    triplet,
)

PEER = "pytorch_metric_learning"


def races() -> Iterator[Race]:
    a, p, n = (randn(8192, 128, seed=s) for s in range(3))
    yield against(
        "triplet, (8192, 128)",
        "F.triplet_margin_loss",
        triplet,
        lambda a, p, n: F.triplet_margin_loss(a, p, n, eps=0),
        a,
        p,
        n,
        goal=1.0,
    )
    yield from races_of_mining()


def races_of_mining() -> Iterator[Race]:
    for count in (64, 1024):
        x, labels = randn(count, 128), torch.arange(count) % (count // 4)
        job = f"fast_batch_hard_triplet, ({count}, 128)"
        ours = lambda x, labels=labels: fast_batch_hard_triplet(
            x, labels, margin=0.2
        )
        if count == 64:
            plain = lambda x, labels=labels: batch_hard_triplet(
                x, labels, margin=0.2
            )
            yield against(
                job, "batch_hard_triplet, plain", ours, plain, x, goal=0.2
            )
        yield against(
            job,
            "torch.cdist, max, min",
            ours,
            by_cdist(labels),
            x,
            goal=1.5 if count == 64 else 0.7,
        )
        if find_spec(PEER):
            yield against(
                job, f"{PEER}, miner + loss", ours, by_peer(labels), x, goal=0.7
            )
    x, labels = randn(64, 16), torch.arange(64) % 16
    yield against(
        "fast_semi_hard_triplet, (64, 16)",
        "semi_hard_triplet, plain",
        lambda x: fast_semi_hard_triplet(x, labels),
        lambda x: semi_hard_triplet(x, labels),
        x,
        goal=0.2,
    )


def by_cdist(labels: Tensor) -> Loss:
    """Batch-hard as it is usually written: all distances, differentiated."""

    def loss(x: Tensor) -> Tensor:
        d, same = torch.cdist(x, x), labels[:, None] == labels
        hardest = d.masked_fill(~same, -torch.inf).amax(-1) - d.masked_fill(
            same, torch.inf
        ).amin(-1)
        return (hardest + 0.2).relu().mean()

    return loss


def by_peer(labels: Tensor) -> Loss:
    from pytorch_metric_learning import distances, losses, miners, reducers  # type: ignore[import-not-found]

    plain = distances.LpDistance(normalize_embeddings=False)
    miner = miners.BatchHardMiner(distance=plain)
    criterion = losses.TripletMarginLoss(
        0.2, distance=plain, reducer=reducers.MeanReducer()
    )
    return lambda x: criterion(x, labels, miner(x, labels))


if __name__ == "__main__":
    main(
        __spec__,
        races(),
        packages=["pytorch-metric-learning"] if find_spec(PEER) else [],
    )
