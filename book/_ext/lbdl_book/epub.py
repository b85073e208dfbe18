"""`python -m lbdl_book.epub BUILT FILE`: the built book as an EPUB 3.

Formulas are MathML, taken from the page's own MathJax; a slider is a still picture with
its values and its sentence; solutions are open, and code that only draws is left out.
Order and dates are fixed: the same pages make the same file.
"""

import re
import sys
import uuid
from collections.abc import Collection
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from . import editions
from .editions import Page

TYPES = {
    ".css": "text/css",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff": "font/woff",
    ".xhtml": "application/xhtml+xml",
}
CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="book/content.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""
XHTML = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en">
<head><title>{title}</title><link rel="stylesheet" type="text/css" href="book.css"/></head>
<body>{body}</body>
</html>
"""
OPF = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:{identifier}</dc:identifier>
<dc:title>{title}</dc:title>
<dc:language>en</dc:language>
<dc:creator>{authors}</dc:creator>
<dc:description>{description}</dc:description>
<dc:subject>Deep learning</dc:subject>
<dc:rights>{rights}</dc:rights>
<dc:date>{date:%Y-%m-%d}</dc:date>
<meta property="dcterms:modified">{date:%Y-%m-%dT%H:%M:%SZ}</meta>
<meta property="schema:accessMode">textual</meta>
<meta property="schema:accessMode">visual</meta>
<meta property="schema:accessModeSufficient">textual</meta>
<meta property="schema:accessibilityFeature">alternativeText</meta>
<meta property="schema:accessibilityFeature">MathML</meta>
<meta property="schema:accessibilityFeature">structuralNavigation</meta>
<meta property="schema:accessibilityHazard">none</meta>
<meta property="schema:accessibilitySummary">Formulas are MathML; every picture is described.</meta>
<meta name="cover" content="cover.jpg"/>
</metadata>
<manifest>
{manifest}
</manifest>
<spine>
{spine}
</spine>
</package>
"""
LIGHT = re.compile(
    r'^html\[data-theme="light"\] (\.highlight \.\w+ {.*?}).*$', re.MULTILINE
)


def write(built: Path, file: Path, only: Collection[str] = ()) -> None:
    """Write the pages below `built` into `file`, or `only` some of them, as
    "book/models/softmax.html".

    Raises:
        CannotMake: there is no built book, or no Chromium.
    """
    book = editions.contents(built)
    pages = [page for page in book if not only or page.file in only]
    with editions.chromium() as browser:
        taken = {
            page: editions.take(browser, built, page, pages, "epub.js")
            for page in editions.counted(pages)
        }
        cover = editions.photograph(browser, built, book[0].title)
    entries = front(book[0].title, built, cover)
    for page, chapter in taken.items():
        entries[f"{page.key}.xhtml"] = XHTML.format(
            title=escape(page.title), body=chapter["text"]
        )
        for name, picture in pictures(built, chapter):
            entries[f"pictures/{name}"] = picture
    entries["nav.xhtml"] = navigation(taken)
    entries["content.opf"] = package(book[0].title, pages, entries)
    with editions.finished(file) as part:
        pack(entries, part)


def pictures(built: Path, chapter: dict[str, Any]) -> list[tuple[str, str | bytes]]:
    """The pictures of a chapter by name: those it draws, those it names."""
    read = {
        name: (built / path).read_bytes() for name, path in chapter["files"].items()
    }
    return [
        (name, mended(data) if name.endswith(".svg") else data)
        for name, data in {**chapter["drawn"], **read}.items()
    ]


def mended(svg: str | bytes) -> str:
    """A picture of matplotlib as EPUB allows it: no document type, no date, no path
    without a course, no name twice."""
    text = svg if isinstance(svg, str) else svg.decode("utf-8")
    text = re.sub(
        r"<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", text, flags=re.DOTALL
    )
    text = re.sub(r"<path(?![^>]*\sd=)", '<path d="M0 0"', text)
    return re.sub(r'(<image\b[^>]*?) id="[^"]*"', r"\1", text)


def front(title: str, built: Path, cover: bytes) -> dict[str, str | bytes]:
    """What stands before the first page: cover, title page, style."""
    picture = f'<div id="cover"><img src="cover.jpg" alt="{escape(title)}"/></div>'
    light = LIGHT.findall((built / "_static" / "pygments.css").read_text("utf-8"))
    return {
        "book.css": editions.script("epub.css") + "\n".join(light) + "\n",
        "formulas.woff": (editions.HERE / "formulas.woff").read_bytes(),
        "cover.jpg": cover,
        "cover.xhtml": XHTML.format(title="Cover", body=picture),
        "title.xhtml": XHTML.format(
            title=escape(title), body=editions.front(title)
        ),
    }


def navigation(taken: dict[Page, dict[str, Any]]) -> str:
    """The table of contents: parts, chapters, sections."""
    lines = ['<nav epub:type="toc" id="toc"><h1>Contents</h1><ol>']
    for part, pages in groupby(taken, key=lambda page: page.part):
        entries = "\n".join(entry(page, taken[page]["sections"]) for page in pages)
        lines.append(
            f"<li><span>{escape(part)}</span><ol>{entries}</ol></li>"
            if part
            else entries
        )
    return XHTML.format(title="Contents", body="\n".join([*lines, "</ol></nav>"]))


def entry(page: Page, sections: list[tuple[str, str]]) -> str:
    """A chapter and its sections in the table of contents."""
    below = "".join(
        f'<li><a href="{page.key}.xhtml#{anchor}">{escape(" ".join(text.split()))}</a></li>'
        for anchor, text in sections
        if anchor
    )
    link = f'<a href="{page.key}.xhtml">{escape(page.title)}</a>'
    return f"<li>{link}{f'<ol>{below}</ol>' if below else ''}</li>"


def package(title: str, pages: list[Page], entries: dict[str, str | bytes]) -> str:
    """The list of all files, their order, and what the book is."""
    spine = ["cover", "title", "nav", *(page.key for page in pages)]
    return OPF.format(
        identifier=uuid.uuid5(uuid.NAMESPACE_URL, title),
        title=escape(title),
        authors=editions.AUTHORS,
        description=editions.DESCRIPTION,
        rights=editions.RIGHTS,
        date=editions.date(),
        manifest="\n".join(item(name, entries[name]) for name in sorted(entries)),
        spine="\n".join(f'<itemref idref="{name}.xhtml"/>' for name in spine),
    )


def item(name: str, content: str | bytes) -> str:
    """A file in the package's list."""
    kinds = {"nav.xhtml": "nav", "cover.jpg": "cover-image"}
    kind = kinds.get(name) or ("mathml" if b"<math" in encoded(content) else "")
    properties = f' properties="{kind}"' if kind else ""
    key = name.replace("/", "-")
    return f'<item id="{key}" href="{name}" media-type="{TYPES[Path(name).suffix]}"{properties}/>'


def encoded(content: str | bytes) -> bytes:
    """Text as a file holds it."""
    return content.encode("utf-8") if isinstance(content, str) else content


def pack(entries: dict[str, str | bytes], file: Path) -> None:
    """Write the archive: its type first and as it is, the rest in order."""
    with ZipFile(file, "w") as archive:
        archive.writestr(ZipInfo("mimetype"), "application/epub+zip", ZIP_STORED)
        archive.writestr(
            ZipInfo("META-INF/container.xml"), CONTAINER, ZIP_DEFLATED, 9
        )
        for name in sorted(entries):
            content = encoded(entries[name])
            archive.writestr(ZipInfo(f"book/{name}"), content, ZIP_DEFLATED, 9)


def make(built: str, file: str) -> None:
    """The command."""
    write(Path(built), Path(file))
    print(f"[lbdl] {editions.size(Path(file))}")


if __name__ == "__main__":
    editions.main(make, sys.argv[1:], "python -m lbdl_book.epub BUILT FILE")
