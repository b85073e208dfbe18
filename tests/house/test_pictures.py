"""A committed picture is the picture that the code draws: nbval looks at texts
alone, so pictures are compared too, and here it is shown that this can fail."""

import base64
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from lbdl_book.notebooks import rewrite
from lbdl_book.pictures import SHARE, decoded, in_palette, share_off
from nbformat.v4 import new_code_cell, new_notebook

from .plan import ROOT, TOPICS, Topic

BLUE, RED = "#0072B2", "#D55E00"
DRAW = """
import numpy as np
from lbdl.notebook import figure

fig, ax = figure()
lines = ax.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2, color="{color}")
"""


def drawn(color: str = BLUE, power: float = 2.0, dpi: int = 110) -> str:
    """The picture of a curve, as a kernel hands it over."""
    figure, axes = plt.subplots(figsize=(6.5, 3.4), layout="constrained", dpi=dpi)
    x = np.linspace(0, 1, 50)
    axes.plot(x, x**power, color=color)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=220)
    plt.close(figure)
    return base64.b64encode(file.getvalue()).decode()


def test_a_picture_is_like_itself_in_a_palette():
    assert share_off(drawn(), drawn()) == 0
    assert share_off(in_palette(drawn()), drawn()) == 0
    assert len(in_palette(drawn())) < 0.5 * len(drawn())
    assert in_palette(in_palette(drawn())) == in_palette(drawn())


def test_a_picture_in_a_palette_keeps_its_colours():
    before, after = (
        np.asarray(decoded(p), int) for p in (drawn(), in_palette(drawn()))
    )
    assert np.abs(before - after).mean() < 0.5


@pytest.mark.parametrize(
    "other",
    [{"color": RED}, {"power": 3.0}, {"color": "#B20072"}, {"color": "none"}],
    ids=str,
)
def test_another_picture_is_seen(other: dict):
    assert share_off(drawn(**other), drawn()) > 3 * SHARE


def test_rounding_is_not_seen():
    assert share_off(drawn(power=2.001), drawn()) <= SHARE
    noisy = np.asarray(decoded(drawn()), int)
    noisy = noisy + np.random.default_rng(0).integers(-8, 9, noisy.shape)
    file = io.BytesIO()
    plt.imsave(file, noisy.clip(0, 255).astype(np.uint8), format="png")
    assert share_off(base64.b64encode(file.getvalue()).decode(), drawn()) <= SHARE


def committed(path: Path, color: str, claimed: str) -> None:
    """A notebook whose picture shows a line of one colour, and whose code claims to
    draw another."""
    cell = new_code_cell(DRAW.format(color=color))
    nbformat.write(new_notebook(cells=[cell]), path)
    assert rewrite(path) == ""
    text = path.read_text(encoding="utf-8").replace(color, claimed)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("color", "passes"), [(BLUE, True), (RED, False)])
def test_a_red_line_committed_for_a_blue_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, color: str, passes: bool
):
    monkeypatch.setenv("LBDL_EXPLORE", "still")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'book' / '_ext'}")
    committed(tmp_path / "line.ipynb", color, claimed=BLUE)
    shutil.copy(ROOT / "book" / "conftest.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env"]
    done = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider", "line.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == (0 if passes else 1), done.stdout + done.stderr
    assert passes or "the picture drawn now differs" in done.stdout


@pytest.mark.parametrize("topic", TOPICS, ids=str)
def test_pictures_of_chapters_have_a_palette(topic: Topic):
    for cell in topic.cells("code"):
        for output in cell.outputs:
            if png := output.get("data", {}).get("image/png"):
                header = base64.b64decode(png[:64])
                assert header[25] == 3, "not a palette: run `make notebooks`"
