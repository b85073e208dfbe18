"""The explorer with a kernel: ipywidgets, redrawn when a control moves."""

import asyncio
import base64
import html
import traceback
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from lbdl.notebook.frames import Renderer
from lbdl.notebook.sliders import Choice, Control, label_of

PAUSE = 0.03  # seconds without a newer value before a picture is drawn
DPI = 144


class Latest:
    """Calls `act` soon after the last of a burst of requests: drags are coalesced,
    the newest value wins."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act
        self.waiting: asyncio.TimerHandle | None = None

    def request(self) -> None:
        """Act after a short pause, in place of an earlier request that still waits;
        at once without an event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.act()
            return
        if self.waiting is not None:
            self.waiting.cancel()
        self.waiting = loop.call_later(PAUSE, self.act)


def widget(
    renderer: Renderer, controls: dict[str, Control], alt: str, caption: str = ""
) -> widgets.VBox:
    """The picture, its sentence and its controls as one widget.

    Args:
        renderer: draws the states.
        controls: name and control, in the order shown.
        alt: the picture in words.
        caption: a line below the picture.

    Returns:
        A `VBox`; the children are the picture (HTML), the words below it (HTML) and
        a control each.
    """
    knobs = {name: knob(name, control) for name, control in controls.items()}
    picture, words = widgets.HTML(), widgets.HTML()

    def redraw() -> None:
        values = {name: each.value for name, each in knobs.items()}
        try:
            picture.value, sentence = picture_html(renderer, values, alt)
            words.value = below(sentence, caption)
        except Exception:
            # whatever draw raises is shown, and the sliders stay alive
            words.value = error_html(traceback.format_exc(limit=-3))

    latest = Latest(redraw)
    for each in knobs.values():
        each.observe(lambda _: latest.request(), names="value")
    redraw()
    return widgets.VBox([picture, words, *knobs.values()])


def knob(name: str, control: Control) -> Any:
    """The ipywidget of one control, over the same values as in the book."""
    options = [(control.text(v), v) for v in control.values]
    kind = (
        widgets.Dropdown if isinstance(control, Choice) else widgets.SelectionSlider
    )
    shared = {
        "description": label_of(name, control),
        "value": control.values[control.start],
    }
    return kind(
        options=options,
        style={"description_width": "initial"},
        layout={"width": "100%", "max_width": "32em"},
        **shared,
    )


def picture_html(
    renderer: Renderer, values: dict[str, Any], alt: str
) -> tuple[str, str]:
    """The picture of a state as an HTML image, and its sentence."""
    png, sentence = renderer.render(values, "png", dpi=DPI)
    data = base64.b64encode(png).decode()
    return (
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}" style="width: 650px; max-width: 100%">',
        sentence,
    )


def below(sentence: str, caption: str) -> str:
    """The words below a picture."""
    return "".join(
        f"<p>{html.escape(text)}</p>" for text in (sentence, caption) if text
    )


def error_html(text: str) -> str:
    """An error of `draw`, readable, in the place of the picture's words."""
    return f'<pre role="alert" style="color: #b00020; white-space: pre-wrap">{html.escape(text)}</pre>'
