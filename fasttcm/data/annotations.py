"""One entry of ``annotations`` in a COCO-style JSON, checked and turned into numbers.

The format is AdelaiDet's (SPEC ``abcnet`` section 13.1) with two optional additions: ``polys`` (TESTR's, any number
of points) and ``text``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fasttcm.charset import Charset
from fasttcm.geometry import bernstein_basis, polygon_area, polygon_box
from fasttcm.geometry.bezier import SAMPLES_PER_SIDE
from fasttcm.structures import ILLEGIBLE, FloatArray

__all__ = ["AnnotationError", "ParsedAnnotation", "clip_box", "parse_annotation", "parse_text", "sample_outlines"]

BEZIER_NUMBERS = 16
"""Two curves of four control points (x, y)."""

MIN_POINTS = 3
"""A polygon of fewer points has no area."""

MIN_AREA = 1e-3
"""Square pixels; less is a line or a point."""

BORDER_TOLERANCE = 1.0
"""Pixels by which a box may cross the image border without being reported (it is clipped all the same)."""


SAMPLE_BASIS = bernstein_basis(np.linspace(0.0, 1.0, SAMPLES_PER_SIDE))
"""(20, 4), computed once: the outline of every curve of every dataset is sampled."""


class AnnotationError(Exception):
    """An annotation that has to be skipped.

    Args:
        reason: short, the same words for every such case.
        detail: the offending value.
    """

    def __init__(self, reason: str, detail: object = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = str(detail)[:80]


@dataclass(frozen=True)
class ParsedAnnotation:
    """One instance in pixels of the original image.

    Attributes:
        box: (4,) float64 x0 y0 x1 y1, inside the image.
        bezier: (16,) float64 as annotated, or ``None``.
        polygon: (p, 2) float64 as annotated, or ``None``; at least one of the two is given.
        text: transcription, ``###`` when illegible, empty in a dataset without any.
        ignore: do not care.
        notes: findings that did not prevent its use.
    """

    box: FloatArray
    bezier: FloatArray | None
    polygon: FloatArray | None
    text: str
    ignore: bool
    notes: tuple[str, ...]


def parse_annotation(
    entry: Mapping[str, Any], *, height: int, width: int, rec_charset: Charset, detection_only: bool = False
) -> ParsedAnnotation:
    """Check one annotation.

    Geometry: ``bezier_pts`` (16 numbers), ``polys`` or else ``segmentation`` (flat or nested), ``bbox``
    (x, y, w, h); one of them is enough. A box given alone becomes a rectangle read left to right. Curves and polygons
    may cross the border and stay as they are; the box is clipped.

    Args:
        entry: the JSON object.
        height: image height in pixels.
        width: image width in pixels.
        rec_charset: what the numbers of ``rec`` mean.
        detection_only: the dataset has no transcriptions at all: texts are empty and the words count.

    Raises:
        AnnotationError: nothing usable; the reason says why.
    """
    bezier = _bezier(entry)
    polygon = _polygon(entry, have_bezier=bezier is not None)
    outline = polygon if polygon is not None else None if bezier is None else sample_outlines(bezier)[0]
    box = _box(entry, outline)
    if outline is None:
        polygon = outline = box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
    if abs(polygon_area(outline)) < MIN_AREA or (box[2:] - box[:2]).min() <= 0:
        raise AnnotationError("zero area (skipped)", box.round(2).tolist())
    if _outside(polygon_box(outline), height, width) or _outside(box, height, width):
        raise AnnotationError("outside the image (skipped)", box.round(2).tolist())
    clipped = clip_box(box, height, width)
    crosses = np.abs(clipped - box).max() > BORDER_TOLERANCE
    notes = ("box crosses the image border (clipped)",) if crosses else ()
    text, text_note = ("", "") if detection_only else parse_text(entry, rec_charset)
    ignore = bool(entry.get("iscrowd") or entry.get("ignore")) or text == ILLEGIBLE
    return ParsedAnnotation(clipped, bezier, polygon, text, ignore, notes + ((text_note,) if text_note else ()))


def parse_text(entry: Mapping[str, Any], rec_charset: Charset) -> tuple[str, str]:
    """Transcription of an annotation and a note ("" if all is well).

    ``text`` (str) wins over ``rec`` (str, or class numbers where everything at ``rec_charset.end`` is padding).
    Empty or missing means illegible, :data:`~fasttcm.structures.ILLEGIBLE`.
    """
    value = entry.get("text", entry.get("rec"))
    if value is None:
        return ILLEGIBLE, "transcription missing (taken as illegible)"
    if isinstance(value, str):
        return value.strip() or ILLEGIBLE, ""
    end = rec_charset.end
    if (
        not isinstance(value, list)
        or set(map(type, value)) - {int}
        or (value and not 0 <= min(value) <= max(value) <= end)
    ):
        return ILLEGIBLE, "transcription is neither text nor classes of the charset (taken as illegible)"
    return rec_charset.decode([c for c in value if c != end]).strip() or ILLEGIBLE, ""


def sample_outlines(beziers: FloatArray) -> FloatArray:
    """Polygons of curves (n, 16) or (16,): (n, 40, 2), as :func:`fasttcm.geometry.sample_sides` gives one by one."""
    sides = SAMPLE_BASIS @ np.asarray(beziers, np.float64).reshape(-1, 2, 4, 2)
    return sides.reshape(-1, 2 * SAMPLES_PER_SIDE, 2)


def clip_box(box: FloatArray, height: int, width: int) -> FloatArray:
    """A box (x0, y0, x1, y1) moved inside the image."""
    return np.clip(box, 0.0, np.asarray([width, height, width, height], np.float64))


def _outside(box: FloatArray, height: int, width: int) -> bool:
    """Whether a box and the image share no area."""
    return bool(box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0)


def _numbers(value: object, field: str) -> FloatArray:
    """A flat float64 array of finite numbers."""
    try:
        numbers = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise AnnotationError(f"{field} is not a list of numbers (skipped)", value) from error
    # What overflows single precision is as useless as infinity.
    if not (np.abs(numbers) < np.finfo(np.float32).max).all():
        raise AnnotationError(f"{field} holds NaN or infinity (skipped)", value)
    return numbers


def _bezier(entry: Mapping[str, Any]) -> FloatArray | None:
    """``bezier_pts``, or ``None`` when there are none."""
    value = entry.get("bezier_pts")
    if not value:
        return None
    numbers = _numbers(value, "bezier_pts")
    if len(numbers) != BEZIER_NUMBERS:
        raise AnnotationError(f"bezier_pts needs {BEZIER_NUMBERS} numbers (skipped)", f"{len(numbers)} given")
    return numbers


def _polygon(entry: Mapping[str, Any], *, have_bezier: bool) -> FloatArray | None:
    """``polys``; else ``segmentation`` where no curve says it better; ``None`` when there is neither.

    A segmentation whose parts all have fewer than three points condemns the annotation, as in AdelaiDet.
    """
    polygon = None
    for field in ("polys", "segmentation"):
        value = entry.get(field)
        if polygon is not None or not isinstance(value, list) or not value:
            continue
        nested = isinstance(value[0], list)
        is_points = nested and len(value) >= MIN_POINTS and all(isinstance(p, list) and len(p) == 2 for p in value)
        parts = value if nested and not is_points else [value]
        rings = [numbers for part in parts if len(numbers := _numbers(part, field)) >= 2 * MIN_POINTS]
        if not rings:
            raise AnnotationError("fewer than 3 points (skipped)", value)
        if any(len(ring) % 2 for ring in rings):
            raise AnnotationError(f"{field} has an odd number of coordinates (skipped)", value)
        if field == "polys" or not have_bezier:
            polygon = max((ring.reshape(-1, 2) for ring in rings), key=lambda ring: abs(polygon_area(ring)))
    return polygon


def _box(entry: Mapping[str, Any], outline: FloatArray | None) -> FloatArray:
    """``bbox`` as x0 y0 x1 y1, else the box around the outline."""
    value = entry.get("bbox")
    if value:
        numbers = _numbers(value, "bbox")
        if len(numbers) != 4:
            raise AnnotationError("bbox needs 4 numbers (skipped)", value)
        return np.concatenate([numbers[:2], numbers[:2] + numbers[2:]])
    if outline is None:
        raise AnnotationError("missing fields: no bbox, bezier_pts or polys (skipped)")
    return polygon_box(outline)
