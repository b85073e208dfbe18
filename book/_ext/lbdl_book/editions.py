"""What the editions for keeping share, EPUB and PDF: both are made of the built pages,
by the browser that they were built for."""

import os
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser, Error, sync_playwright
from playwright.sync_api import Page as Tab

AUTHORS = "The authors of the Little Executable Book of Deep Learning"
DESCRIPTION = (
    "Deep learning in which every claim runs: each displayed equation is followed by "
    "code that tests it, and that code was executed when this edition was made."
)
NOTE = (
    "This edition was made from the executable book. Where the book has a slider, it "
    "shows one picture with its values and its sentence; code that only draws a "
    "picture is left out; solutions and the answers of the self-tests are printed."
)
RIGHTS = "Text and pictures: CC BY 4.0. Code: MIT."

HERE = Path(__file__).parent
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
ONWARD = re.compile(r'http-equiv="Refresh" content="0; url=(.*?)"')
# Of a formula that is set, or a slider that is drawn, the page says nothing itself.
READY = """() => (!window.MathJax || MathJax.startup?.promise)
    && !document.querySelector(":is(lbdl-explore, lbdl-drag):not([data-state])")"""


class CannotMake(Exception):
    """An edition cannot be made here; the message says what to do."""


@dataclass(frozen=True)
class Page:
    """A page of the book: its file below the built book, its title, its part."""

    file: str  # "book/models/softmax.html"
    title: str
    part: str  # "Models"; empty for the first page

    @property
    def key(self) -> str:
        """Its name in an edition: "book-models-softmax"."""
        return self.file.removesuffix(".html").replace("/", "-")


def contents(built: Path) -> list[Page]:
    """The pages in reading order, as the sidebar of the first one lists them.

    Raises:
        CannotMake: there is no built book.
    """
    if not (built / "index.html").exists():
        raise CannotMake(f"{built} holds no built book: run make book first")
    onward = ONWARD.search((built / "index.html").read_text("utf-8"))
    first = onward[1] if onward else "index.html"
    pages, part = {}, ""
    for found in parse(built / first).select(".bd-links .caption, .bd-links a"):
        title = " ".join(found.get_text().split())
        if found.name != "a":
            part = title
        elif (built / (file := target(first, str(found["href"])))).is_file():
            pages.setdefault(file, Page(file, title, part))
    return list(pages.values())


def parse(file: Path) -> Tag:
    """A page as a tree."""
    return BeautifulSoup(file.read_text("utf-8"), "html.parser")


def target(page: str, link: str) -> str:
    """The page that a link of a page leads to, from the top of the book."""
    file = link.partition("#")[0]
    return (
        os.path.normpath(os.path.join(os.path.dirname(page), file))
        if file
        else page
    )


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium: `LBDL_CHROMIUM`, one that is installed, or Playwright's own.

    Raises:
        CannotMake: there is none.
    """
    installed = filter(None, map(shutil.which, BROWSERS))
    path = os.environ.get("LBDL_CHROMIUM") or next(installed, None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-gpu"]
            )
        except Error as error:
            raise CannotMake(
                "no Chromium to drive (set LBDL_CHROMIUM to one, or run "
                f"`playwright install chromium`): {error.message.splitlines()[0]}"
            ) from None
        yield browser
        browser.close()


def opened(browser: Browser, url: str) -> Tab:
    """A page, open, light, and patient: a busy machine may need minutes for it."""
    tab = browser.new_page(color_scheme="light")
    tab.set_default_timeout(0)
    tab.goto(url)
    return tab


def take(
    browser: Browser, built: Path, page: Page, pages: list[Page], how: str
) -> dict[str, Any]:
    """A page as the browser shows it: made still (all formulas set, solutions open, a
    picture in the place of each slider, questions answered), then taken by a script.

    Args:
        pages: those of the edition; links to others leave their text.
        how: the script, "epub.js" or "pdf.js"; what it returns comes back.
    """
    top = built.resolve().as_uri() + "/"
    tab = opened(browser, top + page.file)
    tab.wait_for_function(READY)
    tab.evaluate(script("editions.js"))
    keys = {p.file: p.key for p in pages}
    taken = tab.evaluate(script(how), {"key": page.key, "top": top, "pages": keys})
    tab.close()
    return taken


def photograph(browser: Browser, built: Path, title: str) -> bytes:
    """The cover, as a JPEG."""
    tab = browser.new_page(viewport={"width": 1200, "height": 1600})
    data = b64encode((built / "_static" / "cover.png").read_bytes()).decode()
    page = script("cover.html").format(
        title=escape(title), picture=f"data:image/png;base64,{data}"
    )
    tab.set_content(page)
    tab.wait_for_function("() => document.images[0].complete")
    taken = tab.screenshot(type="jpeg", quality=88)
    tab.close()
    return taken


def front(title: str) -> str:
    """What stands before the first page: whose book it is, and what this edition is."""
    lines = [DESCRIPTION, NOTE, RIGHTS, f"{AUTHORS}, {date().day} {date():%B %Y}"]
    return (
        f'<section class="lbdl-front"><p class="title">{escape(title)}</p>'
        + "".join(f"<p>{escape(line)}</p>" for line in lines)
        + "</section>"
    )


def script(name: str) -> str:
    """A script or style sheet beside this module."""
    return (HERE / name).read_text("utf-8")


@contextmanager
def finished(file: Path) -> Iterator[Path]:
    """A name to write to, which becomes `file` when all went well; otherwise nothing of
    it stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"unfinished-{file.name}")
    try:
        yield part
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def date() -> datetime:
    """The date of an edition, so that the same pages make the same file:
    `SOURCE_DATE_EPOCH`, that of the last commit, or a fixed one."""
    git = ["git", "-C", str(HERE), "log", "-1", "--format=%ct"]
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if seconds is None and shutil.which("git"):
        seconds = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return datetime.fromtimestamp(int(seconds or 946684800), UTC)


def counted(pages: list[Page]) -> Iterator[Page]:
    """The pages one by one; each is announced."""
    for number, page in enumerate(pages, 1):
        print(f"[lbdl] page {number} of {len(pages)}: {page.title}", flush=True)
        yield page


def size(file: Path) -> str:
    """A file and its size, for the last line."""
    return f"{file}: {file.stat().st_size / 1e6:.1f} MB"


def main(make: Any, arguments: list[str], usage: str) -> None:
    """Run a command of two or more arguments; what cannot be made ends in one line."""
    if len(arguments) < 2:
        raise SystemExit(usage)
    try:
        make(*arguments)
    except CannotMake as error:
        raise SystemExit(f"[lbdl] {error}") from None
