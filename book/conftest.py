"""Chapters under nbval: their pictures are compared too."""

from lbdl_book.pictures import comparing_pictures
from nbval.plugin import IPyNbCell

IPyNbCell.compare_outputs = comparing_pictures(IPyNbCell.compare_outputs)
