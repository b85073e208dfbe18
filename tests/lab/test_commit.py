"""The commit of a result: whose code it is, and whether a commit holds it."""

import subprocess

import pytest

from lbdl.lab import results

FILES = {
    "lbdl/lab/results.py": "code",
    "lbdl/experiments/recorded/part/topic/old.npz": "recorded",
    "book/chapter.md": "words",
    ".gitignore": "/ignored/\n",
}


def git(folder, *arguments):
    settings = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *settings, *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout


def write(folder, files):
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout in which the library seems to lie; gives its commit."""
    write(tmp_path, FILES)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    monkeypatch.setattr(results, "__file__", str(tmp_path / "lbdl/lab/results.py"))
    monkeypatch.delenv("LBDL_COMMIT", raising=False)
    return git(tmp_path, "rev-parse", "--short=12", "HEAD").strip()


def commit():
    return results.commit.__wrapped__()


def test_a_clean_checkout_is_its_commit(checkout):
    assert commit() == checkout and len(checkout) == 12
    results.require_clean(commit())


@pytest.mark.parametrize(
    ("name", "dirty"),
    [
        ("lbdl/lab/results.py", True),
        ("lbdl/lab/not_yet_added.py", True),
        ("book/chapter.md", True),
        ("lbdl/experiments/recorded/part/topic/old.npz", False),
        ("lbdl/experiments/recorded/part/topic/new.npz", False),
        ("bench/recorded/part/topic.json", False),
        ("ignored/notes", False),
    ],
)
def test_a_change_that_is_no_recording_is_told(checkout, tmp_path, name, dirty):
    write(tmp_path, {name: "changed"})
    assert commit() == checkout + "-dirty" * dirty
    if dirty:
        with pytest.raises(
            ValueError, match=f"changes since {checkout}; commit them"
        ):
            results.require_clean(commit())


def test_a_library_that_another_checkout_ignores_has_no_commit(
    checkout, tmp_path, monkeypatch
):
    """As in an environment inside a project of somebody else."""
    write(tmp_path, {"ignored/lbdl/lab/results.py": "installed"})
    inside = tmp_path / "ignored/lbdl/lab/results.py"
    monkeypatch.setattr(results, "__file__", str(inside))
    assert commit() == "unknown"
    with pytest.raises(ValueError, match="whose commit is unknown"):
        results.require_clean(commit())
    monkeypatch.setenv("LBDL_COMMIT", "0123456789ab")
    assert commit() == "0123456789ab"


def test_without_git_the_commit_is_unknown(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit() == "unknown"
