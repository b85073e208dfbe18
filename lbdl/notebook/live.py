"""The explorer with a kernel: ipywidgets, redrawn when a control moves."""

import asyncio
import base64
import html
import sys
import traceback
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from lbdl.notebook.frames import Renderer
from lbdl.notebook.sliders import Choice, Control, label_of

if TYPE_CHECKING:
    import ipywidgets as widgets

PAUSE = 0.03  # seconds without a newer value before a picture is drawn
DPI = 144
QUIET = 0.5  # seconds in which no cell begins: then a run of cells is over
BUSY = "<em>Other cells are running: the picture follows when all are done.</em>"


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


class Waiting:
    """Lines that stand below the sliders until no cell runs any more: before that,
    the kernel has no time for a slider.

    Args:
        events: IPython's, which tell when a cell begins and when it has run.
    """

    def __init__(self, events: Any) -> None:
        self.lines: list[Any] = []
        self.timer: asyncio.TimerHandle | None = None
        events.register("pre_run_cell", self.hold)
        events.register("post_run_cell", self.wait)

    def add(self, line: Any) -> None:
        """Show the line until the run is over."""
        line.value = BUSY
        self.lines.append(line)

    def hold(self, *_: Any) -> None:
        """A cell begins: whoever waits waits on."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def wait(self, *_: Any) -> None:
        """A cell has run: it was the last one, unless another begins soon."""
        self.hold()
        if self.lines:
            self.timer = asyncio.get_running_loop().call_later(QUIET, self.end)

    def end(self) -> None:
        """The run is over: the sliders move their pictures at once."""
        while self.lines:
            self.lines.pop().value = ""


@cache
def waiting() -> Waiting | None:
    """The lines of this kernel; None where none runs."""
    module = sys.modules.get("IPython")
    shell: Any = module.get_ipython() if module else None
    return Waiting(shell.events) if getattr(shell, "kernel", None) else None


def widget(
    renderer: Renderer, controls: dict[str, Control], alt: str, caption: str = ""
) -> "widgets.VBox":
    """The picture, its sentence and its controls as one widget.

    Args:
        renderer: draws the states.
        controls: name and control, in the order shown.
        alt: the picture in words.
        caption: a line below the picture.

    Returns:
        A `VBox`; the children are the picture (HTML), the words below it (HTML), a
        control each, and a line (HTML) that says whether they have to wait.
    """
    import ipywidgets as widgets

    knobs = {name: knob(name, control) for name, control in controls.items()}
    picture, words, line = widgets.HTML(), widgets.HTML(), widgets.HTML()

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
    if lines := waiting():
        lines.add(line)
    return widgets.VBox([picture, words, *knobs.values(), line])


def knob(name: str, control: Control) -> Any:
    """The ipywidget of one control, over the same values as in the book."""
    import ipywidgets as widgets

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
