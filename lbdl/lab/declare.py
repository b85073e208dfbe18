"""Heavy experiments: declared once, run on any device, interrupted without loss,
recorded.

    @experiment("double_descent", chapter="foundations/generalization",
                shows="the test error's second fall",
                small={"widths": 20}, full={"widths": 200})
    def double_descent(run: Run, widths: int) -> dict:
        errors = torch.zeros(widths)
        for width in run.chunks(widths, errors=errors):
            errors[width] = ...
        return {"errors": errors}

The function says what is computed; the runner adds the device, the seed, the
checkpoint, the progress bar and the result file.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lbdl import require
from lbdl.lab import processes
from lbdl.lab.checkpoints import Checkpoint
from lbdl.lab.closure import code_of
from lbdl.lab.loops import Loops
from lbdl.lab.machine import require_compiler, require_room
from lbdl.lab.options import ABILITIES, Options
from lbdl.lab.results import (
    ON_GPU,
    Result,
    commit,
    file_name,
    plain,
    require_clean,
)
from lbdl.lab.run import Run

REGISTRY: dict[str, "Experiment"] = {}


@dataclass(frozen=True, eq=False)
class Experiment:
    """A declared experiment: a function of a run and of the parameters of each
    scale."""

    name: str
    chapter: str
    shows: str
    scales: dict[str, dict[str, Any]]
    function: Callable[..., dict[str, Any]]
    able: tuple[str, ...] = ()

    def run(self, *wishes: Any, **more: Any) -> Result:
        """Runs the experiment; the arguments are those of `Options`: scale, device,
        seed, folder and so on."""
        return self.prepare(Options(*wishes, **more)).execute()

    def prepare(self, options: Options) -> Run:
        """Checks all that can be checked before any work, and takes up the
        checkpoint of an interrupted run.

        Args:
            options: what the run is asked for.

        Returns:
            The `Run`, complete: it is executed as it is.

        Raises:
            ValueError: the scale is not declared, the experiment is not able to do
                what is asked, the checkpoint found is damaged or of another run, or
                a result is to be recorded of code that no commit holds.
            OSError: the folder cannot be written to, or has no room.
        """
        require_able(self, options)
        parameters = self.parameters(options.scale)
        device = processes.own_device(options.device)
        if options.compile:
            require_compiler(device)
        code, made_of = code_of(self.function), commit()
        if options.record:
            require_clean(made_of)
        checkpoint = take_up(self, parameters, device, code, options)
        return Run(
            name=self.name,
            work=self.function,
            parameters=parameters,
            options=options,
            device=device,
            code=code,
            commit=made_of,
            loops=Loops(self.name, device, options.progress, checkpoint),
            file=file_of(self, options, ".npz"),
        )

    def parameters(self, scale: str) -> dict[str, Any]:
        """The declared parameters of a scale."""
        if scale not in self.scales:
            raise ValueError(
                f"scale of {self.name} must be one of {', '.join(self.scales)}, got {scale!r}"
            )
        return self.scales[scale]


def file_of(declared: Experiment, options: Options, suffix: str) -> Path | None:
    """The file of a run that ends in `suffix`, where it is asked to write any.

    The witness of what a GPU recorded lies beside that of a CPU.
    """
    if options.folder is None:
        return None
    is_witness = options.record and options.scale == "small"
    if is_witness and options.device.type == "cuda":
        suffix = ON_GPU + suffix
    name = file_name(declared.name, options.scale, options.seed, suffix)
    return options.folder / name


def take_up(
    declared: Experiment,
    parameters: dict[str, Any],
    device: torch.device,
    code: str,
    options: Options,
) -> Checkpoint | None:
    """The checkpoint of a run, with what an interrupted one left; it names what
    must be the same to go on."""
    path = file_of(declared, options, ".checkpoint")
    if path is None:
        return None
    require_room(path.parent)
    identity = {
        "experiment": declared.name,
        "parameters": plain(parameters),
        "seed": options.seed,
        "device": device.type,
        "torch": str(torch.__version__),
        "code": code,
        "compile": options.compile,
    }
    return Checkpoint(path, identity, options.every, fresh=options.fresh)


def experiment(
    name: str,
    *,
    chapter: str,
    shows: str,
    small: dict[str, Any],
    full: dict[str, Any],
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
        able: what the function does when the run says so: "processes", because all
            its work is done by `lbdl.lab.Steps`, so that the processes of
            `torchrun` can share it; "compile", what it hands to `Run.compiled`;
            "shard", a model that it hands to `Run.sharded`; "pieces", `Run.pieces`
            of a minibatch.
        **more: parameters of further scales, by name, such as the largest that fits
        a machine without a GPU.

    Returns:
        A decorator; what it returns is the `Experiment`.

    Raises:
        ValueError: the name is malformed or taken, an ability is unknown, or
            parameters are no JSON, or are not those of the function.
    """

    def declare(function: Callable[..., dict[str, Any]]) -> Experiment:
        declared = Experiment(
            name,
            chapter,
            shows,
            {"small": small, "full": full, **more},
            function,
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
    for ability in declared.able:
        require.choice([*ABILITIES], able=ability)
    for scale, parameters in declared.scales.items():
        try:
            inspect.signature(declared.function).bind(None, **parameters)
            plain(parameters)
        except TypeError as problem:
            raise ValueError(
                f"parameters of {declared.name} at scale {scale!r}: {problem}"
            ) from None


def require_able(declared: Experiment, options: Options) -> None:
    """Raises ValueError where an experiment cannot run as it is asked to."""
    for ability in options.abilities:
        if ability not in declared.able:
            raise ValueError(
                f"{declared.name} runs in a single process: start it without torchrun"
                if ability == "processes"
                else f"{declared.name} takes no option {ability}; it is able to: "
                f"{', '.join(declared.able) or 'none of ' + ', '.join(ABILITIES)}"
            )
    if options.shard and options.processes == 1:
        raise ValueError(
            "shard spreads a model over several processes: start it with torchrun"
        )
