"""`explore`: one call, a live widget in JupyterLab, a working slider in the built
book, one line in plain text."""

import os
import sys
from typing import Any

from lbdl.notebook import live, page
from lbdl.notebook.frames import Draw, Renderer, in_a_row
from lbdl.notebook.output import display, say
from lbdl.notebook.sliders import (
    Choice,
    Control,
    Slider,
    label_of,
    line,
    start_state,
    states,
)

# states an explorer may have; the built book draws every one of them ahead of time
BUDGET = 500


def explore(
    draw: Draw,
    *,
    alt: str,
    caption: str = "",
    budget: int = BUDGET,
    **controls: Control,
) -> None:
    """Show `draw(**values)` with a control for each of its values.

    With a kernel the controls are live widgets. In the built book every state of
    the grid is drawn ahead of time and the page carries them all: no kernel, no
    network. The environment variable `LBDL_EXPLORE` chooses: "live" (the default),
    "page" (set while the book is built), or "still" (set while notebooks are
    written back and tested: the start state as a picture).

    Args:
        draw: called with one keyword a control; returns a matplotlib Figure, or
            `(Figure, sentence)`: the sentence stands below the picture, changes
            with it and is read out by a screen reader.
        alt: what the picture shows, in words, for who cannot see it.
        caption: a line below the picture.
        budget: most states the grid may have.
        **controls: a `Slider` or a `Choice` for each keyword of `draw`.

    Raises:
        ValueError: there is no control, the alternative text is empty, the grid has
            more states than the budget, or `LBDL_EXPLORE` is none of its three
            values.
        TypeError: a control is neither `Slider` nor `Choice`.
    """
    require_controls(controls, alt, budget)
    show = {"live": show_live, "page": show_page, "still": show_still}
    mode = os.environ.get("LBDL_EXPLORE", "live")
    if mode not in show:
        raise ValueError(
            f"LBDL_EXPLORE must be one of {', '.join(show)}, got {mode!r}"
        )
    show[mode](Renderer(draw), controls, alt, caption)


def require_controls(controls: dict[str, Control], alt: str, budget: int) -> None:
    """Refuse what cannot be explored, before anything is drawn."""
    if not controls:
        raise ValueError(
            "explore needs at least one Slider or Choice, as a keyword: "
            "explore(draw, alt=..., lr=Slider(0.01, 1))"
        )
    if not alt.strip():
        raise ValueError(
            "explore needs an alternative text: alt='what the picture shows, in "
            "words'"
        )
    for name, control in controls.items():
        if not isinstance(control, Slider | Choice):
            raise TypeError(
                f"explore needs a Slider or a Choice for {name!r}, got "
                f"{type(control).__name__}"
            )
    count = 1
    for control in controls.values():
        count *= len(control.values)
    if count > budget:
        sizes = " x ".join(str(len(c.values)) for c in controls.values())
        raise ValueError(
            f"explore would draw {sizes} = {count} states, more than its budget of "
            f"{budget}: give fewer steps"
        )


def show_page(
    renderer: Renderer, controls: dict[str, Control], alt: str, caption: str
) -> None:
    """The self-contained element of the built book."""
    start = start_state(controls)
    with in_a_row():
        first = renderer.svg(start)  # drawn first: its layout holds for all
        frames = [
            first if state == start else renderer.svg(state)
            for state in states(controls)
        ]
    html = page.element(frames, controls, alt, caption)
    display({"text/html": html, "text/plain": line(controls)})


def show_still(
    renderer: Renderer, controls: dict[str, Control], alt: str, caption: str
) -> None:
    """The start state as a picture, and a sentence that says how to bring it to
    life."""
    picture, _ = renderer.render(start_state(controls), "png")
    values = "; ".join(
        f"{label_of(name, control)}: {control.text(control.values[control.start])}"
        for name, control in controls.items()
    )
    hint = (
        f"*{values}. Run this cell to move the slider{'s' * (len(controls) > 1)}.*"
    )
    spoken = {"image/png": {"alt": alt}}
    display(
        {"image/png": picture, "text/plain": line(controls)},
        metadata=spoken,
    )
    display({"text/markdown": hint, "text/plain": hint})


def show_live(
    renderer: Renderer, controls: dict[str, Control], alt: str, caption: str
) -> None:
    """Widgets where there is a kernel to move them; the line alone elsewhere."""
    if not has_kernel():
        say(line(controls))
        return
    widget = live.widget(renderer, controls, alt, caption)
    bundle: dict[str, Any] = widget._repr_mimebundle_() or {}
    display({**bundle, "text/plain": line(controls)})


def has_kernel() -> bool:
    """Whether this runs in a Jupyter kernel, which can answer a widget."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    return getattr(shell, "kernel", None) is not None
