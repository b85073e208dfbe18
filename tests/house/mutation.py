"""Whether the tests notice a changed line: one constant, sign, comparison or operator of a topic at a time.

    python -m tests.house.mutation geometry/rotations models/softmax --count 20 --seed 0

Each change is made in the source that a child process imports, never in a file. First run the tests that name the
function (or what calls it in its file), then all tests of the topic, then its calls. A mutant that no test notices is
printed; it is a hole in the tests, or means the same.
"""

import argparse
import ast
import contextlib
import functools
import linecache
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SWAPS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}


@dataclass(frozen=True)
class Mutant:
    """A file of the library with one change in one function."""

    path: Path
    function: str
    line: int
    old: str
    new: str
    source: bytes

    def __str__(self) -> str:
        where = self.path.relative_to(ROOT)
        return f"{where}:{self.line} {self.function}: {self.old} -> {self.new}"


def mutants(path: Path) -> Iterator[Mutant]:
    """All changes that are tried in a file."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    at = lambda line, column: starts[line - 1] + column
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            for node in changeable(function):
                for first, last, new in changes(node, source, at):
                    changed = source[:first] + new.encode() + source[last:]
                    line = source.count(b"\n", 0, first) + 1
                    old = source[first:last].decode()
                    yield Mutant(path, function.name, line, old, new, changed)


def changeable(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function, without annotations, strings and what an error says."""
    waiting: list[ast.AST] = [*function.body, *function.args.defaults]
    waiting += [d for d in function.args.kw_defaults if d]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.Raise | ast.JoinedStr | ast.FunctionDef):
            yield node
            skipped = {getattr(node, "annotation", None)}
            waiting += [n for n in ast.iter_child_nodes(node) if n not in skipped]


def changes(node: Any, source: bytes, at: Any) -> Iterator[tuple[int, int, str]]:
    """Pieces of the source that are exchanged: where from, where to, for what."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        first = at(node.lineno, node.col_offset)
        yield first, at(node.end_lineno, node.end_col_offset), other(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        first = at(node.lineno, node.col_offset)
        yield first, first + 1, "+"
    for left, op, right in operations(node):
        if type(op) in SWAPS:
            old, new = SWAPS[type(op)]
            first = at(left.end_lineno, left.end_col_offset)
            between = source[first : at(right.lineno, right.col_offset)]
            place = first + between.index(old.encode())
            yield place, place + len(old), new


def operations(node: Any) -> list[tuple[Any, Any, Any]]:
    """Left, operator and right, of each operation of a node."""
    if isinstance(node, ast.BinOp):
        return [(node.left, node.op, node.right)]
    if isinstance(node, ast.Compare):
        return list(
            zip(
                [node.left, *node.comparators],
                node.ops,
                node.comparators,
                strict=False,
            )
        )
    if isinstance(node, ast.BoolOp):
        return [
            (a, node.op, b)
            for a, b in zip(node.values, node.values[1:], strict=False)
        ]
    return []


def other(value: bool | float) -> str:
    """Another number of the same kind, near enough to be a slip."""
    if isinstance(value, bool):
        return str(not value)
    return str(value + 1) if isinstance(value, int) else str(value * 2 or 1.0)


# --- Which tests, and whether one fails ---------------------------------------------------------------------------


def callers(path: Path, function: str) -> set[str]:
    """The function, and what reaches it in its file."""
    uses = {
        node.name: {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef)
    }
    found, before = {function}, set[str]()
    while found != before:
        before = set(found)
        found |= {name for name, used in uses.items() if used & before}
    return found


@functools.cache
def tests_of(topic: str) -> dict[str, str]:
    """The tests of a topic and their source, by node id."""
    part, name = topic.split("/")
    here = ROOT / "tests" / part
    files = [*here.glob(f"test_{name}.py"), *here.glob(f"test_{name}/test_*.py")]
    return {
        f"{file}::{node.name}": ast.get_source_segment(
            file.read_text("utf-8"), node
        )
        or ""
        for file in sorted(files)
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and node.name.lower().startswith("test")
    }


def naming(topic: str, names: set[str]) -> list[str]:
    """The tests of a topic that name a function."""
    word = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")
    return [test for test, source in tests_of(topic).items() if word.search(source)]


def notices(mutant: Mutant, topic: str, limit: float) -> str:
    """Which tests fail: "named", "topic", "calls"; "" where none does, "slow" where time is up."""
    trials = {
        "named": naming(topic, {mutant.function}),
        "callers": naming(topic, callers(mutant.path, mutant.function)),
        "topic": sorted({test.split("::")[0] for test in tests_of(topic)}),
        "calls": [
            str(ROOT / "tests/house/test_calls.py"),
            "-k",
            topic.replace("/", "."),
        ],
    }
    tried: list[list[str]] = [[]]
    for trial, tests in trials.items():
        if tests not in tried:
            tried.append(tests)
            failed = fails(mutant, tests, limit)
            if failed is not False:
                return trial if failed else "slow"
    return ""


def fails(mutant: Mutant, tests: list[str], limit: float) -> bool | None:
    """Whether a test fails in a process that imports the mutant; None where time is up."""
    child = os.fork()
    if child == 0:
        os._exit(run(mutant, tests))
    status = ended(child, limit)
    return None if status is None else status not in (0, 5)


def ended(child: int, limit: float) -> int | None:
    """The exit status of a child process; None where time is up, and it is killed."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def prepare(topics: list[str]) -> None:
    """Imports what the tests import, once for all children, and forgets what they are to import again."""
    quietly(
        [
            "--collect-only",
            *{test.split("::")[0] for topic in topics for test in tests_of(topic)},
        ]
    )
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("lbdl", "tests")
    ]:
        if name != "tests.house.mutation":
            del sys.modules[name]


def quietly(arguments: list[str]) -> int:
    """The exit status of pytest."""
    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *arguments]))


def run(mutant: Mutant, tests: list[str]) -> int:
    """The exit status of pytest, where the library is the mutant: what Python compiles, and what others read again,
    Triton's interpreter among them."""
    lines = mutant.source.decode().splitlines(keepends=True)
    linecache.cache[str(mutant.path)] = (
        len(mutant.source),
        None,
        lines,
        str(mutant.path),
    )
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, name: str) -> Any:
        if Path(self.path) == mutant.path:
            return compile(mutant.source, self.path, "exec")
        return original(self, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    return quietly(tests)


def chosen(topic: str, count: int, seed: int) -> list[Mutant]:
    """So many mutants of a topic, drawn at random."""
    folder = ROOT / "lbdl" / topic
    files = sorted(folder.glob("*.py")) or [folder.with_suffix(".py")]
    all_of_them = [mutant for file in files for mutant in mutants(file)]
    return random.Random(f"{seed} {topic}").sample(
        all_of_them, min(count, len(all_of_them))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topics", nargs="+", help="part/name")
    parser.add_argument(
        "--count", type=int, default=10, help="mutants of each topic"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit",
        type=float,
        default=60,
        help="seconds that one run of tests may take",
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    prepare(options.topics)
    drawn = [chosen(topic, options.count, options.seed) for topic in options.topics]
    counts: Counter[str] = Counter()
    for row in zip_longest(*drawn):  # every topic in turn
        for topic, mutant in zip(options.topics, row, strict=True):
            if mutant is not None:
                by = notices(mutant, topic, options.limit) or "SURVIVES"
                counts[by] += 1
                print(f"{by:8}  {mutant}", flush=True)
    print(f"{counts.total()} mutants: {dict(counts)}")


if __name__ == "__main__":
    sys.exit(main())
