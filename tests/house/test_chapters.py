"""Every chapter: sliders, exercises with executed solutions, alt texts, a check for
every claim, real outputs."""

import re

import pytest
from lbdl_book.notebooks import METADATA
from lbdl_book.written import HOW, read_back, written
from nbformat import NotebookNode

from .plan import TOPICS, Topic

LABEL = re.compile(
    r"^\$\$ *\(([\w-]+)\)|^:label: *((?:eq|def)-[\w-]+)", re.MULTILINE
)
PROVES = re.compile(r"proves\s*=\s*(\[[^\]]*\]|\([^)]*\)|\"[^\"]*\"|'[^']*')")
HAS_ITS_WORDS = re.compile(
    r"\b(?:explore|drag)\("
)  # they take alt text and caption
NO_MISTAKE = re.compile(  # bold words that tell whose, but not what
    r"(an? |the |the same |(the )?code in the |[\w-]+('s| [\w-]+'s) )?(practitioner's |same )?"
    r"(notes|posts?|papers?|code)( on [^.,:]*| of theirs)?[.,]?",
    re.IGNORECASE,
)
PICTURES = {"image/png", "image/svg+xml", "image/jpeg"}

each_topic = pytest.mark.parametrize("topic", TOPICS, ids=str)


def labels(topic: Topic) -> list[str]:
    """The labels of the chapter's displayed equations."""
    return [first or second for first, second in LABEL.findall(topic.prose)]


def proven(topic: Topic) -> set[str]:
    """The labels that the chapter's checks name."""
    return {
        label
        for named in PROVES.findall(topic.code)
        for label in re.findall(r"[\w-]+", named)
    }


def has_picture(cell: NotebookNode) -> bool:
    """Whether one of the cell's outputs is a picture."""
    return any(PICTURES & set(output.get("data", {})) for output in cell.outputs)


def block_labels(topic: Topic, kind: str) -> list[str]:
    """The labels of exercises, or the labels that solutions answer."""
    if kind == "solution":
        return re.findall(r"\{solution(?:-start)?\} *([\w-]+)", topic.prose)
    return re.findall(
        r"\{exercise(?:-start)?\}[^\n]*\n(?:[:\w -]*\n)*?:label: *([\w-]+)",
        topic.prose,
    )


@each_topic
def test_it_has_a_slider(topic: Topic):
    assert "explore(" in topic.code
    assert "Slider(" in topic.code


@each_topic
def test_a_cell_with_a_named_figure_gives_nothing_but_the_figure(topic: Topic):
    """Every rich output of the cell would get the figure's name; printed words do
    not."""
    figures = [c for c in topic.cells("code") if "name" in named_figure(c)]
    many = [
        named_figure(cell)["name"]
        for cell in figures
        if sum("data" in output for output in cell.outputs) != 1
    ]
    assert many == []


def named_figure(cell: NotebookNode) -> dict[str, str]:
    """What the cell says of its figure."""
    return cell.metadata.get("mystnb", {}).get("figure", {})


@each_topic
def test_it_has_three_exercises_each_with_a_solution(topic: Topic):
    exercises, solutions = (
        block_labels(topic, "exercise"),
        block_labels(topic, "solution"),
    )
    assert len(exercises) >= 3
    assert sorted(exercises) == sorted(solutions)


@each_topic
def test_the_code_of_solutions_is_executed(topic: Topic):
    inside, executed = False, 0
    for cell in topic.notebook.cells:
        if cell.cell_type == "markdown":
            inside = (
                inside and "{solution-end}" not in cell.source
            ) or "{solution-start}" in cell.source
        elif inside and cell.source.strip():
            assert cell.execution_count
            executed += 1
    assert executed >= 3


@each_topic
def test_every_picture_has_an_alt_text(topic: Topic):
    for cell in topic.cells("code"):
        assert cell.source.count("alt=") >= len(
            HAS_ITS_WORDS.findall(cell.source)
        ), cell.source
        if has_picture(cell):
            assert cell.metadata.get("mystnb", {}).get("image", {}).get("alt"), (
                cell.source
            )


@each_topic
def test_every_figure_has_a_caption(topic: Topic):
    pictures = [
        cell
        for cell in topic.cells("code")
        if has_picture(cell) and not HAS_ITS_WORDS.search(cell.source)
    ]
    assert [
        c.source
        for c in pictures
        if not c.metadata.get("mystnb", {}).get("figure", {}).get("caption")
    ] == []


@each_topic
def test_every_claim_has_a_check_and_every_check_a_claim(topic: Topic):
    known = labels(topic)
    assert len(known) == len(set(known)), "labels are unique"
    assert all(label.startswith(("eq-", "def-")) for label in known)
    claims = {label for label in known if label.startswith("eq-")}
    assert claims
    assert claims - proven(topic) == set(), "claims without a check"
    assert proven(topic) - claims == set(), "checks of unknown equations"


@each_topic
def test_labels_are_unique_in_the_book(topic: Topic):
    others = {
        label for other in TOPICS if other != topic for label in labels(other)
    }
    assert set(labels(topic)) & others == set()


@each_topic
def test_its_outputs_are_real_and_normalised(topic: Topic):
    counts = [cell.execution_count for cell in topic.cells("code")]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"
    assert topic.notebook.metadata == METADATA
    assert not any("execution" in cell.metadata for cell in topic.notebook.cells), (
        "time stamps"
    )
    assert not any(
        output.output_type == "error"
        for cell in topic.cells("code")
        for output in cell.outputs
    )


@each_topic
def test_no_number_hides_from_nbval(topic: Topic):
    tags = {
        tag
        for cell in topic.notebook.cells
        for tag in cell.metadata.get("tags", [])
    }
    assert not {tag for tag in tags if "nbval" in tag.lower()}


@each_topic
def test_it_can_be_read_without_sphinx(topic: Topic):
    """Citations, numbers of figures, captions and references are written out."""
    notebook, chapter = topic.notebook, f"book/{topic}"
    again = written(notebook, chapter)
    assert [c.source for c in notebook.cells] == [c.source for c in again.cells], (
        "run `python -m lbdl_book.notebooks --written`"
    )
    assert not re.search(r"\{(cite|numref|doc|bibliography)\b", topic.prose)
    assert notebook.cells[1].source == HOW
    assert read_back(notebook, chapter)[1] == []


@each_topic
def test_every_paper_that_is_cited_is_listed_and_no_other(topic: Topic):
    cited = set(re.findall(r"\]\(#(\w+\d{4}\w*)\)", topic.prose))
    listed = set(re.findall(r"^\((\w+\d{4}\w*)\)=$", topic.prose, re.MULTILINE))
    assert cited and cited == listed


@each_topic
def test_its_errata_begin_with_the_mistake(topic: Topic):
    """The page of errata lists these beginnings and nothing else."""
    text = "\n\n".join(["", *(cell.source for cell in topic.cells("markdown"))])
    section = text.partition("\n## What the sources say\n")[2].partition("\n## ")[0]
    beginnings = re.findall(r"^\*\*(.+?)\*\*(?!\*)", section, re.MULTILINE)
    mistakes = [b for b in beginnings if not b.startswith("Fig. ")]
    assert mistakes, "no mistake is named"
    assert [b for b in mistakes if NO_MISTAKE.fullmatch(b)] == []


@each_topic
def test_solutions_are_folded_in_jupyterlab(topic: Topic):
    inside = 0
    for cell in topic.notebook.cells:
        if cell.cell_type == "markdown":
            inside += cell.source.count("{solution-start}")
            inside -= cell.source.count("{solution-end}")
        elif inside:
            assert cell.metadata.jupyter == {
                "source_hidden": True,
                "outputs_hidden": True,
            }
