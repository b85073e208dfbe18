"""From matplotlib figures to the pictures of an explorer: small, stable SVG and the
differences between states.

A figure's SVG is nearly the same from state to state. It is cut into tokens, one
XML tag each; the start state is stored whole, every other state as the runs of
tokens that differ from it, and equal runs are stored once.
"""

import base64
import gc
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import matplotlib as mpl
import matplotlib.text
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from matplotlib.textpath import TextToPath
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox

from lbdl.notebook import style

Draw = Callable[..., Any]
Edit = tuple[int, int, list[str]]  # at token i, replace so many tokens by these

NOISE = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.S
)
EVERYWHERE = re.compile(r'<style type="text/css">\*\{(.*?)\}</style>')
COORDINATES = re.compile(r'(?<= d=")[^"]*|(?<= [xy]=")[^"]*|(?<=translate\()[^)]*')
DECIMAL = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


class Renderer:
    """Draws states and keeps the layout of the first one, so that axes stand still
    while a slider moves.

    Args:
        draw: called with the values of the controls; returns a Figure, or
            `(Figure, sentence)` where the sentence says in words what the picture
            shows in this state.
    """

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.layout: list[Bbox] | None = None

    def figure(self, values: dict[str, Any]) -> tuple[Figure, str]:
        """The figure of a state, laid out, and its sentence ("" when `draw` returns
        none)."""
        drawn = self.draw(**values)
        figure, sentence = drawn if isinstance(drawn, tuple) else (drawn, "")
        if not isinstance(figure, Figure):
            raise TypeError(
                "draw must return a matplotlib Figure, or (Figure, str), got "
                f"{type(figure).__name__}"
            )
        thin_out_ticks(figure)
        if self.layout is None:
            figure.draw_without_rendering()
            self.layout = [axes.get_position() for axes in figure.axes]
        if len(self.layout) == len(figure.axes):
            figure.set_layout_engine("none")
            for axes, box in zip(figure.axes, self.layout, strict=True):
                axes.set_position(box)
        return figure, sentence

    def render(
        self, values: dict[str, Any], kind: str, **options: Any
    ) -> tuple[bytes, str]:
        """The picture of a state as the bytes of a file of this kind ("svg" or
        "png"), and its sentence."""
        with mpl.rc_context(style.RC):
            figure, sentence = self.figure(values)
            file = io.BytesIO()
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(file, format=kind, metadata=metadata, **options)
        style.close([figure])
        return file.getvalue(), sentence

    def svg(self, values: dict[str, Any]) -> tuple[list[str], str]:
        """The picture of a state as tokens of compact SVG, and its sentence.

        The canvas prints at once: the layout stands, so that `savefig`, which draws
        a figure twice to find one, would give the same text.
        """
        with mpl.rc_context(style.RC):
            figure, sentence = self.figure(values)
            file = io.StringIO()
            FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
        style.close([figure])
        return tokens(file.getvalue()), sentence


def thin_out_ticks(figure: Figure) -> None:
    """On long logarithmic axes small ticks at 2 and 5 alone: each tick is an object,
    and eight in every decade are half of what a state costs.

    Axes of two decades and less keep theirs, which may have labels.
    """
    for axes in figure.axes:
        pairs = (axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())
        for axis, (low, high) in pairs:
            long = axis.get_scale() == "log" and abs(math.log10(high / low)) > 2
            if long and axis.isDefault_minloc:
                axis.set_minor_locator(LogLocator(subs=(2, 5)))


@contextmanager
def in_a_row() -> Iterator[None]:
    """For many figures in a row, at a third less: a formula in a label is parsed
    once for all of them, a text and its font are measured once, and garbage is
    looked for less often, among what they left behind alone."""
    thresholds, shared = gc.get_threshold(), TextToPath()
    once: dict[str, Any] = {
        "TextToPath": lambda: shared,
        "get_font": tables_of_fonts(),
        "_get_text_metrics_with_cache": sizes_of_texts(),
    }
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 10, 10)
    try:
        with patch.multiple(mpl.text, **once):
            yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def sizes_of_texts() -> Callable[..., Any]:
    """Matplotlib's measure of a text, remembered over figures: it keeps a memory for
    each of them, and for SVG all are alike."""
    known: dict[Any, Any] = {}

    def measure(
        renderer: Any, text: str, font: Any, ismath: Any, dpi: float
    ) -> Any:
        key = type(renderer), text, font.copy(), ismath, dpi
        if key not in known:
            known[key] = renderer.get_text_width_height_descent(text, font, ismath)
        return known[key]

    return measure


def tables_of_fonts() -> Callable[..., Any]:
    """The tables of a font file, each read once; a text asks its font for nothing
    else."""

    @cache
    def read(paths: tuple[Any, ...]) -> Any:
        return SimpleNamespace(get_sfnt_table=cache(get_font(paths).get_sfnt_table))

    return lambda paths: read(tuple(paths))


def tokens(svg: str) -> list[str]:
    """Compact SVG, one token a tag: coordinates to a tenth of a point, nothing that
    only a file needs.

    Matplotlib's rule for every element would hold for the whole page that the picture
    stands in, which would be styled again: the outermost element has it, and the
    others inherit it.
    """
    svg = " ".join(NOISE.sub("", svg).split())
    if rule := EVERYWHERE.search(svg):
        svg = svg.replace(rule[0], "").replace(
            "<svg ", f'<svg style="{rule[1]}" ', 1
        )
    svg = re.sub(
        r'<svg (.*?)width="[^"]*" height="[^"]*"', r"<svg \1", svg, count=1
    )
    svg = COORDINATES.sub(lambda run: DECIMAL.sub(shorten, run[0]), svg)
    svg = svg.replace("; ", ";").replace(": ", ":").replace('" />', '"/>')
    used = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(
        r' id="([^"]*)"', lambda name: name[0] if name[1] in used else "", svg
    )
    return [tag.strip() for tag in re.findall(r"<[^>]*>[^<]*", svg)]


def shorten(number: re.Match[str]) -> str:
    """A decimal number with one digit after the point, none where that digit is
    0."""
    short = f"{float(number[0]):.1f}"
    return (
        short[:-2].replace("-0", "0")
        if short.endswith(".0") and short[:-2] == "-0"
        else short.removesuffix(".0")
    )


def edits(base: Sequence[str], frame: Sequence[str]) -> list[Edit]:
    """What turns `base` into `frame`, in order, indices counted in `base`."""
    if len(base) == len(frame):
        return same_length_edits(base, frame)
    matcher = SequenceMatcher(None, base, frame, autojunk=False)
    return [
        (i, j - i, list(frame[k:m]))
        for op, i, j, k, m in matcher.get_opcodes()
        if op != "equal"
    ]


def same_length_edits(base: Sequence[str], frame: Sequence[str]) -> list[Edit]:
    """`edits` for frames of the same structure: compare token by token, which is
    fast."""
    found: list[Edit] = []
    for i, (old, new) in enumerate(zip(base, frame, strict=True)):
        if old == new:
            continue
        if found and found[-1][0] + found[-1][1] == i:
            start, count, run = found[-1]
            found[-1] = (start, count + 1, [*run, new])
        else:
            found.append((i, 1, [new]))
    return found


def apply(base: Sequence[str], changes: Iterable[Edit]) -> list[str]:
    """The inverse of `edits`: what the script on the page does."""
    frame = list(base)
    for start, count, new in reversed(list(changes)):
        frame[start : start + count] = new
    return frame


def pack(frames: Sequence[tuple[list[str], str]], start: int) -> str:
    """All states as one base64 text of zlib-compressed JSON.

    The JSON holds `base` (tokens of the start state), `runs` (every different run
    of new tokens, once), `frames` (for each state the flat list start, count, run,
    start, count, run, ...) and `sentences`.

    Args:
        frames: tokens and sentence of each state, in the order of the grid.
        start: index of the start state.
    """
    base = frames[start][0]
    runs: dict[str, int] = {}
    listed = [
        [
            n
            for i, count, new in edits(base, frame)
            for n in (i, count, runs.setdefault("".join(new), len(runs)))
        ]
        for frame, _ in frames
    ]
    data = {
        "base": base,
        "runs": list(runs),
        "frames": listed,
        "sentences": [sentence for _, sentence in frames],
    }
    return base64.b64encode(
        zlib.compress(json.dumps(data, ensure_ascii=False).encode(), 9)
    ).decode()
