"""`python -m lbdl_book.pdf BUILT FOLDER [chapter ...]`: the built book as PDF.

Without chapters, the whole book: all pages in one, printed in two formats, A4 and a
phone's page. With chapters ("softmax", or "each" for all), each alone. Formulas and
tables that are wider than the page are set smaller; what would still be cut is an
error.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bs4 import Tag
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from . import editions
from .editions import CannotMake, Page


@dataclass(frozen=True)
class Format:
    """A size of paper, in millimetres, and of letters, in points."""

    name: str
    width: int
    height: int
    margins: tuple[int, int, int, int]  # top, right, bottom, left
    text: float
    code: float

    @property
    def line(self) -> int:
        """The width of the text in CSS pixels."""
        return round((self.width - self.margins[1] - self.margins[3]) / 25.4 * 96)

    @property
    def column(self) -> int:
        """The height of the text, in millimetres."""
        return self.height - self.margins[0] - self.margins[2]

    @property
    def style(self) -> str:
        """What the style sheet of all formats leaves open."""
        margins = " ".join(f"{m}mm" for m in self.margins)
        return f"""
            @page {{ size: {self.width}mm {self.height}mm; margin: {margins};
                @bottom-center {{ content: counter(page); font: 8pt sans-serif }} }}
            html {{ font-size: {self.text}pt !important }}
            :root {{ --code: {self.code}pt; --picture: {0.8 * self.column:.0f}mm;
                --whole: {self.column - 2}mm }}"""


FORMATS = [
    Format("a4", 210, 297, (18, 20, 20, 20), text=10.5, code=7.8),
    Format("phone", 90, 160, (6, 5, 9, 5), text=9, code=5.6),
]
# On a phone's page the number of an equation and its mark stand below it, as on a phone.
NARROW = """
    .bd-article div.math { display: flex !important; flex-direction: column-reverse;
        align-items: stretch; gap: 0; padding-bottom: 0.4em }
    .bd-article div.math span.eqno { align-self: flex-end }
    .lbdl-proven-equation span.eqno { margin-right: 1.75rem }
    .lbdl-proven-equation { display: block !important; position: relative }
    .lbdl-proven-equation > a.lbdl-proven { position: absolute; right: 0; bottom: 0 }
    .bd-article ul, .bd-article ol { padding-left: 1.2rem }"""
SMALL = (
    "--object-streams=generate",
    "--recompress-flate",
    "--compression-level=9",
    "--deterministic-id",
)
CREATED = re.compile(rb"/(CreationDate|ModDate) \(D:\d{14}")


def write(built: Path, folder: Path, chapters: list[str]) -> list[Path]:
    """Write the whole book, or each of some chapters alone, in all formats.

    Returns:
        The files written.

    Raises:
        CannotMake: there is no built book, no such chapter, no Chromium, or something
            is wider than the page.
    """
    book = editions.contents(built)
    wanted = chosen(book, chapters) if chapters else {"lbdl": book}
    files = []
    with editions.chromium() as browser:
        for name, pages in wanted.items():
            print(f"[lbdl] {name}: {len(pages)} pages of the book", flush=True)
            files += edition(browser, built, folder, name, pages, book[0].title)
    return files


def chosen(book: list[Page], chapters: list[str]) -> dict[str, list[Page]]:
    """The chapters asked for, by the name of their file; all for "each"."""
    known = {Path(page.file).stem: [page] for page in book}
    if unknown := set(chapters) - {*known, "each"}:
        raise CannotMake(
            f"no chapter {', '.join(sorted(unknown))}: {', '.join(known)}"
        )
    return known if "each" in chapters else {name: known[name] for name in chapters}


def edition(
    browser: Browser,
    built: Path,
    folder: Path,
    name: str,
    pages: list[Page],
    title: str,
) -> list[Path]:
    """One edition in all formats: assembled, opened, made still, printed."""
    whole = len(pages) > 1
    with tempfile.TemporaryDirectory() as desk:
        for below in (p for p in built.iterdir() if p.is_dir()):
            os.symlink(below.resolve(), Path(desk) / below.name)
        cover = editions.photograph(browser, built, title) if whole else b""
        (Path(desk) / "cover.jpg").write_bytes(cover)
        page = Path(desk) / "edition.html"
        page.write_text(assemble(built, pages, title, whole), "utf-8")
        print(
            "[lbdl] Chromium sets the formulas (a whole book: minutes)", flush=True
        )
        tab = browser.new_page()
        tab.emulate_media(media="print", color_scheme="light")
        editions.settle(tab, page.as_uri())
        files = [printed(tab, f, folder / f"{name}-{f.name}.pdf") for f in FORMATS]
        tab.close()
    return files


def assemble(built: Path, pages: list[Page], title: str, whole: bool) -> str:
    """All pages as one, with the head of the last chapter but without the scripts that
    serve a screen."""
    articles, head = [], None
    for page in editions.counted(pages):
        soup = editions.parse(built / page.file)
        articles.append(article(soup, page, pages))
        if "tex-chtml" in str(soup.head) or head is None:
            head = bare(soup.head, page.file)
    name = title if whole else f"{pages[0].title} · {title}"
    cover = '<p class="lbdl-cover"><img src="cover.jpg" alt=""></p>' * whole
    front = editions.front(title) * whole
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head>{head}'
        f"<title>{escape(name)}</title></head><body><main class='bd-content'>{cover}{front}"
        f"{''.join(articles)}</main></body></html>"
    )


def bare(head: Tag, file: str) -> str:
    """The styles of a page and its MathJax, named from the top of the book."""
    kept = [
        tag
        for tag in head.select('link[rel="stylesheet"], script')
        if tag.name == "link" or "mathjax" in str(tag).lower()
    ]
    for tag in kept:
        for key in {"href", "src"} & set(tag.attrs):
            tag[key] = editions.target(file, str(tag[key]))
    return "".join(map(str, kept))


def article(soup: Tag, page: Page, pages: list[Page]) -> str:
    """The text of a page; its names, links and pictures as they are in the edition."""
    text = soup.select_one("article.bd-article")
    keys = {p.file: p.key for p in pages}
    for tag in text.select(
        "[id]:not([data-numquestions])"
    ):  # a quiz looks for its own
        tag["id"] = f"{page.key}--{tag['id']}"
    for tag in text.select("img[src]"):
        tag["src"] = editions.target(page.file, str(tag["src"]))
    for tag in text.select("a[href]"):
        file, _, anchor = editions.target(page.file, str(tag["href"])).partition(
            "#"
        )
        if file in keys:
            tag["href"] = f"#{keys[file]}" + (f"--{anchor}" if anchor else "")
        elif ":" not in file:
            tag.unwrap()
    text["id"] = page.key
    return str(text)


def printed(tab: Tab, paper: Format, file: Path) -> Path:
    """Print the page that is open; what is too wide is made smaller first."""
    tab.set_viewport_size({"width": paper.line, "height": 1000})
    style(
        tab, editions.script("pdf.css") + paper.style + NARROW * (paper.width < 150)
    )
    found = tab.evaluate(editions.script("pdf.js"), {"width": paper.line})
    if found["cut"]:
        raise CannotMake(
            f"{file.name} would be cut at the right:\n" + "\n".join(found["cut"])
        )
    data = tab.pdf(
        prefer_css_page_size=True, outline=True, tagged=True, print_background=True
    )
    with editions.finished(file) as part:
        part.write_bytes(small(dated(data)))
    print(
        f"[lbdl] {editions.size(file)}; {found['fitted']} formulas and tables were made "
        f"smaller, the smallest to {found['smallest']:.0%}",
        flush=True,
    )
    return file


def style(tab: Tab, text: str) -> None:
    """Put a style sheet in the place of the one before."""
    tab.evaluate(
        """text => {
            const style = document.querySelector("#edition") ?? document.head.appendChild(
                Object.assign(document.createElement("style"), { id: "edition" }));
            style.textContent = text;
        }""",
        text,
    )


def dated(data: bytes) -> bytes:
    """The edition's date in the place of the clock's."""
    stamp = editions.date().strftime("%Y%m%d%H%M%S").encode()
    return CREATED.sub(rb"/\1 (D:" + stamp, data)


def small(data: bytes) -> bytes:
    """Less than half, by qpdf where it is there: Chromium packs no structure."""
    if not (qpdf := shutil.which("qpdf")):
        print("[lbdl] without qpdf the PDF stays twice as large", flush=True)
        return data
    with tempfile.TemporaryDirectory() as desk:
        file = Path(desk) / "large.pdf"
        file.write_bytes(data)
        command: list[Any] = [qpdf, *SMALL, file, "-"]
        return subprocess.run(command, check=True, capture_output=True).stdout


def make(built: str, folder: str, *chapters: str) -> None:
    """The command."""
    write(Path(built), Path(folder), list(chapters))


if __name__ == "__main__":
    editions.main(
        make, sys.argv[1:], "python -m lbdl_book.pdf BUILT FOLDER [chapter ...]"
    )
