"""The controls of an explorer, `Slider` and `Choice`, and the grid of states that
they span."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Slider:
    """A number the reader moves: `steps` values from `low` to `high`.

    What the reader sees is what `draw` gets: values between the ends are rounded to
    three significant digits, at equal ratios to numbers that a person would choose
    (1, 2, 5, 10; with more steps 1, 1.5, 2, 3, 5, 7, 10; doublings stay). `at`,
    where the slider starts, takes the place of the value nearest to it, so that it is
    met exactly.

    Args:
        low: smallest value.
        high: largest value, above `low`.
        at: start value within [low, high]; the middle of the grid when not given.
        steps: how many values, 2 or more.
        log: nearly equal ratios between values instead of equal differences; needs
            `low` > 0. Where two steps would be the same number there is one less.
        integer: round to whole numbers (repeated ones are dropped); `low`, `high`
            and `at` must be whole themselves.
        label: the name beside the slider; the keyword in `explore` when not given.

    Raises:
        ValueError: the bounds, `at`, `steps`, `log` or `integer` contradict each
            other.
    """

    low: float
    high: float
    at: float | None = None
    steps: int = 21
    log: bool = False
    integer: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        if not (
            math.isfinite(self.low)
            and math.isfinite(self.high)
            and self.low < self.high
        ):
            raise ValueError(
                f"Slider needs finite low < high, got low={self.low}, "
                f"high={self.high}"
            )
        if self.steps < 2:
            raise ValueError(f"Slider needs steps >= 2, got steps={self.steps}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log Slider needs low > 0, got low={self.low}")
        if self.at is not None and not self.low <= self.at <= self.high:
            raise ValueError(
                f"Slider needs low <= at <= high, got at={self.at} outside "
                f"[{self.low}, {self.high}]"
            )
        for name in ("low", "high", "at"):
            value = getattr(self, name)
            if self.integer and value is not None and value != round(value):
                raise ValueError(
                    f"an integer Slider needs whole numbers, got {name}={value}"
                )

    @property
    def values(self) -> tuple[float, ...]:
        """The grid, smallest value first."""
        fractions = [i / (self.steps - 1) for i in range(self.steps)]
        if self.log:
            grid = round_numbers(self.low, self.high, self.steps)
        else:
            grid = [self.low + (self.high - self.low) * f for f in fractions]
        inner = [
            round(v) if self.integer else round_to_digits(v, 3) for v in grid[1:-1]
        ]
        values = list(dict.fromkeys([self.low, *inner, self.high]))
        return tuple(values if self.at is None else with_value(values, self.at))

    @property
    def start(self) -> int:
        """Index of the value at which the slider starts."""
        return (
            len(self.values) // 2 if self.at is None else self.values.index(self.at)
        )

    def text(self, value: float) -> str:
        """The value as the reader sees it."""
        return format_number(value)

    def __str__(self) -> str:
        return f"{self.text(self.values[0])} … {self.text(self.values[-1])}"


class Choice:
    """One of a few named options, such as the name of an optimizer.

    Args:
        *options: the options, strings or numbers, in the order shown.
        at: the option to start with; the first when not given.
        label: the name beside the control; the keyword in `explore` when not given.

    Raises:
        ValueError: fewer than two options, an option twice, or `at` is none of
            them.
    """

    def __init__(self, *options: Any, at: Any = None, label: str = "") -> None:
        if len(options) < 2 or len(set(options)) < len(options):
            raise ValueError(
                f"Choice needs two or more different options, got {options}"
            )
        if at is not None and at not in options:
            raise ValueError(
                f"Choice needs `at` to be one of {options}, got {at!r}"
            )
        self.values = options
        self.start = 0 if at is None else options.index(at)
        self.label = label

    def text(self, value: Any) -> str:
        """The option as the reader sees it."""
        return value if isinstance(value, str) else format_number(value)

    def __str__(self) -> str:
        return " | ".join(self.text(v) for v in self.values)


Control = Slider | Choice


def with_value(values: list[float], at: float) -> list[float]:
    """The grid with `at` in it: in place of the nearest value between the ends, or
    between two ends alone."""
    if at in values:
        return values
    if len(values) == 2:
        return [values[0], at, values[1]]
    nearest = min(range(1, len(values) - 1), key=lambda i: abs(values[i] - at))
    return [*values[:nearest], at, *values[nearest + 1 :]]


# Numbers that a person would choose, from 1 to 10: few, or more where there are more steps.
LADDERS = (
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    tuple(i / 10 for i in range(10, 100)),
)


def round_numbers(low: float, high: float, steps: int) -> list[float]:
    """From `low` to `high` at nearly equal ratios: doublings, with three halves between
    where there are as many again, and other whole ratios as they are; else the nearest
    numbers of the shortest ladder that has one for each step."""
    ratio = (high / low) ** (1 / (steps - 1))
    if abs(ratio - round(ratio)) < 1e-9:
        return [low * round(ratio) ** i for i in range(steps)]
    if abs(ratio**2 - 2) < 1e-9:
        return [low * 2 ** (i // 2) * (1.5 if i % 2 else 1) for i in range(steps)]
    decade = math.log(10) / math.log(ratio)  # steps
    ladder = next((x for x in LADDERS if len(x) >= decade - 0.01), LADDERS[-1])
    inner = [nearest_on(ladder, low * ratio**i) for i in range(1, steps - 1)]
    return [low, *(v for v in inner if low < v < high), high]


def nearest_on(ladder: Sequence[float], value: float) -> float:
    """The number of a ladder, times a power of ten, that is nearest by its ratio."""
    power = math.floor(math.log10(value))
    rungs = [r * 10.0 ** (power + k) for k in (0, 1) for r in ladder]
    return min(rungs, key=lambda r: abs(math.log(r / value)))


def round_to_digits(value: float, digits: int) -> float:
    """`value` rounded to so many significant digits; what is 0 up to rounding error
    becomes 0."""
    return 0.0 if abs(value) < 1e-12 else float(f"{value:.{digits}g}")


def format_number(value: float) -> str:
    """A number as a reader would write it: 0.01, 1.2, 64, 0.0005, 20,000, 2e-06."""
    if 1e-4 <= abs(value) < 1e9:
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if digits else text
    return f"{value:.4g}"


def states(controls: Mapping[str, Control]) -> Iterator[dict[str, Any]]:
    """Every state of the grid, the last control moving fastest."""
    for values in itertools.product(*(c.values for c in controls.values())):
        yield dict(zip(controls, values, strict=True))


def start_state(controls: Mapping[str, Control]) -> dict[str, Any]:
    """The state shown first."""
    return {name: c.values[c.start] for name, c in controls.items()}


def label_of(name: str, control: Control) -> str:
    """The name beside a control."""
    return control.label or name.replace("_", " ")


def line(controls: Mapping[str, Control]) -> str:
    """The explorer in plain text, the same on every machine:
    `explore(lr: 0.01 … 1.2, momentum: 0 … 0.99)`."""
    return f"explore({', '.join(f'{name}: {control}' for name, control in controls.items())})"
