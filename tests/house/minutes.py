"""Where the minutes of `make test` went: `python -m tests.house.minutes`, after it;
with `--record` it writes them into CONTRIBUTING.

Reads what the run left in `_build`: the start of each step (`steps.txt`), and every
test with its time (`tests.xml`). A test that worked longer than ten seconds, by the
processor and not by the clock, says why: `@pytest.mark.slow(reason="...")`. Those that
do not are listed, and are a failure.
"""

import sys
import xml.etree.ElementTree as xml
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "_build"
FIRST, LAST = "<!-- minutes -->", "<!-- end of minutes -->"
LONG = 10  # seconds
KINDS = {  # by the beginning of a test's class name; the first that fits
    "book.": "cells of notebooks, compared",
    "tests.book.test_lab": "JupyterLab, in a browser",
    "tests.book.test_explorers": "sliders, in a browser",
    "tests.book.test_drags": "sliders, in a browser",
    "tests.book": "pages, search and editions, in a browser",
    "tests.house.test_calls": "every public function, called by mistake",
    "tests.house": "the plan of the house, the extension",
    "tests.experiments": "experiments",
    "tests.lab": "runs: killed, resumed, in two processes",
    "tests.notebook": "sliders and checks",
    "tests.core": "data, seeds, training",
    "tests": "topics, against references",
}


@dataclass(frozen=True)
class Case:
    """A test: its kind, its name, its seconds, and why it may take long."""

    kind: str
    name: str
    seconds: float  # by the clock
    work: float  # by the processor, where the test's own processes do the work
    reason: str


def cases(report: Path) -> Iterator[Case]:
    """The tests of a report in JUnit's format."""
    for case in xml.parse(report).iter("testcase"):
        place = case.get("classname", "").replace("/", ".")
        kind = next(
            kind for start, kind in KINDS.items() if place.startswith(start)
        )
        noted = {p.get("name"): p.get("value", "") for p in case.iter("property")}
        yield Case(
            kind,
            f"{place}::{case.get('name')}",
            float(case.get("time", 0)),
            float(noted.get("work", 0)),
            noted.get("slow", ""),
        )


def steps(file: Path) -> Iterator[tuple[str, float]]:
    """The steps of `make test` and their minutes; each lasts until the next."""
    lines = [line.split(maxsplit=1) for line in file.read_text().splitlines()]
    for (start, name), (end, _) in pairwise(lines):
        yield name, (float(end) - float(start)) / 60


def table(build: Path, found: list[Case]) -> Iterator[str]:
    """Minutes of the steps by the clock, then those of the tests by kind, summed
    over the workers."""
    yield "| step of `make test` | minutes |\n|---|---|"
    for name, minutes in steps(build / "steps.txt"):
        yield f"| {name} | {minutes:.1f} |"
    yield "\n| tests, by kind | how many | minutes, all workers together |\n|---|---|---|"
    seconds = defaultdict(list)
    for case in found:
        seconds[case.kind].append(case.seconds)
    for kind, each in sorted(seconds.items(), key=lambda pair: -sum(pair[1])):
        yield f"| {kind} | {len(each)} | {sum(each) / 60:.1f} |"


def silent(found: list[Case]) -> list[Case]:
    """The tests that work long and do not say why, the longest first."""
    long = [case for case in found if case.work > LONG and not case.reason]
    return sorted(long, key=lambda case: -case.work)


def record(lines: str, page: Path = ROOT / "CONTRIBUTING.md") -> None:
    """Write the table where contributors read it, between its two marks."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(FIRST)
    _, after = rest.split(LAST)
    page.write_text(f"{before}{FIRST}\n{lines}\n{LAST}{after}", encoding="utf-8")


def main(build: Path = BUILD) -> int:
    """Print the table; 1 if a long test does not say why."""
    found = list(cases(build / "tests.xml"))
    lines = "\n".join(table(build, found))
    print(lines)
    if "--record" in sys.argv:
        record(lines)
    for case in silent(found):
        print(f"{case.work:.0f} s without a reason: {case.name}")
    return int(bool(silent(found)))


if __name__ == "__main__":
    sys.exit(main())
