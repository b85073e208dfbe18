"""Words that become links, what needs what, contents and errata that only the whole
book knows; and the landing page, which leads to all of it."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from lbdl_book import letters, paths, terms
from lbdl_book.terms import entries, finder, forms, plain
from lbdl_book.written import numbers

from .plan import ROOT
from .test_book_extension import build, environment  # noqa: F401

GLOSSARY = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("term", "sought"),
    [
        ("weight decay", ["weight decay"]),
        ("low-rank adaptation (LoRA)", ["low-rank adaptation", "LoRA"]),
        ("byte-pair encoding (BPE)", ["byte-pair encoding", "BPE"]),
        ("bias (of a model)", []),
        ("kernel (of a GPU)", []),
    ],
)
def test_a_term_is_sought_by_its_name_and_its_abbreviation(
    term: str, sought: list[str]
):
    assert forms(term) == sought


@pytest.mark.parametrize(
    ("said", "term"),
    [
        ("two learning rates of", "learning rate"),
        ("Learning rates rise", "learning rate"),
        ("the low rank\nadaptation", "low-rank adaptation (LoRA)"),
        ("by LoRA", "low-rank adaptation (LoRA)"),
        ("by BPE", "byte-pair encoding (BPE)"),
        ("self-attention", None),
        ("inattention", None),
        ("the lora of birds", None),
    ],
)
def test_a_term_is_found_in_the_plural_at_a_beginning_and_with_other_joints(
    said: str, term: str | None
):
    pattern, meant = finder(GLOSSARY)
    found = pattern.search(said)
    assert (meant[plain(found[1])] if found else None) == term


def test_the_words_of_every_day_are_words_of_the_glossary():
    assert set(entries(GLOSSARY)) >= terms.EVERYDAY


PAGES = {
    "index": "# Index\n```{toctree}\nbook/part/a\nbook/glossary\nerrata\n```\n",
    "book/glossary": "# Glossary\n```{glossary}\nlogit\n  A score, $x$.\n\n"
    "pole\n  Where it is infinite.\n```\n",
    "errata": "# Errata\n```{errata}\n```\n",
    "book/part/a": "# A logit\n\n`logit` poles, two logits, a logit, *poles*.\n\n"
    "## What the sources say\n\n**'One $x$.'** It is two.\n\nNo more.\n",
}


@pytest.mark.usefixtures("environment")
def test_the_first_use_of_a_term_leads_to_the_glossary_and_the_index_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "book" / "part").mkdir(parents=True)
    monkeypatch.setattr(terms, "chapters", lambda srcdir: ("book/part/a",))
    html, warnings = build(tmp_path, PAGES)
    assert warnings == ""
    page = BeautifulSoup(html["book/part/a"], "html.parser")
    assert [
        (link.text, link["href"]) for link in page.select("a:has(> .std-term)")
    ] == [
        ("logits", "../glossary.html#term-logit"),
        ("poles", "../glossary.html#term-pole"),
    ]
    assert page.find(id="term-use-logit") and page.find(id="term-use-pole")
    index = (tmp_path / "out" / "genindex.html").read_text()
    assert 'href="book/part/a.html#term-use-logit">A logit</a>' in index
    told = (tmp_path / "out" / "_static" / terms.MEANINGS).read_text()
    assert told.startswith("window.LBDL_TERMS=") and "Where it is infinite." in told


@pytest.mark.usefixtures("environment")
def test_errata_are_the_bold_beginnings_of_what_the_sources_say(tmp_path: Path):
    (tmp_path / "book" / "part").mkdir(parents=True)
    html, warnings = build(tmp_path, PAGES)
    assert warnings == ""
    page = BeautifulSoup(html["errata"], "html.parser")
    (heading,) = page.select("section section > h2 > a.internal")
    assert heading["href"] == "book/part/a.html#what-the-sources-say"
    (item,) = page.select("section section li")
    assert "One" in item.text and item.select(".math")


def test_what_a_chapter_needs_stands_before_it():
    for chapter, asked in paths.needs().items():
        assert all(paths.column(other) < paths.column(chapter) for other in asked)
        assert chapter not in asked
    assert paths.needs()["book/models/transformer"] == [
        "book/foundations/autoregression",
        "book/foundations/tokenization",
        "book/models/normalization",
        "book/models/attention",
    ]


def test_a_chapter_leads_to_those_that_need_it_or_to_the_next():
    order = list(numbers())
    for chapter in order[:-1]:
        onward = paths.leads_to(chapter)
        assert onward and chapter not in onward
    assert "book/models/hippo" in paths.leads_to("book/models/state_space")
    assert "book/models/selective" in paths.leads_to("book/models/s4")


NOTATION = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")


def test_every_row_of_the_notation_has_its_sign_or_is_used_everywhere():
    table = [row.symbol for row in letters.rows(NOTATION)]
    assert len(table) == NOTATION.count("\n|") - 2, "every row is read"
    assert set(table) == {*letters.SIGNS, *letters.EVERYWHERE}
    assert not letters.SIGNS.keys() & set(letters.EVERYWHERE)


@pytest.mark.parametrize(
    ("formula", "words", "symbols"),
    [
        (r"\nabla f(w_{t})", "", [r"$w^{(t)}$, $w_t$", r"$\nabla f(x)$"]),
        (r"\|x\| = \max_i |x_i|", "", [r"$\lVert x \rVert_p$"]),
        (r"E(n) + \text{E or J}", "", []),
        (r"\mathbb{E}[x]", "", [r"$E, \operatorname{Var}$"]),
        (r"\operatorname{Var} z", "", [r"$E, \operatorname{Var}$"]),
        (r"J v", "a Jacobian, Jacobians, no jacobian", [r"$J$ as a Jacobian"]),
        (r"J v", "a Jacobian, once", []),
        (r"A B", "adapters: an adapter, adapters", [r"$A, B$ of an adapter"]),
        (r"w_{\theta} + e^{t}", "", []),
    ],
)
def test_a_chapter_uses_what_its_formulas_hold(
    formula: str, words: str, symbols: list[str]
):
    found = letters.used(letters.rows(NOTATION), [formula], words)
    assert [row.symbol for row in found] == symbols


@pytest.mark.usefixtures("environment")
def test_letters_stand_above_the_first_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "book" / "part").mkdir(parents=True)
    monkeypatch.setattr(letters, "chapters", lambda srcdir: ("book/part/a",))
    notation = "# Notation\n\n| Symbol | Meaning |\n|---|---|\n"
    rows = "| $\\log$ | with `e`, $a < b$ |\n| $\\nabla f(x)$ | a slope |\n"
    pages = {
        "index": "# Index\n```{toctree}\nbook/part/a\nbook/notation\n```\n",
        "book/notation": notation + rows,
        "book/part/a": "# A\n\nFirst.\n\n## One\n\n$\\log x$\n\n## Two\n",
    }
    html, warnings = build(tmp_path, pages)
    assert warnings == ""
    page = BeautifulSoup(html["book/part/a"], "html.parser")
    (fold,) = page.select("details.lbdl-letters")
    assert fold.find_next("h2").text.startswith("One")
    assert [row.text for row in fold.select("tr")] == [r"\(\log\)with e, \(a < b\)"]
    assert fold.find("a")["href"] == "../notation.html"


LINK = re.compile(r"^\d+\. \[.*?\]\((\w+/\w+)\.ipynb\): (.*)$", re.MULTILINE)
ROW = re.compile(r"^\|.*?\| \[.*?\]\(book/(\w+/\w+)\.ipynb\) \| (.*?) \|$", re.M)


def test_the_landing_page_leads_to_the_chapters_in_order():
    found = LINK.findall((ROOT / "book" / "intro.md").read_text(encoding="utf-8"))
    assert [f"book/{name}" for name, _ in found] == list(numbers())
    rows = ROW.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found == rows, "the README promises the same"
