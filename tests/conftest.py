"""Shared by all tests: the `device` fixture, the hypothesis profile, and which tests stay together."""

import os
import re
import resource
import shutil
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import hypothesis
import pytest
import torch

try:
    from xdist.scheduler import LoadScopeScheduling
except ModuleNotFoundError:  # tests then run one after the other
    LoadScopeScheduling = object  # type: ignore[assignment, misc]

os.environ.setdefault("LBDL_PROGRESS", "0")
if not torch.cuda.is_available():  # before a kernel is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")

hypothesis.settings.register_profile("lbdl", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lbdl")

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))),
    reason="no C++ compiler here for torch.compile",
)

BEGUN = pytest.StashKey[float]()


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Experiments that a test declares are forgotten after it; no setting of a run is
    in the environment."""
    from lbdl.lab.declare import REGISTRY

    before = dict(REGISTRY)
    for name in ("LBDL_SCALE", "LBDL_SEED", "LBDL_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device a test runs on: the CPU, and CUDA where there is one."""
    return request.param


@pytest.fixture
def kernel_device() -> str:
    """Where Triton kernels run: CUDA where there is one, else the CPU, in the interpreter.

    Without Triton the test is left out; `make test` installs it.
    """
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        return "cuda"
    mend_interpreter()
    return "cpu"


@cache
def mend_interpreter() -> None:
    """Since NumPy 2.4 an array of one element is no number any more: Triton 3.6 makes
    the bounds of loops out of such arrays."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(
            tensor, "__index__", lambda self: int(self.handle.data.item())
        )

    interpreter._patch_lang_tensor = patched


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `cuda` are skipped where there is no such device; the report of the
    run keeps why a test is slow, see `tests/house/minutes.py`."""
    skip = pytest.mark.skip(reason="no CUDA device here")
    for item in items:
        if item.get_closest_marker("cuda") and not torch.cuda.is_available():
            item.add_marker(skip)
        for mark in item.iter_markers("slow"):
            item.user_properties.append(("slow", mark.kwargs.get("reason", "")))


def seconds_of_work() -> float:
    """What this process and those that it waited for have worked; other load on the
    machine does not count."""
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + waited_for.ru_utime + waited_for.ru_stime


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note when the work of a test begins."""
    item.stash[BEGUN] = seconds_of_work()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """The report of the run keeps how long a test worked, its fixtures included."""
    try:
        return (yield)
    finally:
        work = seconds_of_work() - item.stash[BEGUN]
        item.user_properties.append(("work", f"{work:.2f}"))


class ByPage(LoadScopeScheduling):
    """Workers share the tests by notebook, by page of the book, else by file.

    The cells of a notebook run in order in one kernel; the tests of a file share what they set up.
    """

    def _split_scope(self, nodeid: str) -> str:
        page = re.search(r"\[(.*?\.html)", nodeid)
        return page[1] if page else nodeid.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByPage:
    """The scheduler of `pytest -n`."""
    return ByPage(config, log)
