"""Links of the built book: what they lead to can be seen beside them, words lead to
the glossary, the index into chapters; how far the reader is stays in the browser."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from lbdl_book import letters, paths
from lbdl_book.written import ROOT, numbers
from playwright.sync_api import Browser, Page, expect

from tests.book.conftest import HTML
from tests.book.watched import DESKTOP, PHONE, Watched

pytestmark = pytest.mark.browser

CHAPTER = "book/foundations/gradient_descent.html"
PREVIEW = "#lbdl-preview"
KINDS = {  # a link, and what its preview shows
    "a term": ("article a:has(> .std-term)", "p strong"),
    "an equation": (
        "article a.reference[href^='#equation-']",
        "mjx-container mjx-math",
    ),
    "a paper": ("article a.reference[href^='#id']", "a[href^='https://']"),
    "a check's equation": (
        "article .lbdl-check a.lbdl-eq",
        "mjx-container mjx-math",
    ),
}


def hover(page: Page, selector: str) -> None:
    link = page.locator(selector).first
    link.scroll_into_view_if_needed()
    page.wait_for_timeout(300)  # what comes near is typeset, and moves
    link.hover()


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_shows_what_it_leads_to(
    browser: Browser, html: Path, kind: str
) -> None:
    selector, shown = KINDS[kind]
    with Watched(browser, CHAPTER) as watched:
        watched.wait_for_mathematics()
        hover(watched.page, selector)
        expect(watched.page.locator(PREVIEW)).to_be_visible()
        expect(watched.page.locator(f"{PREVIEW} {shown}").first).to_be_visible()
        inside = watched.page.locator(PREVIEW).evaluate(
            "box => { const r = box.getBoundingClientRect();"
            " return r.left >= 0 && r.right <= innerWidth && r.top >= 0; }"
        )
        assert inside
        assert watched.page.locator(f"{PREVIEW} [id]").count() == 0
        watched.page.keyboard.press("Escape")
        expect(watched.page.locator(PREVIEW)).to_be_hidden()
        assert watched.outside == [] and watched.errors == []


def test_the_keyboard_shows_it_too_and_a_screen_reader_is_told(
    browser: Browser, html: Path
) -> None:
    with Watched(browser, CHAPTER) as watched:
        page = watched.page
        link = page.locator(KINDS["a term"][0]).first
        link.scroll_into_view_if_needed()
        page.keyboard.press("Tab")  # from here on, focus is by the keyboard
        link.focus()
        expect(page.locator(PREVIEW)).to_be_visible()
        assert link.get_attribute("aria-describedby") == "lbdl-preview"
        assert page.locator(PREVIEW).get_attribute("role") == "tooltip"
        page.keyboard.press("Tab")
        assert link.get_attribute("aria-describedby") is None


def test_the_index_leads_into_chapters(browser: Browser, html: Path) -> None:
    with Watched(browser, "genindex.html") as watched:
        page = watched.page
        into = page.locator("table.indextable a[href^='book/'][href*='#term-use-']")
        assert into.count() > 100
        into.first.click()
        page.wait_for_url(re.compile("#term-use-"))
        assert page.evaluate("document.querySelector(location.hash) !== null")


@pytest.mark.parametrize("name", ["evidence", "races", "experiments", "errata"])
def test_long_pages_have_their_contents_at_the_side(
    browser: Browser, html: Path, name: str
) -> None:
    with Watched(browser, f"book/{name}.html") as watched:
        page = watched.page
        links = page.locator(".bd-sidebar-secondary .page-toc a, nav.page-toc a")
        assert links.count() >= 10
        for link in links.all():
            name = (link.get_attribute("href") or "")[1:]
            assert not name or page.locator(f"[id='{name}']").count() == 1


def test_the_contents_at_the_side_name_the_section_that_is_read(
    browser: Browser, html: Path
) -> None:
    with Watched(browser, CHAPTER) as watched:
        page = watched.page
        page.wait_for_function(
            "() => window.bootstrap.ScrollSpy.getInstance(document.body)"
        )
        links = page.locator("nav.page-toc > ul > li > a")
        for link in (links.nth(2), links.nth(4)):
            place = page.locator(str(link.get_attribute("href")))
            place.evaluate("e => e.scrollIntoView({ behavior: 'instant' })")
            page.wait_for_function(
                "name => document.querySelector('.page-toc a.active')"
                "?.getAttribute('href') === name",
                arg=link.get_attribute("href"),
            )


def test_what_was_read_is_kept_in_the_browser_and_can_be_forgotten(
    browser: Browser, html: Path
) -> None:
    with Watched(browser, CHAPTER) as watched:
        page = watched.page
        assert page.evaluate("localStorage.getItem('lbdl-read')") is None
        page.locator("nav.lbdl-onward").scroll_into_view_if_needed()
        page.wait_for_function("() => localStorage.getItem('lbdl-read')")
        page.goto((HTML / "book" / "intro.html").as_uri())
        read = page.locator("a.lbdl-read")
        expect(read).to_have_count(1)
        assert "Gradient descent" in read.inner_text()
        expect(page.locator(".lbdl-progress")).to_contain_text("sent nowhere")
        page.get_by_role("button", name="Forget it").click()
        expect(read).to_have_count(0)
        assert page.evaluate("localStorage.getItem('lbdl-read')") == "[]"
        assert watched.outside == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_map_of_the_book_fits_the_page(
    browser: Browser, html: Path, size: tuple[int, int]
) -> None:
    with Watched(browser, "book/intro.html", size) as watched:
        boxes = watched.page.locator("ol.lbdl-paths ul > li")
        assert boxes.count() >= 26
        for box in boxes.all():
            assert box.evaluate("e => e.scrollWidth <= e.clientWidth + 1")


def page_of(chapter: str) -> BeautifulSoup:
    """The built page of a chapter."""
    text = (HTML / f"{chapter}.html").read_text(encoding="utf-8")
    return BeautifulSoup(text, "html.parser")


@pytest.mark.parametrize("chapter", numbers())
def test_the_letters_of_a_chapter_are_those_of_its_formulas(
    html: Path, chapter: str
) -> None:
    """Read again from the page: the fold tells the rows whose signs the page shows, in
    the order of the notation page, and nothing where there is none."""
    table = letters.rows((ROOT / f"{letters.NOTATION}.md").read_text("utf-8"))
    article = page_of(chapter).select_one("article.bd-article")
    folds = [fold.extract() for fold in article.select("details.lbdl-letters")]
    told = [row.th.decode_contents() for fold in folds for row in fold.select("tr")]
    formulas = [formula.get_text() for formula in article.select(".math")]
    due = letters.used(table, formulas, article.get_text())
    assert told == [letters.html(row.symbol) for row in due]


@pytest.mark.parametrize("chapter", numbers())
def test_the_map_around_a_chapter(html: Path, chapter: str) -> None:
    (around,) = page_of(chapter).select("nav.lbdl-onward ol.lbdl-paths")
    columns = {
        column.p.text: [link["data-chapter"] for link in column.select("a")]
        for column in around.find_all("li", recursive=False)
    }
    assert columns.get("This rests on", []) == paths.needs()[chapter]
    assert columns.get("Read next", []) == paths.leads_to(chapter)
    (here,) = around.select("[aria-current=page]")
    assert here.text.startswith(f"{numbers()[chapter]}. ")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_letters_unfold(
    browser: Browser, html: Path, size: tuple[int, int]
) -> None:
    with Watched(browser, CHAPTER, size) as watched:
        fold = watched.page.locator("details.lbdl-letters")
        fold.locator("summary").click()
        expect(fold.locator("mjx-math").first).to_be_visible(timeout=30_000)
        assert fold.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
        assert watched.errors == []


def test_a_page_of_a_book_on_a_disk_names_no_repository(html: Path) -> None:
    text = (HTML / CHAPTER).read_text(encoding="utf-8")
    assert "colab" not in text and "mybinder" not in text
    assert '<meta name="description" content="After this chapter you can' in text
