"""S4 and S4D: state spaces for long sequences, as convolutions.

`kernels.py` has the convolution view and the generating function, `dplr.py` S4's
kernel by Cauchy sums, `diagonal.py` the diagonal systems of S4D, `layers.py` the
modules. Discretisation and the plain recurrence stand in `lbdl.models.state_space`,
systems whose weights depend on the input in `lbdl.models.selective`.
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
from lbdl.models.s4.layers import S4D, GatedBlock, SequenceModel

__all__ = [
    "DPLR",
    "GatedBlock",
    "S4D",
    "SequenceModel",
    "cauchy_sums",
    "causal_convolution",
    "discretize_diagonal",
    "dplr_kernel",
    "fast_causal_convolution",
    "fast_cauchy_sums",
    "fast_dplr_kernel",
    "fast_s4d_kernel",
    "generating_function",
    "kernel_by_roots",
    "legs_dplr",
    "s4d_kernel",
    "s4d_poles",
    "s4d_states",
    "ssm_kernel",
    "truncated",
    "unit_roots",
    "woodbury_inverse",
]
