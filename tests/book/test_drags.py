"""What a reader takes hold of in a picture of the built book: a pointer drags it, keys move
it, a sentence follows."""

import json
import re
from typing import Any

import pytest
from lbdl_book import editions
from playwright.sync_api import Browser, Locator, Page

from tests.book.conftest import HTML
from tests.book.watched import DESKTOP, PAGES, PHONE, Watched, hold, ready

pytestmark = pytest.mark.browser

MARK = "<lbdl-drag data-topic"
WITH_HANDLES = [p for p in PAGES if MARK in (HTML / p).read_text(encoding="utf-8")]
PARTS = {"foundations", "models", "geometry", "frontiers"}
each_page = pytest.mark.parametrize("name", WITH_HANDLES)
each_width = pytest.mark.parametrize(
    "size", [DESKTOP, PHONE], ids=["desktop", "phone"]
)


def test_every_part_has_something_to_hold() -> None:
    assert {name.split("/")[1] for name in WITH_HANDLES} >= PARTS


AT_REST = "drag => drag.waiting === undefined && drag.speaking === undefined"


def looks(drag: Locator) -> list[str]:
    """The picture and the sentence at rest: the picture waits for the screen's next
    refresh, the sentence a quarter of a second for the last of many moves."""
    for _ in range(200):
        if drag.evaluate(AT_REST):
            break
        drag.page.wait_for_timeout(20)
    return [drag.locator(part).inner_html() for part in ("svg", ".sentence")]


def changed(drag: Locator, before: list[str]) -> None:
    """Both are others."""
    for new, old in zip(looks(drag), before, strict=True):
        assert new != old, "the picture or its sentence stays as it was"


@each_width
@each_page
def test_the_hand_and_the_keys_move_every_handle(
    browser: Browser, html: Any, name: str, size: tuple[int, int]
) -> None:
    with Watched(browser, name, size) as watched:
        page = watched.page
        for drag in ready(page, "lbdl-drag"):
            drag.locator(".stage").scroll_into_view_if_needed()
            for handle in drag.locator(".handle").all():
                by_pointer(page, drag, handle)
                by_keys(drag, handle)
            for slider in drag.locator("input").all():
                before = looks(drag)
                slider.press("Home")
                changed(drag, before)
        assert watched.errors == [] and watched.outside == []


def by_pointer(page: Page, drag: Locator, handle: Locator) -> None:
    """A hand's breadth of 30 pixels aside and 20 up."""
    box: Any = handle.bounding_box()
    assert box["width"] >= 44 and box["height"] >= 44, "for a thumb"
    before, (x, y) = looks(drag), hold(handle)
    page.mouse.move(x + 30, y - 20, steps=3)
    page.mouse.up()
    changed(drag, before)


def by_keys(drag: Locator, handle: Locator) -> None:
    before, said = looks(drag), handle.get_attribute("aria-valuetext")
    handle.press("Shift+ArrowDown")
    changed(drag, before)
    assert handle.get_attribute("aria-valuetext") != said, "the value is announced"
    assert (
        handle.get_attribute("aria-label")
        and handle.get_attribute("role") == "slider"
    )


@each_page
def test_the_script_begins_where_the_library_left_off(
    browser: Browser, html: Any, name: str
) -> None:
    """The first sentence is the library's; the script's own follows, and is the same."""
    text = (HTML / name).read_text(encoding="utf-8")
    first = re.findall(MARK + r".*?<p>(.*?)</p>", text, re.DOTALL)
    with Watched(browser, name) as watched:
        drags = ready(watched.page, "lbdl-drag")
        watched.page.wait_for_timeout(600)
        found = [drag.locator(".sentence").inner_text() for drag in drags]
    assert found == first


@each_page
def test_without_a_script_the_first_picture_stands(
    browser: Browser, html: Any, name: str
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((HTML / name).as_uri())
    for drag in page.locator("lbdl-drag").all():
        box: Any = drag.locator("svg").bounding_box()
        assert box["width"] > 300 and box["height"] > 150
        assert len(drag.locator("svg").get_attribute("aria-label") or "") > 20
        assert drag.locator("p").inner_text()
    context.close()


@each_page
def test_what_is_given_is_small(name: str) -> None:
    """A page carries the first picture and a few numbers, no states."""
    text = (HTML / name).read_text(encoding="utf-8")
    for drag in re.findall(MARK + r".*?</lbdl-drag>", text, re.DOTALL):
        found: Any = re.search(
            r'<script type="application/json">(.*?)</script>', drag
        )
        assert json.loads(found[1])["start"] and len(drag) < 60_000


def test_on_paper_it_is_a_picture_and_its_sentence(
    browser: Browser, html: Any
) -> None:
    name = "book/geometry/wasserstein.html"
    with Watched(browser, name) as watched:
        page = watched.page
        due = ready(page, "lbdl-drag")[0].locator(".sentence").inner_text()
        page.wait_for_function(editions.READY)
        still = f"() => {{ ({editions.script('editions.js')})().then(() => {{ window.still = true; }}); }}"
        page.evaluate(still)
        page.wait_for_function("() => window.still", timeout=120_000)
        assert page.locator("lbdl-drag").count() == 0
        figure = page.locator("figure.lbdl-still", has_text=due)
        picture = figure.locator("img")
        assert len(picture.get_attribute("alt") or "") > 20
        assert "data-moves" not in (picture.get_attribute("src") or "")
        assert picture.evaluate("i => i.complete && i.naturalWidth > 0")
        assert figure.locator(".values").count() == 0, "nothing but handles"
