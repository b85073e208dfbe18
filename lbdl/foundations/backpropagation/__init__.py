"""Backpropagation: gradients of any composition of functions, what they cost, and
how they vanish.

Read `tape.py` first: a whole engine for reverse mode. `forward.py` does forward
mode with dual numbers, and `functions.py` has what is made of both: Jacobian
products, Jacobians, `gradcheck`. `dense.py` is a layer by hand, with its operations
counted. `memory.py` measures memory; `checkpointing.py` and `reversible.py` save
it. `signals.py` follows gradients through many layers, and clips them;
`scaling.py` keeps them from vanishing in half precision.
"""

from lbdl.foundations.backpropagation.checkpointing import (
    Frame,
    best_tapered_lengths,
    checkpoint,
    checkpoint_chain,
    checkpoint_revolve,
    equal_lengths,
    peak_states,
    revolve_cost,
    revolve_split,
    tapered_lengths,
)
from lbdl.foundations.backpropagation.dense import (
    DenseGradients,
    backward_ratio,
    dense,
    dense_backward,
    matmul_flops,
    network_flops,
)
from lbdl.foundations.backpropagation.forward import Dual
from lbdl.foundations.backpropagation.functions import (
    concatenate,
    cross_entropy,
    gradcheck,
    hessian_vector_product,
    jacobian_forward,
    jacobian_reverse,
    jvp,
    numerical_jacobian,
    vjp,
)
from lbdl.foundations.backpropagation.memory import (
    LiveMemory,
    live_memory,
    peak_bytes,
    saved_bytes,
)
from lbdl.foundations.backpropagation.reversible import (
    ReversibleBlock,
    reversible_chain,
    reversible_chain_inverse,
    reversible_chain_stored,
)
from lbdl.foundations.backpropagation.scaling import next_scale, unscale
from lbdl.foundations.backpropagation.signals import (
    ACTIVATIONS,
    MAX_SLOPES,
    clip_by_global_norm,
    clip_by_global_norm_,
    clip_by_norm,
    power_norms,
    signal_norms,
    vanishing_bound,
    with_spectral_radius,
)
from lbdl.foundations.backpropagation.tape import Variable, unbroadcast

__all__ = [
    "ACTIVATIONS",
    "DenseGradients",
    "Dual",
    "Frame",
    "LiveMemory",
    "MAX_SLOPES",
    "ReversibleBlock",
    "Variable",
    "backward_ratio",
    "best_tapered_lengths",
    "checkpoint",
    "checkpoint_chain",
    "checkpoint_revolve",
    "clip_by_global_norm",
    "clip_by_global_norm_",
    "clip_by_norm",
    "concatenate",
    "cross_entropy",
    "dense",
    "dense_backward",
    "equal_lengths",
    "gradcheck",
    "hessian_vector_product",
    "jacobian_forward",
    "jacobian_reverse",
    "jvp",
    "live_memory",
    "matmul_flops",
    "network_flops",
    "next_scale",
    "numerical_jacobian",
    "peak_bytes",
    "peak_states",
    "power_norms",
    "reversible_chain",
    "reversible_chain_inverse",
    "reversible_chain_stored",
    "revolve_cost",
    "revolve_split",
    "saved_bytes",
    "signal_norms",
    "tapered_lengths",
    "unbroadcast",
    "unscale",
    "vanishing_bound",
    "vjp",
    "with_spectral_radius",
]
