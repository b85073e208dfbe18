"""What a chapter needs away from the repository is in the extra `notebook`, and what
the library needs is in its wheel."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from lbdl_book.fingerprints import chapter_code
from lbdl_book.notebooks import chapters
from packaging.requirements import Requirement

from lbdl.lab.closure import Library

from .plan import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRA = [Requirement(r) for r in PROJECT["optional-dependencies"]["notebook"]]
# opened, not imported: what shows a notebook, and what runs its cells
SHOWN_BY = {"jupyterlab", "jupyterlab-myst", "ipykernel"}
# where torch brings it; without it the kernels stand aside
OPTIONAL = {"triton"}


def plain(name: str) -> str:
    """A distribution's name in one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def needed(name: str) -> frozenset[str]:
    """A distribution and all that it requires, without extras, as installed here."""
    found, waiting = set[str](), {plain(name)}
    while waiting:
        one = waiting.pop()
        found.add(one)
        for line in distribution(one).requires or []:
            requirement = Requirement(line)
            marker = requirement.marker
            if not marker or marker.evaluate({"extra": ""}):
                waiting |= {plain(requirement.name)} - found
    return frozenset(found)


def closure() -> set[str]:
    """What `pip install lbdl[notebook]` installs."""
    named = [r.name for r in EXTRA] + [
        Requirement(r).name for r in PROJECT["dependencies"]
    ]
    return {"lbdl"}.union(*map(needed, named))


@cache
def imported(code: str) -> set[str]:
    """The packages that a piece of code imports, the standard library aside."""
    nodes = list(ast.walk(ast.parse(code)))
    names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    names |= {
        n.module
        for n in nodes
        if isinstance(n, ast.ImportFrom) and n.module and not n.level
    }
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)


def imports_of(chapter: Path) -> Iterator[str]:
    """What a chapter imports, and what the library imports for it."""
    library, code = Library(), chapter_code(chapter)
    yield from imported(code)
    for module in library.closure(library.named_in(code)):
        yield from imported(library.modules[module].read_text())


@cache
def all_imports() -> frozenset[str]:
    """The packages that the chapters import."""
    return frozenset(name for c in chapters() for name in imports_of(c))


@pytest.mark.slow(reason="reads the code of every chapter and of all it imports")
def test_what_chapters_import_is_in_the_extra():
    brings = packages_distributions()
    installed = closure()
    missing = {
        name
        for name in all_imports() - OPTIONAL - {"lbdl"}
        if not installed & set(map(plain, brings.get(name, [])))
    }
    assert missing == set()


def test_the_extra_holds_nothing_more():
    brings = packages_distributions()
    used = {plain(d) for name in all_imports() for d in brings.get(name, [])}
    assert {plain(r.name) for r in EXTRA} - used == SHOWN_BY - used


def test_the_extra_builds_no_book_and_leaves_torch_to_the_reader():
    assert not {"jupyter-book", "sphinx", "jupyter-cache"} & closure()
    assert not [r for r in EXTRA if r.name == "torch"]
    assert [r for r in PROJECT["dependencies"] if "==" in r] == []


def test_the_wheel_holds_all_that_the_library_reads():
    """hatchling packs what stands in `lbdl` and git does not ignore; that the wheel
    then suffices, `tests/house/elsewhere.py` tries."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git")
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    assert packed["build"]["targets"]["wheel"] == {"packages": ["lbdl"]}
    read = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "lbdl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert any(name.endswith(".npz") for name in read)
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *read],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ignored.stdout == ""


def test_chapters_open_no_file_of_the_repository():
    """By a path, that is; the closure above knows what they import."""
    for chapter in chapters():
        code = chapter_code(chapter)
        assert "__file__" not in code and "open(" not in code.replace("imopen(", "")
