"""MSRA-TD500 and HUST-TR400: text lines as rotated boxes, one ``.gt`` file beside each image; nothing to read.

``IMG_0059.gt`` (or ``IMG_0059.JPG.gt``) for ``IMG_0059.JPG``; index, difficult (1: do not care), x, y, width, height
and angle:

    0 0 493 348 434 86 -0.017453
    1 1 500 461 62 27 0.000000

The box with its top-left corner at (x, y) is turned about its middle by the angle in radians, clockwise as seen (the
y axis points down). MSRA-TD500 has folders ``train`` and ``test``; HUST-TR400 is training data only, in a folder with
``TR400`` in its name.
"""

import math
from collections.abc import Iterator

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import box_corners, split_of
from fasttcm.data.prepare.readers.files import coordinates, last_number, pairs_of, read_lines, stem_of
from fasttcm.data.prepare.source import Source, is_image
from fasttcm.data.problems import Problems

__all__ = ["read_td500", "read_tr400"]


MARK_TR400 = "tr400"
FIELDS = 7


def read_td500(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The pictures of ``train`` or ``test``; those of HUST-TR400 in the same source are passed over."""
    names = [name for name in source.names() if split_of(name) == split and MARK_TR400 not in name.lower()]
    return _pictures(source, names, problems)


def read_tr400(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The pictures of HUST-TR400, which are all for training."""
    marked = [name for name in source.names() if MARK_TR400 in f"{source.root.name}/{name}".lower()]
    return _pictures(source, marked, problems)


def _pictures(source: Source, names: list[str], problems: Problems) -> Iterator[Picture]:
    """Every image that has a ``.gt`` file."""
    files = [name for name in names if name.lower().endswith(".gt")]
    images = [name for name in names if is_image(name)]
    for file, image in pairs_of(files, images, problems=problems, key=lambda name: stem_of(stem_of(name))):
        words = read_lines(source, file, _parse, problems)
        if words is not None:
            yield Picture(image, words, image_id=last_number(image))


def _parse(line: str, place: str, problems: Problems) -> Word:
    """One line."""
    _, difficult, x, y, width, height, angle = coordinates(line.replace(",", " ").split(), FIELDS)
    if width <= 0 or height <= 0:
        raise AnnotationError("box without area (skipped)", line)
    points = box_corners(x, y, x + width, y + height, degrees=math.degrees(angle))
    return Word(points, None, ignore=bool(difficult), place=place)
