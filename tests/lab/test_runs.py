"""Declaring an experiment, preparing a run of it, executing it, and its result."""

import json
import math
import os
import shutil
import warnings
import zipfile
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import numpy as np
import pytest
import torch

from lbdl.experiments import load_result
from lbdl.lab import Options, Run
from lbdl.lab.declare import REGISTRY, experiment
from lbdl.lab.options import ABILITIES
from lbdl.lab.results import in_bytes, in_words, read_result, sort_findings
from tests.conftest import needs_compiler
from tests.lab.sums import declare

pytestmark = pytest.mark.usefixtures("own_registry")
CPU = torch.device("cpu")


def test_the_seed_decides_the_result_and_nothing_else_does(device):
    where, sums = torch.device(device), declare()
    first, again, other = (
        sums.run("small", where, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first["total"], again["total"])
    assert not torch.equal(first["total"], other["total"])
    assert first["total"].device == CPU


def test_cpu_and_device_draw_the_same_numbers(device):
    @experiment("draws", chapter="lab/test", shows="draws", small={}, full={})
    def draws(run):
        return {"draw": torch.rand(5, generator=run.generator("a")).to(run.device)}

    assert torch.equal(
        draws.run("small", torch.device(device), 0)["draw"],
        draws.run("small", CPU, 0)["draw"],
    )


def test_global_generators_of_the_caller_are_left_alone():
    sums = declare()
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    sums.run("small", CPU)
    assert torch.equal(torch.rand(3), expected)


def test_defaults_come_from_the_environment(monkeypatch):
    sums = declare()
    monkeypatch.setenv("LBDL_SCALE", "full")
    monkeypatch.setenv("LBDL_SEED", "4")
    monkeypatch.setenv("LBDL_DEVICE", "cpu")
    result = sums.run()
    assert (result.scale, result.seed, result["n"]) == ("full", 4, 30)
    assert result.device.startswith("CPU")


def test_a_result_comes_back_from_its_file_whole(tmp_path):
    sums = declare(small={"n": 2, "sizes": (2, 3)})
    written = sums.run("small", CPU, 5, tmp_path)
    read = load_result("sums", "small", seed=5, folder=tmp_path)
    assert torch.equal(read["total"], written["total"])
    assert read["total"].dtype == torch.float32
    assert (read.parameters, read.seed, read.scale) == (
        {"n": 2, "sizes": [2, 3]},
        5,
        "small",
    )
    assert read["mean"] == written["mean"]
    assert math.isnan(read["nan"])
    assert (read["label"], read.commit, read.date, read.device) == (
        "sums", written.commit, written.date, written.device,
    )  # fmt: skip
    assert read.versions["torch"] == torch.__version__
    assert read.seconds > 0
    assert read.peak_bytes > 10**6


def test_a_result_file_is_plain_npz_without_pickle(tmp_path):
    declare().run("small", CPU, 0, tmp_path)
    with np.load(tmp_path / "sums-small-seed0.npz", allow_pickle=False) as file:
        assert set(file.files) == {"about", "total"}
        assert json.loads(str(file["about"]))["experiment"] == "sums"
    assert [path.name for path in tmp_path.iterdir()] == ["sums-small-seed0.npz"]


def test_provenance_names_device_time_date_versions_seed():
    result = declare().run("small", CPU, 7)
    for part in (
        result.device,
        result.date[:10],
        f"torch {torch.__version__}",
        "seed 7",
    ):
        assert part in result.provenance


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    declare().run("small", CPU)
    assert not list(tmp_path.iterdir())


def test_a_pickle_inside_a_result_is_refused(tmp_path):
    path = tmp_path / "bad-small-seed0.npz"
    np.savez(path, about=np.array(["x"], dtype=object))
    with pytest.raises(
        ValueError, match=r"bad-small-seed0\.npz is damaged, or no result"
    ):
        read_result(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "Sums"}, "name must be lower-case"),
        ({"name": "a/b"}, "name must be lower-case"),
        ({"small": {"m": 3}}, "parameters of sums at scale 'small'"),
        ({"full": {"n": {1, 2}}}, "parameters of sums at scale 'full'.*not JSON"),
    ],
)
def test_a_bad_declaration_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        declare(**arguments)


def test_a_taken_name_is_refused_but_the_same_module_may_declare_again():
    declare()
    declare()
    REGISTRY["sums"].function.__module__ = "elsewhere"
    with pytest.raises(
        ValueError, match="'sums' is taken by an experiment in elsewhere"
    ):
        declare()


def test_unknown_scale_is_refused():
    with pytest.raises(
        ValueError, match="scale of sums must be one of small, full, got 'huge'"
    ):
        declare().prepare(Options("huge", CPU))


def test_a_negative_seed_is_refused_before_any_work():
    with pytest.raises(
        ValueError, match="seed must be a whole number >= 0, got -1"
    ):
        declare().prepare(Options("small", CPU, -1))


def test_an_experiment_says_what_it_is_able_to():
    able = declare(able=("compile", "pieces"))
    assert able.prepare(Options("small", pieces=3)).pieces == 3
    assert (
        declare(name="plain")
        .prepare(Options("small", compile=False, shard=False, pieces=1))
        .pieces
        == 1
    )
    with pytest.raises(
        ValueError,
        match="sums takes no option shard; it is able to: compile, pieces",
    ):
        able.prepare(Options("small", shard=True))
    with pytest.raises(
        ValueError,
        match="plain takes no option pieces; it is able to: none of processes, compile, shard, pieces",
    ):
        declare(name="plain").prepare(Options("small", pieces=2))
    with pytest.raises(
        ValueError, match="pieces must be a whole number >= 1, got 0"
    ):
        able.prepare(Options("small", pieces=0))
    with pytest.raises(ValueError, match="start it with torchrun"):
        declare(able=("shard",)).prepare(Options("small", shard=True))


def test_a_run_that_was_not_asked_to_compile_hands_back_what_it_is_given():
    run, module = declare().prepare(Options("small")), torch.nn.Linear(2, 2)
    assert run.compiled(torch.add) is torch.add
    assert run.compiled(module) is module and module._compiled_call_impl is None


@pytest.mark.slow(reason="the compiler of torch starts, and compiles")
@needs_compiler
def test_a_compiled_run_computes_the_same_and_says_so(tmp_path):
    calls = []

    def square(x):
        calls.append(torch.compiler.is_compiling())
        return x * x

    @experiment(
        "compiling",
        chapter="lab/test",
        shows="code",
        small={},
        full={},
        able=("compile",),
    )
    def compiling(run):
        linear = torch.nn.Linear(3, 3)
        kept, names = run.compiled(linear), list(linear.state_dict())
        assert kept is linear and names == list(kept.state_dict())
        return {
            "y": run.compiled(square)(torch.arange(3.0)),
            "z": kept(torch.ones(3)),
        }

    plain = compiling.run("small", torch.device("cpu"), 0)
    quick = compiling.run("small", torch.device("cpu"), 0, tmp_path, compile=True)
    assert calls == [False, True]
    assert quick.where == plain.where + ", compiled"
    assert quick.how["compile"] and not plain.how["compile"]
    assert "--compile" in quick.command and "--compile" not in plain.command
    torch.testing.assert_close((quick["y"], quick["z"]), (plain["y"], plain["z"]))


def test_without_a_compiler_one_line_says_so_before_any_work(monkeypatch):
    def fails(*arguments, **more):
        raise RuntimeError("No working C++ compiler found\nand many more lines")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(
        ValueError,
        match=r"^torch\.compile does not work on cpu of this machine: No working C.. compiler",
    ):
        declare(able=("compile",)).prepare(
            Options("small", torch.device("cpu"), compile=True)
        )


def test_a_compiled_run_does_not_go_on_from_a_plain_one(tmp_path, monkeypatch):
    able = declare(able=("compile",))
    able.prepare(Options("small", folder=tmp_path)).checkpoint.save("0", 1, {})
    monkeypatch.setattr("lbdl.lab.declare.require_compiler", lambda device: None)
    with pytest.raises(
        ValueError, match="its compile is False, this run's is True"
    ):
        able.prepare(Options("small", folder=tmp_path, compile=True))


def test_nested_chunks_are_refused():
    @experiment("nested", chapter="lab/test", shows="-", small={}, full={})
    def nested(run):
        for _ in run.chunks(2):
            for _ in run.chunks(2):
                pass
        return {}

    with pytest.raises(RuntimeError, match="chunks must not be nested"):
        nested.run("small", CPU)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (3, "must return a dict"),
        ({"a": [1, 2]}, "the finding 'a' must be an array or a number, got list"),
        ({"about": torch.zeros(1)}, "the finding 'about'"),
    ],
)
def test_findings_of_another_kind_are_refused(found, message):
    with pytest.raises(TypeError, match=message):
        sort_findings(found)


def test_findings_are_detached_and_on_the_cpu(device):
    x = torch.ones(2, device=device, requires_grad=True)
    numbers, arrays = sort_findings(
        {"x": x * 2, "y": np.arange(3), "flag": True, "z": 1.5}
    )
    assert numbers == {"flag": True, "z": 1.5}
    assert arrays["x"].device == CPU
    assert not arrays["x"].requires_grad
    assert arrays["y"].tolist() == [0, 1, 2]


def test_a_folder_without_room_is_refused_before_any_work(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"no room in the folder .* 1 MB free"):
        declare().prepare(Options("small", CPU, 0, tmp_path))


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        OSError, match=r"cannot write to the folder .*: Not a directory"
    ):
        declare().prepare(Options("small", CPU, 0, tmp_path / "file" / "below"))
    if os.path.isdir("/proc/self"):
        with pytest.raises(OSError, match="cannot write to the folder /proc/self"):
            declare().prepare(Options("small", CPU, 0, Path("/proc/self")))


def test_sizes_and_times_in_words():
    assert [in_words(s) for s in (0.0421, 9.94, 41.2, 200, 7500)] == [
        "0.042 s", "9.9 s", "41 s", "3 min 20 s", "2 h 5 min",
    ]  # fmt: skip
    assert [in_bytes(n) for n in (12_000, 340_000_000, 2_100_000_000)] == [
        "12 KB",
        "340 MB",
        "2.1 GB",
    ]


def test_results_are_compressed(tmp_path):
    declare(small={"n": 0, "sizes": (100, 1000)}).run("small", CPU, 0, tmp_path)
    path = tmp_path / "sums-small-seed0.npz"
    assert zipfile.is_zipfile(path)
    assert path.stat().st_size < 10_000


# --- A run is complete when it is prepared


def test_a_prepared_run_is_complete_and_cannot_be_changed(tmp_path):
    run = declare().prepare(Options("small", CPU, 4, tmp_path))
    assert (run.name, run.parameters, run.seed) == ("sums", {"n": 3}, 4)
    assert run.file == tmp_path / "sums-small-seed4.npz"
    assert run.checkpoint.path == tmp_path / "sums-small-seed4.checkpoint"
    assert len(run.code) == 16 and run.commit
    for f in fields(Run):
        with pytest.raises(FrozenInstanceError):
            setattr(run, f.name, None)
    with pytest.raises(FrozenInstanceError):
        run.options.seed = 5


def test_preparing_writes_nothing(tmp_path):
    declare().prepare(Options("small", CPU, 4, tmp_path, fresh=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wishes", "error", "message"),
    [
        ({"seed": 1.5}, TypeError, "seed must be a whole number, got 1.5"),
        ({"pieces": 2.0}, TypeError, "pieces must be a whole number"),
        ({"pieces": 0}, ValueError, "pieces must be a whole number >= 1, got 0"),
        ({"every": -1}, ValueError, "every must be finite and >= 0, got -1"),
        ({"every": math.nan}, ValueError, "every must be finite"),
    ],
)
def test_impossible_wishes_are_named(wishes, error, message):
    with pytest.raises(error, match=message):
        Options(**wishes)


def test_wishes_ask_for_abilities():
    asked = {"processes": 2, "compile": True, "shard": True, "pieces": 4}
    assert Options().abilities == [] and asked.keys() == ABILITIES.keys()
    for name, value in asked.items():
        assert Options(**{name: value}).abilities == [name]
    assert Options(**asked).how == asked | {"deterministic": False}


def test_an_unknown_ability_is_refused():
    with pytest.raises(ValueError, match="able must be one of processes, compile"):
        declare(able=("fly",))


def test_a_result_tells_how_it_was_made(tmp_path):
    able = declare(able=("pieces",))
    made = able.run("small", CPU, 5, tmp_path, pieces=3, deterministic=True)
    read = read_result(tmp_path / "sums-small-seed5.npz")
    assert read.how == made.how == {
        "processes": 1, "compile": False, "shard": False, "pieces": 3, "deterministic": True,
    }  # fmt: skip
    assert read.command == (
        "lbdl run sums --scale small --seed 5 --device cpu --pieces 3 --deterministic"
    )
    assert read.code == made.code and read.commit == made.commit
    assert read.where == f"{read.device}, deterministic, minibatches in 3 pieces"
    assert read.where in read.provenance


def test_what_is_the_callers_is_put_back_after_an_error():
    @experiment("failing", chapter="lab/test", shows="-", small={}, full={})
    def failing(run):
        warnings.filterwarnings("ignore", message="of this run alone")
        assert torch.are_deterministic_algorithms_enabled()
        torch.rand(1)
        raise KeyboardInterrupt

    def state():
        return (
            list(warnings.filters),
            torch.are_deterministic_algorithms_enabled(),
            os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
            torch.get_rng_state().tolist(),
        )

    before = state()
    with pytest.raises(KeyboardInterrupt):
        failing.run("small", CPU, deterministic=True)
    assert state() == before
