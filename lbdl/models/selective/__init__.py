"""Selective state spaces: the weights of a recurrence depend on its input, so that
a scan takes the place of the convolution.

`scan.py` has the scan, in order and in blocks, and the same as a masked matrix
product, `triton.py` its GPU kernels, `layers.py` the layer of Mamba. What they
build on, S4D and the deep model, stands in `lbdl.models.s4`.
"""

from lbdl.models.selective.layers import SelectiveSSM
from lbdl.models.selective.scan import (
    decay_mask,
    fast_linear_scan,
    fast_selective_scan,
    linear_scan,
    selective_attention,
    selective_scan,
)

__all__ = [
    "SelectiveSSM",
    "decay_mask",
    "fast_linear_scan",
    "fast_selective_scan",
    "linear_scan",
    "selective_attention",
    "selective_scan",
]
