"""The loops of a run: counted, shown to who watches, and saved so that a killed run
goes on where it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lbdl.core.progress import progress_bar
from lbdl.lab import processes
from lbdl.lab.checkpoints import Checkpoint


class Loops:
    """The loops of one run, one after the other.

    Args:
        label: the name of the run, for its progress bar.
        device: whose global generator is saved with the state.
        progress: show a bar; None: where somebody can see it.
        checkpoint: None saves nothing.
    """

    def __init__(
        self,
        label: str,
        device: torch.device,
        progress: bool | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.label, self.device, self.checkpoint = label, device, checkpoint
        self.progress = progress if processes.is_first() else False
        self.count, self.inside = 0, False

    def over(self, n: int, state: dict[str, Any]) -> Iterator[int]:
        """`Run.chunks`."""
        if self.inside:
            raise RuntimeError(
                "chunks must not be nested: loop over chunks once, and inside it over something else"
            )
        loop = str(self.count)
        self.count, self.inside = self.count + 1, True
        everything = {**state, "global generators": GlobalGenerators(self.device)}
        done = self.checkpoint.restore(loop, everything) if self.checkpoint else 0
        rest = progress_bar(
            range(done, n), self.progress, start=done, label=self.label
        )
        try:
            for chunk in rest:
                yield chunk
                self._save(loop, chunk + 1, everything, finished=chunk + 1 == n)
        finally:
            self.inside = False

    def _save(
        self, loop: str, done: int, state: dict[str, Any], finished: bool
    ) -> None:
        """Saves when the first process's clock says so; all take part, because a
        sharded state is in all of them."""
        if self.checkpoint is None:
            return
        due = processes.is_first() and (finished or self.checkpoint.is_due())
        if processes.any_of_us(due, self.device):
            self.checkpoint.save(loop, done, state, finished=finished)


class GlobalGenerators:
    """The state of torch's global generators, of the CPU and of one CUDA device,
    for a checkpoint."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device if device.type == "cuda" else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "cpu": torch.get_rng_state(),
            "cuda": None
            if self.cuda is None
            else torch.cuda.get_rng_state(self.cuda),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        torch.set_rng_state(saved["cpu"])
        if self.cuda is not None:
            torch.cuda.set_rng_state(saved["cuda"], self.cuda)


@contextmanager
def fresh_generators(device: torch.device, seed: int) -> Iterator[None]:
    """Seeds torch's global generators, and puts them back afterwards."""
    before = GlobalGenerators(device)
    saved = before.state_dict()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        before.load_state_dict(saved)
