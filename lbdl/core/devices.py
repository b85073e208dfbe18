"""The device a run computes on: CUDA when there is one, else the CPU; `LBDL_DEVICE`
overrides."""

import os

import torch

from lbdl import require


def device() -> torch.device:
    """The device of this run: `LBDL_DEVICE` if it is set, else CUDA if there is
    one, else the CPU.

    Returns:
        A `torch.device` that exists on this machine.

    Raises:
        ValueError: `LBDL_DEVICE` names a device that is unknown or not there.
    """
    asked = os.environ.get("LBDL_DEVICE", "").strip()
    if asked:
        return choose_device(asked, asker="LBDL_DEVICE")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_device(name: str, asker: str = "device") -> torch.device:
    """The device called `name`, if this machine has it.

    Args:
        name: "cpu", "cuda", or "cuda:1" for the second of several.
        asker: the setting or option that `name` came from; the error names it.

    Returns:
        The `torch.device`.

    Raises:
        ValueError: there is no such device here.
    """
    require.choice(available_devices(), **{asker: name})
    return torch.device(name)


def available_devices() -> list[str]:
    """Names of all devices of this machine, as `LBDL_DEVICE` takes them: "cpu",
    "cuda", "cuda:0", ..."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu"] + ["cuda"] * (count > 0) + [f"cuda:{i}" for i in range(count)]
