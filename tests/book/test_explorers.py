"""Every slider of the built book, moved by keys, by mouse and by touch; and what it says
in each of its states."""

import base64
import json
import re
import zlib
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Locator, Page

from tests.book.conftest import HTML
from tests.book.watched import DESKTOP, PHONE, WITH_SLIDERS, Watched, ready

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", WITH_SLIDERS)
def test_every_slider_moves_its_picture(
    browser: Browser, html: Path, name: str
) -> None:
    with Watched(browser, name) as watched:
        explorers = ready(watched.page)
        assert_on_the_first_screen(explorers[0], name, DESKTOP)
        for explorer in explorers:
            for control in explorer.locator("input, select").all():
                start = control.input_value()
                assert moved_by_keyboard(watched.page, explorer, control), (
                    "by keyboard"
                )
                if control.evaluate("c => c.tagName") == "INPUT":
                    assert moved_by_mouse(explorer, control), "by mouse"
                    assert control.get_attribute("aria-valuetext"), (
                        "the value is announced"
                    )
                put_back(control, start)
        assert watched.errors == []


@pytest.mark.parametrize("name", WITH_SLIDERS)
def test_every_slider_moves_by_touch_on_a_phone(
    browser: Browser, html: Path, name: str
) -> None:
    with Watched(browser, name, PHONE) as watched:
        explorers = ready(watched.page)
        assert_on_the_first_screen(explorers[0], name, PHONE)
        for explorer in explorers:
            for control in explorer.locator("input").all():
                box = control.bounding_box() or {}
                assert box["width"] >= 250 and box["height"] >= 44, "for a thumb"
                start = control.input_value()
                assert any(
                    changes(explorer, lambda c=control, f=f: tap(c, f))
                    for f in (0.95, 0.05, 0.5)
                )
                put_back(control, start)


def assert_on_the_first_screen(
    explorer: Locator, name: str, size: tuple[int, int]
) -> None:
    """A chapter begins with something to move, which needs no scrolling; the back
    pages do not."""
    if Path(name).parent.name != "book":
        box = explorer.locator("input, select").first.bounding_box() or {}
        assert box["y"] + box["height"] <= size[1], "below the first screen"


# Arguments of functions, which are no words; and letters.
ARGUMENTS = {
    "lr",
    "eps",
    "std",
    "dim",
    "num",
    "tau",
    "alpha",
    "beta",
    "sigma",
    "temp",
}
# Of the steps that change the picture so many may say the same: numbers are rounded.
SAME = 1 / 6


@pytest.mark.parametrize("name", WITH_SLIDERS)
def test_every_control_changes_the_sentence(html: Path, name: str) -> None:
    """In all states: wherever the other controls stand, a control that changes the
    picture changes what is said of it, nearly at every step."""
    for number, (controls, said, drawn) in enumerate(explorers(HTML / name), 1):
        for place, control in enumerate(controls):
            where = f"{control['name']!r} of explorer {number}"
            steps = []
            for line in lines(controls, place):
                pairs = [(a, b) for a, b in pairwise(line) if drawn[a] != drawn[b]]
                steps += pairs
                assert not pairs or len({said[i] for i in line}) > 1, where
            assert sum(said[a] == said[b] for a, b in steps) <= SAME * len(steps), (
                where
            )


@pytest.mark.parametrize("name", WITH_SLIDERS)
def test_controls_are_named_in_words(html: Path, name: str) -> None:
    """No argument of a function, no lone letter; and numbers without powers of ten where
    they are large."""
    for controls, said, _ in explorers(HTML / name):
        assert all(said), "every state has its sentence"
        for control in controls:
            words = re.findall(r"[^\W\d_]{2,}", control["name"])
            assert set(words) - ARGUMENTS, control["name"]
            assert "_" not in control["name"]
            assert not [text for text in control["texts"] if "e+" in text]


def explorers(page: Path) -> Iterator[tuple[list[dict[str, Any]], list[str], list]]:
    """The explorers of a page: controls, and the sentence and the picture of each
    state."""
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    for explorer in soup.select("lbdl-explore"):
        setup = explorer.find("script", type="application/json").string
        packed = explorer.find("script", type="application/octet-stream").string
        data = json.loads(zlib.decompress(base64.b64decode(packed)))
        yield json.loads(setup)["controls"], data["sentences"], data["frames"]


def lines(controls: list[dict[str, Any]], place: int) -> Iterator[list[int]]:
    """The states through which one control leads, for each setting of the others."""
    sizes = [range(len(control["texts"])) for control in controls]
    numbers = {state: n for n, state in enumerate(product(*sizes))}
    for start in product(*sizes[:place], range(1), *sizes[place + 1 :]):
        yield [
            numbers[(*start[:place], i, *start[place + 1 :])] for i in sizes[place]
        ]


def test_the_address_leads_to_a_state(browser: Browser, html: Path) -> None:
    """What a reader has set is in the address, and the address sets it."""
    name = "book/models/softmax.html"
    with Watched(browser, name) as watched:
        second = ready(watched.page)[1]
        control = second.locator("input").last
        control.focus()
        control.press("End")
        watched.page.wait_for_function(
            "() => location.hash.startsWith('#explore-2=')"
        )
        address, state = watched.page.url, second.get_attribute("data-state")
    with Watched(browser, name) as watched:
        start = ready(watched.page)[1].get_attribute("data-state")
        assert start != state
        watched.page.goto(address)
        second = ready(watched.page)[1]
        assert second.get_attribute("data-state") == state
        assert second.evaluate(
            "e => { const { top, bottom } = e.getBoundingClientRect();"
            " return top < innerHeight && bottom > 0; }"
        ), "it is in view"
        for wrong in ("#explore-2=9999", "#explore-99=0", "#explore-2="):
            watched.page.evaluate("hash => { location.hash = hash; }", wrong)
        assert second.get_attribute("data-state") == state
        assert watched.errors == []


def test_a_slider_stays_in_view_while_the_text_scrolls(
    browser: Browser, html: Path
) -> None:
    with Watched(browser, "book/models/softmax.html") as watched:
        explorer = ready(watched.page)[0]
        button = explorer.get_by_role("button", name="Keep in view")
        before = explorer.evaluate("e => e.offsetHeight")
        button.click()
        watched.page.evaluate("scrollTo(0, 5000)")
        control = explorer.locator("input").first
        box = control.bounding_box() or {}
        assert 0 <= box["y"] <= DESKTOP[1] and box["x"] > DESKTOP[0] / 2
        assert changes(explorer, lambda: control.press("End"))
        after = explorer.evaluate("e => e.offsetHeight")
        assert abs(after - before) < 2, (
            "its place stays free: the text does not jump"
        )
        explorer.get_by_role("button", name="Put back").click()
        assert (control.bounding_box() or {"y": 0})["y"] < 0
        assert watched.errors == []


def put_back(control: Locator, value: str) -> None:
    """Move a control to where it started: at the end of one slider, another may
    have nothing to change."""
    control.evaluate(
        "(c, value) => { c.value = value; c.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


# Two frames, or a second where the browser draws none.
DRAWN = """() => new Promise(done => {
    requestAnimationFrame(() => requestAnimationFrame(done));
    setTimeout(done, 1000);
})"""


def changes(explorer: Locator, act: Any) -> bool:
    """Whether the picture differs after `act`."""
    picture = explorer.locator(".picture")
    before = picture.inner_html()
    act()
    explorer.evaluate(DRAWN)
    return picture.inner_html() != before


def moved_by_keyboard(page: Page, explorer: Locator, control: Locator) -> bool:
    """A few steps to either side: one of them must show."""
    control.scroll_into_view_if_needed()
    control.focus()
    keys = (
        ["ArrowRight"] * 4 + ["ArrowLeft"] * 8
        if control.evaluate("c => c.tagName") == "INPUT"
        else ["ArrowDown", "ArrowUp"]
    )
    return any(
        changes(explorer, lambda k=key: page.keyboard.press(k)) for key in keys
    )


def moved_by_mouse(explorer: Locator, control: Locator) -> bool:
    return any(
        changes(explorer, lambda f=f: click(control, f)) for f in (0.97, 0.03, 0.5)
    )


def place(control: Locator, fraction: float) -> dict[str, float]:
    box = control.bounding_box()
    assert box is not None
    return {"x": box["width"] * fraction, "y": box["height"] / 2}


def click(control: Locator, fraction: float) -> None:
    control.click(position=place(control, fraction))


def tap(control: Locator, fraction: float) -> None:
    control.tap(position=place(control, fraction))
