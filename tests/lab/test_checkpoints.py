"""Checkpoints: killed at any moment a run goes on bit for bit, and a file that is not its own is refused."""

import copy
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lbdl.lab import Options, checkpoints
from lbdl.lab.checkpoints import (
    Checkpoint,
    CheckpointError,
    put_back,
    read_checkpoint,
    snapshot,
    write_checkpoint,
)
from lbdl.lab.results import read_result
from tests.lab import killable as victim

IDENTITY = {"experiment": "x", "seed": 0}
CPU = torch.device("cpu")


class Stop(Exception):
    """Stands for a kill at a chosen place."""


@pytest.fixture(scope="module")
def undisturbed():
    return victim.killable.run("small", CPU, seed=3, progress=False)


def same(result, expected):
    assert result.numbers == expected.numbers
    assert result.arrays.keys() == expected.arrays.keys()
    assert all(
        torch.equal(result[name], expected[name]) for name in expected.arrays
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_killed_25_times_it_ends_bit_for_bit_the_same(tmp_path, undisturbed):
    script = [sys.executable, victim.__file__, str(tmp_path), "25", "0"]
    done = subprocess.run(
        script,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    killed, places = map(int, done.stdout.split())
    assert killed >= 25
    assert places >= 10  # not always at the same place
    same(read_result(tmp_path / "killable-small-seed3.npz"), undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == [
        "killable-small-seed3.npz"
    ]


@pytest.mark.parametrize(
    "place",
    ["before the write", "in the write", "before the move", "after the move"],
)
@pytest.mark.parametrize("write", [1, 7, 61, 81])
def test_killed_around_a_write_it_ends_the_same(
    tmp_path, undisturbed, monkeypatch, place, write
):
    """There are 81 writes: 60 and 20 checkpoints in the two loops, and the result."""
    original, count = checkpoints.write_atomically, 0

    def dying(path, content):
        nonlocal count
        count += 1
        if count == write:
            partial = path.with_name(path.name + ".partial")
            if place != "before the write":
                partial.write_bytes(
                    content
                    if place == "before the move"
                    else content[: len(content) // 2]
                )
            if place == "after the move":
                original(path, content)
            raise Stop
        original(path, content)

    def start():
        return victim.killable.run(
            "small", CPU, seed=3, folder=tmp_path, progress=False, every=0.0
        )

    monkeypatch.setattr(
        os, "fsync", lambda _: None
    )  # for speed: no power is cut here
    monkeypatch.setattr(checkpoints, "write_atomically", dying)
    monkeypatch.setattr("lbdl.lab.results.write_atomically", dying)
    with pytest.raises(Stop):
        start()
    same(start(), undisturbed)
    assert not list(tmp_path.glob("*.checkpoint*"))


def test_a_run_that_goes_on_does_only_the_rest(tmp_path, monkeypatch):
    """One chunk at most is done twice, with a checkpoint after every chunk."""
    steps = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self: steps.append(1) or step(self)
    )
    write, writes = checkpoints.write_checkpoint, []

    def dying(path, content):
        write(path, content)
        writes.append(1)
        if len(writes) == 25:
            raise Stop

    monkeypatch.setattr(checkpoints, "write_checkpoint", dying)
    for _ in range(2):
        try:
            victim.killable.run(
                "small", CPU, seed=3, folder=tmp_path, progress=False, every=0.0
            )
        except Stop:
            assert len(steps) == 25
    assert len(steps) == victim.CHUNKS + victim.MORE_CHUNKS


def test_no_write_before_its_time(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c", IDENTITY, every=1000.0)
    assert not checkpoint.is_due()
    checkpoint.written -= 1000
    assert checkpoint.is_due()
    checkpoint.save("0", 2, {"t": torch.zeros(1)})
    assert not checkpoint.is_due()


def test_a_run_writes_when_it_is_time_and_at_the_end_of_a_loop(
    tmp_path, monkeypatch
):
    written = []
    monkeypatch.setattr(
        Checkpoint,
        "save",
        lambda self, loop, done, *rest, **how: written.append((loop, done)),
    )
    victim.killable.run(
        "small", CPU, seed=3, folder=tmp_path, progress=False, every=1000.0
    )
    assert written == [("0", victim.CHUNKS), ("1", victim.MORE_CHUNKS)]


def test_wall_time_counts_the_parts_before(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c", IDENTITY)
    checkpoint.began -= 50
    checkpoint.save("0", 1, {}, finished=True)
    assert 50 <= Checkpoint(tmp_path / "c", IDENTITY).seconds < 60


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "longer"])
def test_a_damaged_checkpoint_is_named_and_refused(tmp_path, damage):
    path = tmp_path / "broken.checkpoint"
    write_checkpoint(path, {"identity": IDENTITY, "loops": {}, "seconds": 1.0})
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    flipped = bytes(raw)
    raw[len(raw) // 2] ^= 1
    whole = bytes(raw)
    path.write_bytes(
        {"cut": whole[:-7], "flip": flipped, "empty": b"", "longer": whole + b"x"}[
            damage
        ]
    )
    with pytest.raises(CheckpointError, match=r"broken\.checkpoint is damaged"):
        Checkpoint(path, IDENTITY)


class Malice:
    """Unpickled, it would make a file."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path):
    path, harm = tmp_path / "foreign.checkpoint", tmp_path / "harm"
    torch.save({"identity": Malice(str(harm))}, path)
    bodies = [path.read_bytes(), pickle.dumps(Malice(str(harm)), protocol=2)]
    for body in bodies:
        path.write_bytes(
            hashlib.sha256(body).digest() + body
        )  # the digest is right: only weights_only protects
        with pytest.raises(
            CheckpointError, match=r"foreign\.checkpoint holds more than numbers"
        ):
            Checkpoint(path, IDENTITY)
        path.write_bytes(body)
        with pytest.raises(CheckpointError, match="is damaged, or no checkpoint"):
            Checkpoint(path, IDENTITY)
    assert not harm.exists()


@pytest.mark.parametrize(
    "key", ["experiment", "parameters", "seed", "device", "torch", "code"]
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, key):
    run = victim.killable.prepare(Options("small", CPU, 3, tmp_path))
    run.checkpoint.save("0", 1, {}, finished=True)
    content = read_checkpoint(run.checkpoint.path)
    content["identity"][key] = "other"
    write_checkpoint(run.checkpoint.path, content)
    with pytest.raises(
        CheckpointError, match=rf"belongs to another run: its {key} is 'other'"
    ):
        victim.killable.prepare(Options("small", CPU, 3, tmp_path))
    again = victim.killable.prepare(Options("small", CPU, 3, tmp_path, fresh=True))
    assert run.checkpoint.path.exists(), (
        "what another run left is kept until this one starts"
    )
    again.checkpoint.start()
    assert not run.checkpoint.path.exists()


def test_state_is_put_back_in_place(device):
    model = nn.Linear(2, 2, device=device)
    chance = torch.Generator(device).manual_seed(1)
    things = [torch.ones(3, device=device), [1, 2], {"a": 1}, model, chance]
    saved = copy.deepcopy([snapshot(thing) for thing in things])
    draw = torch.rand(2, generator=chance, device=device)
    weight = model.weight.detach().clone()
    (
        things[0].zero_(),
        things[1].append(3),
        things[2].update(a=2, b=3),
        nn.init.zeros_(model.weight),
    )
    for thing, value in zip(things, saved, strict=True):
        put_back(thing, value)
    assert things[1:3] == [[1, 2], {"a": 1}]
    assert torch.equal(things[0], torch.ones(3, device=device))
    assert torch.equal(model.weight, weight)
    assert torch.equal(torch.rand(2, generator=chance, device=device), draw)


@pytest.mark.parametrize("thing", [3, 2.5, "text", (1, 2), object()])
def test_state_that_cannot_be_changed_in_place_is_refused(thing):
    with pytest.raises(
        TypeError, match="state must consist of tensors, lists, dicts"
    ):
        snapshot(thing)


def test_what_was_restored_may_change_without_changing_the_checkpoint(tmp_path):
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], lr=0.1)

    def step():
        weight.grad = torch.ones(2)
        optimizer.step()

    step()
    checkpoint, losses = Checkpoint(tmp_path / "c", IDENTITY), [[1.0]]
    checkpoint.save(
        "0", 1, {"optimizer": optimizer, "losses": losses}, finished=True
    )
    expected = optimizer.state[weight]["exp_avg"].clone()
    for _ in range(2):
        checkpoint.restore("0", {"optimizer": optimizer, "losses": losses})
        assert torch.equal(optimizer.state[weight]["exp_avg"], expected)
        assert losses == [[1.0]]
        step()
        losses[0].append(2.0)
