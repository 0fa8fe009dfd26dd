"""One published word as one annotation of our JSON (``datasets/README.md``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fasttcm.data.annotations import MIN_AREA, AnnotationError, clip_box
from fasttcm.data.prepare.picture import Word
from fasttcm.geometry import polygon_area, polygon_box
from fasttcm.geometry.bezier import fit_text_beziers
from fasttcm.geometry.reading_order import order_text_polygon
from fasttcm.structures import ILLEGIBLE, FloatArray

__all__ = ["TEXT", "Outline", "annotation", "fit_curves", "outline_of"]

TEXT = "text"
"""The class whose outlines have a reading order and curves."""

MIN_POINTS = 4
"""Fewer have no two sides."""

LARGEST_COORDINATE = 1e7
"""Pixels; no picture is as wide, so the number is a mistake."""

DIGITS = 2
"""Decimals of a pixel in the JSON."""


@dataclass
class Outline:
    """A word's geometry.

    Attributes:
        points: (p, 2) float64, in reading order.
        box: (4,) float64 x0 y0 x1 y1, inside the image.
        area: square pixels.
        bezier: (16,) control points; ``None`` before they are fitted, and for classes that are no text.
        residual: largest distance in pixels of an annotated point from its fitted curve; ``None`` if none was fitted.
        note: what had to be put right; empty if nothing.
    """

    points: FloatArray
    box: FloatArray
    area: float
    bezier: FloatArray | None = None
    residual: float | None = None
    note: str = ""


def outline_of(word: Word, *, size: tuple[int, int], ordered: bool = False) -> Outline:
    """Check a word's points and put them in reading order.

    Args:
        word: as the reader gives it.
        size: (width, height) of the picture.
        ordered: take the publisher's first point and direction as they are, whatever the word says.

    Raises:
        AnnotationError: fewer than four points, NaN, no area, or nothing of it inside the picture.
    """
    points: FloatArray = np.asarray(word.points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < MIN_POINTS:
        raise AnnotationError(f"fewer than {MIN_POINTS} points (skipped)", points.tolist())
    if not (np.abs(points) <= LARGEST_COORDINATE).all():
        raise AnnotationError("coordinates hold NaN, infinity or nonsense (skipped)", points.tolist())
    note = ""
    if word.label == TEXT:
        given = points
        try:
            points = order_text_polygon(given, ordered=word.ordered or ordered)
        except ValueError as error:
            raise AnnotationError("zero area (skipped)", given.tolist()) from error
        if len(given) == MIN_POINTS and _edges(points) != _edges(given):
            note = "corners out of order (sorted)"
    area = abs(polygon_area(points))
    if area < MIN_AREA:
        raise AnnotationError("zero area (skipped)", points.tolist())
    box = clip_box(polygon_box(points), size[1], size[0])
    if (box[2:] - box[:2]).min() <= 0:
        raise AnnotationError("outside the image (skipped)", f"{points.tolist()} in {size[0]} x {size[1]}")
    return Outline(points, box, area, word.bezier if word.label == TEXT else None, note=note)


def _edges(points: FloatArray) -> set[frozenset[tuple[float, ...]]]:
    """The edges of a ring, whatever its start and direction."""
    corners = [tuple(point) for point in points.tolist()]
    return {frozenset(edge) for edge in zip(corners, corners[1:] + corners[:1], strict=True)}


def fit_curves(words: Sequence[Word], outlines: Sequence[Outline]) -> None:
    """Fit the curves that the publisher does not give, all words of a picture at once."""
    missing = [one for word, one in zip(words, outlines, strict=True) if word.label == TEXT and one.bezier is None]
    if missing:
        beziers, residuals = fit_text_beziers([one.points for one in missing])
        for one, bezier, residual in zip(missing, beziers, residuals, strict=True):
            one.bezier, one.residual = bezier, float(residual)


def annotation(word: Word, outline: Outline, *, number: int, image_id: int, category_id: int) -> dict[str, Any]:
    """The JSON object of a word.

    ``text`` is left out where the format has none. ``ignore`` and ``iscrowd`` both mark what is not cared for, as
    AdelaiDet and COCO have it.
    """
    text = word.text if word.text is None or word.text.strip() else ILLEGIBLE
    ignore = int(word.ignore or text == ILLEGIBLE)
    x0, y0, x1, y1 = outline.box.tolist()
    entry: dict[str, Any] = {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": ignore,
        "ignore": ignore,
        "area": round(outline.area, DIGITS),
        "bbox": [round(value, DIGITS) for value in (x0, y0, x1 - x0, y1 - y0)],
        "polys": _numbers(outline.points),
        "num_points": len(outline.points),
    }
    if outline.bezier is not None:
        # Published curves are kept to the last digit.
        entry["bezier_pts"] = _numbers(outline.bezier) if word.bezier is None else np.ravel(word.bezier).tolist()
    if text is not None:
        entry["text"] = text
    return entry


def _numbers(values: FloatArray) -> list[float]:
    """A flat list, rounded; ``+ 0.0`` turns -0.0 into 0.0."""
    rounded: list[float] = (np.asarray(values, np.float64).reshape(-1).round(DIGITS) + 0.0).tolist()
    return rounded
