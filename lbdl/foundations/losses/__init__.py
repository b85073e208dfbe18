"""Losses: what a model is asked to make small, and what it then comes to say.

`regression.py` has the losses of numbers (squared, absolute, pinball, Gaussian),
`classification.py` those of classes, all from logits (cross-entropy, label
smoothing, focal, hinge), `preference.py` those that follow another judge
(preferences, a teacher), `penalties.py` what is added for the weights. The losses
of an example come first; `reduction` makes one number of a batch, as in torch.
Losses of distances stand in `lbdl.foundations.metric_learning`.
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
from lbdl.foundations.losses.penalties import l1_penalty, l2_penalty, soft_threshold
from lbdl.foundations.losses.preference import bradley_terry, distillation, dpo
from lbdl.foundations.losses.reduction import reduce
from lbdl.foundations.losses.regression import (
    absolute_error,
    gaussian_nll,
    pinball,
    squared_error,
)

__all__ = [
    "absolute_error",
    "binary_cross_entropy",
    "bradley_terry",
    "cross_entropy",
    "distillation",
    "dpo",
    "fast_cross_entropy",
    "focal",
    "gaussian_nll",
    "hinge",
    "l1_penalty",
    "l2_penalty",
    "log_softmax",
    "multiclass_focal",
    "multiclass_hinge",
    "pinball",
    "reduce",
    "smoothed_optimum",
    "soft_cross_entropy",
    "soft_threshold",
    "squared_error",
    "zero_one",
]
