"""What a chapter's outputs depend on beside its own code, as one hash.

That is: every `lbdl` module that it imports, directly or not, the data files of their packages,
the pinned requirements, the Python version, and the three settings of a run.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import grimp
import nbformat
from grimp import ImportGraph
from IPython.core.inputtransformer2 import TransformerManager
from sphinx.errors import SphinxError

PACKAGE = "lbdl"
SETTINGS = ("LBDL_SEED", "LBDL_SCALE", "LBDL_DEVICE")
IGNORED_SUFFIXES = {".py", ".pyc"}


class Library:
    """The import graph of the installed library and the files of its modules."""

    def __init__(self, package: str = PACKAGE):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise SphinxError(
                f"{package} is not installed; run: pip install -e . --no-deps"
            )
        self.root = Path(spec.origin).parent
        self.graph: ImportGraph = grimp.build_graph(package, cache_dir=None)

    def closure(self, modules: Iterable[str]) -> set[str]:
        """The given modules, all that they import, and the packages that these stand in."""
        found: set[str] = set()
        waiting = set(modules) & self.graph.modules
        while waiting:
            module = waiting.pop()
            found.add(module)
            waiting |= (
                self.graph.find_modules_directly_imported_by(module)
                | packages_of(module)
            ) - found
        return found

    def files(self, module: str) -> Iterator[Path]:
        """A module's source file; for a package, its `__init__.py` and its data files."""
        path = self.root.joinpath(*module.split(".")[1:])
        if not path.is_dir():
            yield path.with_suffix(".py")
            return
        yield path / "__init__.py"
        yield from data_files(path)


def packages_of(module: str) -> set[str]:
    """`a.b.c` stands in `a.b` and in `a`."""
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


def data_files(folder: Path) -> Iterator[Path]:
    """Files that are not code, in this folder and in subfolders that are no packages themselves."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix not in IGNORED_SUFFIXES:
            yield path
        elif (
            path.is_dir()
            and path.name != "__pycache__"
            and not (path / "__init__.py").exists()
        ):
            yield from data_files(path)


def named_modules(code: str) -> Iterator[str]:
    """Names that import statements in the code may mean: `from a.b import c` is `a.b` or `a.b.c`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def chapter_code(path: Path) -> str:
    """The code cells of a notebook as one Python source, IPython's own syntax translated."""
    cells = nbformat.read(path, as_version=4).cells
    translate = TransformerManager().transform_cell
    return "\n".join(
        translate(cell.source) for cell in cells if cell.cell_type == "code"
    )


def chapter_modules(path: Path, library: Library) -> set[str]:
    """All library modules that can change a chapter's outputs; its own experiments are among them."""
    return library.closure(
        {
            *named_modules(chapter_code(path)),
            f"{PACKAGE}.experiments.{path.parent.name}.{path.stem}",
        }
    )


def fingerprint(chapter: Path, library: Library, requirements: Path) -> str:
    """One hash over everything but the chapter's own cells that can change its outputs."""
    digest = hashlib.sha256(f"python {sys.version_info[:2]}".encode())
    for name in SETTINGS:
        digest.update(f"\0{name}={os.environ.get(name, '')}".encode())
    files = [
        file
        for module in sorted(chapter_modules(chapter, library))
        for file in library.files(module)
    ]
    for file in [*files, requirements]:
        digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()
