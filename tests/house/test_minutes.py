"""The table of where the minutes go, and who has to say why they take long."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import minutes
from .minutes import FIRST, LAST, cases, main, record, steps
from .plan import ROOT

SUITE = """
import time
import pytest

@pytest.fixture
def work():
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass

def test_it_waits():
    time.sleep(0.6)

def test_it_works(work):
    pass

@pytest.mark.slow(reason="it counts to a million")
def test_it_says_why(work):
    pass
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is left of a run of three tests, with the conftest of all tests."""
    folder = tmp_path_factory.mktemp("build")
    place = folder / "tests" / "house"
    place.mkdir(parents=True)
    for package in (place, place.parent):
        (package / "__init__.py").touch()
    (place / "test_three.py").write_text(SUITE)
    shutil.copy(ROOT / "tests" / "conftest.py", place.parent)
    (folder / "steps.txt").write_text("60 style\n180 tests\n240 end\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--junitxml", "tests.xml", "tests"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_slow_test_gives_its_reason():
    bare = re.compile(r"mark\.slow\b(?!\(reason=)")
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__) and bare.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_work_counts_and_waiting_does_not(build: Path):
    waits, works, says_why = cases(build / "tests.xml")
    assert waits.work < 0.2 and waits.seconds > 0.5
    assert works.work >= 0.3 and not works.reason
    assert says_why.work >= 0.3 and says_why.reason == "it counts to a million"
    assert works.kind == "the plan of the house, the extension"


def test_who_works_long_without_a_reason_is_named(build: Path, monkeypatch, capsys):
    assert main(build) == 0, "nothing takes ten seconds"
    assert "| style | 2.0 |" in capsys.readouterr().out
    monkeypatch.setattr(minutes, "LONG", 0.25)
    assert main(build) == 1
    named = capsys.readouterr().out.partition("without a reason")[2]
    assert "test_it_works" in named and "says_why" not in named


def test_a_new_table_takes_the_place_of_the_old(tmp_path: Path):
    page = tmp_path / "CONTRIBUTING.md"
    page.write_text(f"before\n{FIRST}\n{LAST}\nafter\n")
    for lines in ("| old |", "| new |"):
        record(lines, page)
    assert page.read_text() == f"before\n{FIRST}\n| new |\n{LAST}\nafter\n"
    own = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert own.count(FIRST) == own.count(LAST) == 1


def test_a_step_lasts_until_the_next(tmp_path):
    (tmp_path / "steps.txt").write_text("60 style and types\n180 tests\n240 end\n")
    found = list(steps(tmp_path / "steps.txt"))
    assert found == [("style and types", 2.0), ("tests", 1.0)]
