"""The command `lbdl`: is this machine ready, which experiments are there, run
them."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from io import TextIOWrapper
from pathlib import Path

from lbdl import __version__
from lbdl.core.devices import choose_device
from lbdl.doctor import doctor
from lbdl.experiments import LARGEST, RECORDED, find, find_one, recorded_results
from lbdl.experiments.work import estimate
from lbdl.lab import Experiment, Options, Run, processes
from lbdl.lab.results import Result, in_bytes, in_words

BAD_REQUEST = 2
INTERRUPTED = 130
OUT = Path("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks; returns the exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a pipe that holds ASCII only
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
    """The arguments of `lbdl run`: each bears the name of a wish of `Options`; what
    is not given is not set."""
    command.set_defaults(do=run_experiments)
    command.argument_default = argparse.SUPPRESS
    command.add_argument(
        "names",
        nargs="*",
        default=[],
        metavar="NAME",
        help="experiments, as `lbdl experiments` lists them",
    )
    add = command.add_argument
    add("--all", action="store_true", default=False, help="every experiment")
    add(
        "--scale",
        help="small, full or another declared (default: LBDL_SCALE or small)",
    )
    add(
        "--device",
        help="cpu, cuda, cuda:1 (default: LBDL_DEVICE, else CUDA if there)",
    )
    add("--seed", type=int, help="whole number >= 0 (default: LBDL_SEED or 0)")
    add("--every", type=float, help="seconds between checkpoints (default: 30)")
    add(
        "--fresh",
        action="store_true",
        help="begin anew, not where a run was stopped",
    )
    add("--compile", action="store_true", help="machine code by torch.compile")
    add(
        "--shard",
        action="store_true",
        help="under torchrun: spread the model (FSDP)",
    )
    add(
        "--pieces",
        type=int,
        help="take minibatches in so many pieces, to spare memory",
    )
    add(
        "--deterministic",
        action="store_true",
        help="deterministic algorithms, slower",
    )
    add(
        "--out",
        dest="folder",
        type=Path,
        help=f"folder for results and checkpoints (default: {OUT})",
    )
    add(
        "--record",
        action="store_true",
        help="write where the book finds its results, or so below --out",
    )


def list_experiments(folder: Path) -> int:
    """Prints every experiment: name, chapter, what it shows, and what runs took,
    recorded or in a folder."""
    recorded: dict[str, list[Result]] = {}
    for result in [*recorded_results(), *recorded_results(folder)]:
        recorded.setdefault(result.experiment, []).append(result)
    for name, declared in find().items():
        print(f"{name}  ({declared.chapter})\n    {declared.shows}")
        for scale in declared.scales:
            runs = cost(scale, recorded.get(name, []))
            print(f"    {scale}: {runs or expected(declared, scale)}")
    return 0


def cost(scale: str, recorded: list[Result]) -> str:
    """What runs at a scale took, in words; nothing where there was none."""
    runs = [
        f"{in_words(result.seconds)} on {result.where}"
        + (f", {in_bytes(result.peak_bytes)}" if result.peak_bytes else "")
        for result in recorded
        if result.scale == scale
    ]
    return "; ".join(dict.fromkeys(runs))


def expected(declared: Experiment, scale: str) -> str:
    """What a run will take on one GPU, by its count of operations."""
    seconds = estimate(declared.name, declared.scales[scale])
    about = "" if seconds is None else f", about {in_words(seconds)} on one H100"
    return f"not run yet{about}"


def run_experiments(arguments: argparse.Namespace) -> int:
    """Prepares every run that was asked for, then executes one after the other."""
    try:
        chosen = choose(arguments.names, arguments.all)
        options = options_of(arguments)
        runs = [
            declared.prepare(wishes)
            for declared in chosen
            for wishes in placed(options, declared)
        ]
    except (ValueError, OSError) as problem:
        if processes.rank() == 0:
            print(f"lbdl run: {problem}", file=sys.stderr)
        return BAD_REQUEST
    for run in runs:
        report(run)
    return 0


def choose(names: list[str], every: bool) -> list[Experiment]:
    """The experiments that are asked for; ValueError where none is, or one is
    unknown."""
    if every == bool(names):
        raise ValueError(
            "give the names of experiments, or --all; `lbdl experiments` lists those there are"
        )
    names = [*find()] if every else names
    return [find_one(name) for name in dict.fromkeys(names)]


def options_of(arguments: argparse.Namespace) -> Options:
    """The wishes that the command line tells."""
    wishes = {f.name for f in fields(Options)}
    told = {
        name: value for name, value in vars(arguments).items() if name in wishes
    }
    if "device" in told:
        told["device"] = choose_device(told["device"], asker="--device")
    return Options(**told)


def placed(options: Options, declared: Experiment) -> list[Options]:
    """The same wishes, with the folder where the results of an experiment go.

    What is recorded has a witness, recorded with it: the small scale, which tests
    run again.
    """
    if not options.record:
        return [replace(options, folder=options.folder or OUT)]
    folder = (options.folder or RECORDED) / declared.chapter
    options = replace(options, folder=folder)
    return [
        replace(options, scale=scale)
        for scale in dict.fromkeys(("small", options.scale))
    ]


def report(run: Run) -> None:
    """Executes a run, and prints where its result lies and how it came about."""
    result = run.execute()
    if not processes.is_first() or run.file is None:
        return
    size = run.file.stat().st_size
    print(f"{run.file} ({in_bytes(size)})\n    {result.provenance}")
    if size > LARGEST:
        print(f"    too large to be recorded: at most {in_bytes(LARGEST)}")
    for name, number in result.numbers.items():
        print(f"    {name} = {number}")


if __name__ == "__main__":
    sys.exit(main())
