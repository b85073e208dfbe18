"""The book's own Sphinx extension: parallel execution, a cache that knows the
library, evidence, races."""

from typing import Any

from sphinx.application import Sphinx

from . import evidence, execution, records


def setup(app: Sphinx) -> dict[str, Any]:
    """Install the three parts; each says in its own docstring what it does."""
    for part in (execution, evidence, records):
        part.install(app)
    app.connect("builder-inited", drop_backlinks)
    app.connect("html-page-context", unlist_citations)
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


def unlist_citations(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: object,
) -> None:
    """docutils calls a bibliography a list and its entries something else; a screen
    reader needs both or neither."""
    if "body" in context:
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )
