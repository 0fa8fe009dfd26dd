"""Total-Text: words as polygons (or boxes) with orientation, one ``.txt`` or ``.mat`` file for each image.

``poly_gt_img11.txt`` for ``img11.jpg``; an entry may run over several lines; ``#`` is a do not care, as a transcription
or as the orientation (c curved, h horizontal, m multi-oriented):

    x: [[206 251 386 542]], y: [[633 811 931 946]], ornt: [u'c'], transcriptions: [u'PETROSAINS']
    x: [[168 179 179 167]], y: [[439 439 452 453]], ornt: [u'#'], transcriptions: [u'#']

``poly_gt_img11.mat`` holds ``polygt`` (``gt`` in files of the annotation tool), a cell array with a row for each word:
'x:', x coordinates, 'y:', y coordinates, text, orientation. ``rect_gt_img11.mat`` holds ``rectgt``: left, top, right,
bottom, width, height, text, orientation. Folders ``Train`` and ``Test``.
"""

import ast
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import box_corners, numbers, outline
from fasttcm.data.prepare.readers.files import (
    files_of_split,
    images_of_split,
    last_number,
    pairs_of,
    read_or_report,
    stem_of,
    transcription,
)
from fasttcm.data.prepare.readers.matlab import load_mat
from fasttcm.data.prepare.source import Source, decode_text
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError
from fasttcm.structures import ILLEGIBLE

__all__ = ["read_totaltext"]


POLYGON_PATTERNS = ("poly_gt_*.txt", "poly_gt_*.mat")
"""Ground truth in the order it is preferred in."""

RECTANGLE_PATTERNS = ("rect_gt_*.txt", "rect_gt_*.mat")
TABLES = ("polygt", "rectgt", "gt")
POLYGON_COLUMNS, RECTANGLE_COLUMNS = 6, 8

ENTRY = re.compile(r"^\s*x:", re.MULTILINE)
FIELDS = re.compile(
    r"\s*x:\s*\[\[(?P<x>.*?)\]\]\s*,?\s*y:\s*\[\[(?P<y>.*?)\]\]\s*,?\s*"
    r"(?:ornt:\s*\[(?P<ornt>.*?)\]\s*,?\s*)?(?:transcriptions:\s*\[(?P<text>.*)\])?[\s,]*$",
    re.DOTALL,
)
DO_NOT_CARE = "#"


def read_totaltext(source: Source, *, split: str, problems: Problems, rectangles: bool = False) -> Iterator[Picture]:
    """The pictures of ``train`` or ``test``; with ``rectangles`` the boxes instead of the polygons."""
    images = images_of_split(source, split)
    patterns = RECTANGLE_PATTERNS if rectangles else POLYGON_PATTERNS
    files = next((found for pattern in patterns if (found := files_of_split(source, pattern, split))), [])
    pairs = pairs_of(files, images, problems=problems, key=lambda name: stem_of(name)[len("poly_gt_") :])
    for file, image in pairs:
        words = _mat_words(source, file, problems) if file.lower().endswith(".mat") else _words(source, file, problems)
        if words is not None:
            yield Picture(image, words, image_id=last_number(image))


def _words(source: Source, name: str, problems: Problems) -> list[Word] | None:
    """The words of a text file."""
    data = read_or_report(source, name, problems)
    if data is None:
        return None
    text = decode_text(data)
    starts = [match.start() for match in ENTRY.finditer(text)]
    if text[: starts[0] if starts else len(text)].strip():
        problems.add("text that is no annotation (skipped)", f"{name}:1", text.strip()[:80])
    words = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        entry = text[start:end]
        line = text.count("\n", 0, start + len(entry) - len(entry.lstrip())) + 1
        place = f"{name}:{line}"
        try:
            words.append(_word(entry, place, problems))
        except AnnotationError as error:
            problems.add(error.reason, place, error.detail)
    return words


def _word(entry: str, place: str, problems: Problems) -> Word:
    """An entry of a text file."""
    match = FIELDS.match(entry)
    if match is None:
        raise AnnotationError("not an annotation of Total-Text (skipped)", entry.strip())
    x, y = (numbers(re.split(r"[\s,]+", match[axis].strip()), axis) for axis in ("x", "y"))
    return _make(x, y, _literal(match["text"] or ""), _literal(match["ornt"] or ""), place, problems)


def _literal(value: str) -> str:
    """The string in a Python literal such as ``u'PETROSAINS'``, or the text as it is."""
    value = value.strip().rstrip(",")
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        literal = re.sub(r"^u?(['\"])(.*)\1$", r"\2", value, flags=re.DOTALL)
    return literal if isinstance(literal, str) else value


def _mat_words(source: Source, name: str, problems: Problems) -> list[Word] | None:
    """The words of a MATLAB file; ``None``, and a problem, for one that is none."""
    data = read_or_report(source, name, problems)
    if data is None:
        return None
    try:
        content = load_mat(io.BytesIO(data), name)
    except DataError as error:
        problems.add("ground-truth file cannot be read (image skipped)", name, str(error))
        return None
    table = next((content[key] for key in TABLES if key in content), None)
    if table is None or (table.size and (table.dtype != object or table.ndim != 2)):
        problems.add("ground-truth file without a table of words (image skipped)", name)
        return None
    words = []
    for number, row in enumerate(table if table.size else [], 1):
        place = f"{name}: row {number}"
        try:
            words.append(_mat_word(row, place, problems))
        except AnnotationError as error:
            problems.add(error.reason, place, error.detail)
    return words


def _mat_word(row: Any, place: str, problems: Problems) -> Word:
    """A row of a MATLAB table."""
    if len(row) >= RECTANGLE_COLUMNS:
        sides = [side for cell in row[:4] for side in numbers(cell, "the row").tolist()]
        if len(sides) != len(row[:4]):
            raise AnnotationError("a box needs left, top, right and bottom (skipped)", sides)
        corners = box_corners(*sides)
        return _make(corners[:, 0], corners[:, 1], _cell_text(row[6]), _cell_text(row[7]), place, problems)
    if len(row) < POLYGON_COLUMNS - 1:
        raise AnnotationError(f"a row of fewer than {POLYGON_COLUMNS - 1} cells (skipped)", len(row))
    ornt = _cell_text(row[5]) if len(row) >= POLYGON_COLUMNS else ""
    return _make(numbers(row[1], "x"), numbers(row[3], "y"), _cell_text(row[4]), ornt, place, problems)


def _cell_text(cell: Any) -> str:
    """The text in a MATLAB cell; empty for an empty one."""
    flat = np.asarray(cell).reshape(-1)
    return str(flat[0]) if len(flat) else ""


def _make(x: Any, y: Any, text: str, ornt: str, place: str, problems: Problems) -> Word:
    """A word from its columns."""
    if len(x) != len(y):
        raise AnnotationError("different numbers of x and y (skipped)", f"{len(x)} and {len(y)}")
    points = outline(np.stack([x, y], axis=1))
    illegible = text.strip() == DO_NOT_CARE or ornt.strip() == DO_NOT_CARE
    read = ILLEGIBLE if illegible else transcription(text, place, problems)
    return Word(points, read, ignore=read == ILLEGIBLE, place=place)
