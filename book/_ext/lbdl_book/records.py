"""Tables of recorded results: `{races}` from `bench/recorded`, `{experiments}` from `lbdl/experiments/recorded`."""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from lbdl.experiments import find_one
from lbdl.lab.results import read_result


def install(app: Sphinx) -> None:
    """Add the two directives."""
    app.add_directive("races", Races)
    app.add_directive("experiments", Experiments)
    app.connect("env-get-outdated", pages_with_other_files)


def pages_with_other_files(
    app: Sphinx, env: BuildEnvironment, *changes: set[str]
) -> list[str]:
    """Pages whose folder holds files that were not there, or has lost some; Sphinx itself sees changed files."""
    recorded = {
        name: page["lbdl_records"]
        for name, page in env.metadata.items()
        if "lbdl_records" in page
    }
    return [
        docname
        for docname, (pattern, files) in recorded.items()
        if files != [str(file) for file in sorted(Path(app.srcdir).glob(pattern))]
    ]


class RecordedTable(SphinxDirective):
    """A directive that renders the files of one folder, and is rendered again when they change."""

    folder: str
    suffix: str

    def run(self) -> list[nodes.Node]:
        pattern = f"{self.folder}/**/*{self.suffix}"
        files = sorted(Path(self.env.srcdir).glob(pattern))
        self.env.metadata[self.env.docname]["lbdl_records"] = (
            pattern,
            [str(file) for file in files],
        )
        for file in files:
            self.env.note_dependency(str(file))
        rendered = (list(self.render(file)) for file in files)
        sections = [self.section(*pieces) for pieces in rendered if pieces]
        return sections or [nodes.paragraph("", "Nothing is recorded yet.")]

    def section(self, heading: str, *html: str) -> nodes.section:
        """One file as a section of the page, so that its contents list it."""
        section = nodes.section(names=[nodes.fully_normalize_name(heading)])
        section += nodes.title(heading, heading)
        section += nodes.raw("", "\n".join(html), format="html")
        self.state.document.note_implicit_target(section, section)
        return section

    def render(self, file: Path) -> Iterator[str]:
        """The heading of one recorded file, then its HTML."""
        raise NotImplementedError


class Races(RecordedTable):
    """One table a topic: our time against the package that a user would pick instead."""

    folder, suffix = "bench/recorded", ".json"

    def render(self, file: Path) -> Iterator[str]:
        record = json.loads(file.read_text("utf-8"))
        machine = ", ".join(
            f"{key} {value}" for key, value in record["machine"].items()
        )
        on_gpu = "gpu" in record["machine"]
        yield title(record["topic"]) + ", on a GPU" * on_gpu
        yield f"<p>Recorded {escape(record['date'])} on {escape(machine)}.</p>"
        head = (
            "job",
            "peer",
            "peer, ms",
            "ours, ms",
            "ours / peer",
            "goal",
            *(["floor, ms", "ours / floor"] if on_gpu else []),
            "reached",
            "note",
        )
        rows = (race_row(race, on_gpu) for race in record["races"])
        yield table(head, rows)


class Experiments(RecordedTable):
    """One entry a recorded experiment: what it shows, on which device, what came out, and how to repeat it."""

    folder, suffix = "lbdl/experiments/recorded", ".npz"

    def render(self, file: Path) -> Iterator[str]:
        result = read_result(file)
        others = list(file.parent.glob(f"{result.experiment}-*.npz"))
        if result.scale == "small" and len(others) > 1:
            return  # the witness of a larger one
        declared = find_one(result.experiment)
        chapter = self.env.app.builder.get_relative_uri(
            self.env.docname, f"book/{declared.chapter}"
        )
        yield f"{title(result.experiment)}, scale {result.scale}"
        yield f"<p>What it shows: {escape(declared.shows)}.</p>"
        yield f'<p>Chapter: <a href="{chapter}">{escape(title(declared.chapter))}</a>.</p>'
        yield f"<p>{escape(result.provenance)}.</p>"
        yield (
            f"<p>Made at commit <code>{escape(result.commit)}</code>. Again: "
            f"<code>{escape(result.command)}</code></p>"
        )
        found = {
            name: str(array.tolist())
            for name, array in result.arrays.items()
            if array.numel() <= 8
        } | result.numbers
        rows = [*result.parameters.items(), *found.items()]
        yield table(
            ("parameter or finding", "value"),
            ((key, text(value)) for key, value in rows),
        )


MEASURED = ("peer_ms", "ours_ms", "ratio", "goal")
AND_ITS_FLOOR = (*MEASURED, "floor_ms", "floors")  # one copy of the table, on a GPU


def race_row(race: dict[str, Any], on_gpu: bool = False) -> list[str]:
    """The cells of one race; a quantity that was not measured stays empty."""
    columns = AND_ITS_FLOOR if on_gpu else MEASURED
    numbers = [text(race.get(key)) for key in columns]
    reached = {True: "yes", False: "no"}.get(race.get("reached"), "")
    told = "floor" in race and not on_gpu
    floor = f"floor {text(race['floor'])}" if told else ""
    return [
        race["job"],
        race["peer"],
        *numbers,
        reached,
        "; ".join(filter(None, (floor, race.get("note")))),
    ]


def text(value: Any) -> str:
    """Numbers to three significant digits, without an exponent; anything else as it is."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value)


def title(name: str) -> str:
    """`models/softmax` or `map_of_trainability` as words."""
    return name.rsplit("/", 1)[-1].replace("_", " ").capitalize()


def table(
    head: tuple[str, ...], rows: Iterator[tuple[str, str] | list[str]]
) -> str:
    """An HTML table inside a box of its own that scrolls when it is too wide."""
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        '<div class="pst-scrollable-table-container" tabindex="0" role="region" aria-label="table">'
        f'<table class="table lbdl-records"><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'
    )
