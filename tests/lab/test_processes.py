"""Several processes: the same losses as one, nobody left waiting, nothing lost when one is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lbdl.lab import Options, processes
from lbdl.lab.checkpoints import read_checkpoint
from lbdl.lab.results import read_result
from tests.lab.parallel import CHUNKS, parallel
from tests.lab.sums import declare

pytestmark = pytest.mark.usefixtures("own_registry")
ROOT = Path(__file__).parents[2]
TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
]
COPIED_OR_SHARDED = ["copy", "shard"]
QUIET = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "LBDL_PROGRESS": "0",
    "LBDL_DEVICE": "cpu",
    "PYTHONPATH": str(ROOT),
}


def torchrun(*arguments):
    return subprocess.run(
        [*TORCHRUN, *map(str, arguments)],
        cwd=ROOT, env=QUIET, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


def script(folder, text):
    path = folder / "script.py"
    path.write_text(text)
    return path


def alone():
    """The same run in a single process."""
    return parallel.run("small", torch.device("cpu"), seed=3, progress=False)


def recorded(folder):
    return read_result(folder / "parallel-small-seed3.npz")


@pytest.mark.slow(reason="two processes start, and each imports torch")
@pytest.mark.parametrize("how", COPIED_OR_SHARDED)
def test_two_processes_give_the_losses_of_one(tmp_path, how):
    done = torchrun("-m", "tests.lab.parallel", tmp_path, 0, how)
    assert done.returncode == 0, done.stderr
    found, wanted = recorded(tmp_path), alone()
    for name in ("losses", "weights"):
        torch.testing.assert_close(
            found.arrays[name], wanted.arrays[name], rtol=1e-5, atol=1e-5
        )
    assert found.where.startswith("2 x CPU")
    assert found.how["shard"] == (how == "shard")
    assert [p.name for p in tmp_path.iterdir()] == ["parallel-small-seed3.npz"]


def workers_of(folder):
    """Process ids of the workers that write to `folder`, by their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (
                (entry / "cmdline").read_bytes().decode().split("\0")
                if entry.name.isdigit()
                else []
            )
        except OSError:
            continue
        if str(folder) in words and "torch.distributed.run" not in words:
            found.append(int(entry.name))
    return found


def wait_for_chunks(folder, least, patience=120):
    path, until = (
        folder / "parallel-small-seed3.checkpoint",
        time.monotonic() + patience,
    )
    while not (
        path.exists() and read_checkpoint(path)["loops"]["0"]["done"] >= least
    ):
        assert time.monotonic() < until, "no checkpoint"
        time.sleep(0.05)


@pytest.mark.slow(reason="two processes start, and each imports torch")
@pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="finds the workers by /proc"
)
@pytest.mark.parametrize(
    ("which", "how"), [(0, "copy"), (-1, "copy"), (0, "shard"), (-1, "shard")]
)
def test_a_killed_process_ends_the_run_and_the_next_goes_on(tmp_path, which, how):
    command = [*TORCHRUN, "-m", "tests.lab.parallel", str(tmp_path), "0.5", how]
    run = subprocess.Popen(
        command, cwd=ROOT, env=QUIET, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for_chunks(tmp_path, 2)
    os.kill(sorted(workers_of(tmp_path))[which], signal.SIGKILL)
    run.communicate(timeout=90)
    assert run.returncode != 0
    assert workers_of(tmp_path) == []
    assert not (tmp_path / "parallel-small-seed3.npz").exists()
    assert (
        2
        <= read_checkpoint(tmp_path / "parallel-small-seed3.checkpoint")["loops"][
            "0"
        ]["done"]
        < CHUNKS
    )

    assert torchrun("-m", "tests.lab.parallel", tmp_path, 0, how).returncode == 0
    torch.testing.assert_close(
        recorded(tmp_path).arrays["losses"],
        alone().arrays["losses"],
        rtol=1e-5,
        atol=1e-5,
    )


ONE_IS_POOR = """
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from lbdl.lab import processes, sharding
from lbdl.lab.steps import Steps

def loss(scores, y):  # the memory of the second process holds three rows
    if processes.rank() == 1 and len(y) > 3:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return F.cross_entropy(scores, y)

torch.manual_seed(0)
processes.connect(torch.device("cpu"))
"""
COPIED = """
model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.0), nn.Linear(8, 3))
steps = Steps(model, loss, torch.optim.SGD(model.parameters(), lr=0.1))
x = torch.randn(21, 5)
values = [float(steps(x, x[:, :3].argmax(1))) for _ in range(3)]
(Path(sys.argv[1]) / str(processes.rank())).write_text(" ".join(map(str, [steps.pieces, *values])))
"""


@pytest.mark.slow(reason="two processes start, and each imports torch")
def test_when_one_runs_out_of_memory_all_take_smaller_pieces(tmp_path):
    done = torchrun(script(tmp_path, ONE_IS_POOR + COPIED), tmp_path)
    assert done.returncode == 0, done.stderr
    (pieces, *values), other = (
        (tmp_path / rank).read_text().split() for rank in "01"
    )
    assert pieces == "4"
    assert other == [pieces, *values], "the mean loss is the same everywhere"

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 8), torch.nn.Dropout(0.0), torch.nn.Linear(8, 3)
    )
    optimizer, x = torch.optim.SGD(model.parameters(), lr=0.1), torch.randn(21, 5)
    for value in values:
        loss = torch.nn.functional.cross_entropy(model(x), x[:, :3].argmax(1))
        assert float(value) == pytest.approx(loss.item(), abs=1e-5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


SHARDED = """
model = sharding.sharded(nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3)), [])
assert sum(p.to_local().numel() for p in model.parameters()) < sum(p.numel() for p in model.parameters())
for pieces in (4, 1):
    steps = Steps(model, loss, torch.optim.SGD(model.parameters(), lr=0.1), pieces=pieces)
    x = torch.randn(21, 5)
    steps(x, x[:, :3].argmax(1))
    (Path(sys.argv[1]) / f"{processes.rank()} {pieces}").touch()
"""


@pytest.mark.slow(reason="two processes start, and each imports torch")
def test_a_sharded_model_that_does_not_fit_ends_and_says_what_to_do(tmp_path):
    done = torchrun(script(tmp_path, ONE_IS_POOR + SHARDED), tmp_path)
    assert done.returncode != 0
    assert {p.name for p in tmp_path.iterdir()} == {"script.py", "0 4", "1 4"}
    assert (
        "MemoryError: out of memory on cpu with 10 rows at a time: start the run again with --pieces 2"
        in done.stderr
    )


@pytest.fixture
def second_of_two(monkeypatch):
    """As if `torchrun` had started this process as the second of two."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def test_alone_unless_torchrun_says_otherwise(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (processes.size(), processes.rank(), processes.is_first()) == (
        1,
        0,
        True,
    )
    assert torch.equal(processes.share(torch.arange(5)), torch.arange(5))
    assert float(processes.total(torch.tensor(2.0))) == 2
    assert processes.own_device(torch.device("cuda")) == torch.device("cuda")


def test_shares_are_nearly_equal(second_of_two):
    assert processes.share(torch.arange(5)).tolist() == [3, 4]
    with pytest.raises(ValueError, match="1 rows cannot be shared by 2 processes"):
        processes.share(torch.arange(1))


def test_each_process_wants_a_gpu_of_its_own(second_of_two, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert processes.own_device(torch.device("cuda")) == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="2 processes cannot share cuda:0"):
        processes.own_device(torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        ValueError, match="more processes than CUDA devices on this machine: 1"
    ):
        processes.own_device(torch.device("cuda"))


def test_an_experiment_for_one_process_says_so(second_of_two):
    with pytest.raises(
        ValueError, match="runs in a single process: start it without torchrun"
    ):
        declare().prepare(Options("small"))


def test_nonsense_from_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ValueError, match="WORLD_SIZE must be a whole number"):
        processes.size()
