"""JupyterLab, started for real on loopback and driven in a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "book" / "foundations" / "gradient_descent.ipynb"
PATIENCE = 180_000  # milliseconds: machines are busy
KERNEL = (
    "window.jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel"
)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab whose folder holds a chapter, and its opening
    with two kinds of mistakes in it."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(CHAPTER, folder)
    nbformat.write(opening(CHAPTER, "1 / 0"), folder / "mistake.ipynb")
    nbformat.write(opening(CHAPTER, FRAGILE), folder / "fragile.ipynb")
    render_all_cells(folder / ".jupyter")
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", f"--port={port}", "--ip=127.0.0.1",
         "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True", f"--notebook-dir={folder}"],
        env={**os.environ, "LBDL_EXPLORE": "live", "JUPYTER_CONFIG_DIR": str(folder / ".jupyter")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        wait_for(address + "/api")
        yield address
        server.terminate()


def render_all_cells(config: Path) -> None:
    """JupyterLab keeps only the cells in view; here all stay, so that a slider can
    be found after the last cell ran."""
    settings = (
        config
        / "lab"
        / "user-settings"
        / "@jupyterlab"
        / "notebook-extension"
        / "tracker.jupyterlab-settings"
    )
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}')


FRAGILE = """
def fragile(x):
    fig, ax = figure()
    ax.plot([0, 1 / x])
    return fig

explore(fragile, alt="a line", x=Slider(-1, 1, at=1, steps=3))
"""


def opening(path: Path, *more: str) -> nbformat.NotebookNode:
    """The chapter up to its first slider, and these cells."""
    notebook = nbformat.read(path, as_version=4)
    first = next(
        i
        for i, c in enumerate(notebook.cells)
        if c.cell_type == "code" and "explore(" in c.source
    )
    notebook.cells = notebook.cells[: first + 1] + [
        nbformat.v4.new_code_cell(source) for source in more
    ]
    return notebook


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def open_notebook(page: Page, lab: str, name: str) -> None:
    page.goto(f"{lab}/lab/tree/{name}?reset")
    page.wait_for_function(
        "() => window.jupyterapp && window.jupyterapp.shell.currentWidget",
        timeout=PATIENCE,
    )
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
    page.wait_for_function(f"() => {KERNEL}?.status == 'idle'", timeout=PATIENCE)


def run(page: Page, command: str) -> None:
    """Start a command of JupyterLab's own menu; it goes on by itself."""
    page.evaluate(
        "command => { window.jupyterapp.commands.execute(command); }", command
    )


def moved(slider: Locator, picture: Locator) -> bool:
    """Drag the handle to the right; whether the picture changes, once the kernel
    has time."""
    handle = slider.locator(".noUi-handle")
    handle.scroll_into_view_if_needed()
    before = picture.get_attribute("src")
    box, track = handle.bounding_box(), slider.bounding_box()
    assert box is not None and track is not None
    mouse = slider.page.mouse
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(
        track["x"] + 0.8 * track["width"], box["y"] + box["height"] / 2, steps=12
    )
    mouse.up()
    for _ in range(900):  # a minute and a half: the kernel first ends what it runs
        if picture.get_attribute("src") != before:
            return True
        slider.page.wait_for_timeout(100)
    return False


def test_opened_and_not_yet_run_a_slider_is_a_picture_and_a_sentence(
    page: Page, lab: str
) -> None:
    open_notebook(page, lab, CHAPTER.name)
    hint = page.get_by_text("Run this cell to move the slider").first
    hint.wait_for(timeout=PATIENCE)
    output = page.locator(".jp-Cell", has=hint).first
    assert output.locator("img").count() >= 1
    assert page.get_by_text("Error displaying widget").count() == 0
    # its mathematics is typeset
    page.wait_for_selector(".jp-MarkdownCell .katex", timeout=PATIENCE)


def test_run_all_then_drag_and_the_picture_changes(page: Page, lab: str) -> None:
    open_notebook(page, lab, CHAPTER.name)
    run(page, "notebook:run-all-cells")
    slider = page.locator(".widget-slider").first
    slider.wait_for(timeout=PATIENCE)
    picture = page.locator(".jupyter-widgets img").first
    picture.wait_for(timeout=PATIENCE)
    assert picture.get_attribute("alt")
    assert moved(slider, picture)


def test_an_error_leaves_the_sliders_alive(page: Page, lab: str) -> None:
    open_notebook(page, lab, "mistake.ipynb")
    run(page, "notebook:run-all-cells")
    page.get_by_text("ZeroDivisionError").first.wait_for(timeout=PATIENCE)
    assert moved(
        page.locator(".widget-slider").first,
        page.locator(".jupyter-widgets img").first,
    )


def test_an_error_while_drawing_is_shown_and_the_slider_still_moves(
    page: Page, lab: str
) -> None:
    open_notebook(page, lab, "fragile.ipynb")
    run(page, "notebook:run-all-cells")
    slider = page.locator(".widget-slider").nth(1)
    slider.wait_for(timeout=PATIENCE)
    slider.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowLeft")
    error = page.locator('pre[role="alert"]', has_text="ZeroDivisionError")
    error.wait_for(timeout=PATIENCE)
    page.keyboard.press("ArrowLeft")
    error.wait_for(state="detached", timeout=PATIENCE)
