"""Every page of the built book, in a real browser, from the file system, as a
reader without a network opens it."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from lbdl_book import colours
from playwright.sync_api import Browser, CDPSession, Page, expect
from pygments.token import STANDARD_TYPES

from tests.book.conftest import HTML
from tests.book.watched import DESKTOP, PAGES, PHONE, WITH_SLIDERS, Watched

MEGABYTE = 1_000_000

pytestmark = pytest.mark.browser


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
        assert serious_violations(page) == [], scheme
        watched.turn(schemes[0])  # nothing but colours changes
        assert serious_violations(page, COLOURS) == [], schemes[0]


# axe-core looks at every element; four fifths of its time go to the thousands of spans
# in code and of letters in equations, of which most are like one another: the same tag
# and attributes, colours and size of text, in light and in dark, inside the same block.
# What axe asks of an element depends on nothing else. So of those that are alike one
# stays in each block of code, and one in all equations; the others become text.
NOTE_LOOKS = """() => {
    const said = /^(role|aria-.*|tabindex|href)$/;  // attributes whose values count
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
    const keepOne = (elements, seen = new Set()) => elements.forEach(element => {
        if (seen.has(element.looks)) element.replaceWith(...element.childNodes);
        seen.add(element.looks);
    });
    document.querySelectorAll(".highlight pre").forEach(block => {
        keepOne(block.querySelectorAll("span"));
        block.normalize();
    });
    keepOne(document.querySelectorAll("mjx-container *"));
    document.querySelectorAll("mjx-container").forEach(equation => equation.append("x"));
}"""

CUT_EQUATIONS = """() => {
    document.querySelectorAll("details").forEach(answer => answer.open = true);
    return [...document.querySelectorAll("mjx-container[display=true]")]
        .filter(equation => equation.scrollWidth > equation.clientWidth + 1)
        .map(equation => equation.closest("[id]")?.id);
}"""


COLOURS = ["color-contrast", "link-in-text-block"]  # the rules that look at them


def serious_violations(page: Page, rules: list[str] | None = None) -> list[str]:
    """What axe-core finds that keeps people out, one line each; by all its rules, or
    by these."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}  # half the time
    options |= {"runOnly": rules} if rules else {}
    found = Axe().run(page, options=options).response["violations"]
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


def test_paper_is_white_and_the_page_stays_dark(
    browser: Browser, html: Path
) -> None:
    with Watched(browser, "book/glossary.html", scheme="dark") as watched:
        theme = "document.documentElement.dataset.theme"
        for event, due in (("beforeprint", "light"), ("afterprint", "dark")):
            watched.page.evaluate("name => dispatchEvent(new Event(name))", event)
            assert watched.page.evaluate(theme) == due


def test_plain_words_of_code_have_no_element_and_no_colour_of_their_own(
    browser: Browser, html: Path
) -> None:
    classes = [STANDARD_TYPES[kind] for kind in colours.PLAIN]
    name = "book/models/softmax.html"
    with Watched(browser, name) as watched:
        for scheme in ("light", "dark"):
            watched.turn(scheme)
            text, *plain, number = watched.page.evaluate(
                LOOKS, ["", *classes, "mi"]
            )
            assert set(plain) == {text} != {number}
    code = BeautifulSoup((HTML / name).read_text("utf-8"), "html.parser").select(
        ".highlight pre"
    )
    assert len(code) > 20
    left = [STANDARD_TYPES[kind] for kind in colours.LEFT]
    for block in code:
        assert not block.find_all("span", class_=left)


LOOKS = """classes => classes.map(name => {
    const span = document.createElement("span");
    span.className = name;
    document.querySelector(".highlight pre").append(span);
    const style = getComputedStyle(span);
    return [style.color, style.backgroundColor, style.fontWeight, style.fontStyle].join();
})"""


def test_equations_wait_until_they_are_near(browser: Browser, html: Path) -> None:
    """And all are there once the browser has been idle."""
    with Watched(browser, "book/models/attention.html") as watched:
        page = watched.page
        page.wait_for_function("() => window.MathJax?.startup?.promise")
        page.wait_for_function(
            "() => document.querySelectorAll('mjx-lazy').length > 9"
        )
        page.wait_for_function(TYPESET, timeout=120_000)
        assert watched.errors == []


TYPESET = """() => {
    const waiting = [...document.querySelectorAll("mjx-lazy")];
    return !waiting.some(e => e.checkVisibility());
}"""
EVIDENCE = "book/evidence.html"


@pytest.mark.slow(reason="waits: nothing may be done behind the page's back")
def test_the_evidence_opens_at_once(browser: Browser, html: Path) -> None:
    """By the seconds that the page's own thread works, not by the clock: at most half
    of what it takes with all its equations laid out (0.7 and 2.8 when written)."""
    with Watched(browser, "book/notation.html") as watched:
        page = watched.page
        session = watched.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto((HTML / EVIDENCE).as_uri())
        page.wait_for_function(
            "() => document.querySelectorAll('mjx-lazy').length > 99"
        )
        page.wait_for_timeout(4000)
        opened = seconds_of_work(session)
        assert page.locator("mjx-container mjx-math").count() == 0
        page.evaluate("""() => document.querySelectorAll("details").forEach(
            fold => { fold.open = true; })""")
        page.wait_for_function(TYPESET, timeout=120_000)
        assert opened < seconds_of_work(session) / 2


def seconds_of_work(session: CDPSession) -> float:
    """What the page's own thread has worked since it was loaded."""
    measured = session.send("Performance.getMetrics")["metrics"]
    return {m["name"]: m["value"] for m in measured}["TaskDuration"]


def test_a_chapter_of_the_evidence_unfolds(browser: Browser, html: Path) -> None:
    """By a click, by a link from its contents or from elsewhere, and for the printer."""
    with Watched(browser, EVIDENCE) as watched:
        page = watched.page
        page.evaluate("() => { location.hash = '#attention'; }")
        folds = page.locator("details.lbdl-evidence-of")
        unfolded = page.locator("details.lbdl-evidence-of[open]")
        expect(unfolded).to_have_count(1)
        expect(page.locator("#attention mjx-math").first).to_be_visible()
        folds.first.locator("summary").click()
        page.wait_for_function(TYPESET, timeout=60_000)
        expect(folds.first.locator("mjx-math").first).to_be_visible()
        expect(unfolded).to_have_count(2)
        page.evaluate("() => { dispatchEvent(new Event('beforeprint')); }")
        expect(unfolded).to_have_count(folds.count())
        assert watched.errors == []


def test_the_search_finds_entmax(browser: Browser, html: Path) -> None:
    with Watched(browser, "search.html") as watched:
        watched.page.goto((HTML / "search.html").as_uri() + "?q=entmax")
        watched.page.wait_for_selector("#search-results li a")
        assert any(
            "entmax.html" in a.get_attribute("href")
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
    return not anchor or unquote(anchor) in names_in(target)


@cache
def names_in(path: Path) -> Counter[str]:
    """Every name that a link can lead to, and how often it is given. Not counted
    are glyphs in pictures: there the same name is the same shape."""
    return Counter(tag["id"] for tag in soup_of(path).select("[id]:not(svg [id])"))


@cache
def soup_of(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize("name", PAGES)
def test_what_a_link_leads_to_is_there_once(html: Path, name: str) -> None:
    """Not asked of names that nothing leads to."""
    names = names_in(HTML / name)
    assert [
        a["href"]
        for a in soup_of(HTML / name).select('a[href^="#"]')
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
