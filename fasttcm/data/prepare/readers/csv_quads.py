"""A table with a row for each quadrilateral: the picture, four corners, the text.

``words.csv`` beside the pictures, with a header or without, separated by commas, semicolons or tabs:

    image,x1,y1,x2,y2,x3,y3,x4,y4,text
    street.jpg,10,20,90,18,91,40,11,42,CAFE
    street.jpg,10,60,90,60,91,80,11,80,"Bread, Milk"
    street.jpg,10,90,90,90,91,99,11,99,###

With a header the columns may come in any order, and others between them. A text that comes last may hold the separator
even unquoted. A row is one line: a quote that is opened and not closed belongs to the text. A table without texts is
for detection.
"""

import csv
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import annotation_files, outline
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.source import Source, decode_text
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError
from fasttcm.structures import ILLEGIBLE

__all__ = ["read_csv_quads"]

SEPARATORS = ",;\t"
CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "image_name", "path", "image_path")
TEXT_COLUMNS = ("text", "transcription", "label", "word")

LINES_TRIED = 20
"""Lines that show which separator a table has."""


class _Columns(NamedTuple):
    """Where things stand in a row; ``text`` is ``None`` in a table without texts."""

    image: int
    corners: tuple[int, ...]
    text: int | None
    text_is_last: bool


def read_csv_quads(
    source: Source, *, split: str, problems: Problems, annotations: str | None = None
) -> Iterator[Picture]:
    """The pictures of a split, file after file, in order of their first row.

    Args:
        source: tables (``.csv``, ``.tsv``) and pictures.
        split: by the names of the tables and their folders.
        problems: takes what cannot be used.
        annotations: name of the table to read, where there are others.

    Raises:
        MissingSplitError: no table of the split.
        DataError: a header without the columns needed.
    """
    images = ImageNames(source, problems)
    for file in annotation_files(source, "*.[ct]sv", split, chosen=annotations):
        lines = decode_text(source.read(file)).split("\n")
        separator = _separator(lines)
        rows = [(number, _fields(line, separator)) for number, line in enumerate(lines, 1) if line.strip()]
        if not rows:
            problems.add("table is empty (skipped)", file)
            continue
        columns, has_header = _columns([row for _, row in rows], file)
        found: dict[str, list[Word]] = {}
        for number, row in rows[has_header:]:
            place = f"{file}, line {number}"
            words = found.setdefault(row[columns.image].strip() if columns.image < len(row) else "", [])
            try:
                words.append(_word(row, columns, separator, place, problems))
            except AnnotationError as error:
                problems.add(error.reason, place, error.detail)
        for name, words in found.items():
            image = images.find(name, place=f"{file}: image {name!r}", near=file)
            if image is not None:
                yield Picture(image, words)


def _separator(lines: Sequence[str]) -> str:
    """The separator that makes rows of the most lines, and the first of them if none does."""
    tried = [line for line in lines[: 10 * LINES_TRIED] if line.strip()][:LINES_TRIED]
    return max(SEPARATORS, key=lambda separator: sum(_is_row(_fields(line, separator)) for line in tried))


def _is_row(row: Sequence[str]) -> bool:
    """Whether fields could be a row or a header."""
    numbers = sum(field.strip().lstrip("+-").replace(".", "", 1).isdecimal() for field in row)
    return numbers >= len(CORNERS) or set(CORNERS) <= {field.strip().lower() for field in row}


def _fields(line: str, separator: str) -> list[str]:
    """The fields of one line; one that is not quoted as it should be is taken as it stands."""
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return line.split(separator)


def _columns(rows: Sequence[Sequence[str]], file: str) -> tuple[_Columns, bool]:
    """The columns, and whether the first row is a header."""
    names = [field.strip().lower() for field in rows[0]]
    if not set(CORNERS) <= set(names):
        if any(name in names for name in (*CORNERS, *IMAGE_COLUMNS)):
            raise DataError(f"{file}: the header needs the columns image, {', '.join(CORNERS)} and text")
        last = len(CORNERS) + 1
        has_texts = any(len(row) > last for row in rows)
        return _Columns(0, tuple(range(1, last)), last if has_texts else None, text_is_last=True), False
    image = next((names.index(name) for name in IMAGE_COLUMNS if name in names), None)
    if image is None:
        raise DataError(f"{file}: no column of the header is called {' or '.join(IMAGE_COLUMNS)}")
    text = next((names.index(name) for name in TEXT_COLUMNS if name in names), None)
    return _Columns(image, tuple(names.index(name) for name in CORNERS), text, text == len(names) - 1), True


def _word(row: Sequence[str], columns: _Columns, separator: str, place: str, problems: Problems) -> Word:
    """One row."""
    if max(columns.corners) >= len(row):
        raise AnnotationError(f"expected the image and {len(CORNERS)} coordinates (row skipped)", separator.join(row))
    points = outline([row[i] for i in columns.corners], "row")
    if columns.text is None:
        return Word(points, None, place=place)
    if columns.text >= len(row):
        problems.add("transcription missing (taken as illegible)", place)
        return Word(points, ILLEGIBLE, place=place)
    end = len(row) if columns.text_is_last else columns.text + 1
    return Word(points, _text(separator.join(row[columns.text : end])), place=place)


def _text(field: str) -> str:
    """A text without white space around it; where a space kept its quotes from being seen, without those."""
    text = field.strip()
    if field != text and len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    return text
