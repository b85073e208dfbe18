"""One execution of an experiment: what its function is given, and the result it
ends in."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Generator, nn

from lbdl.core import seeds
from lbdl.lab import processes
from lbdl.lab.checkpoints import Checkpoint
from lbdl.lab.loops import Loops, fresh_generators
from lbdl.lab.machine import (
    counted_memory,
    deterministic,
    device_name,
    synchronize,
)
from lbdl.lab.options import Options
from lbdl.lab.results import Result, now, plain, sort_findings, versions
from lbdl.lab.steps import sharding

Work = TypeVar("Work", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Run:
    """One execution of an experiment, complete when `Experiment.prepare` hands it
    out; then it is executed.

    The experiment's function may look at `device`, `seed`, `shard` and `pieces`.
    """

    name: str
    work: Callable[..., dict[str, Any]]
    parameters: dict[str, Any]
    options: Options
    device: torch.device
    code: str
    commit: str
    loops: Loops
    file: Path | None = None

    @property
    def seed(self) -> int:
        return self.options.seed

    @property
    def shard(self) -> bool:
        return self.options.shard

    @property
    def pieces(self) -> int:
        return self.options.pieces

    @property
    def checkpoint(self) -> Checkpoint | None:
        return self.loops.checkpoint

    def generator(
        self, stream: str, device: torch.device | str = "cpu"
    ) -> Generator:
        """Randomness out of the seed, the experiment's name and the stream's name.

        On the CPU by default, so that every device computes with the same numbers.
        """
        return seeds.generator(f"{self.name}/{stream}", device, root=self.seed)

    def compiled(self, work: Work) -> Work:
        """A function or a module, compiled by `torch.compile` where the run was
        asked to; a module in place.

        What was compiled before is forgotten: torch keeps few versions of one
        function.
        """
        if not self.options.compile:
            return work
        torch.compiler.reset()
        if isinstance(work, nn.Module):
            work.compile()
            return work
        return cast(Work, torch.compile(work))

    def sharded(self, model: nn.Module, parts: Iterable[nn.Module]) -> nn.Module:
        """A model, spread over the processes where the run was asked to, in place:
        see `lbdl.lab.sharding`."""
        if not self.shard:
            return model
        return sharding().sharded(model, parts)

    def chunks(self, n: int, **state: Any) -> Iterator[int]:
        """Counts from 0 to n - 1, and makes the loop over it one that can be killed
        and started again.

        Before the first chunk, `state` is set to what the last checkpoint holds,
        and counting begins after the chunks that are done. After each chunk, if the
        last checkpoint is old enough, `state` is saved, and torch's global
        generators with it.

        Args:
            n: number of chunks.
            **state: everything that one chunk hands to the next, or to the result:
            tensors, lists and dicts
                (changed in place), generators, modules, optimizers.

        Yields:
            The number of the chunk to be done.

        Raises:
            RuntimeError: called inside another loop over chunks.
        """
        return self.loops.over(n, state)

    def execute(self) -> Result:
        """Computes the result, writes it if there is a folder, and removes the
        checkpoint.

        Of several processes the first one writes; all return the result. What is
        the caller's (global generators, torch's settings, filters of warnings) is
        put back.
        """
        began, before = time.monotonic(), 0.0
        if self.checkpoint:
            before = self.checkpoint.start()
        processes.connect(self.device)
        with ExitStack() as put_back:
            put_back.enter_context(warnings.catch_warnings())
            put_back.enter_context(deterministic(self.options.deterministic))
            root = seeds.stream_seed(self.name, self.seed)
            put_back.enter_context(fresh_generators(self.device, root))
            peak = put_back.enter_context(counted_memory(self.device))
            found = self.work(self, **self.parameters)
            synchronize(self.device)
            seconds = before + time.monotonic() - began
            result = self.result(found, seconds, peak())
        self.keep(result)
        return result

    def result(
        self, found: dict[str, Any], seconds: float, peak_bytes: int | None
    ) -> Result:
        """What the function returned, with the circumstances."""
        numbers, arrays = sort_findings(found)
        return Result(
            experiment=self.name,
            scale=self.options.scale,
            parameters=plain(self.parameters),
            seed=self.seed,
            device=device_name(self.device),
            how=self.options.how,
            command=self.options.command(self.name),
            versions=versions(),
            commit=self.commit,
            code=self.code,
            date=now(),
            seconds=round(seconds, 3),
            peak_bytes=peak_bytes,
            numbers=numbers,
            arrays=arrays,
        )

    def keep(self, result: Result) -> None:
        """Writes the result where one was asked for; the checkpoint has served."""
        if self.file and processes.is_first():
            result.save(self.file)
        if self.checkpoint and processes.is_first():
            self.checkpoint.remove()
