"""Executes chapters afresh and writes their outputs back into the notebooks,
normalised, with what only Sphinx can read written out (`written.py`).

    python -m lbdl_book.notebooks [--jobs N] [--written] [chapter.ipynb ...]

Without paths, all chapters of `_toc.yml`. A chapter that fails is left as it was. With
`--written` nothing is executed, only written out.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from .kernels import settle
from .pictures import in_palette
from .written import chapter_of, written

ROOT = Path(__file__).parents[3]
METADATA = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks that the table of contents lists, in its order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    return [path for file in files if (path := root / f"{file}.ipynb").exists()]


def normalised(notebook: NotebookNode) -> NotebookNode:
    """Keep what a reader sees; drop times, versions and the state of an editor.

    What the book hides behind a button (tag `hide-input`), JupyterLab folds away
    too. The alternative text of a slider's picture goes where MyST-NB reads it, the
    cell's metadata.
    """
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        for key in ("execution", "collapsed", "scrolled", "ExecuteTime"):
            cell.metadata.pop(key, None)
        if "hide-input" in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {"source_hidden": True}
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                output.data["image/png"] = in_palette(png)
            if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                cell.metadata.setdefault("mystnb", {})["image"] = {"alt": alt}
    return notebook


def rewrite(path: Path) -> str:
    """Execute one chapter and write it back; an empty string, or the traceback of
    the cell that failed."""
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    try:
        NotebookClient(
            notebook, timeout=600, resources=folder, record_timing=False
        ).execute()
    except CellExecutionError as error:
        return f"{path}\n{error}"
    nbformat.write(written(normalised(notebook), chapter_of(path)), path)
    return ""


def main() -> int:
    """Rewrite the chapters; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--written", action="store_true")
    arguments = parser.parse_args()
    paths = [path.resolve() for path in arguments.chapters] or chapters()
    if arguments.written:
        for path in paths:
            notebook = nbformat.read(path, as_version=4)
            nbformat.write(written(notebook, chapter_of(path)), path)
        return 0
    settle(ROOT / "_build" / "kernels")
    failures = 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for path, failure in zip(paths, pool.map(rewrite, paths), strict=True):
            print(failure or f"written: {path.name}", flush=True)
            failures += bool(failure)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
