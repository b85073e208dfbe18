"""The command `lbdl`: is this machine ready, which experiments are there, run them."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from lbdl import __version__
from lbdl.core.devices import choose_device
from lbdl.core.seeds import require_seed
from lbdl.doctor import doctor
from lbdl.experiments import LARGEST, RECORDED, find, find_one, recorded_results
from lbdl.lab import Experiment, Run, processes
from lbdl.lab.results import Result, in_bytes, in_words

BAD_REQUEST = 2
INTERRUPTED = 130
OUT = Path("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.do(options)
    except KeyboardInterrupt:
        print(
            "\nstopped; the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The command line: `lbdl doctor`, `lbdl experiments`, `lbdl run`."""
    top = argparse.ArgumentParser(
        prog="lbdl", description="The Little Executable Book of Deep Learning."
    )
    top.add_argument("--version", action="version", version=f"lbdl {__version__}")
    commands = top.add_subparsers(required=True, metavar="command")
    command = commands.add_parser(
        "doctor", help="say whether this machine can run the chapters"
    )
    command.set_defaults(do=lambda options: doctor())
    command = commands.add_parser(
        "experiments", help="list the experiments, and what they cost"
    )
    command.add_argument(
        "--out", type=Path, default=OUT, help="folder with results of this machine"
    )
    command.set_defaults(do=lambda options: list_experiments(options.out))
    add_run(commands.add_parser("run", help="run experiments"))
    return top


def add_run(command: argparse.ArgumentParser) -> None:
    """The options of `lbdl run`."""
    command.set_defaults(do=run_experiments)
    command.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="experiments, as `lbdl experiments` lists them",
    )
    command.add_argument("--all", action="store_true", help="every experiment")
    command.add_argument(
        "--scale",
        help="small, full or another declared scale (default: LBDL_SCALE or small)",
    )
    command.add_argument(
        "--device",
        help="cpu, cuda, cuda:1 (default: LBDL_DEVICE, else CUDA if there is one)",
    )
    command.add_argument(
        "--seed", type=int, help="whole number >= 0 (default: LBDL_SEED or 0)"
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--out", type=Path, default=OUT, help="folder for results and checkpoints"
    )
    where.add_argument(
        "--record",
        action="store_true",
        help="write where the book finds its results",
    )
    command.add_argument(
        "--every",
        type=float,
        default=30.0,
        help="seconds between checkpoints (default: 30)",
    )
    command.add_argument(
        "--fresh",
        action="store_true",
        help="begin anew, not where an earlier run was stopped",
    )
    command.add_argument(
        "--deterministic",
        action="store_true",
        help="deterministic algorithms on CUDA, slower",
    )
    command.add_argument(
        "--compile",
        action="store_true",
        help="make machine code of the inner loop by torch.compile",
    )
    command.add_argument(
        "--shard",
        action="store_true",
        help="under torchrun: spread the model over the processes (FSDP)",
    )
    command.add_argument(
        "--pieces",
        type=int,
        default=1,
        help="take every minibatch in so many pieces, to spare memory",
    )


def list_experiments(folder: Path) -> int:
    """Prints every experiment: name, chapter, what it shows, and what runs took, recorded or in a folder."""
    recorded: dict[str, list[Result]] = {}
    for result in [*recorded_results(), *recorded_results(folder)]:
        recorded.setdefault(result.experiment, []).append(result)
    for name, declared in find().items():
        print(f"{name}  ({declared.chapter})\n    {declared.shows}")
        for scale in declared.scales:
            print(f"    {scale}: {cost(scale, recorded.get(name, []))}")
    return 0


def cost(scale: str, recorded: list[Result]) -> str:
    """What runs at a scale took, in words."""
    runs = [
        f"{in_words(result.seconds)} on {result.device}"
        + (f", {in_bytes(result.peak_bytes)}" if result.peak_bytes else "")
        for result in recorded
        if result.scale == scale
    ]
    return "; ".join(dict.fromkeys(runs)) or "not run yet"


def run_experiments(options: argparse.Namespace) -> int:
    """Checks everything that was asked for, then runs one experiment after the other."""
    try:
        chosen = choose(options.names, options.all)
        for declared in chosen:
            prepare(declared, options)
    except (ValueError, OSError) as problem:
        if processes.rank() == 0:
            print(f"lbdl run: {problem}", file=sys.stderr)
        return BAD_REQUEST
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    for declared in chosen:
        report(prepare(declared, options))
    return 0


def choose(names: list[str], every: bool) -> list[Experiment]:
    """The experiments that are asked for; ValueError where none is, or one is unknown."""
    if every == bool(names):
        raise ValueError(
            "give the names of experiments, or --all; `lbdl experiments` lists those there are"
        )
    return list(find().values()) if every else [find_one(name) for name in names]


def prepare(declared: Experiment, options: argparse.Namespace) -> Run:
    """The run that the options describe."""
    if options.seed is not None:
        require_seed(options.seed, asker="--seed")
    return declared.prepare(
        options.scale,
        choose_device(options.device, asker="--device") if options.device else None,
        options.seed,
        RECORDED / declared.chapter if options.record else options.out,
        every=options.every,
        fresh=options.fresh,
        compile=options.compile,
        shard=options.shard,
        pieces=options.pieces,
    )


def report(run: Run) -> None:
    """Executes a run, and prints where its result lies and how it came about."""
    result = run.execute()
    if not processes.is_first():
        return
    path = run.path(".npz")
    size = path.stat().st_size
    print(f"{path} ({in_bytes(size)})\n    {result.provenance}")
    if size > LARGEST:
        print(f"    too large to be recorded: at most {in_bytes(LARGEST)}")
    for name, number in result.numbers.items():
        print(f"    {name} = {number}")


if __name__ == "__main__":
    sys.exit(main())
