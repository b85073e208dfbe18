"""`lbdl doctor`: is everything there that the chapters need, and if not, what mends it."""

import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from lbdl import __version__
from lbdl.core.devices import device
from lbdl.core.scales import scale
from lbdl.core.seeds import seed
from lbdl.lab.machine import device_name

OLDEST_PYTHON = (3, 11)
ROOM = 10**9

# What chapters need, and what for.
CHAPTERS = {
    "torch": "computes",
    "numpy": "carries arrays from one library to another",
    "scipy": "is the reference for special functions and integrals",
    "scikit-learn": "brings the handwritten digits",
    "mnist1d": "brings the one-dimensional digits",
    "tokenizers": "is the reference for byte-pair encoding",
    "tiktoken": "is the fast reference for byte-pair encoding",
    "matplotlib": "draws the pictures",
    "tqdm": "shows how long a run still takes",
    "ipykernel": "runs the cells of a notebook",
    "ipywidgets": "makes the sliders move in JupyterLab",
    "jupyterquiz": "asks the questions of the self-tests",
    "jupyterlab": "opens the chapters",
    "jupyterlab-myst": "shows a chapter in JupyterLab as it looks in the book",
}
# What a checkout of the book needs beside them.
BUILDING = {
    "entmax": "is the reference for sparse alternatives to softmax",
    "jupyter-book": "builds the book",
    "jupyter-cache": "remembers which chapters are executed",
    "sphinx-book-theme": "gives the book its look",
    "sphinx-exercise": "numbers the exercises",
    "sphinx-proof": "numbers the theorems",
    "sphinx-mathjax-offline": "sets the mathematics without a network",
}
PACKAGES = CHAPTERS | BUILDING


def doctor() -> int:
    """Prints what is there and what is missing; returns 0 if chapters can run, else 1."""
    problems: list[str] = []
    print("What the chapters need")
    print_python(problems)
    needed = PACKAGES if pins().exists() else CHAPTERS
    missing = [name for name in needed if not print_package(name)]
    print("\nHow they will run")
    for name, look in SETTINGS.items():
        print_setting(name, look, problems)
    print_disk(problems)
    return print_verdict(missing, problems)


def line(good: bool, name: str, text: str) -> None:
    """One line of the report: a mark, what was looked at, what was found."""
    print(f"  {'ok' if good else '!!'}  {name:<24}{text}")


def print_python(problems: list[str]) -> None:
    """Python's version, and whether it is new enough."""
    good = sys.version_info[:2] >= OLDEST_PYTHON
    line(good, "python", platform.python_version())
    if not good:
        problems.append(
            "Python is too old: install Python 3.11 or newer, and make the environment again."
        )


def print_package(name: str) -> bool:
    """A package's version, or what will not work without it; whether it will do."""
    found = installed(name)
    good = found is not None and not (
        name == "jupyter-book" and found.startswith("2.")
    )
    text = found or f"missing: it {PACKAGES[name]}"
    line(
        good,
        name,
        text
        if good or not found
        else f"{found} is too new: this book needs version 1",
    )
    return good


def installed(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def mend(missing: list[str]) -> str:
    """The command that installs what is missing: the pinned versions, where this is a checkout of the book."""
    names = " ".join(
        f'"{name}<2"' if name == "jupyter-book" else name for name in missing
    )
    return f"{sys.executable} -m pip install {f'-r {pins()}' if pins().exists() else names}"


def pins() -> Path:
    """The pinned versions; there is such a file in a checkout of the book alone."""
    return Path(__file__).parents[1] / "requirements.txt"


def describe_device() -> str:
    """The device's name and memory, after a small computation on it."""
    where = device()
    torch.ones(8, 8, device=where).matmul(
        torch.ones(8, 8, device=where)
    ).sum().item()
    return f"{where}: {device_name(where)}, {device_memory(where)}"


def device_memory(where: torch.device) -> str:
    """Free and total memory of a GPU; total memory of the machine for a CPU."""
    if where.type == "cuda":
        free, total = torch.cuda.mem_get_info(where)
        return f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
    return machine_memory()


def machine_memory() -> str:
    """Total memory of the machine, where Linux tells it."""
    try:
        kilobytes = (
            Path("/proc/meminfo")
            .read_text(encoding="utf-8")
            .split("MemTotal:")[1]
            .split()[0]
        )
    except (OSError, IndexError):
        return "memory unknown"
    return f"{int(kilobytes) / 2**20:.0f} GiB memory"


SETTINGS: dict[str, Callable[[], str]] = {
    "device (LBDL_DEVICE)": describe_device,
    "scale (LBDL_SCALE)": scale,
    "seed (LBDL_SEED)": lambda: str(seed()),
}


def print_setting(name: str, look: Callable[[], str], problems: list[str]) -> None:
    """What a setting amounts to, or why it cannot be."""
    try:
        line(True, name, look())
    except (ValueError, RuntimeError) as problem:
        line(False, name, str(problem).splitlines()[0])
        problems.append(
            f"The {name} cannot be used: change it, or remove it from the environment."
        )


def print_disk(problems: list[str]) -> None:
    """Room on the disk of the current folder."""
    free = shutil.disk_usage(Path.cwd()).free
    line(free >= ROOM, "free disk", f"{free / 1e9:.1f} GB")
    if free < ROOM:
        problems.append("The disk is nearly full: free 1 GB for the built book.")


def print_verdict(missing: list[str], problems: list[str]) -> int:
    """The last words: all is fine, or what to do about it."""
    print()
    for problem in problems:
        print(problem)
    if missing:
        print(f"To be installed: {', '.join(missing)}. This one command does it:")
        print(f"  {mend(missing)}")
    if not missing and not problems:
        print(f"All is fine: lbdl {__version__} can run every chapter.")
    return 1 if missing or problems else 0
