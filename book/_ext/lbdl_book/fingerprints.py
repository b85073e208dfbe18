"""What a chapter's outputs depend on beside its own code, as one hash.

That is: every `lbdl` module that it imports, directly or not (`lbdl.lab.closure`), the data
files of their packages, the results that are recorded for it, the pinned requirements, the
Python version, and the three settings of a run.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from lbdl.lab.closure import Library

SETTINGS = ("LBDL_SEED", "LBDL_SCALE", "LBDL_DEVICE")
IGNORED_SUFFIXES = {".py", ".pyc", ".checkpoint"}
NO_DATA = {"__pycache__", "recorded"}  # what is recorded concerns one chapter each


def files_of(library: Library, module: str) -> Iterator[Path]:
    """A module's source file; for a package, its `__init__.py` and its data files."""
    source = library.modules[module]
    yield source
    if source.name == "__init__.py":
        yield from data_files(source.parent)


def data_files(folder: Path) -> Iterator[Path]:
    """Files that are not code, in this folder and in subfolders that are no packages
    themselves."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix not in IGNORED_SUFFIXES:
            yield path
        elif (
            path.is_dir()
            and path.name not in NO_DATA
            and not (path / "__init__.py").exists()
        ):
            yield from data_files(path)


def recorded_files(library: Library, chapter: Path) -> list[Path]:
    """The results that are recorded for a chapter, `part/topic.ipynb`."""
    place = Path("experiments", "recorded", chapter.parent.name, chapter.stem)
    return sorted((library.root / place).glob("*.npz"))


def chapter_code(path: Path) -> str:
    """The code cells of a notebook as one Python source, IPython's own syntax translated."""
    cells = nbformat.read(path, as_version=4).cells
    translate = TransformerManager().transform_cell
    return "\n".join(
        translate(cell.source) for cell in cells if cell.cell_type == "code"
    )


def chapter_modules(path: Path, library: Library) -> set[str]:
    """All library modules that can change a chapter's outputs; its own experiments are
    among them."""
    own = f"{library.root.name}.experiments.{path.parent.name}.{path.stem}"
    return library.closure({*library.named_in(chapter_code(path)), own})


def fingerprint(chapter: Path, library: Library, requirements: Path) -> str:
    """One hash over everything but the chapter's own cells that can change its
    outputs."""
    digest = hashlib.sha256(f"python {sys.version_info[:2]}".encode())
    for name in SETTINGS:
        digest.update(f"\0{name}={os.environ.get(name, '')}".encode())
    files = [
        file
        for module in sorted(chapter_modules(chapter, library))
        for file in files_of(library, module)
    ]
    for file in [*files, *recorded_files(library, chapter), requirements]:
        digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()
