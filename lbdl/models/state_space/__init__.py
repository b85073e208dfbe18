"""State-space models: linear systems with a state, and how to run them on samples.

`systems.py` has linear time-invariant systems and their recurrence,
`discretization.py` the way from one to the other. What a state should remember is
the topic of `lbdl.models.hippo`.
"""

from lbdl.models.state_space.discretization import (
    discretize,
    generalized_bilinear,
    zero_order_hold,
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
    "discretize",
    "fast_states",
    "frequency_response",
    "generalized_bilinear",
    "impulse_response",
    "mass_on_a_spring",
    "rescale",
    "states",
    "zero_order_hold",
]
