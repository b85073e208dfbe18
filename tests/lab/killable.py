"""An experiment to be killed: trains a small network with every kind of state that a checkpoint can hold.

As a script, `killable.py FOLDER KILLS SEED` starts the experiment again and again in a child process, kills each
child with SIGKILL after a random time, and at last lets one finish. It prints how many were killed at work, and at
how many different chunks they left off.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

from lbdl.lab import Run, experiment
from lbdl.lab.checkpoints import read_checkpoint
from lbdl.lab.declare import REGISTRY

CHUNKS, MORE_CHUNKS = 60, 20


@experiment(
    "killable",
    chapter="lab/test",
    shows="that it survives",
    small={"n": CHUNKS},
    full={"n": CHUNKS},
)
def killable(run: Run, n: int) -> dict:
    model = nn.Sequential(
        nn.Linear(8, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    decay = torch.optim.lr_scheduler.StepLR(optimizer, step_size=20, gamma=0.5)
    chance, losses, trace, counts = (
        run.generator("batches"),
        torch.zeros(n),
        [],
        {"big": 0},
    )
    state = {
        "model": model,
        "optimizer": optimizer,
        "decay": decay,
        "chance": chance,
    }
    for chunk in run.chunks(n, losses=losses, trace=trace, counts=counts, **state):
        x = torch.randn(32, 8, generator=chance)
        loss = (
            (model(x) - x.sum(dim=1, keepdim=True)).square().mean()
        )  # dropout draws from the global generator
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        losses[chunk] = loss.detach()
        trace.append(float(loss.detach()))
        counts["big"] += int(loss > 5)
    weights = nn.utils.parameters_to_vector(model.parameters()).detach()
    total = torch.zeros(())
    for chunk in run.chunks(
        MORE_CHUNKS, total=total, **state
    ):  # changes the model that the first loop saved
        total += (
            weights[chunk]
            * model(torch.randn(1, 8, generator=chance)).detach().squeeze()
        )
        with torch.no_grad():
            model[0].weight.mul_(0.9)
        optimizer.zero_grad()
        model(torch.ones(4, 8)).sum().backward()
        optimizer.step()
    return {
        "losses": losses,
        "weights": weights,
        "trace": torch.tensor(trace),
        "total": total,
        **counts,
    }


REGISTRY.pop("killable")  # known to its tests alone


def start(folder: Path) -> int:
    """Forks a child that runs the experiment, a checkpoint after every chunk; returns its process id."""
    child = os.fork()
    if child == 0:
        killable.run(
            "small",
            torch.device("cpu"),
            seed=3,
            folder=folder,
            progress=False,
            every=0.0,
        )
        os._exit(0)
    return child


def done(folder: Path) -> str:
    """How far a run came, as its checkpoint tells."""
    path = folder / "killable-small-seed3.checkpoint"
    return (
        str({k: v["done"] for k, v in read_checkpoint(path)["loops"].items()})
        if path.exists()
        else "nothing"
    )


def seconds_of_one_run(folder: Path) -> float:
    """How long a child works that nobody kills, once all is loaded; it leaves nothing behind."""
    killable.run("small", torch.device("cpu"), progress=False)
    began = time.monotonic()
    os.waitpid(start(folder), 0)
    seconds = time.monotonic() - began
    (folder / "killable-small-seed3.npz").unlink()
    return seconds


def kill_at_random(folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kills children at random moments until `kills` died at work, at ten places at least, then lets one finish. On a
    machine that others use, children may come less far than the first: each has a little more time than the last."""
    chance, places, whole = random.Random(seed), [], seconds_of_one_run(folder)
    for _ in range(10 * kills):
        child = start(folder)
        time.sleep(chance.uniform(0, whole / 5))
        os.kill(child, signal.SIGKILL)
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            places.append(done(folder))
        if len(places) >= kills and len(set(places)) >= 10:
            break
        whole *= 1.01
    assert os.waitpid(start(folder), 0)[1] == 0
    return len(places), len(set(places))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(*kill_at_random(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
