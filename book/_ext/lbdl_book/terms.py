"""Words of the glossary, linked where a chapter first uses them.

Nobody marks them in the text: when a chapter is read, the first use of each entry
(its plural too; an abbreviation in brackets as well, other brackets narrow the meaning
and are not looked for) becomes a link to the glossary, and an entry of the index that
leads to this place. Words of every day are linked only where italics or bold say that
the word is meant as a term. What a link means can be seen without leaving the page
(`previews.js`); the meanings for that stand in `_static/previews-terms.js`.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

GLOSSARY = "book/glossary"
MEANINGS = "previews-terms.js"
ENTRY = re.compile(r"^(\S.*)\n(?=[ \t]+\S)", re.MULTILINE)
EVERYDAY = {
    "calibration",
    "capacity",
    "critic",
    "discount",
    "frozen",
    "gain",
    "idempotent",
    "mask",
    "pole",
    "policy",
    "regret",
    "scan",
    "simplex",
    "support",
    "temperature",
    "twins",
}
# no word of the text: a name, a formula, code, what leads elsewhere already
APART = (
    nodes.title,
    nodes.reference,
    nodes.literal,
    nodes.math,
    nodes.raw,
    nodes.citation,
    nodes.caption,
    addnodes.pending_xref,
)


def install(app: Sphinx) -> None:
    """Link while pages are read, before the domains collect what they index."""
    app.add_transform(LinkTerms)
    app.connect("build-finished", write_meanings)


def entries(glossary: str) -> list[str]:
    """The terms of a glossary page."""
    return ENTRY.findall(glossary.split("```{glossary}")[-1])


def forms(term: str) -> list[str]:
    """What to look for: `weight decay`; of `layer norm (LN)` both; of `bias (of a
    model)` nothing."""
    name, _, short = term.partition(" (")
    short = short.rstrip(")")
    if not short:
        return [name]
    abbreviates = short[1:] != short[1:].lower() and " " not in short
    return [name, short] if abbreviates else []


@cache
def finder(glossary: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern for all forms, the longest first, and the term that each means."""
    pairs = [(form, term) for term in entries(glossary) for form in forms(term)]
    meant = {plain(form): term for form, term in pairs}
    found = sorted((form for form, _ in pairs), key=len, reverse=True)
    words = "|".join(map(spelled, found))
    return re.compile(rf"(?<![\w-])({words})(?:e?s)?(?![\w-])"), meant


def spelled(form: str) -> str:
    """A form at the beginning of a sentence too, its words apart or with a hyphen."""
    words = re.sub(
        r"[ -]", r"[\\s-]", re.escape(form).replace(r"\ ", " ").replace(r"\-", "-")
    )
    first = form[0]
    return f"[{first}{first.upper()}]{words[1:]}" if first.islower() else words


class LinkTerms(SphinxTransform):
    """The first use of each term becomes a link and an entry of the index."""

    default_priority = 840  # the domains collect at 850

    def apply(self, **_: object) -> None:
        path = Path(self.env.srcdir) / f"{GLOSSARY}.md"
        if self.env.docname not in chapters(self.env.srcdir) or not path.exists():
            return
        self.env.note_dependency(str(path))
        pattern, meant = finder(path.read_text(encoding="utf-8"))
        title = next(self.document.findall(nodes.title)).astext()
        seen: set[str] = set()
        for text in list(words(self.document)):
            stressed = isinstance(text.parent, nodes.emphasis | nodes.strong)
            passed = set() if stressed else EVERYDAY
            pieces = list(
                linked(text.astext(), pattern, meant, seen, passed, title)
            )
            if len(pieces) > 1:
                text.parent.replace(text, pieces)


@cache
def chapters(srcdir: str) -> frozenset[str]:
    """The chapters of the book: pages that are notebooks."""
    paths = Path(srcdir).glob("book/*/*.ipynb")
    return frozenset(
        p.relative_to(srcdir).with_suffix("").as_posix() for p in paths
    )


def words(document: nodes.document) -> Iterator[nodes.Text]:
    """The words of paragraphs, in their order."""
    for paragraph in document.findall(nodes.paragraph):
        for text in paragraph.findall(nodes.Text):
            if not any(isinstance(node, APART) for node in above(text)):
                yield text


def above(node: nodes.Node) -> Iterator[nodes.Node]:
    """What a node stands in."""
    while (node := node.parent) is not None:
        yield node


def linked(
    text: str,
    pattern: re.Pattern[str],
    meant: dict[str, str],
    seen: set[str],
    passed: set[str],
    title: str,
) -> Iterator[nodes.Node]:
    """A text in pieces, terms that are new among them as links."""
    end = 0
    for match in pattern.finditer(text):
        term = meant[plain(match[1])]
        if term in seen | passed:
            continue
        seen.add(term)
        yield nodes.Text(text[end : match.start()])
        yield from link(term, match[0], title)
        end = match.end()
    yield nodes.Text(text[end:])


def plain(said: str) -> str:
    """A form in one spelling, whichever way its words are joined."""
    return re.sub(r"[\s-]", " ", said).lower()


def link(term: str, said: str, title: str) -> Iterator[nodes.Node]:
    """A place for the index, and a link into the glossary."""
    name = "term-use-" + nodes.make_id(term)
    shown = nodes.inline(said, said, classes=["xref", "std", "std-term"])
    yield addnodes.index(entries=[("single", f"{term}; {title}", name, "", None)])
    yield nodes.target("", "", ids=[name])
    yield addnodes.pending_xref(
        said,
        shown,
        refdomain="std",
        reftype="term",
        reftarget=term,
        refexplicit=True,
        refwarn=True,
    )


def write_meanings(app: Sphinx, exception: Exception | None) -> None:
    """The meaning of each term as HTML, by the name that links lead to."""
    if exception is not None or app.builder.format != "html":
        return
    page = Path(app.outdir) / app.builder.get_target_uri(GLOSSARY)
    if not page.exists():
        return
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    meanings = {}
    for term in soup.select("dl.glossary dt[id]"):
        for mark in term.select(".headerlink"):
            mark.decompose()
        meaning = term.find_next_sibling("dd")
        name = f"<p><strong>{term.decode_contents().strip()}</strong></p>"
        meanings[term["id"]] = name + (meaning.decode_contents() if meaning else "")
    told = json.dumps(meanings, ensure_ascii=False).replace("</", "<\\/")
    (Path(app.outdir) / "_static" / MEANINGS).write_text(
        f"window.LBDL_TERMS={told};\n", encoding="utf-8"
    )
