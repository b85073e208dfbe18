"""Which code a piece of code depends on: the closure of its imports, read from the
source files.

One instrument for whatever has to know that code has changed: the cache of the
chapters, the checkpoint of an interrupted run, a recorded result. It needs the
standard library alone, and imports nothing that it reads.
"""

import ast
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import lbdl

UNKNOWN = "unknown"
WITH_DOCSTRING = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Library:
    """The modules of a package on disk, and what each of them imports from the same
    package.

    Args:
        root: the folder of the package; its name is the package's.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Path(lbdl.__file__).parent
        self._imported: dict[str, set[str]] = {}

    @cached_property
    def modules(self) -> dict[str, Path]:
        """The source file of every module, by the module's name."""
        files = sorted(self.root.rglob("*.py"))
        return {
            self._name(file.relative_to(self.root.parent)): file for file in files
        }

    @staticmethod
    def _name(file: Path) -> str:
        """`a/b.py` is `a.b`, `a/__init__.py` is `a`."""
        return ".".join(file.with_suffix("").parts).removesuffix(".__init__")

    def imported_by(self, module: str) -> set[str]:
        """The modules of the package that a module of it imports, wherever in its
        code."""
        if module not in self._imported:
            file = self.modules[module]
            package = (
                module if file.stem == "__init__" else module.rpartition(".")[0]
            )
            self._imported[module] = self.named_in(file.read_text("utf-8"), package)
        return self._imported[module]

    def named_in(self, code: str, package: str = "") -> set[str]:
        """The modules of the package that import statements name; `package` is
        where the code stands."""
        return set(imports(ast.parse(code), package)) & self.modules.keys()

    def closure(self, modules: Iterable[str]) -> set[str]:
        """The given modules, all that they import, and the packages that these
        stand in."""
        found: set[str] = set()
        waiting = set(modules) & self.modules.keys()
        while waiting:
            module = waiting.pop()
            found.add(module)
            waiting |= (self.imported_by(module) | packages_of(module)) - found
        return found

    def fingerprint(self, modules: Iterable[str], *more: Path) -> str:
        """One number for what the code of a closure, and of other files, says:
        comments and docstrings aside."""
        digest = hashlib.sha256()
        files = {name: self.modules[name] for name in sorted(self.closure(modules))}
        for name, file in [*files.items(), *((file.name, file) for file in more)]:
            digest.update(f"\0{name}\0{meaning(file)}".encode())
        return digest.hexdigest()[:16]


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Names that import statements may mean: `from a.b import c` is `a.b` or
    `a.b.c`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = absolute(node, package)
            yield parent
            yield from (f"{parent}.{alias.name}" for alias in node.names)


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that `from ...` names, for code that stands in `package`."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    above = parts[: len(parts) + 1 - node.level]
    return ".".join([*above, *([node.module] if node.module else [])])


def packages_of(module: str) -> set[str]:
    """`a.b.c` stands in `a.b` and in `a`."""
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


@cache
def meaning(file: Path) -> str:
    """What Python reads of a source: without comments, docstrings, and the way that
    lines are broken.

    The same under every version of Python: not `ast.dump`, which tells the fields
    that a version has.
    """
    return "".join(told(ast.parse(file.read_text("utf-8"))))


def told(thing: Any) -> Iterator[str]:
    """A syntax tree, and what its fields hold, in words; fields that hold nothing
    are left out."""
    if isinstance(thing, list):
        for item in thing:
            yield from told(item)
    elif isinstance(thing, ast.AST):
        yield f"{type(thing).__name__}("
        for name, value in ast.iter_fields(without_docstring(thing)):
            if value is not None and value != []:
                yield f"{name}="
                yield from told(value)
        yield ")"
    else:
        yield repr(thing)


def without_docstring(node: ast.AST) -> ast.AST:
    """The node itself; a docstring is taken out of it."""
    if isinstance(node, WITH_DOCSTRING) and ast.get_docstring(node) is not None:
        node.body = node.body[1:]
    return node


@cache
def installed() -> Library:
    """The library that this process has loaded."""
    return Library()


def code_of(function: Callable[..., Any]) -> str:
    """The fingerprint of a function's file and of all that it imports from the
    library.

    "unknown" for a function that was typed into an interpreter.
    """
    try:
        file = Path(inspect.getsourcefile(function) or "")
        source = file.read_text("utf-8")
    except (OSError, TypeError):
        return UNKNOWN
    library = installed()
    name = next((n for n, path in library.modules.items() if path == file), None)
    if name:
        return library.fingerprint([name])
    return library.fingerprint(library.named_in(source), file)
