"""Valid calls of the rules behind torch's optimizer interface."""

from lbdl.foundations.gradient_descent import adam
from lbdl.foundations.gradient_descent_optim import Optimizer
from tests.calls import Call, normal

CALLS = [
    Call(Optimizer, {"params": [normal(3, 2)], "rule": adam, "lr": 0.1}),
]
