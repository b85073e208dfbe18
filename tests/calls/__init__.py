"""One small valid call of every public function, by topic; `tests/house/test_calls.py` then tries bad ones on each.

A topic `part/name` has its calls in `tests/calls/<part>/<name>.py`:

    CALLS = [
        Call(softmax, {"x": normal(3, 5), "dim": -1, "temperature": 0.5}),
        Call(sample_perturb_max, {"x": normal(3, 5), "samples": 8, "generator": generator()}),
    ]

Every argument is given (but those whose default is None, where a given one would change nothing), so that every one
is tried. An argument that rightly takes more than its kind says so, and why: `takes={"label": "integers"}`. A kind of
trial that a function rightly fails is left out with its reason: `skips={"nan": "masked rows are not read"}`.
"""

import copy
import dataclasses
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

HERE = Path(__file__).parent
TRIALS = ("empty", "nan", "alias", "func", "compile", "half")
TAKES = (
    "none",
    "lists",
    "integers",
    "bools",
    "floats",
    "complex",
    "infinite",
    "anything",
)


@dataclass(frozen=True, eq=False)
class Call:
    """A function or class, arguments by name that it accepts, and what it rightly does otherwise than others.

    `degrees` says how the result grows when arguments do: {"x": 1} claims f(c x) = c**1 f(x) for c > 0, and is
    tried from 1e-30 to 1e30; {"x": 0} claims that the scale of x does not matter.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]
    takes: dict[str, str] = field(default_factory=dict)
    skips: dict[str, str] = field(default_factory=dict)
    degrees: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert set(self.skips) <= set(TRIALS), (
            f"skips knows {TRIALS}, got {self.skips}"
        )
        kinds = {kind for kinds in self.takes.values() for kind in kinds.split()}
        assert kinds <= set(TAKES), f"takes knows {TAKES}, got {self.takes}"

    def __str__(self) -> str:
        return f"{self.function.__module__.removeprefix('lbdl.')}.{self.function.__qualname__}"

    def fresh(self, **changed: Any) -> dict[str, Any]:
        """The arguments, copied, some of them exchanged."""
        return {
            **{name: copied(x) for name, x in self.arguments.items()},
            **changed,
        }

    def __call__(self, **changed: Any) -> Any:
        return self.run(self.fresh(**changed))

    def run(self, arguments: dict[str, Any]) -> Any:
        """The function of arguments by name; a list of further ones goes where the function has its star."""
        parameters = inspect.signature(self.function).parameters.values()
        star = next(
            (p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None
        )
        if star is None:
            return self.function(**arguments)
        before = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        named = {k: v for k, v in arguments.items() if k not in (*before, star)}
        rest = (
            arguments[star]
            if isinstance(arguments[star], list)
            else [arguments[star]]
        )
        return self.function(*[arguments[k] for k in before], *rest, **named)

    def accepts(self, argument: str, kind: str) -> bool:
        """Whether an argument rightly takes a kind of thing."""
        kinds = self.takes.get(argument, "").split()
        return kind in kinds or "anything" in kinds

    def tensors(self) -> dict[str, Tensor]:
        """The arguments that are floating tensors."""
        given = self.arguments.items()
        return {name: x for name, x in given if is_floating(x)}


def calls() -> list[Call]:
    """All calls of all topics."""
    files = sorted(HERE.glob("*/[a-z]*.py"))
    names = [f"tests.calls.{path.parent.name}.{path.stem}" for path in files]
    return [call for name in names for call in importlib.import_module(name).CALLS]


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, the same every time."""
    return torch.randn(shape, generator=generator(seed))


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Numbers from 0 to 1, the same every time."""
    return torch.rand(shape, generator=generator(seed))


def labels(*shape: int, below: int, seed: int = 0) -> Tensor:
    """Class numbers, the same every time."""
    return torch.randint(below, shape, generator=generator(seed))


def generator(seed: int = 0) -> Generator:
    """A fresh source of randomness."""
    return torch.Generator().manual_seed(seed)


def is_floating(x: Any) -> bool:
    """Whether x is a floating tensor."""
    return isinstance(x, Tensor) and x.is_floating_point()


def copied(x: Any) -> Any:
    """A copy that shares nothing; a generator in the same state; functions and modules as `deepcopy` has them."""
    if isinstance(x, Generator):
        twin = torch.Generator(x.device)
        twin.set_state(x.get_state())
        return twin
    return changed(
        x, lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf
    )


def changed(x: Any, change: Callable[[Any], Any]) -> Any:
    """The same lists, tuples, dicts and dataclasses around changed leaves."""
    if isinstance(x, list | tuple) and not hasattr(x, "_fields"):
        return type(x)(changed(part, change) for part in x)
    if isinstance(x, dict):
        return {name: changed(part, change) for name, part in x.items()}
    if isinstance(x, nn.Module):
        return copy.deepcopy(x)
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        parts = {
            f.name: changed(getattr(x, f.name), change)
            for f in dataclasses.fields(x)
            if f.init
        }
        return type(x)(**parts)
    return change(x)


def leaves(x: Any) -> Iterator[Any]:
    """All leaves of lists, tuples, dicts and dataclasses."""
    if isinstance(x, list | tuple):
        for part in x:
            yield from leaves(part)
    elif isinstance(x, dict):
        yield from leaves(list(x.values()))
    elif dataclasses.is_dataclass(x) and not isinstance(x, type):
        yield from leaves([getattr(x, f.name) for f in dataclasses.fields(x)])
    else:
        yield x
