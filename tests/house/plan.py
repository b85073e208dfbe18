"""What the house tests look at: the topics of the table of contents, and the public
names of the library."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import nbformat
from lbdl_book.notebooks import chapters
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
# rooms of the library that are not parts of the book
SERVANTS = {
    "core",
    "experiments",
    "lab",
    "notebook",
}


@dataclass(frozen=True)
class Topic:
    """One topic: `part/name`, the same in four buildings."""

    part: str
    name: str

    def __str__(self) -> str:
        return f"{self.part}/{self.name}"

    @cached_property
    def notebook(self) -> NotebookNode:
        """The chapter."""
        return nbformat.read(
            ROOT / "book" / self.part / f"{self.name}.ipynb", as_version=4
        )

    def cells(self, kind: str) -> list[NotebookNode]:
        """The cells of one kind, "code" or "markdown", that are not empty."""
        return [
            cell
            for cell in self.notebook.cells
            if cell.cell_type == kind and cell.source.strip()
        ]

    @cached_property
    def code(self) -> str:
        """All code of the chapter."""
        return "\n".join(cell.source for cell in self.cells("code"))

    @cached_property
    def prose(self) -> str:
        """All prose of the chapter."""
        return "\n\n".join(cell.source for cell in self.cells("markdown"))


TOPICS = [Topic(path.parent.name, path.stem) for path in chapters(ROOT)]


def source_files() -> list[Path]:
    """The topic modules: every file of the library that stands in a part."""
    return sorted(
        path
        for path in (ROOT / "lbdl").glob("*/**/*.py")
        if path.parts[len(ROOT.parts) + 1] not in SERVANTS
    )


def topic_modules() -> list[ModuleType]:
    """Topics that a reader imports: `lbdl.part.topic`, a file or a folder, adapters
    beside them included."""
    found = {
        path.relative_to(ROOT).with_suffix("").parts[:3] for path in source_files()
    }
    return [
        importlib.import_module(".".join(parts))
        for parts in sorted(found)
        if parts[-1] != "__init__"
    ]


def public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The functions and classes that a topic offers, by name."""
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            yield f"{module.__name__}.{name}", thing


def imports(code: str) -> Iterator[tuple[str, str]]:
    """Pairs (module, name) of the `from module import name` statements."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)
