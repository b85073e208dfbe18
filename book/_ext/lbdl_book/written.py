"""What only Sphinx can read in a chapter, written out for those who read the notebook
itself: in JupyterLab, in Colab, on the pages of a repository.

    python -m lbdl_book.notebooks --written [chapter.ipynb ...]

An author writes `{cite:p}`, `{cite:t}`, `{numref}`, `{doc}` and `{bibliography}` as
in any book of this kind. In the notebook that is kept they stand as links: a name and
a year that lead to the list of references, the number of a figure that leads to its
caption, the title of a chapter that leads to its file. Captions, and how to run the
chapter elsewhere, have cells of their own that no page shows (tag `remove-cell`), and
the code of solutions is folded. When Sphinx reads the notebook, the links of papers
and figures become roles again; where their words are not those of the bibliography or
of the book's own count, the build says so.
"""

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from pybtex.backends.markdown import Backend
from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.style.formatting.unsrt import Style
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[3]
BIBLIOGRAPHY = ROOT / "book" / "references.bib"

HOW_ID, CAPTION_ID = "how-to-run", "caption-"
HOW = " ".join(
    (
        "**To run this chapter on a machine of your own**, or on one that is lent to you,",
        "install the library with what its chapters import: in a copy of the book's",
        'repository by `pip install ".[notebook]"`, elsewhere by',
        '`%pip install "lbdl[notebook] @ git+ADDRESS"` in a new cell, with the address of',
        "that repository. Nothing else is needed: no book is built, no data is fetched.",
    )
)
DIRECTIVE = "```{bibliography}\n:filter: docname in docnames\n```"
REFERENCES = "## References\n\n"

LINK = re.compile(r"\[([^\]\[]*)\]\(#([\w-]+)\)")
CITE = re.compile(r"\{cite(?::([pt]))?\}`([^`<]*)`")
ADJACENT = re.compile(r"(\{cite:p\}`[^`]*)` \{cite:p\}`")
NUMREF = re.compile(r"\{numref\}`(fig-[\w-]+)`")
DOC = re.compile(r"\{doc\}`([^`<]+?) *</(book/[\w/]+)>`")


# ---------------------------------------------------------------- words


@cache
def bibliography() -> BibliographyData:
    """The papers of the book."""
    return parse_file(BIBLIOGRAPHY)


def authors(entry: Entry) -> str:
    """`Rosenbrock`, `Agueh and Carlier`, `Ainslie et al.`; a title where nobody is
    named."""
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [
        " ".join(map(str, [*one.rich_prelast_names, *one.rich_last_names]))
        for one in people
    ]
    if not names:
        return str(entry.rich_fields["title"])
    return " and ".join(names) if len(names) < 3 else f"{names[0]} et al."


def cited(key: str, kind: str) -> str:
    """A paper in a sentence, `Rosenbrock (1960)`, or after it, `(Rosenbrock, 1960)`."""
    entry = bibliography().entries[key]
    name, year = authors(entry), entry.fields.get("year", "n.d.")
    return f"({name}, {year})" if kind == "p" else f"{name} ({year})"


@cache
def style() -> Style:
    """As the built page lists papers."""
    return Style()


@cache
def reference(key: str) -> str:
    """A paper's entry in a list of references, and the name by which links find it."""
    (formatted,) = style().format_entries([bibliography().entries[key]])
    text = " ".join(formatted.text.render(Backend("utf-8")).split())
    return f"({key})=\n" + re.sub(r"\\([.()-])", r"\1", text)


def order(key: str) -> tuple[str, str, str]:
    """By author, then by year."""
    entry = bibliography().entries[key]
    return authors(entry).casefold(), entry.fields.get("year", ""), key


@cache
def numbers() -> dict[str, int]:
    """The number of each chapter, by its name in the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    parts = [part for part in toc["parts"] if part.get("numbered")]
    files = [chapter["file"] for part in parts for chapter in part["chapters"]]
    return {file: number for number, file in enumerate(files, start=1)}


def figures(notebook: NotebookNode, chapter: str) -> dict[str, str]:
    """`Fig. 8.1` for each named figure of a chapter."""
    names = [
        figure["name"]
        for cell in notebook.cells
        if "name" in (figure := cell.metadata.get("mystnb", {}).get("figure", {}))
    ]
    return {
        name: f"Fig. {numbers().get(chapter, 0)}.{serial}"
        for serial, name in enumerate(names, start=1)
    }


# ---------------------------------------------------------------- writing out


def written(notebook: NotebookNode, chapter: str) -> NotebookNode:
    """The chapter `book/part/topic` for a reader who has no Sphinx."""
    notebook, _ = read_back(notebook, chapter)
    captions, keys = figures(notebook, chapter), set[str]()
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            keys |= {
                k for _, some in CITE.findall(cell.source) for k in split(some)
            }
            cell.source = in_words(cell.source, captions, chapter)
            cell.source = cell.source.replace(
                REFERENCES + DIRECTIVE, REFERENCES + listed(keys)
            )
        cells.append(cell)
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if name := figure.get("name"):
            said = in_words(figure.get("caption", ""), captions, chapter)
            caption = f"({name})=\n**{captions[name]}.** {said}"
            cells.append(unseen(CAPTION_ID + name, caption))
    notebook.cells = [cells[0], unseen(HOW_ID, HOW), *cells[1:]]
    fold_solutions(notebook)
    return notebook


def chapter_of(path: Path) -> str:
    """`book/part/topic`."""
    return "/".join(path.resolve().with_suffix("").parts[-3:])


def split(keys: str) -> list[str]:
    """The keys of one citation."""
    return [key.strip() for key in keys.split(",")]


def in_words(text: str, captions: dict[str, str], chapter: str) -> str:
    """Roles as links."""
    text = CITE.sub(
        lambda m: " ".join(
            f"[{cited(key, m[1] or 'p')}](#{key})" for key in split(m[2])
        ),
        text,
    )
    text = NUMREF.sub(lambda m: f"[{captions.get(m[1], m[1])}](#{m[1]})", text)
    return DOC.sub(lambda m: f"[{m[1]}]({path_from(chapter, m[2])})", text)


def path_from(chapter: str, other: str) -> str:
    """The file of another page, as seen from a chapter."""
    suffix = ".ipynb" if other in numbers() else ".md"
    here, there = chapter.split("/")[1:-1], other.split("/")[1:]
    same = here == there[:-1]
    return (
        ("" if same else "../") + "/".join(there[-1:] if same else there) + suffix
    )


def listed(keys: set[str]) -> str:
    """The references of a chapter."""
    return "\n\n".join(reference(key) for key in sorted(keys, key=order))


def unseen(name: str, source: str) -> NotebookNode:
    """A cell that the built page leaves out."""
    return new_markdown_cell(source, id=name, metadata={"tags": ["remove-cell"]})


def fold_solutions(notebook: NotebookNode) -> None:
    """JupyterLab folds the code of a solution, and what it gives, until it is asked."""
    inside = False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            last = re.findall(r"\{solution-(start|end)\}", cell.source)[-1:]
            inside = last == ["start"] if last else inside
        elif inside:
            cell.metadata["jupyter"] = {
                "source_hidden": True,
                "outputs_hidden": True,
            }


# ---------------------------------------------------------------- reading back


def read_back(
    notebook: NotebookNode, chapter: str
) -> tuple[NotebookNode, list[str]]:
    """The chapter with roles again, and a line for each link whose words are wrong."""
    notebook = copy.deepcopy(notebook)
    notebook.cells = [cell for cell in notebook.cells if not is_unseen(cell)]
    captions, wrong = figures(notebook, chapter), list[str]()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            before, heading, _ = cell.source.partition(REFERENCES)
            if heading:
                cell.source = before + heading + DIRECTIVE
            cell.source = in_roles(cell.source, captions, wrong)
    return notebook, wrong


def is_unseen(cell: NotebookNode) -> bool:
    """Whether this module wrote the cell."""
    name = cell.get("id", "")
    return name == HOW_ID or name.startswith(CAPTION_ID)


def in_roles(text: str, captions: dict[str, str], wrong: list[str]) -> str:
    """Links of papers and figures as roles."""

    def role(match: re.Match[str]) -> str:
        said, key = match[1], match[2]
        if key in bibliography().entries:
            kind = "p" if said.startswith("(") else "t"
            due, name = cited(key, kind), f"cite:{kind}"
        elif key in captions and said.startswith("Fig. "):
            due, name = captions[key], "numref"
        else:
            return match[0]
        if said != due:
            wrong.append(f"{key} is {due!r}, not {said!r}")
        return f"{{{name}}}`{key}`"

    text = LINK.sub(role, text)
    while ADJACENT.search(text):
        text = ADJACENT.sub(r"\1,", text)
    return text


# ---------------------------------------------------------------- in the build


def install(app: Sphinx) -> None:
    """Read notebooks with their roles; compare the figures' numbers."""
    app.connect("source-read", restore)
    app.connect("env-check-consistency", compare_numbers)


def restore(app: Sphinx, docname: str, source: list[str]) -> None:
    """A notebook as its author wrote it."""
    if docname not in numbers() or not source[0].lstrip().startswith("{"):
        return
    notebook, wrong = read_back(
        nbformat.from_dict(json.loads(source[0], object_hook=joined)), docname
    )
    for line in wrong:
        logger.warning(
            "%s: run `python -m lbdl_book.notebooks --written`",
            line,
            location=docname,
            type="lbdl",
        )
    source[0] = json.dumps(notebook)


def joined(thing: dict[str, Any]) -> dict[str, Any]:
    """A cell's source as one text; a file may keep it as a list of lines."""
    if isinstance(thing.get("source"), list):
        thing["source"] = "".join(thing["source"])
    return thing


def compare_numbers(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of a figure that the built page counts otherwise."""
    for docname in numbers().keys() & env.found_docs:
        counted = env.toc_fignumbers.get(docname, {}).get("figure", {})
        path = Path(env.doc2path(docname))
        for name, label in figures(nbformat.read(path, 4), docname).items():
            number = ".".join(map(str, counted.get(name, ())))
            if number and label != f"Fig. {number}":
                logger.warning(
                    "%s is Fig. %s on the page, and %s in the notebook",
                    name,
                    number,
                    label,
                    location=docname,
                    type="lbdl",
                )
