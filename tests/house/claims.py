"""Whether the checks beside the equations notice a wrong statement.

    python -m tests.house.claims models/softmax geometry/rotations --count 4

Executes a chapter, and before each cell that proves an equation tries wrong versions of
that cell, each in a child process that knows all that the cells before have made: one
sign, operator, exponent or constant is changed on either side of the check, in what the
cell computes for it, or in a function of the library that the check calls. A wrong
version that runs to the end of its cell is printed: the check does not show what it
says, or the change says another truth.

A version that gives each proving check of the cell the same numbers as before (`1 / s` for
`s`, a sign; a temperature of 1 by which a function divides) says the same there, and no
check could tell: it is counted apart, and printed with `--same`.

What is drawn or laid out (`randn`, `linspace`, ...), tolerances, indices, sizes and the
margins of inequalities are left alone: to change them changes the example, not the claim.
"""

import argparse
import ast
import contextlib
import copy
import inspect
import json
import math
import os
import pickle
import random
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import torch
from IPython.core.interactiveshell import InteractiveShell
from lbdl_book.notebooks import chapters
from tabulate import tabulate

from tests.house.mutation import ended

ROOT = Path(__file__).parents[2]
NOT_TRIED = 3  # the status of a child that failed by a fault of this file
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Lt: ast.Gt,
    ast.LtE: ast.Gt,
    ast.Gt: ast.Lt,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
DATA = {  # calls that make an example; what is done to their results makes it too
    *("randn", "rand", "randint", "randperm", "linspace", "logspace", "generator"),
    *("multinomial", "manual_seed", "tensor", "load_digits", "bernoulli", "sample"),
    "rosenbrock",  # a hill to walk on: any other serves
}
SIZES = {
    "range",
    "zeros",
    "ones",
    "full",
    "eye",
    "reshape",
    "view",
    "expand",
    "arange",
}


@dataclass(frozen=True)
class Wrong:
    """A cell, or a function of the library, with one thing changed."""

    where: str
    change: str
    source: str
    function: Any = None  # the library's, whose source this is


# --- What is changed ----------------------------------------------------------------


def name_of(node: ast.AST) -> str:
    """The last name of what is called."""
    return getattr(node, "attr", getattr(node, "id", ""))


def calls(node: ast.AST) -> Iterator[ast.Call]:
    return (n for n in ast.walk(node) if isinstance(n, ast.Call))


def proofs(tree: ast.AST) -> list[ast.Call]:
    """The checks of a cell that prove an equation."""
    return [
        call
        for call in calls(tree)
        if name_of(call.func) == "check" and labels(call)
    ]


def labels(call: ast.Call) -> list[str]:
    """The equations that a check proves."""
    return [
        constant.value
        for keyword in call.keywords
        if keyword.arg == "proves"
        for constant in ast.walk(keyword.value)
        if isinstance(constant, ast.Constant)
    ]


def sides(call: ast.Call) -> list[ast.AST]:
    """What a check compares."""
    return [
        *call.args[1:],
        *(k.value for k in call.keywords if k.arg == "expected"),
    ]


def computed(tree: ast.AST, wanted: list[ast.AST]) -> list[ast.AST]:
    """What the cell computes for some expressions: these, the right sides of the names
    that they use, and the bodies of the functions that they call."""
    found = list(wanted)
    names: set[str] = set()
    while True:
        more = {n.id for f in found for n in ast.walk(f) if isinstance(n, ast.Name)}
        if more <= names:
            return found
        for node in ast.walk(tree):
            if made_by(node) & (more - names) and not is_data(node):
                found.append(getattr(node, "value", node))
        names |= more


def made_by(node: ast.AST) -> set[str]:
    """The names that a statement gives a value."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.Assign | ast.AugAssign | ast.NamedExpr):
        targets = getattr(node, "targets", None) or [node.target]
        return {
            n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)
        }
    return set()


def is_data(node: ast.AST) -> bool:
    """Whether a statement makes the example."""
    return not isinstance(node, ast.FunctionDef) and any(
        name_of(call.func) in DATA for call in calls(node)
    )


def changeable(
    node: ast.AST, margin: bool = False
) -> Iterator[tuple[Any, str, Any]]:
    """Places in an expression: node, field and what to put there."""
    if isinstance(node, ast.Call) and name_of(node.func) in DATA | SIZES:
        return
    if isinstance(node, ast.Compare):
        if type(node.ops[0]) in SWAPS:
            yield node, "ops", [SWAPS[type(node.ops[0])](), *node.ops[1:]]
        margin = margin or not isinstance(node.ops[0], ast.Eq)
    if isinstance(node, ast.BinOp) and not margin and not is_data(node):
        if type(node.op) in SWAPS:
            yield node, "op", SWAPS[type(node.op)]()
        for field in ("left", "right"):
            value = getattr(node, field)
            if isinstance(value, ast.Constant) and type(value.value) in (
                int,
                float,
            ):
                yield node, field, ast.Constant(other(value.value))
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and not margin
    ):
        yield node, "op", ast.UAdd()
    for child in kept(node):
        yield from changeable(child, margin)


def kept(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of an expression that say something: no tolerances, axes (`dim=0`,
    `.sum(-1)`), indices, annotations, errors."""
    skipped = (ast.Raise, ast.JoinedStr, ast.arguments, ast.Assert)
    axes = (
        [a for a in node.args if is_number(a)] if isinstance(node, ast.Call) else []
    )
    for field, value in ast.iter_fields(node):
        if isinstance(node, ast.Subscript) and field == "slice":
            continue
        if isinstance(node, ast.keyword) and node.arg in ("rtol", "atol", "dim"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if (
                isinstance(child, ast.AST)
                and not isinstance(child, skipped)
                and child not in axes
            ):
                yield child


def is_number(node: ast.AST) -> bool:
    """Whether this is a number, with its sign, or several."""
    if isinstance(node, ast.Tuple):
        return all(is_number(each) for each in node.elts)
    return isinstance(getattr(node, "operand", node), ast.Constant)


def other(value: float) -> float:
    """Another number of the same kind, near enough to be a slip."""
    return (
        value + 1
        if isinstance(value, int) and abs(value) < 10
        else value * 2 or 1.0
    )


def versions(tree: ast.AST, places: list[ast.AST]) -> Iterator[tuple[str, str]]:
    """Each change of a tree: in words, and the source that results."""
    seen = set()
    for place in places:
        for node, field, new in changeable(place):
            if (id(node), field) not in seen:
                seen.add((id(node), field))
                old, before = getattr(node, field), ast.unparse(node)
                setattr(node, field, new)
                after = ast.unparse(node)
                yield f"{before}  ->  {after}", ast.unparse(tree)
                setattr(node, field, old)


def wrong_cells(source: str) -> Iterator[Wrong]:
    """A cell with one change in what its proofs compare."""
    tree = ast.parse(source)
    for call in proofs(tree):
        where = labels(call)[0]
        for change, changed in versions(tree, computed(tree, sides(call))):
            yield Wrong(where, change, changed)


def wrong_functions(
    source: str, names: dict[str, Any], reached: Callable[[Any], set[int]]
) -> Iterator[Wrong]:
    """The functions of the library that the proofs of a cell call, with one change in a
    line that the cell reaches."""
    tree = ast.parse(source)
    for call in proofs(tree):
        parts = computed(tree, sides(call))
        used = {name_of(c.func) for part in parts for c in calls(part)}
        for name in sorted(used):
            function = names.get(name)
            if is_own(function) and name not in DATA:
                body = ast.parse(textwrap.dedent(inspect.getsource(function)))
                lines = reached(function)
                places = [n for n in statements(body) if n.lineno in lines]
                for change, changed in versions(body, places):
                    yield Wrong(
                        labels(call)[0], f"{name}: {change}", changed, function
                    )


def statements(body: ast.AST) -> Iterator[Any]:
    """The simple statements and the conditions of a function."""
    for node in ast.walk(body):
        if isinstance(node, ast.Return | ast.Assign | ast.AugAssign | ast.Expr):
            yield node
        if isinstance(node, ast.If | ast.While):
            yield node.test


def is_own(function: Any) -> bool:
    """Whether this is a plain function of a topic of the library."""
    parts = getattr(function, "__module__", None) or ""
    return (
        inspect.isfunction(function)
        and parts.startswith("lbdl.")
        and parts.split(".")[1]
        in ("foundations", "geometry", "models", "frontiers", "applications")
    )


# --- Whether it is noticed ----------------------------------------------------------


def notices(shell: InteractiveShell, cell: str, wrong: Wrong, limit: float) -> bool:
    """Whether a cell fails, in a child process, with something wrong; or does not end."""
    child = os.fork()
    if child == 0:
        status = NOT_TRIED
        try:
            status = int(fails(shell, cell, wrong))
        finally:
            os._exit(status)
    status = ended(child, limit)
    if status == NOT_TRIED:
        raise RuntimeError(f"could not be tried: {wrong}")
    return status != 0


def fails(shell: InteractiveShell, cell: str, wrong: Wrong) -> bool:
    """Whether the cell raises."""
    if wrong.function is not None:
        put(shell, wrong)
    source = cell if wrong.function is not None else wrong.source
    return not ran(shell, source)


# --- Whether it says anything else ---------------------------------------------------


def watched(source: str) -> str:
    """A cell whose proving checks pass all that they compare through `seen`."""
    tree = ast.parse(source)
    for call in proofs(tree):
        call.args[1:] = [watch(side) for side in call.args[1:]]
        for keyword in call.keywords:
            if keyword.arg == "expected":
                keyword.value = watch(keyword.value)
    return ast.unparse(ast.fix_missing_locations(tree))


def watch(side: Any) -> Any:
    """Puts `seen(...)` around the terms of comparisons, or around the whole; what only
    says True or False (`[True, False]`, `[True] * 4`) holds nothing to see."""
    parts = list(ast.walk(side))
    comparisons = [n for n in parts if isinstance(n, ast.Compare)]
    for each in comparisons:
        each.left = seen_call(each.left)
        each.comparators = [seen_call(c) for c in each.comparators]
    written = not any(isinstance(n, ast.Name | ast.Call) for n in parts)
    return side if comparisons or written else seen_call(side)


def seen_call(node: Any) -> ast.Call:
    return ast.Call(ast.Name("seen", ast.Load()), [node], [])


def plain(value: Any) -> Any:
    """Numbers as a table of float64 or complex128, lists as lists; what is no number, in
    words; a truth, whose numbers are not seen, is like nothing else."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    try:
        table = torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        return repr(value)
    if table.dtype == torch.bool:
        return math.nan
    eps = torch.finfo(table.dtype).eps if table.dtype.is_floating_point else 0.0
    wide = torch.complex128 if table.dtype.is_complex else torch.float64
    return table.to(wide).numpy(), max(eps, 2.0**-52)


def compared(shell: InteractiveShell, cell: str, wrong: Wrong | None) -> list[Any]:
    """All that the proving checks of a cell compare, in their order."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.close(read)
        found: list[Any] = []
        if wrong is not None and wrong.function is not None:
            put(shell, wrong)
        own = wrong is not None and wrong.function is None
        shell.user_ns["seen"] = lambda value: (found.append(plain(value)), value)[1]
        ran(shell, watched(wrong.source if own and wrong else cell))
        with open(write, "wb") as pipe:
            pickle.dump(found, pipe)
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return list(pickle.loads(text))


def alike(one: Any, other: Any) -> bool:
    """Whether two of the things that checks compare are the same up to rounding."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, tuple) and isinstance(other, tuple):
        (a, eps), (b, _) = one, other
        near = 100 * eps
        return a.shape == b.shape and bool(
            torch.allclose(
                torch.from_numpy(a), torch.from_numpy(b), near, near, equal_nan=True
            )
        )
    return bool(one == other)


def says_the_same(one: list[Any], other: list[Any]) -> bool:
    """Whether the checks of two versions of a cell compare the same."""
    return bool(one) and len(one) == len(other) and all(map(alike, one, other))


def lines_reached(shell: InteractiveShell, cell: str, function: Any) -> set[int]:
    """The lines of a function, counted from its first, that a cell runs."""
    first = inspect.getsourcelines(function)[1]
    code = inspect.unwrap(function).__code__
    read, write = os.pipe()
    if os.fork() == 0:
        lines: set[int] = set()

        def local(frame: Any, event: str, argument: Any) -> Any:
            if event == "line":
                lines.add(frame.f_lineno - first + 1)
            return local

        sys.settrace(lambda f, *_: local if f.f_code is code else None)
        ran(shell, cell)
        sys.settrace(None)
        os.write(write, json.dumps(sorted(lines)).encode())
        os._exit(0)
    os.close(write)
    os.wait()
    with open(read) as pipe:
        return set(json.loads(pipe.read() or "[]"))


def put(shell: InteractiveShell, wrong: Wrong) -> None:
    """The wrong function in the place of the right one, for the library and the cell: the
    object stays, so that whoever holds it is served."""
    space = copy.copy(inspect.unwrap(wrong.function).__globals__)
    exec(compile(wrong.source, "<wrong>", "exec"), space)
    made = space[wrong.function.__name__]
    made = inspect.unwrap(made)
    inspect.unwrap(wrong.function).__code__ = made.__code__


def ran(shell: InteractiveShell, source: str) -> bool:
    """Whether a cell runs to its end, without a word."""
    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        return bool(shell.run_cell(source).success)


def drawn(every: list[Wrong], count: int, seed: str) -> list[Wrong]:
    """So many of the wrong versions for each equation."""
    by_equation: dict[str, list[Wrong]] = {}
    for wrong in every:
        by_equation.setdefault(wrong.where, []).append(wrong)
    return [
        wrong
        for where, some in by_equation.items()
        for wrong in random.Random(f"{seed} {where}").sample(
            some, min(count, len(some))
        )
    ]


@dataclass
class Chapter:
    """What became of the wrong versions of a chapter."""

    equations: int = 0
    same: int = 0
    tried: int = 0
    cells: int = 0
    library: int = 0


def tried(
    path: Path, count: int, seed: int, limit: float, show_same: bool
) -> Chapter:
    """A chapter: its equations, the versions that say the same, the wrong ones, and
    those of cells and of the library that nothing noticed."""
    os.chdir(path.parent)
    shell = InteractiveShell()
    shell.run_cell("import matplotlib; matplotlib.use('agg')")
    equations: set[str] = set()
    kinds: dict[str, Callable[[str], Iterator[Wrong]]] = {
        "cells": wrong_cells,
        "library": lambda source: wrong_functions(
            source, shell.user_ns, lambda f: lines_reached(shell, source, f)
        ),
    }
    result = Chapter()
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        source = cell.source
        if "proves=" in source:
            equations |= {
                label
                for call in proofs(ast.parse(source))
                for label in labels(call)
            }
            right = None
            for kind, make in kinds.items():
                for wrong in drawn(list(make(source)), count, f"{seed}{kind}"):
                    if notices(shell, source, wrong, limit):
                        result.tried += 1
                        continue
                    right = right or compared(shell, source, None)
                    same = says_the_same(right, compared(shell, source, wrong))
                    if same:
                        result.same += 1
                    else:
                        result.tried += 1
                        setattr(result, kind, getattr(result, kind) + 1)
                    if show_same or not same:
                        word = " (the same)" if same else ""
                        print(
                            f"{path.stem} {kind} {wrong.where}: {wrong.change}{word}",
                            flush=True,
                        )
        ran(shell, source)
    result.equations = len(equations)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "topics", nargs="*", help="part/name; all, where none is named"
    )
    parser.add_argument(
        "--count", type=int, default=2, help="for each equation and kind"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit", type=float, default=60, help="seconds for a cell"
    )
    parser.add_argument(
        "--same", action="store_true", help="print what says the same, too"
    )
    options = parser.parse_args()
    rows = []
    for path in chapters(ROOT):
        topic = f"{path.parent.name}/{path.stem}"
        if not options.topics or topic in options.topics:
            result = tried(
                path, options.count, options.seed, options.limit, options.same
            )
            rows.append([topic, *vars(result).values()])
            print(rows[-1], flush=True)
    head = [
        "chapter",
        "equations",
        "say the same",
        "wrong versions",
        "unnoticed, of cells",
        "of the library",
    ]
    print(tabulate(rows, head, tablefmt="github"))


if __name__ == "__main__":
    sys.exit(main())
