"""Errata of the sources: the directive `{errata}` lists what the chapters say of them.

A chapter has a section "What the sources say"; its paragraphs begin with the sentence
that is wrong or loose, in bold. Here those beginnings are collected while chapters are
read, and listed with a link to the section, where a cell shows what is wrong.
"""

from html import unescape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .pages import Listing, Store, chapter_title, in_order

SECTION = "What the sources say"


def place_of(chapter: str) -> str:
    """The name of a chapter's part of the list."""
    return nodes.make_id(f"errata-{chapter}")


# By chapter: the name of its section, and the beginnings of its paragraphs.
FOUND = Store("errata")
LISTING = Listing("errata", place_of)


def install(app: Sphinx) -> None:
    """Add the directive and the handlers that collect and list."""
    app.add_directive("errata", Errata)
    app.add_node(ErrataPlace)
    app.connect("doctree-read", collect)
    FOUND.install(app)
    app.connect("env-updated", lambda app, env: LISTING.pages(env))
    app.connect("doctree-resolved", render)
    app.connect("html-page-context", list_contents)


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Read the section of a chapter."""
    for section in doctree.findall(nodes.section):
        if section[0].astext() == SECTION:
            firsts = map(first_word, section.findall(nodes.paragraph))
            found = [f.deepcopy() for f in firsts if isinstance(f, nodes.strong)]
            FOUND.of(app.env)[app.env.docname] = (section["ids"][0], found)


def first_word(paragraph: nodes.paragraph) -> nodes.Node | None:
    """The first part of a paragraph that says something."""
    return next((part for part in paragraph.children if part.astext()), None)


class ErrataPlace(nodes.General, nodes.Element):
    """Where the list of the `{errata}` directive will stand."""


class Errata(SphinxDirective):
    """What the chapters say of their sources."""

    def run(self) -> list[nodes.Node]:
        LISTING.mark(self.env)
        return [ErrataPlace()]


def render(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """A heading a chapter, an entry a sentence."""
    for place in list(doctree.findall(ErrataPlace)):
        app.env.get_domain("math").data["has_equations"][docname] = True
        place.replace_self(
            [listed(app, docname, c) for c in in_order(app.env, FOUND.of(app.env))]
        )


def list_contents(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """The contents of the page at its side."""
    LISTING.tell(app.env, pagename, context, FOUND.of(app.env))


def listed(app: Sphinx, docname: str, chapter: str) -> nodes.section:
    """What one chapter says."""
    name, beginnings = FOUND.of(app.env)[chapter]
    uri = f"{app.builder.get_relative_uri(docname, chapter)}#{name}"
    title = unescape(chapter_title(app.env, chapter))
    section = nodes.section(ids=[place_of(chapter)])
    heading = nodes.reference(title, title, internal=True, refuri=uri)
    section += nodes.title("", "", heading)
    section += nodes.bullet_list(
        "",
        *(
            nodes.list_item("", nodes.paragraph("", "", *plain(beginning)))
            for beginning in beginnings
        ),
    )
    return section


def plain(beginning: nodes.strong) -> list[nodes.Node]:
    """The words of a beginning, formulas included, without what leads elsewhere."""
    return [
        node.deepcopy()
        if isinstance(
            node, nodes.Text | nodes.math | nodes.literal | nodes.emphasis
        )
        else nodes.Text(node.astext())
        for node in beginning.children
        if node.astext()
    ]
