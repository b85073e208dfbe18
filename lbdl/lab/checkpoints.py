"""Checkpoints: what a long run needs to go on where it was killed.

A checkpoint file is the SHA-256 of its content, then the content: a torch file that
is read with `weights_only=True`, so that reading one never runs code. It is
replaced in one move; a process killed while it writes leaves the one before.
"""

import copy
import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from lbdl.lab import processes

DIGEST_SIZE = 32


class CheckpointError(ValueError):
    """The file at a checkpoint's place is damaged, or belongs to another run."""


class Checkpoint:
    """The state of one run in one file.

    A run is a sequence of loops. Of each loop that was begun, the file holds how
    many chunks are done and the state after them.
    """

    def __init__(
        self,
        path: Path,
        identity: dict[str, Any],
        every: float = 30.0,
        *,
        fresh: bool = False,
    ) -> None:
        """Takes up the file at `path` if there is one.

        Args:
            path: the file.
            identity: what must be the same for a run to go on: name, parameters,
                seed and so on.
            every: seconds between two writes.
            fresh: begin anew, whatever the file holds.

        Raises:
            CheckpointError: the file is damaged, or of another identity.
        """
        self.path, self.identity, self.every = path, identity, every
        self.fresh = fresh
        self.loops: dict[str, dict[str, Any]] = {}
        self.seconds_before = 0.0
        self.began = self.written = time.monotonic()
        if path.exists() and not fresh:
            self._take_up(read_checkpoint(path))

    def _take_up(self, saved: dict[str, Any]) -> None:
        require_same(self.path, saved["identity"], self.identity)
        self.loops, self.seconds_before = saved["loops"], saved["seconds"]

    def start(self) -> float:
        """The run begins now, or goes on; returns its wall time of before, in
        seconds."""
        self.began = self.written = time.monotonic()
        if self.fresh and processes.is_first():
            self.remove()
        return self.seconds_before

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, the parts before interruptions included."""
        return self.seconds_before + time.monotonic() - self.began

    def restore(self, loop: str, state: dict[str, Any]) -> int:
        """Puts the saved values into the objects of `state`; returns how many
        chunks of the loop are done."""
        if loop not in self.loops:
            return 0
        for name, saved in self.loops[loop]["state"].items():
            put_back(state[name], copy.deepcopy(saved))
        return self.loops[loop]["done"]

    def is_due(self) -> bool:
        """Whether the last write is long ago."""
        return time.monotonic() - self.written >= self.every

    def save(
        self, loop: str, done: int, state: dict[str, Any], *, finished: bool = False
    ) -> None:
        """Writes the state after `done` chunks; of several processes all gather it,
        and the first writes."""
        values = {name: snapshot(thing) for name, thing in state.items()}
        if finished:  # what comes after the loop may change the same objects
            values = copy.deepcopy(values)
        self.loops[loop] = {"done": done, "state": values}
        content = {
            "identity": self.identity,
            "loops": self.loops,
            "seconds": self.seconds,
        }
        if processes.is_first():
            write_checkpoint(self.path, content)
        self.written = time.monotonic()

    def remove(self) -> None:
        """Deletes the file: the run is finished."""
        self.path.unlink(missing_ok=True)


def snapshot(thing: Any) -> Any:
    """What has to be saved of a thing that changes: its state_dict, its generator's
    state, or itself."""
    if hasattr(thing, "state_dict"):
        return thing.state_dict()
    if isinstance(thing, Generator):
        return thing.get_state()
    if isinstance(thing, Tensor | list | dict):
        return thing
    raise TypeError(
        "state must consist of tensors, lists, dicts, generators and things with a state_dict, "
        f"got {type(thing).__name__}"
    )


def put_back(thing: Any, saved: Any) -> None:
    """The inverse of `snapshot`: changes `thing` in place to what was saved of
    it."""
    if hasattr(thing, "load_state_dict"):
        thing.load_state_dict(saved)
    elif isinstance(thing, Generator):
        thing.set_state(saved)
    elif isinstance(thing, Tensor):
        with torch.no_grad():
            thing.copy_(saved)
    elif isinstance(thing, list):
        thing[:] = saved
    else:
        thing.clear()
        thing.update(saved)


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` (dicts, lists, numbers, strings, tensors) to `path`, digest
    first, in one move."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    body = buffer.getvalue()
    write_atomically(path, hashlib.sha256(body).digest() + body)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file; `CheckpointError` where it is damaged or
    holds more than numbers."""
    raw = path.read_bytes()
    digest, body = raw[:DIGEST_SIZE], raw[DIGEST_SIZE:]
    if hashlib.sha256(body).digest() != digest:
        raise CheckpointError(
            f"{path} is damaged, or no checkpoint; delete it to start again from the beginning"
        )
    try:
        return torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    except Exception as problem:
        raise CheckpointError(
            f"{path} holds more than numbers, and is not read; delete it"
        ) from problem


def require_same(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises CheckpointError, with the first difference, unless the checkpoint is
    of this very run."""
    for key in wanted:
        if found.get(key) != wanted[key]:
            raise CheckpointError(
                f"{path} belongs to another run: its {key} is {found.get(key)!r}, "
                f"this run's is {wanted[key]!r}; delete it to start again from the beginning"
            )


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file in one move: whoever looks sees the old content or the new,
    never a part."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
