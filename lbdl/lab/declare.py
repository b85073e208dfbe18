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

import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lbdl.core import scales, seeds
from lbdl.core.devices import device as default_device
from lbdl.lab import processes
from lbdl.lab.checkpoints import Checkpoint
from lbdl.lab.machine import require_compiler, require_room
from lbdl.lab.results import Result, plain
from lbdl.lab.run import Run

REGISTRY: dict[str, "Experiment"] = {}


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
    ) -> Run:
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
            name=self.name,
            work=self.function,
            code=self.code(),
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
            `lbdl.lab.steps.Steps`.
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
