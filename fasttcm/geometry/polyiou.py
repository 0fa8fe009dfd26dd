"""Signed overlap of quadrilaterals, the IoU of DOTA's published evaluation (SPEC ``evaluation`` section 9.3).

Both outlines are cut into triangles from one origin; the overlap is the sum of the triangles' intersections, each with
the sign of its two directions of travel: the integral of the product of the winding numbers. For outlines that do not
cross themselves it is the area of the intersection. In one that does the lobes count with opposite signs, and negative
overlaps occur, as published.

The published routine clips with the image's origin as that common corner. The sum does not depend on the corner, so
a corner of the first outline is taken here: half of its triangles vanish and the rounding error no longer grows with
the size of the image. Two triangles with a common corner are intersected in closed form, for all pairs at once.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["boxes_overlap", "outline_boxes", "polyiou", "polyiou_matrix", "signed_areas"]

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

FLAT = 1e-8
"""Cross product, in square pixels, up to which a triangle counts as flat (the published tolerance)."""

PAIRS_AT_ONCE = 8192
"""Pairs in flight: their temporaries fit the processor's cache, and bound the memory."""


def signed_areas(outlines: FloatArray) -> FloatArray:
    """Shoelace areas, summed corner by corner as published (a symmetric bow-tie is decided by rounding).

    Args:
        outlines: (n, p, 2) pixels.

    Returns:
        (n,) float64 square pixels; positive when clockwise as seen (y downwards).
    """
    x, y = np.moveaxis(np.asarray(outlines, np.float64), 2, 0)
    total = np.zeros(len(x))
    for i in range(x.shape[1]):
        j = (i + 1) % x.shape[1]
        total += x[:, i] * y[:, j] - y[:, i] * x[:, j]
    return total / 2


def outline_boxes(outlines: FloatArray) -> FloatArray:
    """Axis-aligned boxes (n, 4), x0 y0 x1 y1, of outlines (n, p, 2)."""
    outlines = np.asarray(outlines, np.float64)
    return np.concatenate([outlines.min(axis=1), outlines.max(axis=1)], axis=1)


def boxes_overlap(first: FloatArray, second: FloatArray, *, margin: float = 0.0) -> BoolArray:
    """Which axis-aligned boxes overlap.

    Args:
        first: (n, 4) x0 y0 x1 y1.
        second: (m, 4).
        margin: pixels added to the width and the height of the overlap; 1 for boxes of whole pixels.

    Returns:
        (n, m) bool; boxes that merely touch do not overlap (without a margin).
    """
    a, b = np.asarray(first)[:, None], np.asarray(second)[None]
    near: BoolArray = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + margin > 0
    near &= np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + margin > 0
    return near


def polyiou(first: FloatArray, second: FloatArray) -> FloatArray:
    """IoU of pairs.

    Args:
        first: (k, p, 2) pixels, in either direction of travel.
        second: (k, q, 2).

    Returns:
        (k,) float64: overlap / (area + area - overlap), with the absolute shoelace areas; NaN for two outlines
        without area, possibly outside [0, 1] where an outline crosses itself.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    result = np.empty(len(first))
    for start in range(0, len(first), PAIRS_AT_ONCE):
        rows = slice(start, start + PAIRS_AT_ONCE)
        p, p_area = _positive(first[rows])
        q, q_area = _positive(second[rows])
        overlap = _overlap(p, q)
        with np.errstate(invalid="ignore", divide="ignore"):
            result[rows] = overlap / (p_area + q_area - overlap)
    return result


def polyiou_matrix(first: FloatArray, second: FloatArray) -> FloatArray:
    """IoU of every outline (n, p, 2) with every outline (m, q, 2): (n, m) float64.

    Outlines whose bounding boxes are apart do not overlap, whatever their shape, and are not looked at; two without
    area give NaN as in :func:`polyiou`.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    result = np.zeros((len(first), len(second)))
    if result.size:
        rows, columns = boxes_overlap(outline_boxes(first), outline_boxes(second)).nonzero()
        result[np.ix_(signed_areas(first) == 0, signed_areas(second) == 0)] = np.nan
        result[rows, columns] = polyiou(first[rows], second[columns])
    return result


def _positive(outlines: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The outlines with a positive direction of travel, and their areas."""
    areas = signed_areas(outlines)
    return np.where((areas < 0)[:, None, None], outlines[:, ::-1], outlines), np.abs(areas)


class _Edges(NamedTuple):
    """Triangles (origin, start, end), turned to run positively; arrays end with the axis of the pairs."""

    start: tuple[FloatArray, FloatArray]
    end: tuple[FloatArray, FloatArray]
    area: FloatArray
    """Twice the area, positive."""
    sign: FloatArray
    """1 or -1 as the triangle ran before; 0 where it is flat."""


def _edges(start: FloatArray, end: FloatArray) -> _Edges:
    """Triangles of edges (..., k, 2) given by both ends."""
    (ax, ay), (bx, by) = np.moveaxis(start, -1, 0), np.moveaxis(end, -1, 0)
    area = ax * by - ay * bx
    turn = area < 0
    a = np.where(turn, bx, ax), np.where(turn, by, ay)
    b = np.where(turn, ax, bx), np.where(turn, ay, by)
    return _Edges(a, b, np.abs(area), np.sign(area) * (np.abs(area) > FLAT))


def _overlap(first: FloatArray, second: FloatArray) -> FloatArray:
    """(k,) signed overlap of positively oriented outlines (k, p, 2) and (k, q, 2)."""
    p = np.moveaxis(first - first[:, :1], 1, 0)
    q = np.moveaxis(second - first[:, :1], 1, 0)
    # Edges at the origin itself span no triangle and are left out.
    one, two = _edges(p[1:-1, None], p[2:, None]), _edges(q[None], np.roll(q, -1, axis=0)[None])
    sign = one.sign * two.sign
    with np.errstate(invalid="ignore", divide="ignore"):  # in cones that do not meet, whose values are not used
        parts = np.where(sign != 0, _common_area(one, two) * sign, 0.0)
    return np.asarray(parts.sum(axis=(0, 1)))


def _common_area(one: _Edges, two: _Edges) -> FloatArray:
    """Area common to triangles (0, a, b) and (0, c, d), both positively oriented; broadcasts. Any value for flat ones.

    The common part is the cone between the later of the rays a, c and the earlier of b, d, cut off by whichever of
    the edges a-b and c-d is nearer; where the nearer edge changes in between, their crossing is one more corner. All
    of it follows from the six cross products of the four points.
    """
    (a, b, ab), (c, d, cd) = one[:3], two[:3]
    ca, ad, cb, bd = _cross(c, a), _cross(a, d), _cross(c, b), _cross(b, d)
    a_inside, b_inside = (ca >= 0) & (ad >= 0), (cb >= 0) & (bd >= 0)
    c_inside, d_inside = (ca <= 0) & (cb >= 0), (ad >= 0) & (bd <= 0)
    meet = (a_inside | c_inside) & (b_inside | d_inside)
    # Along the ray of a point, its own edge lies at 1 and the other edge at (the other's area) / reach.
    a_reach, b_reach, c_reach, d_reach = ad + ca, bd + cb, cb - ca, ad - bd
    start = np.minimum(np.where(a_inside, cd / a_reach, ab / c_reach), 1.0)
    end = np.minimum(np.where(b_inside, cd / b_reach, ab / d_reach), 1.0)
    at = np.clip((cd - a_reach) / (b_reach - a_reach), 0.0, 1.0)
    at[np.isnan(at)] = 0.0  # edges on one line: every point of it is a crossing
    second_first = np.where(a_inside, cd < a_reach, ab >= c_reach)
    second_last = np.where(b_inside, cd < b_reach, ab >= d_reach)
    straight = start * end * np.where(a_inside, np.where(b_inside, ab, ad), np.where(b_inside, cb, cd))
    to_crossing = np.where(a_inside, at * ab, ca + at * (cb - ca))
    from_crossing = np.where(b_inside, (1.0 - at) * ab, ad + at * (bd - ad))
    bent = start * to_crossing + end * from_crossing
    return np.where(meet, np.where(second_first == second_last, straight, bent), 0.0) / 2


def _cross(u: tuple[FloatArray, FloatArray], v: tuple[FloatArray, FloatArray]) -> FloatArray:
    return u[0] * v[1] - u[1] * v[0]
