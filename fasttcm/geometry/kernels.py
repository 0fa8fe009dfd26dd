"""Text kernels: polygons moved inwards and drawn, as pixel-wise detectors train on them (PSENet, PAN, DBNet).

Polygons are (p, 2) arrays of (x, y) pixels; entering a drawing or Clipper, coordinates are truncated towards zero to
whole pixels (SPEC ``detectors`` 4.1).
"""

import math
from collections.abc import Sequence
from itertools import chain

import cv2
import numpy as np
import numpy.typing as npt
import pyclipper

__all__ = ["draw_kernels", "effective_mask", "fill_polygon", "kernel_distance", "offset_polygon"]

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int32]

_EPS = 0.001
"""Pixels added to the perimeter (published)."""
_MAX_COORDINATE = 2**20
"""Whole pixels; beyond it OpenCV's fixed-point arithmetic of a drawing would overflow."""


def _whole(polygon: npt.ArrayLike) -> IntArray:
    """Coordinates truncated to whole pixels, (p, 2); (0, 2) when there is nothing to draw: fewer than 3 points, NaN."""
    points = np.asarray(polygon).reshape(-1, 2)
    if len(points) >= 3 and points.dtype == np.int32:  # as it comes from OpenCV
        return points
    points = points.astype(np.float32)
    if len(points) < 3 or not np.isfinite(points).all():
        return np.zeros((0, 2), np.int32)
    return np.clip(points, -_MAX_COORDINATE, _MAX_COORDINATE).astype(np.int32)


def fill_polygon(canvas: npt.NDArray[np.integer | np.floating], polygon: npt.ArrayLike, value: float) -> None:
    """Write ``value`` inside and on the border of a polygon, in place, where it lies on the (H, W) canvas."""
    points = _whole(polygon)
    if len(points):
        cv2.fillPoly(canvas, [points], (value,))


def offset_polygon(polygon: npt.ArrayLike, distance: float) -> list[IntArray]:
    """Move an outline outwards, or inwards by a negative distance (Clipper, round joins).

    Args:
        polygon: (p, 2) ring in either direction.
        distance: pixels.

    Returns:
        The rings in Clipper's order, (q, 2) int32 whole pixels; none when nothing is left, several when it splits.
    """
    points = _whole(polygon)
    if not len(points) or not math.isfinite(distance):
        return []
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(points.tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    rings = offset.Execute(distance)
    return [np.fromiter(chain.from_iterable(ring), np.int32, 2 * len(ring)).reshape(-1, 2) for ring in rings]


def kernel_distance(polygon: FloatArray, ratio: float, max_shrink: float = math.inf) -> float:
    """How far a polygon moves inwards to become its kernel: area (1 - ratio^2) / perimeter, rounded, in pixels."""
    points = _whole(polygon)
    if not len(points):
        return 0.0
    length = cv2.arcLength(points, True)
    return min(int(cv2.contourArea(points) * (1 - ratio**2) / (length + _EPS) + 0.5), max_shrink)


def draw_kernels(
    polygons: Sequence[FloatArray], size: tuple[int, int], ratio: float, max_shrink: float = math.inf
) -> tuple[IntArray, list[int]]:
    """Shrink every polygon and fill it with its number.

    Args:
        polygons: n texts in pixels of the map; parts outside it are cut off.
        size: (H, W) of the map.
        ratio: shrink ratio in (0, 1]; 1 draws the polygons as they are.
        max_shrink: they move inwards by at most so many pixels.

    Returns:
        The (H, W) int32 map, ``t + 1`` inside the kernel of polygon t, 0 elsewhere, later ones on top; and the
        positions of the polygons of which nothing is left (also: no area, fewer than 3 points, NaN). One that splits is
        drawn by Clipper's first ring alone, as published.
    """
    drawn = np.zeros(size, np.int32)
    vanished = []
    for t, polygon in enumerate(polygons):
        rings = offset_polygon(polygon, -kernel_distance(polygon, ratio, max_shrink))
        if rings:
            fill_polygon(drawn, rings[0], t + 1)
        else:
            vanished.append(t)
    return drawn, vanished


def effective_mask(ignored: Sequence[FloatArray], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The (H, W) uint8 map of pixels that count: 0 inside the ignored polygons, 1 elsewhere."""
    mask = np.ones(size, np.uint8)
    for polygon in ignored:
        fill_polygon(mask, polygon, 0)
    return mask
