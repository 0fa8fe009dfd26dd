"""Non-maximum suppression of contours: the best is kept, what overlaps it goes, and so on.

Most candidates are drawn by neighbouring cells of one text and nearly coincide. Two rings whose points lie close
together, in pairs, enclose nearly the same area: that bounds their overlap from below without intersecting them.
"""

import numpy as np
import numpy.typing as npt
import shapely

from fasttcm.structures import FloatArray

__all__ = ["suppress"]

_SLACK = 1e-6
"""Relative; a bound this close to the threshold is not trusted."""


class _Rings:
    """Rings (n, p, 2) with what comparing them needs."""

    def __init__(self, rings: FloatArray | npt.NDArray[np.int32]) -> None:
        self.points = np.asarray(rings, np.float64)
        edges = np.roll(self.points, -1, axis=1) - self.points
        self.lengths = np.hypot(edges[..., 0], edges[..., 1])
        self.low, self.high = self.points.min(1), self.points.max(1)
        shapes = shapely.polygons(self.points)
        self.simple = shapely.is_valid(shapes)
        shapes[~self.simple] = shapely.buffer(shapes[~self.simple], 0)
        self.shapes = shapes
        self.areas = shapely.area(shapes)

    def boxes_meet(self, one: int, others: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        return (self.low[others] <= self.high[one]).all(1) & (self.high[others] >= self.low[one]).all(1)

    def surely_overlap(self, one: int, others: npt.NDArray[np.intp], threshold: float) -> npt.NDArray[np.bool_]:
        """Where the IoU certainly exceeds the threshold.

        Moving every point of a ring along a straight line to its partner sweeps at least the area by which the two
        rings differ, and every edge sweeps at most its greater length times the way of its faster end.
        """
        if not self.simple[one]:
            return np.zeros(len(others), bool)
        gap = self.points[others] - self.points[one]
        way = np.hypot(gap[..., 0], gap[..., 1])
        swept = (np.maximum(way, np.roll(way, -1, axis=1)) * np.maximum(self.lengths[others], self.lengths[one])).sum(1)
        both = self.areas[others] + self.areas[one]
        return self.simple[others] & (both - swept > (threshold + _SLACK) * (both + swept))

    def overlaps(self, one: int, others: npt.NDArray[np.intp]) -> FloatArray:
        """IoU; 1 when neither has an area."""
        common = shapely.area(shapely.intersection(self.shapes[others], self.shapes[one]))
        union = self.areas[others] + self.areas[one] - common
        return np.divide(common, union, out=np.ones(len(others)), where=union > 0)


def suppress(rings: FloatArray | npt.NDArray[np.int32], scores: FloatArray, threshold: float) -> npt.NDArray[np.intp]:
    """Greedy suppression.

    Args:
        rings: (n, p, 2), p at least 3; a ring that crosses itself counts with what ``buffer(0)`` leaves of it.
        scores: (n,); of equal ones the later is taken first, as published.
        threshold: a ring goes when its IoU with a kept one is greater.

    Returns:
        Indices of the kept rings, best first.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    if len(order) < 2:
        return order
    compared = _Rings(rings)
    kept = []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        goes = np.zeros(len(order), bool)
        # Rings without area have an IoU of 1 with each other, wherever they lie.
        close = compared.boxes_meet(best, order) | ((compared.areas[order] == 0) & (compared.areas[best] == 0))
        near = np.flatnonzero(close)
        sure = compared.surely_overlap(best, order[near], threshold)
        goes[near[sure]] = True
        doubtful = near[~sure]
        goes[doubtful] = compared.overlaps(best, order[doubtful]) > threshold
        order = order[~goes]
    return np.asarray(kept, np.intp)
