"""A real browser for the built book and for JupyterLab."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)


@pytest.fixture(
    scope="module"
)  # while it lives, its event loop runs: tests of other files may want none
def browser() -> Iterator[Browser]:
    """Chromium: `LBDL_CHROMIUM`, one that is installed, or Playwright's own.
    Without any, only CI fails."""
    path = os.environ.get("LBDL_CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), None
    )
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-gpu"]
            )
        except Error as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(
                f"no Chromium to drive (set LBDL_CHROMIUM to one): {error.message.splitlines()[0]}"
            )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book."""
    if not (HTML / "index.html").exists():
        pytest.fail("the book is not built: run `make book` first")
    return HTML
