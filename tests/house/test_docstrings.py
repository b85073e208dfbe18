"""Every public function says what it solves, and what goes in and out with shapes;
its source, where it has one."""

import inspect
import re

import pytest

from .plan import TOPICS, Topic, imports, public, topic_modules

MODULES = topic_modules()
PUBLIC = dict(pair for module in MODULES for pair in public(module))
FUNCTIONS = {
    name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)
}

SHAPE = re.compile(
    r"\((\.\.\.|[A-Za-z0-9_+*/ -]+)(, ?[^()]*)?\)|\bshapes?\b|\bscalar|\bnumber|\belement",
    re.IGNORECASE,
)


# Words in the place of a source, where the function needs none.
EMPTY = re.compile(
    r"(by )?(the )?(definition|house rule|folklore)\b", re.IGNORECASE
)


def tensors_of(function: object) -> list[str]:
    """The names of parameters that are annotated as tensors, and "return" where one
    comes back."""
    annotations = {
        name: str(kind) for name, kind in inspect.get_annotations(function).items()
    }  # type: ignore[arg-type]
    return [name for name, kind in annotations.items() if "Tensor" in kind]


def section(docstring: str, title: str) -> str:
    """The indented lines below `title`."""
    found = re.search(
        rf"^{title}:(.*?)(?=^\S|\Z)", docstring, re.DOTALL | re.MULTILINE
    )
    return found[1] if found else ""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_topic_says_what_it_is_about_and_what_it_offers(module):
    assert module.__doc__, "no docstring"
    assert module.__all__, "__all__ names the public functions"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_documents_arguments_and_result(name: str):
    docstring = inspect.getdoc(FUNCTIONS[name]) or ""
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    assert section(docstring, "Returns").strip(), "Returns"
    missing = [
        p
        for p in parameters
        if not re.search(rf"(?<![\w.]){re.escape(p)}\b", section(docstring, "Args"))
    ]
    assert not missing, "Args"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gives_the_shapes_of_its_tensors(name: str):
    docstring = inspect.getdoc(FUNCTIONS[name]) or ""
    tensors = tensors_of(FUNCTIONS[name])
    if set(tensors) - {"return"}:
        assert SHAPE.search(section(docstring, "Args")), "Args: shapes"
    if "return" in tensors:
        assert SHAPE.search(section(docstring, "Returns")), "Returns: shape"


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in FUNCTIONS])
def test_a_class_documents_its_arguments(name: str):
    docstring = inspect.getdoc(PUBLIC[name]) or ""
    assert section(docstring, "Args").strip(), "Args"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_source_is_given_where_there_is_one(name: str):
    docstring = inspect.getdoc(PUBLIC[name]) or ""
    if "\nSource:" in docstring:
        source = section(docstring, "Source").strip()
        assert source, "Source: nothing"
        assert not EMPTY.match(source), f"Source: {source}"


@pytest.mark.parametrize("topic", TOPICS, ids=str)
def test_a_chapter_uses_public_names_only(topic: Topic):
    offered = {
        module.__name__: set(getattr(module, "__all__", ())) for module in MODULES
    }
    used = [
        (module, name) for module, name in imports(topic.code) if module in offered
    ]
    assert [
        f"{module}.{name}" for module, name in used if name not in offered[module]
    ] == []
