"""What pages tell each other: a store for what is collected while they are read, the
order and titles of the chapters, and the contents of a page that lists them."""

from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


class Store:
    """What is found on pages, by page. It is kept from build to build, forgets a page
    that is read again or has gone, and takes over what parallel readers found.

    Args:
        name: the name by which the environment keeps it.
    """

    def __init__(self, name: str) -> None:
        self.name = f"lbdl_{name}"

    def of(self, env: BuildEnvironment) -> dict[str, Any]:
        """All of it."""
        return env.__dict__.setdefault(self.name, {})

    def install(self, app: Sphinx) -> None:
        """Keep it true."""
        app.connect("env-purge-doc", self.forget)
        app.connect("env-merge-info", self.merge)

    def forget(self, app: Sphinx, env: BuildEnvironment, docname: str) -> None:
        """Drop a page."""
        self.of(env).pop(docname, None)

    def merge(
        self,
        app: Sphinx,
        env: BuildEnvironment,
        docnames: Iterable[str],
        other: BuildEnvironment,
    ) -> None:
        """Take over what a parallel reader found."""
        theirs = self.of(other)
        mine = {name: theirs[name] for name in docnames if name in theirs}
        self.of(env).update(mine)


class Listing:
    """The pages that list what a directive collects, marked while they are read.

    Args:
        name: the name of the directive.
        place: the name of a chapter's part of the list.
    """

    def __init__(self, name: str, place: Callable[[str], str]) -> None:
        self.name, self.place = f"lbdl_{name}", place

    def mark(self, env: BuildEnvironment) -> None:
        """The page that is being read is one of them."""
        env.metadata[env.docname][self.name] = True

    def pages(self, env: BuildEnvironment) -> list[str]:
        """All of them: written again, whichever chapter has changed."""
        return [page for page, data in env.metadata.items() if self.name in data]

    def tell(
        self,
        env: BuildEnvironment,
        page: str,
        context: dict[str, Any],
        found: Iterable,
    ) -> None:
        """Their contents at the side: which chapters are listed, only the whole book
        knows."""
        if page in self.pages(env):
            places = {
                self.place(chapter): chapter for chapter in in_order(env, found)
            }
            context["toc"] = contents(env, page, places)


def in_order(env: BuildEnvironment, pages: Iterable[str]) -> list[str]:
    """Pages in the order of the book."""
    order = {
        str(name).removesuffix(".ipynb"): n
        for n, name in enumerate(getattr(env, "external_site_map", ()))
    }
    return sorted(pages, key=lambda docname: order.get(docname, len(order)))


def contents(env: BuildEnvironment, docname: str, places: dict[str, str]) -> str:
    """A page's contents as the theme reads them: places on it, a chapter each."""
    entries = "".join(
        f'<li><a class="reference internal" href="#{place}">{chapter_title(env, chapter)}</a></li>'
        for place, chapter in places.items()
    )
    title = escape(env.titles[docname].astext())
    return f'<ul><li><a class="reference internal" href="#">{title}</a><ul>{entries}</ul></li></ul>'


def chapter_title(env: BuildEnvironment, docname: str) -> str:
    """`2. Softmax`"""
    number = env.toc_secnumbers.get(docname, {}).get("") or ()
    return escape(
        "".join(f"{part}. " for part in number) + env.titles[docname].astext()
    )


def html_node(html: str) -> nodes.raw:
    """A piece of HTML in the document."""
    return nodes.raw("", html, format="html")
