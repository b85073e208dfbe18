"""`make gpu`, without a GPU: steps that fail, hang and are interrupted; what is kept; what is taken."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from lbdl.experiments import find_one
from lbdl.lab.closure import code_of
from tests.house import gpu
from tests.house.gpu import Notes, Step, carry_out, main, take

COMMIT = "0123456789ab"
SMALL = {
    "parameters": {},
    "device": "CPU",
    "how": {},
    "command": "",
    "versions": {},
}


def step(name, code, limit=60.0, expected=0.0):
    return Step(name, ("-c", code), limit, expected)


def recording(place, name):
    return (
        f"from pathlib import Path\nfile = Path({str(place)!r}, {name!r})\n"
        "file.parent.mkdir(parents=True, exist_ok=True)\nfile.write_text('{}')"
    )


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path / "gpu", COMMIT)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(gpu, "GRACE", 0.5)
    monkeypatch.setattr(gpu, "LEAST", 0)


def outcomes(notes):
    return {name: told["outcome"] for name, told in notes.steps.items()}


def soon(seconds=60):
    return time.monotonic() + seconds


HANGS = "import time; print('begun', flush=True); time.sleep(100)"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + HANGS


def test_each_step_is_kept_whatever_becomes_of_the_others(notes):
    steps = [
        step("breaks", "print('half way'); raise ValueError('in words')"),
        step("hangs", HANGS, limit=1),
        step("hears nothing", DEAF, limit=1),
        step("works", recording(notes.work, "bench/recorded/a/b.json")),
    ]
    carry_out(steps, notes, soon())
    assert outcomes(notes) == {
        "breaks": "failed", "hangs": "too long", "hears nothing": "too long",
        "works": "done",
    }  # fmt: skip
    assert notes.steps["breaks"]["last"] == "ValueError: in words"
    log = (notes.folder / gpu.LOG).read_text()
    assert "half way" in log and log.count("begun") == 2
    with zipfile.ZipFile(notes.folder / gpu.RECORDED) as file:
        assert file.namelist() == ["bench/recorded/a/b.json"]
    assert sorted(p.name for p in notes.folder.iterdir()) == [
        gpu.LOG, gpu.RECORDED, gpu.STATE,
    ]  # fmt: skip


def test_a_process_that_a_step_started_ends_with_it(notes, tmp_path):
    tells = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        f"open({str(tells)!r}, 'w').write(str(child.pid))\ntime.sleep(100)"
    )
    carry_out([step("parent", code, limit=2)], notes, soon())
    assert outcomes(notes) == {"parent": "too long"}
    end = time.monotonic() + 20
    while runs(int(tells.read_text())):
        assert time.monotonic() < end
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process is there, and not only waits to be asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_started_again_it_goes_on_and_tries_last_what_failed(notes):
    first = [step("breaks", "raise SystemExit(1)"), step("works", "print(1)")]
    carry_out(first, notes, soon())
    again = Notes(notes.folder, COMMIT)
    later = [*first, step("new", "print(2)"), step("cut", "print(3)")]
    again.steps["cut"] = {"outcome": "no time"}
    names = [each.name for each in gpu.waiting(later, again)]
    assert names == ["new", "cut", "breaks"]


def test_without_time_nothing_begins_and_what_begun_is_cut(notes):
    long = step("hangs", HANGS, limit=50)
    tall = step("tall", "print(1)", expected=40)
    carry_out([long, tall], notes, soon(1))
    assert outcomes(notes) == {"hangs": "no time"}
    carry_out([tall], notes, soon(-1))
    assert outcomes(notes) == {"hangs": "no time"}


def test_what_was_recorded_is_there_again_where_only_the_folder_was_carried(notes):
    place = "bench/recorded/a/b.json"
    carry_out([step("works", recording(notes.work, place))], notes, soon())
    (notes.work / place).unlink()
    assert (Notes(notes.folder, COMMIT).work / place).read_text() == "{}"


def test_a_folder_of_another_commit_is_refused(notes):
    notes.save()
    with pytest.raises(ValueError, match=f"steps of commit {COMMIT}, this is fff"):
        Notes(notes.folder, "fff")


def test_the_other_folder_holds_the_same(tmp_path):
    notes = Notes(tmp_path / "gpu", COMMIT, tmp_path / "out")
    carry_out([step("works", "print(1)")], notes, soon())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        p.name for p in notes.folder.iterdir()
    )


def test_what_was_said_is_cut_in_its_middle():
    said = "a" * gpu.KEPT + "middle" + "z" * gpu.KEPT
    kept = gpu.cut(said)
    assert len(kept) < gpu.KEPT + 100 and "middle" not in kept
    assert kept[0] == "a" and kept[-1] == "z" and gpu.cut("short") == "short"


WHOLE = """
import sys, time
from pathlib import Path
from tests.house import gpu
gpu.all_steps = lambda place, *rest: [
    gpu.Step("works", ("-c", "print(1)"), 60, 0),
    gpu.Step("waits", ("-c", "import time; print('waits', flush=True); time.sleep(100)"), 60, 0),
    gpu.Step("never", ("-c", "print(2)"), 60, 0),
]
gpu.machine = lambda: {}
sys.exit(gpu.main(["--device", "cpu", "--folder", sys.argv[1]]))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_keeps_what_is_done_and_says_how_to_go_on(tmp_path, how):
    folder = tmp_path / "gpu"
    child = subprocess.Popen(
        [sys.executable, "-c", WHOLE, str(folder)],
        cwd=gpu.ROOT,
        env={**os.environ, "PYTHONPATH": str(gpu.ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    said = folder.with_name("gpu-work") / "said.txt"
    while not (said.exists() and "waits" in said.read_text()):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(how)
    assert "the same command goes on" in child.communicate()[1]
    assert child.returncode == gpu.INTERRUPTED
    state = json.loads((folder / gpu.STATE).read_text())["steps"]
    assert {name: told["outcome"] for name, told in state.items()} == {
        "works": "done", "waits": "interrupted",
    }  # fmt: skip


def test_what_is_missing_is_said_in_words(monkeypatch, capsys):
    there = gpu.find_spec
    monkeypatch.setattr(
        gpu, "find_spec", lambda name: None if name == "torch" else there(name)
    )
    assert main(["--list"]) == 2
    assert "torch cannot be imported by" in capsys.readouterr().err
    monkeypatch.setattr(
        gpu, "find_spec", lambda name: None if name == "triton" else there(name)
    )
    assert main(["--list", "--device", "cpu", "--only", "nothing so called"]) == 0
    assert "without triton, the kernels cannot run" in capsys.readouterr().out


@pytest.mark.skipif(gpu.problem("cuda") is None, reason="there is a CUDA device")
def test_without_a_device_it_says_how_to_rehearse(capsys):
    assert main(["--list"]) == 2
    assert "--device cpu --scale small rehearses" in capsys.readouterr().err


def test_every_kernel_experiment_and_race_is_a_step(tmp_path):
    names = [s.name for s in gpu.all_steps(tmp_path, "cuda", "full", True)]
    kinds = list(dict.fromkeys(name.split()[0] for name in names))
    assert kinds == ["kernel", "cuda", "full", "races", "slow"]
    assert len(names) == len(set(names))
    kernels = {p.name for p in gpu.ROOT.glob("lbdl/**/*triton.py")}
    assert len([n for n in names if n.startswith("kernel")]) >= len(kernels)
    marked = {
        path.relative_to(gpu.ROOT).parts[1]
        for path in gpu.ROOT.glob("tests/**/test_*.py")
        if re.search(r"def \w+\([^)]*\bdevice\b|mark\.cuda", path.read_text())
    }
    assert marked - {"house"} == {*gpu.ROOMS}


# --- Taking


def result_of(folder, name="grokking", scale="full", **changed):
    """A result file of a known experiment, as another machine might send it."""
    from lbdl.lab.results import Result, now

    declared = find_one(name)
    told = {"code": code_of(declared.function), "commit": COMMIT} | changed
    result = Result(
        experiment=name, scale=scale, seed=0, date=now(), seconds=1.0,
        peak_bytes=None, **SMALL, **told,
    )  # fmt: skip
    place = folder / gpu.EXPERIMENTS / declared.chapter
    place.mkdir(parents=True, exist_ok=True)
    result.save(place / f"{name}-{scale}-seed0.npz")


def sent(tmp_path, **changed):
    """A folder that came from another machine."""
    result_of(tmp_path / "work", **changed)
    race = tmp_path / "work" / gpu.RACES / "models/softmax.cuda.json"
    race.parent.mkdir(parents=True)
    race.write_text(json.dumps({"commit": COMMIT}))
    (tmp_path / "sent").mkdir()
    gpu.pack(tmp_path / "work", tmp_path / "sent" / gpu.RECORDED)
    return tmp_path / "sent"


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr("lbdl.lab.results.commit", lambda: COMMIT)


def test_what_another_machine_recorded_is_copied_to_its_place(
    tmp_path, here, capsys
):
    assert take(sent(tmp_path), tmp_path / "here") == 0
    chapter = find_one("grokking").chapter
    found = sorted(
        str(p.relative_to(tmp_path / "here"))
        for p in (tmp_path / "here").rglob("*.*")
    )
    assert found == [
        f"{gpu.RACES}/models/softmax.cuda.json",
        f"{gpu.EXPERIMENTS}/{chapter}/grokking-full-seed0.npz",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"commit": COMMIT + "-dirty"}, "no commit holds"),
        ({"commit": "unknown"}, "no commit holds"),
        ({"commit": "fff"}, f"made at commit fff, this is {COMMIT}"),
        ({"code": "fff"}, "other code than its commit holds"),
    ],
)
def test_of_other_code_nothing_is_taken(tmp_path, here, capsys, changed, message):
    assert take(sent(tmp_path, **changed), tmp_path / "here") == 2
    said = capsys.readouterr().err
    assert message in said and "nothing was taken" in said
    assert not (tmp_path / "here").exists()


def test_nothing_is_taken_into_a_dirty_tree(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lbdl.lab.results.commit", lambda: COMMIT + "-dirty")
    assert take(sent(tmp_path), tmp_path / "here") == 2
    assert "there are changes since" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["../out.json", "lbdl/cli.py", "bench/recorded/../x.json"]
)
def test_nothing_is_written_elsewhere(name):
    assert "no place where results lie" in gpu.objection(name, b"{}", COMMIT)
