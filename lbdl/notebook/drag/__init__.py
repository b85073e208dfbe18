"""`drag`: a picture whose parts the reader moves with the pointer, a finger or the arrow
keys, and whose mathematics runs in the page.

Beside this file stand the element (`drag.js`, `drag.css`) and a short script for each
topic: its mathematics, its handles, and what they move. A test holds each function of
these scripts to the library's.
"""

import html
import io
import json
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lbdl.notebook import page, style
from lbdl.notebook.explore import has_kernel
from lbdl.notebook.frames import Draw, Renderer, tokens
from lbdl.notebook.output import display, say
from lbdl.notebook.sliders import Slider, format_number, start_state

__all__ = ["TOPICS", "drag"]

TOPICS = ("denoise", "descent", "gaussian", "softmax")
HINT = "*Run this cell to move what is in the picture, by hand or with the arrow keys.*"


def drag(
    topic: str,
    draw: Draw,
    *,
    alt: str,
    start: Mapping[str, float],
    given: Mapping[str, Any],
    caption: str = "",
    **controls: Slider,
) -> None:
    """Show `draw(**start, **values)` with handles on what can be moved.

    The library draws the first picture; in a browser the script of the topic draws all
    others, with no kernel and no network. It moves the artists of the figure that have
    a name, `gid="moves-NAME"`. `LBDL_EXPLORE` chooses as it does for `explore`.

    Args:
        topic: the name of a script beside this file: "denoise", "descent", "gaussian"
            or "softmax".
        draw: called with the numbers of `start` and one keyword a slider; returns
            `(Figure, sentence)`.
        alt: what the picture shows, in words, for who cannot see it.
        start: the numbers that the handles move, by the names that the script has for
            them, where they begin.
        given: what stays: numbers and lists that the script needs.
        caption: a line below the picture.
        **controls: a `Slider` for each number that is no place in the picture.

    Raises:
        ValueError: there is no such topic, the alternative text is empty, or
            `LBDL_EXPLORE` is none of its three values.
        TypeError: a control is no `Slider`.
    """
    require_topic(topic, alt, controls)
    renderer, values = Renderer(draw), {**start, **start_state(controls)}
    plain = line(topic, start, controls)
    mode = os.environ.get("LBDL_EXPLORE", "live")
    if mode == "still":
        show_still(renderer, values, alt, plain)
    elif mode == "live" and not has_kernel():
        say(plain)
    elif mode in ("live", "page"):
        svg, sentence, axes, parts = drawn(renderer, values)
        setup = {
            "alt": alt,
            "caption": caption,
            "given": given,
            "start": start,
            "axes": axes,
            "parts": parts,
            "controls": [described(n, c) for n, c in controls.items()],
        }
        found = element(topic, svg, sentence, setup)
        display({"text/html": found, "text/plain": plain})
    else:
        raise ValueError(
            f"LBDL_EXPLORE must be one of live, page, still, got {mode!r}"
        )


def require_topic(topic: str, alt: str, controls: Mapping[str, Any]) -> None:
    """Refuse what cannot be shown, before anything is drawn."""
    if topic not in TOPICS:
        raise ValueError(f"topic must be one of {', '.join(TOPICS)}, got {topic!r}")
    if not alt.strip():
        raise ValueError(
            "drag needs an alternative text: alt='what the picture shows, in words'"
        )
    for name, control in controls.items():
        if not isinstance(control, Slider):
            raise TypeError(
                f"drag needs a Slider for {name!r}, got {type(control).__name__}"
            )


def line(
    topic: str, start: Mapping[str, float], controls: Mapping[str, Slider]
) -> str:
    """The picture in plain text, the same on every machine:
    `drag(descent, x = -2.6, y = 1.4, rate: 0.02 … 0.56)`."""
    numbers = [f"{name} = {format_number(value)}" for name, value in start.items()]
    sliders = [f"{name}: {control}" for name, control in controls.items()]
    return f"drag({', '.join([topic, *numbers, *sliders])})"


def show_still(
    renderer: Renderer, values: dict[str, Any], alt: str, plain: str
) -> None:
    """The first picture, and a sentence that says how to bring it to life."""
    picture, _ = renderer.render(values, "png")
    display(
        {"image/png": picture, "text/plain": plain},
        metadata={"image/png": {"alt": alt}},
    )
    display({"text/markdown": HINT, "text/plain": HINT})


def drawn(
    renderer: Renderer, values: dict[str, Any]
) -> tuple[str, str, list[dict[str, Any]], dict[str, int]]:
    """The first picture as SVG in which the moving parts have names, its sentence, its
    axes, and in which of them each part stands."""
    with mpl.rc_context(style.RC):
        figure, sentence = renderer.figure(values)
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    axes = [scale(each) for each in figure.axes]
    parts = moving_parts(figure)
    style.close([figure])
    named = file.getvalue().replace(' id="moves-', ' data-moves="')
    return "".join(tokens(named)), sentence, axes, parts


def scale(axes: Axes) -> dict[str, Any]:
    """Where axes stand in the figure (fractions of it, from below), and the numbers at
    their ends; a logarithmic axis says so."""
    box = axes.get_position()
    return {
        "box": [box.x0, box.y0, box.x1, box.y1],
        "x": [*map(float, axes.get_xlim()), axes.get_xscale() == "log"],
        "y": [*map(float, axes.get_ylim()), axes.get_yscale() == "log"],
    }


def moving_parts(figure: Figure) -> dict[str, int]:
    """The number of the axes in which each named artist stands."""
    return {
        str(artist.get_gid()).removeprefix("moves-"): number
        for number, axes in enumerate(figure.axes)
        for artist in axes.get_children()
        if str(artist.get_gid()).startswith("moves-")
    }


def described(name: str, control: Slider) -> dict[str, Any]:
    """What the element must know of a slider: what every explorer knows, its keyword,
    and its numbers."""
    numbers = list(control.values)
    return {**page.describe(name, control), "keyword": name, "values": numbers}


def element(topic: str, svg: str, sentence: str, setup: dict[str, Any]) -> str:
    """The element's HTML: the first picture and its sentence (all there is without
    JavaScript), what the script must know, the scripts."""
    label = html.escape(setup["alt"])
    picture = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    known = page.safe(json.dumps(setup, ensure_ascii=False))
    looks = page.resource("explore.css") + resource("drag.css")
    scripts: Sequence[str] = (
        page.resource("explore.js").replace(
            "/* STYLE */", page.resource("explore.css")
        ),
        resource("drag.js").replace("/* STYLE */", looks),
        resource(f"{topic}.js"),
    )
    return (
        f'<lbdl-drag data-topic="{topic}" data-lm-suppress-shortcuts="true">'
        f'<div style="background: #fff">{picture}</div><p>{html.escape(sentence)}</p>'
        f'<script type="application/json">{known}</script></lbdl-drag>'
        + "".join(f"<script>{script}</script>" for script in scripts)
    )


def resource(name: str) -> str:
    """A text file beside this module."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8").strip()
