"""`check` passes what holds and refuses what does not, with both values."""

import numpy as np
import pytest
import torch

from lbdl.notebook import CheckFailed, check


def test_the_line_is_stable_and_names_the_equation(shown):
    check("two is two", 2, 2, proves="eq-two")
    check("no label", True)
    check("both", torch.ones(3), 1.0, proves=["eq-a", "eq-b"])
    assert [b["text/plain"] for b in shown] == [
        "✓ two is two — eq-two",
        "✓ no label",
        "✓ both — eq-a, eq-b",
    ]
    assert 'data-proves="eq-a eq-b"' in shown[2]["text/html"]
    assert (
        '<a class="lbdl-eq" href="#eq-two" data-eq="eq-two">'
        in shown[0]["text/html"]
    )


@pytest.mark.parametrize(
    ("actual", "expected", "tolerance"),
    [
        (1.0, 1.0 + 1e-9, {}),
        (1.0, 1.1, {"rtol": 0.05}),
        (0.0, 0.1, {"rtol": 0.5}),
        (float("nan"), float("nan"), {"atol": 1.0}),
        ("adam", "sgd", {}),
        (False, True, {}),
        (torch.tensor([1.0, 2.0, 3.0]), [1.0, 2.0, 4.0], {"atol": 0.5}),
        (torch.tensor([1.0], dtype=torch.bfloat16), [1.5], {"atol": 0.1}),
    ],
)
def test_what_does_not_hold_raises(actual, expected, tolerance, shown):
    with pytest.raises(CheckFailed, match=r"actual:[\s\S]*expected:"):
        check("a claim", actual, expected, **tolerance)
    assert shown == []


def test_tolerances_are_those_asked_for(shown):
    check("relative", 1.04, 1.0, rtol=0.05)
    check("absolute", np.float32(0.04), 0.0, atol=0.05)
    check("complex", 1 + 1e-12j, 1.0, atol=1e-11)
    check("gradients are detached", torch.ones(2, requires_grad=True), [1.0, 1.0])
    assert len(shown) == 4


def test_the_first_difference_is_pointed_at():
    with pytest.raises(
        CheckFailed,
        match=r"first differs at \(1, 0\): 3.0 against 9.0\n1 of 4 values differ",
    ):
        check("a matrix", [[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [9.0, 4.0]])


def test_a_check_that_cannot_fail_is_refused():
    with pytest.raises(ValueError, match="compares nothing"):
        check("nothing", torch.ones(0), torch.ones(0))
    with pytest.raises(ValueError, match=r"shape \(2,\) with shape \(3,\)"):
        check("silent broadcast", torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="cannot compare"):
        check("a scalar against many", 1.0, torch.ones(3))
    with pytest.raises(ValueError, match="in words"):
        check(" ", 1, 1)
    with pytest.raises(ValueError, match="'eq-'"):
        check("a claim", 1, 1, proves="def-two")


@pytest.mark.parametrize(
    "tolerance",
    [
        {"atol": float("inf")},
        {"atol": float("nan")},
        {"atol": -1.0},
        {"rtol": float("inf")},
        {"rtol": float("nan")},
        {"rtol": 1.0},
        {"rtol": -0.1},
    ],
    ids=str,
)
def test_a_tolerance_that_passes_anything_is_refused(tolerance, shown):
    with pytest.raises(ValueError, match=f"check needs .*{next(iter(tolerance))}"):
        check("anything is anything", 1.0, 2.0, **tolerance)
    assert shown == []
