"""One execution of an experiment: what it is given, its loops that survive a kill, and its result."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Generator, nn

from lbdl.core import seeds
from lbdl.core.progress import progress_bar
from lbdl.lab import processes
from lbdl.lab.checkpoints import Checkpoint
from lbdl.lab.machine import counted_memory, device_name, synchronize
from lbdl.lab.results import Result, circumstances, file_name, plain, sort_findings

Work = TypeVar("Work", bound=Callable[..., Any])


@dataclass(eq=False)
class Run:
    """One execution of an experiment: what the experiment's function is given.

    How it computes, beyond the device: `compile` makes machine code of what the function hands to `compiled`;
    `shard` spreads weights, gradients and the optimizer's state over the processes (FSDP) instead of copying them
    (DDP); `pieces` is how many pieces a minibatch is taken in from the start.
    """

    name: str
    work: Callable[..., dict[str, Any]]
    code: str
    scale: str
    device: torch.device
    seed: int
    folder: Path | None = None
    progress: bool | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    compile: bool = False
    shard: bool = False
    pieces: int = 1
    _loops: int = 0
    _inside: bool = False

    def generator(
        self, stream: str, device: torch.device | str = "cpu"
    ) -> Generator:
        """Randomness out of the seed, the experiment's name and the stream's name.

        On the CPU by default, so that every device computes with the same numbers.
        """
        return seeds.generator(f"{self.name}/{stream}", device, root=self.seed)

    def compiled(self, work: Work) -> Work:
        """A function or a module, compiled by `torch.compile` where the run was asked to; a module in place.

        What was compiled before is forgotten: torch keeps few versions of one function.
        """
        if not self.compile:
            return work
        torch.compiler.reset()
        if isinstance(work, nn.Module):
            work.compile()
            return work
        return cast(Work, torch.compile(work))

    def chunks(self, n: int, **state: Any) -> Iterator[int]:
        """Counts from 0 to n - 1, and makes the loop over it one that can be killed and started again.

        Before the first chunk, `state` is set to what the last checkpoint holds, and counting begins after
        the chunks that are done. After each chunk, if the last checkpoint is old enough, `state` is saved,
        and torch's global generators with it.

        Args:
            n: number of chunks.
            **state: everything that one chunk hands to the next, or to the result: tensors, lists and dicts
                (changed in place), generators, modules, optimizers.

        Yields:
            The number of the chunk to be done.

        Raises:
            RuntimeError: called inside another loop over chunks.
        """
        if self._inside:
            raise RuntimeError(
                "chunks must not be nested: loop over chunks once, and inside it over something else"
            )
        loop = str(self._loops)
        self._loops, self._inside = self._loops + 1, True
        everything = {**state, "global generators": GlobalGenerators(self.device)}
        done = self.checkpoint.restore(loop, everything) if self.checkpoint else 0
        try:
            shown = self.progress if processes.is_first() else False
            for chunk in progress_bar(
                range(done, n), shown, start=done, label=self.name
            ):
                yield chunk
                self._save(loop, chunk + 1, everything, finished=chunk + 1 == n)
        finally:
            self._inside = False

    def _save(
        self, loop: str, done: int, state: dict[str, Any], finished: bool
    ) -> None:
        """Saves when the first process's clock says so; all take part, because a sharded state is in all of them."""
        if self.checkpoint is None:
            return
        due = processes.is_first() and (finished or self.checkpoint.is_due())
        if processes.any_of_us(due, self.device):
            self.checkpoint.save(loop, done, state, finished=finished)

    def execute(self) -> Result:
        """Computes the result, writes it if there is a folder, and removes the checkpoint.

        Of several processes the first one writes; all return the result.
        """
        began = time.monotonic()
        if self.checkpoint:
            self.checkpoint.began = began
        processes.connect(self.device)
        with fresh_generators(self), counted_memory(self.device) as peak:
            found = self.work(self, **self.parameters)
            synchronize(self.device)
        seconds = (
            self.checkpoint.seconds if self.checkpoint else time.monotonic() - began
        )
        result = self.result(found, seconds, peak())
        if self.checkpoint and processes.is_first():
            result.save(self.path(".npz"))
            self.checkpoint.remove()
        return result

    def result(
        self, found: dict[str, Any], seconds: float, peak_bytes: int | None
    ) -> Result:
        """What the function returned, with the circumstances."""
        numbers, arrays = sort_findings(found)
        return Result(
            experiment=self.name,
            scale=self.scale,
            parameters=plain(self.parameters),
            seed=self.seed,
            device=self.where(),
            seconds=round(seconds, 3),
            peak_bytes=peak_bytes,
            numbers=numbers,
            arrays=arrays,
            **circumstances(),
        )

    def where(self) -> str:
        """The device in words, how many of them, and how they computed."""
        many = f"{processes.size()} x " if processes.size() > 1 else ""
        return (
            many
            + device_name(self.device)
            + ", sharded" * self.shard
            + ", compiled" * self.compile
        )

    def path(self, suffix: str) -> Path:
        """The file of this run that ends in `suffix`."""
        assert self.folder is not None
        return self.folder / file_name(self.name, self.scale, self.seed, suffix)

    def identity(self) -> dict[str, Any]:
        """What must be the same for an interrupted run to be continued."""
        return {
            "experiment": self.name,
            "parameters": plain(self.parameters),
            "seed": self.seed,
            "device": self.device.type,
            "torch": str(torch.__version__),
            "code": self.code,
            "compile": self.compile,
        }


class GlobalGenerators:
    """The state of torch's global generators, of the CPU and of the run's CUDA device, for a checkpoint."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device if device.type == "cuda" else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "cpu": torch.get_rng_state(),
            "cuda": None
            if self.cuda is None
            else torch.cuda.get_rng_state(self.cuda),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        torch.set_rng_state(saved["cpu"])
        if self.cuda is not None:
            torch.cuda.set_rng_state(saved["cuda"], self.cuda)


@contextmanager
def fresh_generators(run: Run) -> Iterator[None]:
    """Seeds torch's global generators from the run, and puts them back afterwards."""
    before = GlobalGenerators(run.device)
    saved = before.state_dict()
    torch.manual_seed(seeds.stream_seed(run.name, run.seed))
    try:
        yield
    finally:
        before.load_state_dict(saved)
