"""The index of the experiments: finding them, and loading what is recorded of them."""

import re
import shutil
import sys
from dataclasses import replace

import pytest
import torch

from lbdl.experiments import (
    LARGEST,
    RECORDED,
    find,
    find_one,
    load_result,
    problems_of_recorded,
    recorded_results,
)
from lbdl.lab import Options
from lbdl.lab.declare import REGISTRY, file_of
from lbdl.lab.results import read_result
from tests.house.plan import TOPICS, Topic
from tests.lab.sums import declare

pytestmark = pytest.mark.usefixtures("own_registry")
CPU = torch.device("cpu")


def test_declared_experiments_are_sorted_by_chapter():
    found = find()
    assert [item.chapter for item in found.values()] == sorted(
        item.chapter for item in found.values()
    )
    assert all(name == item.name for name, item in found.items())


def test_load_prefers_the_full_scale(tmp_path):
    sums = declare(large_cpu={"n": 10})
    for scale, expected in (("small", 3), ("large_cpu", 10), ("full", 30)):
        sums.run(scale, CPU, 0, tmp_path)
        assert load_result("sums", folder=tmp_path)["n"] == expected
    assert load_result("sums", "small", folder=tmp_path)["n"] == 3


def test_a_stale_result_is_refused_and_found(tmp_path):
    declare().run("full", CPU, 0, tmp_path)
    assert problems_of_recorded(tmp_path) == []
    declare(full={"n": 31})
    message = r"recorded result of sums is stale.*'n': 30.*'n': 31.*lbdl run sums --scale full --record"
    with pytest.raises(ValueError, match=message):
        load_result("sums", folder=tmp_path)
    assert [
        problem.split(":")[0] for problem in problems_of_recorded(tmp_path)
    ] == ["sums-full-seed0.npz"]


def test_a_result_of_a_scale_no_longer_declared_is_stale(tmp_path):
    declare(large_cpu={"n": 10}).run("large_cpu", CPU, 0, tmp_path)
    declare()
    assert "stale" in problems_of_recorded(tmp_path)[0]


def test_misnamed_damaged_and_unknown_recordings_are_found(tmp_path):
    declare().run("small", CPU, 0, tmp_path)
    good = tmp_path / "sums-small-seed0.npz"
    shutil.copy(good, tmp_path / "sums-small-seed1.npz")
    (tmp_path / "cut-small-seed0.npz").write_bytes(good.read_bytes()[:200])
    (tmp_path / "junk-small-seed0.npz").write_bytes(b"junk")
    problems = problems_of_recorded(tmp_path)
    assert [problem.split(":")[0] for problem in problems] == [
        "cut-small-seed0.npz", "junk-small-seed0.npz", "sums-small-seed1.npz",
    ]  # fmt: skip
    del REGISTRY["sums"]
    assert any(
        "no experiment called 'sums'" in problem
        for problem in problems_of_recorded(tmp_path)
    )


@pytest.mark.parametrize(
    ("scale", "device", "record", "name"),
    [
        ("small", "cuda", True, "sums-small-seed0.cuda.npz"),
        ("full", "cuda", True, "sums-full-seed0.npz"),
        ("small", "cpu", True, "sums-small-seed0.npz"),
        ("small", "cuda", False, "sums-small-seed0.npz"),
    ],
)
def test_the_witness_of_a_gpu_lies_beside_that_of_a_cpu(
    tmp_path, scale, device, record, name
):
    where = torch.device(device)
    wishes = Options(scale, where, folder=tmp_path, record=record)
    assert file_of(declare(), wishes, ".npz") == tmp_path / name


def test_only_a_gpu_may_leave_a_witness_of_that_name(tmp_path):
    declare().run("small", CPU, 0, tmp_path)
    here = tmp_path / "sums-small-seed0.npz"
    there = here.with_suffix(".cuda.npz")
    shutil.copy(here, there)
    assert "it holds sums at scale small" in problems_of_recorded(tmp_path)[0]
    replace(read_result(here), device="NVIDIA H100").save(there)
    assert problems_of_recorded(tmp_path) == []


def test_nothing_recorded_says_how_to_record(tmp_path):
    declare()
    with pytest.raises(
        FileNotFoundError, match="lbdl run sums --scale small --record"
    ):
        load_result("sums", "small", folder=tmp_path)
    assert recorded_results(tmp_path) == []


def test_what_comes_with_the_library_is_fresh_and_small():
    assert problems_of_recorded() == []
    sizes = {path.name: path.stat().st_size for path in RECORDED.glob("**/*.npz")}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


def test_recordings_lie_by_part_and_topic_and_are_found_by_name():
    for path in RECORDED.glob("**/*.npz"):
        result = read_result(path)
        assert path.parent == RECORDED / find_one(result.experiment).chapter
        assert load_result(result.experiment, result.scale).date == result.date


def test_unknown_names_suggest_near_ones():
    declare()
    with pytest.raises(
        ValueError, match="no experiment called 'sum'; did you mean sums"
    ):
        find_one("sum")
    with pytest.raises(ValueError, match="`lbdl experiments` lists"):
        find_one("xyzzyxyzzy")


@pytest.mark.parametrize("topic", TOPICS, ids=str)
def test_a_chapter_loads_what_is_recorded_for_it_and_nothing_else(topic: Topic):
    """So that a recording executes its own chapter again, and no other."""
    for name in re.findall(r"""load_result\(\s*["'](\w+)""", topic.code):
        assert find_one(name).chapter == str(topic)


def test_experiments_stand_where_their_chapter_stands():
    for declared in find().values():
        part, name = declared.chapter.split("/")
        assert declared.function.__module__ == f"lbdl.experiments.{part}.{name}"


def test_finding_needs_no_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    REGISTRY.clear()
    assert "trainability" in find()
