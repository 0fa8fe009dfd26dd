"""AdelaiDet's and DeepSolo's JSONs with Beziers, TESTR's with polygons: COCO style, taken as they are.

``totaltext/train.json`` beside ``train_images/``, ``CTW1500/annotations/train_ctw1500_maxlen100_v2.json``,
``syntext1/annotations/train.json``, ``icdar2015/ic15_train.json``, DeepSolo's ``*_37voc.json`` and ``*_96voc.json``,
TESTR's ``train_poly.json``:

    {"images": [{"id": 1, "file_name": "0000001.jpg", "width": 640, "height": 480}],
     "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 2400.0, "bbox": [10, 20, 80, 30],
                      "bezier_pts": [10, 20, 36, 20, 63, 20, 90, 20, 90, 50, 63, 50, 36, 50, 10, 50],
                      "polys": [10, 20, ..., 10, 50], "rec": [35, 65, 70, 69, 96, 96, 96]}],
     "categories": [{"id": 1, "name": "text"}]}

``bezier_pts`` are the four control points of the top side from left to right, then those of the bottom side from right
to left; ``polys`` (TESTR) 16 points in the same order. The numbers of ``rec`` are classes: of the 95 printable ASCII
characters with 96 for the end, or of a-z, 0-9 with 37 for the end; which one is known by the padding, as no set has
both. The Chinese sets count the characters of a file that was published beside them (``--charset``). Beziers are kept
to the last digit. A word without ``polys`` gets the curves' points as its polygon.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fasttcm.charset import CHARSETS, Charset
from fasttcm.data.annotations import AnnotationError, parse_annotation
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.coco_lists import by_image, read_coco
from fasttcm.data.prepare.readers.common import size_of
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.source import Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError
from fasttcm.geometry import bernstein_basis

__all__ = ["read_adelaidet"]

CURVE_BASIS = bernstein_basis(np.linspace(0.0, 1.0, 8))
"""Gives the eight points a side (TESTR's number) of the polygon of a word that has curves only."""

BORDER_NOTE = "box crosses the image border (clipped)"
"""Half of the truth here, where only the left and the upper border are known."""

ANY_SIZE = 10**7
"""Pixels; the writer knows how large the picture is, here nothing is outside."""


def read_adelaidet(
    source: Source, *, split: str, problems: Problems, annotations: str | None = None, charset: str | None = None
) -> Iterator[Picture]:
    """The pictures of one JSON, in file order.

    Args:
        source: folder of a dataset, JSON and pictures.
        split: by the name of the JSON or of its folder.
        problems: takes what cannot be used.
        annotations: name of the JSON where the folder has several of a split.
        charset: what the numbers of ``rec`` mean, see :meth:`fasttcm.charset.Charset.named`; by default what the
            padding tells.

    Raises:
        MissingSplitError: no JSON of the split.
        DataError: several, broken JSON, or ``annotations`` is of another format.
        ConfigError: ``charset`` is none.
    """
    found = read_coco(source, split, problems, chosen=annotations)
    file, content = next(found)
    for other, _ in found:
        raise DataError(f"{file} and {other} are both of the split {split!r}; choose one with --annotations")
    classes = Charset.named(charset) if charset else _charset(content["annotations"])
    without_texts = not any("text" in one or "rec" in one for one in content["annotations"] if isinstance(one, dict))
    images = ImageNames(source, problems)
    for number, (entry, words) in by_image(content, file, problems).items():
        place = f"{file}: image id {number}"
        image = images.find(entry.get("file_name"), place=place, near=file)
        if image is None:
            continue
        yield Picture(
            image,
            [word for where, one in words if (word := _word(one, where, classes, without_texts, problems))],
            size=size_of(entry.get("width"), entry.get("height")),
            image_id=number if isinstance(number, int) else None,
        )


def _charset(entries: list[Any]) -> Charset:
    """What the numbers of ``rec`` mean: the set whose end is the largest number of the file."""
    small = Charset.named("lower36")
    largest = 0
    for entry in entries:
        rec = entry.get("rec") if isinstance(entry, dict) else None
        if isinstance(rec, list):
            largest = max([largest, *(number for number in rec if isinstance(number, int))])
    return small if largest == small.end else Charset(CHARSETS["ascii"])


def _word(
    entry: Mapping[str, Any], place: str, charset: Charset, without_texts: bool, problems: Problems
) -> Word | None:
    """One annotation as our own loader understands it; ``None`` for one that is skipped."""
    try:
        parsed = parse_annotation(
            entry, height=ANY_SIZE, width=ANY_SIZE, rec_charset=charset, detection_only=without_texts
        )
    except AnnotationError as error:
        problems.add(error.reason, place, error.detail)
        return None
    for note in parsed.notes:
        if note != BORDER_NOTE:
            problems.add(note, place)
    points = parsed.polygon
    if points is None:
        assert parsed.bezier is not None  # parse_annotation gives one of the two
        points = (CURVE_BASIS @ parsed.bezier.reshape(2, 4, 2)).reshape(-1, 2)
    text = None if without_texts else parsed.text
    return Word(points, text, ignore=parsed.ignore, bezier=parsed.bezier, ordered=True, place=place)
