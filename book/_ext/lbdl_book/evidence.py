"""Ties every labelled equation to the checks that prove it.

`lbdl.notebook.check` leaves in a chapter's output

    <div class="lbdl-check" id="check-..." data-proves="eq-a eq-b">✓
    claim ... </div>

Here these are collected while pages are read, and used while they are written:
references inside the checks become equation numbers, each proven equation gets a
mark that leads to its check, and the directive `{evidence}` lists it all. An `eq-`
label without a check, and a check of an unknown label, are warnings.
"""

import re
from collections import Counter
from collections.abc import Iterator
from html import escape
from typing import Any, NamedTuple

from bs4 import BeautifulSoup, Tag
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .pages import Listing, Store, chapter_title, html_node, in_order

logger = logging.getLogger(__name__)

CLAIM, DEFINITION = "eq-", "def-"
CHECK_CLASS, REFERENCE_CLASS = "lbdl-check", "lbdl-eq"
REFERENCE = re.compile(
    rf'<a\b[^>]*\bclass="{REFERENCE_CLASS}"[^>]*>.*?</a>', re.DOTALL
)
LABEL = re.compile(r'\bdata-eq="([^"]+)"')


class Check(NamedTuple):
    """One executed check: where it stands, what it claims, which labels it
    proves."""

    docname: str
    anchor: str
    claim: str
    labels: tuple[str, ...]


class Equation(NamedTuple):
    """One labelled equation."""

    docname: str
    label: str
    latex: str


def read_check(element: Tag, docname: str) -> Check:
    """The check in a piece of HTML; its claim is the text without the mark and the
    references."""
    words = [
        str(text)
        for text in element.find_all(string=True)
        if not text.find_parent(class_=REFERENCE_CLASS)
    ]
    claim = " ".join("".join(words).split()).removeprefix("✓").strip(" —,")
    return Check(
        docname,
        str(element["id"]),
        claim,
        tuple(str(element.get("data-proves", "")).split()),
    )


def place_of(chapter: str) -> str:
    """The name of a chapter's part of the list."""
    return nodes.make_id(chapter.rsplit("/", 1)[-1])


CHECKS = Store("checks")  # a list of `Check`
EQUATIONS = Store("equations")  # a list of `Equation`, in the order of the page
LISTING = Listing("evidence", place_of)


def install(app: Sphinx) -> None:
    """Add the directive and the handlers that collect and render."""
    app.add_directive("evidence", EvidenceDirective)
    app.add_node(EvidencePlace)
    app.connect("doctree-read", collect)
    CHECKS.install(app)
    EQUATIONS.install(app)
    app.connect("env-updated", pages_to_rewrite)
    app.connect("env-check-consistency", warn_of_gaps)
    app.connect("doctree-resolved", render)
    app.connect("html-page-context", list_contents)


# ---------------------------------------------------------------- collecting, page
# by page


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Read the checks and the labelled equations of a page."""
    docname = app.env.docname
    blocks = [
        node for node in doctree.findall(nodes.math_block) if node.get("label")
    ]
    equations = [Equation(docname, node["label"], node.astext()) for node in blocks]
    checks = [read_check(element, docname) for element in anchored_checks(doctree)]
    for store, found in ((CHECKS, checks), (EQUATIONS, equations)):
        if found:
            store.of(app.env)[docname] = found


def anchored_checks(doctree: nodes.document) -> Iterator[Tag]:
    """The elements of the page's checks, each with an id that no other check of the
    page has."""
    seen: Counter[str] = Counter()
    for raw in list(doctree.findall(nodes.raw)):
        if CHECK_CLASS not in raw.astext():
            continue
        html = BeautifulSoup(raw.astext(), "html.parser")
        for element in html.select(f".{CHECK_CLASS}"):
            name = str(element.get("id", "check"))
            seen[name] += 1
            element["id"] = name if seen[name] == 1 else f"{name}-{seen[name]}"
            yield element
        raw.replace_self(html_node(str(html)))


def pages_to_rewrite(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Pages that show numbers or marks that another page may have changed."""
    return sorted(
        {*CHECKS.of(env), *EQUATIONS.of(env), *LISTING.pages(env)} & env.found_docs
    )


def proofs(env: BuildEnvironment) -> dict[str, list[Check]]:
    """The checks of each label."""
    found: dict[str, list[Check]] = {}
    for check in (check for checks in CHECKS.of(env).values() for check in checks):
        for label in check.labels:
            found.setdefault(label, []).append(check)
    return found


def warn_of_gaps(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each claim without a check, and of each check that names no equation
    of the book."""
    proven = proofs(env)
    known = {
        equation.label: equation
        for page in EQUATIONS.of(env).values()
        for equation in page
    }
    for label, equation in known.items():
        if label.startswith(CLAIM) and label not in proven:
            logger.warning(
                "equation %s has no check",
                label,
                location=equation.docname,
                type="lbdl",
            )
    for label, checks in proven.items():
        if label not in known:
            logger.warning(
                "check of an unknown equation: %s",
                label,
                location=checks[0].docname,
                type="lbdl",
            )


# ---------------------------------------------------------------- rendering


class EvidencePlace(nodes.General, nodes.Element):
    """Where the list of the `{evidence}` directive will stand."""


class EvidenceDirective(SphinxDirective):
    """Every labelled equation of the book, with the checks that prove it."""

    def run(self) -> list[nodes.Node]:
        LISTING.mark(self.env)
        return [EvidencePlace()]


def render(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Fill in what only the whole book knows."""
    for raw in list(doctree.findall(nodes.raw)):
        if REFERENCE_CLASS in raw.astext():
            raw.replace_self(
                html_node(number_references(app, docname, raw.astext()))
            )
    proven = proofs(app.env)
    for block in list(doctree.findall(nodes.math_block)):
        if block.get("label") in proven:
            whole = marked(app, docname, block, proven[block["label"]])
            # not `replace_self`, which would copy the id
            block.parent.replace(block, whole)
    for place in list(doctree.findall(EvidencePlace)):
        app.env.get_domain("math").data["has_equations"][docname] = (
            True  # so that MathJax is loaded
        )
        place.replace_self(
            html_node("\n".join(evidence_html(app, docname, proven)))
        )


def address(app: Sphinx, docname: str, target: str, anchor: str) -> str:
    """The relative address of an anchor on page `target`, as seen from page
    `docname`."""
    page = (
        "" if docname == target else app.builder.get_relative_uri(docname, target)
    )
    return escape(f"{page}#{anchor}")


def equation_number(env: BuildEnvironment, label: str) -> str:
    """The number that Sphinx prints beside the equation, such as `2.3`."""
    docname, serial = env.get_domain("math").equations[label]
    numbers = env.toc_fignumbers.get(docname, {}).get("displaymath", {})
    return ".".join(
        map(str, numbers.get(nodes.make_id(f"equation-{label}"), (serial,)))
    )


def equation_link(app: Sphinx, docname: str, label: str) -> str:
    """`(2.3)`, linked; the bare label where no equation has it (of which
    `warn_of_gaps` warns)."""
    equations = app.env.get_domain("math").equations
    if label not in equations:
        return escape(label)
    href = address(
        app, docname, equations[label][0], nodes.make_id(f"equation-{label}")
    )
    number = equation_number(app.env, label)
    return f'<a class="{REFERENCE_CLASS}" href="{href}" aria-label="equation {number}">({number})</a>'


def number_references(app: Sphinx, docname: str, html: str) -> str:
    """Replace the labels that the checks in `html` show by equation numbers."""

    def replacement(match: re.Match[str]) -> str:
        label = LABEL.search(match[0])
        return equation_link(app, docname, label[1]) if label else match[0]

    return REFERENCE.sub(replacement, html)


def marked(
    app: Sphinx, docname: str, block: nodes.math_block, checks: list[Check]
) -> nodes.container:
    """The equation with a mark beside it that leads to its first check."""
    check = checks[0]
    name = escape(f"checked: {check.claim}")
    href = address(app, docname, check.docname, check.anchor)
    mark = f'<a class="lbdl-proven" href="{href}" aria-label="{name}" title="{name}">✓</a>'
    return nodes.container(
        "", block.deepcopy(), html_node(mark), classes=["lbdl-proven-equation"]
    )


def chapters_with_equations(
    env: BuildEnvironment,
) -> Iterator[tuple[str, list[Equation]]]:
    """Pages that hold labelled equations, in the order of the book."""
    found = EQUATIONS.of(env)
    yield from ((docname, found[docname]) for docname in in_order(env, found))


def evidence_html(
    app: Sphinx, docname: str, proven: dict[str, list[Check]]
) -> Iterator[str]:
    """The counts, then every chapter with its equations and their checks, folded:
    what is folded is not typeset, and the page opens at once."""
    everything = [
        equation
        for _, page in chapters_with_equations(app.env)
        for equation in page
    ]
    yield f'<p class="lbdl-evidence-count">{counts(everything, proven)}</p>'
    for chapter, equations in chapters_with_equations(app.env):
        href = escape(app.builder.get_relative_uri(docname, chapter))
        yield f'<section id="{place_of(chapter)}">'
        yield f'<h2><a href="{href}">{chapter_title(app.env, chapter)}</a></h2>'
        yield '<details class="lbdl-evidence-of">'
        yield f"<summary>{counts(equations, proven)}</summary>"
        yield '<ul class="lbdl-evidence">'
        claims = [
            equation for equation in equations if equation.label.startswith(CLAIM)
        ]
        yield from (
            equation_html(app, docname, equation, proven.get(equation.label, []))
            for equation in claims
        )
        yield "</ul></details></section>"


def list_contents(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """The contents of the evidence page."""
    LISTING.tell(app.env, pagename, context, EQUATIONS.of(app.env))


def counts(equations: list[Equation], proven: dict[str, list[Check]]) -> str:
    """How many claims are proven, and how many definitions there are."""
    claims = [
        equation.label for equation in equations if equation.label.startswith(CLAIM)
    ]
    definitions = sum(
        equation.label.startswith(DEFINITION) for equation in equations
    )
    done = sum(label in proven for label in claims)
    return f"<strong>{done} of {len(claims)}</strong> equations checked; {definitions} definitions."


def equation_html(
    app: Sphinx, docname: str, equation: Equation, checks: list[Check]
) -> str:
    """One equation: its number, the equation itself, the claims of its checks."""
    links = [
        f'<li>✓ <a href="{address(app, docname, check.docname, check.anchor)}">{escape(check.claim)}</a></li>'
        for check in checks
    ] or ["<li>no check</li>"]
    return (
        f'<li><div class="lbdl-evidence-equation">{equation_link(app, docname, equation.label)}'
        rf'<div class="math notranslate nohighlight">\[{escape(displayed(equation.latex))}\]</div></div>'
        f"<ul>{''.join(links)}</ul></li>"
    )


def displayed(latex: str) -> str:
    """LaTeX as Sphinx typesets it: several lines are split."""
    return rf"\begin{{split}}{latex}\end{{split}}" if r"\\" in latex else latex
