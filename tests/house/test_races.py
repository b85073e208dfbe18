"""The harness of the races, without a GPU: what is timed, held against goals, recorded; what the page shows of it."""

import json
import time

import pytest
import torch
from lbdl_book.records import AND_ITS_FLOOR, MEASURED, race_row

from bench import race as harness
from bench.__main__ import topics, topics_on_cuda
from bench.race import Place, Race, of, run

NOW = [0.0]  # of the stand-in for a GPU's clock, in seconds


class Event:
    """An event of a device on which nothing takes time but what `work` says."""

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = NOW[0]

    def synchronize(self):
        assert hasattr(self, "at")

    def elapsed_time(self, other):
        return 1e3 * (other.at - self.at)


def work(seconds):
    def job():
        NOW[0] += seconds

    return job


@pytest.fixture
def gpu(monkeypatch):
    """A clock that jobs move on."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(harness, "SECONDS", 0.01)


class Timed(Race):
    """A race whose floor takes a known time, as a copy would on a GPU."""

    lowest = property(lambda self: self.floor)


def test_on_a_gpu_times_are_those_of_events(gpu):
    race = Timed(
        "a job", "a peer", work(0.003), work(0.006), floor=work(0.001), goal=0.6
    )
    found = run(race, "cuda")
    assert (found["ours_ms"], found["peer_ms"], found["floor_ms"]) == (3, 6, 1)
    assert (found["ratio"], found["floors"], found["reached"]) == (0.5, 3, True)


@pytest.mark.parametrize(
    ("goals", "reached"),
    [
        ({"goal": 0.4}, False),
        ({"goal": 0.6, "floor_goal": 2.9}, False),
        ({"goal": 0.6, "floor_goal": 3.1}, True),
        ({}, None),
    ],
)
def test_a_goal_is_held_against_the_peer_and_the_floor(gpu, goals, reached):
    race = Timed(
        "a job", "a peer", work(0.003), work(0.006), floor=work(0.001), **goals
    )
    assert run(race, "cuda")["reached"] is reached


def test_where_the_peer_is_not_installed_the_floor_is_left(gpu):
    theirs = of("no_such_package", lambda package: package.nothing)
    race = Timed(
        "a job", "a peer", work(0.003), theirs, floor=work(0.001), goal=0.1
    )
    found = run(race, "cuda")
    assert theirs is None and "not installed here" in found["peer"]
    assert found["floors"] == 3 and found["reached"] is None
    assert "peer_ms" not in found and "ratio" not in found


def test_the_floor_is_one_copy_of_the_table():
    table = torch.randn(8, 8)
    race = Race("a job", "a peer", lambda: None, None, table=table)
    assert torch.equal(race.lowest(), table) and race.lowest() is not table


def test_without_a_gpu_the_work_of_the_process_counts_and_not_its_sleep():
    assert harness.work_clock(lambda: time.sleep(0.2), 1) < 0.1


def test_a_record_is_named_for_its_device_and_holds_its_commit(
    tmp_path, monkeypatch, gpu
):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(harness, "commit", lambda: "0123456789ab")
    result = [run(Race("a job", "a peer", work(1e-3), None), "cuda")]
    for name in ("part/topic", "part/topic_cuda"):
        harness.record(name, result, ["no-such-package", "torch"], tmp_path)
    cpu, gpu = (
        json.loads((tmp_path / f"part/topic{end}.json").read_text())
        for end in ("", ".cuda")
    )
    assert (cpu["topic"], gpu["topic"]) == ("part/topic", "part/topic")
    assert gpu["machine"]["gpu"] == "a card" and "gpu" not in cpu["machine"]
    assert gpu["commit"] == "0123456789ab"
    assert "no-such-package" not in gpu["machine"]


def test_the_page_shows_the_floor_beside_each_row_of_a_gpu():
    race = {
        "job": "j", "peer": "p", "peer_ms": 6.0, "ours_ms": 3.0, "ratio": 0.5, "goal": 0.6,
        "floor_ms": 1.0, "floors": 3.0, "floor": 0.1667, "reached": True, "note": "n",
    }  # fmt: skip
    assert race_row(race, True) == [
        "j",
        "p",
        "6",
        "3",
        "0.5",
        "0.6",
        "1",
        "3",
        "yes",
        "n",
    ]
    assert race_row(race)[-1] == "floor 0.167; n"
    assert AND_ITS_FLOOR[: len(MEASURED)] == MEASURED


def test_races_for_a_gpu_stand_beside_a_topic_and_are_not_run_without_one():
    assert topics_on_cuda() and not {*topics()} & {*topics_on_cuda()}
    assert {name.removesuffix("_cuda") for name in topics_on_cuda()} <= {*topics()}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_races_for_one_say_so():
    with pytest.raises(
        SystemExit, match="needs a CUDA device: here only --rehearse"
    ):
        harness.device_of("part/topic_cuda", False)
    assert harness.device_of("part/topic_cuda", True) == "cpu"


def test_a_rehearsal_takes_few_rows():
    assert Place().shape(4096, 16) == (4096, 16)
    assert Place("cpu").shape(4096, 16) == (32, 16)
