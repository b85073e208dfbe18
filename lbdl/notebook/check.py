"""`check`: a claim of the text, compared with what the code gives, beside the
equation that it proves."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lbdl.notebook.output import display


class CheckFailed(AssertionError):
    """A claim of the text does not hold."""


def check(
    claim: str,
    actual: Any,
    expected: Any = True,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    proves: str | Sequence[str] = (),
) -> None:
    """Compare, element by element, and print one stable line: `✓ claim — eq-label`.

        |actual - expected| <= atol + rtol |expected|

    Args:
        claim: the claim in words; no digits that differ between machines.
        actual: what the code gives: number, bool, string, array or tensor, of any
            shape.
        expected: what the text claims; may be broadcast to the shape of `actual`.
            `True` when not given, so that `check("claim", condition)` reads well.
        rtol: relative tolerance in [0, 1), 0 when not given.
        atol: absolute tolerance, finite and >= 0, 0 when not given.
        proves: label of the equation that this proves, `"eq-..."`, or a list of
            labels.

    Raises:
        CheckFailed: the claim does not hold, with both values in the message.
        ValueError: the claim is empty, a label does not begin with `eq-`, the
            shapes cannot be compared, or a tolerance would pass anything.
    """
    labels = [proves] if isinstance(proves, str) else list(proves)
    require_claim(claim, labels)
    require_tolerances(rtol, atol)
    require_close(claim, plain(actual), plain(expected), rtol, atol)
    display(
        {
            "text/plain": plain_line(claim, labels),
            "text/html": html_line(claim, labels),
        },
    )


def require_claim(claim: str, labels: list[str]) -> None:
    """Refuse a check that says nothing or points nowhere."""
    if not claim.strip():
        raise ValueError("check needs a claim in words")
    for label in labels:
        if not label.startswith("eq-"):
            raise ValueError(
                "check proves equations whose labels begin with 'eq-', got "
                f"{label!r}"
            )


def require_tolerances(rtol: float, atol: float) -> None:
    """Refuse tolerances that pass anything: infinite ones, and an error as large as
    the value itself."""
    if not 0 <= rtol < 1:
        raise ValueError(f"check needs rtol in [0, 1), got {rtol}")
    if not 0 <= atol < math.inf:
        raise ValueError(f"check needs a finite atol >= 0, got {atol}")


def require_close(
    claim: str, actual: np.ndarray, expected: np.ndarray, rtol: float, atol: float
) -> None:
    """Raise `CheckFailed` unless both are equal up to the tolerances."""
    try:
        np.broadcast_to(expected, actual.shape)
    except ValueError:
        raise ValueError(
            f"check {claim!r} cannot compare shape {actual.shape} with shape "
            f"{expected.shape}"
        ) from None
    if actual.size == 0:
        raise ValueError(f"check {claim!r} compares nothing: shape {actual.shape}")
    exact = actual.dtype.kind not in "fc" and expected.dtype.kind not in "fc"
    close = (
        actual == expected
        if exact
        else np.isclose(actual, expected, rtol=rtol, atol=atol)
    )
    if not np.all(close):
        raise CheckFailed(
            f"{claim}\n{comparison(actual, np.broadcast_to(expected, actual.shape), np.asarray(close))}"
        )


def comparison(actual: np.ndarray, expected: np.ndarray, close: np.ndarray) -> str:
    """Both values, whole where they are small, and the first place where they
    differ."""
    report = f"actual:   {np.array2string(actual, threshold=20)}\nexpected: {np.array2string(expected, threshold=20)}"
    if actual.ndim:
        where = tuple(int(i) for i in np.argwhere(~close)[0])
        report += (
            f"\nfirst differs at {where}: {actual[where]} against {expected[where]}"
        )
    return f"{report}\n{int((~close).sum())} of {close.size} values differ"


def plain(value: Any) -> np.ndarray:
    """A value as a NumPy array, whatever it came as and wherever it lay."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        return (
            value.float()
            if value.dtype.itemsize == 2 and value.is_floating_point()
            else value
        ).numpy()
    return np.asarray(value)


def plain_line(claim: str, labels: list[str]) -> str:
    """The line of a notebook and of a terminal."""
    return f"✓ {claim}" + (f" — {', '.join(labels)}" if labels else "")


def html_line(claim: str, labels: list[str]) -> str:
    """The line of a page, with a link to each equation: to the name that it has in
    JupyterLab; a built page puts its own in the place."""
    links = ", ".join(
        f'<a class="lbdl-eq" href="#{name}" data-eq="{name}">{name}</a>'
        for name in labels
    )
    anchor = f' id="check-{labels[0]}"' if labels else ""
    proves = f' data-proves="{" ".join(labels)}"' if labels else ""
    return f'<div class="lbdl-check"{anchor}{proves}>✓ {html.escape(claim)}{" — " + links if links else ""}</div>'
