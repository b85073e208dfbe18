"""The heavy runs of the topics, one module a topic, and under `recorded/` the
results that the book shows.

    from lbdl.experiments import load_result

Here is the index: which experiments there are, and what of them is recorded.
"""

import difflib
import importlib
import pkgutil
from pathlib import Path

from lbdl.lab.declare import REGISTRY, Experiment
from lbdl.lab.results import ON_GPU, Result, file_name, plain, read_result

RECORDED = Path(__file__).parent / "recorded"
LARGEST = 200_000  # bytes of a recorded result


def find() -> dict[str, Experiment]:
    """All declared experiments, by name, sorted by chapter."""
    for each in pkgutil.walk_packages(__path__, f"{__name__}."):
        if each.name.endswith(
            "triton"
        ):  # a kernel: it needs Triton, and declares nothing
            continue
        module = importlib.import_module(each.name)
        REGISTRY.update(
            {e.name: e for e in vars(module).values() if isinstance(e, Experiment)}
        )
    return dict(
        sorted(REGISTRY.items(), key=lambda item: (item[1].chapter, item[0]))
    )


def find_one(name: str) -> Experiment:
    """The experiment called `name`; ValueError, with the names nearest to it, where
    there is none."""
    known = REGISTRY if name in REGISTRY else find()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "`lbdl experiments` lists those there are"
    )
    raise ValueError(f"there is no experiment called {name!r}; {hint}")


def load_result(
    name: str, scale: str | None = None, seed: int = 0, folder: Path | None = None
) -> Result:
    """The recorded result of an experiment.

    Args:
        name: the experiment.
        scale: a declared scale; by default the largest that is recorded: "full",
            then any other, then "small".
        seed: the seed it was run with.
        folder: where results lie; by default that of its chapter, in the library.

    Returns:
        The `Result`.

    Raises:
        ValueError: there is no such experiment, or the result was made with other
            parameters than the code declares now.
        FileNotFoundError: nothing is recorded.
    """
    declared = find_one(name)
    folder = folder or RECORDED / declared.chapter
    wanted = (
        [scale]
        if scale
        else sorted(declared.scales, key=lambda s: (s != "full", s == "small"))
    )
    for each in wanted:
        path = folder / file_name(name, each, seed, ".npz")
        if path.exists():
            result = read_result(path)
            require_fresh(declared, result)
            return result
    raise FileNotFoundError(
        f"no result of {name} is recorded at scale {' or '.join(wanted)}; {command(name, wanted[0])}"
    )


def require_fresh(declared: Experiment, result: Result) -> None:
    """Raises ValueError where the code now declares other parameters than the
    result was made with."""
    now = plain(declared.scales.get(result.scale, {}))
    if result.parameters != now:
        raise ValueError(
            f"the recorded result of {declared.name} is stale: it was made with {result.parameters}, "
            f"and scale {result.scale!r} now is {now}; {command(declared.name, result.scale)}"
        )


def recorded_results(folder: Path = RECORDED) -> list[Result]:
    """All results that are recorded, stale ones too, by file name."""
    return [read_result(path) for path in sorted(folder.glob("**/*.npz"))]


def names_of(result: Result) -> list[str]:
    """The names that the file of a recorded result may bear: a GPU's witness lies
    beside a CPU's."""
    named = result.experiment, result.scale, result.seed
    on_gpu = result.on_gpu and result.scale == "small"
    return [file_name(*named, end + ".npz") for end in ["", ON_GPU][: 1 + on_gpu]]


def problems_of_recorded(folder: Path = RECORDED) -> list[str]:
    """One line for every recorded result that is damaged, stale, misnamed, or of no
    declared experiment."""
    problems = []
    for path in sorted(folder.glob("**/*.npz")):
        try:
            result = read_result(path)
            require_fresh(find_one(result.experiment), result)
            if path.name not in names_of(result):
                raise ValueError(
                    f"it holds {result.experiment} at scale {result.scale}, seed {result.seed}"
                )
        except ValueError as problem:
            problems.append(f"{path.name}: {problem}")
    return problems


def command(name: str, scale: str) -> str:
    """The command that records a result, as advice."""
    return f"record it with: lbdl run {name} --scale {scale} --record"
