"""A chapter is written out for those who have no Sphinx, and read back by the build."""

import json
from types import SimpleNamespace

import pytest
from lbdl_book import written as module
from lbdl_book.written import (
    DIRECTIVE,
    HOW,
    REFERENCES,
    bibliography,
    cited,
    figures,
    read_back,
    restore,
    written,
)
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CHAPTER = "book/foundations/gradient_descent"  # the third
ONE, TWO, MANY = (
    "rosenbrock1960automatic",
    "agueh2011barycenters",
    "ainslie2023gqa",
)


def notebook(text: str) -> NotebookNode:
    """A chapter with a figure, a solution, and its references."""
    shown = {"caption": f"See {{cite:p}}`{ONE}`.", "name": "fig-valley"}
    return new_notebook(
        cells=[
            new_markdown_cell("# Title"),
            new_markdown_cell(text),
            new_code_cell("draw()", metadata={"mystnb": {"figure": shown}}),
            new_markdown_cell(":::{solution-start} ex\n:::\nSo:"),
            new_code_cell("1 + 1"),
            new_markdown_cell(":::{solution-end}\n:::"),
            new_code_cell("quiz()"),
            new_markdown_cell(f"The end.\n\n{REFERENCES}{DIRECTIVE}"),
        ]
    )


PAIRS = {
    f"as {{cite:t}}`{ONE}` says": f"as [Rosenbrock (1960)](#{ONE}) says",
    f"so {{cite:p}}`{TWO}`.": f"so [(Agueh and Carlier, 2011)](#{TWO}).",
    f"{{cite:p}}`{MANY},{ONE}`": f"[(Ainslie et al., 2023)](#{MANY}) "
    f"[(Rosenbrock, 1960)](#{ONE})",
    "{numref}`fig-valley` shows": "[Fig. 5.1](#fig-valley) shows",
    "[Below](#fig-valley) it does": "[Below](#fig-valley) it does",
    "a [link](#elsewhere)": "a [link](#elsewhere)",
}


@pytest.mark.parametrize("text", PAIRS)
def test_roles_are_links_and_are_roles_again(text: str):
    out = written(notebook(text), CHAPTER)
    assert out.cells[2].source == PAIRS[text]
    back, wrong = read_back(out, CHAPTER)
    assert back.cells[1].source == text
    assert wrong == []
    assert [c.source for c in written(out, CHAPTER).cells] == [
        c.source for c in out.cells
    ]


@pytest.mark.parametrize(
    ("role", "link"),
    [
        (
            "{doc}`losses </book/foundations/losses>`",
            "[losses](losses.ipynb)",
        ),
        (
            "{doc}`the softmax </book/models/softmax>`",
            "[the softmax](../models/softmax.ipynb)",
        ),
        ("{doc}`races </book/races>`", "[races](../races.md)"),
    ],
)
def test_a_page_is_named_by_its_file(role: str, link: str):
    assert written(notebook(role), CHAPTER).cells[2].source == link


def test_what_no_page_shows_stands_in_cells_of_its_own():
    out = written(notebook(""), CHAPTER)
    unseen = [c for c in out.cells if "remove-cell" in c.metadata.get("tags", [])]
    assert [c.source for c in unseen] == [
        HOW,
        f"(fig-valley)=\n**Fig. 5.1.** See [(Rosenbrock, 1960)](#{ONE}).",
    ]
    assert out.cells[1].source == HOW


def test_references_stand_in_the_notebook_and_are_a_directive_on_the_page():
    out = written(notebook(f"{{cite:p}}`{TWO}` {{cite:t}}`{ONE}`"), CHAPTER)
    end, _, listed = out.cells[-1].source.partition(REFERENCES)
    assert end == "The end.\n\n"
    assert listed.startswith(f"({TWO})=\nMartial Agueh and Guillaume")
    assert f"\n\n({ONE})=\nHoward H. Rosenbrock. " in listed
    assert "https://doi.org/10.1093/comjnl/3.3.175" in listed
    back, _ = read_back(out, CHAPTER)
    assert back.cells[-1].source == f"{end}{REFERENCES}{DIRECTIVE}"


def test_solutions_are_folded_and_nothing_else():
    out = written(notebook(""), CHAPTER)
    folded = [c.source for c in out.cells if "jupyter" in c.metadata]
    assert folded == ["1 + 1"]


def test_every_paper_of_the_book_has_a_name_and_a_year():
    for key in bibliography().entries:
        name, _, year = cited(key, "t").rpartition(" (")
        assert name and year[:4].isdigit(), key


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"[(Rosenbrock, 1961)](#{ONE})", f"{ONE} is '(Rosenbrock, 1960)'"),
        ("[Fig. 3.2](#fig-valley)", "fig-valley is 'Fig. 5.1'"),
    ],
)
def test_the_build_says_what_is_cited_wrongly(
    text: str, complaint: str, monkeypatch: pytest.MonkeyPatch
):
    said: list[str] = []
    monkeypatch.setattr(
        module.logger, "warning", lambda text, *more, **_: said.append(text % more)
    )
    out = written(notebook(""), CHAPTER)
    out.cells[2].source = text
    source = [json.dumps(out)]
    restore(SimpleNamespace(), CHAPTER, source)
    assert len(said) == 1 and complaint in said[0]
    assert "cite:p" in source[0] or "{numref}" in source[0]


def test_other_pages_are_left_alone():
    source = ["# Notation\n"]
    restore(SimpleNamespace(), "book/notation", source)
    assert source == ["# Notation\n"]


def test_figures_are_counted_by_chapter():
    assert figures(notebook(""), CHAPTER) == {"fig-valley": "Fig. 5.1"}
