"""Many PDFs as one: the whole book from its pages, each printed alone.

Chromium refuses to print the whole book at once. Bound here by pypdf, the parts keep
their outlines and the links within them; a link to another part, which was printed as
one to an address that nobody has, leads to its place there.
"""

from io import BytesIO
from typing import Any

from .editions import CannotMake

ELSEWHERE = "https://lbdl.invalid/"  # a name that is never given to anyone


def pypdf() -> Any:
    """The library.

    Raises:
        CannotMake: it is not installed.
    """
    try:
        import pypdf
    except ImportError:
        raise CannotMake(
            "the whole book is bound by pypdf: pip install pypdf"
        ) from None
    return pypdf


def length(part: bytes) -> int:
    """How many pages a PDF has."""
    return len(pypdf().PdfReader(BytesIO(part)).pages)


def bind(parts: dict[str, bytes], title: str) -> bytes:
    """All parts as one PDF, by their names; the first is the front, whose pages have
    Roman numbers."""
    writer, places, before = pypdf().PdfWriter(), {}, 0
    for name, part in parts.items():
        writer.append(BytesIO(part), import_outline=True)
        places |= {name: (before, None)} | named(part, before)
        before = len(writer.pages)
    lead_on(writer, places)
    front = length(next(iter(parts.values())))
    writer.set_page_label(0, front - 1, "/r", start=1)
    writer.set_page_label(front, before - 1, "/D", start=1)
    writer.add_metadata({"/Title": title})
    generic = pypdf().generic
    writer.root_object[generic.NameObject("/Lang")] = generic.TextStringObject("en")
    bound = BytesIO()
    writer.write(bound)
    return bound.getvalue()


def named(part: bytes, before: int) -> dict[str, tuple[int, float | None]]:
    """The places of a part that have names: page, counted from the book's first, and
    height on it."""
    reader = pypdf().PdfReader(BytesIO(part))
    return {
        name.removeprefix("/"): (
            before + reader.get_destination_page_number(place),
            place.top,
        )
        for name, place in reader.named_destinations.items()
    }


def lead_on(writer: Any, places: dict[str, tuple[int, float | None]]) -> None:
    """Links to other parts lead to their places, or to the first page of a part where
    a place has none."""
    generic = pypdf().generic
    links = [
        link.get_object()
        for page in writer.pages
        for link in page.get("/Annots", [])
    ]
    for link in links:
        action = link["/A"].get_object() if "/A" in link else {}
        address = str(action.get("/URI", ""))
        if address.startswith(ELSEWHERE):
            name = address.removeprefix(ELSEWHERE)
            page, top = places.get(name) or places[name.partition("--")[0]]
            del link["/A"]
            link[generic.NameObject("/Dest")] = at(writer.pages[page], top)


def at(page: Any, top: float | None) -> Any:
    """A place of a page as PDF writes it: with no height, the whole page."""
    generic = pypdf().generic
    how = [generic.NameObject("/Fit")]
    if top is not None:
        numbers = [
            generic.NullObject(),
            generic.FloatObject(top),
            generic.NullObject(),
        ]
        how = [generic.NameObject("/XYZ"), *numbers]
    return generic.ArrayObject([page.indirect_reference, *how])
