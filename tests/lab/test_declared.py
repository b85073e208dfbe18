"""Every declared experiment, at its small scale: it runs, and interrupted half-way it ends the same."""

import pytest
import torch

from lbdl.experiments import find
from lbdl.lab.checkpoints import Checkpoint


class Stop(Exception):
    """Stands for a kill."""


@pytest.mark.slow
@pytest.mark.parametrize("name", find())
def test_small_scale_runs_and_survives_an_interruption(name, tmp_path, monkeypatch):
    declared, cpu = find()[name], torch.device("cpu")
    save, count = Checkpoint.save, 0

    def counting(self, *arguments, **options):
        nonlocal count
        count += 1
        save(self, *arguments, **options)
        if count == stop_at:
            raise Stop

    monkeypatch.setattr(Checkpoint, "save", counting)
    stop_at = -1
    whole = declared.run(
        "small", cpu, 0, tmp_path / "whole", progress=False, every=0.0
    )
    count, stop_at = 0, count // 2
    if stop_at:
        with pytest.raises(Stop):
            declared.run(
                "small", cpu, 0, tmp_path / "broken", progress=False, every=0.0
            )
        again = declared.run(
            "small", cpu, 0, tmp_path / "broken", progress=False, every=0.0
        )
        assert all(torch.equal(whole[key], again[key]) for key in whole.arrays)
        assert again.numbers == whole.numbers
