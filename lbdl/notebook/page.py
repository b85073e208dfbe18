"""The explorer of the built book: a custom element that carries its states and
needs neither kernel nor network."""

import html
import json
from collections.abc import Sequence
from importlib.resources import files

from lbdl.notebook.frames import pack
from lbdl.notebook.sliders import Choice, Control, label_of


def element(
    frames: Sequence[tuple[list[str], str]],
    controls: dict[str, Control],
    alt: str,
    caption: str,
) -> str:
    """The element's HTML: the start picture (all there is without JavaScript), the
    packed states, the script.

    Args:
        frames: tokens and sentence of each state, in the order of the grid.
        controls: name and control, in the order shown.
        alt: the picture in words.
        caption: a line below the picture.
    """
    start = start_index(controls)
    picture = "".join(frames[start][0]).replace(
        "<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', 1
    )
    setup = {
        "alt": alt,
        "caption": caption,
        "controls": [describe(n, c) for n, c in controls.items()],
    }
    return (
        f'<lbdl-explore data-states="{len(frames)}">'
        f'<div style="background: #fff">{picture}</div>'
        f'<script type="application/json">{safe(json.dumps(setup, ensure_ascii=False))}</script>'
        f'<script type="application/octet-stream">{pack(frames, start)}</script>'
        f"</lbdl-explore><script>{resource('explore.js').replace('/* STYLE */', resource('explore.css'))}</script>"
    )


def start_index(controls: dict[str, Control]) -> int:
    """Index of the start state in the grid."""
    index = 0
    for control in controls.values():
        index = index * len(control.values) + control.start
    return index


def describe(name: str, control: Control) -> dict[str, object]:
    """What the script must know of a control."""
    return {
        "name": label_of(name, control),
        "texts": [control.text(v) for v in control.values],
        "start": control.start,
        "choice": isinstance(control, Choice),
    }


def safe(text: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return text.replace("</", "<\\/")


def resource(name: str) -> str:
    """A text file beside this module."""
    return files("lbdl.notebook").joinpath(name).read_text(encoding="utf-8").strip()
