"""Packages that a user would pick instead, and that some machines lack."""

from typing import Any

import pytest


class Peer:
    """A package that is imported when a test asks it for something; where it is not
    installed, that test is left out, and no other.

    Args:
        name: what is imported.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks for marks of its own
            raise AttributeError(name)
        return getattr(pytest.importorskip(self._name), name)
