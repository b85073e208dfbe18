"""Code that a page shows is at most 84 characters wide: nothing scrolls sideways."""

from pathlib import Path

import pytest

from lbdl.notebook.show import WIDTH

from .plan import ROOT, TOPICS, Topic, source_files


def wide(text: str) -> list[str]:
    """The lines of a text that are wider than a page."""
    return [line for line in text.splitlines() if len(line) > WIDTH]


@pytest.mark.parametrize(
    "path",
    [*source_files(), ROOT / "lbdl" / "require.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_topic_fits_a_page(path: Path):
    assert wide(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("topic", TOPICS, ids=str)
def test_the_code_of_a_chapter_and_what_it_shows_fit_a_page(topic: Topic):
    for cell in topic.cells("code"):
        assert wide(cell.source) == []
        for output in cell.outputs:
            shown = output.get("data", {}).get("text/markdown", "")
            if shown.startswith("```python"):
                assert wide(shown) == []
