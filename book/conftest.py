"""Chapters under nbval: their pictures are compared too, and their kernels have a
place of their own, so that nothing of the caller's home is read or needed."""

from pathlib import Path

from lbdl_book.kernels import settle
from lbdl_book.pictures import comparing_pictures
from nbval.plugin import IPyNbCell

IPyNbCell.compare_outputs = comparing_pictures(IPyNbCell.compare_outputs)
settle(Path(__file__).parents[1] / "_build" / "kernels")
