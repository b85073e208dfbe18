"""Chapters under other seeds: what fails is found, what was found is kept."""

from pathlib import Path

import nbformat
import pytest
from lbdl_book import seeds
from nbformat.v4 import new_code_cell, new_notebook

HOLDS_BELOW_2 = """import os
assert int(os.environ["LBDL_SEED"]) < 2, "only below 2"
"""


@pytest.fixture
def chapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A claim that some seeds break, an error that is meant, and a mark of each run."""
    monkeypatch.setattr(seeds, "FOUND", tmp_path / "found")
    monkeypatch.setenv("LBDL_SEED", "0")
    meant = new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    mark = new_code_cell("open('runs', 'a').write('.')")
    cells = [new_code_cell(HOLDS_BELOW_2), meant, mark]
    path = tmp_path / "part" / "topic.ipynb"
    path.parent.mkdir()
    nbformat.write(new_notebook(cells=cells), path)
    return path


def runs(chapter: Path) -> int:
    return len((chapter.parent / "runs").read_text())


@pytest.mark.slow(reason="starts four kernels")
def test_a_failure_is_told_with_its_cell_and_nothing_is_executed_twice(
    chapter: Path,
) -> None:
    found = {s: seeds.tried((chapter, s)) for s in (0, 1, 2)}
    assert found[0] == found[1] == []
    assert found[2] == ["cell 0: AssertionError: only below 2"]
    assert runs(chapter) == 3, "a cell's failure ends no chapter"
    assert seeds.tried((chapter, 2)) == found[2] and runs(chapter) == 3
    text = chapter.read_text().replace("< 2", "< 3")
    chapter.write_text(text)
    assert seeds.tried((chapter, 2)) == [] and runs(chapter) == 4


def test_the_table_counts_failures() -> None:
    paths = [Path("a/one.ipynb"), Path("a/two.ipynb")]
    found = {(path, seed): 0 for path in paths for seed in (0, 1)}
    found[paths[1], 1] = 3
    lines = seeds.table(paths, range(2), found).splitlines()
    cells = [[c.strip() for c in line.split("|")[1:4]] for line in lines[2:]]
    assert cells == [["one", ".", "."], ["two", ".", "3"]]
