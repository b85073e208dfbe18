"""Whether what the chapters claim holds under other seeds.

    python -m lbdl_book.seeds [--jobs N] [--seeds 0 9] [chapter.ipynb ...]

Executes chapters (all, where none is named) to their ends under each `LBDL_SEED`, and
prints which cells failed, then a table. What was found stands in `_build/seeds`, so that
a run that was interrupted goes on, and what has not changed is not executed again.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from tabulate import tabulate
from tqdm import tqdm

from lbdl.lab.closure import Library

from .fingerprints import chapter_code, fingerprint
from .kernels import settle
from .notebooks import ROOT, chapters

FOUND = ROOT / "_build" / "seeds"


def failures(notebook: NotebookNode) -> Iterator[str]:
    """What the cells of an executed notebook raised, but for those that are meant to."""
    for number, cell in enumerate(notebook.cells):
        if "raises-exception" not in cell.metadata.get("tags", []):
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    yield f"cell {number}: {output.ename}: {output.evalue}"


def executed(path: Path, seed: int) -> list[str]:
    """The failures of a chapter under a seed; no cell's failure ends it."""
    os.environ["LBDL_SEED"] = str(seed)
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=900, resources=folder, allow_errors=True
    ).execute()
    return list(failures(notebook))


def place(path: Path, seed: int) -> Path:
    """Where the failures of a chapter under a seed are kept: its name tells the state
    of the chapter and of all that it depends on."""
    os.environ["LBDL_SEED"] = str(seed)
    state = fingerprint(path, Library(), ROOT / "requirements.txt")
    digest = hashlib.sha256((state + chapter_code(path)).encode()).hexdigest()
    return FOUND / f"{path.parent.name}-{path.stem}-{seed}-{digest[:16]}.json"


def tried(work: tuple[Path, int]) -> list[str]:
    """The failures of a chapter under a seed, executed where that was not done before."""
    file = place(*work)
    if not file.exists():
        found = executed(*work)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(found), "utf-8")
        temporary.replace(file)
    return json.loads(file.read_text("utf-8"))


def table(
    paths: Sequence[Path], seeds: Sequence[int], found: dict[tuple[Path, int], int]
) -> str:
    """How many cells failed, chapters by seeds; a dot where none did."""
    rows = [
        [path.stem, *(found[path, seed] or "." for seed in seeds)] for path in paths
    ]
    return tabulate(rows, ["chapter", *map(str, seeds)], tablefmt="github")


def main() -> int:
    """Try the chapters; 1 if a cell failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", nargs=2, type=int, default=(0, 9))
    arguments = parser.parse_args()
    paths = [path.resolve() for path in arguments.chapters] or chapters()
    seeds = range(arguments.seeds[0], arguments.seeds[1] + 1)
    settle(ROOT / "_build" / "kernels")
    work = [(path, seed) for path in paths for seed in seeds]
    found = {}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        results = tqdm(pool.map(tried, work), total=len(work), disable=None)
        for (path, seed), failed in zip(work, results, strict=True):
            found[path, seed] = len(failed)
            for failure in failed:
                results.write(f"{path.stem}, seed {seed}, {failure}")
    print(table(paths, seeds, found))
    return min(sum(found.values()), 1)


if __name__ == "__main__":
    sys.exit(main())
