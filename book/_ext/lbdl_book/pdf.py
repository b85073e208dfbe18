"""`python -m lbdl_book.pdf BUILT FOLDER [chapter ...]`: the built book as PDF.

Without chapters, the whole book: each page is set by its own MathJax and printed in two
formats, A4 and a phone's page; then all are bound. With chapters ("softmax", or "each"
for all), each alone. Formulas and tables that are wider than the page are set
smaller; what would still be cut is an error.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from . import editions
from .binding import ELSEWHERE, bind, length
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
LINK = re.compile(r'href="#([^"]*)"')
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
    if chapters:
        chosen(book, chapters)  # what is unknown is said before a browser opens
    files = []
    with editions.chromium() as browser:
        if not chapters:
            return whole(browser, built, folder, book)
        for name, page in chosen(book, chapters).items():
            print(f"[lbdl] {name}", flush=True)
            files += edition(browser, built, folder, name, page, book[0].title)
    return files


def chosen(book: list[Page], chapters: list[str]) -> dict[str, Page]:
    """The chapters asked for, by the name of their file; all for "each"."""
    known = {Path(page.file).stem: page for page in book}
    if unknown := set(chapters) - {*known, "each"}:
        raise CannotMake(
            f"no chapter {', '.join(sorted(unknown))}: {', '.join(known)}"
        )
    return known if "each" in chapters else {name: known[name] for name in chapters}


def edition(
    browser: Browser, built: Path, folder: Path, name: str, page: Page, title: str
) -> list[Path]:
    """A page of the book in all formats: made still, then printed."""
    taken = editions.take(browser, built, page, [page], "pdf.js")
    files = []
    with tempfile.TemporaryDirectory() as desk:
        sheet = Path(desk) / "edition.html"
        sheet.write_text(assemble(taken, f"{page.title} · {title}"), "utf-8")
        tab = editions.opened(browser, sheet.as_uri())
        for paper in FORMATS:
            file = folder / f"{name}-{paper.name}.pdf"
            files.append(kept(printed(tab, paper, file.name), file))
        tab.close()
    return files


def whole(
    browser: Browser, built: Path, folder: Path, book: list[Page]
) -> list[Path]:
    """The whole book in all formats: front and pages printed one by one, numbered on,
    then bound."""
    parts: dict[str, dict[str, bytes]] = {paper.name: {} for paper in FORMATS}
    with tempfile.TemporaryDirectory() as desk:
        cover = editions.photograph(browser, built, book[0].title)
        (Path(desk) / "cover.jpg").write_bytes(cover)
        for name, html in sheets(browser, built, book):
            sheet = Path(desk) / "part.html"
            sheet.write_text(html, "utf-8")
            tab = editions.opened(browser, sheet.as_uri())
            for paper in FORMATS:
                bound = parts[paper.name]
                before = sum(length(part) for part in [*bound.values()][1:])
                bound[name] = printed(tab, paper, f"{name}-{paper.name}", before)
            tab.close()
    return [
        kept(
            bind(parts[paper.name], book[0].title),
            folder / f"lbdl-{paper.name}.pdf",
        )
        for paper in FORMATS
    ]


def sheets(
    browser: Browser, built: Path, book: list[Page]
) -> Iterator[tuple[str, str]]:
    """What is printed one by one: the front, then the pages of the book, each with the
    places that others lead to."""
    title = book[0].title
    first = editions.take(browser, built, book[0], book, "pdf.js")
    yield "front", assemble(first | {"text": COVER + editions.front(title)}, title)
    pages = {
        page: editions.take(browser, built, page, book, "pdf.js")
        for page in counted(book)
    }
    places = {
        link for taken in pages.values() for link in LINK.findall(taken["text"])
    }
    for page, taken in pages.items():
        text = outward(taken["text"], page, book) + doors(page, places)
        yield page.key, assemble(taken | {"text": text}, page.title)


def outward(text: str, page: Page, book: list[Page]) -> str:
    """A page whose links to other pages of the book are told from those within it."""
    names = {other.key for other in book} - {page.key}

    def told(link: re.Match[str]) -> str:
        name = link[1].partition("--")[0]
        return f'href="{ELSEWHERE}{link[1]}"' if name in names else link[0]

    return LINK.sub(told, text)


def doors(page: Page, places: set[str]) -> str:
    """Links that nobody sees: Chromium names the places of a page that the page itself
    leads to, and no others."""
    own = sorted(place for place in places if place.startswith(f"{page.key}--"))
    return "".join(f'<a hidden href="#{place}"></a>' for place in own)


def assemble(taken: dict[str, Any], title: str) -> str:
    """A page without the scripts that served a screen."""
    links = "".join(
        f'<link rel="stylesheet" href="{escape(link)}">' for link in taken["styles"]
    )
    return (
        '<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>{links}<style>{''.join(taken['rules'])}</style>"
        f'</head><body><main class="bd-content">{taken["text"]}</main></body></html>'
    )


def printed(tab: Tab, paper: Format, name: str, before: int = 0) -> bytes:
    """Print the page that is open, numbered after so many others; what is too wide is
    made smaller first."""
    tab.set_viewport_size({"width": paper.line, "height": 1000})
    numbered = f"html {{ counter-reset: page {before} }}"
    narrow = NARROW * (paper.width < 150)
    style(tab, editions.script("pdf.css") + paper.style + narrow + numbered)
    found = tab.evaluate(editions.script("fit.js"), {"width": paper.line})
    if found["cut"]:
        raise CannotMake(
            f"{name} would be cut at the right:\n" + "\n".join(found["cut"])
        )
    print(
        f"[lbdl] {name}: {found['fitted']} formulas and tables were made smaller, the "
        f"smallest to {found['smallest']:.0%}",
        flush=True,
    )
    return tab.pdf(
        prefer_css_page_size=True, print_background=True, outline=True, tagged=True
    )


def kept(data: bytes, file: Path) -> Path:
    """Write a PDF, dated and small."""
    with editions.finished(file) as part:
        part.write_bytes(small(dated(data)))
    print(f"[lbdl] {editions.size(file)}", flush=True)
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
