"""Valid calls of the LoRA topic."""

import torch
from torch import nn

from lbdl.frontiers.lora import (
    LoRALinear,
    NF4Linear,
    adapt,
    adapter_init,
    best_adapter,
    contribution_ratio,
    dequantize_nf4,
    lora_linear,
    lora_plus_groups,
    merge,
    merge_error,
    merged,
    predicted_merge_error,
    quantize_nf4,
    rank_errors,
    stochastic_round,
    unmerge,
)
from tests.calls import Call, generator, labels, normal, uniform

MODEL = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
ADAPTED = adapt(MODEL, 2)
ADAPTER = {"A": normal(2, 4, seed=1), "B": normal(3, 2, seed=2)}

CALLS = [
    Call(
        lora_linear,
        {"x": normal(5, 4), "weight": normal(3, 4), **ADAPTER, "scale": 0.5, "bias": normal(3)},
        takes={"bias": "none"},
    ),
    Call(adapter_init, {"n": 4, "m": 3, "r": 2, "zero": "A", "generator": generator(), "dtype": torch.float64}),
    Call(LoRALinear, {"base": nn.Linear(4, 3), "r": 2, "alpha": 4.0, "generator": generator()}),
    Call(adapt, {"model": MODEL, "r": 2, "alpha": 4.0, "names": ["2"], "generator": generator()}),
    Call(merged, {"model": ADAPTED}),
    Call(rank_errors, {"delta": normal(3, 4)}, degrees={"delta": 1}),
    Call(best_adapter, {"delta": normal(3, 4), "r": 2}),
    Call(merge, {"weight": normal(3, 4), **ADAPTER, "scale": 0.5}),
    Call(unmerge, {"weight": normal(3, 4), **ADAPTER, "scale": 0.5}),
    Call(
        merge_error,
        {"weight": normal(3, 4), "delta": normal(3, 4, seed=1)},
        skips={"half": "the dtype of the weights is what it asks about"},
    ),
    Call(predicted_merge_error, {"ratio": 0.01 + uniform(3), "dtype": torch.bfloat16}),
    Call(
        stochastic_round,
        {"x": normal(3, 4), "dtype": torch.bfloat16, "generator": generator()},
    ),
    Call(
        contribution_ratio,
        {"gradient": normal(3, 4), **ADAPTER},
        degrees={"gradient": 0, "A": -1, "B": 1},
    ),
    Call(lora_plus_groups, {"model": ADAPTED, "lr": 1e-3, "ratio": 16.0, "weight_decay": 0.1}),
    Call(quantize_nf4, {"w": normal(4, 6), "block": 8}, degrees={}),
    Call(
        dequantize_nf4,
        {"codes": labels(3, 4, below=16).to(torch.uint8), "absmax": uniform(2)},
        degrees={"absmax": 1},
    ),
    Call(NF4Linear, {"linear": nn.Linear(4, 6), "block": 8}),
]  # fmt: skip
