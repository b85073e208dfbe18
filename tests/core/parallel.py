"""An experiment for several processes: a network with two optimizer steps a chunk, its minibatch shared.

As a script under `torchrun`, `parallel.py FOLDER [SECONDS]` runs it, and waits so many seconds after each chunk.
"""

import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from lbdl.core import processes
from lbdl.core.experiments import REGISTRY, Run, experiment
from lbdl.core.steps import Steps

CHUNKS = 12
PAUSE = [0.0]


@experiment(
    "parallel",
    chapter="core/test",
    shows="that processes agree",
    small={"n": CHUNKS},
    full={"n": CHUNKS},
    parallel=True,
)
def parallel(run: Run, n: int) -> dict:
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3)).to(run.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    steps = Steps(model, F.cross_entropy, optimizer)
    chance, losses = run.generator("batches"), torch.zeros(n, 2, device=run.device)
    for chunk in run.chunks(n, model=model, optimizer=optimizer, chance=chance, losses=losses):
        for i in range(2):
            x = torch.randn(33, 8, generator=chance).to(run.device)  # an odd number: shares of unequal size
            losses[chunk, i] = steps(x, x[:, :3].argmax(1))
        time.sleep(PAUSE[0])
    return {"losses": losses, "weights": nn.utils.parameters_to_vector(model.parameters())}


REGISTRY.pop("parallel")  # known to its tests alone


if __name__ == "__main__":
    torch.set_num_threads(1)
    PAUSE[0] = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    parallel.run("small", torch.device("cpu"), seed=3, folder=Path(sys.argv[1]), progress=False, every=0.0)
    print("done", processes.rank(), flush=True)
