"""`explore` in its three modes."""

import asyncio
import base64
import json
import re
from types import SimpleNamespace

import pytest

from lbdl.notebook import Choice, Slider, explore, figure, live
from lbdl.notebook.frames import Renderer


def draw(lr, kind="a"):
    fig, ax = figure()
    ax.plot([0, lr], label=kind)
    return fig, f"{kind} at {lr}"


CONTROLS = {"lr": Slider(0.01, 1.2, at=0.1, steps=4), "kind": Choice("a", "b")}
LINE = "explore(lr: 0.01 … 1.2, kind: a | b)"


def test_the_page_carries_every_state(shown, monkeypatch):
    monkeypatch.setenv("LBDL_EXPLORE", "page")
    explore(draw, alt="a line & its end", caption="A line.", **CONTROLS)
    (bundle,) = shown
    assert bundle["text/plain"] == LINE
    html = bundle["text/html"]
    assert 'data-states="8"' in html and "a line &amp; its end" in html
    setup = json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', html)[1]
    )
    assert [c["name"] for c in setup["controls"]] == ["lr", "kind"]
    assert not re.search(r"""(src|href)=["']?https?:|url\(["']?https?:""", html), (
        "a page asks no network for anything"
    )


def test_a_still_notebook_shows_a_picture_and_a_sentence(shown, monkeypatch):
    monkeypatch.setenv("LBDL_EXPLORE", "still")
    named = Slider(0.01, 1.2, at=0.1, steps=4, label="learning rate")
    explore(draw, alt="a line", lr=named, kind=CONTROLS["kind"])
    picture, hint = shown
    assert picture["text/plain"] == LINE and picture["image/png"].startswith(
        b"\x89PNG"
    )
    assert picture["metadata"] == {"image/png": {"alt": "a line"}}
    assert (
        hint["text/markdown"]
        == "*learning rate: 0.1; kind: a. Run this cell to move the sliders.*"
    )


def test_plain_text_without_a_kernel(capsys, monkeypatch):
    monkeypatch.delenv("LBDL_EXPLORE", raising=False)
    explore(draw, alt="a line", **CONTROLS)
    assert capsys.readouterr().out == LINE + "\n"


def test_too_many_states_are_counted():
    with pytest.raises(
        ValueError, match=r"21 x 30 = 630 states, more than its budget of 500"
    ):
        explore(draw, alt="a", lr=Slider(0, 1), kind=Slider(0, 1, steps=30))


def test_a_budget_may_be_spent_to_the_last_state(capsys, monkeypatch):
    monkeypatch.delenv("LBDL_EXPLORE", raising=False)
    explore(draw, alt="a line", budget=8, **CONTROLS)
    assert capsys.readouterr().out == LINE + "\n"
    with pytest.raises(ValueError, match=r"4 x 2 = 8 states, more than .* of 7"):
        explore(draw, alt="a line", budget=7, **CONTROLS)


def test_bad_calls_are_named(monkeypatch):
    with pytest.raises(ValueError, match="at least one Slider"):
        explore(draw, alt="a")
    with pytest.raises(ValueError, match="alternative text"):
        explore(draw, alt=" ", lr=Slider(0, 1))
    with pytest.raises(TypeError, match="'lr', got tuple"):
        explore(draw, alt="a", lr=(0, 1))
    monkeypatch.setenv("LBDL_EXPLORE", "movie")
    with pytest.raises(ValueError, match="live, page, still"):
        explore(draw, alt="a", lr=Slider(0, 1))


def png_of(widget):
    return base64.b64decode(
        re.search(r"base64,([^\"]+)", widget.children[0].value)[1]
    )


def test_a_live_slider_redraws_and_says_what_it_shows():
    widget = live.widget(Renderer(draw), CONTROLS, "a line", "A caption.")
    before = png_of(widget)
    widget.children[2].value = 1.2
    assert png_of(widget) != before
    assert (
        "a at 1.2" in widget.children[1].value
        and "A caption." in widget.children[1].value
    )
    assert 'alt="a line"' in widget.children[0].value


def test_an_error_is_shown_and_the_sliders_stay_alive():
    def fragile(lr):
        if lr == 1:
            raise RuntimeError("<b>lost</b> my way")
        return draw(lr)

    widget = live.widget(
        Renderer(fragile), {"lr": Slider(0, 2, at=0, steps=3)}, "a line"
    )
    slider = widget.children[2]
    slider.value = 1
    assert (
        "RuntimeError" in widget.children[1].value
        and "&lt;b&gt;lost" in widget.children[1].value
    )
    slider.value = 2
    assert (
        "RuntimeError" not in widget.children[1].value
        and "a at 2" in widget.children[1].value
    )


def test_of_a_burst_only_the_newest_value_is_drawn():
    drawn = []

    def slow(lr):
        drawn.append(lr)
        return draw(lr)

    async def drag():
        widget = live.widget(
            Renderer(slow), {"lr": Slider(0, 1, at=0, steps=11)}, "a line"
        )
        drawn.clear()
        for value in CONTROLS_VALUES:
            widget.children[2].value = value
        await asyncio.sleep(3 * live.PAUSE)

    asyncio.run(drag())
    assert drawn == [CONTROLS_VALUES[-1]]


CONTROLS_VALUES = [0.1, 0.2, 0.3, 0.7, 1.0]


class Events:
    """IPython's events, told by hand."""

    def __init__(self):
        self.callbacks = {}

    def register(self, name, callback):
        self.callbacks[name] = callback

    def cell(self):
        """A cell begins and ends."""
        self.callbacks["pre_run_cell"](None)
        self.callbacks["post_run_cell"](None)


def test_a_slider_says_that_it_waits_until_no_cell_begins_any_more(monkeypatch):
    monkeypatch.setattr(live, "QUIET", 0.05)
    line = SimpleNamespace(value="")

    async def run_all():
        events = Events()
        lines = live.Waiting(events)
        lines.add(line)
        for _ in range(3):
            events.cell()
            await asyncio.sleep(0.01)
            assert "Other cells are running" in line.value
        await asyncio.sleep(0.1)

    asyncio.run(run_all())
    assert line.value == ""


def test_without_a_kernel_no_slider_waits():
    widget = live.widget(Renderer(draw), CONTROLS, "a line")
    assert widget.children[-1].value == ""
