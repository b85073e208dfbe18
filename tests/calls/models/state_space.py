"""Valid calls of the state-space topic."""

import torch

from lbdl.models.state_space import (
    discretize,
    fast_states,
    frequency_response,
    generalized_bilinear,
    impulse_response,
    mass_on_a_spring,
    rescale,
    states,
    zero_order_hold,
)
from tests.calls import Call, normal, uniform

A = torch.tensor([[-1.0, 0.8, -1.1], [-0.8, -1.5, 2.0], [-1.1, -2.0, -2.5]])
B = torch.tensor([0.5, 0.9, 1.1])
C = normal(3)
A_BAR, B_BAR = (x.contiguous() for x in discretize(A, B, 0.1))
REAL = {"dtype": torch.float64}

CALLS = [
    Call(mass_on_a_spring, {"mass": 1.0, "damping": 0.1, "stiffness": 4.0, **REAL}),
    Call(
        impulse_response,
        {"A": A, "B": B, "C": C, "times": uniform(4)},
        degrees={"C": 1},
    ),
    Call(frequency_response, {"A": A, "B": B, "C": C, "omega": normal(4)}),
    Call(rescale, {"A": A, "B": B, "scale": uniform(3) + 0.5}),
    Call(
        states,
        {"A_bar": A_BAR, "B_bar": B_BAR, "u": normal(2, 7), "start": normal(2, 3)},
        takes={"u": "complex"},
    ),
    Call(
        fast_states,
        {"A_bar": A_BAR, "B_bar": B_BAR, "u": normal(2, 7), "start": normal(2, 3)},
        takes={"u": "complex"},
    ),
    Call(discretize, {"A": A, "B": B, "step": 0.1, "method": "bilinear"}),
    Call(generalized_bilinear, {"A": A, "B": B, "step": 0.1, "weight": 0.3}),
    Call(zero_order_hold, {"A": A, "B": B, "step": 0.1}),
]
