"""The machine tells what it is."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from lbdl.lab import machine


def test_device_name_says_what_it_is(device):
    name = machine.device_name(torch.device(device))
    assert (
        name.startswith("CPU, ")
        if device == "cpu"
        else name == torch.cuda.get_device_name(0)
    )


def test_room_is_looked_for_where_a_run_will_write(tmp_path, monkeypatch):
    folder = tmp_path / "a" / "b"
    free = SimpleNamespace(free=50_000_000)
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda at: asked.append(at) or free)
    for _ in range(2):  # one that is made, and one that is there
        machine.require_room(folder)
        assert folder.is_dir() and not list(folder.iterdir()), "nothing stays"
    assert asked == [folder, folder]
    free.free -= 1
    with pytest.raises(OSError, match="b: 49 MB free, 50 MB needed"):
        machine.require_room(folder)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to the folder .*file/run: "):
        machine.require_room(tmp_path / "file" / "run")
