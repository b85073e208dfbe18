"""Adapters against `peft`: four linear layers with the same weights, by numbers of rows; four bits against
`bitsandbytes`.

`pip install --no-deps peft bitsandbytes` and what they import first: transformers, accelerate, safetensors,
huggingface_hub, tokenizers.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bench.race import Race, main
from lbdl.frontiers.lora import LoRALinear, adapt, dequantize_nf4, quantize_nf4

WIDTH, RANK = 1024, 8


def models() -> tuple[nn.Module, nn.Module, nn.Module]:
    """Ours, theirs and the base alone, with the same weights everywhere."""
    import peft

    torch.manual_seed(0)
    base = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4)))
    ours = adapt(base, RANK, 2.0 * RANK)
    config = peft.LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=["0", "1", "2", "3"]
    )
    theirs = peft.get_peft_model(copy.deepcopy(base), config)
    for layer, peer in zip(ours, theirs.base_model.model, strict=True):
        share(layer, peer)
    return ours, theirs, base


def share(layer: LoRALinear, peer: Any) -> None:
    """One trained adapter for both."""
    with torch.no_grad():
        layer.B.normal_(0, 0.1)
        peer.lora_A["default"].weight.copy_(layer.A)
        peer.lora_B["default"].weight.copy_(layer.B)


def forward(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def job() -> Tensor:
        with torch.no_grad():
            return model(x)

    return job


def forward_and_backward(
    model: nn.Module, x: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return lambda: torch.autograd.grad(model(x).square().mean(), parameters)


def exact(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    return lambda: forward(copy.deepcopy(model).double(), x.double())()


def races() -> Iterator[Race]:
    ours, theirs, base = models()
    for rows, goal, goal_both in (
        (1, 0.8, 0.7),
        (32, 1.05, 1.05),
        (256, 1.05, 1.05),
    ):
        x = torch.randn(rows, WIDTH)
        yield Race(
            job=f"4 layers of {WIDTH}, rank {RANK}, {rows} rows, forward",
            peer="peft",
            ours=forward(ours, x),
            theirs=forward(theirs, x),
            floor=forward(base, x),
            reference=exact(ours, x),
            goal=goal,
        )
        yield Race(
            job=f"4 layers of {WIDTH}, rank {RANK}, {rows} rows, forward and backward",
            peer="peft",
            ours=forward_and_backward(ours, x),
            theirs=forward_and_backward(theirs, x),
            goal=goal_both,
        )
    yield from four_bits()


def four_bits() -> Iterator[Race]:
    from bitsandbytes import functional

    w = torch.randn(WIDTH, WIDTH)
    codes, absmax = quantize_nf4(w)
    packed, state = functional.quantize_nf4(w, blocksize=64)
    yield Race(
        job=f"({WIDTH}, {WIDTH}) to NF4",
        peer="bitsandbytes",
        ours=lambda: quantize_nf4(w),
        theirs=lambda: functional.quantize_nf4(w, blocksize=64),
        note="ours leaves two codes in two bytes",
    )
    yield Race(
        job=f"({WIDTH}, {WIDTH}) from NF4",
        peer="bitsandbytes",
        ours=lambda: dequantize_nf4(codes, absmax),
        theirs=lambda: functional.dequantize_nf4(packed, state),
        note="theirs reads two codes from a byte",
    )


if __name__ == "__main__":
    main(__spec__, races(), packages=["peft", "bitsandbytes"])
