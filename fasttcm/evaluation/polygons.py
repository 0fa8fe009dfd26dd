"""Areas and overlaps of text polygons, as the published curve script computes them, without its clipper.

The published scripts use a clipper that is free for non-commercial use only. Its figures are reproduced with
shapely (SPEC ``evaluation`` section 2, arithmetic A): the area of an outline is the absolute shoelace sum even when
the outline crosses itself, the intersection follows the even-odd rule, and the union is a subtraction. Whole-pixel
polygons stay exact, so an IoU of one half is one half and not a little more.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import shapely

__all__ = ["Regions", "build_shapes", "coverage", "intersection_areas", "iou_matrix", "valid_outlines"]

FloatArray = npt.NDArray[np.floating]

IMAGES_AT_ONCE = 64
"""Images whose polygons are prepared together: enough to hide the cost of a call, few enough to bound the memory."""

MIN_POINTS = 3
"""Points that an outline needs before it can enclose anything."""


@dataclass(frozen=True)
class Regions:
    """n polygons, ready for clipping.

    Attributes:
        shapes: (n,) shapely polygons or multi-polygons, every one valid; empty where the outline encloses nothing.
        areas: (n,) float64, square pixels.
        bounds: (n, 4) float64, x0 y0 x1 y1; NaN for an empty shape.
    """

    shapes: npt.NDArray[np.object_]
    areas: FloatArray
    bounds: FloatArray

    def __len__(self) -> int:
        return len(self.areas)

    def __getitem__(self, index: slice) -> "Regions":
        """A run of the polygons."""
        return Regions(self.shapes[index], self.areas[index], self.bounds[index])

    @classmethod
    def of(cls, polygons: Sequence[FloatArray], *, repaired_areas: bool = False) -> "Regions":
        """Prepare polygons, all at once: building them one by one costs more than clipping them.

        Args:
            polygons: n arrays (p_i, 2) of pixels in either direction of travel, cast to float32 as published.
                Fewer than three points give an empty region.
            repaired_areas: take the area of the even-odd region instead of the shoelace sum where an outline crosses
                itself, which keeps IoU within [0, 1].
        """
        polygons = [np.asarray(p, np.float32).astype(np.float64).reshape(-1, 2) for p in polygons]
        shapes = build_shapes(polygons)
        areas = _shoelace(polygons)
        broken = ~shapely.is_valid(shapes)
        if broken.any():
            shapes[broken] = [_polygonal(shape) for shape in shapely.make_valid(shapes[broken])]
            if repaired_areas:
                areas[broken] = shapely.area(shapes[broken])
        return cls(shapes, areas, shapely.bounds(shapes).reshape(-1, 4))

    @classmethod
    def of_groups(cls, groups: Iterable[Sequence[FloatArray]], *, repaired_areas: bool = False) -> Iterator["Regions"]:
        """Prepare the polygons of one image after the other, many images at once; arguments as for :meth:`of`."""
        remaining = iter(groups)
        while some := list(islice(remaining, IMAGES_AT_ONCE)):
            every = cls.of([polygon for group in some for polygon in group], repaired_areas=repaired_areas)
            start = 0
            for group in some:
                yield every[start : start + len(group)]
                start += len(group)


def valid_outlines(polygons: Sequence[FloatArray]) -> npt.NDArray[np.bool_]:
    """(n,) whether each (p_i, 2) float64 outline has three points, an area, and does not cross itself."""
    enough = np.array([len(p) >= MIN_POINTS for p in polygons], bool)
    shapes = build_shapes([np.asarray(p, np.float64).reshape(-1, 2) for p in polygons])
    return enough & shapely.is_valid(shapes) & ~shapely.is_empty(shapes)


def intersection_areas(first: Regions, second: Regions) -> FloatArray:
    """(n, m) float64 areas of the intersections; only pairs whose bounding boxes overlap are clipped."""
    a, b = first.bounds[:, None], second.bounds[None]
    near = (a[..., 0] < b[..., 2]) & (b[..., 0] < a[..., 2]) & (a[..., 1] < b[..., 3]) & (b[..., 1] < a[..., 3])
    rows, columns = near.nonzero()
    areas = np.zeros(near.shape)
    if len(rows):
        areas[rows, columns] = shapely.area(shapely.intersection(first.shapes[rows], second.shapes[columns]))
    return areas


def iou_matrix(first: Regions, second: Regions, intersections: FloatArray | None = None) -> FloatArray:
    """(n, m) intersection over union, 0 where the union is 0.

    The union is ``area + area - intersection``, so a self-intersecting outline may leave [0, 1] (as published)
    unless the regions were made with ``repaired_areas``.
    """
    inter = intersection_areas(first, second) if intersections is None else intersections
    union = first.areas[:, None] + second.areas[None] - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union != 0)


def coverage(intersections: FloatArray, areas: FloatArray) -> FloatArray:
    """Share of each second polygon that lies in each first one.

    Args:
        intersections: (n, m) areas.
        areas: (m,) areas of the second polygons.

    Returns:
        (n, m) float64, 0 where the second polygon has no area.
    """
    whole = np.broadcast_to(areas, intersections.shape)
    return np.divide(intersections, whole, out=np.zeros_like(intersections), where=whole != 0)


def build_shapes(polygons: Sequence[FloatArray]) -> npt.NDArray[np.object_]:
    """(n,) shapely polygons of outlines as they are, valid or not; empty below three points."""
    shapes = np.full(len(polygons), shapely.Polygon(), object)
    rows = [i for i, polygon in enumerate(polygons) if len(polygon) >= MIN_POINTS]
    if rows:
        owner = np.repeat(np.arange(len(rows)), [len(polygons[i]) for i in rows])
        rings = shapely.linearrings(np.concatenate([polygons[i] for i in rows]), indices=owner)
        shapes[rows] = shapely.polygons(rings)
    return shapes


def _shoelace(polygons: Sequence[FloatArray]) -> FloatArray:
    """(n,) absolute shoelace areas."""
    areas = np.zeros(len(polygons))
    rows = [i for i, polygon in enumerate(polygons) if len(polygon) >= MIN_POINTS]
    if rows:
        sizes = np.array([len(polygons[i]) for i in rows])
        starts = np.cumsum(sizes) - sizes
        x, y = np.concatenate([polygons[i] for i in rows]).T
        following = np.arange(1, len(x) + 1)
        following[starts + sizes - 1] = starts
        areas[rows] = 0.5 * np.abs(np.add.reduceat(x * y[following] - y * x[following], starts))
    return areas


def _polygonal(shape: shapely.Geometry) -> shapely.Geometry:
    """The part of a repaired shape that has an area: clipping a mixed collection is undefined."""
    parts = shapely.get_parts(shape)
    parts = np.concatenate([shapely.get_parts(part) for part in parts]) if len(parts) else parts
    faces = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return shapely.multipolygons(faces) if len(faces) else shapely.Polygon()
