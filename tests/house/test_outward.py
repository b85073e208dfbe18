"""What a page says to the world: its own subject always; addresses where the
publishing workflow tells them, and nowhere else."""

import re
from io import StringIO
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from .plan import ROOT

WORLD = {
    "LBDL_REPOSITORY": "https://github.com/someone/book/",
    "LBDL_BRANCH": "trunk",
    "LBDL_ADDRESS": "https://someone.example/book",
}
TITLE, ABOUT = "A chapter", "After it you can tell & from a comma. " * 9


@pytest.fixture(params=[True, False], ids=["published", "on a disk"])
def published(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> bool:
    for name, value in WORLD.items():
        if request.param:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)
    return bool(request.param)


@pytest.fixture
def built(tmp_path: Path, published: bool) -> Path:
    """The pages of a book of one chapter."""
    notebook = new_notebook(
        cells=[
            new_markdown_cell(f"# {TITLE}\n\n{ABOUT}"),
            new_code_cell("1 + 1"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    (tmp_path / "index.md").write_text("# Index\n```{toctree}\nchapter\n```\n")
    (tmp_path / "here.py").write_text(
        "from lbdl_book import outward\n\ndef setup(app):\n    outward.install(app)\n"
    )
    settings = {
        "extensions": ["myst_nb", "here"],
        "html_theme": "sphinx_book_theme",
        "nb_execution_mode": "off",
        "project": "The Book",
        "root_doc": "index",
    }
    with pytest.MonkeyPatch.context() as patch, docutils_namespace():
        patch.syspath_prepend(tmp_path)
        app = Sphinx(
            tmp_path,
            None,
            tmp_path / "out",
            tmp_path / "trees",
            "html",
            settings,
            status=None,
            warning=StringIO(),
        )
        app.build()
    return tmp_path / "out"


def test_addresses_stand_where_they_are_known_and_nowhere_else(
    built: Path, published: bool
):
    page = (built / "chapter.html").read_text()
    links = [
        "https://colab.research.google.com/github/someone/book/blob/trunk/chapter.ipynb",
        "https://mybinder.org/v2/gh/someone/book/trunk?urlpath=lab/tree/chapter.ipynb",
        "https://github.com/someone/book/edit/trunk/chapter.ipynb",
        "https://github.com/someone/book/blob/trunk/chapter.ipynb?plain=1",
        "https://github.com/someone/book/issues/new",
    ]
    assert [link in page for link in links] == [published] * len(links)
    assert ('<link rel="canonical"' in page) == published
    assert ('property="og:url"' in page) == published
    for word in ("colab", "mybinder", "someone"):
        assert (word in page) == published, word


def test_a_page_says_what_it_is_about(built: Path, published: bool):
    page = (built / "chapter.html").read_text()
    (about,) = re.findall(r'<meta name="description" content="([^"]*)"', page)
    assert about.startswith("After it you can tell &amp; from a comma.")
    assert len(about.replace("&amp;", "&")) <= 202 and about.endswith(" …")
    assert f'<meta property="og:title" content="{TITLE}"' in page
    assert f'<meta property="og:description" content="{about}"' in page


def test_a_map_of_the_site_stands_where_the_site_is_known(
    built: Path, published: bool
):
    told = built / "sitemap.xml"
    assert told.exists() == published
    if published:
        assert re.findall("<loc>(.*?)</loc>", told.read_text()) == [
            "https://someone.example/book/chapter.html",
            "https://someone.example/book/index.html",
        ]


def test_the_workflow_tells_the_addresses():
    workflow = (ROOT / ".github" / "workflows" / "book.yml").read_text()
    assert all(f"{name}: ${{{{" in workflow for name in WORLD)
