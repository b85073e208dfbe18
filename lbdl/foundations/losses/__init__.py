"""Losses: what a model is asked to make small, and what it then comes to say.

`regression.py` has the losses of numbers (squared, absolute, pinball, Gaussian),
`classification.py` those of classes, all from logits (cross-entropy, label
smoothing, focal, hinge), `metric.py` those that arrange points by their distances
(contrastive, triplet with mining, InfoNCE), `retrieval.py` how well they did,
`preference.py` those that follow another judge (preferences, a teacher),
`penalties.py` what is added for the weights. The losses of an example come first;
`reduction` makes one number of a batch, as in torch.
"""

from lbdl.foundations.losses.classification import (
    binary_cross_entropy,
    cross_entropy,
    fast_cross_entropy,
    focal,
    hinge,
    log_softmax,
    multiclass_focal,
    multiclass_hinge,
    smoothed_optimum,
    soft_cross_entropy,
    zero_one,
)
from lbdl.foundations.losses.metric import (
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
from lbdl.foundations.losses.penalties import l1_penalty, l2_penalty, soft_threshold
from lbdl.foundations.losses.preference import bradley_terry, distillation, dpo
from lbdl.foundations.losses.reduction import reduce
from lbdl.foundations.losses.regression import (
    absolute_error,
    gaussian_nll,
    pinball,
    squared_error,
)
from lbdl.foundations.losses.retrieval import (
    average_precision,
    ranked_relevance,
    recall_at,
)

__all__ = [
    "absolute_error",
    "average_precision",
    "batch_hard_triplet",
    "binary_cross_entropy",
    "bradley_terry",
    "cross_entropy",
    "distillation",
    "dpo",
    "fast_batch_hard_triplet",
    "fast_cross_entropy",
    "fast_semi_hard_triplet",
    "focal",
    "gaussian_nll",
    "hinge",
    "info_nce",
    "l1_penalty",
    "l2_penalty",
    "log_softmax",
    "multiclass_focal",
    "multiclass_hinge",
    "nt_xent",
    "pair_contrastive",
    "pairwise_distances",
    "pinball",
    "ranked_relevance",
    "recall_at",
    "reduce",
    "semi_hard_triplet",
    "smoothed_optimum",
    "soft_cross_entropy",
    "soft_threshold",
    "squared_error",
    "triplet",
    "zero_one",
]
