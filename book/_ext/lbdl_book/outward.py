"""What a page says to the world outside, and only where there is one.

The publishing workflow knows three addresses and puts them into the environment:

    LBDL_REPOSITORY  https://github.com/OWNER/NAME: buttons to launch a chapter in Colab
                     or on Binder, to its source, to edit it and to report a mistake
    LBDL_BRANCH      the branch of it that the pages are built from; main, if not given
    LBDL_ADDRESS     where the pages will stand: canonical links, a map of the site,
                     a picture for who links to them

Where they are not set, as in a copy on a reader's disk, none of this is on a page.
What a page is about, its first paragraph, is told by each.
"""

import os
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

LENGTH = 200  # characters of a description: search engines cut there
PICTURE = "_static/cover.png"


def install(app: Sphinx) -> None:
    """Set the options of the theme before it reads them; describe each page."""
    app.connect("config-inited", tell_addresses, priority=100)
    app.connect("html-page-context", describe)
    app.connect("build-finished", write_sitemap)


def tell_addresses(app: Sphinx, config: Config) -> None:
    """Options of the theme, and the address of the pages."""
    if repository := os.environ.get("LBDL_REPOSITORY", "").rstrip("/"):
        config.html_theme_options |= {
            "repository_url": repository,
            "repository_branch": os.environ.get("LBDL_BRANCH") or "main",
            "use_repository_button": True,
            "use_source_button": True,
            "use_edit_page_button": True,
            "use_issues_button": True,
            "launch_buttons": {
                "colab_url": "https://colab.research.google.com",
                "binderhub_url": "https://mybinder.org",
                "notebook_interface": "jupyterlab",
            },
        }
    if address := os.environ.get("LBDL_ADDRESS", ""):
        config.html_baseurl = address.rstrip("/") + "/"


def describe(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Tags for search engines and for who shares a link."""
    if doctree is None:
        return
    title = app.env.titles[pagename].astext()
    tags = {
        "og:type": "article",
        "og:title": title,
        "og:site_name": app.config.project,
    }
    if about := opening(doctree):
        context["metatags"] += tag("name", "description", about)
        tags["og:description"] = about
    if base := app.config.html_baseurl:
        tags["og:url"] = urljoin(base, app.builder.get_target_uri(pagename))
        tags["og:image"] = urljoin(base, PICTURE)
    context["metatags"] += "".join(tag("property", *item) for item in tags.items())


def tag(kind: str, name: str, content: str) -> str:
    """One tag of a page's head."""
    return f'<meta {kind}="{name}" content="{escape(content)}">\n'


def opening(doctree: nodes.document) -> str:
    """The first paragraph of a page in one line, cut at a word."""
    first = next(doctree.findall(nodes.paragraph), None)
    words = " ".join(first.astext().split()) if first else ""
    if len(words) <= LENGTH:
        return words
    return words[:LENGTH].rsplit(" ", 1)[0].rstrip(" ,;:.") + " …"


def write_sitemap(app: Sphinx, exception: Exception | None) -> None:
    """The addresses of all pages, for search engines."""
    base = app.config.html_baseurl
    if exception is not None or app.builder.format != "html" or not base:
        return
    pages = sorted(
        urljoin(base, app.builder.get_target_uri(name))
        for name in app.env.found_docs
    )
    told = "".join(f"<url><loc>{escape(page)}</loc></url>\n" for page in pages)
    (Path(app.outdir) / "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{told}</urlset>\n',
        encoding="utf-8",
    )
