"""Pictures of states: compact SVG, and differences that rebuild every state
exactly."""

import base64
import gc
import json
import re
import xml.etree.ElementTree as xml
import zlib

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.ticker import NullLocator

from lbdl.notebook import figure
from lbdl.notebook.frames import Renderer, apply, edits, in_a_row, pack, tokens

texts = st.lists(
    st.sampled_from(["<a>", "<b/>", "<c>", "</a>", "<d x='1'>"]), max_size=12
)


def draw(lr: float, panels: int = 2):
    fig, axes = figure(1, panels)
    first = np.atleast_1d(axes)[0]
    first.plot(np.linspace(0, 1, 30) ** (1 / lr), "o-")
    first.set(title=f"lr {lr:.3g}", ylabel=f"{10**lr:.5f}")
    first.imshow(np.eye(4) * lr, extent=(0, 1, 0, 1))
    return fig, f"lr is {lr}"


@given(texts, texts)
def test_edits_turn_one_list_into_the_other(base, frame):
    assert apply(base, edits(base, frame)) == frame


def test_compact_svg_is_still_svg_and_shows_the_same_tags():
    picture, _ = Renderer(draw).render({"lr": 0.5}, "svg")
    small = tokens(picture.decode())
    tags = [element.tag for element in xml.fromstring("".join(small)).iter()]
    whole = [
        element.tag
        for element in xml.fromstring(picture).iter()
        if "metadata" not in str(element.tag)
    ]
    assert [t for t in whole if t in tags] == tags
    assert len("".join(small)) < 0.85 * len(picture)


def test_a_picture_has_no_rules_for_the_page_it_stands_in():
    picture, _ = Renderer(draw).render({"lr": 0.5}, "svg")
    rule = re.search(r"\*\{([^}]*)\}", picture.decode())[1]
    root, *rest = tokens(picture.decode())
    assert "<style" not in "".join(rest)
    assert f'style="{rule.replace(": ", ":").replace("; ", ";")}"' in root


def test_only_names_that_are_referred_to_stay():
    small = "".join(Renderer(draw).svg({"lr": 0.5})[0])
    names, used = (
        re.findall(r' id="([^"]*)"', small),
        set(re.findall(r"#([\w.-]+)", small)),
    )
    assert len(names) == len(set(names)) and set(names) <= used
    links = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', small)
    assert {a or b for a, b in links} == set(names), "every link finds its target"


def test_coordinates_move_by_less_than_a_tenth_of_a_point():
    picture, _ = Renderer(draw).render({"lr": 0.5}, "svg")
    numbers = [
        re.findall(r"-?\d+\.?\d*", d)
        for d in re.findall(r' d="([^"]*)"', " ".join(picture.decode().split()))
    ]
    small = [
        re.findall(r"-?\d+\.?\d*", d)
        for d in re.findall(r' d="([^"]*)"', "".join(tokens(picture.decode())))
    ]
    worst = max(
        abs(float(a) - float(b))
        for p, q in zip(numbers, small, strict=True)
        for a, b in zip(p, q, strict=True)
    )
    assert worst <= 0.0501


def test_the_same_state_gives_the_same_text():
    renderer = Renderer(draw)
    assert renderer.svg({"lr": 0.3}) == renderer.svg({"lr": 0.3})


def test_what_is_printed_at_once_is_what_savefig_would_save():
    saved, printed = Renderer(draw), Renderer(draw)
    for lr in (0.1, 0.5, 5.0):
        picture, sentence = saved.render({"lr": lr}, "svg")
        assert printed.svg({"lr": lr}) == (tokens(picture.decode()), sentence)


def formula(power: int):
    fig, ax = figure()
    ax.plot([1, 10], [1, 10**power])
    ax.set(xscale="log", yscale="log", title=f"$x^{power}$", xlabel="$x$")
    return fig


def test_figures_in_a_row_are_the_same_and_leave_no_trace():
    alone = [Renderer(formula).svg({"power": power}) for power in (1, 2, 3)]
    before = gc.get_threshold(), gc.get_freeze_count(), mpl.text.TextToPath
    with in_a_row():
        row = [Renderer(formula).svg({"power": power}) for power in (1, 2, 3)]
    assert row == alone
    with pytest.raises(KeyboardInterrupt), in_a_row():
        raise KeyboardInterrupt
    assert before == (
        gc.get_threshold(),
        gc.get_freeze_count(),
        mpl.text.TextToPath,
    )


def small_ticks(low: float, high: float) -> list[float]:
    def draw():
        fig, ax = figure()
        ax.set(xscale="log", xlim=(low, high))
        return fig

    fig, _ = Renderer(draw).figure({})
    ticks = fig.axes[0].get_xticks(minor=True)
    return [float(tick) for tick in ticks if low <= tick <= high]


def test_long_logarithmic_axes_have_small_ticks_at_2_and_5_alone():
    assert small_ticks(1, 1000) == [2, 5, 20, 50, 200, 500]
    assert small_ticks(1, 90) == [*range(2, 10), *range(20, 91, 10)], "labelled"
    for unit in (0.001, 100.0):  # how long an axis is, its unit does not decide
        for low, high in ((1, 1000), (1, 90)):
            there = small_ticks(low * unit, high * unit)
            here = [tick * unit for tick in small_ticks(low, high)]
            assert there == pytest.approx(here)
    fig, ax = figure()
    ax.set(xscale="log", xlim=(1, 1000))
    ax.xaxis.set_minor_locator(NullLocator())
    Renderer(lambda: fig).figure({})
    assert list(ax.get_xticks(minor=True)) == [], "what a chapter chose stays"


def test_axes_stand_still_while_labels_grow():
    renderer = Renderer(draw)
    boxes = [
        renderer.figure({"lr": lr})[0].axes[0].get_position().bounds
        for lr in (0.1, 5.0)
    ]
    assert boxes[0] == boxes[1]


def test_packed_states_unpack_to_every_frame():
    renderer = Renderer(draw)
    frames = [
        renderer.svg({"lr": lr, "panels": panels})
        for panels in (2, 1)
        for lr in (0.1, 0.5, 0.9)
    ]
    data = json.loads(zlib.decompress(base64.b64decode(pack(frames, start=1))))
    assert data["base"] == frames[1][0] and data["sentences"] == [
        s for _, s in frames
    ]
    for flat, (frame, _) in zip(data["frames"], frames, strict=True):
        changes = [
            (i, count, [data["runs"][run]])
            for i, count, run in zip(*[iter(flat)] * 3, strict=True)
        ]
        assert "".join(apply(data["base"], changes)) == "".join(frame)


def test_what_draw_returns_is_checked():
    with pytest.raises(TypeError, match="Figure"):
        Renderer(lambda: "no figure").render({}, "svg")
