"""The machine tells what it is."""

import torch

from lbdl.lab import machine


def test_device_name_says_what_it_is(device):
    name = machine.device_name(torch.device(device))
    assert (
        name.startswith("CPU, ")
        if device == "cpu"
        else name == torch.cuda.get_device_name(0)
    )
