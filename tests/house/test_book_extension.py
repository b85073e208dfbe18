"""The book's Sphinx extension: the cache knows the library, and evidence ties
checks to equations."""

import json
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from docutils.nodes import Text
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from lbdl_book import execution, kernels
from lbdl_book.fingerprints import chapter_modules, fingerprint
from lbdl_book.pages import contents
from nbformat.v4 import new_code_cell, new_notebook
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from lbdl.lab.closure import Library

FILES = {
    "__init__.py": "",
    "part/__init__.py": "",
    "part/plain.py": "from toybook.part import deeper\n",
    "part/deeper.py": "",
    "part/other.py": "",
    "part/lazy.py": "def late():\n    from toybook.part.other import thing\n",
    "tool/__init__.py": "",
    "tool/style.css": "a {}",
    "tool/data/points.csv": "1",
}


@pytest.fixture
def library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Library]:
    """A small library on disk; call the fixture to read it again after a change."""
    for name, text in FILES.items():
        file = tmp_path / "toybook" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "requirements.txt").write_text("torch==2.13.0")
    monkeypatch.syspath_prepend(tmp_path)
    return lambda: Library(tmp_path / "toybook")


def chapter(folder: Path, code: str, name: str = "chapter.ipynb") -> Path:
    """A notebook of one code cell."""
    path = folder / name
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), path)
    return path


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("x = 1", set()),
        ("import toybook", {"toybook"}),
        (
            "from toybook.part.other import thing",
            {"toybook", "toybook.part", "toybook.part.other"},
        ),
        (
            "from toybook.part import other",
            {"toybook", "toybook.part", "toybook.part.other"},
        ),
        (
            "%matplotlib inline\nimport toybook.part.plain as p",
            {
                "toybook",
                "toybook.part",
                "toybook.part.plain",
                "toybook.part.deeper",
            },
        ),
        (
            "from toybook.part import lazy",
            {"toybook", "toybook.part", "toybook.part.lazy", "toybook.part.other"},
        ),
    ],
)
def test_a_chapter_depends_on_what_it_imports_directly_or_not(
    tmp_path, library, code, modules
):
    assert chapter_modules(chapter(tmp_path, code), library()) == modules


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("part/plain.py", True),
        ("part/deeper.py", True),
        ("part/__init__.py", True),
        ("part/other.py", False),
        ("tool/style.css", True),
        ("tool/data/points.csv", True),
        ("tool/__pycache__/x.pyc", False),
        ("../requirements.txt", True),
    ],
)
def test_only_a_change_that_can_matter_changes_the_fingerprint(
    tmp_path, library, changed, stale
):
    path = chapter(tmp_path, "import toybook.part.plain\nimport toybook.tool")
    requirements = tmp_path / "requirements.txt"
    before = fingerprint(path, library(), requirements)
    file = tmp_path / "toybook" / changed
    file.parent.mkdir(exist_ok=True)
    file.write_text("# changed")
    assert (fingerprint(path, library(), requirements) != before) is stale


@pytest.mark.parametrize(
    ("recorded", "stale"),
    [
        ("part/chapter/own-cpu-seed0.npz", True),
        ("part/other/foreign-cpu-seed0.npz", False),
        ("other/chapter/foreign-cpu-seed0.npz", False),
    ],
)
def test_a_recorded_result_concerns_its_own_chapter_only(
    tmp_path, library, recorded, stale
):
    (tmp_path / "part").mkdir()
    path = chapter(tmp_path / "part", "import toybook.experiments")
    experiments = tmp_path / "toybook" / "experiments"
    file = experiments / "recorded" / recorded
    file.parent.mkdir(parents=True)
    (experiments / "__init__.py").touch()
    requirements = tmp_path / "requirements.txt"
    before = fingerprint(path, library(), requirements)
    file.write_text("recorded")
    assert (fingerprint(path, library(), requirements) != before) is stale


def test_the_settings_of_a_run_are_part_of_the_fingerprint(
    tmp_path, library, monkeypatch
):
    path, requirements = chapter(tmp_path, "x = 1"), tmp_path / "requirements.txt"
    seen = {fingerprint(path, library(), requirements)}
    for name in ("LBDL_SEED", "LBDL_SCALE", "LBDL_DEVICE"):
        monkeypatch.setenv(name, "7")
        seen.add(fingerprint(path, library(), requirements))
    assert len(seen) == 4


@pytest.fixture
def filled_cache(tmp_path, library, monkeypatch):
    """A cache that holds the results of two chapters, and a function that finds
    those still valid."""
    monkeypatch.setattr(execution, "Library", library)
    cache = get_cache(tmp_path / "cache")
    codes = {
        "a.ipynb": "from toybook.part import plain",
        "b.ipynb": "from toybook.part import other",
    }
    paths = [chapter(tmp_path, code, name) for name, code in codes.items()]
    execution.forget_stale(cache, map(str, paths), tmp_path / "requirements.txt")
    for path in paths:
        bundle = CacheBundleIn(nbformat.read(path, as_version=4), str(path))
        cache.cache_notebook_bundle(bundle, check_validity=False)

    def valid() -> list[str]:
        execution.forget_stale(
            cache, [str(path) for path in paths], tmp_path / "requirements.txt"
        )
        return sorted(
            Path(record.uri).name for record in cache.list_cache_records()
        )

    return cache, valid


def test_results_stay_while_nothing_changes(filled_cache):
    _, valid = filled_cache
    assert valid() == ["a.ipynb", "b.ipynb"]
    assert valid() == ["a.ipynb", "b.ipynb"]


def test_a_change_in_a_module_drops_the_results_that_it_can_change(
    filled_cache, tmp_path
):
    _, valid = filled_cache
    (tmp_path / "toybook/part/deeper.py").write_text("x = 2")
    assert valid() == ["b.ipynb"]


def test_results_of_an_unknown_library_are_dropped(filled_cache):
    cache, valid = filled_cache
    (cache.path / "fingerprints.json").unlink()
    assert valid() == []


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_text(path.read_text()[:40])]
)
def test_a_result_whose_writing_was_interrupted_is_dropped(filled_cache, damage):
    cache, valid = filled_cache
    record = next(
        record
        for record in cache.list_cache_records()
        if record.uri.endswith("a.ipynb")
    )
    damage(cache.path / "executed" / record.hashkey / "base.ipynb")
    assert valid() == ["b.ipynb"]


def test_fingerprints_are_noted_for_the_chapters_there_are(filled_cache):
    cache, valid = filled_cache
    valid()
    noted = json.loads((cache.path / "fingerprints.json").read_text())
    assert sorted(Path(uri).name for uri in noted) == ["a.ipynb", "b.ipynb"]


CHECK = '<div class="lbdl-check" id="check-{first}" data-proves="{proves}">✓ {claim} — {links}</div>'


def raw_check(claim: str, *proves: str) -> str:
    """A page's source for the output that `lbdl.notebook.check` leaves."""
    links = ", ".join(
        f'<a class="lbdl-eq" href="#{p}" data-eq="{p}">{p}</a>' for p in proves
    )
    html = CHECK.format(
        first=proves[0], proves=" ".join(proves), claim=claim, links=links
    )
    return f"```{{raw}} html\n{html}\n```\n"


def build(folder: Path, pages: dict[str, str]) -> tuple[dict[str, str], str]:
    """Build pages with the extension; their HTML, and the warnings."""
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text)
    warnings = StringIO()
    settings = {
        "extensions": ["myst_nb", "sphinx.ext.mathjax", "lbdl_book"],
        "myst_enable_extensions": ["dollarmath"],
        "html_theme": "basic",
        "root_doc": "index",
    }
    with docutils_namespace():
        app = Sphinx(
            folder,
            None,
            folder / "out",
            folder / "trees",
            "html",
            settings,
            status=None,
            warning=warnings,
        )
        app.build()
    return {
        name: (folder / f"out/{name}.html").read_text() for name in pages
    }, warnings.getvalue()


@pytest.fixture
def environment(monkeypatch):
    """The extension sets environment variables for kernels; put them back
    afterwards."""
    for name in (*execution.KERNEL_ENVIRONMENT, *execution.THREAD_LIMITS):
        monkeypatch.setenv(name, os.environ.get(name, "1"))


INDEX = "# Index\n```{toctree}\na\nb\nevidence\n```\n"
A = "# A\n$$ x = 1 $$ (eq-one)\n\n$$ y = 2 $$ (def-two)\n\n"


def test_checks_and_equations_are_tied(tmp_path, environment):
    b = "# B\n$$ z = 3 $$ (eq-three)\n\n" + raw_check(
        "both & more hold", "eq-three", "eq-one"
    )
    pages = {
        "index": INDEX,
        "a": A + raw_check("one holds", "eq-one") * 2,
        "b": b,
        "evidence": "# Evidence\n```{evidence}\n```",
    }
    html, warnings = build(tmp_path, pages)
    assert warnings == ""
    assert (
        "<strong>2 of 2</strong> equations checked; 1 definitions"
        in html["evidence"]
    )
    assert (
        '<a href="b.html#check-eq-three">both &amp; more hold</a>'
        in html["evidence"]
    )
    assert '<section id="a">' in html["evidence"]
    assert html["evidence"].count('<details class="lbdl-evidence-of">') == 2
    assert html["a"].count('id="check-eq-one"') == 1, "ids are unique"
    assert html["a"].count('id="equation-eq-one"') == 1
    assert 'id="check-eq-one-2"' in html["a"]
    assert 'href="#check-eq-one" aria-label="checked: one holds"' in html["a"]
    assert (
        '<a class="lbdl-eq" href="a.html#equation-eq-one" aria-label="equation 1">(1)</a>'
        in html["b"]
    )


def test_contents_of_the_evidence_are_its_chapters(environment):
    env = SimpleNamespace(
        titles={"back/evidence": Text("Evidence"), "part/b": Text("B & C")},
        toc_secnumbers={"part/b": {"": (2,)}},
    )
    told = contents(env, "back/evidence", {"b": "part/b"})
    assert '<a class="reference internal" href="#">Evidence</a>' in told
    assert '<a class="reference internal" href="#b">2. B &amp; C</a>' in told


def test_gaps_are_warnings(tmp_path, environment):
    pages = {
        "index": INDEX,
        "a": A,
        "b": "# B\n" + raw_check("of nothing", "eq-nowhere"),
        "evidence": "# E\n",
    }
    _, warnings = build(tmp_path, pages)
    assert "equation eq-one has no check" in warnings
    assert "check of an unknown equation: eq-nowhere" in warnings
    assert "def-two" not in warnings


def test_a_page_that_changes_is_counted_again(tmp_path, environment):
    pages = {
        "index": INDEX,
        "a": A,
        "b": "# B\n",
        "evidence": "# Evidence\n```{evidence}\n```",
    }
    html, _ = build(tmp_path, pages)
    assert "<strong>0 of 1</strong>" in html["evidence"]
    html, warnings = build(
        tmp_path, pages | {"b": "# B\n" + raw_check("one holds", "eq-one")}
    )
    assert "<strong>1 of 1</strong>" in html["evidence"]
    assert "lbdl-proven" in html["a"]
    assert warnings == ""


def test_kernels_draw_for_the_page_whatever_their_caller_draws_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another backend, a chapter's pictures were lost without a word."""
    for name in ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setattr(kernels, "list_fonts", lambda: None)
    kernels.settle(tmp_path)
    assert "MPLBACKEND" not in os.environ
