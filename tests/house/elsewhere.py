"""Every chapter runs where the library's wheel is installed, and nothing else of the
repository is.

    python -m tests.house.elsewhere [--with torch==2.13.0] [chapter ...]

Builds the wheel, installs it with its extra `notebook` into an empty environment,
copies the notebooks into an empty folder, and executes them there, one after the other.
`--with` says what else to install: which torch, for one. All is gone afterwards.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def wheel(folder: Path) -> Path:
    """The library's wheel, built into a folder."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w"]
    subprocess.run([*command, str(folder), str(ROOT)], check=True)
    return next(folder.glob("lbdl-*.whl"))


def environment(folder: Path, *requirements: str) -> Path:
    """An empty environment with these requirements; its commands."""
    venv.create(folder, with_pip=True)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(commands / "python"), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "--disable-pip-version-check", *requirements], check=True)
    return commands


def executed(notebook: Path, commands: Path) -> subprocess.CompletedProcess[str]:
    """The notebook, run by the environment's own Jupyter, nothing of ours set."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LBDL_", "PYTHON", "JUPYTER", "IPYTHON"))
    }
    return subprocess.run(
        [str(commands / "jupyter"), "execute", "--timeout=600", notebook.name],
        cwd=notebook.parent,
        env=plain | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )


def main() -> int:
    """How many chapters fail."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("chapters", nargs="*")
    parser.add_argument("--with", dest="more", action="append", default=[])
    asked = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        built = wheel(Path(place, "wheel"))
        commands = environment(
            Path(place, "venv"), f"{built}[notebook]", *asked.more
        )
        folder = Path(place, "notebooks")
        folder.mkdir()
        for path in sorted((ROOT / "book").glob("[a-z]*/*.ipynb")):
            if asked.chapters and path.stem not in asked.chapters:
                continue
            begun = time.monotonic()
            done = executed(Path(shutil.copy(path, folder)), commands)
            failed += bool(done.returncode)
            verdict = "failed" if done.returncode else "runs"
            print(
                f"{path.stem} {verdict} ({time.monotonic() - begun:.0f} s)",
                flush=True,
            )
            if done.returncode:
                print(done.stderr[-2000:], flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
