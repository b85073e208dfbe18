"""Pictures of notebooks: kept in 256 colours, and compared as a reader would from
afar.

Strict nbval compares texts and leaves pictures out. Here two pictures are alike if
the mean colours of their small squares are: a line of another colour, or at another
place, is seen; the rounding of another machine, and the palette, are not.
"""

import base64
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
from PIL import Image

SQUARE = 24  # pixels: a tenth of an inch
TOLERANCE = 16  # of 255, in the mean of a square, in red, green or blue
SHARE = 0.003  # of the squares may be off by more: a letter that moved


def in_palette(png: str) -> str:
    """The picture (base64) in 256 of its own colours, a quarter of the size."""
    picture = decoded(png)
    palette = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=0)
    palette.putpalette(commonest(np.asarray(palette), np.asarray(picture)))
    file = io.BytesIO()
    palette.save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode() + "\n"


def commonest(groups: np.ndarray, colours: np.ndarray) -> list[int]:
    """For each group of pixels (rows, columns) its commonest colour, not their mean:
    white stays white, and a line keeps the colour it has in the code."""
    red, green, blue = np.moveaxis(colours.astype(np.int64), -1, 0)
    numbers = groups.astype(np.int64) << 24 | red << 16 | green << 8 | blue
    found, counts = np.unique(numbers, return_counts=True)
    rising = found[np.argsort(counts, kind="stable")]
    best = {number >> 24: number for number in rising}  # the last one stays
    return [
        int(best.get(i, 0) >> shift & 255)
        for i in range(256)
        for shift in (16, 8, 0)
    ]


def decoded(png: str) -> Image.Image:
    """A base64 text as a picture in red, green and blue."""
    return Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")


def squares(picture: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    """Mean colours (rows, columns, 3) of the picture cut into so many squares."""
    return np.asarray(picture.resize(shape, Image.Resampling.BOX), dtype=float)


def share_off(one: str, other: str) -> float:
    """The share of squares whose mean colours differ; 1 for another size."""
    a, b = decoded(one), decoded(other)
    if any(abs(m - n) > SQUARE for m, n in zip(a.size, b.size, strict=True)):
        return 1.0
    shape = (max(1, a.width // SQUARE), max(1, a.height // SQUARE))
    apart = np.abs(squares(a, shape) - squares(b, shape)).max(-1)
    return float((apart > TOLERANCE).mean())


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
        for drawn, kept in zip_longest(pictures(test), pictures(ref)):
            off = share_off(drawn, kept) if drawn and kept else 1.0
            if off > SHARE:
                cell.comparison_traceback.append(
                    f"the picture drawn now differs from the one committed in "
                    f"{off:.1%} of its squares"
                )
                return False
        return True

    return compare_all
