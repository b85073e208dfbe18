"""The training experiments with a handful of steps, in which rounding has no time to grow.

As a script under `torchrun`, `few_steps.py FOLDER` runs them all on several processes, and those that can once more
with their models sharded, into the folder `sharded` in it.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from lbdl.experiments import find
from lbdl.lab import Experiment

FEW: dict[str, dict] = {
    "double_descent": {"widths": [3, 20], "runs": 2, "together": 2, "steps": 5},
    "length_extrapolation": {"steps": 4},
    "memory_against_lag": {"steps": 5},
    "merges": {"merges": [0, 32], "steps": 6},
    "metric_learning": {"steps": 4, "groups": 2},
}


def shortened(name: str) -> Experiment:
    """An experiment at its small scale, but for the number of steps."""
    declared = find()[name]
    return replace(
        declared, scales={"small": {**declared.scales["small"], **FEW[name]}}
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in FEW:
        few, place = shortened(name), Path(sys.argv[1])
        few.run("small", torch.device("cpu"), seed=1, folder=place, progress=False)
        if "shard" in few.able:
            few.run(
                "small",
                torch.device("cpu"),
                seed=1,
                folder=place / "sharded",
                progress=False,
                shard=True,
            )
