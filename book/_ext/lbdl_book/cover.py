"""Draws the cover, `book/_static/cover.png`: an enlargement of the recorded map of
trainability.

python -m lbdl_book.cover
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap

from lbdl.experiments import load_result
from lbdl.experiments.foundations.gradient_descent import LEVELS

COVER = Path(__file__).parents[2] / "_static" / "cover.png"
ENLARGEMENT = 2  # which of the recorded windows
COLOURS = ListedColormap(
    [
        *plt.cm.PuBu_r(torch.linspace(0, 0.9, 128)),
        *plt.cm.OrRd(torch.linspace(0.1, 1, 128)),
    ]
)


def main() -> None:
    """Two pixels for each pair of learning rates, two thirds of the height."""
    picture = load_result("trainability")["pictures"][ENLARGEMENT]
    rows = len(picture) // 6
    wide = picture[rows:-rows].repeat_interleave(2, 0).repeat_interleave(2, 1)
    plt.imsave(
        COVER, wide.numpy(), cmap=COLOURS, vmin=0, vmax=LEVELS - 1, origin="lower"
    )


if __name__ == "__main__":
    main()
