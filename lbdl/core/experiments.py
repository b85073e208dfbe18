"""Heavy experiments: declared once, run on any device, interrupted without loss, recorded.

    @experiment("double_descent", chapter="foundations/learning", shows="the test error's second fall",
                small={"widths": 20}, full={"widths": 200})
    def double_descent(run: Run, widths: int) -> dict:
        errors = torch.zeros(widths)
        for width in run.chunks(widths, errors=errors):
            errors[width] = ...
        return {"errors": errors}

The function says what is computed; the runner adds the device, the seed, the checkpoint, the progress bar and
the result file.
"""

import difflib
import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Generator, nn

from lbdl.core import processes, scales, seeds
from lbdl.core.checkpoints import Checkpoint
from lbdl.core.devices import device as default_device
from lbdl.core.devices import device_name, require_compiler, synchronize
from lbdl.core.progress import progress_bar
from lbdl.core.results import Result, circumstances, read_result, sort_findings

RECORDED = Path(__file__).parents[1] / "experiments" / "recorded"
REGISTRY: dict[str, "Experiment"] = {}
LARGEST = 200_000  # bytes of a recorded result
ROOM = 50 * 10**6  # bytes that must be free where a run writes
Work = TypeVar("Work", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Experiment:
    """A declared experiment: a function of a run and of the parameters of each scale."""

    name: str
    chapter: str
    shows: str
    scales: dict[str, dict[str, Any]]
    function: Callable[..., dict[str, Any]]
    parallel: bool = False
    able: tuple[str, ...] = ()

    def run(
        self,
        scale: str | None = None,
        device: torch.device | None = None,
        seed: int | None = None,
        folder: Path | None = None,
        **options: Any,
    ) -> Result:
        """Runs the experiment; see `prepare` for the arguments."""
        return self.prepare(scale, device, seed, folder, **options).execute()

    def prepare(
        self,
        scale: str | None = None,
        device: torch.device | None = None,
        seed: int | None = None,
        folder: Path | None = None,
        *,
        progress: bool | None = None,
        every: float = 30.0,
        fresh: bool = False,
        **how: Any,
    ) -> "Run":
        """Checks all that can be checked before any work, and takes up the checkpoint of an interrupted run.

        Args:
            scale: "small", "full" or another declared one; by default that of the run, `lbdl.core.scale()`.
            device: by default `lbdl.core.device()`.
            seed: whole number >= 0; by default `lbdl.core.seed()`.
            folder: where checkpoint and result are written; None writes nothing.
            progress: show a bar; by default where somebody can see it.
            every: seconds between two checkpoints.
            fresh: begin anew, whatever an interrupted run left.
            **how: `compile`, `shard` or `pieces` of `Run`, for an experiment that is able to.

        Returns:
            The `Run`, to be executed.

        Raises:
            ValueError: the scale is not declared, the seed is negative, the checkpoint found is damaged or of
                another run, there are several processes and the experiment knows only one, or it is not able to
                run as `how` says.
            OSError: the folder cannot be written to, or has no room.
        """
        if processes.size() > 1 and not self.parallel:
            raise ValueError(
                f"{self.name} runs in a single process: start it without torchrun"
            )
        require_able(self, how)
        run = Run(
            experiment=self,
            scale=scales.scale() if scale is None else scale,
            device=processes.own_device(device or default_device()),
            seed=seeds.seed() if seed is None else seeds.require_seed(seed),
            folder=folder,
            progress=progress,
            **how,
        )
        if run.compile:
            require_compiler(run.device)
        run.parameters = self.parameters(run.scale)
        if folder is not None:
            require_room(folder)
            if fresh and processes.is_first():
                run.path(".checkpoint").unlink(missing_ok=True)
            run.checkpoint = Checkpoint(
                run.path(".checkpoint"), run.identity(), every, fresh=fresh
            )
        return run

    def parameters(self, scale: str) -> dict[str, Any]:
        """The declared parameters of a scale."""
        if scale not in self.scales:
            raise ValueError(
                f"scale of {self.name} must be one of {', '.join(self.scales)}, got {scale!r}"
            )
        return self.scales[scale]

    def code(self) -> str:
        """A fingerprint of the function's source: a checkpoint of other code is not continued."""
        try:
            return hashlib.sha256(
                inspect.getsource(self.function).encode()
            ).hexdigest()[:16]
        except OSError:  # typed into an interpreter: no source to look at
            return "unknown"


@dataclass(eq=False)
class Run:
    """One execution of an experiment: what the experiment's function is given.

    How it computes, beyond the device: `compile` makes machine code of what the function hands to `compiled`;
    `shard` spreads weights, gradients and the optimizer's state over the processes (FSDP) instead of copying them
    (DDP); `pieces` is how many pieces a minibatch is taken in from the start.
    """

    experiment: Experiment
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
        return seeds.generator(
            f"{self.experiment.name}/{stream}", device, root=self.seed
        )

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
                range(done, n), shown, start=done, label=self.experiment.name
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
            found = self.experiment.function(self, **self.parameters)
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
            experiment=self.experiment.name,
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
        return self.folder / file_name(
            self.experiment.name, self.scale, self.seed, suffix
        )

    def identity(self) -> dict[str, Any]:
        """What must be the same for an interrupted run to be continued."""
        return {
            "experiment": self.experiment.name,
            "parameters": plain(self.parameters),
            "seed": self.seed,
            "device": self.device.type,
            "torch": str(torch.__version__),
            "code": self.experiment.code(),
            "compile": self.compile,
        }


def experiment(
    name: str,
    *,
    chapter: str,
    shows: str,
    small: dict[str, Any],
    full: dict[str, Any],
    parallel: bool = False,
    able: Sequence[str] = (),
    **more: dict[str, Any],
) -> Callable[[Callable[..., dict[str, Any]]], Experiment]:
    """Declares the decorated function as an experiment.

    Args:
        name: letters, digits and underscores; also the name of its files.
        chapter: part and topic, such as "foundations/gradient_descent".
        shows: what the result shows, in a few words.
        small: parameters for two CPU cores.
        full: parameters for a GPU.
        parallel: whether the processes of `torchrun` can share it, because all its work is done by
            `lbdl.core.steps.Steps`.
        able: what else the function does when the run says so: "compile", "shard", "pieces".
        **more: parameters of further scales, by name, such as the largest that fits a machine without a GPU.

    Returns:
        A decorator; what it returns is the `Experiment`.

    Raises:
        ValueError: the name is malformed or taken, or parameters are no JSON, or are not those of the
            function.
    """

    def declare(function: Callable[..., dict[str, Any]]) -> Experiment:
        declared = Experiment(
            name,
            chapter,
            shows,
            {"small": small, "full": full, **more},
            function,
            parallel,
            tuple(able),
        )
        require_declaration(declared)
        REGISTRY[name] = declared
        return declared

    return declare


def require_declaration(declared: Experiment) -> None:
    """Raises ValueError where a declaration cannot work."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", declared.name):
        raise ValueError(
            f"name must be lower-case letters, digits and underscores, got {declared.name!r}"
        )
    other = REGISTRY.get(declared.name)
    if (
        other is not None
        and other.function.__module__ != declared.function.__module__
    ):
        raise ValueError(
            f"name {declared.name!r} is taken by an experiment in {other.function.__module__}"
        )
    for scale, parameters in declared.scales.items():
        try:
            inspect.signature(declared.function).bind(None, **parameters)
            plain(parameters)
        except TypeError as problem:
            raise ValueError(
                f"parameters of {declared.name} at scale {scale!r}: {problem}"
            ) from None


def require_able(declared: Experiment, how: dict[str, Any]) -> None:
    """Raises ValueError where an experiment cannot run as `how` says."""
    for name, value in how.items():
        if value != getattr(Run, name) and name not in declared.able:
            able = ", ".join(declared.able) or "none of compile, shard, pieces"
            raise ValueError(
                f"{declared.name} takes no option {name}; it is able to: {able}"
            )
    if how.get("shard") and processes.size() == 1:
        raise ValueError(
            "shard spreads a model over several processes: start it with torchrun"
        )
    if how.get("pieces", 1) < 1:
        raise ValueError(f"pieces must be >= 1, got {how['pieces']}")


def find() -> dict[str, Experiment]:
    """All experiments declared in `lbdl.experiments`, by name, sorted by chapter."""
    package = importlib.import_module("lbdl.experiments")
    for each in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"lbdl.experiments.{each.name}")
        REGISTRY.update(
            {e.name: e for e in vars(module).values() if isinstance(e, Experiment)}
        )
    return dict(
        sorted(REGISTRY.items(), key=lambda item: (item[1].chapter, item[0]))
    )


def find_one(name: str) -> Experiment:
    """The experiment called `name`; ValueError, with the names nearest to it, where there is none."""
    known = REGISTRY if name in REGISTRY else find()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "`lbdl experiments` lists those there are"
    )
    raise ValueError(f"there is no experiment called {name!r}; {hint}")


def load_result(
    name: str, scale: str | None = None, seed: int = 0, folder: Path = RECORDED
) -> Result:
    """The recorded result of an experiment.

    Args:
        name: the experiment.
        scale: a declared scale; by default the largest that is recorded: "full", then any other, then
            "small".
        seed: the seed it was run with.
        folder: where results lie; by default those that come with the library.

    Returns:
        The `Result`.

    Raises:
        ValueError: there is no such experiment, or the result was made with other parameters than the code
            declares now.
        FileNotFoundError: nothing is recorded.
    """
    declared = find_one(name)
    wanted = (
        [scale]
        if scale
        else sorted(declared.scales, key=lambda s: (s != "full", s == "small"))
    )
    for each in wanted:
        path = folder / file_name(name, each, seed, ".npz")
        if path.exists():
            result = read_result(path)
            require_fresh(declared, result)
            return result
    raise FileNotFoundError(
        f"no result of {name} is recorded at scale {' or '.join(wanted)}; {command(name, wanted[0])}"
    )


def require_fresh(declared: Experiment, result: Result) -> None:
    """Raises ValueError where the code now declares other parameters than the result was made with."""
    now = plain(declared.scales.get(result.scale, {}))
    if result.parameters != now:
        raise ValueError(
            f"the recorded result of {declared.name} is stale: it was made with {result.parameters}, "
            f"and scale {result.scale!r} now is {now}; {command(declared.name, result.scale)}"
        )


def recorded_results(folder: Path = RECORDED) -> list[Result]:
    """All results that are recorded, stale ones too, by file name."""
    return [read_result(path) for path in sorted(folder.glob("*.npz"))]


def problems_of_recorded(folder: Path = RECORDED) -> list[str]:
    """One line for every recorded result that is damaged, stale, misnamed, or of no declared experiment."""
    problems = []
    for path in sorted(folder.glob("*.npz")):
        try:
            result = read_result(path)
            require_fresh(find_one(result.experiment), result)
            if path.name != file_name(
                result.experiment, result.scale, result.seed, ".npz"
            ):
                raise ValueError(
                    f"it holds {result.experiment} at scale {result.scale}, seed {result.seed}"
                )
        except ValueError as problem:
            problems.append(f"{path.name}: {problem}")
    return problems


def file_name(name: str, scale: str, seed: int, suffix: str) -> str:
    """The file name of a run's result or checkpoint."""
    return f"{name}-{scale}-seed{seed}{suffix}"


def command(name: str, scale: str) -> str:
    """The command that records a result, as advice."""
    return f"record it with: lbdl run {name} --scale {scale} --record"


def plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON would give them back: tuples become lists."""
    return json.loads(json.dumps(parameters))


def require_room(folder: Path) -> None:
    """Makes the folder if need be; OSError, in words, where it cannot be written to or has no room."""
    trial = folder / f".trial-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as problem:
        raise OSError(
            f"cannot write to the folder {folder}: {problem.strerror}"
        ) from problem
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise OSError(
            f"no room in the folder {folder}: {free // 10**6} MB free, {ROOM // 10**6} MB needed"
        )


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
    torch.manual_seed(seeds.stream_seed(run.experiment.name, run.seed))
    try:
        yield
    finally:
        before.load_state_dict(saved)


@contextmanager
def counted_memory(device: torch.device) -> Iterator[Callable[[], int | None]]:
    """Gives a function that tells the peak memory: of CUDA since now, else of this process since it began."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device)
    else:
        yield process_peak


def process_peak() -> int | None:
    """The largest resident size of this process in bytes, where the system tells it."""
    try:
        resource = importlib.import_module("resource")
    except ModuleNotFoundError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
