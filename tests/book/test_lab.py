"""JupyterLab, started for real on loopback and driven in a real browser."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from lbdl_book.written import numbers
from playwright.sync_api import Browser, Locator, Page, expect

from tests.book.watched import hold

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
    held = opening(CHAPTER, *sources("740336e7", "740336e7"))
    nbformat.write(held, folder / "held.ipynb")
    render_all_cells(folder / ".jupyter")
    with started(folder) as address:
        yield address


@contextmanager
def started(folder: Path, *options: str) -> Iterator[str]:
    """A JupyterLab on a folder; its address."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", f"--port={port}", "--ip=127.0.0.1",
         "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True", f"--notebook-dir={folder}", *options],
        env={**os.environ, "LBDL_EXPLORE": "live", "JUPYTER_CONFIG_DIR": str(folder / ".jupyter")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        wait_for(address + "/api")
        yield address
        server.terminate()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of what `make lab` opens, on a copy of the book."""
    folder = tmp_path_factory.mktemp("desk") / "book"
    left_out = shutil.ignore_patterns("_ext", ".ipynb_checkpoints")
    shutil.copytree(ROOT / "book", folder, ignore=left_out)
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlab:")[1]
    options = re.findall(r"--LabApp\S+", lines.split("\n\n")[0])
    assert len(options) == 2
    with started(
        folder, *(o.replace("$(CURDIR)", str(ROOT)) for o in options)
    ) as at:
        yield at


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


def sources(*names: str) -> list[str]:
    """The code of these cells of the chapter."""
    cells = {c.id: c.source for c in nbformat.read(CHAPTER, as_version=4).cells}
    return [cells[name] for name in names]


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
    before = picture.get_attribute("src")
    value = handle.get_attribute("aria-valuenow")
    x, y = hold(handle)
    width = (slider.bounding_box() or {"width": 0.0})["width"]
    slider.page.mouse.move(x + 0.3 * width, y, steps=12)
    slider.page.mouse.up()
    assert handle.get_attribute("aria-valuenow") != value, (
        "the handle did not follow"
    )
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


CURSOR = "window.jupyterapp.shell.currentWidget.content.activeCellIndex"


def test_what_can_be_held_moves_here_too(page: Page, lab: str) -> None:
    """And its arrow keys are no commands of the notebook: the cursor stays in its cell."""
    open_notebook(page, lab, "held.ipynb")
    run(page, "notebook:run-all-cells")
    drags = page.locator("lbdl-drag[data-state]")
    drags.nth(1).wait_for(timeout=PATIENCE)
    for drag in drags.all():
        handle = drag.locator(".handle")
        handle.click()
        before, cursor = drag.get_attribute("data-state"), page.evaluate(CURSOR)
        picture = drag.locator("svg").inner_html()
        handle.press("ArrowDown")
        expect(drag).not_to_have_attribute("data-state", before or "")
        assert drag.locator("svg").inner_html() != picture
        assert page.evaluate(CURSOR) == cursor
    assert drags.count() == 2


# ------------------------------------------------------- as `make lab` opens the book


WORDS = """() => {
    const page = document.querySelector(".jp-MarkdownViewer").cloneNode(true);
    page.querySelectorAll("pre, code").forEach(part => part.remove());
    return page.textContent;
}"""


def test_the_landing_page_opens_with_the_chapters_in_order(
    page: Page, desk: str
) -> None:
    """And nobody is asked whether to fetch Jupyter's news."""
    page.goto(desk)
    links = page.locator(".jp-MarkdownViewer a[href*='.ipynb']")
    links.first.wait_for(timeout=PATIENCE)
    assert page.url.endswith("/lab/tree/intro.md")
    page.wait_for_timeout(3000)  # the question came after the page
    assert page.get_by_text("Jupyter news").count() == 0
    listed = page.locator(".jp-MarkdownViewer ol > li a[href*='.ipynb']")
    found = [
        re.search(r"(\w+/\w+)\.ipynb", link.get_attribute("href") or "")[1]  # type: ignore[index]
        for link in listed.all()
    ]
    assert [f"book/{name}" for name in found] == list(numbers())
    assert not re.search(r"\{[a-z:]+\}", page.evaluate(WORDS)), (
        "an unread directive"
    )
    listed.first.click()
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)


CITING = "models/softmax.ipynb"
IN_VIEW = """name => {
    const place = document.getElementById(name)
        ?? document.querySelector(`[name="${name}"]`);
    if (!place) return false;
    const { top, bottom } = place.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
}"""


def jumps(page: Page, link: Locator) -> bool:
    """Whether a click brings what the link names into view; cells that are still
    being rendered may push it away, and then it is clicked again."""
    link.wait_for(timeout=PATIENCE)
    name = (link.get_attribute("href") or "").partition("#")[2]
    for _ in range(30):
        link.evaluate("link => link.click()")
        page.wait_for_timeout(1000)
        if page.evaluate(IN_VIEW, name):
            return True
    return False


def test_citations_and_figures_are_read_and_lead_to_their_places(
    page: Page, desk: str
) -> None:
    open_notebook(page, desk, CITING)
    notebook = page.locator(".jp-Notebook")
    cited = notebook.locator("a", has_text="(Dao et al., 2022)").first
    cited.wait_for(timeout=PATIENCE)
    assert notebook.get_by_text("{cite").count() == 0
    assert notebook.get_by_text("{numref").count() == 0
    assert jumps(page, cited)
    assert notebook.get_by_text("memory-efficient exact attention").count() >= 1
    figure = notebook.locator("a", has_text=re.compile(r"Fig\. \d+\.1$")).first
    assert jumps(page, figure)


def test_a_check_leads_to_its_equation(page: Page, desk: str) -> None:
    open_notebook(page, desk, CITING)
    link = page.locator(".lbdl-check a.lbdl-eq").first
    link.wait_for(timeout=PATIENCE)
    assert jumps(page, link)


def test_solutions_are_folded_and_quizzes_say_what_they_wait_for(
    page: Page, desk: str
) -> None:
    open_notebook(page, desk, CITING)
    notebook = page.locator(".jp-Notebook")
    notebook.wait_for(timeout=PATIENCE)
    assert page.get_by_text("questions wait here. Run this cell").count() == 1
    folded = page.locator(
        ".jp-CodeCell:has(.jp-OutputCollapser):has(.jp-Placeholder)"
    )
    cells = nbformat.read(ROOT / "book" / CITING, as_version=4).cells
    due = sum("outputs_hidden" in c.metadata.get("jupyter", {}) for c in cells)
    assert due >= 4 and folded.count() >= due
    shown = page.evaluate(
        "() => jupyterapp.shell.currentWidget.content.widgets.filter("
        "c => c.model.type == 'code' && c.outputHidden && c.inputHidden).length"
    )
    assert shown == due


def test_during_a_run_of_all_cells_a_slider_says_that_it_waits(
    page: Page, desk: str
) -> None:
    open_notebook(page, desk, CITING)
    run(page, "notebook:run-all-cells")
    waits = page.get_by_text("Other cells are running: the picture follows")
    waits.first.wait_for(timeout=PATIENCE)
    page.wait_for_function(f"() => {KERNEL}?.status == 'idle'", timeout=PATIENCE)
    expect(waits).to_have_count(0, timeout=PATIENCE)
    assert moved(
        page.locator(".widget-slider").first,
        page.locator(".jupyter-widgets img").first,
    )
