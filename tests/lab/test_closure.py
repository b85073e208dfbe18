"""The import closure: the one that grimp finds, and a fingerprint of what the code says."""

import grimp
import pytest

from lbdl.experiments import find
from lbdl.lab import Options, closure
from lbdl.lab.closure import Library, code_of, installed, meaning, packages_of

FILES = {
    "__init__.py": "",
    "a/__init__.py": "from . import plain\n",
    "a/plain.py": "from ..b.deep import g\n",
    "a/lazy.py": "def late():\n    import toy.b.other as o\n    return o\n",
    "b/__init__.py": "",
    "b/deep.py": "import math\n",
    "b/other.py": "from toy import a\n",
}


@pytest.fixture
def toy(tmp_path):
    """A small package; call the fixture to read it again after a change."""
    for name, text in FILES.items():
        file = tmp_path / "toy" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    meaning.cache_clear()
    return lambda: meaning.cache_clear() or Library(tmp_path / "toy")


@pytest.mark.parametrize(
    ("module", "closure"),
    [
        ("toy.b.deep", {"toy", "toy.b", "toy.b.deep"}),
        ("toy.a.plain", {"toy", "toy.a", "toy.a.plain", "toy.b", "toy.b.deep"}),
        ("toy.a.lazy", {f"toy{n}" for n in ("", ".a", ".a.lazy", ".a.plain", ".b", ".b.deep", ".b.other")}),
        ("toy.nowhere", set()),
    ],
)  # fmt: skip
def test_imports_direct_or_not_relative_or_late(toy, module, closure):
    assert toy().closure([module]) == closure


def test_the_closure_of_every_module_is_that_of_grimp():
    graph, library = grimp.build_graph("lbdl", cache_dir=None), installed()
    assert set(library.modules) == graph.modules
    for module in library.modules:
        upstream = {module} | graph.find_upstream_modules(module)
        packages = {p for m in upstream for p in packages_of(m)}
        while packages - upstream:
            upstream |= {
                m for p in packages for m in (p, *graph.find_upstream_modules(p))
            }
            packages = {p for m in upstream for p in packages_of(m)}
        assert library.closure([module]) == upstream, module


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("import math\n# a comment\n", True),
        ('"""A docstring."""\nimport math\n', True),
        ("import math, cmath\n", False),
        ("import math\n\n\nX = 1\n", False),
    ],
)
def test_only_what_the_code_says_counts(toy, tmp_path, text, same):
    before = toy().fingerprint(["toy.a.plain"])
    (tmp_path / "toy" / "b" / "deep.py").write_text(text)
    assert (toy().fingerprint(["toy.a.plain"]) == before) is same


def test_what_is_not_imported_does_not_count(toy, tmp_path):
    before = toy().fingerprint(["toy.a.plain"])
    (tmp_path / "toy" / "b" / "other.py").write_text("X = 2\n")
    assert toy().fingerprint(["toy.a.plain"]) == before
    assert toy().fingerprint(["toy.a.lazy"]) != before


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("def f(x):\n    return (x +\n        1)\n", "def f(x):\n    return x + 1\n", True),
        ("def f(x):\n    'says'\n    return x\n", "def f(x):\n    return x\n", True),
        ('x = 1\r\ny = """a\r\nb"""\r\n', 'x = 1\ny = """a\nb"""\n', True),
        ("class A:\n    'says'\n    x = 1\n", "class A:\n    x = 1\n", True),
        ("x = 'says'\n", "x = 'tells'\n", False),
        ("x = 1\n", "x = 1.0\n", False),
        ("x = None\n", "x = True\n", False),
        ("for i in a:\n    f()\n    g()\n", "for i in a:\n    f()\ng()\n", False),
    ],
)  # fmt: skip
def test_meaning(tmp_path, one, other, same):
    files = tmp_path / "one.py", tmp_path / "other.py"
    for file, text in zip(files, (one, other), strict=True):
        file.write_text(text)
    assert (meaning(files[0]) == meaning(files[1])) is same


def test_a_helper_far_away_changes_the_code_of_an_experiment(monkeypatch):
    """`double_descent` draws its minibatches by `lbdl.core.training`."""
    declared = find()["double_descent"]
    before = code_of(declared.function)
    told = closure.meaning
    helper = installed().modules["lbdl.core.training"]
    monkeypatch.setattr(
        closure, "meaning", lambda file: told(file) + "x" * (file == helper)
    )
    assert code_of(declared.function) != before
    assert code_of(find()["memory_against_depth"].function) != ""


def test_code_that_has_no_file_is_unknown():
    typed = {}
    exec("def typed(): pass", typed)
    assert code_of(typed["typed"]) == "unknown"


def test_a_checkpoint_of_other_code_is_not_continued(tmp_path, monkeypatch):
    declared = find()["memory_against_depth"]
    options = Options(folder=tmp_path)
    declared.prepare(options).checkpoint.save("0", 1, {})
    monkeypatch.setattr("lbdl.lab.declare.code_of", lambda function: "changed")
    with pytest.raises(ValueError, match="belongs to another run: its code is"):
        declared.prepare(options)
