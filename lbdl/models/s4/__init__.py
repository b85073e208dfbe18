"""S4 and what came of it: state spaces for long sequences, as convolutions and
scans.

`kernels.py` has the convolution view and the generating function, `dplr.py` S4's
kernel by Cauchy sums, `diagonal.py` the diagonal systems of S4D, `selective.py` the
scan of Mamba and its matrix, `layers.py` the modules. Discretisation and the plain
recurrence stand in `lbdl.models.state_space`.
"""

from lbdl.models.s4.diagonal import (
    discretize_diagonal,
    fast_s4d_kernel,
    s4d_kernel,
    s4d_poles,
    s4d_states,
)
from lbdl.models.s4.dplr import (
    DPLR,
    cauchy_sums,
    dplr_kernel,
    fast_cauchy_sums,
    fast_dplr_kernel,
    legs_dplr,
    woodbury_inverse,
)
from lbdl.models.s4.kernels import (
    causal_convolution,
    fast_causal_convolution,
    generating_function,
    kernel_by_roots,
    ssm_kernel,
    truncated,
    unit_roots,
)
from lbdl.models.s4.layers import S4D, GatedBlock, SelectiveSSM, SequenceModel
from lbdl.models.s4.selective import (
    decay_mask,
    fast_linear_scan,
    fast_selective_scan,
    linear_scan,
    selective_attention,
    selective_scan,
)

__all__ = [
    "DPLR",
    "GatedBlock",
    "S4D",
    "SelectiveSSM",
    "SequenceModel",
    "cauchy_sums",
    "causal_convolution",
    "decay_mask",
    "discretize_diagonal",
    "dplr_kernel",
    "fast_causal_convolution",
    "fast_cauchy_sums",
    "fast_dplr_kernel",
    "fast_linear_scan",
    "fast_s4d_kernel",
    "fast_selective_scan",
    "generating_function",
    "kernel_by_roots",
    "legs_dplr",
    "linear_scan",
    "s4d_kernel",
    "s4d_poles",
    "s4d_states",
    "selective_attention",
    "selective_scan",
    "ssm_kernel",
    "truncated",
    "unit_roots",
    "woodbury_inverse",
]
