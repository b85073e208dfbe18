"""Sliders, choices and the grid that they span."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbdl.notebook import Choice, Slider
from lbdl.notebook.sliders import format_number, line, start_state, states

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
    assert max(ratios) / min(ratios) < 1.1


@pytest.mark.parametrize(
    ("low", "high", "steps", "values"),
    [
        (0.01, 100, 5, [0.01, 0.1, 1, 10, 100]),
        (0.01, 1, 5, [0.01, 0.03, 0.1, 0.3, 1]),
        (0.01, 10, 10, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]),
        (0.1, 1, 7, [0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1]),
        (20, 160, 4, [20, 40, 80, 160]),
        (4, 32, 7, [4, 6, 8, 12, 16, 24, 32]),
        (0.07, 20, 6, [0.07, 0.2, 0.5, 2, 5, 20]),
    ],
)
def test_a_logarithmic_slider_stops_at_round_numbers(low, high, steps, values):
    assert list(Slider(low, high, steps=steps, log=True).values) == values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0005, "0.0005"),
        (5e-05, "5e-05"),
        (0.12345, "0.1235"),
        (-2.5, "-2.5"),
        (64, "64"),
        (1000, "1,000"),
        (16384, "16,384"),
        (1e6, "1,000,000"),
        (2.5e9, "2.5e+09"),
        (0.0, "0"),
    ],
)
def test_numbers_are_written_as_a_reader_would(value, text):
    assert format_number(value) == text


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
