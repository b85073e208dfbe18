"""The command `lbdl`: one clear line and a non-zero code where something cannot be, before any work."""

import os
import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from lbdl import cli, doctor
from lbdl.experiments import find_one, load_result, recorded_results
from lbdl.lab import Experiment, Options
from lbdl.lab.declare import REGISTRY, experiment

ROOT = Path(__file__).parents[1]


@pytest.fixture
def counted(monkeypatch):
    """An experiment that counts how often it is executed; the only one there is."""
    for name in ("LBDL_SCALE", "LBDL_SEED", "LBDL_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    before, times = dict(REGISTRY), []

    @experiment(
        "counted",
        chapter="lab/test",
        shows="how often",
        small={"n": 2},
        full={"n": 4},
    )
    def counted(run, n):
        times.append(n)
        for _ in run.chunks(n):
            if run.seed == 13:
                raise KeyboardInterrupt
        return {"n": n}

    monkeypatch.setattr("lbdl.experiments.find", lambda: REGISTRY)
    monkeypatch.setattr(cli, "find", lambda: {"counted": counted})
    yield times
    REGISTRY.clear()
    REGISTRY.update(before)


def test_run_writes_the_result_and_says_where(counted, tmp_path, capsys):
    assert (
        cli.main(
            [
                "run",
                "counted",
                "--scale",
                "full",
                "--seed",
                "5",
                "--out",
                str(tmp_path / "new"),
            ]
        )
        == 0
    )
    assert counted == [4]
    assert load_result("counted", seed=5, folder=tmp_path / "new")["n"] == 4
    said = capsys.readouterr().out
    assert str(tmp_path / "new" / "counted-full-seed5.npz") in said
    assert "n = 4" in said


def test_run_all(counted, tmp_path):
    assert (
        cli.main(["run", "--all", "--device", "cpu", "--out", str(tmp_path)]) == 0
    )
    assert counted == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conted"], "no experiment called 'conted'; did you mean counted?"),
        (["counted", "--device", "cuda:77"], "--device must be one of cpu"),
        (["counted", "--scale", "huge"], "must be one of small, full, got 'huge'"),
        (["counted", "--seed", "-2"], "seed must be a whole number >= 0, got -2"),
        (
            ["counted", "--out", "/dev/null/x"],
            "cannot write to the folder /dev/null/x",
        ),
        ([], "give the names of experiments, or --all"),
        (["counted", "--all"], "give the names of experiments, or --all"),
        (["counted", "unknown"], "no experiment called 'unknown'"),
        (["counted", "--shard"], "counted takes no option shard"),
        (["counted", "--pieces", "2"], "counted takes no option pieces"),
        (["counted", "--compile"], "counted takes no option compile"),
    ],
)
def test_the_impossible_ends_in_one_line_before_any_work(
    counted, tmp_path, capsys, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", *arguments]) == cli.BAD_REQUEST
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert (said.out, counted) == ("", [])


@pytest.mark.parametrize("setting", ["LBDL_DEVICE", "LBDL_SCALE", "LBDL_SEED"])
def test_an_impossible_setting_is_named(
    counted, tmp_path, capsys, monkeypatch, setting
):
    monkeypatch.setenv(setting, "nonsense")
    assert cli.main(["run", "counted", "--out", str(tmp_path)]) == cli.BAD_REQUEST
    assert f"lbdl run: {setting} must be" in capsys.readouterr().err
    assert counted == []


def test_nothing_runs_before_all_are_prepared(counted, tmp_path, capsys):
    @experiment(
        "second", chapter="lab/test", shows="-", small={"n": 1}, full={"n": 1}
    )
    def second(run, n):
        return {"n": n}

    (tmp_path / "second-small-seed0.checkpoint").write_bytes(b"not a checkpoint")
    both = ["run", "counted", "second", "--out", str(tmp_path)]
    assert cli.main(both) == cli.BAD_REQUEST
    assert "second-small-seed0.checkpoint is damaged" in capsys.readouterr().err
    assert counted == []


def test_a_run_is_prepared_once(counted, tmp_path, monkeypatch):
    prepared, prepare = [], Experiment.prepare
    monkeypatch.setattr(
        Experiment,
        "prepare",
        lambda self, options: prepared.append(self.name) or prepare(self, options),
    )
    assert cli.main(["run", "counted", "counted", "--out", str(tmp_path)]) == 0
    assert prepared == ["counted"]


ARGUMENTS = {
    "scale": "full", "device": "cpu", "seed": "7", "folder": "somewhere",
    "every": "2.5", "fresh": None, "record": None, "compile": None, "shard": None,
    "pieces": "3", "deterministic": None,
}  # fmt: skip


def test_every_wish_has_an_argument_and_every_argument_is_a_wish():
    wishes = {f.name for f in fields(Options)}
    assert set(ARGUMENTS) == wishes - {"progress", "processes"}
    for name, value in ARGUMENTS.items():
        flag = "--out" if name == "folder" else f"--{name}"
        words = ["run", "x", flag, *([value] if value else [])]
        found = cli.options_of(cli.parser().parse_args(words))
        assert str(getattr(found, name)) == (value or "True")
        others = {n: getattr(found, n) for n in wishes - {name}}
        assert others == {n: getattr(Options(), n) for n in wishes - {name}}


@pytest.mark.parametrize(
    ("commit", "message"),
    [
        ("0123456789ab-dirty", "there are changes since 0123456789ab; commit them"),
        ("unknown", "nothing is recorded of code whose commit is unknown"),
    ],
)
def test_nothing_is_recorded_of_code_that_no_commit_holds(
    counted, capsys, monkeypatch, tmp_path, commit, message
):
    monkeypatch.setattr(cli, "RECORDED", tmp_path)
    monkeypatch.setattr("lbdl.lab.declare.commit", lambda: commit)
    assert cli.main(["run", "counted", "--record"]) == cli.BAD_REQUEST
    assert message in capsys.readouterr().err
    assert counted == [] and not list(tmp_path.rglob("*"))


def test_what_is_recorded_has_a_witness_of_the_same_code(
    counted, monkeypatch, tmp_path
):
    monkeypatch.setattr(cli, "RECORDED", tmp_path)
    monkeypatch.setattr("lbdl.lab.declare.commit", lambda: "0123456789ab")
    assert cli.main(["run", "counted", "--scale", "full", "--record"]) == 0
    folder = tmp_path / "lab" / "test"
    large, witness = (
        load_result("counted", scale, folder=folder) for scale in ("full", "small")
    )
    assert (large["n"], witness["n"]) == (4, 2)
    assert large.code == witness.code
    assert large.commit == witness.commit == "0123456789ab"
    assert large.command == "lbdl run counted --scale full --seed 0 --device cpu"


def test_what_is_recorded_may_be_put_elsewhere(counted, monkeypatch, tmp_path):
    monkeypatch.setattr("lbdl.lab.declare.commit", lambda: "0123456789ab")
    words = f"run counted --scale full --record --out {tmp_path}"
    assert cli.main(words.split()) == 0
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.npz"))
    assert found == [f"lab/test/counted-{s}-seed0.npz" for s in ("full", "small")]


def test_before_a_run_stands_what_it_is_expected_to_take():
    said = cli.expected(find_one("grokking"), "full")
    assert re.fullmatch(r"not run yet, about \d+ s on one H100", said)
    unknown = replace(find_one("grokking"), name="nobody_counted")
    assert cli.expected(unknown, "full") == "not run yet"


def test_a_damaged_checkpoint_is_named_and_fresh_begins_anew(
    counted, tmp_path, capsys
):
    (tmp_path / "counted-small-seed0.checkpoint").write_bytes(b"not a checkpoint")
    assert cli.main(["run", "counted", "--out", str(tmp_path)]) == cli.BAD_REQUEST
    assert "counted-small-seed0.checkpoint is damaged" in capsys.readouterr().err
    assert counted == []
    assert cli.main(["run", "counted", "--fresh", "--out", str(tmp_path)]) == 0
    assert counted == [2]


def test_interrupted_by_the_keyboard(counted, tmp_path, capsys):
    assert (
        cli.main(["run", "counted", "--seed", "13", "--out", str(tmp_path)])
        == cli.INTERRUPTED
    )
    assert "the same command goes on" in capsys.readouterr().err


def test_deterministic_on_request(counted, tmp_path, monkeypatch):
    asked = []
    use = torch.use_deterministic_algorithms
    monkeypatch.setattr(
        torch,
        "use_deterministic_algorithms",
        lambda yes, **more: asked.append(yes) or use(yes, **more),
    )
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert (
        cli.main(["run", "counted", "--deterministic", "--out", str(tmp_path)]) == 0
    )
    assert asked == [True, False], "the caller's setting is put back"
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert load_result("counted", folder=tmp_path).how["deterministic"]


def test_list_tells_chapter_purpose_and_cost(
    counted, tmp_path, capsys, monkeypatch
):
    REGISTRY["counted"].run("small", torch.device("cpu"), 0, tmp_path)
    monkeypatch.setattr(
        cli,
        "recorded_results",
        lambda *there: [] if there else [load_result("counted", folder=tmp_path)],
    )
    assert cli.main(["experiments"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["counted  (lab/test)", "    how often"]
    assert lines[2].startswith("    small: 0")
    assert " s on CPU" in lines[2]
    assert lines[3] == "    full: not run yet"


def test_list_tells_what_this_machine_took(counted, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        cli,
        "recorded_results",
        lambda *folder: recorded_results(*folder) if folder else [],
    )
    assert (
        cli.main(["run", "counted", "--scale", "full", "--out", str(tmp_path)]) == 0
    )
    capsys.readouterr()
    assert cli.main(["experiments", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "    small: not run yet"
    assert lines[3].startswith("    full: 0") and " s on CPU" in lines[3]


def test_help_and_version(capsys):
    for arguments, part in (
        (["--help"], "experiments"),
        (["run", "--help"], "--scale"),
        (["--version"], "lbdl 0"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 0
        assert part in capsys.readouterr().out


@pytest.fixture
def healthy(monkeypatch):
    """A machine on which nothing is missing."""
    for name in ("LBDL_SCALE", "LBDL_SEED", "LBDL_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "installed", lambda name: "1.0")
    monkeypatch.setattr(doctor, "ROOM", 1)


def test_doctor_is_content(healthy, capsys):
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "All is fine" in said
    assert "!!" not in said
    assert all(
        name in said
        for name in [
            *doctor.PACKAGES,
            "python",
            "device",
            "scale",
            "seed",
            "free disk",
        ]
    )


def test_doctor_names_what_is_missing_and_one_command(healthy, capsys, monkeypatch):
    monkeypatch.setattr(
        doctor,
        "installed",
        lambda name: None if name in ("matplotlib", "tqdm") else "1.0",
    )
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "missing: it draws the pictures" in said
    assert "To be installed: matplotlib, tqdm. This one command does it:" in said
    assert said.rstrip().endswith(f"-m pip install -r {ROOT / 'requirements.txt'}")


def test_doctor_without_a_checkout_names_the_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(
        doctor, "__file__", str(tmp_path / "site" / "lbdl" / "doctor.py")
    )
    assert doctor.mend(["tqdm", "jupyter-book"]).endswith(
        '-m pip install tqdm "jupyter-book<2"'
    )


def test_doctor_asks_for_what_builds_the_book_in_a_checkout_only(
    healthy, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(
        doctor,
        "installed",
        lambda name: None if name in doctor.BUILDING else "1.0",
    )
    assert cli.main(["doctor"]) == 1
    assert "To be installed: entmax, jupyter-book" in capsys.readouterr().out
    monkeypatch.setattr(
        doctor, "__file__", str(tmp_path / "site" / "lbdl" / "doctor.py")
    )
    assert cli.main(["doctor"]) == 0
    assert "jupyter-book" not in capsys.readouterr().out


def test_doctor_refuses_a_jupyter_book_of_another_kind(
    healthy, capsys, monkeypatch
):
    monkeypatch.setattr(doctor, "installed", lambda name: "2.1.0")
    assert cli.main(["doctor"]) == 1
    assert (
        "jupyter-book            2.1.0 is too new: this book needs version 1"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("setting", ["LBDL_DEVICE", "LBDL_SCALE", "LBDL_SEED"])
def test_doctor_names_an_impossible_setting(healthy, capsys, monkeypatch, setting):
    monkeypatch.setenv(setting, "nonsense")
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert f"{setting} must be" in said
    assert "change it, or remove it from the environment" in said


def test_doctor_sees_an_old_python_and_a_full_disk(healthy, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 0))
    monkeypatch.setattr(doctor, "ROOM", 10**18)
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "Python is too old" in said
    assert "The disk is nearly full" in said


def test_doctor_looks_for_what_the_project_requires():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        name: {re.split("[<>=~!]", line)[0] for line in lines}
        for name, lines in project["optional-dependencies"].items()
    }
    assert set(doctor.CHAPTERS) == extras["notebook"] | {"torch"}
    assert set(doctor.PACKAGES) == extras["notebook"] | extras["book"] - {
        "lbdl[notebook]"
    }
