"""The result of an experiment: arrays and numbers, and where they come from.

A result file is an `.npz`: one entry an array, and an entry `about`, JSON, with all the rest. It is read
without pickle.
"""

import io
import json
import platform
import subprocess
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lbdl
from lbdl.lab.checkpoints import write_atomically

ABOUT = "about"


@dataclass(frozen=True, eq=False)
class Result:
    """What an experiment found, and under which circumstances.

    `result["losses"]` is an array (a tensor on the CPU) or a number by its name.
    """

    experiment: str
    scale: str
    parameters: dict[str, Any]
    seed: int
    device: str
    versions: dict[str, str]
    commit: str
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
    def provenance(self) -> str:
        """Device, wall time, memory, date and versions in one line, for the caption of a figure."""
        versions = ", ".join(
            f"{name} {number}" for name, number in self.versions.items()
        )
        memory = "" if self.peak_bytes is None else f", {in_bytes(self.peak_bytes)}"
        return f"{self.device}; {in_words(self.seconds)}{memory}; {self.date[:10]}; {versions}; seed {self.seed}"

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
    """Splits what an experiment returned into numbers (strings too) and arrays on the CPU.

    Args:
        found: dict from names to tensors, NumPy arrays, numbers, booleans or strings.

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


def circumstances() -> dict[str, Any]:
    """Versions, commit and date of now."""
    return {
        "versions": versions(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Versions of what decides a result's last digits: this library, Python, torch, CUDA, NumPy."""
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


def commit() -> str:
    """The commit of the checkout that this library lies in, "-dirty" where it has changes, or "unknown"."""
    command = [
        "git",
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


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
