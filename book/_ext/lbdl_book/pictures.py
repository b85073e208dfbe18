"""Pictures of notebooks: kept in 256 colours, and compared as a reader would from
afar.

Strict nbval compares texts and leaves pictures out. Here two pictures are alike if
they hold the same amounts of colour (a red line in place of a blue one tips the
balance wherever it runs), and if their large squares have the same mean colours (a
line that is not there, or runs elsewhere). Neither sees another machine's rounding,
unless rounding is what a picture shows, or a long training has made it large: then
the cell has the tag `rounding`, and colours alone are compared.
"""

import base64
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
from PIL import Image

COLOURS = 256
EXACT = (
    64  # of them: the commonest, white and those of lines and areas, as they are
)
BALANCE = 0.05  # of all colour may be of another kind
SQUARE = 72  # pixels: a third of an inch
TOLERANCE = 8  # of 255, in the mean of a square, in red, green or blue
SHARE = 0.05  # of the squares may be off by more


def decoded(png: str) -> Image.Image:
    """A base64 text as a picture in red, green and blue."""
    return Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")


# --- A palette --------------------------------------------------------------------


def in_palette(png: str) -> str:
    """The picture (base64) in 256 colours, a third of the size."""
    pixels = np.asarray(decoded(png))
    numbers = pixels.astype(np.int64) @ [1 << 16, 1 << 8, 1]
    found, places, counts = np.unique(
        numbers, return_inverse=True, return_counts=True
    )
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], -1)
    palette = useful(colours, counts)
    nearest = ((colours[:, None] - palette) ** 2).sum(-1).argmin(-1)
    picture = Image.fromarray(
        nearest[places].reshape(numbers.shape).astype(np.uint8)
    )
    picture.putpalette(palette.astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode() + "\n"


def useful(colours: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Of colours (n, 3) at most 256: the commonest exactly, the others in groups."""
    order = np.argsort(-counts, kind="stable")
    if len(order) <= COLOURS:
        return colours[order]
    others = order[EXACT:]
    row = np.repeat(colours[others], counts[others], axis=0)[None].astype(np.uint8)
    groups = Image.fromarray(row).quantize(
        COLOURS - EXACT, Image.Quantize.FASTOCTREE
    )
    means = np.reshape(groups.getpalette(), (-1, 3))[: COLOURS - EXACT]
    return np.concatenate([colours[order[:EXACT]], means])


# --- A comparison -----------------------------------------------------------------


def difference(one: str, other: str, rounding: bool = False) -> str:
    """In words what tells two pictures apart; an empty string if nothing does."""
    a, b = decoded(one), decoded(other)
    if any(abs(m - n) > SQUARE for m, n in zip(a.size, b.size, strict=True)):
        return f"it has {a.size} pixels, not {b.size}"
    off = np.abs(balance(a) - balance(b)).max()
    if off > BALANCE:
        return f"its balance of colours is off by {off:.2f}"
    share = 0.0 if rounding else share_off(a, b)
    if share > SHARE:
        return f"{share:.0%} of its squares have another mean colour"
    return ""


def balance(picture: Image.Image) -> np.ndarray:
    """Red and blue against green, in units of all colour there is: grey is none."""
    colours = np.asarray(picture, dtype=float).reshape(-1, 3)
    amount = (colours.max(-1) - colours.min(-1)).sum()
    red, green, blue = colours.sum(0)
    return np.array([red - green, blue - green]) / max(amount, 1.0)


def share_off(one: Image.Image, other: Image.Image) -> float:
    """The share of squares whose mean colours differ by more than the tolerance."""
    shape = (max(1, one.width // SQUARE), max(1, one.height // SQUARE))
    a, b = (
        np.asarray(picture.resize(shape, Image.Resampling.BOX), dtype=float)
        for picture in (one, other)
    )
    return float((np.abs(a - b).max(-1) > TOLERANCE).mean())


# --- In nbval ---------------------------------------------------------------------


def pictures(outputs: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The pictures among the outputs of a cell, in their order."""
    for output in outputs:
        if "image/png" in output.get("data", {}):
            yield output["data"]["image/png"]


def comparing_pictures(compare: Callable[..., bool]) -> Callable[..., bool]:
    """nbval's comparison of a cell's outputs, and then of its pictures."""

    def compare_all(
        cell: Any, test: Any, ref: Any, skip_compare: Any = None
    ) -> bool:
        if not compare(cell, test, ref, skip_compare):
            return False
        rounding = "rounding" in cell.cell.metadata.get("tags", [])
        for new, kept in zip_longest(pictures(test), pictures(ref)):
            off = difference(new, kept, rounding) if new and kept else "it is alone"
            if off:
                cell.comparison_traceback.append(
                    f"the picture drawn now is not the one committed: {off}"
                )
                return False
        return True

    return compare_all
