"""Valid calls of the concentration topic."""

import torch

from lbdl.geometry.concentration import (
    inner_product_tail,
    inner_product_tail_bound,
    inner_product_tail_chernoff,
    norm_tail,
    norm_tail_bound,
    norm_tail_chernoff,
)
from tests.calls import Call

CALLS = [
    Call(f, {"n": 20.0, "eps": torch.tensor([0.2, 0.5])})
    for f in (
        norm_tail,
        norm_tail_bound,
        norm_tail_chernoff,
        inner_product_tail,
        inner_product_tail_bound,
        inner_product_tail_chernoff,
    )
]
