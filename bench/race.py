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
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import time
import timeit
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

RECORDED = Path(__file__).parent / "recorded"
ROUNDS = 5  # turns each, at least
SECONDS = 1.5  # fast jobs take more turns, until this much time is spent
MOST_ROUNDS = 51


@dataclass(frozen=True)
class Race:
    """One job for two runners.

    Args:
        job: what is done, with its shape, in a few words.
        peer: what a user would call instead.
        ours, theirs: functions without arguments that do the job; where there is a `reference`,
            they return a tensor, an array, or a tuple of these.
        goal: the highest ratio of times, ours / theirs, that counts as reached; None: only measure.
        reference: a function that returns the true values in float64. Ours may then err no more than theirs
            (one unit of rounding of the largest result counts as none).
        memory_goal: the highest ratio of peak extra memory that counts as reached; None: not measured.
            Only memory that torch allocates is seen.
        floor: the calls into the linear algebra library that the job cannot do without, and nothing else. Its time
            over the peer's is the lowest ratio that our code could reach on this machine.
        note: a remark for the record.
    """

    job: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    goal: float | None = None
    reference: Callable[[], Any] | None = None
    memory_goal: float | None = None
    floor: Callable[[], Any] | None = None
    note: str = ""


def main(
    topic: str | ModuleSpec | None,
    races: Iterable[Race],
    packages: Iterable[str] = (),
) -> None:
    """Run the races of one topic, print a table, and with `--record` write `bench/recorded/<part>/<topic>.json`.

    Args:
        topic: the race module's `__spec__`, or "<part>/<topic>".
        races: the races, best as a generator.
        packages: the peers' distributions, whose versions go into the record.
    """
    name = topic_name(topic)
    parser = argparse.ArgumentParser(description=f"The races of {name}.")
    parser.add_argument(
        "--record", action="store_true", help="write the result to bench/recorded"
    )
    parser.add_argument(
        "--only",
        metavar="TEXT",
        default="",
        help="run only the jobs that contain TEXT",
    )
    options = parser.parse_args()
    if options.record and options.only:
        parser.error("--record needs every race: leave out --only")
    print(f"{name}, {torch.get_num_threads()} thread(s)\n{HEADER}")
    results = [run(race) for race in races if options.only in race.job]
    reached = sum(r["reached"] for r in results if r["reached"] is not None)
    print(
        f"{reached} of {sum(r['reached'] is not None for r in results)} goals reached"
    )
    if options.record:
        record(name, results, packages)


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


def run(race: Race) -> dict[str, Any]:
    """One race: errors and memory where they are asked for, then the times; prints its row."""
    errors = measure_errors(race) if race.reference else None
    memory = measure_memory(race) if race.memory_goal else None
    ours, theirs, *floor = measure_times(
        race.ours, race.theirs, *([race.floor] if race.floor else [])
    )
    result = {
        "job": race.job,
        "peer": race.peer,
        "peer_ms": round(theirs * 1e3, 4),
        "ours_ms": round(ours * 1e3, 4),
        "ratio": round(ours / theirs, 4),
        "goal": race.goal,
        "reached": reached(race, ours / theirs, errors, memory),
        "note": race.note,
    }
    result |= {"errors": errors} if errors else {}
    result |= {"memory": memory} if memory else {}
    result |= {"floor": round(floor[0] / theirs, 4)} if floor else {}
    print(row(result), flush=True)
    return result


def reached(
    race: Race, ratio: float, errors: dict | None, memory: dict | None
) -> bool | None:
    """Whether every goal of the race holds; None where it sets none."""
    held = [ratio <= race.goal] if race.goal is not None else []
    held += [errors["held"]] if errors else []
    held += [memory["ratio"] <= race.memory_goal] if memory else []
    return all(held) if held else None


def measure_times(*jobs: Callable) -> list[float]:
    """Median seconds of each, taking turns, so that a slow moment of the machine hits all.

    Without a GPU these are seconds of work of this process, so that other load does not count.
    """
    clock = timeit.default_timer if torch.cuda.is_available() else time.process_time
    threads = torch.get_num_threads()
    timers = [
        Timer("f()", globals={"f": f}, num_threads=threads, timer=clock)
        for f in jobs
    ]
    # `timeit` runs once before it measures
    first = [timer.timeit(1).mean for timer in timers]
    # a turn lasts 20 ms or more
    repeats = [max(1, int(0.02 / seconds)) for seconds in first]
    rounds = int(SECONDS / sum(max(0.02, seconds) for seconds in first))
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(min(max(rounds, ROUNDS), MOST_ROUNDS)):
        for timer, number, taken in zip(timers, repeats, times, strict=True):
            taken.append(timer.timeit(number).mean)
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


def measure_memory(race: Race) -> dict[str, float]:
    """Peak of the memory that torch holds beyond what it held at the start, in MB, and the ratio."""
    ours, theirs = peak_memory(race.ours), peak_memory(race.theirs)
    return {
        "ours_mb": round(ours / 1e6, 3),
        "peer_mb": round(theirs / 1e6, 3),
        "ratio": round(ours / theirs, 4),
    }


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
    f"{'job':<58} {'peer':<28} {'peer ms':>9} {'ours ms':>9} {'ratio':>7} {'goal':>6} {'floor':>6}  reached"
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
    times = f"{r['peer_ms']:>9.4g} {r['ours_ms']:>9.4g} {r['ratio']:>7.4f}"
    floor = f"{r['floor']:.3g}" if "floor" in r else "-"
    return f"{r['job']:<58} {r['peer']:<28} {times} {goal:>6} {floor:>6}  {verdict:<7}   {errors:<20}  {memory}"


def record(
    name: str, results: list[dict[str, Any]], packages: Iterable[str]
) -> None:
    """Write what was measured, and on what kind of machine."""
    path = RECORDED / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {
        "topic": name,
        "date": date.today().isoformat(),
        "machine": machine(packages),
        "races": results,
    }
    path.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    print(f"recorded in bench/recorded/{name}.json")


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """The machine in general terms, and the versions that matter."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: version(package) for package in packages},
    }


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
