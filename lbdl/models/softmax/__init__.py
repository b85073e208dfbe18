"""Softmax: from scores to probabilities, and what can be done with these.

Read `maps.py` first: softmax, log-sum-exp and the Jacobian, written plainly.
`online.py` takes means with softmax weights in one pass. `perturbed.py` reads
softmax as a race with noise. `calibration.py` asks whether probabilities mean what
they say. The cross-entropy of softmax stands in `lbdl.foundations.losses`, the maps
that take the place of softmax in `lbdl.models.entmax`.
"""

from lbdl.models.softmax.calibration import (
    expected_calibration_error,
    fit_temperature,
)
from lbdl.models.softmax.maps import logsumexp, softmax, softmax_jacobian
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
    "expected_calibration_error",
    "fit_temperature",
    "gumbel_softmax",
    "logsumexp",
    "merge",
    "nothing_seen",
    "online_softmax",
    "perturb_max",
    "sample_perturb_max",
    "softmax",
    "softmax_jacobian",
    "straight_through",
    "summarize",
]
