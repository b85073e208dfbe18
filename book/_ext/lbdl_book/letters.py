"""Letters of the notation page, told where they are used.

Below the introduction of a chapter stands a fold, "Letters and signs": the rows of the
table in `book/notation.md` whose signs its formulas hold. Nobody lists them for a
chapter. What means something else elsewhere names what it belongs to ("$A, B$ of an
adapter", "$m, L$ as curvatures"), and counts where a chapter speaks of that. Rows for
letters that every chapter uses (vectors, matrices) stay on the notation page, to which
the fold leads.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx

from .terms import chapters

NOTATION = "book/notation"
ROW = re.compile(r"^\| (.*[$`].*?) \| (.*) \|$", re.MULTILINE)
OWNER = re.compile(r"\$ (?:of an?|as(?: an?)?) ([\w ]+?)s?$")
NAMES = re.compile(r"\\(?:text|mathrm)\*? ?\{[^}]*\}")
OFTEN = 3  # a chapter that names an owner less often does not speak of it


def alone(letters: str) -> str:
    """One of these letters that is no part of a name and no function."""
    return rf"(?<![\\a-zA-Z{{])[{letters}](?![a-zA-Z(])"


# What the formulas of a chapter hold where it uses a row.
SIGNS = {
    r"$w^{(t)}$, $w_t$": r"w(_\{?t\b|\^\{\(t\)\})",
    r"$e_t$": r"(?<![\\a-zA-Z])e_\{?t\b",
    r"$\langle x, y \rangle$": r"\\langle",
    r"$\lVert x \rVert_p$": r"\\lVert|\\\|",
    r"$m, L$ as curvatures": r"L ?[+/-] ?m|m ?[+/-] ?L|2 ?/ ?L|\\frac\{2\}\{L\}",
    r"$\rho(A)$": r"\\rho ?\(",
    r"$\nabla f(x)$": r"\\nabla",
    r"$A, B, C$ of a state space": alone("AB"),
    r"$A, B$ of an adapter": alone("AB"),
    r"$P, r, \gamma$; $\pi, V, Q$ of a world": r"\\pi|\\gamma|" + alone("PVQ"),
    r"$P, \beta, t, I$ of a machine": alone("PI"),
    r"$\bar\alpha_t, \beta_t, \sigma$ of a diffusion": r"\\bar ?\{?\\alpha|\\sigma",
    r"$a, b$; $\epsilon_\varphi, \epsilon_\psi$ of a distillation": r"\\epsilon_",
    r"$J$ as a Jacobian": alone("J"),
    r"$\Delta^{n-1}$": r"\\Delta\^\{?[a-zA-Z]",
    r"$E, \operatorname{Var}$": alone("E")
    + r"|\\mathbb ?\{?E|\\operatorname\{Var\}",
    r"$\operatorname{sg}(y)$": r"\\operatorname\{sg\}",
    r"$\log$": r"\\log",
}
EVERYWHERE = (r"$w, x, g$", r"$A, H, W$", r"$x_i$", r"`(B, T, d)`")


class Row(NamedTuple):
    """A row of the table: its symbols and their meaning, in Markdown."""

    symbol: str
    meaning: str


def install(app: Sphinx) -> None:
    """Put the folds in place when all pages are read."""
    app.connect("doctree-resolved", render)


@cache
def rows(notation: str) -> tuple[Row, ...]:
    """The rows of the notation page."""
    return tuple(Row(*found) for found in ROW.findall(notation))


def used(table: Iterable[Row], formulas: Iterable[str], words: str) -> list[Row]:
    """The rows of the table that a chapter with these formulas and words uses."""
    text = NAMES.sub(" ", "\n".join(formulas))
    return [row for row in table if uses(row, text, words.lower())]


def uses(row: Row, formulas: str, words: str) -> bool:
    """Whether formulas hold the sign of a row, and words its owner, where it has one."""
    owner = OWNER.search(row.symbol)
    spoken = not owner or words.count(owner[1].lower()) >= OFTEN
    sign = SIGNS.get(row.symbol)
    return bool(sign and spoken and re.search(sign, formulas))


def render(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """The fold of a chapter, between its introduction and its first section."""
    path = Path(app.srcdir) / f"{NOTATION}.md"
    if docname not in chapters(str(app.srcdir)) or not path.exists():
        return
    formulas = (node.astext() for node in doctree.findall(is_formula))
    found = used(rows(path.read_text("utf-8")), formulas, doctree.astext())
    first = next((s for s in doctree.findall(nodes.section) if inner(s)), None)
    if found and first is not None:
        page = app.builder.get_relative_uri(docname, NOTATION)
        html = "".join(fold(found, page))
        place = first.parent.index(first)
        first.parent.insert(place, nodes.raw("", html, format="html"))


def is_formula(node: nodes.Node) -> bool:
    """Whether a node is mathematics."""
    return isinstance(node, nodes.math | nodes.math_block)


def inner(section: nodes.section) -> bool:
    """Whether a section stands in the one of the chapter."""
    return isinstance(section.parent, nodes.section)


def fold(table: list[Row], page: str) -> Iterator[str]:
    """The rows as a table that unfolds, and the way to the whole of it."""
    yield '<details class="lbdl-letters"><summary>Letters and signs</summary><table>'
    for row in table:
        yield f"<tr><th scope='row'>{html(row.symbol)}</th><td>{html(row.meaning)}</td></tr>"
    yield f'</table><p><a href="{escape(page)}">All of the book\'s notation</a></p></details>'


def html(markdown: str) -> str:
    """The Markdown of a cell, formulas as MathJax finds them."""
    code = re.sub(r"`(.+?)`", r"<code>\1</code>", escape(markdown, quote=False))
    formula = r'<span class="math notranslate nohighlight">\\(\1\\)</span>'
    return re.sub(r"\$(.+?)\$", formula, code)
