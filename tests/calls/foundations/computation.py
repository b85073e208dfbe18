"""Valid calls of the computation topic."""

import torch

from lbdl.foundations.computation import (
    FORMATS,
    Cost,
    Format,
    Machine,
    Tally,
    addresses,
    blocked_misses,
    broadcast_strides,
    cache_misses,
    contiguous_strides,
    convolution_cost,
    decode,
    elementwise_cost,
    embedding_cost,
    encode,
    is_contiguous,
    matmul_addresses,
    matmul_cost,
    measure_machine,
    normalization_cost,
    predicted_seconds,
    ridge_batch,
    roofline,
    round_to,
    round_to_int8,
    seconds_of,
    softmax_cost,
    spacing,
    sum_bound,
    sum_in_order,
    sum_kahan,
    sum_pairwise,
    tally,
    view_strides,
)
from tests.calls import Call, normal, uniform

MACHINE = Machine(1e12, 1e11, 1e-6)
COST = Cost(100, 50)
HALF = FORMATS["float16"]
CPU = torch.device("cpu")

CALLS = [
    Call(contiguous_strides, {"shape": [2, 3]}),
    Call(addresses, {"shape": [2, 3], "strides": [3, 1], "offset": 1}),
    Call(is_contiguous, {"shape": [2, 3], "strides": [3, 1]}),
    Call(broadcast_strides, {"shape": [3, 1], "strides": [1, 1], "wide": [2, 3, 4]}),
    Call(view_strides, {"shape": [2, 3], "strides": [3, 1], "new": [6]}),
    Call(Cost, {"flops": 3, "bytes": 4}),
    Call(matmul_cost, {"m": 2, "k": 3, "n": 4, "itemsize": 4, "batch": 2}),
    Call(elementwise_cost, {"count": 5, "itemsize": 4, "inputs": 2, "flops": 1}),
    Call(softmax_cost, {"rows": 2, "n": 3, "itemsize": 4, "passes": 5}),
    Call(normalization_cost, {"rows": 2, "n": 3, "itemsize": 4}),
    Call(embedding_cost, {"tokens": 2, "width": 3, "itemsize": 4}),
    Call(
        convolution_cost,
        {"images": 1, "sizes": (8, 6), "channels": (2, 3), "kernel": 3, "itemsize": 4},
    ),
    Call(
        Tally,
        {"flops": 1, "bytes": 2, "launches": 3},
        takes={"flops": "anything", "bytes": "anything", "launches": "anything"},
    ),
    Call(tally, {"job": lambda: torch.ones(2) + 1}),
    Call(Machine, {"peak": 1e12, "bandwidth": 1e11, "launch": 1e-6}),
    Call(roofline, {"intensity": uniform(3), "machine": MACHINE}),
    Call(predicted_seconds, {"cost": COST, "machine": MACHINE, "launches": 2}),
    Call(ridge_batch, {"machine": MACHINE, "k": 64, "n": 32, "itemsize": 4}),
    Call(seconds_of, {"job": lambda: None, "seconds": 0.001, "device": CPU}),
    Call(
        measure_machine,
        {"seconds": 0.001, "device": CPU, "dtype": torch.float32, "size": 4, "elements": 8},
    ),
    Call(cache_misses, {"addresses": torch.tensor([0, 1, 0, 5]), "lines": 2, "line": 1}),
    Call(matmul_addresses, {"n": 4, "block": 2}),
    Call(blocked_misses, {"n": 4, "block": 2}),
    Call(Format, {"exponent": 5, "fraction": 10}, takes={"exponent": "anything", "fraction": "anything"}),
    Call(spacing, {"x": normal(3), "form": HALF}),
    Call(round_to, {"x": normal(3), "form": HALF}),
    Call(round_to_int8, {"x": normal(2, 3)}),
    Call(encode, {"x": 0.3, "form": HALF}, takes={"x": "infinite"}),
    Call(decode, {"bits": "0 01111 0000000000", "form": HALF}),
    Call(sum_in_order, {"x": normal(2, 5)}, degrees={"x": 1}),
    Call(sum_pairwise, {"x": normal(2, 5)}, degrees={"x": 1}),
    Call(sum_kahan, {"x": normal(2, 5)}, degrees={"x": 1}),
    Call(sum_bound, {"x": normal(2, 5), "how": "pairwise"}, skips={"half": "the bound is that of the dtype"}),
]  # fmt: skip
