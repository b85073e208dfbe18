"""A real browser for the built book and for JupyterLab."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from lbdl_book.editions import CannotMake, chromium
from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"


@contextmanager
def opened() -> Iterator[Browser]:
    """Chromium, as the editions find it. Without any, only CI fails."""
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(chromium())
        except CannotMake as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        yield browser


@pytest.fixture(
    scope="module"
)  # while it lives, its event loop runs: tests of other files may want none
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of one file."""
    with opened() as browser:
        yield browser


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book."""
    if not (HTML / "index.html").exists():
        pytest.fail("the book is not built: run `make book` first")
    return HTML
