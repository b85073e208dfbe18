"""Sliders, choices and the grid that they span."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbdl.notebook import Choice, Slider
from lbdl.notebook.sliders import line, start_state, states

numbers = st.floats(1e-3, 1e3)


@given(
    low=numbers,
    factor=st.floats(1.5, 100),
    steps=st.integers(2, 40),
    log=st.booleans(),
    where=st.floats(0, 1),
)
def test_start_value_is_met_exactly_and_values_stay_inside(
    low, factor, steps, log, where
):
    high = low * factor
    at = min(max(low + where * (high - low), low), high)
    slider = Slider(low, high, at=at, steps=steps, log=log)
    assert slider.values[slider.start] == at
    assert len(slider.values) <= max(steps, 3)
    assert slider.values[0] == low and slider.values[-1] == high
    assert all(
        a < b for a, b in zip(slider.values, slider.values[1:], strict=False)
    )


def test_values_are_what_the_reader_sees():
    slider = Slider(0.01, 1.2, steps=25, log=True)
    assert all(float(slider.text(v)) == v for v in slider.values)
    assert slider.values[0] == 0.01 and slider.values[-1] == 1.2
    ratios = [b / a for a, b in zip(slider.values, slider.values[1:], strict=False)]
    assert max(ratios) / min(ratios) < 1.05


def test_whole_numbers_do_not_repeat():
    assert Slider(1, 8, steps=30, log=True, integer=True).values == (
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
    )


def test_zero_is_zero():
    assert Slider(-0.3, 0.3, steps=7).values[3] == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"low": 1, "high": 1}, "low < high"),
        ({"low": math.nan, "high": 1}, "finite"),
        ({"low": 0, "high": 1, "log": True}, "low > 0"),
        ({"low": 0, "high": 1, "steps": 1}, "steps >= 2"),
        ({"low": 0, "high": 1, "at": 2}, "at=2"),
        ({"low": 0, "high": 10, "at": 3.3, "integer": True}, "whole .* at=3.3"),
        ({"low": 0.5, "high": 10, "integer": True}, "whole .* low=0.5"),
        ({"low": 1, "high": 9.9, "integer": True}, "whole .* high=9.9"),
    ],
)
def test_contradictions_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        Slider(**options)


@pytest.mark.parametrize("options", [(), ("a",), ("a", "a")])
def test_choice_needs_different_options(options):
    with pytest.raises(ValueError, match="two or more different"):
        Choice(*options)
    with pytest.raises(ValueError, match="one of"):
        Choice("a", "b", at="c")


def test_grid_has_the_last_control_moving_fastest():
    controls = {
        "lr": Slider(0.01, 1.2, steps=3, at=1.2),
        "kind": Choice("gd", "adam", at="adam"),
    }
    grid = list(states(controls))
    assert len(grid) == 6 and [g["kind"] for g in grid[:2]] == ["gd", "adam"]
    assert start_state(controls) == {"lr": 1.2, "kind": "adam"}
    assert line(controls) == "explore(lr: 0.01 … 1.2, kind: gd | adam)"
