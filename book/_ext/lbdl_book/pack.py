"""`python -m lbdl_book.pack BUILT FILE`: the built book as one file for reading without a network.

Left out is what no page asks for from a disk: sources (and the button that leads to them), maps of scripts,
translations of the theme, and of MathJax all but the two scripts and the fonts that the pages load. Order and dates
are fixed, so the same pages make the same file.
"""

import re
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

LEFT_OUT = re.compile(
    r"_sources/|objects\.inv$|.*\.map$|_static/locales/|searchindex\.js$"
    r"|_static/mathjax/(?!tex-chtml\.js$|ui/lazy\.js$|output/chtml/fonts/)"
)
DOWNLOAD = re.compile(r'\s*<li><a href="[./]*_sources/.*?</li>', re.DOTALL)


def pack(built: Path, file: Path) -> None:
    """Write the pages below `built` into the zip `file`, under one folder of its name."""
    with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(p for p in built.rglob("*") if p.is_file()):
            name = path.relative_to(built).as_posix()
            if LEFT_OUT.match(name):
                continue
            content = path.read_bytes()
            if path.suffix == ".html":
                content = DOWNLOAD.sub("", content.decode("utf-8")).encode("utf-8")
            archive.writestr(
                ZipInfo(f"{file.stem}/{name}"), content, ZIP_DEFLATED, 9
            )


if __name__ == "__main__":
    built, file = map(Path, sys.argv[1:])
    if not (built / "index.html").exists():
        sys.exit(f"{built} holds no built book: run make book first")
    pack(built, file)
    print(
        f"{file}: {file.stat().st_size / 1e6:.1f} MB; unpack it and open {file.stem}/index.html"
    )
