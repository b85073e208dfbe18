"""Everything that waits for a GPU, in one bounded command: `make gpu`.

    python -m tests.house.gpu [--minutes 12] [--folder _build/gpu] [--copy FOLDER]
    python -m tests.house.gpu --take FOLDER
    python -m tests.house.gpu --device cpu --scale small [--only TEXT]

Steps, the most important first: kernels against their oracles, `pytest -m cuda`, the
experiments at full scale, the races. Each is a process of its own, with a limit of its
own; when it ends, what it said and what it recorded is in the folder, in three files
that are small enough to carry. Started again, it goes on: what is done stays, what was
not begun comes first, what failed comes last.

`--take` copies what another machine recorded to where the book finds it, and refuses
what is not of this very commit. The last line rehearses without a GPU.

It runs under the Python that starts it, needs no environment of its own, and says which
packages it misses. Wheels of pure Python in `_build/wheels` are imported as they lie:
so a machine without a registry is given what it lacks.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "_build/gpu"
WHEELS = ROOT / "_build/wheels"
NEEDED = {  # and what is left out without it
    "torch": "everything",
    "numpy": "everything",
    "triton": "the kernels",
    "pytest": "the tests",
    "hypothesis": "the tests",
    "scipy": "many tests and experiments",
    "sklearn": "many tests and experiments",
    "mnist1d": "double_descent, metric_learning and pixel_sequences",
    "requests": "what needs mnist1d",
}
ROOMS = (
    "models",
    "foundations",
    "geometry",
    "frontiers",
    "applications",
    "core",
    "lab",
    "experiments",
)
EXPERIMENTS, RACES = "lbdl/experiments/recorded", "bench/recorded"
STATE, LOG, RECORDED = "steps.json", "log.txt", "recorded.zip"
KEPT = 20_000  # characters of what a step said
GRACE = 15  # seconds for a process to end by itself
LEAST = 15  # seconds that must be left for a step to begin
NOTHING_COLLECTED = 5  # pytest: no test of that kind there
INTERRUPTED = 130


@dataclass(frozen=True)
class Step:
    """One process: the arguments of Python, how long it may take, and how long it
    probably does, in seconds."""

    name: str
    command: tuple[str, ...]
    limit: float
    expected: float = LEAST


def tests(name: str, *arguments: str, limit: float) -> Step:
    """Tests, by no option of this house that needs a plugin."""
    how = "-m pytest -q -o addopts= -p no:cacheprovider -rfE --tb=short"
    more = "--continue-on-collection-errors"
    return Step(name, (*how.split(), more, *arguments), limit)


def kernels() -> Iterator[Step]:
    """Every kernel against its oracle."""
    for file in sorted(ROOT.glob("tests/**/test_*triton.py")):
        place = str(file.relative_to(ROOT))
        yield tests(f"kernel {place}", place, limit=150)


def on_cuda() -> Iterator[Step]:
    """The tests marked `cuda`; those that are slow too come after the races."""
    for room in ROOMS:
        which = ("-m", "cuda and not slow", f"tests/{room}")
        yield tests(f"cuda tests/{room}", *which, limit=180)


def slow_on_cuda() -> Iterator[Step]:
    """The slow tests marked `cuda`, room by room."""
    for room in ROOMS:
        which = ("-m", "cuda and slow", f"tests/{room}")
        yield tests(f"slow cuda tests/{room}", *which, limit=300)


def experiments(
    place: Path, device: str, scale: str, record: bool
) -> Iterator[Step]:
    """Every experiment, and with it the small scale, its witness."""
    from lbdl.experiments import find
    from lbdl.experiments.work import estimate

    for name, declared in find().items():
        words = f"-m lbdl run {name} --scale {scale} --device {device} --out"
        command = (*words.split(), str(place / EXPERIMENTS))
        seconds = estimate(name, declared.parameters(scale), device) or LEAST
        full = (*command, *["--record"] * record)
        yield Step(f"{scale} {name}", full, limit=240, expected=seconds)


def races(place: Path, device: str, record: bool) -> Iterator[Step]:
    """The races of every topic that has some for a GPU; elsewhere in rehearsal."""
    from bench.__main__ import topics_on_cuda

    to = ("--record", "--out", str(place / RACES)) if record else ()
    how = to if device == "cuda" else ("--rehearse",)
    for topic in topics_on_cuda():
        yield Step(f"races {topic}", ("-m", topic, *how), limit=120)


def all_steps(place: Path, device: str, scale: str, record: bool) -> list[Step]:
    """The steps, the most important first."""
    return [
        *kernels(),
        *on_cuda(),
        *experiments(place, device, scale, record),
        *races(place, device, record),
        *slow_on_cuda(),
    ]


@dataclass
class Notes:
    """What a folder keeps: outcomes, what was said, what was recorded.

    Args:
        folder: the files lie there, three of them.
        commit: whose code it is; a folder of another commit is refused.
        copy: another folder that holds the same after every step.
    """

    folder: Path
    commit: str
    copy: Path | None = None
    machine: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.steps: dict[str, dict[str, Any]] = {}
        self.work.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / STATE).exists():
            self._take_up(json.loads((self.folder / STATE).read_text("utf-8")))

    @property
    def work(self) -> Path:
        """Where steps write: beside the folder, for checkpoints are large."""
        return self.folder.with_name(self.folder.name + "-work")

    def _take_up(self, before: dict[str, Any]) -> None:
        if before["commit"] != self.commit:
            raise ValueError(
                f"{self.folder} holds steps of commit {before['commit']}, this is "
                f"{self.commit}: give another --folder, or delete that one"
            )
        self.steps = before["steps"]
        if (self.folder / RECORDED).exists():
            unpack(self.folder / RECORDED, self.work)

    def outcome(self, step: Step) -> str:
        """What became of a step: "" where it was never begun."""
        return self.steps.get(step.name, {}).get("outcome", "")

    def note(self, step: Step, outcome: str, seconds: float, said: str) -> None:
        """Write down how a step ended, and keep what it recorded."""
        last = said.strip().splitlines()[-1:] or [""]
        self.steps[step.name] = {
            "outcome": outcome,
            "seconds": round(seconds, 1),
            "last": last[0][-300:],
        }
        heading = f"\n===== {step.name}: {outcome}, {seconds:.0f} s\n"
        with open(self.folder / LOG, "a", encoding="utf-8") as log:
            log.write(heading + cut(said))
        pack(self.work, self.folder / RECORDED)
        self.save()

    def save(self) -> None:
        """The outcomes so far, in one move; and all files in the other folder."""
        content = {
            "commit": self.commit, "machine": self.machine, "steps": self.steps,
        }  # fmt: skip
        write_whole(self.folder / STATE, json.dumps(content, indent=1).encode())
        if self.copy:
            shutil.copytree(self.folder, self.copy, dirs_exist_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """A file in one move."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def cut(said: str) -> str:
    """The beginning and the end of what was said."""
    if len(said) <= KEPT:
        return said
    left_out = len(said) - KEPT
    half = KEPT // 2
    return f"{said[:half]}\n... {left_out} characters left out ...\n{said[-half:]}"


def results_in(place: Path) -> list[Path]:
    """What was recorded in a folder: no checkpoint, nothing half written."""
    found = [*place.rglob("*.npz"), *place.rglob("*.json")]
    return sorted(file for file in found if not file.name.startswith("."))


def pack(place: Path, archive: Path) -> None:
    """All that was recorded in one file, in one move."""
    partial = archive.with_name(archive.name + ".partial")
    with zipfile.ZipFile(partial, "w") as file:
        for each in results_in(place):
            file.write(each, each.relative_to(place))
    os.replace(partial, archive)


def unpack(archive: Path, place: Path) -> None:
    """The inverse of `pack`; what is there already stays."""
    with zipfile.ZipFile(archive) as file:
        missing = [n for n in file.namelist() if not (place / n).exists()]
        file.extractall(place, missing)


def paths() -> list[str]:
    """Where Python looks beside what is installed: here, then in wheels."""
    wheels = sorted(str(wheel) for wheel in WHEELS.glob("*.whl"))
    return [str(ROOT), str(ROOT / "book/_ext"), *wheels]


def run_step(step: Step, seconds: float, said: Path) -> str:
    """Runs a step in a process of its own; says how it ended."""
    environment = {
        **os.environ,
        "LBDL_PROGRESS": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(paths()),
    }
    with open(said, "wb") as output:
        child = subprocess.Popen(
            [sys.executable, *step.command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            return "too long" if seconds >= step.limit else "no time"
        finally:
            end(child)
    nothing = "pytest" in step.command and code == NOTHING_COLLECTED
    return "done" if code == 0 or nothing else "failed"


def end(child: subprocess.Popen) -> None:
    """A process, and all that it started, end: asked first, so that pytest still tells
    what failed, and killed if they do not."""
    for how, patience in ((signal.SIGINT, GRACE), (signal.SIGKILL, None)):
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, how)
            with suppress(subprocess.TimeoutExpired):
                child.wait(patience)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


ORDER = {
    "": 0,
    "no time": 0,
    "begun": 1,
    "interrupted": 1,
    "failed": 2,
    "too long": 3,
}


def waiting(steps: Sequence[Step], notes: Notes) -> list[Step]:
    """What is not done: first what was never tried to its end."""
    left = [step for step in steps if notes.outcome(step) != "done"]
    return sorted(left, key=lambda step: ORDER[notes.outcome(step)])


def carry_out(steps: Sequence[Step], notes: Notes, until: float) -> None:
    """Runs what is not done, one after the other, while the clock allows."""
    for step in waiting(steps, notes):
        left = until - time.monotonic()
        if left < max(LEAST, min(step.expected, step.limit)):
            continue
        carry_out_one(step, notes, min(step.limit, left))


def carry_out_one(step: Step, notes: Notes, seconds: float) -> None:
    """Runs a step, and notes how it ended, whatever happens."""
    notes.steps[step.name] = {"outcome": "begun"}
    notes.save()
    said, outcome, begun = notes.work / "said.txt", "interrupted", time.monotonic()
    try:
        outcome = run_step(step, seconds, said)
    finally:
        text = said.read_text("utf-8", errors="replace") if said.exists() else ""
        notes.note(step, outcome, time.monotonic() - begun, text)
        last = notes.steps[step.name]["last"]
        print(f"{outcome:<12}{step.name}  {last}", flush=True)


def missing() -> dict[str, str]:
    """Packages that are not here, and what is left out without them."""
    return {name: what for name, what in NEEDED.items() if find_spec(name) is None}


def machine() -> dict[str, Any]:
    """The device and the versions."""
    import torch

    there = torch.cuda.is_available()
    found = {"python": sys.version.split()[0], "torch": torch.__version__}
    return found | {
        "cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name() if there else "no CUDA device",
        "missing": sorted(missing()),
    }


def problem(device: str) -> str | None:
    """Why nothing can be done here, in words."""
    lacking = missing()
    if "everything" in lacking.values():
        return f"{', '.join(lacking)} cannot be imported by {sys.executable}"
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return "there is no CUDA device here; --device cpu --scale small rehearses"
    return None


def summary(steps: Sequence[Step], notes: Notes) -> str:
    """How many steps ended in which way, and what to do next."""
    ended = [notes.outcome(step) or "not begun" for step in steps]
    counts = {how: ended.count(how) for how in dict.fromkeys(ended)}
    told = ", ".join(f"{count} {how}" for how, count in counts.items())
    more = "" if set(ended) == {"done"} else "; the same command goes on"
    return f"{told}{more}\nwritten to {notes.copy or notes.folder}"


# --- Taking what another machine recorded


def entries(archive: Path) -> Iterator[tuple[str, bytes]]:
    """What an archive holds: place in this repository, content."""
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            yield name, file.read(name)


def objection(name: str, content: bytes, commit: str) -> str | None:
    """Why an entry is not taken; None: it is."""
    place = Path(name)
    if ".." in place.parts or not name.startswith((f"{EXPERIMENTS}/", f"{RACES}/")):
        return "is no place where results lie"
    told = of_race(content) if place.suffix == ".json" else of_result(content)
    if isinstance(told, str):
        return told
    made_of, code_is_this = told
    if made_of.endswith("-dirty") or made_of == "unknown":
        return f"was made of code that no commit holds ({made_of})"
    if made_of != commit:
        return f"was made at commit {made_of}, this is {commit}"
    return None if code_is_this else "was made of other code than its commit holds"


def of_race(content: bytes) -> tuple[str, bool]:
    """Of a record of races: its commit; its code is not fingerprinted."""
    return json.loads(content).get("commit", "unknown"), True


def of_result(content: bytes) -> tuple[str, bool] | str:
    """Of a result: its commit, and whether its code is this code; or why not."""
    from lbdl.experiments import LARGEST, find_one
    from lbdl.lab.closure import code_of
    from lbdl.lab.results import read_result

    if len(content) > LARGEST:
        return f"is larger than {LARGEST} bytes"
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "taken.npz")
        file.write_bytes(content)
        result = read_result(file)
    return result.commit, result.code == code_of(
        find_one(result.experiment).function
    )


def take(folder: Path, root: Path = ROOT) -> int:
    """Copies what was recorded to its place, all of it or nothing."""
    from lbdl.lab.results import commit, require_clean

    try:
        require_clean(commit())
    except ValueError as refusal:
        return refuse([str(refusal)])
    found = dict(entries(folder / RECORDED))
    objections = {name: objection(name, x, commit()) for name, x in found.items()}
    refused = [f"{name} {why}" for name, why in objections.items() if why]
    if refused:
        return refuse([*refused, "nothing was taken"])
    for name, content in found.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(root / name, content)
        print(f"taken: {name}")
    return 0


def refuse(reasons: list[str]) -> int:
    print("\n".join(f"gpu: {reason}" for reason in reasons), file=sys.stderr)
    return 2


# --- The command


def asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--minutes", type=float, default=12, help="begin nothing after these")
    add("--folder", type=Path, default=FOLDER, help="what is kept lies there")
    add("--copy", type=Path, help="after every step it lies there too")
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--scale", default="full", help="of the experiments")
    add("--only", default="", help="steps whose names hold this text")
    add("--list", action="store_true", help="say the steps and what became of them")
    add("--take", type=Path, metavar="FOLDER", help="copy what it recorded to here")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """1 where a step is not done, 2 where nothing could be."""
    options, until = asked(arguments), time.monotonic()
    sys.path += paths()
    if options.take:
        return take(options.take)
    if why := problem(options.device):
        return refuse([why])
    for name, what in missing().items():
        print(f"without {name}, {what} cannot run here")
    try:
        steps, notes = prepared(options)
    except ValueError as refusal:
        return refuse([str(refusal)])
    if options.list:
        for step in steps:
            print(f"{notes.outcome(step) or 'not begun':<12}{step.name}")
        return 0
    return bounded(steps, notes, until + 60 * options.minutes)


def prepared(options: argparse.Namespace) -> tuple[list[Step], Notes]:
    """The steps that are asked for, and what is known of them."""
    from lbdl.lab.results import commit

    made_of, held = commit(), True
    if made_of == "unknown" or made_of.endswith("-dirty"):
        held = False
        print(f"no commit holds this code ({made_of}): nothing can be recorded")
    folder = options.folder.resolve()
    notes = Notes(folder, made_of, options.copy, machine())
    steps = all_steps(notes.work, options.device, options.scale, held)
    return [step for step in steps if options.only in step.name], notes


def bounded(steps: Sequence[Step], notes: Notes, until: float) -> int:
    """The steps, until the clock or somebody says stop."""
    for how in (signal.SIGINT, signal.SIGTERM):  # a shell's background ignores one
        signal.signal(how, signal.default_int_handler)
    try:
        carry_out(steps, notes, until)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    print(summary(steps, notes))
    return int(any(notes.outcome(step) != "done" for step in steps))


if __name__ == "__main__":
    sys.exit(main())
