"""What a chapter calls on the page: `explore`, `check`, `show`, `quiz`, and the
style of its figures."""

import os
import sys

from lbdl.notebook import style
from lbdl.notebook.check import CheckFailed, check
from lbdl.notebook.explore import explore
from lbdl.notebook.quiz import Question, quiz
from lbdl.notebook.show import show
from lbdl.notebook.sliders import Choice, Slider
from lbdl.notebook.style import PALETTE, figure

__all__ = [
    "PALETTE",
    "CheckFailed",
    "Choice",
    "Question",
    "Slider",
    "check",
    "explore",
    "figure",
    "quiz",
    "show",
]

style.use()
if "ipykernel" in sys.modules:
    # crisp figures: vectors in the book, double resolution in a notebook
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats(
        "svg" if os.environ.get("LBDL_EXPLORE") == "page" else "retina"
    )
