"""`show`: the library's own source in the chapter, so that text and library cannot
drift apart."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from lbdl.notebook.output import display

WIDTH = 84  # columns: more would scroll sideways on a page
SECTION = re.compile(r"^ *(Args|Returns|Yields|Raises|Examples?|Source):", re.M)
GOES_ON = re.compile(r" *(with|where|for|and|or|if|in|so)\b")
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def show(*objects: Any, whole: bool = False) -> None:
    """Print the source of functions and classes, highlighted: of their docstrings
    the summary and the equation.

    Args:
        *objects: functions, classes or modules written in Python, in the order
            shown.
        whole: print whole docstrings: arguments, result, errors, source.

    Raises:
        TypeError: an object has no Python source (a built-in, a number), or none is
            given.
    """
    if not objects:
        raise TypeError("show needs at least one function or class")
    sources = map(source_of, objects)
    source = "\n\n".join(sources if whole else map(brief, sources))
    display(
        {"text/markdown": f"```python\n{source}\n```", "text/plain": source},
    )


def source_of(thing: Any) -> str:
    """The source of one object, from the left margin, without trailing blank
    lines."""
    try:
        source = inspect.getsource(
            inspect.unwrap(thing) if callable(thing) else thing
        )
    except (TypeError, OSError):
        raise TypeError(
            f"show needs Python functions, classes or modules, got {thing!r}"
        ) from None
    return textwrap.dedent(source).rstrip()


def brief(source: str) -> str:
    """Source code with the summary and the equation of each docstring, no more."""
    lines = source.splitlines()
    for node in docstrings(source):
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        lines[first:last] = shortened("\n".join(lines[first:last])).splitlines()
    return "\n".join(lines)


def docstrings(source: str) -> Iterator[ast.stmt]:
    """The docstrings of a source, the last one first."""
    found = [
        node.body[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, DEFINITIONS) and ast.get_docstring(node) is not None
    ]
    return iter(sorted(found, key=lambda node: -node.lineno))


def shortened(docstring: str) -> str:
    """The summary and the equations of a docstring, quotes included.

    An equation is an indented paragraph before the first section; a paragraph that
    goes on with its sentence ("with the threshold for which ...") belongs to it.
    """
    quotes, margin = docstring[-3:], docstring[: -len(docstring.lstrip())]
    text = SECTION.split(docstring.removesuffix(quotes))[0].rstrip()
    summary, *others = text.split("\n\n")
    kept: list[str] = []
    for part in others:
        goes_on = kept and GOES_ON.match(part)
        if goes_on or (part.startswith(margin + "    ") and ">>>" not in part):
            kept.append(part)
    if not kept and len(summary.splitlines()[-1] + quotes) <= WIDTH:
        return summary + quotes
    return "\n\n".join([summary, *kept]) + f"\n{margin}{quotes}"
