"""State-space models: linear systems, the HiPPO systems that remember a signal, and
how to run them on samples.

`systems.py` has linear time-invariant systems and their recurrence,
`discretization.py` the way from one to the other, `hippo.py` the memories (LegT,
LegS, Fourier) with their projections, `legs.py` the memory of all history on
samples and its structured matrix, `cells.py` two recurrent networks with such a
memory.
"""

from lbdl.models.state_space.cells import HiPPOCell, LMUCell, unroll
from lbdl.models.state_space.discretization import (
    discretize,
    generalized_bilinear,
    zero_order_hold,
)
from lbdl.models.state_space.hippo import (
    basis,
    gauss_legendre,
    hippo_fourier,
    hippo_fourier_legs,
    hippo_legs,
    hippo_legt,
    hippo_lmu,
    legendre,
    project,
    project_held,
    reconstruct,
)
from lbdl.models.state_space.legs import (
    fast_legs_solve,
    legs_product,
    legs_solve,
    legs_states,
    legs_transitions,
)
from lbdl.models.state_space.systems import (
    fast_states,
    frequency_response,
    impulse_response,
    mass_on_a_spring,
    rescale,
    states,
)

__all__ = [
    "HiPPOCell",
    "LMUCell",
    "basis",
    "discretize",
    "fast_legs_solve",
    "fast_states",
    "frequency_response",
    "gauss_legendre",
    "generalized_bilinear",
    "hippo_fourier",
    "hippo_fourier_legs",
    "hippo_legs",
    "hippo_legt",
    "hippo_lmu",
    "impulse_response",
    "legendre",
    "legs_product",
    "legs_solve",
    "legs_states",
    "legs_transitions",
    "mass_on_a_spring",
    "project",
    "project_held",
    "reconstruct",
    "rescale",
    "states",
    "unroll",
    "zero_order_hold",
]
