"""`show`: the library's own source in the chapter, so that text and library cannot
drift apart."""

import inspect
from typing import Any

from IPython.display import display


def show(*objects: Any) -> None:
    """Print the source of functions and classes, highlighted, docstrings included.

    Args:
        *objects: functions, classes or modules written in Python, in the order
            shown.

    Raises:
        TypeError: an object has no Python source (a built-in, a number), or none is
            given.
    """
    if not objects:
        raise TypeError("show needs at least one function or class")
    source = "\n\n".join(source_of(each) for each in objects)
    display(
        {"text/markdown": f"```python\n{source}\n```", "text/plain": source},
        raw=True,
    )


def source_of(thing: Any) -> str:
    """The source of one object, without its trailing blank lines."""
    try:
        return inspect.getsource(
            inspect.unwrap(thing) if callable(thing) else thing
        ).rstrip()
    except (TypeError, OSError):
        raise TypeError(
            f"show needs Python functions, classes or modules, got {thing!r}"
        ) from None
