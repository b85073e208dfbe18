"""The same files in every clone, and the same words on every terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .plan import ROOT

FILES = {
    "topic.py": b"x = 1\n",
    "run": b"#!/bin/sh\nexit 0\n",
    "book.ipynb": b'{"a": "\\r\\n"}\n',
    "result.npz": b"PK\r\n\x00\n",
}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_a_clone_that_wants_crlf_has_the_bytes_of_the_repository(tmp_path: Path):
    """As git on Windows is set up: `core.autocrlf=true`."""
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    git(there, "init", "-q")
    (there / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    for name, content in FILES.items():
        (there / name).write_bytes(content)
    git(there, "add", ".")
    git(there, "commit", "-qm", "all")
    git(tmp_path, "clone", "-q", "-c", "core.autocrlf=true", str(there), str(here))
    assert {name: (here / name).read_bytes() for name in FILES} == FILES
    assert git(here, "status", "--porcelain") == ""


def test_no_file_of_the_repository_has_other_line_ends():
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git")
    stored = [
        line.split()[0] for line in git(ROOT, "ls-files", "--eol").splitlines()
    ]
    assert set(stored) <= {"i/lf", "i/-text", "i/none"}


def said_to_ascii(*command: str) -> str:
    """What Python prints into a pipe that holds ASCII only, nothing of ours set."""
    plain = {
        name: value for name, value in os.environ.items() if "LBDL_" not in name
    }
    done = subprocess.run(
        [sys.executable, *command],
        env={
            **plain,
            **ASCII,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    return done.stdout


CALLS = """
import os
os.environ["MPLBACKEND"] = "agg"
from lbdl.models.positions import sinusoidal
from lbdl.notebook import Slider, check, explore, show
check("half of two is one", 2 / 2, 1.0, proves="eq-half")
show(sinusoidal)
explore(lambda lr: None, lr=Slider(0.1, 1.0, at=0.5), alt="a picture")
"""


def test_a_chapters_calls_speak_plainly_in_a_plain_python_and_an_ascii_pipe():
    lines = said_to_ascii("-c", CALLS).splitlines()
    assert lines[0] == "? half of two is one ? eq-half"
    assert lines[1].startswith("def sinusoidal(")
    assert lines[-1].startswith("explore(lr: 0.1 ? 1")


def test_the_command_speaks_ascii():
    assert "memory_against_depth" in said_to_ascii("-m", "lbdl", "experiments")
