"""nbval proves the notebooks only if it can fail: a changed number must be
found."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

COMMAND = [
    sys.executable,
    "-m",
    "pytest",
    "--nbval",
    "--nbval-current-env",
    "-p",
    "no:cacheprovider",
    "-q",
]


def write_notebook(path: Path, printed: str, claimed: str) -> None:
    """A small notebook whose committed outputs are a printed number and the line of
    a check."""
    line = new_output(
        "display_data",
        data={"text/plain": claimed, "text/html": f"<b>{claimed}</b>"},
    )
    cells = [
        new_markdown_cell("# A number"),
        new_code_cell(
            "print(2 ** 0.5)",
            execution_count=1,
            outputs=[new_output("stream", text=f"{printed}\n")],
        ),
        new_code_cell(
            "from IPython.display import display\n"
            "text = '✓ the square is two'\n"
            "display({'text/plain': text, 'text/html': f'<b>{text}</b>'}, raw=True)",
            execution_count=2,
            outputs=[line],
        ),
    ]
    nbformat.write(new_notebook(cells=cells), path)


def nbval_passes(path: Path) -> bool:
    """Whether strict nbval accepts the notebook, run as in `make test`."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("PYTEST_")
    }
    done = subprocess.run(
        [*COMMAND, str(path)],
        cwd=path.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode == 0


@pytest.mark.parametrize(
    ("printed", "claimed", "passes"),
    [
        ("1.4142135623730951", "✓ the square is two", True),
        ("1.4142135623730952", "✓ the square is two", False),
        ("1.4142135623730951", "✓ the square is three", False),
    ],
    ids=["true outputs", "a changed digit", "a changed claim"],
)
def test_nbval_finds_a_changed_output(
    tmp_path: Path, printed: str, claimed: str, passes: bool
):
    write_notebook(tmp_path / "number.ipynb", printed, claimed)
    assert nbval_passes(tmp_path / "number.ipynb") is passes
