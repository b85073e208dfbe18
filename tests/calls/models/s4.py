"""Valid calls of the S4 topic."""

import torch

from lbdl.models.hippo import hippo_legs
from lbdl.models.s4 import (
    DPLR,
    S4D,
    GatedBlock,
    SequenceModel,
    cauchy_sums,
    causal_convolution,
    discretize_diagonal,
    dplr_kernel,
    fast_cauchy_sums,
    fast_causal_convolution,
    fast_dplr_kernel,
    fast_s4d_kernel,
    generating_function,
    kernel_by_roots,
    legs_dplr,
    s4d_kernel,
    s4d_poles,
    s4d_states,
    ssm_kernel,
    truncated,
    unit_roots,
    woodbury_inverse,
)
from lbdl.models.state_space import discretize
from tests.calls import Call, normal

A, B = hippo_legs(4, dtype=torch.float32)
A_BAR, B_BAR = (x.contiguous() for x in discretize(A, B, 0.1))
C = normal(4)
POLES, P, B_TURNED, V = legs_dplr(4, dtype=torch.complex64)
C_TURNED = C.to(V.dtype) @ V
Z = unit_roots(6, torch.complex64)
STEP = torch.tensor([0.1, 0.3])
DIAGONAL = {"poles": s4d_poles(4, dtype=torch.complex64), "step": STEP}
READ = torch.complex(normal(2, 2), normal(2, 2, seed=1))
DPLR_SYSTEM = {
    "poles": POLES,
    "P": P,
    "B": B_TURNED,
    "C": C_TURNED,
    "step": STEP[0],
}
COMPLEX = {"dtype": torch.complex128}
STEPS = {"least_step": 1e-3, "most_step": 0.1}

CALLS = [
    Call(
        ssm_kernel,
        {"A_bar": A_BAR, "B_bar": B_BAR, "C": C, "L": 7},
        degrees={"C": 1},
    ),
    Call(causal_convolution, {"u": normal(2, 7), "K": normal(7)}, degrees={"u": 1}),
    Call(
        fast_causal_convolution,
        {"u": normal(2, 7), "K": normal(7)},
        degrees={"u": 1},
    ),
    Call(truncated, {"A_bar": A_BAR, "C": C, "L": 7}, degrees={"C": 1}),
    Call(unit_roots, {"L": 7, **COMPLEX}),
    Call(generating_function, {"A": A, "B": B, "C": C, "step": 0.1, "z": Z}),
    Call(kernel_by_roots, {"values": Z * 2, "L": 7}),
    Call(legs_dplr, {"N": 4, **COMPLEX}),
    Call(
        DPLR,
        {"poles": POLES, "P": P, "B": B_TURNED, "V": V},
        takes=dict.fromkeys(("poles", "P", "B", "V"), "anything"),
        skips={"alias": "it holds what it is given"},
    ),
    Call(
        woodbury_inverse,
        {"D_inverse": torch.eye(3), "U": normal(3, 1) / 9, "W": normal(3, 1) / 9},
    ),
    Call(cauchy_sums, {"weights": C_TURNED[None], "poles": POLES, "z": Z}),
    Call(fast_cauchy_sums, {"weights": C_TURNED[None], "poles": POLES, "z": Z}),
    Call(dplr_kernel, {**DPLR_SYSTEM, "L": 6}),
    Call(fast_dplr_kernel, {**DPLR_SYSTEM, "L": 6}),
    Call(s4d_poles, {"N": 4, "kind": "inv", **COMPLEX}),
    Call(discretize_diagonal, {**DIAGONAL, "method": "exact"}),
    Call(s4d_kernel, {**DIAGONAL, "C": READ, "L": 7, "method": "bilinear"}),
    Call(fast_s4d_kernel, {**DIAGONAL, "C": READ, "L": 7, "method": "bilinear"}),
    Call(s4d_states, {**DIAGONAL, "u": normal(2, 7), "method": "exact"}),
    Call(S4D, {"width": 3, "states": 4, "kind": "inv", **STEPS}),
    Call(GatedBlock, {"width": 3, "layer": S4D(3, 4)}),
    Call(
        SequenceModel,
        {"inputs": 2, "outputs": 1, "layers": [S4D(3, 4), S4D(3, 4)], "width": 3},
    ),
]
