"""What the tests of `lbdl.notebook` share: displayed bundles, caught instead of
shown."""

import importlib
from typing import Any

import pytest


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bundles handed to `display`, in order."""
    bundles: list[dict[str, Any]] = []
    for name in ("explore", "check", "show", "quiz"):
        module = importlib.import_module(f"lbdl.notebook.{name}")
        monkeypatch.setattr(
            module,
            "display",
            lambda bundle, **more: bundles.append(bundle | more),
        )
    return bundles
