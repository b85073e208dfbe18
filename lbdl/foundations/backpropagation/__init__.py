"""Backpropagation: gradients of any composition of functions, what they cost in
time, and how they vanish.

Read `tape.py` first: a whole engine for reverse mode. `forward.py` does forward
mode with dual numbers, and `functions.py` has what is made of both: Jacobian
products, Jacobians, `gradcheck`. `dense.py` is a layer by hand, with its operations
counted. `signals.py` follows gradients through many layers, and clips them. What
they cost in memory stands in `lbdl.foundations.memory`.
"""

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
    "MAX_SLOPES",
    "Variable",
    "backward_ratio",
    "clip_by_global_norm",
    "clip_by_global_norm_",
    "clip_by_norm",
    "concatenate",
    "cross_entropy",
    "dense",
    "dense_backward",
    "gradcheck",
    "hessian_vector_product",
    "jacobian_forward",
    "jacobian_reverse",
    "jvp",
    "matmul_flops",
    "network_flops",
    "numerical_jacobian",
    "power_norms",
    "signal_norms",
    "unbroadcast",
    "vanishing_bound",
    "vjp",
    "with_spectral_radius",
]
