"""Short functions: one idea, one function."""

from pathlib import Path

from .lengths import lengths, summary


def test_functions_are_short():
    counts = [count for count, _ in lengths()]
    middle, high = summary(counts)
    assert middle <= 8
    assert high <= 20


def test_a_length_counts_code_and_nothing_else(tmp_path: Path):
    (tmp_path / "module.py").write_text(
        'def outer(\n    x,\n):\n    """Docstring\n    of two lines."""\n\n    # comment\n'
        "    def inner(y):\n        return y\n\n    text = '''two\n    lines'''\n    return inner(x), text\n"
    )
    assert {name: count for count, name in lengths(tmp_path)} == {
        f"{tmp_path.name}/module.py:1 outer": 6,
        f"{tmp_path.name}/module.py:8 inner": 2,
    }
