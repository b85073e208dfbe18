"""`python -m lbdl_book.pdf BUILT FOLDER [chapter ...]`: the built book as PDF.

Without chapters, the whole book: each page is set by its own MathJax, all become one,
which is printed in two formats, A4 and a phone's page. With chapters ("softmax", or
"each" for all), each alone. Formulas and tables that are wider than the page are set
smaller; what would still be cut is an error.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error
from playwright.sync_api import Page as Tab

from . import editions
from .editions import CannotMake, Page, counted


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
COVER = '<p class="lbdl-cover"><img src="cover.jpg" alt=""></p>'
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
    """One edition in all formats: its pages made still, put together, printed."""
    whole = len(pages) > 1
    taken = [
        editions.take(browser, built, p, pages, "pdf.js") for p in counted(pages)
    ]
    print("[lbdl] printing (a whole book: minutes)", flush=True)
    with tempfile.TemporaryDirectory() as desk:
        if whole:
            cover = editions.photograph(browser, built, title)
            (Path(desk) / "cover.jpg").write_bytes(cover)
        page = Path(desk) / "edition.html"
        heading = title if whole else f"{pages[0].title} · {title}"
        page.write_text(
            assemble(
                taken, heading, COVER + editions.front(title) if whole else ""
            ),
            "utf-8",
        )
        tab = editions.opened(browser, page.as_uri())
        files = [printed(tab, f, folder / f"{name}-{f.name}.pdf") for f in FORMATS]
        tab.close()
    return files


def assemble(taken: list[dict[str, Any]], title: str, front: str) -> str:
    """All pages as one, without the scripts that served a screen."""
    links = dict.fromkeys(link for page in taken for link in page["styles"])
    rules = dict.fromkeys(rule for page in taken for rule in page["rules"])
    return (
        '<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        + f"<title>{escape(title)}</title>"
        + "".join(
            f'<link rel="stylesheet" href="{escape(link)}">' for link in links
        )
        + f'<style>{"".join(rules)}</style></head><body><main class="bd-content">'
        + front
        + "".join(page["text"] for page in taken)
        + "</main></body></html>"
    )


def printed(tab: Tab, paper: Format, file: Path) -> Path:
    """Print the page that is open; what is too wide is made smaller first."""
    tab.set_viewport_size({"width": paper.line, "height": 1000})
    style(
        tab, editions.script("pdf.css") + paper.style + NARROW * (paper.width < 150)
    )
    found = tab.evaluate(editions.script("fit.js"), {"width": paper.line})
    if found["cut"]:
        raise CannotMake(
            f"{file.name} would be cut at the right:\n" + "\n".join(found["cut"])
        )
    data = print_to_pdf(tab)
    with editions.finished(file) as part:
        part.write_bytes(small(dated(data)))
    print(
        f"[lbdl] {editions.size(file)}; {found['fitted']} formulas and tables were made "
        f"smaller, the smallest to {found['smallest']:.0%}",
        flush=True,
    )
    return file


def print_to_pdf(tab: Tab) -> bytes:
    """With outline and structure; a book too large for that, with its links alone."""
    options = {"prefer_css_page_size": True, "print_background": True}
    try:
        return tab.pdf(outline=True, tagged=True, **options)
    except Error:
        print("[lbdl] too large for an outline: printed without one", flush=True)
    try:
        return tab.pdf(**options)
    except Error as error:
        raise CannotMake(
            f"Chromium cannot print so much at once; name chapters: {error.message}"
        ) from None


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
