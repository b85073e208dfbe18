"""Executes the chapters that need it, in parallel, before Sphinx reads any page.

jupyter-cache's own workers execute into the cache that MyST-NB reads from. A cached
result is valid for one fingerprint of the library. The order of steps makes an
interruption harmless: stale results are dropped first, then the new fingerprints are
noted, then chapters execute; so whatever result stands in the cache was made under
the fingerprint that stands beside it.
"""

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import JupyterCacheAbstract
from jupyter_cache.cache.db import NbCacheRecord, NbProjectRecord
from jupyter_cache.executors.basic import ExecutionWorkerLocalMProc, ProcessData
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import SphinxError
from sphinx.util import logging

from lbdl.lab.closure import Library

from .fingerprints import fingerprint
from .kernels import settle

logger = logging.getLogger(__name__)

KERNEL_ENVIRONMENT = {"LBDL_EXPLORE": "page", "LBDL_PROGRESS": "0"}
# One thread a kernel: the kernels themselves share the cores.
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ChapterFailed(SphinxError):
    """A chapter raised; its traceback has been shown."""

    category = "Chapter failed"


def install(app: Sphinx) -> None:
    """Set the kernels' environment, and execute when Sphinx asks what is out of
    date."""
    os.environ.update(KERNEL_ENVIRONMENT)
    for name in THREAD_LIMITS:
        os.environ.setdefault(name, "1")
    app.connect("env-get-outdated", execute_chapters)


def execute_chapters(
    app: Sphinx, env: BuildEnvironment, *changes: set[str]
) -> list[str]:
    """Execute what is not in the cache; return the pages whose outputs are new."""
    if env.mystnb_config.execution_mode != "cache":
        return []
    paths = {
        docname: Path(env.doc2path(docname)) for docname in sorted(env.found_docs)
    }
    chapters = {
        str(path): docname
        for docname, path in paths.items()
        if path.suffix == ".ipynb"
    }
    if not chapters:
        return []
    cache = get_cache(env.mystnb_config.execution_cache_path)
    forget_stale(cache, chapters, Path(app.srcdir) / "requirements.txt")
    return [
        chapters[uri]
        for uri in execute(cache, chapters, env.mystnb_config.execution_timeout)
    ]


def forget_stale(
    cache: JupyterCacheAbstract, chapters: Iterable[str], requirements: Path
) -> None:
    """Drop the results of chapters whose fingerprint is new, then note the new
    fingerprints."""
    file = cache.path / "fingerprints.json"
    known = json.loads(file.read_text("utf-8")) if file.exists() else {}
    library = Library()
    current = {
        uri: fingerprint(Path(uri), library, requirements) for uri in chapters
    }
    for uri in chapters:
        for record in results_of(cache, uri):
            if known.get(uri) != current[uri] or is_damaged(cache, record):
                forget(cache, record)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(current, indent=1))
    temporary.replace(file)


def results_of(cache: JupyterCacheAbstract, uri: str) -> list[NbCacheRecord]:
    """The cached results of a chapter: made from this file, or (in a checkout that
    moved) from this code."""
    _, key = cache.create_hashed_notebook(nbformat.read(uri, as_version=4))
    return [
        record
        for record in cache.list_cache_records()
        if record.uri == uri or record.hashkey == key
    ]


def is_damaged(cache: JupyterCacheAbstract, record: NbCacheRecord) -> bool:
    """Whether a build that was interrupted while writing left this result
    unreadable."""
    try:
        cache.get_cache_bundle(record.pk)
    except (KeyError, OSError, nbformat.reader.NotJSONError):
        return True
    return False


def forget(cache: JupyterCacheAbstract, record: NbCacheRecord) -> None:
    """Remove a result; unlike `cache.remove_cache`, also one whose file is gone."""
    shutil.rmtree(cache.path / "executed" / record.hashkey, ignore_errors=True)
    NbCacheRecord.remove_records([record.pk], cache.db)


def execute(
    cache: JupyterCacheAbstract, chapters: Iterable[str], timeout: int
) -> list[str]:
    """Execute chapters that have no result, on all cores; raise if one fails."""
    for uri in chapters:
        cache.add_nb_to_project(uri)
    records = cache.list_unexecuted(filter_uris=list(chapters))
    if not records:
        logger.info("[lbdl] no chapter to execute")
        return []
    settle(cache.path.parent / "kernels")
    NbProjectRecord.remove_tracebacks([record.pk for record in records], cache.db)
    jobs = [ProcessData(r.pk, r.uri, cache, timeout, False) for r in records]
    with multiprocessing.Pool() as pool:
        work = pool.imap_unordered(ExecutionWorkerLocalMProc(), jobs)
        results = list(with_progress(work, len(jobs)))
    show_failures(cache, [uri for code, uri in results if code])
    return [uri for _, uri in results]


def with_progress(
    results: Iterable[tuple[int, str]], count: int
) -> Iterator[tuple[int, str]]:
    """The results as they come, with a line for each: which chapter, of how many,
    and about how long the others will take."""
    begun = time.monotonic()
    say(f"Executing {count} of the chapters; a line will follow for each.")
    for done, (code, uri) in enumerate(results, start=1):
        each = (time.monotonic() - begun) / done
        left = minutes(each * (count - done)) if done < count else "pages follow"
        state = "failed" if code else "done"
        say(f"Chapter {done} of {count} {state}: {Path(uri).stem} ({left})")
        yield code, uri


def minutes(seconds: float) -> str:
    """A duration that is only known roughly, in words."""
    rounded = round(seconds / 60)
    return f"about {rounded} min left" if rounded else "less than a minute left"


def say(line: str) -> None:
    """A line that a quiet build shows too."""
    print(f"[lbdl] {line}", flush=True)


def show_failures(cache: JupyterCacheAbstract, failed: list[str]) -> None:
    """Log the whole traceback of every failed chapter, then stop the build."""
    for uri in failed:
        traceback = NbProjectRecord.record_from_uri(uri, cache.db).traceback
        logger.error(
            "%s failed:\n%s",
            uri,
            traceback or "the kernel died or the file could not be read",
        )
    if failed:
        raise ChapterFailed(", ".join(Path(uri).stem for uri in failed))
