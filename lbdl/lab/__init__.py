"""How a heavy run happens: declared once, run on any device, interrupted without
loss, its result kept."""

from lbdl.lab import processes
from lbdl.lab.declare import Experiment, experiment
from lbdl.lab.machine import synchronize
from lbdl.lab.options import Options
from lbdl.lab.results import Result
from lbdl.lab.run import Run
from lbdl.lab.steps import Steps

__all__ = [
    "Experiment",
    "Options",
    "Result",
    "Run",
    "Steps",
    "experiment",
    "processes",
    "synchronize",
]
