"""Executing chapters: on a machine whose home is read-only and whose list of fonts
is empty, with a progress that says where it stands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from lbdl_book import execution
from nbformat.v4 import new_code_cell, new_notebook, new_output

from .plan import ROOT

OWN = ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "XDG_CACHE_HOME")
FIRST_CELL = """
from lbdl.notebook import figure

fig, ax = figure()
lines = ax.plot([1, 2, 3])
"""
EXECUTE = """
import sys
from pathlib import Path
from jupyter_cache import get_cache
from lbdl_book.execution import execute

folder = Path(sys.argv[1])
cache = get_cache(folder / "build" / "cache")
print(execute(cache, [str(folder / "first.ipynb")], timeout=120))
(record,) = cache.list_cache_records()
for output in cache.get_cache_bundle(record.pk).nb.cells[0].outputs:
    print(output.output_type, output.get("name"), output.get("text"))
"""


@pytest.fixture
def home(tmp_path: Path):
    """A home that nobody can write to; for root, who can, a file in its place."""
    place = tmp_path / "home"
    if os.geteuid():
        place.mkdir(mode=0o500)
        yield place
        place.chmod(0o700)
    else:
        place.write_text("not a folder")
        yield place


@pytest.mark.slow(reason="a kernel without caches first lists its fonts")
def test_a_first_cell_says_nothing_in_a_home_that_is_read_only(
    tmp_path: Path, home: Path
):
    notebook = new_notebook(cells=[new_code_cell(FIRST_CELL)])
    nbformat.write(notebook, tmp_path / "first.ipynb")
    environment = {
        key: value for key, value in os.environ.items() if key not in OWN
    }
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(tmp_path)],
        env={
            **environment,
            "HOME": str(home),
            "LBDL_EXPLORE": "page",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'book' / '_ext'}",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Chapter 1 of 1 done: first" in done.stdout
    assert "display_data" in done.stdout
    assert "stderr" not in done.stdout
    assert "font" not in done.stderr and "WARNING" not in done.stderr


@pytest.mark.slow(reason="nbval runs a chapter in a process of its own")
def test_chapters_are_compared_in_a_home_that_is_read_only(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
):
    """As `make test` does it: nbval, with the conftest of the book."""
    for key in OWN:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LBDL_EXPLORE", "still")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'book' / '_ext'}")
    book = tmp_path / "book"
    book.mkdir()
    shutil.copy(ROOT / "book" / "conftest.py", book)
    line = new_output("stream", text="1.0\n")
    code = "import matplotlib.pyplot, torch\nprint(torch.ones(()).item())"
    cell = new_code_cell(code, execution_count=1, outputs=[line])
    nbformat.write(new_notebook(cells=[cell]), book / "first.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env"]
    done = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider", "first.ipynb"],
        cwd=book,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_progress_says_how_far_it_is_and_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    clock = iter([0.0, 60.0, 130.0, 180.0])
    monkeypatch.setattr(execution.time, "monotonic", lambda: next(clock))
    results = [(0, "book/a.ipynb"), (1, "book/b.ipynb"), (0, "book/c.ipynb")]
    assert list(execution.with_progress(iter(results), 3)) == results
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [
        "[lbdl] Chapter 1 of 3 done: a (about 2 min left)",
        "[lbdl] Chapter 2 of 3 failed: b (about 1 min left)",
        "[lbdl] Chapter 3 of 3 done: c (pages follow)",
    ]
