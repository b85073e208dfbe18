"""The editions for keeping: an EPUB that readers accept and that loses nothing, a PDF
in two formats with nothing cut."""

import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree
from zipfile import ZipFile

import pytest
from bs4 import BeautifulSoup, Tag
from lbdl_book import editions, epub, pdf
from lbdl_book.editions import CannotMake

from tests.book.conftest import HTML, opened

pytestmark = pytest.mark.browser

CHAPTER = "book/frontiers/growth.html"
PAGES = ["book/intro.html", CHAPTER, "book/glossary.html"]
EPUBCHECK = Path("/usr/share/java/epubcheck.jar")
TEX = re.compile(r"\\[(\[)\]a-zA-Z]|\$")


@pytest.fixture(scope="module", autouse=True)
def browser_here() -> None:
    """There is a Chromium; each edition opens its own."""
    with opened():
        pass


@pytest.fixture(scope="module")
def book(html: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an EPUB of three pages."""
    file = tmp_path_factory.mktemp("epub") / "lbdl.epub"
    epub.write(html, file, PAGES)
    with ZipFile(file) as archive:
        return {"lbdl.epub": file.read_bytes()} | {
            name: archive.read(name) for name in archive.namelist()
        }


def built(page: str) -> Tag:
    """The text of a built page."""
    article = editions.parse(HTML / page).select_one("article.bd-article")
    assert article is not None
    return article


def chapter(book: dict[str, bytes], page: str = CHAPTER) -> Tag:
    """The text of a page in the EPUB."""
    name = page.removesuffix(".html").replace("/", "-")
    return BeautifulSoup(book[f"book/{name}.xhtml"], "html.parser")


@pytest.mark.slow(reason="makes the EPUB of three pages, for all tests here")
def test_an_epub_begins_with_what_it_is(book: dict[str, bytes]) -> None:
    whole = book["lbdl.epub"]
    assert whole[30:58] == b"mimetypeapplication/epub+zip"
    package = book["book/content.opf"].decode()
    for said in (
        "<dc:title>The Little Exec",
        "<dc:language>en",
        "dcterms:modified",
    ):
        assert said in package
    listed = set(re.findall(r'href="(.*?)"', package))
    assert {f"book/{name}" for name in listed} | {
        "book/content.opf",
        "META-INF/container.xml",
        "mimetype",
        "lbdl.epub",
    } == set(book)


def test_every_file_is_well_formed_and_names_nothing_twice(
    book: dict[str, bytes],
) -> None:
    for name, content in book.items():
        if name.endswith((".xhtml", ".svg", ".opf", ".xml")):
            tree = ElementTree.fromstring(content)
            ids = [e.attrib["id"] for e in tree.iter() if "id" in e.attrib]
            assert len(ids) == len(set(ids)), name


def test_links_and_pictures_are_in_the_book(book: dict[str, bytes]) -> None:
    trees = {
        name: ElementTree.fromstring(content)
        for name, content in book.items()
        if name.endswith(".xhtml")
    }
    ids = {
        name: {e.attrib["id"] for e in tree.iter() if "id" in e.attrib}
        for name, tree in trees.items()
    }
    followed = 0
    for name, tree in trees.items():
        for element in tree.iter():
            link = element.attrib.get("href") or element.attrib.get("src") or ""
            if not link or link.startswith(("https://", "http://")):
                continue
            file, _, anchor = unquote(link).partition("#")
            path = str(PurePosixPath("book") / file) if file else name
            assert path in book, (name, link)
            assert not anchor or anchor in ids[path], (name, link)
            followed += 1
    assert followed > 90


@pytest.mark.parametrize("page", PAGES)
def test_every_formula_is_mathml(book: dict[str, bytes], page: str) -> None:
    text = chapter(book, page)
    formulas = text.find_all("math")
    assert len(formulas) == len(built(page).select(".math"))
    assert all(formula.get_text(strip=True) for formula in formulas)
    assert not text.find_all("merror")
    for code in text.select("pre, code"):
        code.decompose()
    assert TEX.findall(text.get_text()) == []


def test_a_slider_is_a_picture_its_values_and_its_sentence(
    book: dict[str, bytes],
) -> None:
    stills = chapter(book).select("figure.lbdl-still")
    assert len(stills) == len(built(CHAPTER).select("lbdl-explore")) > 0
    for still in stills:
        picture = still.find("img")
        assert len(picture["alt"]) > 20
        assert b"<svg" in book[f"book/{picture['src']}"]
        assert re.search(r".: .", still.select_one(".values").get_text())
    assert all(len(i["alt"]) > 20 for i in chapter(book).select("img"))


def test_solutions_are_open_and_questions_answered(book: dict[str, bytes]) -> None:
    text = chapter(book)
    assert len(text.select(".solution")) == len(built(CHAPTER).select(".solution"))
    assert not text.select("details, button, script, input, .toggle-hidden")
    questions = text.select(".lbdl-question")
    assert len(questions) >= 3
    for question in questions:
        answer = question.select_one(".answer").get_text()
        assert re.match(r"Right is [a-d]\. \w", answer)
        assert len(question.select("li")) >= 2


def test_the_number_of_an_equation_stands_below_it(book: dict[str, bytes]) -> None:
    numbers = chapter(book).select("div.math .eqno")
    assert len(numbers) == len(built(CHAPTER).select("div.math .eqno")) > 5
    for number in numbers:
        assert number.find_previous_sibling("math") is not None


@pytest.mark.slow(reason="makes the EPUB of three pages a second time")
def test_the_same_pages_make_the_same_file(
    book: dict[str, bytes], tmp_path: Path
) -> None:
    epub.write(HTML, tmp_path / "again.epub", PAGES)
    assert (tmp_path / "again.epub").read_bytes() == book["lbdl.epub"]


@pytest.mark.slow(reason="epubcheck reads its schemas for ten seconds")
@pytest.mark.skipif(
    not (shutil.which("java") and EPUBCHECK.exists()),
    reason="epubcheck is not installed (apt-get install epubcheck default-jre-headless)",
)
def test_epubcheck_finds_nothing(book: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "lbdl.epub").write_bytes(book["lbdl.epub"])
    command = ["java", "-jar", str(EPUBCHECK), str(tmp_path / "lbdl.epub")]
    found = subprocess.run(command, capture_output=True, text=True)
    assert "0 fatals / 0 errors / 0 warnings" in found.stdout + found.stderr


def objects(file: Path) -> bytes:
    """A PDF with its compressed parts laid open."""
    whole = file.read_bytes()
    parts = [whole]
    for found in re.finditer(rb"stream\r?\n", whole):
        try:
            parts.append(zlib.decompressobj().decompress(whole[found.end() :]))
        except zlib.error:
            continue
    return b"\n".join(parts)


@pytest.mark.slow(reason="sets a chapter and prints it on two sizes of paper")
def test_a_chapter_as_pdf(html: Path, tmp_path: Path) -> None:
    files = pdf.write(html, tmp_path, ["growth"])
    assert [f.name for f in files] == ["growth-a4.pdf", "growth-phone.pdf"]
    assert sorted(tmp_path.iterdir()) == files, "nothing half-written is left"
    for file, paper in zip(files, pdf.FORMATS, strict=True):
        laid_open = objects(file)
        assert len(re.findall(rb"/Type\s*/Page\b", laid_open)) > 5
        assert b"/Outlines" in laid_open and b"/StructTreeRoot" in laid_open
        sizes = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", laid_open)
        for width, height in sizes:
            assert float(width) == pytest.approx(paper.width / 25.4 * 72, abs=1)
            assert float(height) == pytest.approx(paper.height / 25.4 * 72, abs=1)
        if shutil.which("pdftotext"):
            command = ["pdftotext", str(file), "-"]
            text = subprocess.run(command, capture_output=True, text=True).stdout
            assert "Exercises" in text and "Right is " in text
            assert "Show code cell" not in text and "\\(" not in text


@pytest.fixture
def small_book(tmp_path: Path) -> Callable[[str], Path]:
    """A built book of one page that holds what a test gives."""

    def write(body: str) -> Path:
        folder = tmp_path / "html"
        (folder / "_static").mkdir(parents=True)
        shutil.copy(HTML / "_static" / "cover.png", folder / "_static")
        (folder / "index.html").write_text(
            "<html><head><title>A book</title></head><body><nav class='bd-links'>"
            "<a href='#'>A book</a></nav><article class='bd-article'><h1>A book</h1>"
            f"{body}</article></body></html>"
        )
        return folder

    return write


MATHJAX = """<p><mjx-container><mjx-math>x</mjx-math></mjx-container></p><script>
const formula = `<math xmlns="http://www.w3.org/1998/Math/MathML">
    <mi mathvariant="double-struck">R</mi><mi mathvariant="script">N</mi>
    <mi mathvariant="bold">A</mi><mn mathvariant="bold">1</mn>
    <mi mathvariant="bold">β</mi><mi mathvariant="normal">d</mi><mi>log</mi>
    <mo data-mjx-texclass="NONE">&#x2061;</mo><mi>x</mi></math>`;
window.MathJax = { startup: {
    promise: Promise.resolve(), toMML: () => formula,
    document: { math: [{ math: "x", typesetRoot: document.querySelector("mjx-container") }] },
} };
</script>"""


def test_letters_are_those_of_the_page(
    html: Path, small_book: Callable[[str], Path]
) -> None:
    """MathML Core draws no variants of letters: they must be other letters. And a named
    function stands apart from its argument."""
    folder = small_book(MATHJAX)
    page = editions.contents(folder)[0]
    with editions.chromium() as browser:
        taken = editions.take(browser, folder, page, [page], "epub.js")
    formula = BeautifulSoup(taken["text"], "html.parser").find("math")
    letters = "".join(formula.get_text().split())
    assert letters == "ℝ𝒩𝐀𝟏𝛃dlog\u2061x"
    variants = [e["mathvariant"] for e in formula.select("[mathvariant]")]
    assert set(variants) == {"normal"}
    spaces = [e.find_previous_sibling().name for e in formula.select("mspace")]
    assert spaces == ["mi", "mo"]
    assert formula["alttext"] == "x" and taken["formulas"] == 1


@pytest.mark.slow(reason="prints three parts on two sizes of paper")
def test_the_whole_book_is_bound_of_its_pages(
    html: Path, small_book: Callable[[str], Path], tmp_path: Path
) -> None:
    """Numbered through, with an outline, and with links that lead from part to part."""
    pypdf = pytest.importorskip("pypdf")
    folder = small_book("<p id='x'>one <a href='b.html#y'>two</a></p>")
    first = (folder / "index.html").read_text()
    (folder / "index.html").write_text(
        first.replace("</nav>", "<a href='b.html'>Second</a></nav>")
    )
    (folder / "b.html").write_text(
        "<html><head><title>Second</title></head><body><article class='bd-article'>"
        "<h1>Second</h1><h2 id='y'>Part</h2><a href='#y'>up</a> "
        "<a href='index.html'>back</a></article></body></html>"
    )
    files = pdf.write(folder, tmp_path / "out", [])
    assert [f.name for f in files] == ["lbdl-a4.pdf", "lbdl-phone.pdf"]
    for file in files:
        book = pypdf.PdfReader(file)
        front = len(book.pages) - 2
        assert front == 2, (
            "the cover fits a page, and so does what is said of the book"
        )
        assert book.page_labels[0] == "i" and book.page_labels[front:] == ["1", "2"]
        assert [page.extract_text().split()[0] for page in book.pages[front:]] == [
            "1",
            "2",
        ]
        tops = [entry for entry in book.outline if not isinstance(entry, list)]
        assert [entry.title for entry in tops] == ["A book", "Second"]
        pages = [book.get_destination_page_number(entry) for entry in tops]
        assert pages == [front, front + 1]
        assert book.metadata.title == "A book"
        there, within, back = (
            link.get_object()["/Dest"]
            for page in book.pages[front:]
            for link in page["/Annots"]
        )
        assert there[0].get_object() == book.pages[-1] and there[1] == "/XYZ"
        top = book.named_destinations[str(within)].top
        assert there[3] == pytest.approx(top) and top < book.pages[-1].mediabox.top
        assert back[0].get_object() == book.pages[front] and back[1] == "/Fit"
        assert b"lbdl.invalid" not in objects(file)


def test_a_heading_may_not_be_parted_from_what_follows(
    html: Path, small_book: Callable[[str], Path], tmp_path: Path
) -> None:
    """A cell that folds its code is a flexible box on a screen; Chromium parts such
    a box from the heading before it."""
    folder = small_book(
        "<h2>Self-test</h2>"
        "<div class='cell' style='display: flex'><div class='cell_output'>Why?</div></div>"
    )
    page = editions.contents(folder)[0]
    sheet = tmp_path / "sheet.html"
    with editions.chromium() as browser:
        taken = editions.take(browser, folder, page, [page], "pdf.js")
        sheet.write_text(pdf.assemble(taken, "A book"))
        tab = editions.opened(browser, sheet.as_uri())
        pdf.printed(tab, pdf.FORMATS[0], "sheet")
        asked = "e => [getComputedStyle(e).display, getComputedStyle(e).breakAfter]"
        assert tab.eval_on_selector(".cell", asked)[0] == "block"
        assert tab.eval_on_selector("h2", asked)[1] == "avoid"


def test_a_long_name_in_a_table_breaks_after_its_dots_and_a_number_nowhere(
    html: Path, small_book: Callable[[str], Path]
) -> None:
    folder = small_book(
        "<table><tr><td>torch.optim.Adam(fused=True)</td><td>0.25</td></tr></table>"
    )
    page = editions.contents(folder)[0]
    with editions.chromium() as browser:
        text = editions.take(browser, folder, page, [page], "pdf.js")["text"]
    assert "<td>torch.<wbr>optim.<wbr>Adam(<wbr>fused=True)</td>" in text
    assert "<td>0.25</td>" in text


def test_what_would_be_cut_is_an_error(
    html: Path, small_book: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = small_book("<p style='width: 9000px'>far too wide</p>")
    with pytest.raises(CannotMake, match=r"cut at the right:\n.*far too wide"):
        pdf.write(folder, tmp_path / "out", ["index"])
    assert not list((tmp_path / "out").glob("*"))


def test_a_link_out_of_an_edition_leaves_its_text(
    html: Path, small_book: Callable[[str], Path]
) -> None:
    folder = small_book(
        "<p><a href='lost.html#x'>one</a> <a href='#y'>two</a> "
        "<a href='https://example.org'>three</a> <i id='y'>four</i></p>"
    )
    page = editions.contents(folder)[0]
    with editions.chromium() as browser:
        text = editions.take(browser, folder, page, [page], "pdf.js")["text"]
    assert "one" in text and "lost" not in text
    assert 'href="#index--y"' in text and 'id="index--y"' in text
    assert 'href="https://example.org"' in text


def test_what_is_missing_is_said(
    html: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lbdl.epub"
    for make in (epub.make, pdf.make):
        with pytest.raises(SystemExit, match="holds no built book: run make book"):
            editions.main(make, [str(tmp_path), str(file)], "")
    with pytest.raises(SystemExit, match="no chapter haruspicy: intro, learning"):
        editions.main(pdf.make, [str(html), str(tmp_path), "haruspicy"], "")
    monkeypatch.setenv("LBDL_CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="no Chromium to drive"):
        editions.main(epub.make, [str(html), str(file)], "")
    assert not list(tmp_path.iterdir())


def test_what_fails_leaves_the_file_of_before(tmp_path: Path) -> None:
    file = tmp_path / "lbdl.epub"
    file.write_text("before")

    def fail() -> None:
        with editions.finished(file) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
