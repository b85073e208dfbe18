"""A topic stands at the same place in five buildings, and arrows between rooms run
one way."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .plan import ROOT, TOPICS, Topic, source_files

OUTSIDE = (
    "jupyter",
    "IPython",
    "ipykernel",
    "ipywidgets",
    "matplotlib",
    "sklearn",
    "scipy",
    "tqdm",
    "triton",
    "lbdl.core",
    "lbdl.lab",
    "lbdl.experiments",
    "lbdl.notebook",
)
# What a file beside its topic may import, by the end of its name: `rotations_sklearn.py`, `triton.py`.
ADAPTERS = {"sklearn": {"numpy", "scipy", "sklearn"}, "triton": {"triton"}}


def stands(path: Path) -> bool:
    """Whether there is such a file, or a folder of the same name."""
    return path.with_suffix(".py").exists() or path.is_dir()


@pytest.mark.parametrize("topic", TOPICS, ids=str)
@pytest.mark.parametrize(
    "place",
    ["lbdl/{part}/{name}", "tests/{part}/test_{name}", "bench/{part}/{name}"],
)
def test_a_chapter_has_its_module_its_test_and_its_race(topic: Topic, place: str):
    assert stands(ROOT / place.format(part=topic.part, name=topic.name))


def test_every_notebook_of_a_part_is_in_the_table_of_contents():
    written = {
        (path.parent.name, path.stem)
        for path in (ROOT / "book").glob("[a-z]*/*.ipynb")
    }
    assert written == {(topic.part, topic.name) for topic in TOPICS}


PARTS = {
    f"lbdl.{path.relative_to(ROOT / 'lbdl').parts[0]}" for path in source_files()
}
GROUND = {"lbdl.require", "lbdl.kernels"}
MAY_IMPORT = {  # which rooms a room may import beside itself
    **dict.fromkeys(GROUND, GROUND),
    **dict.fromkeys(PARTS, GROUND | PARTS),
    "lbdl.core": GROUND,
    "lbdl.lab": {*GROUND, "lbdl.core"},
    "lbdl.experiments": {*GROUND, "lbdl.core", "lbdl.lab", *PARTS},
    "lbdl.notebook": GROUND,
}
COMMANDS = {"lbdl.cli", "lbdl.doctor"}  # they may use everything but the page
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
    "importlinter"
]["contracts"]


def test_every_room_of_the_library_is_known():
    there = {
        f"lbdl.{path.stem}"
        for path in (ROOT / "lbdl").iterdir()
        if not path.name.startswith("__")
    }
    assert there == {*MAY_IMPORT, *COMMANDS}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_contract_names_every_arrow_that_a_room_may_not_draw(room: str):
    forbidden = {
        module
        for contract in CONTRACTS
        if room in contract.get("source_modules", ())
        for module in contract["forbidden_modules"]
    }
    wanted = {*MAY_IMPORT, *COMMANDS} - {room} - MAY_IMPORT[room]
    assert wanted - forbidden == set(), (
        f"missing in pyproject.toml, in the contract of {room}"
    )


IMPORT_BY_STRING = re.compile(
    r"\b(import_module|__import__|find_spec|exec_module)\b"
)
INDEX = "lbdl/experiments/__init__.py"  # walks the modules of its own package


def test_no_import_hides_in_a_string():
    """What is imported by a name in a string, no contract can see."""
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "lbdl").rglob("*.py")
        if IMPORT_BY_STRING.search(path.read_text())
    }
    assert found == {INDEX}


def outside_imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, relative imports left out."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [
        alias.name
        for node in nodes
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    names += [
        node.module or ""
        for node in nodes
        if isinstance(node, ast.ImportFrom) and not node.level
    ]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    "path", source_files(), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_topic_imports_torch_and_the_standard_library_only(path: Path):
    kind = path.stem.rpartition("_")[2]
    assert outside_imports(path) <= {"torch", "lbdl"} | ADAPTERS.get(
        kind, set()
    ) | set(sys.stdlib_module_names)


def test_importing_lbdl_costs_torch_and_nothing_more():
    blocked = "\n".join(f"sys.modules[{name!r}] = None" for name in OUTSIDE)
    code = f"import sys\n{blocked}\nimport lbdl\nassert lbdl.__version__"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


IMPORT_ALL = """
import importlib, sys
for name in {outside!r}:
    sys.modules[name] = None
for name in {topics!r}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error)
"""


def refused_imports(topics: list[str]) -> str:
    """What modules say that cannot be imported where nothing but torch is; one
    process for all, which imports torch once."""
    code = IMPORT_ALL.format(outside=OUTSIDE, topics=topics)
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


WITHOUT = """
import sys
for name in ("IPython", "ipywidgets", "jupyterquiz"):
    sys.modules[name] = None
from lbdl.notebook import Slider, check, explore, quiz, show
check("a half", 1 / 2, 0.5)
explore(lambda lr: None, lr=Slider(0, 1), alt="a picture")
"""


def test_a_chapters_calls_need_jupyter_only_where_they_show():
    """In a plain Python they print, whatever of Jupyter is missing."""
    env = {k: v for k, v in os.environ.items() if k != "LBDL_EXPLORE"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env={**env, "MPLBACKEND": "agg"},
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.stdout.startswith("✓ a half")


def test_no_topic_needs_jupyter():
    assert refused_imports([f"lbdl.{t.part}.{t.name}" for t in TOPICS]) == ""
    assert "lbdl.notebook.style" in refused_imports(["lbdl.notebook.style"])
