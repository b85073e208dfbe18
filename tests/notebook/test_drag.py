"""`drag` in its three modes; its scripts against the library, in a browser; and the hand
and the keys that move a picture."""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page
from torch import Tensor

from lbdl.core import generator
from lbdl.foundations.gradient_descent import (
    gradient_descent,
    heavy_ball,
    iteration_matrix,
    quadratic_bowl,
    spectral_radius,
    trajectory,
)
from lbdl.frontiers.diffusion import (
    Mixture,
    karras_sigmas,
    noised,
    posterior_mean,
    responsibilities,
    sample_ode,
    score,
)
from lbdl.geometry.gaussians import (
    Gaussian,
    bhattacharyya_distance,
    kl_divergence,
)
from lbdl.geometry.wasserstein import wasserstein_squared
from lbdl.models.entmax import sparsemax
from lbdl.models.softmax import softmax
from lbdl.notebook import Slider, figure
from lbdl.notebook.drag import HINT, TOPICS, drag, resource
from lbdl.notebook.page import resource as resource_of_explore
from tests.book.conftest import opened

BOWL, STEPS = [0.4, 4.0], 20
START = {"x": -2.6, "y": 1.4}
LINE = "drag(descent, x = -2.6, y = 1.4, rate: 0.1 … 0.5)"
CASES = 40  # random inputs of each function


def draw(x, y, rate):
    """A walk by the library, with the names that the script moves."""
    bowl, begin = quadratic_bowl(double(BOWL)), double([x, y])
    path = trajectory(gradient_descent, bowl, begin, STEPS, lr=rate)
    losses = bowl(path)
    fig, (top, bottom) = figure(2, 1, height=4)
    top.plot(*path.T, "o-", gid="moves-walk")
    top.plot([x], [y], "o", gid="moves-start")
    top.set(xlim=(-3, 3), ylim=(-2, 2))
    bottom.semilogy(losses, gid="moves-loss")
    along, across = (abs(1 - rate * h) for h in BOWL)
    return fig, (
        f"From ({x:.1f}, {y:.1f}) the loss goes from {losses[0]:.2f} to "
        f"{losses[-1]:.1e} in {STEPS} steps. Error factor per step along the "
        f"valley: {along:.3f}; across it: {across:.3f}."
    )


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def show(**changed: Any) -> None:
    options = {
        "alt": "a walk",
        "start": START,
        "given": {"curvature": BOWL, "steps": STEPS},
        "caption": "A walk.",
        "rate": Slider(0.1, 0.5, at=0.3, steps=5, label="learning rate"),
    }
    drag(changed.pop("topic", "descent"), draw, **options | changed)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bundles handed to `display`, in order."""
    bundles: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "lbdl.notebook.drag.display",
        lambda bundle, **more: bundles.append(bundle | more),
    )
    return bundles


def test_the_page_carries_the_first_picture_and_asks_no_network(shown, monkeypatch):
    monkeypatch.setenv("LBDL_EXPLORE", "page")
    show(alt="a walk & its end")
    (bundle,) = shown
    html = bundle["text/html"]
    assert bundle["text/plain"] == LINE
    assert (
        "<svg" in html
        and "a walk &amp; its end" in html
        and "From (-2.6, 1.4)" in html
    )
    assert re.findall(r'data-moves="(\w+)"', html) == ["walk", "start", "loss"]
    found = re.search(r'<script type="application/json">(.*?)</script>', html)
    setup = json.loads(found[1])
    assert setup["parts"] == {"walk": 0, "start": 0, "loss": 1}
    assert [axes["y"][2] for axes in setup["axes"]] == [False, True], (
        "which is logarithmic"
    )
    assert not re.search(r"""(src|href)=["']?https?:|url\(["']?https?:""", html)


def test_a_still_notebook_shows_a_picture_and_a_sentence(shown, monkeypatch):
    monkeypatch.setenv("LBDL_EXPLORE", "still")
    show()
    picture, hint = shown
    assert picture["text/plain"] == LINE
    assert picture["image/png"].startswith(b"\x89PNG")
    assert picture["metadata"] == {"image/png": {"alt": "a walk"}}
    assert hint["text/markdown"] == HINT


def test_plain_text_without_a_kernel(capsys, monkeypatch):
    monkeypatch.delenv("LBDL_EXPLORE", raising=False)
    show()
    assert capsys.readouterr().out == LINE + "\n"


def test_bad_calls_are_named(monkeypatch):
    with pytest.raises(
        ValueError, match="descent, gaussian, softmax, got 'ascent'"
    ):
        show(topic="ascent")
    with pytest.raises(ValueError, match="alternative text"):
        show(alt=" ")
    with pytest.raises(TypeError, match="'rate', got float"):
        show(rate=0.1)
    monkeypatch.setenv("LBDL_EXPLORE", "movie")
    with pytest.raises(ValueError, match="live, page, still"):
        show()


# --- The scripts of the topics against the library ----------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened() as found:
        yield found


@pytest.fixture(scope="module")
def scripts(browser: Browser) -> Iterator[Page]:
    """A page that holds the scripts and nothing else."""
    names = ["drag.js", *(f"{topic}.js" for topic in TOPICS)]
    texts = [resource_of_explore("explore.js"), *map(resource, names)]
    page = browser.new_page()
    page.set_content("".join(f"<script>{text}</script>" for text in texts))
    yield page
    page.close()


def answers(page: Page, function: str, cases: list[list[Any]]) -> Tensor:
    """What a function of the page gives for each list of arguments."""
    ask = f"cases => cases.map(each => lbdlDrag.{function}(...each))"
    return double(page.evaluate(ask, cases))


def uniform(low: float, high: float, *shape: int, stream: str) -> Tensor:
    draws = torch.rand(shape, generator=generator(stream), dtype=torch.float64)
    return low + (high - low) * draws


def same(found: Tensor, due: Tensor) -> None:
    """Equal to a millionth, in size or of what is due."""
    torch.testing.assert_close(found, due, rtol=1e-6, atol=1e-6)


@pytest.mark.browser
def test_the_walk_and_its_error_factor(scripts: Page) -> None:
    starts = uniform(-3, 3, CASES, 2, stream="starts")
    settings = uniform(0.05, 0.95, CASES, 2, stream="settings")
    settings[: CASES // 2, 1] = 0  # half of them without momentum
    cases = [
        [BOWL, s, *rm, STEPS]
        for s, rm in zip(starts.tolist(), settings.tolist(), strict=True)
    ]
    paths = answers(scripts, "descent.path", cases)
    bowl = quadratic_bowl(double(BOWL))
    for begin, (rate, momentum), path in zip(
        starts, settings.tolist(), paths, strict=True
    ):
        due = trajectory(heavy_ball, bowl, begin, STEPS, lr=rate, beta=momentum)
        same(path, due)
        if momentum == 0:
            same(path, trajectory(gradient_descent, bowl, begin, STEPS, lr=rate))
    ends = paths[:, -1]
    same(
        answers(scripts, "descent.loss", [[BOWL, w] for w in ends.tolist()]),
        bowl(ends),
    )
    factors = answers(
        scripts,
        "descent.factor",
        [[h, *rm] for h in BOWL for rm in settings.tolist()],
    )
    matrices = [
        iteration_matrix(double([h]), *rm) for h in BOWL for rm in settings.tolist()
    ]
    same(factors, spectral_radius(torch.stack(matrices)).squeeze())


@pytest.mark.browser
def test_softmax_and_sparsemax(scripts: Page) -> None:
    x = uniform(-6, 6, CASES, 6, stream="scores")
    x[0], x[1, :3] = 0.0, 4.0  # ties
    cases = [[row] for row in x.tolist()]
    same(answers(scripts, "softmax.softmax", cases), softmax(x))
    found = answers(scripts, "softmax.sparsemax", cases)
    same(found, sparsemax(x))
    assert torch.equal(found == 0, sparsemax(x) == 0), "the same exact zeros"


def gaussians(stream: str) -> tuple[list[dict[str, Any]], Gaussian]:
    """Random ones, as the script has them and as the library has them."""
    means = uniform(-4, 4, CASES, 2, stream=f"{stream} means")
    stds = uniform(0.1, 3, CASES, 2, stream=f"{stream} stds")
    angles = uniform(-180, 180, CASES, stream=f"{stream} angles")
    c, s = (angles * math.pi / 180).cos(), (angles * math.pi / 180).sin()
    axes = (
        torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
        * stds[:, None]
    )
    covariances = axes @ axes.mT
    entries = covariances[:, [0, 0, 1], [0, 1, 1]]
    as_script = [
        {"mean": m, "covariance": e, "shape": [*widths, angle]}
        for m, e, widths, angle in zip(
            means.tolist(),
            entries.tolist(),
            stds.tolist(),
            angles.tolist(),
            strict=True,
        )
    ]
    return as_script, Gaussian(means, covariances)


@pytest.mark.browser
def test_the_distances_of_gaussians(scripts: Page) -> None:
    (ours, p), (theirs, q) = gaussians("p"), gaussians("q")
    shapes = answers(
        scripts, "gaussian.covariance", [each["shape"] for each in ours]
    )
    same(shapes, p.covariance[:, [0, 0, 1], [0, 1, 1]])
    pairs = [list(pair) for pair in zip(ours, theirs, strict=True)]
    back = [pair[::-1] for pair in pairs]
    distances: dict[str, Callable[[Gaussian, Gaussian], Tensor]] = {
        "kl": kl_divergence,
        "bhattacharyya": bhattacharyya_distance,
        "wassersteinSquared": wasserstein_squared,
    }
    for name, distance in distances.items():
        same(answers(scripts, f"gaussian.{name}", pairs), distance(p, q))
        same(answers(scripts, f"gaussian.{name}", back), distance(q, p))
        alike = [[each, each] for each in ours]
        same(
            answers(scripts, f"gaussian.{name}", alike),
            torch.zeros(CASES, dtype=torch.float64),
        )


@pytest.mark.browser
def test_the_origin_of_a_noisy_point_and_the_flow(scripts: Page) -> None:
    weights = uniform(0.1, 1, 5, stream="weights")
    clouds = Mixture(
        weights / weights.sum(),
        uniform(-2, 2, 5, 2, stream="centres"),
        uniform(0.02, 0.1, 5, stream="widths"),
    )
    mixture = {
        name: getattr(clouds, name).tolist()
        for name in ("weights", "means", "variances")
    }
    points = uniform(-3, 3, CASES, 2, stream="points")
    for sigma in (0.1, 0.7, 3.0):
        cases = [[mixture, x, sigma] for x in points.tolist()]
        noisy = noised(clouds, 1.0, sigma)
        same(
            answers(scripts, "denoise.responsibilities", cases),
            responsibilities(noisy, points),
        )
        same(answers(scripts, "denoise.score", cases), score(noisy, points))
        same(
            answers(scripts, "denoise.mean", cases),
            posterior_mean(clouds, points, 1.0, sigma),
        )
        levels = answers(scripts, "denoise.levels", [[24, 0.02, sigma]])[0]
        due = torch.cat([karras_sigmas(24, 0.02, sigma), levels.new_zeros(1)])
        same(levels, due)
        paths = answers(
            scripts,
            "denoise.flow",
            [[mixture, x, due.tolist()] for x in points.tolist()],
        )
        same(paths[:, 0], points)
        ends = sample_ode(
            lambda x, s: posterior_mean(clouds, x, 1.0, s), points, due
        )
        same(paths[:, -1], ends)


# --- The hand and the keys ----------------------------------------------------------------------------------------

WIDE, NARROW = (1280, 900), (390, 844)


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def picture(
    request: pytest.FixtureRequest,
    browser: Browser,
    shown: Any,
    monkeypatch: Any,
    tmp_path: Any,
) -> Iterator[Page]:
    """The walk on a page from a disk, at two widths; errors fail."""
    monkeypatch.setenv("LBDL_EXPLORE", "page")
    show()
    width, height = request.param
    head = '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Walk</title>'
    file = tmp_path / "walk.html"
    file.write_text(
        head + "<main><h1>Walk</h1>" + shown[0]["text/html"], encoding="utf-8"
    )
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=width == NARROW[0]
    )
    page, errors = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_selector("lbdl-drag[data-state]")
    yield page
    context.close()
    assert errors == []


def sentence(page: Page) -> str:
    return page.locator("lbdl-drag .sentence").inner_text()


def until(page: Page, words: str) -> None:
    """Wait until the sentence holds these words."""
    page.wait_for_function(
        "words => document.querySelector('lbdl-drag').shadowRoot"
        ".querySelector('.sentence').textContent.includes(words)",
        arg=words,
    )


@pytest.mark.browser
def test_the_first_sentence_is_the_librarys(picture: Page) -> None:
    due = draw(**START, rate=0.3)[1]
    assert sentence(picture) == due
    picture.wait_for_timeout(400)  # by then the script has said its own
    assert sentence(picture) == due


@pytest.mark.browser
def test_a_pointer_drags_the_handle(picture: Page) -> None:
    handle, walk = (
        picture.get_by_role("slider", name="start of the walk"),
        picture.locator("[data-moves=walk]"),
    )
    box, before = handle.bounding_box(), walk.inner_html()
    assert box["width"] >= 44 and box["height"] >= 44, "for a thumb"
    x, y = box["x"] + 22, box["y"] + 22
    picture.mouse.move(x + 5, y - 3)  # not at its centre: it must not jump
    picture.mouse.down()
    picture.mouse.move(x + 65, y - 23, steps=4)
    picture.mouse.up()
    after = handle.bounding_box()
    assert (
        abs(after["x"] - box["x"] - 60) < 8 and abs(after["y"] - box["y"] + 20) < 8
    )
    assert walk.inner_html() != before
    until(picture, f"From ({float(handle.get_attribute('aria-valuenow')):.1f}, ")
    picture.wait_for_function("() => location.hash.startsWith('#drag-1=')")


@pytest.mark.browser
@pytest.mark.parametrize("picture", [NARROW], ids=["narrow"], indirect=True)
def test_a_finger_drags_the_handle_and_the_page_stays(picture: Page) -> None:
    handle = picture.get_by_role("slider", name="start of the walk")
    box = handle.bounding_box()
    x, y = box["x"] + 22, box["y"] + 22
    finger = picture.context.new_cdp_session(picture)
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x + 20, "y": y + 5}]),
        ("touchMove", [{"x": x + 60, "y": y + 30}]),
        ("touchEnd", []),
    ):
        finger.send(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )
    picture.wait_for_function(
        "() => !document.querySelector('lbdl-drag').dataset.state.startsWith('-2.6,')"
    )
    assert abs(handle.bounding_box()["x"] - box["x"] - 60) < 8
    assert picture.evaluate("scrollY") == 0
    touch = "e => getComputedStyle(e).touchAction"
    assert handle.evaluate(touch) == "none"
    assert picture.locator("lbdl-drag .picture").evaluate(touch) == "auto", (
        "elsewhere it scrolls"
    )


@pytest.mark.browser
def test_keys_move_the_handle_and_the_slider(picture: Page) -> None:
    handle, walk = (
        picture.get_by_role("slider", name="start of the walk"),
        picture.locator("[data-moves=walk]"),
    )
    handle.focus()
    for key, words in (
        ("ArrowRight", "first weight -2.5, second weight 1.4"),
        ("Shift+ArrowDown", "first weight -2.5, second weight 0.9"),
        ("End", "first weight 3, second weight 0.9"),
        ("ArrowRight", "first weight 3, second weight 0.9"),
        ("Home", "first weight -3, second weight 0.9"),
        ("ArrowUp", "first weight -3, second weight 1"),
    ):
        before = walk.inner_html()
        handle.press(key)
        if words == handle.get_attribute("aria-valuetext"):
            continue  # at the end already
        picture.wait_for_function(
            "words => document.querySelector('lbdl-drag').shadowRoot.querySelector('.handle').ariaValueText == words",
            arg=words,
        )
        assert walk.inner_html() != before
    until(picture, "From (-3.0, 1.0)")
    rate = picture.get_by_role("slider", name="learning rate")
    rate.focus()
    rate.press("End")
    until(picture, "across it: 1.000")


@pytest.mark.browser
def test_the_address_leads_to_a_state(picture: Page) -> None:
    at = "() => document.querySelector('lbdl-drag').dataset.state"
    for address, state in (
        ("#drag-1=1.5,-0.3,4", "1.5,-0.3,4"),
        ("#drag-1=99,-99,0", "3,-2,0"),  # within bounds
        ("#drag-1=1,1,7", "3,-2,0"),  # no such stop of the slider
        ("#drag-1=1,1", "3,-2,0"),
        ("#drag-2=1,1,1", "3,-2,0"),
    ):
        picture.evaluate("hash => { location.hash = hash; }", address)
        picture.wait_for_function(f"state => ({at})() == state", arg=state)
