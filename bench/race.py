"""The race harness: one job, two ways to do it, in one process, turn by turn.

A topic's race file is short:

    def races() -> Iterator[Race]:
        x = torch.randn(4096, 1024)
        yield Race(job="sparsemax, forward, (4096, 1024)", peer="entmax.sparsemax", goal=0.12,
                   ours=lambda: fast_sparsemax(x), theirs=lambda: entmax.sparsemax(x))

    if __name__ == "__main__":
        main(__spec__, races(), packages=["entmax"])

It runs as `python -m bench.<part>.<topic> [--record] [--only TEXT]`. Write `races` as a generator: then each
race builds its inputs when its turn comes, and frees them after.

What is raced on a GPU stands in a file of its own beside it, `<topic>_cuda.py`, which imports no peer that a machine
may lack:

    def races(place: Place) -> Iterator[Race]:
        x = torch.randn(*place.shape(4096, 1024), device=place.device)
        yield Race(..., theirs=of("entmax", lambda entmax: lambda: entmax.sparsemax(x)), table=x, floor_goal=2.2)

    if __name__ == "__main__":
        main(__spec__, races, packages=["entmax"])

There times are those of CUDA events, the floor is one copy of the table, and the record is `<topic>.cuda.json`.
`--rehearse` runs it without a GPU, on tables of a few rows, and measures nothing that counts.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

from lbdl.foundations.computation.roofline import turn_by_events
from lbdl.lab.results import commit

RECORDED = Path(__file__).parent / "recorded"
ROUNDS = 5  # turns each, at least
SECONDS = 1.5  # fast jobs take more turns, until this much time is spent
MOST_ROUNDS = 51
TURN = 0.02  # seconds that a turn lasts at least
ON_CUDA = "_cuda"  # the end of a race file's name
# Before a peer is imported: some change it (QuantEcon, by Numba).
THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class Race:
    """One job for two runners.

    Args:
        job: what is done, with its shape, in a few words.
        peer: what a user would call instead.
        ours, theirs: functions without arguments that do the job; where there is a `reference`,
            they return a tensor, an array, or a tuple of these. Without theirs (None: the peer is not installed
            here) ours is measured against the floor alone.
        goal: the highest ratio of times, ours / theirs, that counts as reached; None: only measure.
        reference: a function that returns the true values in float64. Ours may then err no more than theirs
            (one unit of rounding of the largest result counts as none).
        memory_goal: the highest ratio of peak extra memory that counts as reached; None: not measured.
            Only memory that torch allocates is seen.
        floor: the calls into the linear algebra library that the job cannot do without, and nothing else. Its time
            over the peer's is the lowest ratio that our code could reach on this machine.
        table: what the job must read and write at least once: its copy is the floor.
        floor_goal: the highest ratio of times, ours / floor, that counts as reached.
        note: a remark for the record.
    """

    job: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any] | None
    goal: float | None = None
    reference: Callable[[], Any] | None = None
    memory_goal: float | None = None
    floor: Callable[[], Any] | None = None
    table: torch.Tensor | None = None
    floor_goal: float | None = None
    note: str = ""

    @property
    def lowest(self) -> Callable[[], Any] | None:
        """What the job cannot do without."""
        if self.floor or self.table is None:
            return self.floor
        table, copy = self.table, torch.empty_like(self.table)
        return lambda: copy.copy_(table)


@dataclass(frozen=True)
class Place:
    """Where races take place that are made for a GPU: there, or in rehearsal elsewhere, with tables of a few rows."""

    device: str = "cuda"

    def shape(self, *sizes: int) -> tuple[int, ...]:
        """The sizes themselves; in rehearsal none above 32."""
        return sizes if self.device == "cuda" else tuple(min(n, 32) for n in sizes)


def of(
    peer: str, job: Callable[[Any], Callable[[], Any]]
) -> Callable[[], Any] | None:
    """The job of a peer that is imported now; None where it is not installed, or does not load."""
    try:
        return job(import_module(peer))
    except Exception as problem:
        print(f"{peer} does not load here: {problem}")
        return None


def main(
    topic: str | ModuleSpec | None,
    races: Iterable[Race] | Callable[[Place], Iterable[Race]],
    packages: Iterable[str] = (),
) -> None:
    """Run the races of one topic, print a table, and with `--record` write `bench/recorded/<part>/<topic>.json`.

    Args:
        topic: the race module's `__spec__`, or "<part>/<topic>".
        races: the races, best as a generator; those for a GPU as a function of the place.
        packages: the peers' distributions, whose versions go into the record.
    """
    name = topic_name(topic)
    options = asked(name)
    device = device_of(name, options.rehearse)
    found = races(Place(device)) if callable(races) else races
    print(f"{name}, {THREADS} thread(s)\n{HEADER}")
    results = [
        run(race, device, options.rehearse)
        for race in found
        if options.only in race.job
    ]
    reached = sum(r["reached"] for r in results if r["reached"] is not None)
    print(
        f"{reached} of {sum(r['reached'] is not None for r in results)} goals reached"
    )
    if options.record:
        record(name, results, packages, options.out)


def asked(name: str) -> argparse.Namespace:
    """What the command line tells."""
    parser = argparse.ArgumentParser(description=f"The races of {name}.")
    add = parser.add_argument
    add("--record", action="store_true", help="write the result to bench/recorded")
    add("--out", type=Path, default=RECORDED, help="write it there instead")
    add("--only", metavar="TEXT", default="", help="the jobs that contain TEXT")
    add("--rehearse", action="store_true", help="of races for a GPU: without one")
    options = parser.parse_args()
    if options.record and (options.only or options.rehearse):
        parser.error("--record needs every race: leave out --only and --rehearse")
    if options.rehearse and not name.endswith(ON_CUDA):
        parser.error("only races for a GPU are rehearsed")
    return options


def device_of(name: str, rehearse: bool) -> str:
    """Where the races of a file run; leaves in words where that is not here."""
    if rehearse or not name.endswith(ON_CUDA):
        return "cpu"
    if not torch.cuda.is_available():
        raise SystemExit(f"{name} needs a CUDA device: here only --rehearse")
    return "cuda"


def topic_name(topic: str | ModuleSpec | None) -> str:
    """`<part>/<topic>` from a module's spec (`bench.models.softmax`) or from that text itself."""
    if topic is None:
        raise ValueError(
            "topic must be __spec__ or '<part>/<topic>', got None: run it with python -m"
        )
    text = (
        topic
        if isinstance(topic, str)
        else topic.name.removeprefix("bench.").replace(".", "/")
    )
    if text.count("/") != 1:
        raise ValueError(f"topic must read '<part>/<topic>', got {text!r}")
    return text


def run(race: Race, device: str = "cpu", once: bool = False) -> dict[str, Any]:
    """One race: errors and memory where they are asked for, then the times; prints its row."""
    errors = measure_errors(race) if race.reference and race.theirs else None
    memory = (
        measure_memory(race, device) if race.memory_goal and race.theirs else None
    )
    jobs = {"ours": race.ours, "peer": race.theirs, "floor": race.lowest}
    there = {name: job for name, job in jobs.items() if job}
    timed = measure_times(*there.values(), device=device, once=once)
    times = dict(zip(there, timed, strict=True))
    result = {
        "job": race.job,
        "peer": race.peer if race.theirs else f"{race.peer}: not installed here",
        **{f"{name}_ms": round(1e3 * t, 4) for name, t in times.items()},
        **ratios(times),
        "goal": race.goal,
        "floor_goal": race.floor_goal,
        "reached": reached(race, ratios(times), errors, memory),
        "note": race.note,
    }
    result |= {"errors": errors} if errors else {}
    result |= {"memory": memory} if memory else {}
    print(row(result), flush=True)
    return result


def ratios(times: dict[str, float]) -> dict[str, float]:
    """Ours over the peer's, the floor over the peer's, ours over the floor: of what was measured."""
    pairs = {"ratio": "ours peer", "floor": "floor peer", "floors": "ours floor"}
    return {
        name: round(times[above] / times[below], 4)
        for name, (above, below) in ((n, pair.split()) for n, pair in pairs.items())
        if above in times and below in times
    }


def reached(
    race: Race, found: dict[str, float], errors: dict | None, memory: dict | None
) -> bool | None:
    """Whether every goal of the race holds; None where it sets none that was measured."""
    goals = {"ratio": race.goal, "floors": race.floor_goal}
    held = [
        found[name] <= goal
        for name, goal in goals.items()
        if goal is not None and name in found
    ]
    held += [errors["held"]] if errors else []
    held += [memory["ratio"] <= race.memory_goal] if memory else []
    return all(held) if held else None


Clock = Callable[[Callable[[], Any], int], float]


def work_clock(job: Callable[[], Any], number: int) -> float:
    """Seconds of work of this process for one run of a job, so that other load does not count."""
    timer = Timer(
        "f()", globals={"f": job}, num_threads=THREADS, timer=time.process_time
    )
    return timer.timeit(number).mean  # which runs once before it measures


def event_clock(job: Callable[[], Any], number: int) -> float:
    """Seconds between two events on the GPU's own clock, for one run of a job: waiting for launches counts."""
    job()

    def turns() -> None:
        for _ in range(number):
            job()

    return turn_by_events(turns) / number


def measure_times(
    *jobs: Callable[[], Any], device: str = "cpu", once: bool = False
) -> list[float]:
    """Median seconds of each, taking turns, so that a slow moment of the machine hits all."""
    clock: Clock = event_clock if device == "cuda" else work_clock
    first = [max(clock(job, 1), 1e-9) for job in jobs]
    if once:
        return first
    if device == "cuda":  # the first run made kernels and workspaces
        first = [max(clock(job, 1), 1e-9) for job in jobs]
    repeats = [max(1, int(TURN / seconds)) for seconds in first]
    rounds = int(SECONDS / sum(max(TURN, seconds) for seconds in first))
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(min(max(rounds, ROUNDS), MOST_ROUNDS)):
        for job, number, taken in zip(jobs, repeats, times, strict=True):
            taken.append(clock(job, number))
    return [median(taken) for taken in times]


def measure_errors(race: Race) -> dict[str, Any]:
    """Largest absolute error of each runner against the float64 reference."""
    truth = tensors(race.reference()) if race.reference else []
    results = tensors(race.ours()), tensors(race.theirs())
    ours, theirs = (
        max(float((a - b).abs().max()) for a, b in zip(r, truth, strict=True))
        for r in results
    )
    rounding = max(
        torch.finfo(a.dtype).eps * float(b.abs().max())
        for a, b in zip(results[0], truth, strict=True)
    )
    return {"ours": ours, "theirs": theirs, "held": ours <= max(theirs, rounding)}


def tensors(value: Any) -> list[torch.Tensor]:
    """The result of a job as a list of tensors on the CPU."""
    parts = value if isinstance(value, tuple | list) else [value]
    return [torch.as_tensor(part).detach().cpu() for part in parts]


def measure_memory(race: Race, device: str = "cpu") -> dict[str, float]:
    """Peak of the memory that torch holds beyond what it held at the start, in MB, and the ratio."""
    peak = peak_memory_on_cuda if device == "cuda" else peak_memory
    ours, theirs = peak(race.ours), peak(race.theirs)
    return {
        "ours_mb": round(ours / 1e6, 3),
        "peer_mb": round(theirs / 1e6, 3),
        "ratio": round(ours / theirs, 4),
    }


def peak_memory_on_cuda(job: Callable) -> int:
    """Peak extra bytes of one run, as CUDA's allocator counts them."""
    job()
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    job()
    torch.cuda.synchronize()
    return max(1, torch.cuda.max_memory_allocated() - before)


def peak_memory(job: Callable) -> int:
    """Peak extra bytes of one run: the running sum of torch's allocations and frees."""
    job()
    gc.collect()
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as recorded:
        result = job()
    events = [
        e
        for e in recorded.profiler.kineto_results.events()
        if e.name() == "[memory]"
    ]  # type: ignore[union-attr]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    del result
    return peak


HEADER = (
    f"{'job':<58} {'peer':<28} {'peer ms':>9} {'ours ms':>9} {'ratio':>7} {'goal':>6} {'floors':>6}  reached"
    "   error ours / peer     memory"
)


def row(r: dict[str, Any]) -> str:
    """One line of the table."""
    goal = "-" if r["goal"] is None else f"{r['goal']:.3g}"
    verdict = {True: "yes", False: "NO", None: "-"}[r["reached"]]
    errors = (
        f"{r['errors']['ours']:.1e} / {r['errors']['theirs']:.1e}"
        if "errors" in r
        else ""
    )
    memory = (
        f"{r['memory']['ratio']:.2f} ({r['memory']['ours_mb']:.0f} MB)"
        if "memory" in r
        else ""
    )
    floor = f"{r['floors']:.3g}" if "floors" in r else "-"
    return (
        f"{r['job']:<58} {r['peer']:<28} {cell(r, 'peer_ms', 9)} {cell(r, 'ours_ms', 9)} "
        f"{cell(r, 'ratio', 7)} {goal:>6} {floor:>6}  {verdict:<7}   {errors:<20}  {memory}"
    )


def cell(r: dict[str, Any], name: str, width: int) -> str:
    """A number of the table, or a dash where it was not measured."""
    return f"{r[name]:>{width}.4g}" if name in r else f"{'-':>{width}}"


def record(
    name: str,
    results: list[dict[str, Any]],
    packages: Iterable[str],
    folder: Path = RECORDED,
) -> None:
    """Write what was measured, on what kind of machine, and of which commit."""
    on_cuda = name.endswith(ON_CUDA)
    topic = name.removesuffix(ON_CUDA)
    path = folder / f"{topic}{'.cuda' * on_cuda}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {
        "topic": topic,
        "date": date.today().isoformat(),
        "commit": commit(),
        "machine": machine(packages, on_cuda),
        "races": results,
    }
    path.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    print(f"recorded in {path}")


def machine(packages: Iterable[str], on_cuda: bool = False) -> dict[str, Any]:
    """The machine in general terms, and the versions that matter."""
    return {
        **({"gpu": torch.cuda.get_device_name()} if on_cuda else {}),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **versions(packages),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def cpu_model() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [
        line.partition(":")[2].strip()
        for line in lines
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()
