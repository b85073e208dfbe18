"""Device, scale and seed: what the environment says, and what happens when it asks for the impossible."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from lbdl import core
from lbdl.core import devices, seeds


def test_device_default_and_override(monkeypatch):
    monkeypatch.delenv("LBDL_DEVICE", raising=False)
    assert core.device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv("LBDL_DEVICE", "cpu")
    assert core.device() == torch.device("cpu")


@pytest.mark.parametrize("asked", ["gpu", "cuda:99", "cpu:0", "CUDA"])
def test_impossible_device_names_setting_value_and_choices(monkeypatch, asked):
    monkeypatch.setenv("LBDL_DEVICE", asked)
    with pytest.raises(
        ValueError, match=rf"LBDL_DEVICE must be one of cpu.*got '{asked}'"
    ):
        core.device()


def test_cuda_devices_are_listed_when_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LBDL_DEVICE", "cuda:1")
    assert devices.available_devices() == ["cpu", "cuda", "cuda:0", "cuda:1"]
    assert core.device() == torch.device("cuda", 1)


def test_scale(monkeypatch):
    monkeypatch.delenv("LBDL_SCALE", raising=False)
    assert core.scale() == "small"
    monkeypatch.setenv("LBDL_SCALE", "full")
    assert core.scale() == "full"
    monkeypatch.setenv("LBDL_SCALE", "huge")
    with pytest.raises(
        ValueError, match="LBDL_SCALE must be one of small, full, got 'huge'"
    ):
        core.scale()


def test_seed(monkeypatch):
    monkeypatch.delenv("LBDL_SEED", raising=False)
    assert core.seed() == 0
    monkeypatch.setenv("LBDL_SEED", "17")
    assert core.seed() == 17


@pytest.mark.parametrize("asked", ["-1", "1.5", "one", "0x10", "²"])
def test_bad_seed_is_refused(monkeypatch, asked):
    monkeypatch.setenv("LBDL_SEED", asked)
    with pytest.raises(ValueError, match="LBDL_SEED must be a whole number >= 0"):
        core.seed()


def test_generator_depends_on_seed_and_stream_alone(device):
    def draw(stream, root):
        return torch.rand(
            1000, generator=core.generator(stream, device, root=root), device=device
        )

    first = draw("a", 0)
    assert torch.equal(first, draw("a", 0))
    for other in (draw("b", 0), draw("a", 1)):
        correlation = torch.corrcoef(torch.stack([first, other]))[0, 1]
        assert (
            correlation.abs() < 0.15
        )  # 4.7 standard deviations of independent draws


def test_generator_follows_the_seed_of_the_run(monkeypatch):
    monkeypatch.setenv("LBDL_SEED", "5")
    assert (
        core.generator("x").initial_seed()
        == core.generator("x", root=5).initial_seed()
    )


def test_stream_seed_is_the_same_everywhere():
    assert seeds.stream_seed("main", 0) == 8691451543668366388


@pytest.mark.parametrize("root", [1.0, "1", True, None])
def test_a_root_that_is_no_whole_number_is_refused(root):
    with pytest.raises(TypeError, match="root must be a whole number, got"):
        seeds.stream_seed("x", root)


def test_a_negative_root_is_refused():
    with pytest.raises(ValueError, match="root must be a whole number >= 0"):
        core.generator("x", root=-1)


def test_seed_everything_seeds_python_numpy_and_torch():
    def draw():
        assert core.seed_everything(3) == 3
        return random.random(), np.random.rand(), torch.rand(()).item()

    assert draw() == draw()
    core.seed_everything(4)
    assert random.random() != draw()[0]


def test_import_needs_torch_alone():
    """As on a GPU box without Jupyter, matplotlib, scikit-learn, SciPy, grimp or tqdm:
    the library imports, knows its experiments, prepares a run and fingerprints it."""
    code = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"matplotlib", "IPython", "ipywidgets", "ipykernel", "nbformat",
            "jupyter_cache", "sphinx", "grimp", "scipy", "sklearn", "tqdm", "mnist1d", "triton"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import lbdl, lbdl.core, lbdl.cli, lbdl.lab, lbdl.experiments
from lbdl.core import data
data.english(), data.moons(4)
assert len(lbdl.experiments.find()) >= 5
run = lbdl.experiments.find_one("trainability").prepare(lbdl.lab.Options(device=lbdl.core.device()))
assert len(run.code) == 16
try:
    data.digits()
except ModuleNotFoundError as missing:
    print(missing)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "this data needs the package scikit-learn" in done.stdout
