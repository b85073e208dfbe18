"""A progress bar for who watches, and silence for who does not: the built book, a
pipe, a test."""

import os
import sys
from collections.abc import Iterable
from typing import Any


def progress_bar(
    items: Iterable[Any],
    wanted: bool | None = None,
    *,
    start: int = 0,
    label: str = "",
) -> Any:
    """Goes through `items`, and shows a bar with the time left where someone can
    see it.

    Args:
        items: anything with a length.
        wanted: True shows the bar, False does not, None lets `somebody_watches`
            decide.
        start: how many were done before, by an interrupted run.
        label: what the bar is called.

    Returns:
        An iterable over `items`.
    """
    if not (somebody_watches() if wanted is None else wanted):
        return items
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:  # a bar is a comfort: without tqdm there is none
        return items
    total = start + len(items)  # type: ignore[arg-type]
    return tqdm(items, desc=label, initial=start, total=total, leave=False)


def somebody_watches() -> bool:
    """Whether a bar would be seen: in a terminal, or in a notebook opened in
    JupyterLab.

    `LBDL_PROGRESS=0` always says no, `LBDL_PROGRESS=1` always yes. Notebooks that
    are executed in the background, as for the book and its tests, have no session
    of a Jupyter server, and so no watcher.
    """
    asked = os.environ.get("LBDL_PROGRESS", "").strip()
    if asked:
        return asked != "0"
    if "ipykernel" in sys.modules:
        return "JPY_SESSION_NAME" in os.environ
    return sys.stderr is not None and sys.stderr.isatty()
