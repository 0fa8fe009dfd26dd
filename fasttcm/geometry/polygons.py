"""Areas, boxes, clipping, shrinking and rasterising of polygons.

Every function takes polygons as (p, 2) arrays of (x, y) pixels and never changes its arguments.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import pyclipper
from shapely.geometry import Polygon, box

__all__ = [
    "clip_polygon_to_image",
    "is_simple",
    "polygon_area",
    "polygon_box",
    "polygon_perimeter",
    "rasterize_polygons",
    "shrink_polygon",
]

FloatArray = npt.NDArray[np.floating]


def polygon_area(polygon: FloatArray) -> float:
    """Signed shoelace area in square pixels; positive when the ring is clockwise as seen (y downwards)."""
    x, y = np.asarray(polygon, np.float64).reshape(-1, 2).T
    if not len(x):
        return 0.0
    closing = x[-1] * y[0] - x[0] * y[-1]
    return float(0.5 * (np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]) + closing))


def polygon_perimeter(polygon: FloatArray) -> float:
    """Length of the closed ring in pixels."""
    polygon = np.asarray(polygon, np.float64).reshape(-1, 2)
    return float(np.linalg.norm(polygon - np.roll(polygon, -1, axis=0), axis=1).sum())


def polygon_box(polygon: FloatArray) -> FloatArray:
    """Axis-aligned bounding box (x0, y0, x1, y1) of at least one point, float64."""
    polygon = np.asarray(polygon, np.float64).reshape(-1, 2)
    return np.concatenate([polygon.min(0), polygon.max(0)])


def is_simple(polygon: FloatArray) -> bool:
    """Whether the ring has at least three points, a non-zero area and no self-intersection."""
    polygon = np.asarray(polygon, np.float64).reshape(-1, 2)
    return (
        len(polygon) >= 3
        and bool(np.isfinite(polygon).all())
        and Polygon(polygon).is_valid
        and polygon_area(polygon) != 0
    )


def clip_polygon_to_image(polygon: FloatArray, height: float, width: float) -> FloatArray | None:
    """The part of a polygon inside the image.

    Args:
        polygon: (p, 2) ring; a self-intersecting one is repaired first.
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        The polygon unchanged when it lies inside; else the exterior (q, 2) of the largest remaining piece, in the
        same direction of travel; ``None`` when nothing of positive area remains.
    """
    polygon = np.asarray(polygon, np.float64).reshape(-1, 2)
    x0, y0, x1, y1 = polygon_box(polygon)
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        return polygon
    shape = Polygon(polygon)
    pieces = (shape if shape.is_valid else shape.buffer(0)).intersection(box(0, 0, width, height))
    best = max(
        (p for p in getattr(pieces, "geoms", [pieces]) if p.geom_type == "Polygon"), key=lambda p: p.area, default=None
    )
    if best is None or best.area <= 0:
        return None
    ring = np.asarray(best.exterior.coords, np.float64)[:-1]
    return ring if polygon_area(ring) * polygon_area(polygon) >= 0 else ring[::-1].copy()


def shrink_polygon(polygon: FloatArray, ratio: float) -> list[FloatArray]:
    """Move the outline inwards by ``int(area * (1 - ratio**2) / (perimeter + 0.001) + 0.5)`` whole pixels.

    Args:
        polygon: (p, 2) ring.
        ratio: shrink ratio in (0, 1]; 1 leaves the size unchanged (TCM's spotters use 0.9).

    Returns:
        The remaining rings, largest first; empty when nothing is left. Coordinates are whole pixels (pyclipper,
        round joins).
    """
    polygon = np.asarray(polygon, np.float64).reshape(-1, 2)
    if len(polygon) < 3:
        return []
    distance = int(abs(polygon_area(polygon)) * (1 - ratio**2) / (polygon_perimeter(polygon) + 0.001) + 0.5)
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(polygon.astype(np.int64).tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    rings = [np.asarray(ring, np.float64) for ring in offset.Execute(-distance)]
    return sorted(rings, key=lambda ring: -abs(polygon_area(ring)))


def rasterize_polygons(polygons: Sequence[FloatArray], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Fill polygons with 1 on a (height, width) uint8 canvas of zeros; coordinates are truncated to whole pixels."""
    canvas = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        if len(polygon) >= 3:
            cv2.fillPoly(canvas, [np.asarray(polygon).astype(np.int32).reshape(-1, 1, 2)], 1)
    return canvas
