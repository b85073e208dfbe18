"""An experiment for several processes: a network with two optimizer steps a chunk, its minibatch shared.

As a script under `torchrun`, `parallel.py FOLDER [SECONDS [shard]]` runs it, and waits so long after each chunk.
"""

import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from lbdl.lab import Run, experiment, processes
from lbdl.lab.declare import REGISTRY
from lbdl.lab.steps import Steps

CHUNKS = 12
PAUSE = [0.0]


@experiment(
    "parallel",
    chapter="lab/test",
    shows="that processes agree",
    small={"n": CHUNKS},
    full={"n": CHUNKS},
    able=("processes", "shard"),
)
def parallel(run: Run, n: int) -> dict:
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3)).to(
        run.device
    )
    run.sharded(model, [model[0]])
    steps = Steps(
        model, F.cross_entropy, torch.optim.AdamW(model.parameters(), lr=0.01)
    )
    chance, losses = run.generator("batches"), torch.zeros(n, 2, device=run.device)
    for chunk in run.chunks(n, steps=steps, chance=chance, losses=losses):
        for i in range(2):
            x = torch.randn(33, 8, generator=chance).to(
                run.device
            )  # an odd number: shares of unequal size
            losses[chunk, i] = steps(x, x[:, :3].argmax(1))
        time.sleep(PAUSE[0])
        with torch.no_grad():
            model(x)  # a look between the steps, as a validation would be
    weights = steps.state_dict()[
        "model"
    ].values()  # of several processes only the first has any
    return {
        "losses": losses,
        "weights": torch.cat([torch.zeros(0), *(w.flatten() for w in weights)]),
    }


REGISTRY.pop("parallel")  # known to its tests alone


if __name__ == "__main__":
    torch.set_num_threads(1)
    PAUSE[0] = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    how = {
        "folder": Path(sys.argv[1]),
        "progress": False,
        "every": 0.0,
        "shard": "shard" in sys.argv,
    }
    parallel.run("small", torch.device("cpu"), seed=3, **how)
    print("done", processes.rank(), flush=True)
