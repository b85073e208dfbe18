"""What the search page searches: every section of the book, with its text.

Sphinx's own index knows which page holds a word, not where. So the written pages are read again and each section,
glossary entries included, becomes an entry {page, anchor, heading, chapter, text, key words} of
`_static/find-index.js`, which the search page loads as a script: a page on disk may load nothing else.
`_static/find.js` does the finding.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, SoupStrainer, Tag
from sphinx.application import Sphinx
from sphinx.util.display import progress_message

INDEX = "find-index.js"
UNREAD = (
    "style, lbdl-explore, lbdl-drag, .cell_input, .highlight, .headerlink, "
    ".section-number, .toctree-wrapper, .lbdl-letters"
)
HEAVY = re.compile(
    r"<(pre|script|svg)\b.*?</\1>", re.DOTALL
)  # most of a page, and nothing of it is searched
TWICE = (
    "exercise-content",
    "solution-content",
    "proof-content",
)  # sphinx-exercise and -proof give them to all


def install(app: Sphinx) -> None:
    app.connect("build-finished", write_index)


def write_index(app: Sphinx, exception: Exception | None) -> None:
    """Read the pages that were written, write what can be found in them."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    with progress_message("writing the index of the search"):
        entries = [
            entry
            for name in sorted(app.env.found_docs)
            if (page := out / app.builder.get_target_uri(name)).exists()
            for entry in sections(
                page.read_text(encoding="utf-8"), app.builder.get_target_uri(name)
            )
        ]
        told = json.dumps(
            entries, ensure_ascii=False, separators=(",", ":")
        ).replace("</", "<\\/")
        (out / "_static" / INDEX).write_text(
            f"window.LBDL_INDEX={told};\n", encoding="utf-8"
        )


def sections(html: str, page: str) -> Iterator[dict[str, str]]:
    """The sections of a page, outer before inner, and the entries of a glossary, each without what it holds."""
    only = SoupStrainer("article", class_="bd-article")
    article = BeautifulSoup(
        HEAVY.sub("", html), "html.parser", parse_only=only
    ).article
    if article is None or article.h1 is None:
        return
    for unread in article.select(UNREAD):
        unread.decompose()
    chapter = words(article.h1)
    for term in [*article.select("dl.glossary dt[id]")]:
        meaning = term.find_next_sibling("dd")
        yield entry(page, term, words(term), chapter, words(meaning))
        meaning.decompose() if meaning else None
        term.decompose()
    found = [s for s in article.select("section[id]") if s["id"] not in TWICE]
    headings = [words(s.find(["h1", "h2", "h3", "h4", "h5"])) for s in found]
    for section in reversed(
        found
    ):  # inner first: each leaves the text of the outer one
        section.extract()
    for number, (section, heading) in enumerate(zip(found, headings, strict=True)):
        title = section.find(["h1", "h2", "h3", "h4", "h5"], recursive=False)
        if title:
            title.decompose()
        said = section.select("p em, p strong, li em, li strong")  # what it defines
        told = entry(
            page, section if number else None, heading, chapter, words(section)
        )
        yield told | {"key": " ".join(words(s) for s in said)}


def entry(
    page: str, place: Tag | None, heading: str, chapter: str, text: str
) -> dict[str, str]:
    """One answer of the search; the first section of a page has no anchor: it is the page."""
    anchor = str(place["id"]) if place else ""
    return {
        "page": page,
        "anchor": anchor,
        "heading": heading,
        "chapter": chapter,
        "text": text,
        "key": "",
    }


def words(tag: Any) -> str:
    """The text of a tag in one line; its mathematics stays TeX between its marks."""
    return " ".join(tag.get_text(" ").split()) if tag else ""
