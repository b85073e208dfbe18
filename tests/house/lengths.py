"""Lengths of the library's functions, in code lines:
`python -m tests.house.lengths` prints the longest.

A code line is one that holds code: blank lines, comments and docstrings do not
count. An inner function counts by itself, not for the function around it.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[2]
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that hold a token of code."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        n
        for t in tokens
        if t.type not in NOT_CODE
        for n in range(t.start[0], t.end[0] + 1)
    }


def span(node: ast.stmt) -> set[int]:
    """The numbers of the lines of a statement."""
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def own_lines(function: Function) -> set[int]:
    """The lines of a function from its `def`, without its docstring and without
    inner functions."""
    lines = span(function)
    if ast.get_docstring(function):
        lines -= span(function.body[0])
    inner = (
        node
        for node in ast.walk(function)
        if isinstance(node, Function) and node is not function
    )
    return lines.difference(*(span(node) for node in inner))


def lengths(root: Path = ROOT / "lbdl") -> Iterator[tuple[int, str]]:
    """Length and place of every function."""
    for path in sorted(root.rglob("*.py")):
        source = path.read_text()
        code = code_lines(source)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, Function):
                yield (
                    len(own_lines(node) & code),
                    f"{path.relative_to(root.parent)}:{node.lineno} {node.name}",
                )


def summary(counts: list[int]) -> tuple[float, float]:
    """Median and 90th percentile."""
    return median(counts), quantiles(counts, n=10)[-1]


if __name__ == "__main__":
    found = sorted(lengths(), reverse=True)
    middle, high = summary([count for count, _ in found])
    print(
        f"{len(found)} functions: median {middle:g} lines, 90th percentile {high:g}"
    )
    print("\n".join(f"{count:4d}  {place}" for count, place in found[:15]))
