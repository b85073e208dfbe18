"""The look of every figure: one size, one palette, one paper-white card that reads
in light and in dark."""

from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure

# inches: at 12 pt, text stays readable when a phone shrinks the figure to 350 px
WIDTH = 6.5

# Okabe and Ito's eight colours without black and yellow: told apart by colour-blind
# readers, legible on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

RC: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "figure.dpi": 110,
    "figure.facecolor": "#ffffff",
    "figure.figsize": (WIDTH, 3.4),
    "font.size": 12.0,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "image.cmap": "cividis",
    "legend.framealpha": 0.85,
    "legend.frameon": True,
    "legend.edgecolor": "none",
    "lines.linewidth": 2.0,
    "savefig.facecolor": "#ffffff",
    "svg.fonttype": "path",
    "svg.hashsalt": "lbdl",
}


def use() -> None:
    """Make the house style the style of this session; every chapter gets it by
    importing `lbdl.notebook`."""
    mpl.rcParams.update(RC)


def figure(
    rows: int = 1, cols: int = 1, height: float = 3.4, **options: Any
) -> tuple[Figure, Any]:
    """A figure in house style: 6.5 inches wide, laid out so that nothing overlaps.

    Args:
        rows: number of rows of axes.
        cols: number of columns of axes.
        height: height in inches.
        **options: handed to `matplotlib.pyplot.subplots` (`sharex`, `width_ratios`,
            ...).

    Returns:
        `(figure, axes)` as `matplotlib.pyplot.subplots` returns them: one Axes, or
        an array of them.

    Source: `matplotlib.pyplot.subplots`.
    """
    return plt.subplots(
        rows, cols, figsize=(WIDTH, height), layout="constrained", **options
    )


def close(figures: Iterable[Figure]) -> None:
    """Forget figures, so that pyplot neither shows them twice nor keeps them in
    memory."""
    for each in figures:
        plt.close(each)
