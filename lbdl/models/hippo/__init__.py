"""HiPPO: memories that hold the best polynomial approximation of the past.

`memories.py` has the systems (LegT, LegS, Fourier, LMU) with the projections that
they keep up to date, `legs.py` the memory of all history on samples and its
structured matrix, `cells.py` two recurrent networks with such a memory. Linear
systems in general and their discretisation stand in `lbdl.models.state_space`.
"""

from lbdl.models.hippo.cells import HiPPOCell, LMUCell, unroll
from lbdl.models.hippo.legs import (
    fast_legs_solve,
    legs_product,
    legs_solve,
    legs_states,
    legs_transitions,
)
from lbdl.models.hippo.memories import (
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

__all__ = [
    "HiPPOCell",
    "LMUCell",
    "basis",
    "fast_legs_solve",
    "gauss_legendre",
    "hippo_fourier",
    "hippo_fourier_legs",
    "hippo_legs",
    "hippo_legt",
    "hippo_lmu",
    "legendre",
    "legs_product",
    "legs_solve",
    "legs_states",
    "legs_transitions",
    "project",
    "project_held",
    "reconstruct",
    "unroll",
]
