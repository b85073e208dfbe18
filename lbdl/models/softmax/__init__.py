"""Softmax and its alternatives: maps from scores to probabilities, and the losses
that train them.

Read `maps.py` first: softmax, Taylor softmax, sparse softmax, sparsemax, entmax,
their Jacobians and the Tsallis entropy, written plainly. `perturbed.py` reads
softmax as a race with noise. `calibration.py` asks whether probabilities mean what
they say. `losses.py` has the Fenchel-Young losses and the
universal surrogate loss; the cross-entropy of softmax stands in
`lbdl.foundations.losses`. `online.py` takes means with softmax weights in one pass.
`fast.py` does sparsemax and entmax again, without sorting: use these in a network.
"""

from lbdl.models.softmax.calibration import (
    expected_calibration_error,
    fit_temperature,
)
from lbdl.models.softmax.fast import fast_entmax, fast_entmax15, fast_sparsemax
from lbdl.models.softmax.losses import (
    entmax_loss,
    fenchel_young_loss,
    margin_softmax_loss,
    sparse_softmax_loss,
    sparsemax_loss,
    universal_surrogate_loss,
)
from lbdl.models.softmax.maps import (
    entmax,
    entmax15,
    entmax_jacobian,
    logsumexp,
    one_hot_gap,
    softmax,
    softmax_jacobian,
    sparse_softmax,
    sparsemax,
    sparsemax_jacobian,
    sparsemax_threshold,
    taylor_softmax,
    tsallis_entropy,
    tsallis_exp,
)
from lbdl.models.softmax.online import (
    OnlineSoftmax,
    merge,
    nothing_seen,
    online_softmax,
    summarize,
)
from lbdl.models.softmax.perturbed import (
    gumbel_softmax,
    perturb_max,
    sample_perturb_max,
    straight_through,
)

__all__ = [
    "OnlineSoftmax",
    "entmax",
    "entmax15",
    "entmax_jacobian",
    "entmax_loss",
    "expected_calibration_error",
    "fast_entmax",
    "fast_entmax15",
    "fast_sparsemax",
    "fenchel_young_loss",
    "fit_temperature",
    "gumbel_softmax",
    "logsumexp",
    "margin_softmax_loss",
    "merge",
    "nothing_seen",
    "one_hot_gap",
    "online_softmax",
    "perturb_max",
    "sample_perturb_max",
    "softmax",
    "softmax_jacobian",
    "sparse_softmax",
    "sparse_softmax_loss",
    "sparsemax",
    "sparsemax_jacobian",
    "sparsemax_loss",
    "sparsemax_threshold",
    "straight_through",
    "summarize",
    "taylor_softmax",
    "tsallis_entropy",
    "tsallis_exp",
    "universal_surrogate_loss",
]
