"""The result of an experiment: arrays and numbers, and where they come from.

A result file is an `.npz`: one entry an array, and an entry `about`, JSON, with all
the rest. It is read without pickle.
"""

import io
import json
import os
import platform
import subprocess
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lbdl
from lbdl.lab.checkpoints import write_atomically

ABOUT = "about"
ON_GPU = ".cuda"  # in the name of a witness that a GPU made


@dataclass(frozen=True, eq=False)
class Result:
    """What an experiment found, and under which circumstances.

    `result["losses"]` is an array (a tensor on the CPU) or a number by its name.
    `how` it was run: processes, compile, shard, pieces, deterministic; the
    `command` repeats it; `code` is the fingerprint of the code that it depends on,
    at `commit`.
    """

    experiment: str
    scale: str
    parameters: dict[str, Any]
    seed: int
    device: str
    how: dict[str, Any]
    command: str
    versions: dict[str, str]
    commit: str
    code: str
    date: str
    seconds: float
    peak_bytes: int | None
    numbers: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name in self.arrays:
            return self.arrays[name]
        return self.numbers[name]

    @property
    def on_gpu(self) -> bool:
        """Whether it was made on a GPU."""
        return not self.device.startswith("CPU")

    @property
    def where(self) -> str:
        """The device, how many of them, and how they computed, in words."""
        processes, pieces = self.how.get("processes", 1), self.how.get("pieces", 1)
        words = {"shard": "sharded", "compile": "compiled"}
        words |= {"deterministic": "deterministic"}
        told = [word for name, word in words.items() if self.how.get(name)]
        told += [f"minibatches in {pieces} pieces"] if pieces > 1 else []
        many = f"{processes} x " if processes > 1 else ""
        return ", ".join([many + self.device, *told])

    @property
    def provenance(self) -> str:
        """Device, wall time, memory, date and versions in one line, for the caption of
        a figure."""
        versions = ", ".join(
            f"{name} {number}" for name, number in self.versions.items()
        )
        memory = "" if self.peak_bytes is None else f", {in_bytes(self.peak_bytes)}"
        cost = f"{in_words(self.seconds)}{memory}"
        return (
            f"{self.where}; {cost}; {self.date[:10]}; {versions}; seed {self.seed}"
        )

    def save(self, path: Path) -> None:
        """Writes the result to `path` in one move."""
        import numpy

        about = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name != "arrays"
        }
        arrays = {name: array.numpy() for name, array in self.arrays.items()}
        buffer = io.BytesIO()
        content: dict[str, Any] = {ABOUT: json.dumps(about), **arrays}
        numpy.savez_compressed(buffer, **content)
        write_atomically(path, buffer.getvalue())


def read_result(path: Path) -> Result:
    """The result in the file at `path`.

    Raises:
        ValueError: the file is damaged, or no result.
    """
    import numpy

    try:
        with numpy.load(path, allow_pickle=False) as file:
            about = json.loads(str(file[ABOUT]))
            arrays = {
                name: torch.from_numpy(file[name])
                for name in file.files
                if name != ABOUT
            }
        return Result(**about, arrays=arrays)
    except (
        KeyError,
        TypeError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
    ) as problem:
        raise ValueError(
            f"{path} is damaged, or no result of an experiment: {problem}"
        ) from problem


def sort_findings(found: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Splits what an experiment returned into numbers (strings too) and arrays on
    the CPU.

    Args:
        found: dict from names to tensors, NumPy arrays, numbers, booleans or
            strings.

    Returns:
        The numbers and the arrays.

    Raises:
        TypeError: `found` is no dict, or something in it is none of these.
    """
    if not isinstance(found, dict):
        raise TypeError(
            f"an experiment must return a dict of arrays and numbers, got {type(found).__name__}"
        )
    numbers: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    for name, value in found.items():
        if isinstance(value, bool | int | float | str):
            numbers[name] = value
        elif hasattr(value, "__array__") and name != ABOUT:
            arrays[name] = torch.as_tensor(value).detach().cpu()
        else:
            raise TypeError(
                f"the finding {name!r} must be an array or a number, got {type(value).__name__}"
            )
    return numbers, arrays


def file_name(name: str, scale: str, seed: int, suffix: str) -> str:
    """The file name of a run's result or checkpoint."""
    return f"{name}-{scale}-seed{seed}{suffix}"


def plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON would give them back: tuples become lists."""
    return json.loads(json.dumps(parameters))


def now() -> str:
    """The date and time."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of what decides a result's last digits: this library, Python, torch,
    CUDA, NumPy."""
    found = {
        "lbdl": lbdl.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.version.cuda is not None:
        found["cuda"] = torch.version.cuda
    with suppress(PackageNotFoundError):
        found["numpy"] = version("numpy")
    return found


OUTPUTS = (
    "lbdl/experiments/recorded",
    "bench/recorded",
)  # written by runs: no code


@cache
def commit() -> str:
    """The commit of the checkout that this library lies in, with "-dirty" where
    files differ from it.

    What runs write, under `recorded`, is left out. Without git, `LBDL_COMMIT` may
    tell; else it is "unknown".
    """
    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        head = git("rev-parse", "--short=12", "HEAD")
        outputs = [f":(top,exclude){folder}" for folder in OUTPUTS]
        changed = git("status", "--porcelain", "--", ":(top)", *outputs)
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("LBDL_COMMIT", "").strip() or "unknown"
    return head + "-dirty" * bool(changed)


def git(*arguments: str) -> str:
    """What git says about the checkout that this library lies in."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return done.stdout.strip()


def require_clean(commit: str) -> None:
    """Raises ValueError unless a commit holds the code that a result is to be
    recorded of."""
    if commit == "unknown":
        raise ValueError(
            "nothing is recorded of code whose commit is unknown: run in a checkout, or tell LBDL_COMMIT"
        )
    if commit.endswith("-dirty"):
        raise ValueError(
            f"nothing is recorded of code that no commit holds: there are changes since "
            f"{commit.removesuffix('-dirty')}; commit them first"
        )


def in_words(seconds: float) -> str:
    """A wall time for people: "0.42 s", "41 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def in_bytes(count: int) -> str:
    """A size for people: "12 KB", "340 MB", "2.1 GB"."""
    if count < 10**6:
        return f"{count / 10**3:.0f} KB"
    return f"{count / 10**6:.0f} MB" if count < 10**9 else f"{count / 10**9:.1f} GB"
