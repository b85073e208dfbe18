"""The book's own Sphinx extension: parallel execution, a cache that knows the
library, notebooks with their roles, evidence, races, terms, letters,
addresses, search, code in colours."""

from typing import Any

from sphinx.application import Sphinx

from . import (
    colours,
    errata,
    evidence,
    execution,
    letters,
    outward,
    paths,
    records,
    search,
    terms,
    written,
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Install the parts; each says in its own docstring what it does."""
    for part in (
        colours,
        execution,
        written,
        terms,
        evidence,
        errata,
        letters,
        paths,
        records,
        outward,
        search,
    ):
        part.install(app)
    app.add_js_file(None, body=EARLY, priority=0)
    app.connect("builder-inited", drop_backlinks)
    app.connect("html-page-context", mend)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }


def drop_backlinks(app: Sphinx) -> None:
    """No arrows from a bibliography back to the text: docutils puts them where a
    list may only hold its entries."""
    app.env.settings["footnote_backlinks"] = False


# Light or dark as the reader's machine has it, before there is a page. The theme asks when all of it is there: every
# element would be styled twice.
EARLY = """{ const { dataset } = document.documentElement; if (dataset.mode === "auto")
dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"; }"""

# What a screen reader would be told wrongly, and what it is told instead.
MENDED = {
    # docutils calls a bibliography a list and its entries something else: both or neither
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    # a folded cell says on its label what it holds: myst-nb's other name would hide that
    '<summary aria-label="Toggle hidden content">': "<summary>",
}


def mend(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: object,
) -> None:
    """Mend what other extensions wrote into a page."""
    for wrong, right in MENDED.items():
        if "body" in context:
            context["body"] = context["body"].replace(wrong, right)
