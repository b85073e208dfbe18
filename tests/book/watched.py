"""A page of the built book in a browser, and what a reader must never get from it."""

import re
from typing import Any

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

# The theme's colours fade into each other; here they change at once.
STILL = "*, ::before, ::after { transition: none !important; animation: none !important; }"


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
        self.page.add_style_tag(content=STILL)

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def wait_for_mathematics(self) -> None:
        self.page.wait_for_function(
            "() => !window.MathJax || (MathJax.startup && MathJax.startup.promise)"
        )
        self.page.evaluate(
            "() => { window.MathJax && MathJax.startup.promise"
            ".then(() => { MathJax.startup.document.lazyTypesetAll(); window.asked = true; }); }"
        )
        self.page.wait_for_function(
            "() => !window.MathJax || (window.asked && !document.querySelector('mjx-lazy'))",
            timeout=120_000,
        )

    def turn(self, scheme: Any) -> None:
        """Light or dark, as the reader's system says; the page follows in place."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.wait_for_function(
            "scheme => document.documentElement.dataset.theme == scheme", arg=scheme
        )

    def wait_for_self_tests(self) -> None:
        """They look for mathematics half a second after they appear: by now that
        is mostly over."""
        self.page.wait_for_function(
            "() => performance.now() - performance.timing.loadEventEnd"
            " + performance.timing.navigationStart > 600"
        )


def ready(page: Page, kind: str = "lbdl-explore") -> list[Locator]:
    """The elements of this kind on a page, once their scripts have begun."""
    count = page.locator(kind).count()
    page.wait_for_function(
        "([kind, n]) => document.querySelectorAll(`${kind}[data-state]`).length == n",
        arg=[kind, count],
    )
    return page.locator(kind).all()


def hold(handle: Locator) -> tuple[float, float]:
    """Press on the middle of a handle, and once more where the page moved it away under
    the pointer (equations are set and pictures arrive while others are in view). Of
    handles that lie on each other the nearest is taken, whichever is above."""
    handle.evaluate(
        "handle => { handle.held = false; handle.blur();"
        " handle.addEventListener('pointerdown', () => { handle.held = true; }); }"
    )
    mouse = handle.page.mouse
    for _ in range(50):
        handle.scroll_into_view_if_needed()  # waits until it stands still
        box: Any = handle.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse.move(x, y)
        mouse.down()
        if handle.evaluate("h => h.held || h.getRootNode().activeElement == h"):
            return x, y
        mouse.up()
        handle.page.wait_for_timeout(100)
    raise AssertionError("the handle cannot be taken hold of")
