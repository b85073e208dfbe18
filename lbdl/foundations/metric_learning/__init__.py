"""Metric learning: losses that arrange points by their distances, and how well what
belongs together is then found.

`distances.py` has pairs (contrastive), triplets with mining, and one positive among
many (InfoNCE, NT-Xent); `retrieval.py` recall and average precision, where every
point asks and all others answer in order of distance. What a batch makes of its
losses, `reduction`, is that of `lbdl.foundations.losses`.
"""

from lbdl.foundations.metric_learning.distances import (
    batch_hard_triplet,
    fast_batch_hard_triplet,
    fast_semi_hard_triplet,
    info_nce,
    nt_xent,
    pair_contrastive,
    pairwise_distances,
    semi_hard_triplet,
    triplet,
)
from lbdl.foundations.metric_learning.retrieval import (
    average_precision,
    ranked_relevance,
    recall_at,
)

__all__ = [
    "average_precision",
    "batch_hard_triplet",
    "fast_batch_hard_triplet",
    "fast_semi_hard_triplet",
    "info_nce",
    "nt_xent",
    "pair_contrastive",
    "pairwise_distances",
    "ranked_relevance",
    "recall_at",
    "semi_hard_triplet",
    "triplet",
]
