"""A model spread over the processes of a run (FSDP), and its state gathered again.

Rajbhandari, Rasley, Ruwase & He 2020, "ZeRO", arXiv:1910.02054; Zhao et al. 2023,
"PyTorch FSDP", arXiv:2304.11277.
"""

import warnings
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.optim import Optimizer

from lbdl.lab import processes

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def sharded(model: nn.Module, parts: Iterable[nn.Module]) -> nn.Module:
    """Spreads the weights over the processes: each keeps its share, and gathers a
    part while it computes with it.

    Gradients and the optimizer's state are spread with them. Make the optimizer
    after this.

    Args:
        model: on its device, and equal on all processes; changed in place.
        parts: modules in it, such as its layers, that are gathered one at a time.

    Returns:
        The model.

    Source: Rajbhandari et al. 2020, section 5, arXiv:1910.02054; Zhao et al. 2023,
        arXiv:2304.11277.
    """
    warnings.filterwarnings(
        "ignore", message="FSDP2-wrapped module .* returned a view"
    )  # not changed in place
    device = next(model.parameters()).device
    mesh = init_device_mesh(device.type, (processes.size(),))
    for part in parts:
        fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def whole_state(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Model and optimizer, sharded or not, by parameter names, on the CPU: empty on
    all processes but the first."""
    if (
        not optimizer.state
    ):  # torch would take a step to have one, and Adam would count it
        return {
            "model": get_model_state_dict(model, options=WHOLE),
            "optimizer": {},
        }
    weights, rest = get_state_dict(model, optimizer, options=WHOLE)
    return {"model": weights, "optimizer": rest}


def take_up(model: nn.Module, optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Puts what `whole_state` gave on the first process into model and optimizer,
    each process its share."""
    set_model_state_dict(model, saved["model"], options=WHOLE)
    optimizer.zero_grad()
    optimizer.state.clear()
    if saved["optimizer"]:
        set_optimizer_state_dict(
            model, optimizer, saved["optimizer"], options=WHOLE
        )
