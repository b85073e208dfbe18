"""Shared by all tests: the `device` fixture, the hypothesis profile, and which tests stay together."""

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several workers share the tests by groups: a notebook's cells, a page's views, else a file's tests.

    The cells of a notebook run in order in one kernel; a file's tests share what they set up.
    """
    for item in items:
        page = getattr(item, "callspec", None) and item.callspec.params.get("name")
        is_page = page and item.get_closest_marker("browser")
        item.add_marker(pytest.mark.xdist_group(page if is_page else item.path.name))
