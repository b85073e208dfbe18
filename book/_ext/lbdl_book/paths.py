"""What needs what: read from the sentence "You need:" of each chapter.

Where a page holds the empty place `<div class="lbdl-paths-here"></div>`, which
JupyterLab does not show, a map stands: chapters in columns, each to the right of all
that it needs. At the end of a chapter stands the part of it around the chapter: what
it rests on, itself, and what can be read next. `progress.js` marks what has been read, in the reader's own browser.
"""

import re
from functools import cache
from html import escape
from typing import Any

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

from .pages import chapter_title
from .written import DOC, ROOT, numbers

NEEDED = re.compile(r"^\*\*You need:\*\*.*?(?=\. |$)", re.MULTILINE)
PLACE = '<div class="lbdl-paths-here">'
FILE = re.compile(r"\]\(((?:\.\./)?[\w/]+)\.ipynb\)")


def install(app: Sphinx) -> None:
    """Fill the place of the map, and add the box at the end of each chapter."""
    app.connect("doctree-resolved", render)
    app.connect("html-page-context", end_chapter)


@cache
def needs() -> dict[str, list[str]]:
    """The chapters that each chapter asks for, in the order of the book."""
    found = {}
    for chapter in numbers():
        cells = nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells
        prose = "\n".join(c.source for c in cells if c.cell_type == "markdown")
        asked = named(" ".join(NEEDED.findall(prose)), chapter)
        found[chapter] = sorted(asked - {chapter}, key=numbers().__getitem__)
    return found


def named(line: str, chapter: str) -> set[str]:
    """The chapters that a line of a chapter links to."""
    part = chapter.rsplit("/", 1)[0]
    files = [
        f"book/{file[3:]}" if file.startswith("../") else f"{part}/{file}"
        for file in FILE.findall(line)
    ]
    return {*files, *(page for _, page in DOC.findall(line))} & numbers().keys()


def leads_to(chapter: str) -> list[str]:
    """The chapters that ask for this one; where there is none, the next in order."""
    order = list(numbers())
    following = order[order.index(chapter) + 1 :][:1]
    return [other for other in order if chapter in needs()[other]] or following


def column(chapter: str) -> int:
    """How many chapters stand before it, one on the other."""
    return max((1 + column(other) for other in needs()[chapter]), default=0)


def render(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Draw the map: the titles are known when all pages have been read."""
    for place in list(doctree.findall(nodes.raw)):
        if PLACE in place.astext():
            html = drawn(app, docname)
            place.replace_self(nodes.raw("", html, format="html"))


def drawn(app: Sphinx, docname: str) -> str:
    """A column for those that need no other, one for those that need these, and so
    on."""
    columns: dict[int, list[str]] = {}
    for chapter in numbers():
        columns.setdefault(column(chapter), []).append(chapter)
    told = "".join(
        f"<li><p>{'Begin anywhere here' if not n else 'then'}</p>"
        f"<ul>{''.join(entry(app, docname, c) for c in columns[n])}</ul></li>"
        for n in sorted(columns)
    )
    return f'<ol class="lbdl-paths">{told}</ol><p class="lbdl-progress" hidden></p>'


def entry(app: Sphinx, docname: str, chapter: str) -> str:
    """A chapter of the map, with the numbers of what it needs."""
    asked = ", ".join(str(numbers()[other]) for other in needs()[chapter])
    after = f' <span class="lbdl-needs">needs {asked}</span>' if asked else ""
    return f"<li>{link(app, docname, chapter)}{after}</li>"


def link(app: Sphinx, docname: str, chapter: str) -> str:
    """A chapter's title, with its number, as a link that `progress.js` can mark."""
    uri = escape(app.builder.get_relative_uri(docname, chapter))
    return (
        f'<a class="reference internal" data-chapter="{chapter}" href="{uri}">'
        f"{chapter_title(app.env, chapter)}</a>"
    )


def end_chapter(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """The map around a chapter, at its end."""
    if pagename in numbers() and "body" in context:
        context["body"] += (
            f'<nav class="lbdl-onward" aria-label="Onward" data-chapter="{pagename}">'
            f'{around(app, pagename)}<p class="lbdl-progress" hidden></p></nav>'
        )


def around(app: Sphinx, chapter: str) -> str:
    """What a chapter rests on, the chapter, what can be read next: a column each; those
    that are to the right tell what else they need."""
    here = f"<li aria-current='page'>{chapter_title(app.env, chapter)}</li>"
    columns = {
        "This rests on": [entry(app, chapter, c) for c in needs()[chapter]],
        "You are here": [here],
        "Read next": [entry(app, chapter, c) for c in leads_to(chapter)],
    }
    told = "".join(
        f"<li><p>{name}</p><ul>{''.join(entries)}</ul></li>"
        for name, entries in columns.items()
        if entries
    )
    return f'<ol class="lbdl-paths">{told}</ol>'
