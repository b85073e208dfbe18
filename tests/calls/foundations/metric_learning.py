"""Valid calls of the losses of distances, and of retrieval."""

import torch

from lbdl.foundations.metric_learning import (
    average_precision,
    batch_hard_triplet,
    fast_batch_hard_triplet,
    fast_semi_hard_triplet,
    info_nce,
    nt_xent,
    pair_contrastive,
    pairwise_distances,
    ranked_relevance,
    recall_at,
    semi_hard_triplet,
    triplet,
)
from tests.calls import Call, normal

X, Y, Z = normal(3, 5), normal(3, 5, seed=1), normal(3, 5, seed=2)
POINTS, KINDS = normal(8, 3), torch.arange(8) % 3
RELEVANCE = torch.tensor([[True, False, True], [False, True, False]])
MINING = {"points": POINTS, "labels": KINDS, "margin": 0.9, "reduction": "none"}

CALLS = [
    Call(
        pair_contrastive,
        {
            "first": X,
            "second": Y,
            "same": torch.tensor([True, False, False]),
            "margin": 4.0,
            "reduction": "none",
        },
        takes={"same": "integers floats"},
    ),
    Call(
        triplet,
        {
            "anchor": X,
            "positive": Y,
            "negative": Z,
            "margin": 1.5,
            "reduction": "none",
        },
    ),
    Call(pairwise_distances, {"points": POINTS}, degrees={"points": 1}),
    Call(batch_hard_triplet, MINING),
    Call(fast_batch_hard_triplet, MINING),
    Call(semi_hard_triplet, MINING),
    Call(fast_semi_hard_triplet, MINING),
    Call(
        info_nce,
        {"queries": X, "keys": Y, "temperature": 0.5, "reduction": "none"},
        degrees={"queries": 0, "keys": 0},
    ),
    Call(
        nt_xent,
        {"first": X, "second": Y, "temperature": 0.5, "reduction": "none"},
        degrees={"first": 0, "second": 0},
    ),
    Call(
        ranked_relevance, {"points": POINTS, "labels": KINDS}, degrees={"points": 0}
    ),
    Call(recall_at, {"relevance": RELEVANCE, "k": 2}),
    Call(average_precision, {"relevance": RELEVANCE}),
]
