"""The book in one file: small, always the same, and whole when it is unpacked and opened from a disk."""

from pathlib import Path
from zipfile import ZipFile

import pytest
from bs4 import BeautifulSoup
from lbdl_book.pack import pack
from playwright.sync_api import Browser

from tests.book.conftest import HTML

pytestmark = pytest.mark.browser

OPENED = [
    "book/intro.html",
    "book/models/entmax.html",
    "book/geometry/rotations.html",
    "search.html?q=softmax",
]


@pytest.fixture(scope="module")
def unpacked(html: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zip")
    file = folder / "lbdl.zip"
    pack(HTML, file)
    first = file.read_bytes()
    pack(HTML, file)
    assert file.read_bytes() == first, "the same pages, the same file"
    assert len(first) < 12e6
    with ZipFile(file) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"lbdl"}
        archive.extractall(folder)
    return folder / "lbdl"


@pytest.mark.parametrize("name", OPENED)
def test_an_unpacked_page_misses_nothing(
    browser: Browser, unpacked: Path, name: str
) -> None:
    page = browser.new_page()
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(
        (unpacked / name.partition("?")[0]).as_uri()
        + name[len(name.partition("?")[0]) :]
    )
    page.wait_for_function("() => !window.MathJax || MathJax.startup?.promise")
    page.evaluate(
        "() => window.MathJax && MathJax.startup.promise"
        ".then(() => { MathJax.startup.document.lazyTypesetAll(); })"
    )
    assert failed == []
    assert page.locator("mjx-merror").count() == 0
    if "entmax.html" in name:
        assert page.locator("mjx-container").count() > 100
        assert page.locator("lbdl-explore[data-state]").count() > 2
    if "search" in name:
        assert page.locator("#search-results li").count() > 3
    page.close()


def test_no_link_leads_to_what_was_left_out(unpacked: Path) -> None:
    for path in unpacked.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "_sources/" not in text, path.name
    soup = BeautifulSoup((unpacked / OPENED[1]).read_text("utf-8"), "html.parser")
    wanted = [
        t.get("src") or t.get("href")
        for t in soup.select("script[src], img[src], link[href]")
    ]
    here = (unpacked / OPENED[1]).parent
    lost = [
        w
        for w in wanted
        if not w.startswith("data:")
        and not (here / w.split("?")[0].split("#")[0]).resolve().exists()
    ]
    assert lost == []
