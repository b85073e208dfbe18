"""Shared by all tests: the `device` fixture and the hypothesis profile."""

import os

import hypothesis
import pytest
import torch

os.environ.setdefault("LBDL_PROGRESS", "0")

hypothesis.settings.register_profile("lbdl", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lbdl")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, needs_cuda])])
def device(request: pytest.FixtureRequest) -> str:
    """Each device a test runs on: the CPU, and CUDA where there is one."""
    return request.param
