"""Every page of the built book, in a real browser, from the file system, as a
reader without a network opens it."""

import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Locator, Page

from tests.book.conftest import HTML

PAGES = sorted(
    str(path.relative_to(HTML))
    for path in HTML.rglob("*.html")
    if "_static" not in path.parts
)
WITH_SLIDERS = [
    page
    for page in PAGES
    if "<lbdl-explore" in (HTML / page).read_text(encoding="utf-8")
]
DESKTOP, PHONE = (1280, 900), (390, 844)
MEGABYTE = 1_000_000

# Two frames, for the new colours to begin to fade in; then all that fades, to its end.
FADED = """async () => {
    for (const _ of [1, 2]) await new Promise(requestAnimationFrame);
    const passing = document.getAnimations()
        .filter(a => a.playState == "running")
        .filter(a => a.effect.getComputedTiming().endTime < Infinity);
    await Promise.allSettled(passing.map(a => a.finished));
}"""

pytestmark = pytest.mark.browser


class Watched:
    """A page and what a reader must never get from it: requests to the outside,
    errors."""

    def __init__(
        self,
        browser: Browser,
        name: str,
        size: tuple[int, int] = DESKTOP,
        scheme: Any = "light",
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            has_touch=size == PHONE,
        )
        self.page: Page = self.context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on(
            "request",
            lambda r: (
                self.outside.append(r.url)
                if r.url.startswith(("http", "ws"))
                else None
            ),
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda m: (
                self.errors.append(m.text)
                if m.type in ("error", "warning")
                else None
            ),
        )
        self.page.goto((HTML / name).as_uri())
        onward = re.search(
            r'http-equiv="Refresh" content="0; url=(.*?)"',
            (HTML / name).read_text("utf-8"),
        )
        if onward:
            self.page.wait_for_url(
                (HTML / name).parent.joinpath(onward[1]).as_uri()
            )
        self.page.wait_for_load_state("load")

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def wait_for_mathematics(self) -> None:
        self.page.wait_for_function(
            "() => !window.MathJax || (MathJax.startup && MathJax.startup.promise)"
        )
        self.page.evaluate(
            "() => window.MathJax && MathJax.startup.promise"
            ".then(() => { MathJax.startup.document.lazyTypesetAll(); })"
        )
        self.page.wait_for_function("() => !document.querySelector('mjx-lazy')")

    def turn(self, scheme: Any) -> None:
        """Light or dark, as the reader's system says; the page follows in place. The
        theme's colours fade into each other: they are looked at when they stand."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.wait_for_function(
            "scheme => document.documentElement.dataset.theme == scheme", arg=scheme
        )
        self.page.evaluate(FADED)

    def wait_for_self_tests(self) -> None:
        """They look for mathematics half a second after they appear: by now that
        is mostly over."""
        self.page.wait_for_function(
            "() => performance.now() - performance.timing.loadEventEnd"
            " + performance.timing.navigationStart > 600"
        )


def test_there_are_pages(html: Path) -> None:
    assert {"intro.html", "evidence.html", "races.html", "search.html"} <= {
        Path(page).name for page in PAGES
    }
    assert len(WITH_SLIDERS) >= 4


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_clean(
    browser: Browser, html: Path, name: str, size: tuple[int, int]
) -> None:
    """A page is loaded and typeset once for each width, in light on a desktop and in
    dark on a phone, then changes in place; all is asked of the same load."""
    schemes = ("light", "dark") if size == DESKTOP else ("dark", "light")
    with Watched(browser, name, size, schemes[0]) as watched:
        watched.wait_for_mathematics()
        page = watched.page
        for scheme in schemes:
            watched.turn(scheme)
            assert page.evaluate(
                "document.documentElement.scrollWidth <= innerWidth"
            ), "the page scrolls sideways"
            page.evaluate(NOTE_LOOKS)
        assert page.locator(".math:not(:has(mjx-container))").count() == 0, (
            "mathematics is not typeset"
        )
        assert page.locator("mjx-merror").count() == 0
        if size == DESKTOP:
            assert page.evaluate(CUT_EQUATIONS) == []
        watched.wait_for_self_tests()
        assert watched.outside == []
        assert watched.errors == []
        page.evaluate(ONE_OF_EACH)
        for scheme in reversed(schemes):
            watched.turn(scheme)
            assert serious_violations(page) == [], scheme


# axe-core looks at every element; four fifths of its time go to the thousands of spans
# in code and of letters in equations, of which most are like one another: the same tag
# and attributes, colours and size of text, in light and in dark, inside the same block.
# What axe asks of an element depends on nothing else. So of those that are alike one
# stays in each block of code, the others become text; and an equation whose every
# part has its like in an equation before becomes an "x" in its frame.
NOTE_LOOKS = """() => {
    const said = /^(role|aria-.*|tabindex|href|style)$/;  // attributes whose values count
    const look = (element, letter) => {
        const style = getComputedStyle(element);
        return [
            element.localName,
            ...[...element.attributes].map(({ name, value }) =>
                letter && !said.test(name) ? name : name + "=" + value),
            style.color, style.backgroundColor, style.opacity, style.textShadow,
            ...(letter ? [] : [style.fontSize, style.fontWeight]),
        ].join(" ");
    };
    const note = (selector, letter) => document.querySelectorAll(selector).forEach(
        element => { element.looks = (element.looks || "") + look(element, letter); });
    note(".highlight pre span", false);
    note("mjx-container, mjx-container *", true);
}"""

ONE_OF_EACH = """() => {
    document.querySelectorAll(".highlight pre").forEach(block => {
        const seen = new Set();
        block.querySelectorAll("span").forEach(span => {
            if (seen.has(span.looks)) span.replaceWith(...span.childNodes);
            seen.add(span.looks);
        });
        block.normalize();
    });
    const seen = new Set();
    document.querySelectorAll("mjx-container").forEach(equation => {
        const looks = [equation, ...equation.querySelectorAll("*")].map(e => e.looks);
        if (looks.every(look => seen.has(look))) equation.replaceChildren("x");
        looks.forEach(look => seen.add(look));
    });
}"""

CUT_EQUATIONS = """() => {
    document.querySelectorAll("details").forEach(answer => answer.open = true);
    return [...document.querySelectorAll("mjx-container[display=true]")]
        .filter(equation => equation.scrollWidth > equation.clientWidth + 1)
        .map(equation => equation.closest("[id]")?.id);
}"""


def serious_violations(page: Page) -> list[str]:
    """What axe-core finds that keeps people out, one line each."""
    found = Axe().run(page).response["violations"]
    return [
        f"{v['impact']} {v['id']}: {node['html'][:160]} -- {node['failureSummary'][:300]}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"][:3]
    ]


ALIKE = """<!doctype html><html lang="en"><title>Code</title><style>
    .k {{ color: #005a9c }} {style}
    @media (prefers-color-scheme: dark) {{ body {{ background: #000 }}
        .highlight {{ background: #111; color: #eee }} .k {{ color: #7cf }} {dark} }}
    </style><main><h1>Code</h1>
    <div class="highlight"><pre>{code}</pre></div>{mathematics}</main>"""
KEYWORD = '<span class="k">def</span> <span class="n">softmax</span> '
EQUATION = "<mjx-container><mjx-math><mjx-c class='x'>abc</mjx-c></mjx-math></mjx-container> "
FAULTS = {
    "none": {},
    "a class": {"style": ".k { color: #ddd }"},
    "a class, in the dark": {"dark": ".k { color: #222 }"},
    "one of a class": {"code": '<span class="k" style="color: #ddd">if</span>'},
    "one of a class, in the dark": {"dark": "span:last-child { color: #222 }"},
    "an attribute": {"code": '<span class="k" role="nothing">if</span>'},
    "an attribute in an equation": {
        "mathematics": EQUATION.replace("<mjx-c ", "<mjx-c role='nothing' ")
    },
    "a colour in an equation": {
        "mathematics": EQUATION.replace("<mjx-c ", "<mjx-c style='color: #ddd' ")
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_set_aside_has_no_fault_of_its_own(
    browser: Browser, fault: str
) -> None:
    """The violations of the whole page are those of the page with one of each."""
    own = (
        dict.fromkeys(("style", "dark", "code", "mathematics"), "") | FAULTS[fault]
    )
    own["code"] = KEYWORD * 5 + own["code"]
    own["mathematics"] = EQUATION * 5 + own["mathematics"]
    page = browser.new_page()
    page.set_content(ALIKE.format(**own))
    found = []
    for reduced in (False, True):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.evaluate(NOTE_LOOKS if not reduced else "0")
            found.append(
                {line.split(" -- ")[0] for line in serious_violations(page)}
            )
        page.evaluate(ONE_OF_EACH)
    light, dark, light_of_each, dark_of_each = found
    assert bool(light | dark) == (fault != "none")
    assert rules(light) == rules(light_of_each) and rules(dark) == rules(
        dark_of_each
    )
    assert page.locator("span").count() < 5
    page.close()


def rules(violations: set[str]) -> set[str]:
    """Which rules are broken, without the places."""
    return {" ".join(line.split()[:2]) for line in violations}


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


NEAR_THE_TOP = """id => {
    const { top } = document.getElementById(id).getBoundingClientRect();
    return top > -5 && top < 200;
}"""


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_link_leads_to_its_equation(
    browser: Browser, html: Path, size: tuple[int, int]
) -> None:
    """Equations above it are typeset only later, and must not push it away."""
    name = "book/geometry/gaussians.html"
    with Watched(browser, name, size) as watched:
        page = watched.page
        page.wait_for_function("() => window.MathJax?.startup?.promise")
        ids = page.evaluate(
            "[...document.querySelectorAll('[id^=equation-]')].map(e => e.id)"
        )
        for place in (ids[-1], ids[len(ids) // 2]):
            page.evaluate("id => { location.hash = id; }", place)
            page.wait_for_function(NEAR_THE_TOP, arg=place)
            page.wait_for_timeout(1500)  # more is typeset meanwhile
            assert page.evaluate(NEAR_THE_TOP, place), place


def test_equations_wait_until_they_are_near(browser: Browser, html: Path) -> None:
    """And all are there once the browser has been idle."""
    with Watched(browser, "book/evidence.html") as watched:
        page = watched.page
        page.wait_for_function("() => window.MathJax?.startup?.promise")
        page.evaluate("() => MathJax.startup.promise.then(() => true)")
        assert page.locator("mjx-lazy").count() > 100
        page.wait_for_function(
            "() => ![...document.querySelectorAll('mjx-lazy')].some(e => e.offsetParent)",
            timeout=120_000,
        )
        assert watched.errors == []


def put_back(control: Locator, value: str) -> None:
    """Move a control to where it started: at the end of one slider, another may
    have nothing to change."""
    control.evaluate(
        "(c, value) => { c.value = value; c.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


def ready(page: Page) -> list[Locator]:
    """The explorers of a page, once their pictures are unpacked."""
    count = page.locator("lbdl-explore").count()
    page.wait_for_function(
        "n => document.querySelectorAll('lbdl-explore[data-state]').length == n",
        arg=count,
    )
    return page.locator("lbdl-explore").all()


def changes(explorer: Locator, act: Any) -> bool:
    """Whether the picture differs after `act`."""
    picture = explorer.locator(".picture")
    before = picture.inner_html()
    act()
    explorer.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
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


def test_the_search_finds_entmax(browser: Browser, html: Path) -> None:
    with Watched(browser, "search.html") as watched:
        watched.page.goto((HTML / "search.html").as_uri() + "?q=entmax")
        watched.page.wait_for_selector("#search-results li a")
        assert any(
            "softmax" in a.get_attribute("href")
            for a in watched.page.locator("#search-results li a").all()
        )
        assert watched.outside == [] and watched.errors == []


@pytest.mark.parametrize("name", PAGES)
def test_every_internal_link_lands(html: Path, name: str) -> None:
    lost = [
        link for link in internal_links(HTML / name) if not lands(HTML / name, link)
    ]
    assert lost == []


def internal_links(path: Path) -> list[str]:
    soup = soup_of(path)
    links = [a["href"] for a in soup.select("a[href]")]
    links += [
        tag.get("src") or tag.get("href")
        for tag in soup.select("img[src], script[src], link[href]")
    ]
    return sorted(
        {
            link
            for link in links
            if not link.startswith(("http", "mailto:", "data:", "javascript:"))
        }
    )


def lands(path: Path, link: str) -> bool:
    file, anchor = urldefrag(link)
    file = file.split("?")[0]
    target = (path.parent / unquote(file)).resolve() if file else path
    if not target.exists():
        return False
    return not anchor or bool(soup_of(target).find(id=unquote(anchor)))


SOUPS: dict[Path, BeautifulSoup] = {}


def soup_of(path: Path) -> BeautifulSoup:
    if path not in SOUPS:
        SOUPS[path] = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    return SOUPS[path]


@pytest.mark.parametrize("name", PAGES)
def test_what_a_link_leads_to_is_there_once(html: Path, name: str) -> None:
    """Not asked of names that nothing leads to, nor of glyphs in pictures: there
    the same name is the same shape."""
    soup = soup_of(HTML / name)
    names = Counter(tag["id"] for tag in soup.select("[id]:not(svg [id])"))
    assert [
        a["href"]
        for a in soup.select('a[href^="#"]')
        if names[unquote(a["href"][1:])] > 1
    ] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_stays_small(html: Path, name: str) -> None:
    images = [
        HTML / Path(name).parent / unquote(tag["src"])
        for tag in soup_of(HTML / name).select("img[src]")
    ]
    size = (HTML / name).stat().st_size + sum(
        image.stat().st_size for image in set(images) if image.exists()
    )
    assert size < 1.5 * MEGABYTE


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_has_words(html: Path, name: str) -> None:
    for image in soup_of(HTML / name).select("main img"):
        words = image.get("alt", "")
        assert words.strip() and not words.endswith((".png", ".svg")), image
