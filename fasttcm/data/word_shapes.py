"""What is odd about the outline of one word, in numbers that do not depend on its size, place or direction."""

import math
from typing import NamedTuple

import numpy as np

from fasttcm.data.annotations import ParsedAnnotation, sample_outlines
from fasttcm.geometry import is_simple, order_text_polygon, polygon_area, polygon_perimeter
from fasttcm.structures import ILLEGIBLE, FloatArray

__all__ = ["WordShape", "measure_word", "outside_share"]


class WordShape(NamedTuple):
    """Measures of one word.

    Attributes:
        length: along the line of text, in pixels: the long side of the rectangle with the outline's area and
            perimeter. That holds for curved words too.
        height: across it, in pixels; the short side.
        points: points of the annotated polygon; 0 where only a curve is given.
        crosses: the outline crosses itself.
        clockwise: it runs clockwise as seen.
        starts_well: it starts where :func:`fasttcm.geometry.order_text_polygon` would start it.
        curve_distance: largest distance of a polygon point from the outline of its curve, in heights of the word;
            NaN where only one of the two is given.
        outside: share of the outline's points that are more than a pixel outside the image.
        letter_width: length over height and number of characters; NaN without a transcription.
    """

    length: float
    height: float
    points: int
    crosses: bool
    clockwise: bool
    starts_well: bool
    curve_distance: float
    outside: float
    letter_width: float


def measure_word(word: ParsedAnnotation, *, height: int, width: int) -> WordShape:
    """Measure a word of an image of ``height`` x ``width`` pixels."""
    curve = None if word.bezier is None else sample_outlines(word.bezier)[0]
    outline = word.polygon if word.polygon is not None else curve
    if outline is None:
        raise ValueError("a word needs a polygon or a curve")
    long, short = _sides(outline)
    distance = math.nan
    if word.polygon is not None and curve is not None:
        distance = _farthest(word.polygon, curve) / max(short, 1.0)
    readable = word.text not in ("", ILLEGIBLE) and not word.ignore
    return WordShape(
        length=long,
        height=short,
        points=0 if word.polygon is None else len(word.polygon),
        crosses=not is_simple(outline),
        clockwise=polygon_area(outline) > 0,
        starts_well=_starts_well(outline, curve is not None and word.polygon is None),
        curve_distance=distance,
        outside=outside_share(outline, height, width),
        letter_width=long / max(short, 1.0) / len(word.text) if readable else math.nan,
    )


def outside_share(outline: FloatArray, height: int, width: int) -> float:
    """Share of points more than a pixel outside an image."""
    x, y = outline.T
    return float(((x < -1) | (y < -1) | (x > width + 1) | (y > height + 1)).mean())


def _sides(outline: FloatArray) -> tuple[float, float]:
    """Long and short side of the rectangle with the same area and perimeter (a square's, if there is none)."""
    half, area = polygon_perimeter(outline) / 2, abs(polygon_area(outline))
    root = math.sqrt(max(half * half / 4 - area, 0.0))
    return half / 2 + root, half / 2 - root


def _farthest(points: FloatArray, ring: FloatArray) -> float:
    """Largest distance of a point from the edges of a ring."""
    edges = np.roll(ring, -1, axis=0) - ring
    offsets = points[:, None] - ring
    along = (offsets * edges).sum(axis=2) / np.maximum((edges**2).sum(axis=1), 1e-12)
    nearest = offsets - np.clip(along, 0.0, 1.0)[..., None] * edges
    return float(np.hypot(nearest[..., 0], nearest[..., 1]).min(axis=1).max())


def _starts_well(outline: FloatArray, sampled: bool) -> bool:
    """Whether the rule of reading order agrees with the first point; of a curve's samples a few are enough."""
    ring = outline[[0, 6, 13, 19, 20, 26, 33, 39]] if sampled else outline
    if len(ring) < 4:
        return True
    try:
        return bool((order_text_polygon(ring)[0] == ring[0]).all())
    except ValueError:
        return False
