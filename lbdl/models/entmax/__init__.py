"""Softmax alternatives: maps from scores to probabilities with exact zeros or
without an exponential, and the losses that train them.

Read `maps.py` first: Taylor softmax, sparse softmax, sparsemax, entmax, their
Jacobians and the Tsallis entropy, written plainly. `losses.py` has the margin, the
Fenchel-Young losses and the universal surrogate loss. `fast.py` does sparsemax and
entmax again, without sorting: use these in a network. Softmax itself stands in
`lbdl.models.softmax`.
"""

from lbdl.models.entmax.fast import fast_entmax, fast_entmax15, fast_sparsemax
from lbdl.models.entmax.losses import (
    entmax_loss,
    fenchel_young_loss,
    margin_softmax_loss,
    sparse_softmax_loss,
    sparsemax_loss,
    universal_surrogate_loss,
)
from lbdl.models.entmax.maps import (
    entmax,
    entmax15,
    entmax_jacobian,
    one_hot_gap,
    sparse_softmax,
    sparsemax,
    sparsemax_jacobian,
    sparsemax_threshold,
    taylor_softmax,
    tsallis_entropy,
    tsallis_exp,
)

__all__ = [
    "entmax",
    "entmax15",
    "entmax_jacobian",
    "entmax_loss",
    "fast_entmax",
    "fast_entmax15",
    "fast_sparsemax",
    "fenchel_young_loss",
    "margin_softmax_loss",
    "one_hot_gap",
    "sparse_softmax",
    "sparse_softmax_loss",
    "sparsemax",
    "sparsemax_jacobian",
    "sparsemax_loss",
    "sparsemax_threshold",
    "taylor_softmax",
    "tsallis_entropy",
    "tsallis_exp",
    "universal_surrogate_loss",
]
