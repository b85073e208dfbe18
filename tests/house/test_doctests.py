"""The examples in docstrings are what the functions answer."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import lbdl

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(lbdl.__path__, "lbdl.")
    if not module.name.endswith("__main__")
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str):
    found = doctest.testmod(
        importlib.import_module(name),
        optionflags=OPTIONS,
        extraglobs={"torch": torch},
    )
    assert found.failed == 0


def test_a_wrong_example_would_be_seen(tmp_path, monkeypatch):
    (tmp_path / "wrong.py").write_text('"""\n>>> 1 + 1\n3\n"""\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert doctest.testmod(importlib.import_module("wrong")).failed == 1
