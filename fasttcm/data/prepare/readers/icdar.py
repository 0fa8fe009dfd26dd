"""ICDAR 2013 (focused) and ICDAR 2015 (incidental scene text): one text file for each image.

ICDAR 2015, ``gt_img_1.txt`` for ``img_1.jpg``, UTF-8 with a byte-order mark, four corners clockwise from the top-left
and the transcription, which may hold commas; ``###`` is a do not care:

    377,117,463,117,465,130,378,130,Genaxis Theatre
    374,155,409,155,409,170,374,170,###

ICDAR 2013, left, top, right, bottom and the transcription in quotes; training (``gt_100.txt`` for ``100.jpg``) and test
(``gt_img_1.txt`` for ``img_1.jpg``):

    158 128 411 181 "Footpath"
    38, 43, 920, 215, "Tiredness"

Splits are told apart by the names of folders or archives (``ch4_training_images``, ``Challenge4_Test_Task1_GT``, ...).
"""

import re
from collections.abc import Iterator

import numpy as np

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import box_corners
from fasttcm.data.prepare.readers.files import (
    LineParser,
    coordinates,
    files_of_split,
    images_of_split,
    last_number,
    pairs_of,
    read_lines,
    stem_of,
    transcription,
)
from fasttcm.data.prepare.source import Source
from fasttcm.data.problems import Problems
from fasttcm.structures import ILLEGIBLE

__all__ = ["parse_quad", "read_icdar2013", "read_icdar2015"]


NUMBER = r"([^\s,]+)"
BOX_LINE = re.compile(rf"\s*{NUMBER}[,\s]+{NUMBER}[,\s]+{NUMBER}[,\s]+{NUMBER}(?:[,\s]+(.*))?$")
"""Four numbers, separated by white space or commas, and the rest."""


def read_icdar2015(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The pictures of ``train`` or ``test``."""
    return _pictures(source, split, parse_quad, problems)


def read_icdar2013(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The pictures of ``train`` or ``test``."""
    return _pictures(source, split, _parse_box, problems)


def parse_quad(line: str, place: str, problems: Problems) -> Word:
    """A line of ICDAR 2015."""
    fields = line.split(",", 8)
    points = coordinates(fields, 8).reshape(4, 2)
    text = transcription(fields[8] if len(fields) > 8 else "", place, problems)
    return Word(points, text, ignore=text == ILLEGIBLE, ordered=True, place=place)


def _pictures(source: Source, split: str, parse: LineParser, problems: Problems) -> Iterator[Picture]:
    """Every image that has a ground-truth file, by number."""
    files, images = files_of_split(source, "gt_*.txt", split), images_of_split(source, split)
    pairs = pairs_of(files, images, problems=problems, key=lambda name: stem_of(name)[len("gt_") :])
    for file, image in pairs:
        words = read_lines(source, file, parse, problems)
        if words is not None:
            yield Picture(image, words, image_id=last_number(image))


def _parse_box(line: str, place: str, problems: Problems) -> Word:
    """A line of ICDAR 2013."""
    match = BOX_LINE.match(line)
    if match is None:
        raise AnnotationError("fewer than 4 numbers (skipped)", line)
    x, y = np.sort(coordinates(list(match.groups()[:4]), 4).reshape(2, 2), axis=0).T
    text = transcription(match.group(5) or "", place, problems)
    return Word(box_corners(x[0], y[0], x[1], y[1]), text, ignore=text == ILLEGIBLE, ordered=True, place=place)
