"""What a run is asked for: on which data of its declaration, where, from which
seed, and how."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lbdl import require
from lbdl.core import devices, scales, seeds
from lbdl.lab import processes

# What an experiment may be able to do beyond running in one process, and the value that does not ask for it.
ABILITIES: dict[str, Any] = {
    "processes": 1,
    "compile": False,
    "shard": False,
    "pieces": 1,
}


@dataclass(frozen=True)
class Options:
    """The wishes of one run, complete from the start: made once, by the command or
    by a caller.

    Args:
        scale: "small", "full" or another declared one; by default that of
            `LBDL_SCALE`.
        device: by default that of `LBDL_DEVICE`, else CUDA if there is one.
        seed: whole number >= 0; by default that of `LBDL_SEED`.
        folder: where checkpoint and result are written; None writes nothing.
        progress: show a bar; by default where somebody can see it.
        every: seconds between two checkpoints, >= 0.
        fresh: begin anew, whatever an interrupted run left.
        record: the result is to come with the library: only of code that a commit
            holds.
        compile: make machine code of what the experiment hands to `Run.compiled`.
        shard: spread weights, gradients and the optimizer's state over the
            processes (FSDP) instead of copying them (DDP).
        pieces: how many pieces a minibatch is taken in from the start, >= 1.
        deterministic: torch's deterministic algorithms.
        processes: how many share the run: as `torchrun` says.

    Raises:
        TypeError: a number is none.
        ValueError: a number is out of range.
    """

    scale: str = field(default_factory=scales.scale)
    device: torch.device = field(default_factory=devices.device)
    seed: int = field(default_factory=seeds.seed)
    folder: Path | None = None
    progress: bool | None = None
    every: float = 30.0
    fresh: bool = False
    record: bool = False
    compile: bool = False
    shard: bool = False
    pieces: int = 1
    deterministic: bool = False
    processes: int = field(default_factory=processes.size)

    def __post_init__(self) -> None:
        require.whole(seed=self.seed, least=0)
        require.whole(pieces=self.pieces, least=1)
        require.number(every=self.every, least=0)

    @property
    def abilities(self) -> list[str]:
        """The abilities that these wishes ask of an experiment."""
        return [
            name for name, idle in ABILITIES.items() if getattr(self, name) != idle
        ]

    @property
    def how(self) -> dict[str, Any]:
        """How the run computes beyond its device, for its result."""
        return {name: getattr(self, name) for name in (*ABILITIES, "deterministic")}

    def command(self, name: str) -> str:
        """The command that repeats this run of the experiment `name`."""
        alone = self.processes == 1
        words = [
            "lbdl"
            if alone
            else f"torchrun --standalone --nproc-per-node {self.processes} -m lbdl",
            f"run {name} --scale {self.scale} --seed {self.seed} --device {self.device.type}",
            f"--pieces {self.pieces}" if self.pieces > 1 else "",
        ]
        flags = ("compile", "shard", "deterministic")
        words += [f"--{flag}" for flag in flags if getattr(self, flag)]
        return " ".join(filter(None, words))
