"""A committed picture is the picture that the code draws: nbval looks at texts
alone, so pictures are compared too, and here it is shown that this can fail."""

import base64
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from lbdl_book.notebooks import rewrite
from lbdl_book.pictures import decoded, difference, in_palette
from nbformat.v4 import new_code_cell, new_notebook

from lbdl.notebook.style import RC

from .plan import ROOT, TOPICS, Topic

BLUE, RED = "#0072B2", "#D55E00"
DRAW = """
import numpy as np
from lbdl.notebook import figure

fig, ax = figure()
lines = ax.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2, color="{color}")
"""


@pytest.fixture(autouse=True)
def plain_style() -> Iterator[None]:
    """Matplotlib's own style, whatever a test before this one has made of it."""
    with mpl.rc_context():
        mpl.rcdefaults()
        yield


def drawn(color: str = BLUE, power: float = 2.0, width: float = 6.5) -> str:
    """The picture of a curve, as a kernel hands it over."""
    figure, axes = plt.subplots(figsize=(width, 3.4), layout="constrained")
    x = np.linspace(0, 1, 50)
    axes.plot(x, x**power, color=color)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=220)
    plt.close(figure)
    return base64.b64encode(file.getvalue()).decode()


def encoded(pixels: np.ndarray) -> str:
    """Pixels (rows, columns, 3) as a picture."""
    file = io.BytesIO()
    plt.imsave(file, pixels.clip(0, 255).astype(np.uint8), format="png")
    return base64.b64encode(file.getvalue()).decode()


def test_a_picture_is_like_itself_in_a_palette():
    assert difference(drawn(), drawn()) == ""
    assert difference(in_palette(drawn()), drawn()) == ""
    assert len(in_palette(drawn())) < 0.5 * len(drawn())
    twice = decoded(in_palette(in_palette(drawn())))
    assert np.array_equal(twice, decoded(in_palette(drawn())))


def test_a_palette_keeps_what_is_common_exactly_and_the_rest_nearly():
    before, after = (
        np.asarray(decoded(p), int) for p in (drawn(), in_palette(drawn()))
    )
    assert np.abs(before - after).mean() < 0.1
    for colour in ([255, 255, 255], [0x00, 0x72, 0xB2]):
        same = (before == colour).all(-1)
        assert same.any() and np.array_equal(same, (after == colour).all(-1))
    with mpl.rc_context(RC):  # the style of the book: more shades, and still exact
        before, after = (
            np.asarray(decoded(p), int) for p in (drawn(), in_palette(drawn()))
        )
    for colour in ([255, 255, 255], [0x00, 0x72, 0xB2]):
        same = (before == colour).all(-1)
        assert same.any() and (after[same] == colour).all()
    rainbow = np.stack(np.meshgrid(*[np.arange(64) * 4] * 2, [128]), -1).reshape(
        64, 64, 3
    )
    kept = np.asarray(decoded(in_palette(encoded(rainbow))), int)
    assert np.abs(kept - rainbow).mean() < 8


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"color": RED}, "balance of colours"),
        ({"color": "#B20072"}, "balance of colours"),
        ({"color": "none"}, "balance of colours"),
        ({"color": "#666666"}, "balance of colours"),
        ({"power": 3.0}, "of its squares"),
        ({"power": 0.5}, "of its squares"),
        ({"width": 3.0}, "pixels"),
    ],
    ids=str,
)
def test_another_picture_is_seen(other: dict, words: str):
    assert words in difference(drawn(**other), drawn())


def test_where_rounding_is_shown_colours_alone_count():
    assert difference(drawn(power=3.0), drawn(), rounding=True) == ""
    assert difference(drawn(color=RED), drawn(), rounding=True) != ""


def test_rounding_is_not_seen():
    assert difference(drawn(power=2.01), drawn()) == ""
    chance = np.random.default_rng(0)
    pixels = np.asarray(decoded(drawn()), int)
    noisy = pixels + chance.integers(-8, 9, (*pixels.shape[:2], 1))
    assert difference(encoded(noisy), drawn()) == ""


def test_few_pictures_show_rounding_alone():
    tagged = [
        str(topic)
        for topic in TOPICS
        for cell in topic.cells("code")
        if "rounding" in cell.metadata.get("tags", [])
    ]
    assert len(tagged) <= len(TOPICS) / 5, tagged
    assert len(set(tagged)) == len(tagged), "one a chapter"


def committed(path: Path, color: str, claimed: str) -> None:
    """A notebook whose picture shows a line of one colour, and whose code claims to
    draw another."""
    cell = new_code_cell(DRAW.format(color=color))
    nbformat.write(new_notebook(cells=[cell]), path)
    assert rewrite(path) == ""
    text = path.read_text(encoding="utf-8").replace(color, claimed)
    path.write_text(text, encoding="utf-8")


@pytest.mark.slow(reason="nbval runs a notebook in a process of its own")
@pytest.mark.parametrize(("color", "passes"), [(BLUE, True), (RED, False)])
def test_a_red_line_committed_for_a_blue_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, color: str, passes: bool
):
    monkeypatch.setenv("LBDL_EXPLORE", "still")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'book' / '_ext'}")
    book = tmp_path / "book"
    book.mkdir()
    committed(book / "line.ipynb", color, claimed=BLUE)
    shutil.copy(ROOT / "book" / "conftest.py", book)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env"]
    done = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider", "line.ipynb"],
        cwd=book,
        capture_output=True,
        text=True,
    )
    assert done.returncode == (0 if passes else 1), done.stdout + done.stderr
    assert passes or "is not the one committed" in done.stdout


@pytest.mark.parametrize("topic", TOPICS, ids=str)
def test_pictures_of_chapters_have_a_palette(topic: Topic):
    for cell in topic.cells("code"):
        for output in cell.outputs:
            if png := output.get("data", {}).get("image/png"):
                header = base64.b64decode(png[:64])
                assert header[25] == 3, "not a palette: run `make notebooks`"
