"""Options of ``fasttcm prepare`` that only some datasets have; the reader takes them as keyword arguments."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["READER_OPTIONS", "ReaderOption"]


@dataclass(frozen=True)
class ReaderOption:
    """One option.

    Attributes:
        help: which datasets it is for, and what it does.
        metavar: name of its value; empty for a flag.
        type: makes the value from its text.
    """

    help: str
    metavar: str = ""
    type: Callable[[str], object] = str


READER_OPTIONS: dict[str, ReaderOption] = {
    "latin_only": ReaderOption("mlt2017, mlt2019: words of other scripts than Latin (and symbols) become do not care"),
    "rectangles": ReaderOption("totaltext: the upright boxes instead of the polygons"),
    "ids": ReaderOption("nighttime_art: text file with the pictures of the subset, one in each line", "FILE"),
    "annotations": ReaderOption("name of the annotation file where a folder has several", "NAME"),
    "charset": ReaderOption("adelaidet: file with the characters that rec counts, as published with ReCTS", "FILE"),
    "tile_size": ReaderOption("dota: side of a tile in pixels", "N", int),
    "tile_overlap": ReaderOption("dota: pixels that neighbouring tiles share", "N", int),
    "no_tiles": ReaderOption("dota: whole scenes instead of tiles"),
}
"""By the name of the reader's keyword argument; on the command line ``_`` is ``-``."""
